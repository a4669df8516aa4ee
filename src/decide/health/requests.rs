//! Judges a share of bad requests: over a limit for long enough, or conclusively.
//!
//! The statistics are in [`crate::decide::sequential`], what they assume and how well they do in
//! `docs/judging.md`. Nothing is kept between two looks: all follows from the counters.

mod beside;

use jiff::{SignedDuration, Timestamp};

use self::beside::Arms;
use crate::decide::detectors::increases::{Increase, Scraping, over_since};
use crate::decide::sequential::{Caps, surely_over};
use crate::decide::{
    Bad, Counted, Counters, Limit, Measurement, PodCounters, Rate, Ratio, Reading,
    RequestMeasurement, Unknown,
};

/// A rate over fewer scrapes than this is one pod's luck.
const WINDOW_SCRAPES: i32 = 4;

/// ln 100,000: what conclusive evidence amounts to, in nats.
const ENOUGH: f64 = 11.512_925_464_970_229;

/// One pod in one scrape is never enough: retries of one client fail together. But one scrape of
/// several pods is.
const BESIDE: Caps = Caps {
    pod: ENOUGH / 2.0,
    scrape: f64::INFINITY,
};

/// A cold start is not enough: without a threshold, a second of errors would do at a thousand requests
/// per second.
const WORSE: Caps = Caps {
    pod: ENOUGH / 2.0,
    scrape: ENOUGH / 2.0,
};

/// Without old pods beside it a revision cannot be told from an outage, of which most are short.
const AFTER: f64 = ENOUGH / 4.0;

/// Fresh counters of one trigger.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub counters: &'a Counters,
    /// What the revision before had counted, as it was recorded.
    pub baseline: Option<Counted>,
    /// The newest sample of the current revision.
    pub newest: Timestamp,
    /// Between two scrapes of a pod.
    pub interval: SignedDuration,
}

/// Returns what the counters say about `rate`.
#[must_use]
pub fn judge(case: &Case<'_>, rate: &Rate, bad: Bad) -> Reading {
    let look = Look::at(case, rate, bad);
    if look.recent.total < f64::from(rate.minimum_requests) {
        return Reading::Unknown(Unknown::TooFewRequests {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "finite, not negative, and below a u32"
            )]
            seen: look.recent.total as u64,
            needed: rate.minimum_requests,
            window: look.window,
        });
    }
    match rate.limit {
        Limit::Threshold {
            threshold,
            sustained,
        } => look.against_threshold(threshold, sustained),
        Limit::WorseThanBefore { factor, at_least } => look.against_before(factor, at_least),
    }
}

/// One look at the counters.
struct Look<'a> {
    case: &'a Case<'a>,
    rate: &'a Rate,
    bad: Bad,
    scraping: Scraping,
    /// At least four scrapes.
    window: SignedDuration,
    /// What the revision counted in the window.
    recent: Counted,
}

impl<'a> Look<'a> {
    fn at(case: &'a Case<'a>, rate: &'a Rate, bad: Bad) -> Self {
        let Counters {
            new,
            old,
            before_and_after,
            preset: _,
            asked: _,
        } = case.counters;
        let first = |pod: &PodCounters| pod.samples.first().map(|sample| sample.at);
        let seen_since = new.iter().chain(old).filter_map(first).min();
        let scraping = Scraping {
            interval: case.interval,
            seen_since: seen_since.unwrap_or(case.newest),
            // Series that know no revisions go on counting.
            newborns: !before_and_after,
        };
        let window = rate.window.max(case.interval * WINDOW_SCRAPES);
        Self {
            case,
            rate,
            bad,
            scraping,
            window,
            recent: scraping.counted(new, window, case.newest),
        }
    }

    fn against_threshold(&self, threshold: Ratio, sustained: SignedDuration) -> Reading {
        let over = |counted: Counted| {
            counted.total >= f64::from(self.rate.minimum_requests)
                && counted.failed_share() > threshold
        };
        if !over(self.recent) {
            return Reading::Passing(self.measured(self.recent, None));
        }
        let since_birth = self.since_birth();
        if surely_over(since_birth, threshold) && self.arms().compared(1.0, BESIDE).is_sure() {
            return Reading::Breached(self.concluded(since_birth));
        }
        let lasted = self.lasted(sustained, over);
        if lasted < sustained {
            return Reading::Unknown(Unknown::NotLongEnough {
                measurement: Box::new(self.measured(self.recent, None)),
                lasted,
                needed: sustained,
            });
        }
        let before = self.before();
        let bad_before = before.is_some_and(|before| before.failed_share() > threshold);
        if bad_before && !self.is_surely_worse(1.0) {
            return Reading::Unknown(Unknown::BadBefore {
                measurement: Box::new(self.measured(self.recent, before)),
            });
        }
        let told = before.filter(|_| bad_before);
        Reading::Breached(self.measured(self.recent, told))
    }

    fn against_before(&self, factor: f64, at_least: Ratio) -> Reading {
        let has_old = self.case.counters.old.iter();
        let has_old = has_old.map(|pod| pod.samples.len()).any(|count| count > 1);
        if !has_old && self.case.baseline.is_none() {
            return Reading::Unknown(Unknown::NothingBefore);
        }
        let before = self.before();
        if self.recent.failed_share() <= at_least {
            return Reading::Passing(self.measured(self.recent, before));
        }
        let since_birth = self.since_birth();
        if surely_over(since_birth, at_least) && self.is_surely_worse(factor) {
            return Reading::Breached(self.concluded(since_birth));
        }
        let Ratio(share_before) = before.unwrap_or_default().failed_share();
        let measurement = self.measured(self.recent, before);
        if self.recent.failed_share() > Ratio(factor * share_before) {
            return Reading::Unknown(Unknown::NotConclusive {
                measurement: Box::new(measurement),
            });
        }
        Reading::Passing(measurement)
    }

    /// How long it has been over the limit without a break, at most `longest`.
    fn lasted(&self, longest: SignedDuration, over: impl Fn(Counted) -> bool) -> SignedDuration {
        let reach = longest.saturating_add(self.window);
        let start = self.case.newest.saturating_sub(reach);
        let start = start.unwrap_or(Timestamp::MIN);
        let pods = self.case.counters.new.iter();
        let mut increases: Vec<Increase> = pods
            .flat_map(|pod| self.scraping.increases(pod, start))
            .collect();
        increases.sort_unstable_by_key(|increase| increase.to);
        let newest = self.case.newest.as_millisecond();
        let since = over_since(&increases, self.window, longest, over);
        SignedDuration::from_millis(since.map_or(0, |since| newest.saturating_sub(since)))
    }

    /// Against the old pods beside it, and after them against what was counted before.
    fn is_surely_worse(&self, factor: f64) -> bool {
        let arms = self.arms();
        let before = self.case.baseline.unwrap_or_else(|| arms.old_counted());
        arms.compared_or_before(factor, WORSE, before, AFTER)
            .is_sure()
    }

    fn arms(&self) -> Arms {
        Arms::of(self.case, &self.scraping)
    }

    fn since_birth(&self) -> Counted {
        let pods = &self.case.counters.new;
        self.scraping
            .counted(pods, SignedDuration::MAX, self.case.newest)
    }

    /// What the revision before counted: its pods when they were last seen, or else what was recorded;
    /// `None` where neither is enough to say.
    fn before(&self) -> Option<Counted> {
        let old = &self.case.counters.old;
        let ends = old.iter().filter_map(|pod| pod.samples.last());
        let seen = ends
            .map(|sample| sample.at)
            .max()
            .map(|end| self.scraping.counted(old, self.window, end));
        let enough = |counted: &Counted| counted.total >= f64::from(self.rate.minimum_requests);
        seen.filter(enough)
            .or_else(|| self.case.baseline.filter(enough))
    }

    fn concluded(&self, since_birth: Counted) -> Measurement {
        self.measurement(since_birth, self.before(), true)
    }

    fn measured(&self, counted: Counted, before: Option<Counted>) -> Measurement {
        self.measurement(counted, before, false)
    }

    fn measurement(
        &self,
        counted: Counted,
        before: Option<Counted>,
        conclusive: bool,
    ) -> Measurement {
        Measurement::Requests(RequestMeasurement {
            bad: self.bad,
            counted,
            before,
            limit: self.rate.limit,
            window: self.window,
            conclusive,
            preset: self.case.counters.preset,
            before_and_after: self.case.counters.before_and_after,
        })
    }
}

#[cfg(test)]
mod tests;
