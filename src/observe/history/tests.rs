//! What counts as progress, and what is kept of the past.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

/// A rollout in progress whose deadline is endless, so that no condition tells of it.
fn deployment(change: impl Fn(&mut Value)) -> Deployment {
    let mut object = json!({
        "metadata": {"namespace": "shop", "name": "checkout", "uid": "d1", "resourceVersion": "1",
            "generation": 1, "annotations": {}},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "checkout"}},
            "template": {"spec": {"containers": []}}},
        "status": {"observedGeneration": 1, "replicas": 5, "updatedReplicas": 2,
            "readyReplicas": 4, "availableReplicas": 3},
    });
    change(&mut object);
    Deployment::read(&object).expect("a Deployment")
}

fn begun() -> History {
    History::begin(&deployment(|_| ()), at(10))
}

#[track_caller]
fn check_progress(change: impl Fn(&mut Value), expected: i64) {
    let mut history = begun();
    history.note(&deployment(change), at(50));
    assert_eq!(history.progressed, at(expected));
}

fn progressing(reason: &str) -> Value {
    json!([{"type": "Progressing", "status": "True", "reason": reason,
        "lastUpdateTime": "1970-01-01T00:00:30Z"}])
}

#[test]
fn progress_is_more_new_pods_fewer_old_ones_or_more_that_serve() {
    check_progress(|_| (), 10);
    check_progress(|object| object["status"]["updatedReplicas"] = json!(3), 50);
    check_progress(|object| object["status"]["replicas"] = json!(4), 50);
    check_progress(|object| object["status"]["readyReplicas"] = json!(5), 50);
    check_progress(
        |object| object["status"]["availableReplicas"] = json!(4),
        50,
    );
    check_progress(
        |object| object["status"]["availableReplicas"] = json!(2),
        10,
    );
    check_progress(|object| object["spec"]["replicas"] = json!(9), 10);
}

#[test]
fn a_rollout_that_slept_has_its_whole_time() {
    let asleep = deployment(|object| object["spec"]["replicas"] = json!(0));
    let mut history = History::begin(&asleep, at(10));
    history.note(&deployment(|_| ()), at(50));
    assert_eq!(history.progressed, at(50));
}

#[test]
fn a_new_template_begins_anew() {
    check_progress(|object| object["spec"]["template"]["spec"] = json!({}), 50);
}

#[test]
fn a_pause_by_a_person_stops_the_clock_and_our_own_does_not() {
    check_progress(|object| object["spec"]["paused"] = json!(true), 50);
    check_progress(
        |object| {
            object["spec"]["paused"] = json!(true);
            object["metadata"]["annotations"] = json!({"astern.dev/paused-by": "checkout-1"});
            object["status"]["conditions"] = progressing("DeploymentPaused");
        },
        10,
    );
}

#[test]
fn what_kubernetes_says_of_progress_counts() {
    for reason in [
        "NewReplicaSetCreated",
        "ReplicaSetUpdated",
        "DeploymentResumed",
    ] {
        check_progress(
            |object| object["status"]["conditions"] = progressing(reason),
            30,
        );
    }
    check_progress(
        |object| object["status"]["conditions"] = progressing("ProgressDeadlineExceeded"),
        10,
    );
    let seen_late = deployment(|object| {
        object["status"]["conditions"] = progressing("ReplicaSetUpdated");
    });
    assert_eq!(History::begin(&seen_late, at(500)).progressed, at(30));
}

#[test]
fn only_changes_of_availability_are_kept_and_not_too_many() {
    let mut history = begun();
    for count in 0..1000 {
        let available = json!(count / 2 % 2);
        let deployment =
            deployment(|object| object["status"]["availableReplicas"] = available.clone());
        history.note(&deployment, at(20 + count));
    }
    assert_eq!(history.availability.len(), AVAILABILITY_KEPT);
    let newest = history.availability.last().expect("some");
    assert_eq!(
        (newest.at, newest.available, newest.replicas),
        (at(1018), 1, 4)
    );
}
