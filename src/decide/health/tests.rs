//! Each reading on both sides of its limits. What follows from one is tested in the machine.

use super::*;
use crate::decide::{Probe, Sample};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn counters(samples: &[(i64, f64, f64)]) -> Counters {
    let new = vec![PodCounters {
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
    }];
    Counters {
        new,
        ..Counters::default()
    }
}

#[track_caller]
fn check_unknown(counters: &Counters, now: i64, expected: &str) {
    let unknown = fresh(counters, at(now)).expect_err("not fresh");
    assert_eq!(unknown.name(), expected);
}

#[test]
fn what_is_not_known_is_never_a_number() {
    check_unknown(&Counters::default(), 10, "NoData");
    check_unknown(&counters(&[]), 10, "NoData");
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check_unknown(&counters(&[(5, 10.0, value)]), 10, "NotANumber");
        check_unknown(&counters(&[(5, value, 1.0)]), 10, "NotANumber");
    }
}

#[test]
fn samples_are_stale_after_three_scrapes() {
    let evidence = counters(&[(5, 10.0, 0.0), (10, 20.0, 0.0)]);
    assert!(fresh(&evidence, at(25)).is_ok());
    check_unknown(&evidence, 26, "StaleSamples");
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
    let pods = counters(&[(10, total, failed)]).new;
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
