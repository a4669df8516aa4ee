//! From raw samples to what was counted, on both sides of each rule.

#![expect(
    clippy::float_cmp,
    reason = "whole numbers, or exactly the same arithmetic"
)]

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn pod(born: i64, samples: &[(i64, f64, f64)]) -> PodCounters {
    PodCounters {
        pod: "checkout-7d9f8b6c5d-abcde".to_owned(),
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

fn scraping(seen_since: i64) -> Scraping {
    Scraping {
        interval: seconds(15),
        seen_since: at(seen_since),
        newborns: true,
    }
}

/// From, to, requests, failures; in seconds.
#[track_caller]
fn check(scraping: &Scraping, pod: &PodCounters, expected: &[(i64, i64, f64, f64)]) {
    let epoch = at(0).as_millisecond();
    let found: Vec<_> = scraping
        .increases(pod, Timestamp::MIN)
        .map(|increase| {
            let Counted { total, failed } = increase.counted;
            let second = |time: i64| (time - epoch) / 1000;
            (second(increase.from), second(increase.to), total, failed)
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_newborn_counts_from_zero_at_its_birth() {
    let newborn = pod(0, &[(10, 40.0, 4.0), (25, 100.0, 5.0)]);
    let expected = [(0, 10, 40.0, 4.0), (10, 25, 60.0, 1.0)];
    check(&scraping(10), &newborn, &expected);
}

#[test]
fn a_pod_that_started_slowly_counts_from_zero_one_scrape_before_its_first() {
    let slow = pod(0, &[(100, 40.0, 4.0)]);
    // Others were seen before its birth, so there was nothing of it to see.
    check(&scraping(0), &slow, &[(85, 100, 40.0, 4.0)]);
    check(&scraping(1), &slow, &[]);
}

#[test]
fn a_pod_that_is_older_than_what_was_seen_counts_from_its_first_sample() {
    let late = pod(0, &[(31, 40.0, 4.0), (46, 90.0, 4.0)]);
    check(&scraping(31), &late, &[(31, 46, 50.0, 0.0)]);
    let soon = pod(0, &[(30, 40.0, 4.0), (45, 90.0, 4.0)]);
    let expected = [(15, 30, 40.0, 4.0), (30, 45, 50.0, 0.0)];
    check(&scraping(30), &soon, &expected);
}

#[test]
fn series_that_know_no_revisions_have_no_newborns() {
    let all = Scraping {
        newborns: false,
        ..scraping(-100)
    };
    let ingress = pod(0, &[(5, 1e6, 10.0), (20, 1e6 + 50.0, 12.0)]);
    check(&all, &ingress, &[(5, 20, 50.0, 2.0)]);
}

#[test]
fn a_clock_that_is_behind_does_not_matter() {
    let early = pod(60, &[(5, 40.0, 4.0)]);
    check(&scraping(5), &early, &[(-10, 5, 40.0, 4.0)]);
}

#[test]
fn resets_count_from_zero_also_when_the_samples_jump_over_them() {
    let seen = pod(-600, &[(0, 100.0, 9.0), (15, 30.0, 2.0)]);
    check(&scraping(0), &seen, &[(0, 15, 30.0, 2.0)]);
    let failures_only = pod(-600, &[(0, 100.0, 9.0), (15, 130.0, 2.0)]);
    check(&scraping(0), &failures_only, &[(0, 15, 130.0, 2.0)]);
    let jumped = pod(-600, &[(0, 100.0, 9.0), (15, 105.0, 60.0)]);
    check(&scraping(0), &jumped, &[(0, 15, 105.0, 60.0)]);
    let all_failed = pod(-600, &[(0, 100.0, 9.0), (15, 151.0, 60.0)]);
    check(&scraping(0), &all_failed, &[(0, 15, 51.0, 51.0)]);
}

#[test]
fn a_pod_never_fails_more_often_than_it_is_asked() {
    let nonsense = pod(0, &[(10, 5.0, 50.0)]);
    check(&scraping(10), &nonsense, &[(0, 10, 5.0, 5.0)]);
}

#[test]
fn times_that_do_not_move_on_are_passed_over() {
    let doubled = pod(
        -600,
        &[
            (0, 100.0, 1.0),
            (0, 100.0, 1.0),
            (15, 130.0, 2.0),
            (15, 130.0, 2.0),
        ],
    );
    check(&scraping(0), &doubled, &[(0, 15, 30.0, 1.0)]);
}

#[test]
fn no_samples_are_no_increases() {
    check(&scraping(0), &pod(0, &[]), &[]);
}

#[test]
fn a_window_counts_what_ends_in_it() {
    let pods = [pod(
        -600,
        &[(0, 100.0, 1.0), (15, 130.0, 2.0), (30, 150.0, 8.0)],
    )];
    let counted = |window, end| scraping(0).counted(&pods, seconds(window), at(end)).total;
    assert_eq!(counted(15, 30), 20.0);
    assert_eq!(counted(16, 30), 50.0);
    assert_eq!(counted(60, 29), 30.0);
    assert_eq!(counted(60, -1), 0.0);
}

fn over_since_second(samples: &[(i64, f64, f64)], longest: i64) -> Option<i64> {
    let increases: Vec<_> = scraping(0)
        .increases(&pod(0, samples), Timestamp::MIN)
        .collect();
    let over = |counted: Counted| counted.total >= 20.0 && counted.failed > 0.05 * counted.total;
    over_since(&increases, seconds(60), seconds(longest), over)
        .map(|since| (since - at(0).as_millisecond()) / 1000)
}

#[test]
fn the_row_over_the_limit_breaks_where_it_was_not_over() {
    let samples = [
        (5, 100.0, 50.0),
        (20, 2000.0, 50.0),
        (35, 2100.0, 250.0),
        (50, 2200.0, 350.0),
    ];
    assert_eq!(over_since_second(&samples, 600), Some(35));
    assert_eq!(over_since_second(&samples[..2], 600), None);
    assert_eq!(over_since_second(&samples[..1], 600), Some(5));
}

#[test]
fn it_looks_back_no_further_than_asked() {
    let samples: Vec<_> = (1..40_i32)
        .map(|scrape| {
            (
                i64::from(scrape) * 15,
                f64::from(scrape) * 50.0,
                f64::from(scrape) * 25.0,
            )
        })
        .collect();
    assert_eq!(over_since_second(&samples, 6000), Some(15));
    assert_eq!(over_since_second(&samples, 120), Some(39 * 15 - 120));
    assert_eq!(over_since_second(&samples, 121), Some(38 * 15 - 120));
}

#[test]
fn a_look_at_too_few_requests_breaks_the_row() {
    assert_eq!(over_since_second(&[(5, 19.0, 19.0)], 600), None);
    assert_eq!(over_since_second(&[(5, 20.0, 20.0)], 600), Some(5));
}
