//! From counters to numbers: pure arithmetic over samples whose times are known.
//!
//! Whether a number is a breach is said in [`super::health`]. Counters come raw, as the pods count
//! them since birth, so that an operator that was just restarted knows as much as one that was not.

pub mod increases;

use jiff::{SignedDuration, Timestamp};

use super::{Pod, Ratio};

/// What a pod had counted at the time of one scrape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub at: Timestamp,
    pub total: f64,
    pub failed: f64,
}

impl Sample {
    /// Whether both are numbers.
    #[must_use]
    pub const fn is_finite(&self) -> bool {
        self.total.is_finite() && self.failed.is_finite()
    }
}

/// The counters of one pod, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct PodCounters {
    pub pod: String,
    pub born: Timestamp,
    pub samples: Vec<Sample>,
}

/// How much was counted within a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    pub total: f64,
    pub failed: f64,
}

impl Counted {
    /// Returns the share that failed; zero when nothing was counted.
    #[must_use]
    pub fn failed_share(self) -> Ratio {
        if self.total > 0.0 {
            Ratio(self.failed / self.total)
        } else {
            Ratio(0.0)
        }
    }

    /// Returns both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            failed: self.failed + other.failed,
        }
    }

    /// Returns what is left without `other`, which is part of it.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            total: self.total - other.total,
            failed: self.failed - other.failed,
        }
    }

    /// Returns `share` of it.
    #[must_use]
    pub fn times(self, share: f64) -> Self {
        Self {
            total: self.total * share,
            failed: self.failed * share,
        }
    }
}

/// Returns what all `pods` counted in the `window` that ends at `end`.
#[must_use]
pub fn counted(pods: &[PodCounters], window: SignedDuration, end: Timestamp) -> Counted {
    let start = end.saturating_sub(window).unwrap_or(Timestamp::MIN);
    pods.iter()
        .map(|pod| counted_by(pod, start, end))
        .fold(Counted::default(), Counted::plus)
}

/// A pod that was born within the window counts from zero. An older one counts from its last sample
/// at or before the window; where there is none, from its first within.
fn counted_by(pod: &PodCounters, start: Timestamp, end: Timestamp) -> Counted {
    let newborn = Sample {
        at: pod.born,
        total: 0.0,
        failed: 0.0,
    };
    let baseline = pod
        .samples
        .iter()
        .rev()
        .find(|sample| sample.at <= start)
        .copied()
        .or_else(|| (pod.born > start).then_some(newborn));
    let mut within = pod
        .samples
        .iter()
        .filter(|sample| sample.at > start && sample.at <= end);
    let Some(mut previous) = baseline.or_else(|| within.next().copied()) else {
        return Counted::default();
    };
    let mut sum = Counted::default();
    for sample in within {
        sum = sum.plus(increase(&previous, sample));
        previous = *sample;
    }
    sum
}

/// A counter that went down was reset when its container restarted, and counts from zero again. The
/// failed ones are part of the total, so they were reset with it even where they did not go down, and
/// more failures than requests mean a reset that both have made up for since.
fn increase(from: &Sample, to: &Sample) -> Counted {
    let total = to.total - from.total;
    let failed = to.failed - from.failed;
    if total < 0.0 || failed < 0.0 || failed > total {
        return Counted {
            total: to.total,
            failed: to.failed.min(to.total),
        };
    }
    Counted { total, failed }
}

/// Returns the time of the newest sample of any pod.
#[must_use]
pub fn newest_sample(pods: &[PodCounters]) -> Option<Timestamp> {
    pods.iter()
        .filter_map(|pod| pod.samples.last())
        .map(|sample| sample.at)
        .max()
}

/// Returns the median gap between two samples of a pod, the lower one of two: the scrape interval.
///
/// Not the smallest: Prometheus chooses a new moment for each target when it is restarted, and one pod
/// whose samples come from two scrapers must not shorten the windows of all.
#[must_use]
pub fn scrape_interval(pods: &[PodCounters]) -> Option<SignedDuration> {
    let gaps = pods.iter().filter_map(|pod| median(gaps(pod)));
    median(gaps.collect())
}

fn gaps(pod: &PodCounters) -> Vec<SignedDuration> {
    pod.samples
        .windows(2)
        .filter_map(|pair| match pair {
            [first, second] => Some(second.at.duration_since(first.at)),
            _ => None,
        })
        .filter(SignedDuration::is_positive)
        .collect()
}

fn median(mut durations: Vec<SignedDuration>) -> Option<SignedDuration> {
    durations.sort_unstable();
    let middle = durations.len().checked_sub(1)? / 2;
    durations.get(middle).copied()
}

/// Returns how often `pod` restarted in the `window` that ends at `now`.
///
/// What happened before the first look is not known; only a pod that is younger than the window
/// certainly counts from zero.
#[must_use]
pub fn restarts_within(pod: &Pod, window: SignedDuration, now: Timestamp) -> u32 {
    let start = now.saturating_sub(window).unwrap_or(Timestamp::MIN);
    let Some(newest) = pod.restarts.last() else {
        return 0;
    };
    let before = pod
        .restarts
        .iter()
        .rev()
        .find(|seen| seen.at <= start)
        .or(pod.restarts.first());
    let baseline = if pod.born > start {
        0
    } else {
        before.map_or(0, |seen| seen.count)
    };
    newest.count.saturating_sub(baseline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::RestartCount;

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

    #[track_caller]
    fn check(pods: &[PodCounters], window: i64, end: i64, total: f64, failed: f64) {
        let counted = counted(pods, seconds(window), at(end));
        assert_eq!((counted.total, counted.failed), (total, failed));
    }

    #[test]
    fn a_newborn_counts_from_zero() {
        check(&[pod(0, &[(5, 40.0, 12.0)])], 60, 5, 40.0, 12.0);
    }

    #[test]
    fn an_old_pod_counts_from_the_last_sample_before_the_window() {
        let old = pod(-600, &[(-5, 100.0, 1.0), (5, 130.0, 2.0), (10, 150.0, 8.0)]);
        check(&[old], 10, 10, 50.0, 7.0);
    }

    #[test]
    fn an_old_pod_without_an_earlier_sample_counts_from_its_first() {
        let old = pod(-600, &[(5, 130.0, 2.0), (10, 150.0, 8.0)]);
        check(&[old], 10, 10, 20.0, 6.0);
    }

    #[test]
    fn samples_after_the_end_do_not_count() {
        check(
            &[pod(0, &[(5, 40.0, 1.0), (10, 90.0, 2.0)])],
            60,
            9,
            40.0,
            1.0,
        );
    }

    #[test]
    fn a_reset_counter_counts_from_zero_again() {
        let restarted = pod(0, &[(5, 40.0, 4.0), (10, 30.0, 6.0)]);
        check(&[restarted], 60, 10, 70.0, 10.0);
    }

    #[test]
    fn pods_add_up() {
        let pods = [pod(0, &[(5, 40.0, 1.0)]), pod(0, &[(6, 60.0, 3.0)])];
        check(&pods, 60, 6, 100.0, 4.0);
    }

    #[test]
    fn nothing_is_counted_without_samples() {
        check(&[pod(0, &[])], 60, 6, 0.0, 0.0);
        check(&[], 60, 6, 0.0, 0.0);
    }

    /// A pod that was scraped at these seconds.
    fn scraped(seconds: &[i64]) -> PodCounters {
        let samples: Vec<(i64, f64, f64)> =
            seconds.iter().map(|second| (*second, 1.0, 0.0)).collect();
        pod(0, &samples)
    }

    #[track_caller]
    fn check_interval(pods: &[PodCounters], expected: Option<i64>) {
        assert_eq!(scrape_interval(pods), expected.map(seconds));
    }

    #[test]
    fn the_scrape_interval_needs_two_samples() {
        check_interval(&[], None);
        check_interval(&[scraped(&[5])], None);
        check_interval(&[scraped(&[5, 20])], Some(15));
    }

    #[test]
    fn an_odd_gap_does_not_change_the_scrape_interval() {
        // Prometheus was restarted after 45 seconds, and has missed a scrape after 60.
        check_interval(&[scraped(&[15, 30, 45, 49, 64, 94, 109])], Some(15));
    }

    #[test]
    fn one_pod_that_is_scraped_twice_as_often_does_not_shorten_the_interval_of_all() {
        let often: Vec<i64> = (0..60).map(|count| count * 7).collect();
        let pods = [
            scraped(&often),
            scraped(&[15, 30, 45]),
            scraped(&[20, 35, 50]),
        ];
        check_interval(&pods, Some(15));
    }

    #[test]
    fn of_two_pods_the_shorter_interval_counts() {
        check_interval(&[scraped(&[0, 5, 10]), scraped(&[0, 60])], Some(5));
    }

    fn restarted(born: i64, counts: &[(i64, u32)]) -> Pod {
        Pod {
            name: "checkout-7d9f8b6c5d-fghij".to_owned(),
            born: at(born),
            restarts: counts
                .iter()
                .map(|(second, count)| RestartCount {
                    at: at(*second),
                    count: *count,
                })
                .collect(),
            ..Pod::default()
        }
    }

    #[test]
    fn restarts_of_a_young_pod_all_count() {
        let pod = restarted(-100, &[(0, 4)]);
        assert_eq!(restarts_within(&pod, seconds(300), at(0)), 4);
    }

    #[test]
    fn restarts_before_the_first_look_at_an_old_pod_do_not_count() {
        let pod = restarted(-1000, &[(-50, 7), (0, 9)]);
        assert_eq!(restarts_within(&pod, seconds(300), at(0)), 2);
    }

    #[test]
    fn restarts_before_the_window_do_not_count() {
        let pod = restarted(-1000, &[(-900, 0), (-400, 5), (-10, 6)]);
        assert_eq!(restarts_within(&pod, seconds(300), at(0)), 1);
    }
}
