//! What is remembered of pods beyond their latest state.

use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

/// A pod of the current ReplicaSet that has been ready since its birth.
fn pod(uid: &str) -> Value {
    json!({
        "metadata": {"uid": uid, "name": format!("checkout-abc-{uid}"),
            "creationTimestamp": "1970-01-01T00:00:01Z",
            "ownerReferences": [{"controller": true, "uid": "rs2", "name": "checkout-abc"}]},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "1970-01-01T00:00:03Z"}],
            "containerStatuses": [
                {"name": "app", "restartCount": 0, "state": {"running": {}}}],
        },
    })
}

fn of(uid: &str, replica_set: &str) -> Value {
    let mut pod = pod(uid);
    pod["metadata"]["ownerReferences"][0]["uid"] = json!(replica_set);
    pod
}

fn restarted(uid: &str, count: u32) -> Value {
    let mut pod = pod(uid);
    pod["status"]["containerStatuses"][0]["restartCount"] = json!(count);
    pod
}

fn waiting(uid: &str, reason: &str) -> Value {
    let mut pod = pod(uid);
    pod["status"]["conditions"] = json!([]);
    pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": reason}});
    pod
}

fn disrupted(uid: &str) -> Value {
    let mut pod = pod(uid);
    pod["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:09Z");
    pod["status"]["conditions"] = json!([{"type": "DisruptionTarget", "status": "True"}]);
    pod
}

fn fit(_: &str) -> bool {
    false
}

fn node_a(node: &str) -> bool {
    node == "node-a"
}

fn seen(objects: &[Value]) -> Pods {
    let mut pods = Pods::default();
    pods.restart();
    for object in objects {
        pods.apply(object, &fit, at(1));
    }
    pods.complete(at(1));
    pods
}

fn found(pods: &Pods, now: i64) -> PodsOf {
    pods.of("rs2", &["rs1".to_owned(), "rs2".to_owned()], &fit, at(now))
}

fn names(pods: &Pods) -> Vec<String> {
    let current = found(pods, 1).current;
    current.into_iter().map(|pod| pod.name).collect()
}

#[track_caller]
fn only(pods: &Pods, now: i64) -> Pod {
    let mut current = found(pods, now).current;
    assert_eq!(current.len(), 1);
    current.remove(0)
}

#[test]
fn pods_are_unknown_until_all_were_listed() {
    let mut pods = Pods::default();
    pods.restart();
    pods.apply(&pod("p1"), &fit, at(1));
    assert_eq!(found(&pods, 1), PodsOf::default());
    pods.complete(at(1));
    assert_eq!(names(&pods), ["checkout-abc-p1"]);
}

#[test]
fn what_is_not_listed_again_is_gone_and_what_is_keeps_its_history() {
    let mut pods = seen(&[pod("p1"), pod("p2")]);
    pods.apply(&restarted("p2", 1), &fit, at(2));
    pods.restart();
    pods.apply(&restarted("p2", 1), &fit, at(9));
    pods.complete(at(9));
    let counts: Vec<_> = only(&pods, 9).restarts.iter().map(|it| it.count).collect();
    assert_eq!(counts, [0, 1]);
}

#[test]
fn only_what_a_decision_looks_at_counts_as_a_change() {
    let mut pods = Pods::default();
    let changed = |pods: &mut Pods, object: &Value, second: i64| {
        pods.apply(object, &fit, at(second)).is_some()
    };
    assert!(changed(&mut pods, &pod("p1"), 1));
    assert!(!changed(&mut pods, &pod("p1"), 2));
    assert!(changed(&mut pods, &restarted("p1", 1), 3));
    assert!(changed(&mut pods, &waiting("p1", "ErrImagePull"), 4));
    assert!(changed(&mut pods, &disrupted("p1"), 5));
}

#[test]
fn the_history_is_bounded() {
    let mut pods = seen(&[]);
    for count in 0..1000 {
        pods.apply(&restarted("p1", count), &fit, at(2));
    }
    assert_eq!(only(&pods, 2).restarts.len(), RESTARTS_KEPT);
}

#[test]
fn malformed_pods_are_left_out() {
    let mut pods = seen(&[]);
    for path in [
        "/metadata/uid",
        "/metadata/name",
        "/metadata/creationTimestamp",
        "/metadata/ownerReferences",
        "/metadata/ownerReferences/0/uid",
    ] {
        let mut broken = pod("p1");
        *broken.pointer_mut(path).expect("a field") = Value::Null;
        assert_eq!(pods.apply(&broken, &fit, at(2)), None, "{path}");
    }
    assert_eq!(names(&pods), Vec::<String>::new());
}

#[test]
fn pods_of_other_revisions_are_old_and_strangers_are_neither() {
    let mut pods = seen(&[pod("p1"), of("p2", "rs1"), of("p3", "another")]);
    pods.delete(&of("p2", "rs1"), at(60));
    let found = found(&pods, 60);
    assert_eq!(found.current.len(), 1);
    let old: Vec<_> = found.old.iter().map(|pod| (&pod.name, pod.gone)).collect();
    assert_eq!(old, [(&"checkout-abc-p2".to_owned(), Some(at(60)))]);
}

#[test]
fn pods_that_are_gone_are_remembered_for_an_hour_and_two_thousand_of_them() {
    let mut pods = seen(&[]);
    let replace = |pods: &mut Pods, uid: &str, second: i64| {
        pods.apply(&of(uid, "rs1"), &fit, at(second));
        pods.delete(&of(uid, "rs1"), at(second));
        found(pods, second).old.len()
    };
    assert_eq!(replace(&mut pods, "p1", 10), 1);
    assert_eq!(replace(&mut pods, "p2", 3610), 2);
    assert_eq!(replace(&mut pods, "p3", 3611), 2);
    for number in 0..GONE_KEPT {
        replace(&mut pods, &format!("q{number}"), 3612);
    }
    assert_eq!(found(&pods, 3612).old.len(), GONE_KEPT);
}

#[test]
fn pods_that_are_finished_or_deleted_do_not_count_for_the_revision() {
    let mut finished = pod("p1");
    finished["status"]["phase"] = json!("Failed");
    let mut deleted = pod("p2");
    deleted["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:09Z");
    let pods = seen(&[finished, deleted]);
    assert_eq!(found(&pods, 2), PodsOf::default());
}

#[test]
fn waiting_lasts_through_changes_of_reason_within_the_family() {
    let mut pods = seen(&[waiting("p1", "ErrImagePull")]);
    let since = |pods: &Pods| only(pods, 99).waiting.map(|waiting| waiting.since);
    pods.apply(&waiting("p1", "ImagePullBackOff"), &fit, at(20));
    assert_eq!(since(&pods), Some(at(1)));
    pods.apply(&waiting("p1", "CreateContainerConfigError"), &fit, at(30));
    assert_eq!(since(&pods), Some(at(30)));
    pods.apply(&pod("p1"), &fit, at(40));
    assert_eq!(since(&pods), None);
    assert!(only(&pods, 99).started);
}

#[test]
fn a_node_that_is_not_ready_excuses_its_pods_and_their_restarts() {
    let mut pods = seen(&[restarted("p1", 1)]);
    let excused = |pods: &Pods, is_unfit: IsUnfit<'_>, now: i64| {
        pods.of("rs2", &[], is_unfit, at(now)).current[0].excused
    };
    assert!(!excused(&pods, &fit, 10));
    pods.node_changed("node-b", at(10));
    assert!(!excused(&pods, &fit, 10));
    pods.node_changed("node-a", at(10));
    assert!(excused(&pods, &node_a, 9999));
    pods.apply(&restarted("p1", 4), &node_a, at(20));
    pods.node_changed("node-a", at(30));
    pods.apply(&restarted("p1", 5), &fit, at(330));
    assert!(excused(&pods, &fit, 330));
    assert_eq!(only(&pods, 330).restarts.len(), 1);
    assert!(!excused(&pods, &fit, 331));
    pods.apply(&restarted("p1", 6), &fit, at(331));
    let newest = only(&pods, 331).restarts.last().copied();
    assert_eq!(newest.map(|seen| seen.count), Some(2));
}

#[test]
fn what_a_disruption_takes_is_missing_until_its_replacement_had_its_time() {
    let missing = |pods: &Pods, now: i64| found(pods, now).disrupted;
    let mut pods = seen(&[pod("p1"), of("p2", "rs1")]);
    assert_eq!(missing(&pods, 1), 0);
    pods.apply(&disrupted("p1"), &fit, at(10));
    assert_eq!((missing(&pods, 10), missing(&pods, 310)), (1, 1));
    assert_eq!(missing(&pods, 311), 0);
    pods.delete(&disrupted("p1"), at(40));
    assert_eq!((missing(&pods, 340), missing(&pods, 341)), (1, 0));
}

#[test]
fn a_pod_that_is_ready_on_a_node_that_is_not_is_not_missing() {
    let missing = |object: Value| {
        let pods = seen(&[object]);
        pods.of("rs2", &[], &node_a, at(60)).disrupted
    };
    assert_eq!(missing(pod("p1")), 0);
    assert_eq!(missing(waiting("p1", "ContainerCreating")), 1);
}

/// The Deployment's status comes later than the pod's.
#[test]
fn a_pod_that_is_back_is_missing_until_it_is_counted() {
    let mut pods = seen(&[waiting("p1", "ContainerCreating")]);
    pods.node_changed("node-a", at(10));
    let mut back = pod("p1");
    back["status"]["conditions"][0]["lastTransitionTime"] = json!(at(12).to_string());
    pods.apply(&back, &fit, at(12));
    assert_eq!(found(&pods, 42).disrupted, 1);
    assert_eq!(found(&pods, 43).disrupted, 0);
}

#[test]
fn a_pod_deleted_by_a_person_is_not_disrupted() {
    let mut pods = seen(&[pod("p1")]);
    pods.delete(&pod("p1"), at(2));
    assert_eq!(found(&pods, 2).disrupted, 0);
}
