//! Counters as what was counted between each two scrapes.
//!
//! Resets are folded in, and a newborn counts from zero. What follows from it is not said here.

use jiff::{SignedDuration, Timestamp};

use super::{Counted, PodCounters, Sample, increase};

/// A first sample that comes at most this many scrapes after birth is the first there was.
const FIRST_WITHIN_SCRAPES: i32 = 2;

/// A pod is warm when it has served for this part of a scrape: for five seconds of fifteen.
const WARM_AFTER: f64 = 1.0 / 3.0;

/// What one pod counted between two scrapes. Times in milliseconds since 1970, as sources give them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Increase {
    pub from: i64,
    pub to: i64,
    pub counted: Counted,
    /// Whether the pod had hardly served before: less than `WARM_AFTER` of what it counted here.
    ///
    /// By requests and not by age, since a pod that is not ready gets older without serving.
    pub is_warming: bool,
}

/// What is known of how the samples were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scraping {
    pub interval: SignedDuration,
    /// The oldest sample of all.
    pub seen_since: Timestamp,
    /// Whether counters start at zero when their pods do.
    pub newborns: bool,
}

impl Scraping {
    /// Returns the increases of `pod` that end after `start`, in order of time.
    ///
    /// Samples that do not move on in time are passed over.
    pub fn increases<'a>(
        &self,
        pod: &'a PodCounters,
        start: Timestamp,
    ) -> impl Iterator<Item = Increase> + 'a {
        let first = pod.samples.partition_point(|sample| sample.at <= start);
        let (before, after) = pod.samples.split_at(first);
        let previous = before.last().copied().or_else(|| self.origin(pod));
        let mut previous = previous.map(|previous| (previous.at.as_millisecond(), previous));
        after.iter().filter_map(move |sample| {
            let to = sample.at.as_millisecond();
            let (from, before) = previous.filter(|(from, _)| to > *from)?;
            previous = Some((to, *sample));
            let counted = increase(&before, sample);
            Some(Increase {
                from,
                to,
                counted,
                is_warming: before.total < WARM_AFTER * counted.total,
            })
        })
    }

    /// Where a pod's counting starts.
    ///
    /// At zero when its first sample is the first that there was: it came soon after birth, or samples
    /// were seen before its birth. It counted then within one scrape, or there would be an earlier one.
    /// Otherwise at its first sample, because what it had counted by then is of another time.
    fn origin(&self, pod: &PodCounters) -> Option<Sample> {
        let first = *pod.samples.first()?;
        let soon = first.at.duration_since(pod.born) <= self.interval * FIRST_WITHIN_SCRAPES;
        let is_first = self.newborns && (soon || pod.born >= self.seen_since);
        if !is_first {
            return Some(first);
        }
        let scrape_before = first.at.saturating_sub(self.interval).unwrap_or(first.at);
        let born = if pod.born < first.at {
            pod.born
        } else {
            scrape_before
        };
        Some(Sample {
            at: born.max(scrape_before),
            total: 0.0,
            failed: 0.0,
        })
    }

    /// Returns what all `pods` counted in the `window` that ends at `end`.
    #[must_use]
    pub fn counted(&self, pods: &[PodCounters], window: SignedDuration, end: Timestamp) -> Counted {
        let start = end.saturating_sub(window).unwrap_or(Timestamp::MIN);
        let end = end.as_millisecond();
        pods.iter()
            .flat_map(|pod| self.increases(pod, start))
            .filter(|increase| increase.to <= end)
            .fold(Counted::default(), |sum, increase| {
                sum.plus(increase.counted)
            })
    }
}

/// Returns since when the share of failures has been over `threshold` without a break, seen at every
/// sample; `None` when it is not over it at the newest one. Looks back no further than `longest`.
///
/// A look with fewer than `minimum` requests in its window breaks the row: it says nothing.
#[must_use]
pub fn over_since(
    increases: &[Increase],
    window: SignedDuration,
    longest: SignedDuration,
    over: impl Fn(Counted) -> bool,
) -> Option<i64> {
    let window = milliseconds(window);
    let newest = increases.last()?.to;
    let earliest = newest.saturating_sub(milliseconds(longest));
    let mut since = None;
    let mut sum = Counted::default();
    // Those in the window are at `first..end`; both only move back.
    let mut first = increases.len();
    let mut end = increases.len();
    while end > 0 {
        let look = increases[end - 1].to;
        while first > 0 && increases[first - 1].to > look.saturating_sub(window) {
            first -= 1;
            sum = sum.plus(increases[first].counted);
        }
        if !over(sum) {
            break;
        }
        since = Some(look);
        if look <= earliest {
            break;
        }
        while end > 0 && increases[end - 1].to == look {
            end -= 1;
            sum = sum.minus(increases[end].counted);
        }
    }
    since
}

/// Whole milliseconds; longer than any policy allows when they do not fit.
#[must_use]
pub fn milliseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
