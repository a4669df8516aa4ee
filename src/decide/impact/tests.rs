use super::*;
use crate::decide::{ErrorRate, Limit, Probe, ProbeFailures, Rate, Ratio, Requests, Unknown};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

/// A pod by when it was born, and its samples as second, total, failed.
fn pod(name: &str, born: i64, samples: &[(i64, f64, f64)]) -> PodCounters {
    PodCounters {
        pod: name.to_owned(),
        born: at(born),
        samples: samples
            .iter()
            .map(|(second, total, failed)| Sample {
                at: at(*second),
                total: *total,
                failed: *failed,
            })
            .collect(),
    }
}

/// Scraped every ten seconds to the end at 30; it fails between 10 and 20.
const FAILING: &[(i64, f64, f64)] = &[(10, 40.0, 0.0), (20, 90.0, 25.0), (30, 130.0, 25.0)];

fn bad() -> PodCounters {
    pod("checkout-7d9f-aaaaa", 2, FAILING)
}

fn counters(new: Vec<PodCounters>) -> Counters {
    Counters {
        new,
        ..Counters::default()
    }
}

fn seen(failed: u64, total: u64, span: (i64, i64), at_least: bool) -> Impact {
    Impact {
        failed,
        total,
        from: at(span.0),
        until: at(span.1),
        at_least,
        all_revisions: false,
    }
}

/// Counts from 0 to 30.
#[track_caller]
fn check(counters: &Counters, expected: Option<Impact>) {
    assert_eq!(impact(counters, at(0), at(30)), expected);
}

#[test]
fn failures_lie_between_the_scrapes_that_show_them() {
    check(&counters(vec![bad()]), Some(seen(25, 130, (10, 20), false)));
}

#[test]
fn pods_add_up_and_the_span_reaches_over_all_of_them() {
    let other = pod(
        "checkout-7d9f-bbbbb",
        2,
        &[(8, 10.0, 10.0), (18, 20.0, 10.0), (28, 30.0, 10.0)],
    );
    check(
        &counters(vec![bad(), other]),
        Some(seen(35, 160, (2, 20), false)),
    );
}

#[test]
fn a_revision_that_failed_nothing_has_an_impact_of_none() {
    let fine = pod("checkout-7d9f-ccccc", 2, &[(10, 5.0, 0.0), (30, 9.0, 0.0)]);
    check(&counters(vec![fine]), Some(seen(0, 9, (2, 30), false)));
}

#[test]
fn nothing_is_said_where_nothing_was_counted() {
    check(&Counters::default(), None);
    check(&counters(vec![pod("checkout-7d9f-ddddd", 2, &[])]), None);
    let only_before = pod(
        "checkout-7d9f-eeeee",
        -60,
        &[(-40, 5.0, 1.0), (0, 9.0, 2.0)],
    );
    check(&counters(vec![only_before]), None);
    let only_after = pod("checkout-7d9f-fffff", 20, &[(31, 5.0, 1.0), (41, 9.0, 2.0)]);
    check(&counters(vec![only_after]), None);
}

#[test]
fn what_came_before_the_release_or_after_the_end_does_not_count() {
    let old = pod(
        "checkout-7d9f-ggggg",
        -100,
        &[
            (-10, 500.0, 400.0),
            (0, 600.0, 410.0),
            (10, 650.0, 415.0),
            (30, 660.0, 416.0),
            (40, 900.0, 500.0),
        ],
    );
    check(&counters(vec![old]), Some(seen(6, 60, (0, 30), false)));
}

#[test]
fn after_a_reset_there_may_have_been_more() {
    let restarted = pod(
        "checkout-7d9f-hhhhh",
        2,
        &[(10, 40.0, 8.0), (20, 15.0, 3.0), (30, 25.0, 3.0)],
    );
    check(
        &counters(vec![restarted]),
        Some(seen(11, 65, (2, 20), true)),
    );
}

#[test]
fn a_pod_that_was_not_scraped_to_the_end_may_have_failed_more() {
    let scraped_every_five = |last: i64| {
        let samples: Vec<(i64, f64, f64)> = (1..=last / 5)
            .map(|step| step * 5)
            .map(|second| (second, 10.0, 4.0))
            .collect();
        counters(vec![pod("checkout-7d9f-iiiii", 2, &samples)])
    };
    check(&scraped_every_five(20), Some(seen(4, 10, (2, 5), false)));
    check(&scraped_every_five(15), Some(seen(4, 10, (2, 5), true)));
}

#[test]
fn a_pod_that_had_counted_before_it_was_seen_may_have_failed_more() {
    let unseen = pod(
        "checkout-7d9f-jjjjj",
        -100,
        &[(5, 70.0, 30.0), (15, 80.0, 33.0), (25, 90.0, 33.0)],
    );
    check(&counters(vec![unseen]), Some(seen(3, 20, (5, 15), true)));
}

#[test]
fn what_is_no_number_is_passed_over() {
    let mut broken = bad();
    broken.samples.insert(
        1,
        Sample {
            at: at(15),
            total: f64::NAN,
            failed: f64::INFINITY,
        },
    );
    check(
        &counters(vec![broken]),
        Some(seen(25, 130, (10, 20), false)),
    );
}

#[test]
fn more_failures_than_requests_are_as_many_as_requests() {
    let odd = pod(
        "checkout-7d9f-kkkkk",
        2,
        &[(10, 3.0, 9.0), (20, 3.0, 9.0), (30, 3.0, 9.0)],
    );
    check(&counters(vec![odd]), Some(seen(3, 3, (2, 10), false)));
}

#[test]
fn of_what_counts_all_revisions_together_the_scrape_over_the_release_is_left_out() {
    let together = |samples| Counters {
        before_and_after: true,
        ..counters(vec![pod("(all revisions)", 0, samples)])
    };
    // Counted since the sample before the release, as it comes from the source.
    let expected = Impact {
        all_revisions: true,
        ..seen(25, 90, (10, 20), true)
    };
    check(&together(FAILING), Some(expected));
    check(&together(&FAILING[..1]), None);
}

#[test]
fn a_replaced_revision_counts_by_its_own_pods() {
    let other = pod(
        "checkout-7d9f-2-bbbbb",
        2,
        &[(10, 7.0, 7.0), (20, 9.0, 9.0)],
    );
    let longer = pod("checkout-7d9f8-bbbbb", 2, &[(10, 7.0, 7.0), (20, 9.0, 9.0)]);
    let counters = Counters {
        new: vec![pod("checkout-5b6c-zzzzz", 21, &[(25, 3.0, 3.0)])],
        old: vec![bad(), other, longer],
        ..Counters::default()
    };
    let found = impact_of_replaced(&counters, "checkout-7d9f", at(0), at(30));
    assert_eq!(found, Some(seen(25, 130, (10, 20), false)));
    let gone = impact_of_replaced(&counters, "checkout-7d9f", at(0), at(80));
    assert_eq!(gone, Some(seen(25, 130, (10, 20), true)));
    assert_eq!(
        impact_of_replaced(&counters, "checkout-0000", at(0), at(30)),
        None
    );
}

#[test]
fn a_replaced_revision_counts_what_all_counted_between_both_releases() {
    let counters = Counters {
        old: vec![pod(
            "(all revisions)",
            -60,
            &[
                (-5, 500.0, 100.0),
                (5, 600.0, 120.0),
                (15, 700.0, 150.0),
                (25, 800.0, 150.0),
            ],
        )],
        before_and_after: true,
        ..Counters::default()
    };
    let expected = Impact {
        all_revisions: true,
        ..seen(30, 200, (5, 15), true)
    };
    let found = impact_of_replaced(&counters, "checkout-7d9f", at(0), at(30));
    assert_eq!(found, Some(expected));
}

#[test]
fn triggers_that_count_the_same_requests_count_them_once() {
    let smaller = seen(24, 200, (0, 30), true);
    let larger = seen(25, 130, (10, 20), false);
    let more_requests = seen(25, 131, (10, 20), false);
    assert_eq!(largest([larger, smaller]), Some(larger));
    assert_eq!(
        largest([smaller, more_requests, larger]),
        Some(more_requests)
    );
    assert_eq!(largest([]), None);
}

fn errors(name: &str) -> Trigger {
    let rate = Rate {
        limit: Limit::Threshold {
            threshold: Ratio(0.05),
            sustained: SignedDuration::from_secs(60),
        },
        window: SignedDuration::from_secs(60),
        minimum_requests: 20,
    };
    let requests = Requests::Custom {
        total: "requests".to_owned(),
        errors: "errors".to_owned(),
    };
    Trigger {
        name: name.to_owned(),
        mode: None,
        kind: TriggerKind::ErrorRate(ErrorRate { requests, rate }),
    }
}

#[test]
fn only_requests_that_failed_count_and_the_trigger_that_saw_most_of_them() {
    let probes = Trigger {
        name: "probes".to_owned(),
        mode: None,
        kind: TriggerKind::ProbeFailures(ProbeFailures {
            probe: Probe::Liveness,
            threshold: 3,
            window: SignedDuration::from_secs(60),
        }),
    };
    let many = pod(
        "checkout-7d9f-aaaaa",
        2,
        &[(10, 900.0, 900.0), (20, 900.0, 900.0), (30, 900.0, 900.0)],
    );
    let few = pod("checkout-7d9f-aaaaa", 2, &[(20, 9.0, 9.0), (30, 9.0, 9.0)]);
    let evidence = BTreeMap::from([
        (
            "probes".to_owned(),
            Evidence::Counters(counters(vec![many])),
        ),
        (
            "gateway".to_owned(),
            Evidence::Counters(counters(vec![bad()])),
        ),
        ("pods".to_owned(), Evidence::Counters(counters(vec![few]))),
        ("down".to_owned(), Evidence::Missing(Unknown::NoData)),
    ]);
    let triggers = ["pods", "gateway", "down", "unasked"].map(errors);
    let triggers: Vec<Trigger> = [probes].into_iter().chain(triggers).collect();
    let count = |counters: &Counters| impact(counters, at(0), at(30));
    let found = by_triggers(&triggers, &evidence, count);
    assert_eq!(found, Some(seen(25, 130, (10, 20), false)));
    assert_eq!(by_triggers(&triggers[..1], &evidence, count), None);
}

#[test]
fn it_says_what_it_does_not_know() {
    let exact = seen(25, 130, (10, 20), false);
    assert_eq!(
        exact.to_string(),
        "25 of 130 requests failed between 1970-01-12T13:46:50Z and 1970-01-12T13:47:00Z"
    );
    let vague = Impact {
        at_least: true,
        all_revisions: true,
        ..exact
    };
    assert_eq!(
        vague.to_string(),
        "at least 25 of 130 requests failed between 1970-01-12T13:46:50Z and \
         1970-01-12T13:47:00Z, all revisions counted together"
    );
}
