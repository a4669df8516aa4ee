//! What is written is read back, in every state.

use super::*;
use crate::decide::gitops::{Met, Pause, Tool};
use crate::decide::{Approval, Current, EntryKind, Finding, Found, Impact};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(1_000_000_250 + second * 1000)
}

fn workload() -> Workload {
    Workload {
        uid: "5eed0005-1234".to_owned(),
        name: "checkout".to_owned(),
        template: Revision("bad0bad0bad0".to_owned()),
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

fn approvals() -> Vec<Approval> {
    let alice = Approval {
        username: "alice".to_owned(),
        at: at(7),
        break_glass: None,
    };
    let bob = Approval {
        username: "bob".to_owned(),
        at: at(8),
        break_glass: Some("nobody else is awake".to_owned()),
    };
    vec![alice, bob]
}

fn incident(state: State) -> Incident {
    Incident {
        attempt: 2,
        from: Revision("bad0bad0bad0".to_owned()),
        to: Revision("900d900d900d".to_owned()),
        trigger: "server-errors".to_owned(),
        request: None,
        repoint: BTreeMap::from([("settings".to_owned(), "settings-astern-1a2b3c4d".to_owned())]),
        restored: Some(Revision("c0b1c0b1".to_owned())),
        restored_by: Some("kubectl-rollout".to_owned()),
        mode: Mode::RequireApproval,
        caps: vec!["trigger server-errors has mode RequireApproval".to_owned()],
        state,
        evidence: "30% of 400 requests failed".to_owned(),
        outcome: "rejected by bob".to_owned(),
        approval: ApprovalTerms {
            required: 1,
            timeout: SignedDuration::from_mins(30),
            on_timeout: OnTimeout::Release,
            service_accounts: vec!["ci/release-bot".to_owned()],
        },
        rollback: RollbackTerms {
            deadline: SignedDuration::from_mins(10),
            recovery: SignedDuration::from_secs(90),
        },
        pause_rollout: true,
        paused: true,
        code: Some("k7x2m9".to_owned()),
        approvals: approvals(),
        rejected_by: Some("bob".to_owned()),
        escalated: true,
        reconciler: Some(Met {
            title: "Flux Kustomization flux-system/apps".to_owned(),
            revision: Some("main@sha1:bbbb".to_owned()),
            pause: Tool::FluxKustomization
                .pause_annotation()
                .map(|(key, value)| Pause::Annotation { key, value }),
        }),
        git_range: Some("aaaa..bbbb".to_owned()),
        timings: Timings {
            proposed: at(1),
            decided: Some(at(8)),
            patched: Some(at(9)),
            ended: Some(at(10)),
        },
        found: Found {
            from_replica_set: Some("checkout-7d9f8b6c5d".to_owned()),
            to_replica_set: Some("somebody-elses".to_owned()),
            diagnosis: vec![Finding {
                about: "pod/checkout-7d9f8b6c5d-x2".to_owned(),
                saw: "container \"app\" ends with exit code 3".to_owned(),
                attempt: String::new(),
            }],
            impact: Some(Impact {
                failed: 412,
                total: 2000,
                from: at(2),
                until: at(6),
                at_least: true,
                all_revisions: false,
            }),
            traffic: vec!["service \"checkout\" is headless".to_owned()],
        },
    }
}

fn stored(state: State) -> Value {
    let mut object = new("shop", &workload(), &incident(state));
    object["metadata"]["resourceVersion"] = json!("17");
    object["metadata"]["creationTimestamp"] = json!("2026-11-23T05:00:00Z");
    let both = Both::default();
    object["status"] = status(&incident(state), &workload(), &both, &Value::Null, at(20));
    object
}

#[test]
fn what_is_written_is_read_back() {
    for state in State::ALL {
        let record = read(&stored(state)).expect("ours");
        assert_eq!(record.incident, Some(incident(state)));
        assert_eq!(record.deployment, "checkout");
        assert_eq!(record.awaits_approval, state == State::AwaitingApproval);
        assert_eq!(record.closed().is_some(), !state.is_open());
    }
}

#[test]
fn a_record_without_status_has_no_incident_yet() {
    let mut object = stored(State::RollingBack);
    object["status"] = Value::Null;
    assert_eq!(read(&object).expect("ours").incident, None);
    object["status"] = json!({"conditions": "nonsense", "attempt": -4});
    assert_eq!(read(&object).expect("ours").incident, None);
}

#[test]
fn a_request_that_was_seen_stays_one_until_it_is_answered() {
    let mut object = json!({
        "metadata": {"namespace": "shop", "name": "please", "resourceVersion": "1",
            "creationTimestamp": "2026-11-23T05:00:00Z"},
        "spec": {"deployment": {"name": "checkout"}, "reason": "it smells"},
    });
    let asks = |object: &Value| read(object).expect("a record").request.is_some();
    assert!(asks(&object));
    let record = read(&object).expect("a record");
    let patch = claim(&record, &workload(), &incident(State::RollingBack));
    object["metadata"]["labels"] = patch[1]["value"].clone();
    assert!(asks(&object));
    object["status"] = stored(State::RollingBack)["status"].clone();
    assert!(!asks(&object));
}

#[test]
fn answers_are_read_from_annotations() {
    let object = json!({"metadata": {"annotations": {
        names::APPROVE: "checkout-1/k7x2m9:alice", names::REJECT: 7, "other": "x"}}});
    let entry = Entry {
        kind: EntryKind::Approve,
        value: "checkout-1/k7x2m9:alice".to_owned(),
        reason: None,
    };
    assert_eq!(entries(&object), [entry]);
    let object = json!({"metadata": {"annotations": {
        names::BREAK_GLASS: "checkout-1/k7x2m9:alice", names::BREAK_GLASS_REASON: "fire"}}});
    assert_eq!(entries(&object)[0].kind, EntryKind::BreakGlass);
    assert_eq!(entries(&object)[0].reason.as_deref(), Some("fire"));
    assert_eq!(entries(&Value::Null), []);
}

#[test]
fn only_an_unasked_decision_counts_as_one() {
    let mut record = read(&stored(State::Recovered)).expect("ours");
    assert!(!record.closed().expect("closed").wrote_unasked);
    if let Some(incident) = &mut record.incident {
        incident.approvals.clear();
        incident.restored_by = None;
    }
    assert!(record.closed().expect("closed").wrote_unasked);
}

#[test]
fn what_was_found_is_written_as_people_read_it() {
    let object = stored(State::Recovered);
    let status = &object["status"];
    assert_eq!(status["from"]["hash"], "7d9f8b6c5d");
    assert_eq!(
        status["to"]["hash"],
        Value::Null,
        "not named by the controller"
    );
    assert_eq!(status["impact"]["failedRequests"], 412);
    assert_eq!(status["impact"]["atLeast"], true);
    assert_eq!(status["impact"].get("allRevisions"), None);
}

#[test]
fn a_record_of_nothing_found_has_no_fields_for_it() {
    let mut plain = incident(State::RollingBack);
    plain.found = Found::default();
    let both = Both::default();
    let status = status(&plain, &workload(), &both, &Value::Null, at(20));
    for field in ["impact", "from/replicaSet", "to/hash"] {
        assert_eq!(status.pointer(&format!("/{field}")), None, "{field}");
    }
    let mut object = stored(State::RollingBack);
    object["status"] = status;
    assert_eq!(read(&object).expect("ours").incident, Some(plain));
}
