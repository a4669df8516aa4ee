//! Against what `histogram_quantile` gives: a percentile is above a threshold exactly when too large a
//! share took longer.

use super::*;
use crate::observe::prometheus::buffer::{Stream, Target};

fn stream(buckets: &[(f64, &[f64])]) -> Stream {
    let mut stream = Stream::new(Target {
        rank: 0,
        instance: 0,
        job: 0,
    });
    for (edge, counts) in buckets {
        let values: Vec<(Millisecond, f64)> = (1..).zip(counts.iter().copied()).collect();
        stream.add(Column::AtMost(Bound(*edge)), &values);
    }
    stream
}

#[track_caller]
fn check(buckets: &[(f64, &[f64])], threshold: f64, total: f64, slower: f64) {
    let samples = slower_than(&stream(buckets), threshold, Unit::Seconds).expect("samples");
    let last = samples.last().expect("a sample");
    assert!(
        (last.total - total).abs() < 1e-9 && (last.failed - slower).abs() < 1e-9,
        "{last:?}"
    );
}

const BUCKETS: &[(f64, &[f64])] = &[
    (0.1, &[10.0]),
    (0.5, &[50.0]),
    (1.0, &[90.0]),
    (f64::INFINITY, &[100.0]),
];

#[test]
fn an_edge_counts_exactly() {
    check(BUCKETS, 0.5, 100.0, 50.0);
    check(BUCKETS, 1.0, 100.0, 10.0);
}

#[test]
fn between_edges_requests_are_spread_evenly() {
    check(BUCKETS, 0.75, 100.0, 30.0);
    check(BUCKETS, 0.2, 100.0, 80.0);
}

#[test]
fn the_first_bucket_begins_at_zero() {
    check(BUCKETS, 0.05, 100.0, 95.0);
}

#[test]
fn the_share_agrees_with_the_percentile() {
    // histogram_quantile(0.7, …) over BUCKETS: 0.5 + 0.5 * (70 - 50) / 40 = 0.75
    check(BUCKETS, 0.75, 100.0, 100.0 * (1.0 - 0.7));
}

#[test]
fn a_threshold_above_every_edge_says_which_would_do() {
    let unknown = slower_than(&stream(BUCKETS), 3.0, Unit::Seconds).expect_err("too coarse");
    assert!(unknown.to_string().contains("use at most 1s"), "{unknown}");
}

#[test]
fn without_a_count_of_all_there_is_nothing() {
    let samples = slower_than(&stream(&BUCKETS[..2]), 0.2, Unit::Seconds);
    assert_eq!(samples, Ok(Vec::new()));
}

#[test]
fn only_the_edges_around_a_threshold_are_needed() {
    let edges = [0.1, 0.5, 1.0, f64::INFINITY];
    assert_eq!(needed(0.75, &edges), [0.5, 1.0, f64::INFINITY]);
    assert_eq!(needed(0.5, &edges), [0.5, f64::INFINITY]);
    assert_eq!(needed(0.01, &edges), [0.0, 0.1, f64::INFINITY]);
    assert_eq!(needed(9.0, &edges), [1.0, f64::INFINITY]);
}

#[test]
fn with_only_those_edges_the_result_is_the_same() {
    check(&BUCKETS[1..], 0.75, 100.0, 30.0);
}

fn native(buckets: &[(f64, f64, f64)]) -> NativeHistogram {
    let buckets: Vec<NativeBucket> = buckets
        .iter()
        .map(|(lower, upper, count)| NativeBucket {
            lower: *lower,
            upper: *upper,
            count: *count,
        })
        .collect();
    NativeHistogram {
        count: buckets.iter().map(|bucket| bucket.count).sum(),
        buckets,
    }
}

#[track_caller]
fn check_native(buckets: &[(f64, f64, f64)], threshold: f64, within: f64) {
    let found = native_within(&[(1, native(buckets))], threshold)[0].1;
    assert!((found - within).abs() < 1e-6, "{found}");
}

#[test]
fn within_an_exponential_bucket_the_logarithm_is_even() {
    let buckets = [(0.25, 0.5, 10.0), (0.5, 1.0, 40.0), (1.0, 2.0, 50.0)];
    check_native(&buckets, 1.0, 50.0);
    check_native(&buckets, 2.0_f64.sqrt(), 50.0 + 25.0);
    check_native(&buckets, 2.0, 100.0);
    check_native(&buckets, 0.1, 0.0);
}

#[test]
fn within_a_bucket_of_ones_own_choice_requests_are_even() {
    let buckets = [(0.0, 0.3, 10.0), (0.3, 1.0, 40.0)];
    check_native(&buckets, 0.65, 10.0 + 20.0);
    check_native(&buckets, 0.15, 5.0);
}

#[test]
fn the_bucket_around_zero_begins_at_zero() {
    let buckets = [(-0.002, 0.002, 10.0), (0.5, 1.0, 40.0)];
    check_native(&buckets, 0.001, 5.0);
}

#[test]
fn nothing_is_known_about_where_in_an_endless_bucket() {
    check_native(&[(0.0, 1.0, 10.0), (1.0, f64::INFINITY, 5.0)], 7.0, 10.0);
}

#[test]
fn durations_are_in_the_unit_of_the_histogram() {
    let threshold = SignedDuration::from_millis(800);
    assert!((in_unit(threshold, Unit::Seconds) - 0.8).abs() < 1e-12);
    assert!((in_unit(threshold, Unit::Milliseconds) - 800.0).abs() < 1e-9);
}
