//! Judges by what the user asks the source: a query of their own, or an alert.

use jiff::{SignedDuration, Timestamp};

use super::{SCRAPE_INTERVAL_UNKNOWN, STALE_AFTER_SCRAPES};
use crate::decide::{
    Alert, Bound, Evidence, Firing, Measurement, Observed, PromQl, Reading, Unknown, ValueAt,
};

pub(super) fn promql(
    observed: &Observed,
    evidence: Option<&Evidence>,
    rule: &PromQl,
    now: Timestamp,
) -> Reading {
    let values = match evidence {
        Some(Evidence::Values(values)) => values,
        other => return Reading::Unknown(missing(other)),
    };
    let Some(newest) = values.last() else {
        return Reading::Unknown(Unknown::EmptyAnswer);
    };
    // What the source computes may be anything; infinity is a division by zero more often than a fact.
    if values.iter().any(|value| !value.value.is_finite()) {
        return Reading::Unknown(Unknown::NotANumber);
    }
    let step = step(values).unwrap_or(SCRAPE_INTERVAL_UNKNOWN);
    let age = now.duration_since(newest.at);
    if age > step * STALE_AFTER_SCRAPES {
        return Reading::Unknown(Unknown::Stale { age });
    }
    let released = observed.released().unwrap_or(now);
    if newest.at <= released {
        return Reading::Unknown(Unknown::NoData);
    }
    let measurement = Measurement::Value {
        value: newest.value,
        bound: rule.bound,
    };
    let since = values
        .iter()
        .rev()
        .take_while(|value| is_bad(value.value, rule.bound))
        .last();
    match since {
        None => Reading::Passing(measurement),
        Some(since) if since.at <= released => Reading::Unknown(Unknown::BadBefore {
            measurement: Box::new(measurement),
        }),
        Some(since) => lasting(
            measurement,
            newest.at.duration_since(since.at),
            rule.sustained,
        ),
    }
}

fn is_bad(value: f64, bound: Bound) -> bool {
    match bound {
        Bound::Above(limit) => value > limit,
        Bound::Below(limit) => value < limit,
    }
}

fn step(values: &[ValueAt]) -> Option<SignedDuration> {
    values
        .iter()
        .zip(values.iter().skip(1))
        .map(|(first, second)| second.at.duration_since(first.at))
        .filter(SignedDuration::is_positive)
        .min()
}

/// A rule is evaluated once an interval, and one evaluation may be late.
const SILENT_AFTER: i32 = 2;

pub(super) fn alert(
    observed: &Observed,
    evidence: Option<&Evidence>,
    rule: &Alert,
    now: Timestamp,
) -> Reading {
    let firing = match evidence {
        Some(Evidence::Firing(firing)) => firing,
        other => return Reading::Unknown(missing(other)),
    };
    let interval = firing.interval.unwrap_or(SCRAPE_INTERVAL_UNKNOWN);
    let Some(asked) = firing.asked else {
        return Reading::Unknown(Unknown::NoData);
    };
    let age = now.duration_since(asked);
    if age > interval * STALE_AFTER_SCRAPES {
        return Reading::Unknown(Unknown::Stale { age });
    }
    let Some(since) = fires_since(firing, interval, asked) else {
        return Reading::Passing(Measurement::Alert { firing: false });
    };
    // What rings on while the release goes out is not of its making. Seen within one evaluation of the
    // release it began before: no rule is faster than that.
    if since <= observed.released().unwrap_or(now) {
        return Reading::Unknown(Unknown::FiringBefore);
    }
    let lasted = asked.duration_since(since);
    lasting(Measurement::Alert { firing: true }, lasted, rule.sustained)
}

/// Returns since when the alert fires without a break; `None` when it does not fire now.
fn fires_since(firing: &Firing, interval: SignedDuration, asked: Timestamp) -> Option<Timestamp> {
    let gap = interval * SILENT_AFTER;
    let mut since = *firing
        .seen
        .last()
        .filter(|last| asked.duration_since(**last) <= gap)?;
    for seen in firing.seen.iter().rev() {
        if since.duration_since(*seen) > gap {
            break;
        }
        since = *seen;
    }
    Some(since)
}

fn lasting(measurement: Measurement, lasted: SignedDuration, needed: SignedDuration) -> Reading {
    if lasted >= needed {
        return Reading::Breached(measurement);
    }
    Reading::Unknown(Unknown::NotLongEnough {
        measurement: Box::new(measurement),
        lasted,
        needed,
    })
}

fn missing(evidence: Option<&Evidence>) -> Unknown {
    match evidence {
        Some(Evidence::Missing(unknown)) => unknown.clone(),
        Some(Evidence::Counters(_) | Evidence::Values(_) | Evidence::Firing(_)) | None => {
            Unknown::NoData
        }
    }
}

#[cfg(test)]
mod tests;
