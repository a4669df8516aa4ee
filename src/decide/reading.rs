//! What the triggers say about the current revision, as types.
//!
//! Three-valued: whatever is not known for sure is [`Reading::Unknown`] with its own cause, and no
//! cause leads to a rollback. How a reading comes about stands in [`super::health`].

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{Bound, Counted, Limit, Mode, PodCounters, Preset, Ratio, Unknown};

/// What a metric source answered about one trigger.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Requests, or probes.
    Counters(Counters),
    /// The worst value of a query at each time that was asked for, in order of time.
    Values(Vec<ValueAt>),
    /// When an alert was seen to fire, in order of time; empty when it does not.
    Firing(Firing),
    /// No usable answer.
    Missing(Unknown),
}

/// Counters of the current revision, and of what it is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Of the pods of the current revision.
    pub new: Vec<PodCounters>,
    /// Of the pods of the revisions before, those that are gone included while they are remembered.
    pub old: Vec<PodCounters>,
    /// The shape that was found, where a preset was asked for.
    pub preset: Option<Preset>,
    /// The series do not tell revisions apart: `new` is everything since the release, `old` everything
    /// before it.
    pub before_and_after: bool,
    /// When the source was asked last: a sample is as old as it was then. `None` for just now.
    pub asked: Option<Timestamp>,
}

/// One value of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueAt {
    pub at: Timestamp,
    pub value: f64,
}

/// When an alert fired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Firing {
    /// The times at which the source said that it fires, in order.
    pub seen: Vec<Timestamp>,
    /// When the source was asked, so that silence now is told from no answer.
    pub asked: Option<Timestamp>,
    /// Between two evaluations of the rule, as far as the samples tell.
    pub interval: Option<SignedDuration>,
}

/// What one trigger says.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    Passing(Measurement),
    Breached(Measurement),
    Unknown(Unknown),
}

/// A reading with the trigger that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerReading {
    pub trigger: String,
    /// The policy's mode, capped by the trigger's own.
    pub mode: Mode,
    /// Whether a breach means that the revision cannot run at all.
    pub cannot_run: bool,
    /// The shape in which requests were found, where the trigger counts them.
    pub preset: Option<Preset>,
    pub reading: Reading,
}

/// What was measured, and the limit that it was held against.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    Requests(RequestMeasurement),
    Probes {
        probe: &'static str,
        counted: Counted,
        threshold: u32,
        window: SignedDuration,
    },
    Restarts {
        affected: usize,
        pods: usize,
        threshold: u32,
        window: SignedDuration,
        /// How a container last ended, for people.
        cause: Option<String>,
    },
    Rollout {
        complete: bool,
        /// What keeps it from going on, for people.
        cause: Option<String>,
    },
    Available {
        available: u32,
        /// At the start of the rollout.
        replicas: u32,
        below: Ratio,
    },
    Value {
        value: f64,
        bound: Bound,
    },
    Alert {
        firing: bool,
    },
}

/// A share of bad requests, and what it was held against.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestMeasurement {
    pub bad: Bad,
    /// In the window, or since birth where the evidence was conclusive before the time was over.
    pub counted: Counted,
    /// What the revision before counted, where that is known and matters.
    pub before: Option<Counted>,
    pub limit: Limit,
    pub window: SignedDuration,
    /// Decided by the sequential test.
    pub conclusive: bool,
    pub preset: Option<Preset>,
    /// The series do not tell revisions apart.
    pub before_and_after: bool,
}

/// Which requests are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Failed,
    SlowerThan(SignedDuration),
}

impl fmt::Display for Measurement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(measurement) => measurement.fmt(formatter),
            Self::Probes {
                probe,
                counted,
                threshold,
                window,
            } => write!(
                formatter,
                "{:.0} of {:.0} {probe} probes of a pod failed in {window:#} (limit {threshold})",
                counted.failed, counted.total
            ),
            Self::Restarts {
                affected,
                pods,
                threshold,
                window,
                cause,
            } => {
                write!(
                    formatter,
                    "{affected} of {pods} pods restarted {threshold} times or more in {window:#}"
                )?;
                because(cause.as_deref(), formatter)
            }
            Self::Rollout { complete: true, .. } => write!(formatter, "the rollout is complete"),
            Self::Rollout {
                complete: false,
                cause,
            } => {
                write!(formatter, "the rollout makes no progress")?;
                because(cause.as_deref(), formatter)
            }
            Self::Available {
                available,
                replicas,
                below,
            } => write!(
                formatter,
                "{available} of {replicas} replicas are available (limit {below})"
            ),
            Self::Value {
                value,
                bound: Bound::Above(limit),
            } => write!(formatter, "the query gives {value} (limit: above {limit})"),
            Self::Value {
                value,
                bound: Bound::Below(limit),
            } => write!(formatter, "the query gives {value} (limit: below {limit})"),
            Self::Alert { firing: true } => write!(formatter, "the alert fires"),
            Self::Alert { firing: false } => write!(formatter, "the alert does not fire"),
        }
    }
}

fn because(cause: Option<&str>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    cause.map_or(Ok(()), |cause| write!(formatter, ": {cause}"))
}

impl fmt::Display for RequestMeasurement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bad,
            counted,
            before,
            limit,
            window,
            conclusive,
            preset: _,
            before_and_after,
        } = self;
        write!(
            formatter,
            "{} of {:.0} requests ",
            counted.failed_share(),
            counted.total
        )?;
        match bad {
            Bad::Failed => write!(formatter, "failed")?,
            Bad::SlowerThan(limit) => write!(formatter, "took longer than {limit:#}")?,
        }
        if *conclusive {
            write!(formatter, " since it began, conclusively more than before")?;
        } else {
            write!(formatter, " in {window:#}")?;
        }
        if let Some(before) = before {
            write!(formatter, ", {} before", before.failed_share())?;
        }
        match limit {
            Limit::Threshold { threshold, .. } => write!(formatter, " (limit {threshold})")?,
            Limit::WorseThanBefore { factor, at_least } => write!(
                formatter,
                " (limit {factor} times the rate before, at least {at_least})"
            )?,
        }
        if *before_and_after {
            write!(formatter, "; all revisions counted together")?;
        }
        Ok(())
    }
}
