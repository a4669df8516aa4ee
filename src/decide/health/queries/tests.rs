//! A query and an alert on both sides of their limits.

use std::collections::BTreeMap;

use super::*;
use crate::decide::{Current, Memory, Revision, RevisionMemory, Workload};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn word(reading: &Reading) -> &'static str {
    match reading {
        Reading::Passing(_) => "Passing",
        Reading::Breached(_) => "Breached",
        Reading::Unknown(unknown) => unknown.name(),
    }
}

fn values(values: &[(i64, f64)]) -> Evidence {
    let value = |(second, value): &(i64, f64)| ValueAt {
        at: at(*second),
        value: *value,
    };
    Evidence::Values(values.iter().map(value).collect())
}

#[track_caller]
fn check_query(evidence: Option<&Evidence>, bound: Bound, expected: &str) {
    let rule = PromQl {
        query: "pool_pending".to_owned(),
        bound,
        sustained: seconds(30),
    };
    assert_eq!(
        word(&promql(&released(), evidence, &rule, at(100))),
        expected
    );
}

#[test]
fn a_query_breaches_when_its_value_stays_on_the_bad_side() {
    let above = Bound::Above(10.0);
    for (samples, expected) in [
        (vec![(60, 11.0), (80, 11.0), (90, 12.0)], "Breached"),
        (vec![(60, 10.0), (70, 11.0), (90, 12.0)], "NotLongEnough"),
        (vec![(60, 11.0), (80, 10.0), (90, 12.0)], "NotLongEnough"),
        (vec![(60, 11.0), (80, 11.0), (90, 10.0)], "Passing"),
    ] {
        check_query(Some(&values(&samples)), above, expected);
    }
    let below = Bound::Below(-1.5);
    check_query(Some(&values(&[(60, -2.0), (90, -1.6)])), below, "Breached");
    check_query(Some(&values(&[(60, -2.0), (90, -1.5)])), below, "Passing");
}

#[test]
fn a_query_without_an_answer_says_nothing() {
    let above = Bound::Above(10.0);
    check_query(None, above, "NoData");
    check_query(Some(&values(&[])), above, "EmptyAnswer");
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check_query(
            Some(&values(&[(80, 11.0), (90, value)])),
            above,
            "NotANumber",
        );
    }
    let missing = Evidence::Missing(Unknown::EmptyAnswer);
    check_query(Some(&missing), above, "EmptyAnswer");
}

#[test]
fn a_query_that_was_bad_before_the_release_says_nothing_about_it() {
    let above = Bound::Above(10.0);
    for (samples, expected) in [
        (vec![(40, 11.0), (50, 11.0), (90, 12.0)], "BadBefore"),
        (vec![(50, 11.0), (70, 11.0), (90, 12.0)], "BadBefore"),
        (vec![(50, 10.0), (60, 11.0), (90, 12.0)], "Breached"),
        (
            vec![(40, 11.0), (55, 10.0), (60, 11.0), (90, 12.0)],
            "Breached",
        ),
        (vec![(20, 11.0), (50, 11.0)], "NoData"),
    ] {
        check_query(Some(&values(&samples)), above, expected);
    }
}

#[test]
fn an_old_value_of_a_query_is_stale() {
    let above = Bound::Above(10.0);
    check_query(Some(&values(&[(60, 1.0), (70, 1.0)])), above, "Passing");
    check_query(
        Some(&values(&[(59, 1.0), (69, 1.0)])),
        above,
        "StaleSamples",
    );
}

/// Released at second 50; rules are evaluated every 10 seconds.
fn released() -> Observed {
    let current = Revision("bad0bad0".to_owned());
    let memory = RevisionMemory {
        number: 2,
        since: at(50),
        ..RevisionMemory::default()
    };
    Observed {
        workload: Workload {
            template: current.clone(),
            current: Some(Current {
                number: 2,
                created: at(50),
            }),
            ..Workload::default()
        },
        memory: Memory {
            revisions: BTreeMap::from([(current, memory)]),
            incident: None,
        },
        ..Observed::default()
    }
}

#[track_caller]
fn check_alert(seen: &[i64], asked: i64, sustained: i64, expected: &str) {
    let evidence = Evidence::Firing(Firing {
        seen: seen.iter().map(|second| at(*second)).collect(),
        asked: Some(at(asked)),
        interval: Some(seconds(10)),
    });
    let rule = Alert {
        labels: BTreeMap::from([("alertname".to_owned(), "CheckoutDown".to_owned())]),
        sustained: seconds(sustained),
    };
    let reading = alert(&released(), Some(&evidence), &rule, at(100));
    assert_eq!(word(&reading), expected);
}

#[test]
fn an_alert_breaches_while_it_fires() {
    check_alert(&[], 95, 0, "Passing");
    check_alert(&[80, 90], 95, 0, "Breached");
    // Twenty seconds of silence are one evaluation that came late; more means that it ended.
    check_alert(&[60, 75], 95, 0, "Breached");
    check_alert(&[60, 74], 95, 0, "Passing");
    check_alert(&[80, 90], 95, 15, "Breached");
    check_alert(&[80, 90], 95, 16, "NotLongEnough");
}

#[test]
fn an_alert_that_fired_before_the_release_says_nothing_about_it() {
    check_alert(&[40, 50, 60, 70, 80, 90], 95, 0, "FiringBefore");
    check_alert(&[50, 60, 70, 80, 90], 95, 0, "FiringBefore");
    // It ended, and began anew.
    check_alert(&[40, 70, 80, 90], 95, 0, "Breached");
    check_alert(&[51, 60, 70, 80, 90], 95, 0, "Breached");
}

#[test]
fn an_alert_at_the_first_look_at_a_release_fired_before_it() {
    let mut observed = released();
    if let Some(current) = &mut observed.workload.current {
        current.number = 3;
    }
    let evidence = Evidence::Firing(Firing {
        seen: vec![at(95)],
        asked: Some(at(95)),
        interval: Some(seconds(10)),
    });
    let rule = Alert {
        labels: BTreeMap::new(),
        sustained: seconds(0),
    };
    let reading = alert(&observed, Some(&evidence), &rule, at(100));
    assert_eq!(word(&reading), "FiringBefore");
}

#[test]
fn a_source_that_was_not_asked_lately_says_nothing_about_an_alert() {
    check_alert(&[90], 69, 0, "StaleSamples");
    let rule = Alert {
        labels: BTreeMap::new(),
        sustained: seconds(0),
    };
    let reading = alert(&released(), None, &rule, at(100));
    assert_eq!(word(&reading), "NoData");
}
