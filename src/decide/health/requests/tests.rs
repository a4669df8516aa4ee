//! Each rule on both sides of its limit. How well they do is measured by `make bench-judging`.

#![expect(
    clippy::float_cmp,
    reason = "whole numbers, or exactly the same arithmetic"
)]

use super::*;
use crate::decide::Sample;

const INTERVAL: i64 = 15;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_500_000 + second)
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// A pod that serves `rate` requests a second, of which a share fails, from birth until an end.
#[derive(Clone, Copy)]
struct Pod {
    born: i64,
    /// Its first scrape; the others follow every 15 seconds.
    first: i64,
    last: i64,
    rate: f64,
}

impl Pod {
    fn failing(self, share: impl Fn(i64) -> f64) -> PodCounters {
        let Self {
            born,
            first,
            last,
            rate,
        } = self;
        let interval = usize::try_from(INTERVAL).expect("positive");
        let scrapes = (first..=last).step_by(interval);
        let failed = |until: i64| (born..until).map(|second| rate * share(second)).sum();
        #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
        let samples = scrapes.map(|second| Sample {
            at: at(second),
            total: rate * (second - born) as f64,
            failed: failed(second),
        });
        PodCounters {
            pod: format!("checkout-7d9f8b6c5d-{first}"),
            born: at(born),
            samples: samples.collect(),
        }
    }
}

/// Three new pods, born at 0, and nine old ones, all of whose phases differ; until `last`.
fn new_pods(last: i64, share: impl Fn(i64) -> f64) -> Vec<PodCounters> {
    let pod = |first: i64| Pod {
        born: 0,
        first,
        last,
        rate: 10.0,
    };
    [2, 7, 12].map(|first| pod(first).failing(&share)).into()
}

fn old_pods(last: i64, share: impl Fn(i64) -> f64) -> Vec<PodCounters> {
    let pod = |first: i64| Pod {
        born: -300,
        first: first - 300,
        last,
        rate: 10.0,
    };
    let phases = [0, 1, 3, 5, 6, 8, 10, 11, 13];
    phases.map(|first| pod(first).failing(&share)).into()
}

fn threshold() -> Rate {
    Rate {
        limit: Limit::Threshold {
            threshold: Ratio(0.05),
            sustained: seconds(120),
        },
        window: seconds(60),
        minimum_requests: 20,
    }
}

fn worse_than_before() -> Rate {
    Rate {
        limit: Limit::WorseThanBefore {
            factor: 3.0,
            at_least: Ratio(0.005),
        },
        ..threshold()
    }
}

/// The only place that calls `judge`.
fn read(counters: &Counters, baseline: Option<Counted>, rate: &Rate) -> Reading {
    let newest = crate::decide::detectors::newest_sample(&counters.new).expect("samples");
    let case = Case {
        counters,
        baseline,
        newest,
        interval: seconds(INTERVAL),
    };
    judge(&case, rate, Bad::Failed)
}

fn word(reading: &Reading) -> &'static str {
    match reading {
        Reading::Passing(_) => "Passing",
        Reading::Breached(Measurement::Requests(measurement)) if measurement.conclusive => {
            "Conclusive"
        }
        Reading::Breached(_) => "Breached",
        Reading::Unknown(unknown) => unknown.name(),
    }
}

fn beside(new: Vec<PodCounters>, old: Vec<PodCounters>) -> Counters {
    Counters {
        new,
        old,
        ..Counters::default()
    }
}

#[track_caller]
fn check(counters: &Counters, baseline: Option<Counted>, rate: &Rate, expected: &str) {
    assert_eq!(word(&read(counters, baseline, rate)), expected);
}

fn counted(total: f64, failed: f64) -> Counted {
    Counted { total, failed }
}

#[test]
fn a_rate_over_the_threshold_breaches_after_its_time() {
    let alone = |last| beside(new_pods(last, |_| 0.2), Vec::new());
    // The first look with enough requests is at second 2: 20 requests, 4 failed.
    check(&alone(119), None, &threshold(), "NotLongEnough");
    check(&alone(122), None, &threshold(), "Breached");
}

#[test]
fn a_rate_at_the_threshold_passes() {
    let alone = |share: f64| beside(new_pods(200, move |_| share), Vec::new());
    check(&alone(0.05), None, &threshold(), "Passing");
    check(&alone(0.051), None, &threshold(), "Breached");
}

#[test]
fn too_few_requests_say_nothing() {
    let sparse = |rate| {
        let pod = Pod {
            born: 0,
            first: 10,
            last: 190,
            rate,
        };
        beside(vec![pod.failing(|_| 0.5)], Vec::new())
    };
    check(&sparse(0.32), None, &threshold(), "TooFewRequests");
    check(&sparse(0.34), None, &threshold(), "Breached");
    check(&sparse(0.32), None, &worse_than_before(), "TooFewRequests");
}

#[test]
fn the_window_holds_at_least_four_scrapes() {
    let rate = Rate {
        window: seconds(1),
        ..threshold()
    };
    let counters = beside(new_pods(30, |_| 0.0), Vec::new());
    let Reading::Passing(Measurement::Requests(measurement)) = read(&counters, None, &rate) else {
        unreachable!("it passes");
    };
    assert_eq!(measurement.window, seconds(60));
    assert_eq!(measurement.counted.total, (27.0 + 22.0 + 17.0) * 10.0);
}

#[test]
fn gross_errors_beside_good_old_pods_are_conclusive_within_a_scrape() {
    let counters = beside(new_pods(14, |_| 0.5), old_pods(14, |_| 0.001));
    check(&counters, None, &threshold(), "Conclusive");
    let told = read(&counters, None, &threshold());
    let Reading::Breached(measurement) = told else {
        unreachable!("it is breached");
    };
    assert_eq!(
        measurement.to_string(),
        "50% of 210 requests failed since it began, conclusively more than before, 0.1% before (limit 5%)"
    );
}

#[test]
fn without_old_pods_only_time_tells() {
    let counters = beside(new_pods(60, |_| 0.5), Vec::new());
    check(&counters, None, &threshold(), "NotLongEnough");
    let gone = beside(new_pods(60, |_| 0.5), old_pods(-20, |_| 0.001));
    check(&gone, None, &threshold(), "NotLongEnough");
}

#[test]
fn below_the_threshold_nothing_happens_however_sure_the_test() {
    let mut new = new_pods(890, |_| 0.049);
    for sample in new.iter_mut().flat_map(|pod| &mut pod.samples) {
        sample.total *= 1000.0;
        sample.failed *= 1000.0;
    }
    let counters = beside(new, old_pods(890, |_| 0.0));
    check(&counters, None, &threshold(), "Passing");
    check(&counters, None, &worse_than_before(), "Conclusive");
}

#[test]
fn an_outage_of_everybody_is_never_conclusive() {
    // From before the release on: one that begins with it is seen by new pods only in part.
    for start in (-16..75).step_by(2) {
        let outage = |second: i64| {
            if (start..start + 45).contains(&second) {
                0.5
            } else {
                0.001
            }
        };
        for last in (start.max(2)..start + 60).step_by(3) {
            let counters = beside(new_pods(last, outage), old_pods(last, outage));
            for rate in [threshold(), worse_than_before()] {
                let reading = read(&counters, None, &rate);
                assert!(
                    !matches!(reading, Reading::Breached(_)),
                    "an outage at {start} convicts at {last}: {reading:?}"
                );
            }
        }
    }
}

#[test]
fn old_pods_that_were_not_scraped_since_clear_and_convict_nobody() {
    // All old pods were scraped right before it began, and the new ones right after.
    let outage = |second: i64| if second >= 61 { 0.9 } else { 0.0 };
    let old = |last| {
        let pod = Pod {
            born: -300,
            first: -299,
            last,
            rate: 40.0,
        };
        vec![pod.failing(outage); 3]
    };
    let unseen = beside(new_pods(72, outage), old(61));
    check(&unseen, None, &threshold(), "NotLongEnough");
    let seen = beside(new_pods(80, outage), old(76));
    check(&seen, None, &threshold(), "NotLongEnough");
}

#[test]
fn one_pod_in_one_scrape_is_never_enough() {
    let mut new = new_pods(14, |_| 0.0);
    new.truncate(1);
    // A thousand retries of one client.
    new[0].samples[0].total = 1_000.0;
    new[0].samples[0].failed = 1_000.0;
    let one = beside(new, old_pods(40, |_| 0.0));
    check(&one, None, &threshold(), "NotLongEnough");
}

#[test]
fn what_was_bad_before_is_not_the_releases_fault() {
    let new = || new_pods(200, |_| 0.2);
    let old = |share: f64| beside(new(), old_pods(-20, move |_| share));
    check(&old(0.2), None, &threshold(), "BadBefore");
    check(&old(0.05), None, &threshold(), "Breached");
    let alone = beside(new(), Vec::new());
    check(
        &alone,
        Some(counted(1_000.0, 200.0)),
        &threshold(),
        "BadBefore",
    );
    check(
        &alone,
        Some(counted(1_000.0, 50.0)),
        &threshold(),
        "Breached",
    );
    // Too few to say.
    check(&alone, Some(counted(19.0, 19.0)), &threshold(), "Breached");
}

/// At low traffic chance brings a healthy rate over a threshold for minutes.
#[test]
fn over_the_threshold_but_like_the_old_pods_beside_it_is_not_the_releases_fault() {
    let burst = |second: i64| if second >= 600 { 0.07 } else { 0.01 };
    let sparse = |pods: Vec<PodCounters>| -> Vec<PodCounters> {
        let less = |mut pod: PodCounters| {
            for sample in &mut pod.samples {
                sample.total /= 30.0;
                sample.failed /= 30.0;
            }
            pod
        };
        pods.into_iter().map(less).collect()
    };
    let new = || sparse(new_pods(790, burst));
    let old = |last| sparse(old_pods(last, |_| 0.02));
    check(&beside(new(), old(790)), None, &threshold(), "BadBefore");
    // Those that are gone cannot have had it too.
    check(&beside(new(), old(500)), None, &threshold(), "Breached");
}

#[test]
fn what_was_bad_before_and_is_surely_worse_is_its_fault() {
    let alone = beside(new_pods(200, |_| 0.5), Vec::new());
    check(
        &alone,
        Some(counted(10_000.0, 600.0)),
        &threshold(),
        "Breached",
    );
    check(&alone, Some(counted(30.0, 10.0)), &threshold(), "BadBefore");
}

#[test]
fn nothing_before_is_nothing_to_compare_with() {
    let alone = beside(new_pods(200, |_| 0.5), Vec::new());
    check(&alone, None, &worse_than_before(), "NothingBefore");
}

#[test]
fn a_rate_at_the_least_passes_whatever_was_before() {
    let counters = beside(new_pods(200, |_| 0.0049), old_pods(200, |_| 0.0));
    check(&counters, None, &worse_than_before(), "Passing");
    let over = beside(new_pods(200, |_| 0.0051), old_pods(200, |_| 0.0));
    check(&over, None, &worse_than_before(), "NotConclusive");
}

#[test]
fn the_factor_is_held_against_the_old_pods() {
    let counters = |new: f64, last| beside(new_pods(last, move |_| new), old_pods(last, |_| 0.01));
    check(
        &counters(0.1, 120),
        None,
        &worse_than_before(),
        "Conclusive",
    );
    check(&counters(0.029, 800), None, &worse_than_before(), "Passing");
    check(
        &counters(0.031, 800),
        None,
        &worse_than_before(),
        "NotConclusive",
    );
}

#[test]
fn one_scrape_of_all_pods_is_not_worse_than_before() {
    let counters = |last| beside(new_pods(last, |_| 1.0), old_pods(last, |_| 0.0));
    check(&counters(14), None, &worse_than_before(), "NotConclusive");
}

#[test]
fn a_baseline_convicts_from_the_fourth_scrape() {
    let alone = |last| beside(new_pods(last, |_| 0.5), Vec::new());
    let baseline = Some(counted(100_000.0, 100.0));
    check(&alone(44), baseline, &worse_than_before(), "NotConclusive");
    check(&alone(90), baseline, &worse_than_before(), "Conclusive");
}

#[test]
fn a_baseline_of_few_requests_is_not_believed() {
    let alone = beside(new_pods(200, |_| 0.02), Vec::new());
    let few = Some(counted(100.0, 0.0));
    check(&alone, few, &worse_than_before(), "NotConclusive");
    let many = Some(counted(100_000.0, 0.0));
    check(&alone, many, &worse_than_before(), "Conclusive");
}

#[test]
fn before_and_after_never_stand_beside_each_other() {
    let counters = |last| Counters {
        before_and_after: true,
        ..beside(new_pods(last, |_| 0.5), old_pods(0, |_| 0.001))
    };
    check(&counters(60), None, &threshold(), "NotLongEnough");
    check(&counters(30), None, &worse_than_before(), "NotConclusive");
    check(&counters(140), None, &worse_than_before(), "Conclusive");
}

/// Same requests, but the counters of the first new pod start anew in between.
#[test]
fn a_restarted_container_changes_nothing() {
    for restart in [20, 50, 80] {
        let mut new = new_pods(100, |_| 0.2);
        let samples = &mut new[0].samples;
        let before = samples.iter().rposition(|sample| sample.at <= at(restart));
        let zero = samples[before.expect("sampled before")];
        for sample in samples.iter_mut().filter(|sample| sample.at > zero.at) {
            sample.total -= zero.total;
            sample.failed -= zero.failed;
        }
        let whole = beside(new_pods(100, |_| 0.2), Vec::new());
        let restarted = beside(new, Vec::new());
        assert_eq!(
            read(&restarted, None, &threshold()),
            read(&whole, None, &threshold())
        );
    }
}

#[test]
fn samples_given_twice_count_once() {
    let double = |pods: Vec<PodCounters>| -> Vec<PodCounters> {
        let twice = |pod: PodCounters| PodCounters {
            samples: pod.samples.iter().flat_map(|sample| [*sample; 2]).collect(),
            ..pod
        };
        pods.into_iter().map(twice).collect()
    };
    for (share, rate) in [
        (0.04, threshold()),
        (0.2, threshold()),
        (0.1, worse_than_before()),
    ] {
        let once = beside(new_pods(100, |_| share), old_pods(100, |_| 0.01));
        let twice = beside(double(once.new.clone()), double(once.old.clone()));
        assert_eq!(read(&twice, None, &rate), read(&once, None, &rate));
    }
}

#[test]
fn the_order_of_pods_does_not_matter() {
    for (share, rate) in [
        (0.2, threshold()),
        (0.04, threshold()),
        (0.1, worse_than_before()),
    ] {
        let counters = beside(new_pods(100, |_| share), old_pods(100, |_| 0.01));
        let mut turned = counters.clone();
        turned.new.rotate_left(1);
        turned.old.reverse();
        let [straight, turned] = [counters, turned].map(|counters| read(&counters, None, &rate));
        assert_eq!(word(&straight), word(&turned));
    }
}

/// All pods restart their clocks at another time of day.
#[test]
fn when_it_happens_does_not_matter() {
    let later = |pods: Vec<PodCounters>, by: SignedDuration| -> Vec<PodCounters> {
        let shift = |mut pod: PodCounters| {
            pod.born += by;
            for sample in &mut pod.samples {
                sample.at += by;
            }
            pod
        };
        pods.into_iter().map(shift).collect()
    };
    for rate in [threshold(), worse_than_before()] {
        for by in [15, 3600, 86_400 * 365] {
            let now = beside(new_pods(100, |_| 0.1), old_pods(100, |_| 0.01));
            let then = beside(
                later(now.new.clone(), seconds(by)),
                later(now.old.clone(), seconds(by)),
            );
            assert_eq!(read(&then, None, &rate), read(&now, None, &rate));
        }
    }
}

/// New pods see all of it in half a scrape, and old ones, scraped right after them, in a whole one.
#[test]
fn an_outage_that_begins_with_the_release_is_not_its_fault() {
    for start in -3..6 {
        let outage = |second: i64| if second >= start { 0.5 } else { 0.0 };
        let pods = |born: i64, first: i64, last: i64, count: usize| {
            let pod = Pod {
                born,
                first,
                last,
                rate: 300.0,
            };
            vec![pod.failing(outage); count]
        };
        let counters = beside(pods(0, 7, 7, 3), pods(-300, -292, 8, 9));
        check(&counters, None, &threshold(), "NotLongEnough");
    }
}

#[test]
fn a_cold_start_is_not_worse_than_before() {
    let cold = |second: i64| if second < 5 { 0.2 } else { 0.001 };
    for last in 2..200 {
        let counters = beside(new_pods(last, cold), old_pods(last, |_| 0.001));
        let reading = read(&counters, None, &worse_than_before());
        assert!(
            !matches!(reading, Reading::Breached(_)),
            "{last}: {reading:?}"
        );
    }
}

#[test]
fn numbers_of_any_size_are_judged_without_a_panic() {
    let sizes = [0.0, 1.0, 1e15, 1e300, f64::MAX];
    for total in sizes {
        for failed in sizes {
            let sample = |second, size: f64| Sample {
                at: at(second),
                total: total / size,
                failed: failed / size,
            };
            let pod = |name: &str, born| PodCounters {
                pod: name.to_owned(),
                born: at(born),
                samples: vec![sample(5, 3.0), sample(20, 1.0), sample(35, 2.0)],
            };
            let counters = beside(
                vec![pod("new-1", 0), pod("new-2", 0)],
                vec![pod("old", -500)],
            );
            for rate in [threshold(), worse_than_before()] {
                let baseline = Some(counted(total, failed));
                let reading = read(&counters, baseline, &rate);
                assert_ne!(
                    word(&reading),
                    "Conclusive",
                    "{total} {failed}: {reading:?}"
                );
            }
        }
    }
}
