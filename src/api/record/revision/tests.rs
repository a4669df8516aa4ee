//! What is written is read back, and what others wrote is not believed.

use jiff::SignedDuration;

use std::collections::BTreeSet;

use super::*;
use crate::decide::{Current, DrillOutcome, Drilled};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn live() -> Value {
    let applied = json!({"spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}});
    json!({
        "metadata": {
            "name": "checkout", "namespace": "shop", "uid": "5eed0003-1234",
            "annotations": {names::LAST_APPLIED: applied.to_string()},
            "managedFields": [
                {"manager": "kubectl", "operation": "Apply",
                 "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}},
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                 "fieldsV1": {"f:status": {}}},
                {"manager": "hpa", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            ],
        },
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop/app:v1"}],
                                       "fieldOfNextYear": {"x": 1}}}},
    })
}

fn workload() -> Workload {
    Workload {
        uid: "5eed0003-1234".to_owned(),
        name: "checkout".to_owned(),
        template: template::revision(live().pointer("/spec/template").expect("given")),
        current: Some(Current {
            number: 4,
            created: at(0),
        }),
        replicas: 3,
        rolled_out: true,
        rolling_update: true,
        progress_deadline: SignedDuration::from_secs(600),
        ..Workload::default()
    }
}

fn memory() -> RevisionMemory {
    RevisionMemory {
        verdict: Verdict::Good,
        proof: Some(Proof::Full),
        number: 4,
        since: at(10),
        rolled_out: Some(at(20)),
        passed: BTreeSet::from(["crashes".to_owned(), "server-errors".to_owned()]),
        replicas: 4,
        baseline: BTreeMap::from([(
            "server-errors".to_owned(),
            Counted {
                total: 9000.0,
                failed: 7.0,
            },
        )]),
        convicted: Some(at(30)),
        quarantine: Some(Enforcement::Deny),
        mark: Some("1a2b3c4d/Bad:alice: it leaks".to_owned()),
        config: BTreeMap::new(),
        restored_from: Some(Revision("900d900d".to_owned())),
        git: Some("main@sha1:bbbb".to_owned()),
        drilled: Some(Drilled {
            at: at(40),
            outcome: DrillOutcome::NoApprover,
            detail: "nobody may".to_owned(),
        }),
    }
}

/// As the API server would return it.
fn stored() -> Value {
    let mut object = new(&live(), &workload(), &memory());
    object["metadata"]["resourceVersion"] = json!("17");
    object
}

#[test]
fn what_is_written_is_read_back() {
    let record = read(&stored()).expect("ours");
    assert_eq!(record.memory, memory());
    assert_eq!(record.revision, workload().template);
    assert_eq!(record.images, ["shop/app:v1"]);
    assert_eq!(
        (record.deployment.as_str(), record.namespace.as_str()),
        ("checkout", "shop")
    );
}

#[test]
fn the_template_is_kept_whole_and_ownership_only_where_it_matters() {
    let recorded = recorded(&stored(), "5eed0003-1234", &workload().template).expect("ours");
    assert_eq!(Some(&recorded.template), live().pointer("/spec/template"));
    assert_eq!(recorded.ownership.len(), 1);
    assert_eq!(recorded.ownership[0]["manager"], "kubectl");
    assert!(recorded.last_applied.is_some());
}

#[test]
fn a_record_of_another_deployment_or_revision_is_not_taken() {
    assert_eq!(
        recorded(&stored(), "5eed0004-1234", &workload().template),
        None
    );
    assert_eq!(
        recorded(&stored(), "5eed0003-1234", &Revision("00".to_owned())),
        None
    );
    let mut swapped = stored();
    swapped["data"]["template"]["spec"]["containers"][0]["image"] = json!("evil/app:v1");
    assert_eq!(
        recorded(&swapped, "5eed0003-1234", &workload().template),
        None
    );
}

#[test]
fn what_makes_no_sense_is_not_a_record() {
    for spoil in [
        |object: &mut Value| object["metadata"]["ownerReferences"] = json!([]),
        |object: &mut Value| object["metadata"]["labels"][names::VERDICT] = json!("Excellent"),
        |object: &mut Value| object["metadata"]["labels"][names::DEPLOYMENT_UID] = json!("other"),
        |object: &mut Value| object["metadata"]["annotations"][names::SINCE] = json!("yesterday"),
        |object: &mut Value| object["data"] = json!(7),
        |object: &mut Value| *object = Value::Null,
    ] {
        let mut object = stored();
        spoil(&mut object);
        assert_eq!(read(&object), None);
    }
}

#[test]
fn only_what_changed_is_patched() {
    assert_eq!(changes(&memory(), &memory()), Vec::<Value>::new());
    let after = RevisionMemory {
        verdict: Verdict::Bad,
        proof: None,
        ..memory()
    };
    assert_eq!(
        changes(&memory(), &after),
        [
            json!({"op": "add", "path": "/metadata/labels/astern.dev~1verdict", "value": "Bad"}),
            json!({"op": "remove", "path": "/metadata/labels/astern.dev~1proof"}),
        ]
    );
}

#[test]
fn names_fit_and_tell_revisions_apart() {
    let mut long = workload();
    long.name = "x".repeat(253);
    assert_eq!(name(&long, &long.template).len(), 253);
    assert_ne!(
        name(&long, &long.template),
        name(&long, &Revision("0123456789abcdef0".to_owned()))
    );
}

#[test]
fn marks_of_one_template_say_nothing_about_another() {
    let mut altered = stored();
    altered["data"]["template"]["spec"]["containers"][0]["image"] = json!("evil/app:v1");
    assert_eq!(read(&altered), None);
    let mut unnamed = stored();
    unnamed["metadata"]["annotations"]
        .as_object_mut()
        .expect("given")
        .remove(names::DIGEST);
    assert_eq!(read(&unnamed), None);
}
