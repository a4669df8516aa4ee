//! Why a trigger says nothing. No cause ever leads to a rollback.

use std::fmt;

use jiff::SignedDuration;

use super::Measurement;

/// Why a trigger says nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Unknown {
    /// The policy names a metric source that does not exist or is not usable.
    NoSource { cause: String },
    /// The source gave no answer.
    NoAnswer { cause: String },
    /// The source gave an answer that makes no sense.
    NotUnderstood { cause: String },
    /// The source said itself that its answer is incomplete.
    Incomplete,
    /// A value is not a finite number.
    NotANumber,
    /// The source has no series for any pod of the revision.
    NoData,
    /// The newest sample is older than three scrapes.
    Stale { age: SignedDuration },
    /// Too little traffic for the window.
    TooFewRequests {
        seen: u64,
        needed: u32,
        window: SignedDuration,
    },
    /// Over the limit, but not for long enough yet.
    NotLongEnough {
        measurement: Box<Measurement>,
        lasted: SignedDuration,
        needed: SignedDuration,
    },
    /// The revision has no pods.
    NoPods,
    /// The rollout still has time.
    RolloutInProgress,
    /// Over the limit for reasons that are no revision's fault: evicted pods, nodes that are not ready.
    Disrupted { measurement: Box<Measurement> },
    /// Over the limit, as the revision before was, and not surely worse than that.
    BadBefore { measurement: Box<Measurement> },
    /// There is nothing to compare with: no old pods and no recorded baseline.
    NothingBefore,
    /// Over the limit, and the evidence is not conclusive yet.
    NotConclusive { measurement: Box<Measurement> },
    /// The alert fired before the release did anything.
    FiringBefore,
    /// The query has no result.
    EmptyAnswer,
    /// Its pods are not watched after its probation.
    NotWatched,
}

impl Unknown {
    /// Whether the source is failing now, as opposed to having nothing to say about these pods.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::NoAnswer { .. }
            | Self::NotUnderstood { .. }
            | Self::Incomplete
            | Self::NotANumber
            | Self::Stale { .. } => true,
            Self::NoSource { .. }
            | Self::NoData
            | Self::TooFewRequests { .. }
            | Self::NotLongEnough { .. }
            | Self::NoPods
            | Self::RolloutInProgress
            | Self::Disrupted { .. }
            | Self::BadBefore { .. }
            | Self::NothingBefore
            | Self::NotConclusive { .. }
            | Self::FiringBefore
            | Self::EmptyAnswer
            | Self::NotWatched => false,
        }
    }

    /// The spelling in status, Events and metric labels.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoSource { .. } => "NoMetricSource",
            Self::NoAnswer { .. } => "MetricSourceUnavailable",
            Self::NotUnderstood { .. } => "AnswerNotUnderstood",
            Self::Incomplete => "AnswerIncomplete",
            Self::NotANumber => "NotANumber",
            Self::NoData => "NoData",
            Self::Stale { .. } => "StaleSamples",
            Self::TooFewRequests { .. } => "TooFewRequests",
            Self::NotLongEnough { .. } => "NotLongEnough",
            Self::NoPods => "NoPods",
            Self::RolloutInProgress => "RolloutInProgress",
            Self::Disrupted { .. } => "Disrupted",
            Self::BadBefore { .. } => "BadBefore",
            Self::NothingBefore => "NothingBefore",
            Self::NotConclusive { .. } => "NotConclusive",
            Self::FiringBefore => "FiringBefore",
            Self::EmptyAnswer => "EmptyAnswer",
            Self::NotWatched => "NotWatched",
        }
    }
}

/// Windows that people write.
const WINDOWS: [SignedDuration; 8] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(15),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(4),
    SignedDuration::from_hours(24),
];

/// Returns the shortest usual window in which `needed` requests come, with as many again to spare: traffic
/// that was just enough once is not enough the next minute.
#[must_use]
pub fn long_enough(seen: u64, needed: u32, window: SignedDuration) -> Option<SignedDuration> {
    let seen = u32::try_from(seen).ok().filter(|seen| *seen > 0)?;
    let wanted = window.as_secs_f64() * 2.0 * f64::from(needed) / f64::from(seen);
    WINDOWS
        .into_iter()
        .find(|usual| usual.as_secs_f64() >= wanted)
}

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSource { cause } => write!(formatter, "no usable metric source: {cause}"),
            Self::NoAnswer { cause } => write!(formatter, "the metric source {cause}"),
            Self::NotUnderstood { cause } => {
                write!(
                    formatter,
                    "the metric source's answer is not understood: {cause}"
                )
            }
            Self::Incomplete => write!(
                formatter,
                "the metric source says that its answer is incomplete"
            ),
            Self::NotANumber => write!(
                formatter,
                "the metric source counts something that is not a finite number"
            ),
            Self::NoData => write!(
                formatter,
                "the metric source has no series for these pods; check the preset and that the pods are scraped"
            ),
            Self::Stale { age } => write!(formatter, "the newest sample is {age:#} old"),
            Self::TooFewRequests {
                seen,
                needed,
                window,
            } => too_few_requests(*seen, *needed, *window, formatter),
            Self::NotLongEnough {
                measurement,
                lasted,
                needed,
            } => {
                write!(formatter, "{measurement}, for {lasted:#} of {needed:#}")
            }
            Self::NoPods => write!(formatter, "the revision has no pods"),
            Self::RolloutInProgress => write!(formatter, "the rollout is in progress"),
            Self::Disrupted { measurement } => write!(
                formatter,
                "{measurement}; that is the cluster's doing: pods were evicted, or nodes are not ready"
            ),
            Self::BadBefore { measurement } => write!(
                formatter,
                "{measurement}, which it shares with the revision before"
            ),
            Self::NothingBefore => write!(
                formatter,
                "there is no revision before to compare with; a threshold needs none"
            ),
            Self::NotConclusive { measurement } => {
                write!(formatter, "{measurement}, not conclusive yet")
            }
            Self::FiringBefore => {
                write!(formatter, "the alert fired already before the release")
            }
            Self::EmptyAnswer => write!(
                formatter,
                "the query has no result; it must have one also when all is well"
            ),
            Self::NotWatched => write!(
                formatter,
                "pods are watched during probation and incidents only"
            ),
        }
    }
}

fn too_few_requests(
    seen: u64,
    needed: u32,
    window: SignedDuration,
    formatter: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(
        formatter,
        "{seen} requests in {window:#}, {needed} are needed; "
    )?;
    match long_enough(seen, needed, window) {
        Some(longer) => write!(formatter, "window: {longer:#} would see enough"),
        None => write!(
            formatter,
            "no window would see enough, but a smaller minimumRequests may help"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seen: u64, needed: u32, expected: Option<i64>) {
        let longer = long_enough(seen, needed, SignedDuration::from_mins(1));
        assert_eq!(longer.map(|window| window.as_secs()), expected);
    }

    #[test]
    fn the_window_that_helps_sees_twice_as_many_as_are_needed() {
        check(12, 20, Some(300));
        check(20, 20, Some(120));
        check(21, 20, Some(120));
        check(19, 20, Some(300));
        check(1, 1000, None);
        check(0, 20, None);
        check(u64::MAX, 20, None);
    }
}
