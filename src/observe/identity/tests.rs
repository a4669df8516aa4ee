//! The same template with the same config is the same revision, and with other config another one.

use serde_json::{Value, json};

use super::*;
use crate::api::record::revision;
use crate::decide::{ConfigName, Contents, RevisionMemory, Verdict, Workload};

fn template() -> Value {
    json!({"spec": {"containers": [{
        "name": "app", "image": "shop/app:v1",
        "envFrom": [{"configMapRef": {"name": "settings"}}],
    }]}})
}

fn object() -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "checkout", "uid": "5eed0009-1",
                     "resourceVersion": "7", "generation": 1,
                     "annotations": {"deployment.kubernetes.io/revision": "4"}},
        "spec": {"selector": {"matchLabels": {"app": "checkout"}}, "template": template()},
        "status": {"observedGeneration": 1},
    })
}

fn deployment() -> Deployment {
    Deployment::read(&object()).expect("a Deployment")
}

fn holding(digest: &str) -> Config {
    let contents = Contents {
        keys: [(String::new(), digest.to_owned())].into(),
    };
    [(ConfigName::config_map("settings"), Some(contents))].into()
}

fn current(number: i64) -> ReplicaSet {
    ReplicaSet {
        name: "checkout-1".to_owned(),
        uid: "5eed0010".to_owned(),
        created: "2026-11-23T10:00:00Z".parse().expect("a time"),
        number,
    }
}

fn recorded(config: Config, number: i64) -> (Revision, Arc<RevisionRecord>) {
    let memory = RevisionMemory {
        verdict: Verdict::Good,
        number,
        config,
        ..RevisionMemory::default()
    };
    let workload = Workload {
        uid: "5eed0009-1".to_owned(),
        name: "checkout".to_owned(),
        ..Workload::default()
    };
    let mut stored = revision::new(&object(), &workload, &memory);
    stored["metadata"]["resourceVersion"] = json!("9");
    let record = revision::read(&stored).expect("ours");
    (record.revision.clone(), Arc::new(record))
}

fn identified(
    records: &[(Revision, Arc<RevisionRecord>)],
    number: i64,
    now: Option<&Config>,
) -> Revision {
    let records = records.iter().cloned().collect();
    revision(&deployment(), Some(&current(number)), &records, None, now)
}

#[test]
fn a_record_is_found_again_by_what_the_deployment_and_its_config_are() {
    let now = holding("aa");
    let (made, record) = recorded(now.clone(), 4);
    assert_eq!(identified(&[], 4, Some(&now)), made);
    assert_eq!(identified(&[(made.clone(), record)], 4, Some(&now)), made);
}

#[test]
fn a_restart_with_the_same_config_is_the_same_revision() {
    let known = recorded(holding("aa"), 3);
    assert_eq!(
        identified(std::slice::from_ref(&known), 4, Some(&holding("aa"))),
        known.0
    );
}

#[test]
fn a_restart_that_brings_changed_config_is_another_one() {
    let known = recorded(holding("aa"), 3);
    let changed = identified(std::slice::from_ref(&known), 4, Some(&holding("bb")));
    assert_ne!(changed, known.0);
    assert_eq!(changed, recorded(holding("bb"), 4).0);
}

#[test]
fn config_that_changes_under_running_pods_is_no_release() {
    let known = recorded(holding("aa"), 4);
    assert_eq!(
        identified(std::slice::from_ref(&known), 4, Some(&holding("bb"))),
        known.0
    );
}

#[test]
fn what_is_not_known_makes_no_release() {
    let known = recorded(Config::new(), 3);
    assert_eq!(
        identified(std::slice::from_ref(&known), 4, Some(&holding("bb"))),
        known.0
    );
    let known = recorded(holding("aa"), 3);
    assert_eq!(identified(std::slice::from_ref(&known), 4, None), known.0);
    // Without config the identity is that of the template, as it always was.
    assert_eq!(identified(&[], 4, None), deployment().template);
}

#[test]
fn going_back_to_the_older_config_is_going_back_to_the_older_revision() {
    let older = recorded(holding("aa"), 1);
    let newer = recorded(holding("bb"), 2);
    let records = [older.clone(), newer];
    assert_eq!(identified(&records, 3, Some(&holding("aa"))), older.0);
}
