//! Judges a share of bad requests: over a threshold for long enough, or conclusively.

use jiff::{SignedDuration, Timestamp};

use crate::decide::detectors::{counted, over_since};
use crate::decide::{
    Bad, Counted, Counters, Limit, Measurement, Rate, Reading, RequestMeasurement, Unknown,
};

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
    let pods = &case.counters.new;
    let counted = counted(pods, rate.window, case.newest);
    if counted.total < f64::from(rate.minimum_requests) {
        return Reading::Unknown(Unknown::TooFewRequests {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "finite, not negative, and below a u32"
            )]
            seen: counted.total as u64,
            needed: rate.minimum_requests,
        });
    }
    let measurement = Measurement::Requests(RequestMeasurement {
        bad,
        counted,
        before: None,
        limit: rate.limit,
        window: rate.window,
        conclusive: false,
        preset: case.counters.preset,
        before_and_after: case.counters.before_and_after,
    });
    let Limit::Threshold {
        threshold,
        sustained,
    } = rate.limit
    else {
        return Reading::Unknown(Unknown::NothingBefore);
    };
    let since = over_since(pods, rate.window, threshold, rate.minimum_requests);
    let Some(since) = since else {
        return Reading::Passing(measurement);
    };
    let lasted = case.newest.duration_since(since);
    if lasted < sustained {
        return Reading::Unknown(Unknown::NotLongEnough {
            measurement: Box::new(measurement),
            lasted,
            needed: sustained,
        });
    }
    Reading::Breached(measurement)
}
