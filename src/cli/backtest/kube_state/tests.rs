//! What was recorded, seen at a moment.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn row(labels: &[(&'static str, &str)], values: &[(i64, f64)]) -> Row {
    Row {
        labels: labels
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        values: values
            .iter()
            .map(|(second, value)| (at(*second), *value))
            .collect(),
    }
}

fn pod_row(name: &'static str, more: &[(&'static str, &str)], values: &[(i64, f64)]) -> Row {
    let labels = [&[("__name__", name), ("pod", "x-a-1")], more].concat();
    row(&labels, values)
}

fn state() -> KubeState {
    KubeState::of(&[
        row(
            &[("__name__", "kube_deployment_spec_replicas")],
            &[(0, 4.0), (30, 4.0)],
        ),
        row(
            &[("__name__", "kube_deployment_status_replicas_available")],
            &[(0, 4.0), (30, 3.0), (60, 4.0)],
        ),
        row(
            &[("__name__", "kube_deployment_status_condition")],
            &[(0, 0.0), (60, 1.0)],
        ),
        pod_row("kube_pod_created", &[], &[(0, 999_990.0), (120, 999_990.0)]),
        pod_row(
            "kube_pod_status_ready",
            &[],
            &[(0, 0.0), (30, 1.0), (60, 1.0)],
        ),
        pod_row(
            "kube_pod_container_status_restarts_total",
            &[("container", "app")],
            &[(0, 0.0), (30, 2.0)],
        ),
        pod_row(
            "kube_pod_container_status_restarts_total",
            &[("container", "proxy")],
            &[(0, 1.0), (30, 1.0)],
        ),
        pod_row(
            "kube_pod_container_status_waiting_reason",
            &[("container", "app"), ("reason", "CrashLoopBackOff")],
            &[(60, 1.0)],
        ),
        pod_row(
            "kube_pod_container_status_last_terminated_reason",
            &[("container", "app"), ("reason", "OOMKilled")],
            &[(30, 1.0)],
        ),
    ])
}

#[test]
fn the_deployment_is_seen_as_it_was() {
    let state = state();
    assert_eq!(state.replicas(at(10)), Some(4));
    assert_eq!(state.replicas(at(-1)), None);
    let seen = state.availability(at(40));
    assert_eq!(
        seen.last().map(|seen| (seen.at, seen.available)),
        Some((at(30), 3))
    );
    assert!(!state.deadline_exceeded(at(59)));
    assert!(state.deadline_exceeded(at(60)));
    assert!(!state.paused(at(60)));
    assert_eq!(state.progressed(at(50)), Some(at(30)));
    assert!(!state.is_empty());
    assert!(KubeState::default().is_empty());
}

#[test]
fn pods_are_seen_as_they_were() {
    let state = state();
    let pod = |second| state.pods(at(second), |_| true).pop().expect("a pod");
    assert_eq!(state.pods(at(-20), |_| true), []);
    assert_eq!(state.pods(at(10), |name| name != "x-a-1"), []);
    let early = pod(10);
    assert_eq!((early.born, early.ready), (at(-10), None));
    assert_eq!((early.waiting, early.last_termination), (None, None));
    let late = pod(60);
    assert_eq!(late.ready, Some(at(30)));
    assert_eq!(late.restarts.last().map(|seen| seen.count), Some(3));
    assert_eq!(late.last_termination.as_deref(), Some("OOMKilled"));
    let waiting = late.waiting.expect("it waits");
    assert_eq!(
        (waiting.reason.as_str(), waiting.since),
        ("CrashLoopBackOff", at(60))
    );
    // The scrape at 120 found it running again.
    assert_eq!(pod(130).waiting, None);
    assert_eq!(state.pods(at(221), |_| true), []);
}
