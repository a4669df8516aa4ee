//! Judges a share of bad requests: over a limit for long enough, or conclusively.
//!
//! The statistics are in [`crate::decide::sequential`], what they assume and how well they do in
//! `docs/judging.md`. Nothing is kept between two looks: all follows from the counters.

mod beside;

use jiff::{SignedDuration, Timestamp};

use self::beside::Arms;
use crate::decide::detectors::increases::{Increase, Scraping, over_since};
use crate::decide::sequential::{Caps, is_surely_over};
use crate::decide::{
    Bad, Counted, Counters, Limit, Measurement, PodCounters, Rate, Ratio, Reading,
    RequestMeasurement, Unknown,
};

/// A rate over fewer scrapes than this is one pod's luck.
const WINDOW_SCRAPES: i32 = 4;

/// ln 100,000: what conclusive evidence amounts to, in nats.
const ENOUGH: f64 = 11.512_925_464_970_229;

/// Two pods in one scrape are enough over a threshold that somebody chose; one pod is not, since a
/// single client may do that. Four clients are, so that a revision that fails every request is found
/// with the first fifteen. Clusters are not looked for: of so few pods and scrapes nobody can tell, and
/// to be over a threshold by clusters alone takes many in a short time.
const OVER_THRESHOLD: Caps = Caps {
    pod: 0.55 * ENOUGH,
    clients: 4.0,
    by_spread: false,
    without_worst_pod: f64::NEG_INFINITY,
};

/// ln 20: pods that are not worse ever say as much with a chance of one in twenty.
const LIKELY_EVER: f64 = 2.995_732_273_553_991;

/// Without a threshold the error rate may be low. One pod on a bad node is then most of it, and no fault
/// of the release; and a few clients that try again or a few bursts
/// are most of it. With these, no healthy rollout of the bench looks worse (`docs/judging.md`).
const WORSE_THAN_BEFORE: Caps = Caps {
    pod: 0.55 * ENOUGH,
    clients: 5.0,
    by_spread: true,
    without_worst_pod: 0.5 * ENOUGH,
};

/// Without old pods beside it a revision cannot be told from an outage, of which most are short: a
/// quarter, so that it takes four scrapes.
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

/// Returns the evidence that the new pods are worse than the old ones beside them, in nats, as it counts
/// under a threshold. For pictures and explanations; [`judge`] asks for more than this.
#[must_use]
pub fn log_evidence(case: &Case<'_>) -> f64 {
    let arms = Arms::of(case, &scraping(case), true);
    arms.compared(1.0, OVER_THRESHOLD).log_evidence()
}

fn scraping(case: &Case<'_>) -> Scraping {
    let Counters {
        new,
        old,
        before_and_after,
        preset: _,
        asked: _,
    } = case.counters;
    let first = |pod: &PodCounters| pod.samples.first().map(|sample| sample.at);
    let seen_since = new.iter().chain(old).filter_map(first).min();
    Scraping {
        interval: case.interval,
        seen_since: seen_since.unwrap_or(case.newest),
        // Series that know no revisions go on counting.
        newborns: !before_and_after,
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
        let scraping = scraping(case);
        let window = rate.window.max(case.interval * WINDOW_SCRAPES);
        Self {
            case,
            rate,
            bad,
            scraping,
            window,
            recent: scraping.counted(&case.counters.new, window, case.newest),
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
        let since_birth = self.since_birth(|_| true);
        if is_surely_over(since_birth, threshold) && self.is_worse_than_old() {
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
        let is_shared = bad_before && !self.is_worse_than_before(1.0);
        if is_shared || self.is_like_old() {
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
        let Ratio(share_before) = before.unwrap_or_default().failed_share();
        let limit = at_least.0.max(factor * share_before);
        let measurement = self.measured(self.recent, before);
        if self.recent.failed_share() <= Ratio(limit) {
            return Reading::Passing(measurement);
        }
        // A cold start is over by then, however bad it was.
        let since_warm = self.since_birth(|increase| !increase.is_warming);
        if is_surely_over(since_warm, at_least) && self.is_worse_than_before(factor) {
            return Reading::Breached(self.concluded(since_warm));
        }
        Reading::Unknown(Unknown::NotConclusive {
            measurement: Box::new(measurement),
        })
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

    fn is_worse_than_old(&self) -> bool {
        let arms = Arms::of(self.case, &self.scraping, true);
        arms.compared(1.0, OVER_THRESHOLD).is_conclusive()
    }

    /// Whether old pods run beside it, and it is not even likely that it is worse than they. At one
    /// request per second chance alone brings a healthy rate over a threshold for minutes.
    fn is_like_old(&self) -> bool {
        let arms = Arms::of(self.case, &self.scraping, true);
        let worse = arms.compared(1.0, OVER_THRESHOLD);
        worse.compared && arms.old_pods_run() && worse.log_evidence() < LIKELY_EVER
    }

    /// Against the old pods beside it, and after them against what was counted before: surely worse,
    /// and by more than `factor` as surely as a rate is over a threshold.
    fn is_worse_than_before(&self, factor: f64) -> bool {
        let arms = Arms::of(self.case, &self.scraping, false);
        let before = self.case.baseline.unwrap_or_else(|| arms.old_counted());
        let than = |factor| arms.compared_or_before(factor, WORSE_THAN_BEFORE, before, AFTER);
        than(1.0).is_conclusive() && (factor <= 1.0 || than(factor).is_likely())
    }

    /// What it counted in its whole life, in those increases that are wanted.
    fn since_birth(&self, wanted: impl Fn(&Increase) -> bool) -> Counted {
        let pods = &self.case.counters.new;
        let all = pods
            .iter()
            .flat_map(|pod| self.scraping.increases(pod, Timestamp::MIN));
        all.filter(wanted)
            .fold(Counted::default(), |sum, increase| {
                sum.plus(increase.counted)
            })
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
