//! Each reading on both sides of its limits. What follows from one is tested in the machine.

use super::*;
use crate::decide::{Pod, Probe, RestartCount, Sample};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn counters(samples: &[(i64, f64, f64)]) -> Evidence {
    Evidence::Counters(vec![PodCounters {
        pod: "checkout-7d9f8b6c5d-abcde".to_owned(),
        born: at(0),
        samples: samples
            .iter()
            .map(|(second, total, failed)| Sample {
                at: at(*second),
                total: *total,
                failed: *failed,
            })
            .collect(),
    }])
}

#[track_caller]
fn check_unknown(evidence: Option<&Evidence>, now: i64, expected: &str) {
    let unknown = fresh_counters(evidence, at(now)).expect_err("not fresh");
    assert_eq!(unknown.name(), expected);
}

#[test]
fn what_is_not_known_is_never_a_number() {
    check_unknown(None, 10, "NoData");
    check_unknown(Some(&Evidence::Counters(Vec::new())), 10, "NoData");
    check_unknown(Some(&counters(&[])), 10, "NoData");
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check_unknown(Some(&counters(&[(5, 10.0, value)])), 10, "NotANumber");
        check_unknown(Some(&counters(&[(5, value, 1.0)])), 10, "NotANumber");
    }
}

#[test]
fn samples_are_stale_after_three_scrapes() {
    let evidence = counters(&[(5, 10.0, 0.0), (10, 20.0, 0.0)]);
    assert!(fresh_counters(Some(&evidence), at(25)).is_ok());
    check_unknown(Some(&evidence), 26, "StaleSamples");
}

fn probe_rule() -> ProbeFailures {
    ProbeFailures {
        probe: Probe::Liveness,
        threshold: 3,
        window: seconds(120),
    }
}

#[track_caller]
fn check_probes(failed: f64, total: f64, expected: &str) {
    let Evidence::Counters(pods) = counters(&[(10, total, failed)]) else {
        unreachable!("counters are counters");
    };
    let reading = probe_failures(&pods, at(10), &probe_rule());
    assert_eq!(word(&reading), expected);
}

fn word(reading: &Reading) -> &'static str {
    match reading {
        Reading::Passing(_) => "Passing",
        Reading::Breached(_) => "Breached",
        Reading::Unknown(unknown) => unknown.name(),
    }
}

#[test]
fn probes_breach_at_the_threshold() {
    check_probes(2.0, 10.0, "Passing");
    check_probes(3.0, 10.0, "Breached");
    check_probes(3.0, 3.0, "Breached");
    check_probes(0.0, 0.0, "NoData");
}

#[test]
fn one_failure_each_while_many_pods_start_does_not_breach() {
    let starting = |number: u32| PodCounters {
        pod: format!("checkout-7d9f8b6c5d-{number}"),
        born: at(0),
        samples: vec![Sample {
            at: at(10),
            total: 10.0,
            failed: 1.0,
        }],
    };
    let pods: Vec<_> = (0..30).map(starting).collect();
    let reading = probe_failures(&pods, at(10), &probe_rule());
    assert_eq!(word(&reading), "Passing");
}

fn restart_observed(counts: &[u32]) -> Observed {
    let pods = counts.iter().zip(1..).map(|(count, number)| Pod {
        name: format!("checkout-7d9f8b6c5d-{number}"),
        born: at(0),
        restarts: vec![RestartCount {
            at: at(5),
            count: *count,
        }],
    });
    Observed {
        workload: workload(),
        memory: crate::decide::Memory::default(),
        past: Vec::new(),
        pods: pods.collect(),
        evidence: std::collections::BTreeMap::new(),
        entries: Vec::new(),
        recorded: None,
        approvals_are_checked: true,
        fresh_code: String::new(),
        passing_since: None,
        refusal: None,
    }
}

fn workload() -> Workload {
    Workload {
        uid: "5eed0002".to_owned(),
        name: "checkout".to_owned(),
        template: crate::decide::Revision("aa".to_owned()),
        current: None,
        replicas: 5,
        rolled_out: false,
        rolling_update: true,
        paused: false,
        paused_by: None,
        rolled_back_by: None,
        ownership_disturbed: false,
        progress_deadline_exceeded: false,
        progress_deadline: seconds(600),
        deleting: false,
    }
}

#[track_caller]
fn check_restarts(counts: &[u32], expected: &str) {
    let rule = Restarts {
        threshold: 3,
        window: seconds(300),
        pods: Ratio(0.2),
    };
    let reading = restarts(&restart_observed(counts), &rule, at(10));
    assert_eq!(word(&reading), expected);
}

#[test]
fn restarts_breach_when_the_share_of_pods_is_reached() {
    check_restarts(&[], "NoPods");
    check_restarts(&[2, 2, 2, 2, 2], "Passing");
    check_restarts(&[3, 0, 0, 0, 0], "Breached");
    check_restarts(&[3, 0, 0, 0, 0, 0], "Passing");
}

#[test]
fn a_rollout_is_stalled_only_past_its_deadline() {
    let mut workload = workload();
    assert_eq!(word(&rollout_stalled(&workload)), "RolloutInProgress");
    workload.rolled_out = true;
    assert_eq!(word(&rollout_stalled(&workload)), "Passing");
    workload.progress_deadline_exceeded = true;
    assert_eq!(word(&rollout_stalled(&workload)), "Breached");
}
