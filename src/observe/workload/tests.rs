//! What is kept of a Deployment.

use serde_json::json;

use super::*;

fn live() -> Value {
    json!({
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "5eed0006",
            "resourceVersion": "12", "generation": 3,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
            "managedFields": [{"manager": "astern", "operation": "Update",
                "fieldsV1": {"f:spec": {"f:template": {}}}}]},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "checkout"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "api"]}]},
            "template": {"spec": {"containers": []}}},
        "status": {"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4,
            "availableReplicas": 4,
            "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]},
    })
}

fn replica_set() -> Value {
    json!({
        "metadata": {"name": "checkout-abc", "uid": "rs1", "creationTimestamp": "2026-11-23T05:00:00Z",
            "annotations": {"deployment.kubernetes.io/revision": "2"},
            "ownerReferences": [{"controller": true, "uid": "5eed0006"}]},
        "spec": {"template": {"metadata": {"labels": {"pod-template-hash": "abc"}},
            "spec": {"containers": []}}},
    })
}

#[track_caller]
fn read(change: impl Fn(&mut Value)) -> decide::Workload {
    let mut object = live();
    change(&mut object);
    Deployment::read(&object)
        .expect("a Deployment")
        .workload(None)
}

#[test]
fn a_rollout_is_complete_when_all_counts_agree() {
    assert!(read(|_| ()).rolled_out);
    for count in ["replicas", "updatedReplicas", "availableReplicas"] {
        assert!(!read(|object| object["status"][count] = json!(3)).rolled_out);
    }
    assert!(!read(|object| object["metadata"]["generation"] = json!(4)).rolled_out);
}

#[test]
fn a_deadline_counts_only_for_the_template_that_the_controller_has_seen() {
    assert!(read(|_| ()).progress_deadline_exceeded);
    assert!(!read(|object| object["metadata"]["generation"] = json!(4)).progress_deadline_exceeded);
}

#[test]
fn our_ownership_of_the_template_disturbs() {
    assert!(read(|_| ()).ownership_disturbed);
    assert!(
        !read(|object| object["metadata"]["managedFields"][0]["manager"] = json!("kubectl"))
            .ownership_disturbed
    );
    assert!(!read(|object| object["metadata"]["managedFields"] = Value::Null).ownership_disturbed);
}

#[test]
fn selectors_are_spelled_for_the_api_server() {
    let deployment = Deployment::read(&live()).expect("a Deployment");
    assert_eq!(deployment.selector, "app=checkout,tier in (web,api)");
}

#[test]
fn the_current_replica_set_agrees_in_owner_number_and_template() {
    let deployment = Deployment::read(&live()).expect("a Deployment");
    assert!(deployment.current_replica_set(&replica_set()).is_some());
    for spoil in [
        |object: &mut Value| object["metadata"]["ownerReferences"][0]["uid"] = json!("other"),
        |object: &mut Value| {
            object["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
        },
        |object: &mut Value| object["spec"]["template"]["spec"]["hostNetwork"] = json!(true),
    ] {
        let mut object = replica_set();
        spoil(&mut object);
        assert_eq!(deployment.current_replica_set(&object), None);
    }
}

#[test]
fn nonsense_is_no_deployment() {
    assert_eq!(Deployment::read(&Value::Null), None);
    assert_eq!(Deployment::read(&json!({"metadata": {"name": 7}})), None);
}

fn conditions(kind: &str, reason: &str, message: &str) -> Value {
    json!([{"type": kind, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-23T05:00:00Z", "lastUpdateTime": "2026-11-23T05:01:00Z"}])
}

#[test]
fn a_deadline_counts_only_for_the_replica_set_that_it_names() {
    let exceeded = |message: &str| {
        let mut object = live();
        object["status"]["conditions"] =
            conditions("Progressing", "ProgressDeadlineExceeded", message);
        let deployment = Deployment::read(&object).expect("a Deployment");
        let current = deployment.current_replica_set(&replica_set());
        let workload = deployment.workload(current.as_ref());
        workload.progress_deadline_exceeded
    };
    assert!(exceeded(
        "ReplicaSet \"checkout-abc\" has timed out progressing."
    ));
    assert!(!exceeded(
        "ReplicaSet \"checkout-ab\" has timed out progressing."
    ));
    assert!(exceeded(
        "Deployment \"checkout\" has timed out progressing."
    ));
}

#[test]
fn an_endless_deadline_is_taken_as_kubernetes_own_default() {
    let deadline = |seconds: Value| {
        read(|object| object["spec"]["progressDeadlineSeconds"] = seconds.clone()).progress_deadline
    };
    assert_eq!(deadline(Value::Null), PROGRESS_DEADLINE);
    assert_eq!(deadline(json!(i32::MAX)), PROGRESS_DEADLINE);
    assert_eq!(deadline(json!(60)), SignedDuration::from_secs(60));
}

#[test]
fn a_strategy_tells_how_many_pods_stay() {
    let kept = |strategy: Value| {
        let workload = read(|object| object["spec"]["strategy"] = strategy.clone());
        workload.kept_available
    };
    let rolling = |surge: Value, unavailable: Value| {
        kept(json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}))
    };
    assert_eq!(kept(Value::Null), 3);
    assert_eq!(kept(json!({"type": "Recreate"})), 0);
    assert_eq!(rolling(json!("25%"), json!("30%")), 3);
    assert_eq!(rolling(json!(0), json!("10%")), 3);
    assert_eq!(rolling(json!("10%"), json!("10%")), 4);
    assert_eq!(rolling(json!(1), json!(9)), 0);
}

#[test]
fn refused_pods_are_told_with_their_time() {
    let refused = |reason: &str| {
        let message = "exceeded quota: team";
        read(|object| {
            object["status"]["conditions"] = conditions("ReplicaFailure", reason, message);
        })
        .pods_refused
    };
    let since = "2026-11-23T05:00:00Z".parse().expect("a time");
    let message = "exceeded quota: team".to_owned();
    assert_eq!(refused("FailedCreate"), Some(Refused { since, message }));
    assert_eq!(refused("FailedDelete"), None);
}
