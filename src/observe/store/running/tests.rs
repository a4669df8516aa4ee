//! Nodes and owners: who is to blame, and whose pods are whose.

use serde_json::json;

use super::*;
use crate::port::kinds;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second)
}

fn node(version: u32, ready: &str) -> Value {
    json!({"metadata": {"name": "node-a", "resourceVersion": version.to_string()},
        "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

fn deployment() -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "checkout", "uid": "d1", "resourceVersion": "1",
            "generation": 1, "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "checkout"}},
            "template": {"spec": {"containers": []}}},
        "status": {"observedGeneration": 1},
    })
}

fn read(object: &Value) -> Deployment {
    Deployment::read(object).expect("a Deployment")
}

fn replica_set(uid: &str) -> ReplicaSet {
    ReplicaSet {
        name: format!("checkout-{uid}"),
        uid: uid.to_owned(),
        created: at(0),
        number: 2,
    }
}

fn pod(uid: &str, owner: &str) -> WatchEvent {
    WatchEvent::Applied(json!({
        "metadata": {"uid": uid, "name": uid, "creationTimestamp": "1970-01-01T00:00:01Z",
            "ownerReferences": [{"controller": true, "uid": owner, "name": "checkout-abc"}]},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app"}]},
        "status": {"phase": "Running"},
    }))
}

fn store(pods: &[(&str, &str)]) -> Store {
    let store = Store::default();
    for (uid, owner) in pods {
        store.handle_pod("shop", &pod(uid, owner), at(1));
    }
    store.handle_pod("shop", &WatchEvent::Complete, at(1));
    store
}

#[test]
fn a_node_is_unfit_when_it_is_not_ready_tainted_or_leaving() {
    assert_eq!(unfit(&node(1, "True")), None);
    for status in ["False", "Unknown"] {
        assert_eq!(unfit(&node(1, status)), Some(()));
    }
    for taint in UNFIT {
        let mut tainted = node(1, "True");
        tainted["spec"] = json!({"taints": [{"key": taint, "effect": "NoExecute"}]});
        assert_eq!(unfit(&tainted), Some(()), "{taint}");
    }
    let mut cordoned = node(1, "True");
    cordoned["spec"] = json!({"taints": [{"key": "node.kubernetes.io/unschedulable"}]});
    assert_eq!(unfit(&cordoned), None);
    let mut leaving = node(1, "True");
    leaving["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:01Z");
    assert_eq!(unfit(&leaving), Some(()));
}

#[test]
fn a_change_of_a_nodes_fitness_is_told_once() {
    let store = store(&[]);
    let tell = |version, ready| {
        let event = WatchEvent::Applied(node(version, ready));
        store.handle_node(&event, at(2)).len()
    };
    assert_eq!(tell(1, "True"), 0);
    assert_eq!(tell(2, "False"), 1);
    assert_eq!(tell(3, "Unknown"), 0);
    assert_eq!(tell(4, "True"), 1);
    assert_eq!(tell(5, "True"), 0);
}

#[test]
fn pods_on_an_unfit_node_are_excused_in_every_namespace() {
    let store = store(&[("p1", "rs2")]);
    let deployment = read(&deployment());
    let excused = |now| {
        let pods = store.pods_of(&deployment, &replica_set("rs2"), at(now));
        pods.current[0].excused
    };
    assert!(!excused(2));
    store.handle_node(&WatchEvent::Applied(node(2, "False")), at(2));
    assert!(excused(9999));
    store.forget_nodes();
    assert!(!excused(9999));
}

#[test]
fn the_pods_of_every_replica_set_that_was_ever_listed_as_its_own_are_its_own() {
    let store = store(&[("p1", "rs1"), ("p2", "rs2"), ("p3", "stranger")]);
    let deployment = read(&deployment());
    let current = replica_set("rs2");
    let old = || {
        let pods = store.pods_of(&deployment, &current, at(2));
        pods.old.into_iter().map(|pod| pod.name).collect::<Vec<_>>()
    };
    assert_eq!(old(), Vec::<String>::new());
    store.found_replica_sets(&deployment, &current, &["rs1", "rs2"]);
    assert_eq!(old(), ["p1"]);
    // With `revisionHistoryLimit: 0` it is deleted as soon as the rollout is complete.
    store.found_replica_sets(&deployment, &current, &["rs2"]);
    assert_eq!(old(), ["p1"]);
    let many: Vec<String> = (0..OWNED_KEPT)
        .map(|number| format!("rs-{number}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    store.found_replica_sets(&deployment, &current, &many);
    assert_eq!(old(), Vec::<String>::new());
}

#[test]
fn a_deployment_made_anew_inherits_nothing() {
    let store = store(&[("p1", "rs1")]);
    let first = read(&deployment());
    store.found_replica_sets(&first, &replica_set("rs2"), &["rs1", "rs2"]);
    assert!(store.replica_set(&first).is_some());
    assert_eq!(store.history(&first, at(5)).progressed, at(5));
    let mut anew = deployment();
    anew["metadata"]["uid"] = json!("d2");
    let anew = read(&anew);
    assert_eq!(store.replica_set(&anew), None);
    let pods = store.pods_of(&anew, &replica_set("rs2"), at(2));
    assert_eq!(pods, PodsOf::default());
    assert_eq!(store.history(&anew, at(9)).progressed, at(9));
}

#[test]
fn the_watch_on_deployments_keeps_their_past() {
    let store = store(&[]);
    let mut object = deployment();
    let mut tell = |version: u32, available: u32, now| {
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["status"]["availableReplicas"] = json!(available);
        let event = WatchEvent::Applied(object.clone());
        store.handle(kinds::DEPLOYMENTS, 0, &event, at(now));
        object.clone()
    };
    tell(1, 2, 10);
    tell(2, 0, 20);
    let last = tell(3, 0, 30);
    let availability = store.history(&read(&last), at(40)).availability;
    let seen: Vec<_> = availability
        .iter()
        .map(|it| (it.at, it.available))
        .collect();
    assert_eq!(seen, [(at(10), 2), (at(20), 0)]);
}
