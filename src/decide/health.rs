//! What the triggers say about the current revision.
//!
//! Three-valued: whatever is not known for sure is [`Reading::Unknown`] with its own cause, and no
//! cause leads to a rollback. What follows from a breach is not said here.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::detectors::{
    Counted, PodCounters, counted, newest_sample, over_since, restarts_within, scrape_interval,
};
use super::{
    ErrorRate, Mode, Observed, Policy, ProbeFailures, Ratio, Restarts, Trigger, TriggerKind,
    Workload,
};

/// What a metric source answered about one trigger.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Counters of pods of the current revision: requests, or probes.
    Counters(Vec<PodCounters>),
    /// No usable answer.
    Missing(Unknown),
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
    pub reading: Reading,
}

/// What was measured, and the limit that it was held against.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    Requests {
        counted: Counted,
        threshold: Ratio,
        window: SignedDuration,
    },
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
    },
    Rollout {
        complete: bool,
    },
}

impl fmt::Display for Measurement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests {
                counted,
                threshold,
                window,
            } => write!(
                formatter,
                "{} of {:.0} requests failed in {window:#} (limit {threshold})",
                counted.failed_share(),
                counted.total
            ),
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
            } => write!(
                formatter,
                "{affected} of {pods} pods restarted {threshold} times or more in {window:#}"
            ),
            Self::Rollout { complete: true } => write!(formatter, "the rollout is complete"),
            Self::Rollout { complete: false } => {
                write!(formatter, "the rollout exceeded its progress deadline")
            }
        }
    }
}

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
    TooFewRequests { seen: u64, needed: u32 },
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
            | Self::RolloutInProgress => false,
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
        }
    }
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
            Self::TooFewRequests { seen, needed } => write!(
                formatter,
                "{seen} requests in the window, {needed} are needed; a longer window or a smaller minimumRequests would help"
            ),
            Self::NotLongEnough {
                measurement,
                lasted,
                needed,
            } => {
                write!(formatter, "{measurement}, for {lasted:#} of {needed:#}")
            }
            Self::NoPods => write!(formatter, "the revision has no pods"),
            Self::RolloutInProgress => write!(formatter, "the rollout is in progress"),
        }
    }
}

/// A pod is scraped once an interval, and two scrapes may be lost before its samples are stale.
const STALE_AFTER_SCRAPES: i32 = 3;

/// Prometheus' own default, until two samples tell the real one.
const SCRAPE_INTERVAL_UNKNOWN: SignedDuration = SignedDuration::from_secs(60);

/// Returns what each trigger of `policy` says, in the policy's order.
#[must_use]
pub fn readings(observed: &Observed, policy: &Policy, now: Timestamp) -> Vec<TriggerReading> {
    policy
        .triggers
        .iter()
        .map(|trigger| TriggerReading {
            trigger: trigger.name.clone(),
            mode: trigger.mode.map_or(policy.mode, |cap| cap.min(policy.mode)),
            cannot_run: trigger.kind.cannot_run(),
            reading: reading(observed, trigger, now),
        })
        .collect()
}

fn reading(observed: &Observed, trigger: &Trigger, now: Timestamp) -> Reading {
    let evidence = observed.evidence.get(&trigger.name);
    match &trigger.kind {
        TriggerKind::ErrorRate(rule) => match fresh_counters(evidence, now) {
            Ok((pods, newest)) => error_rate(pods, newest, rule),
            Err(unknown) => Reading::Unknown(unknown),
        },
        TriggerKind::ProbeFailures(rule) => match fresh_counters(evidence, now) {
            Ok((pods, newest)) => probe_failures(pods, newest, rule),
            Err(unknown) => Reading::Unknown(unknown),
        },
        TriggerKind::Restarts(rule) => restarts(observed, rule, now),
        TriggerKind::RolloutStalled => rollout_stalled(&observed.workload),
    }
}

/// Returns the counters and the time of their newest sample, unless they say nothing about now.
fn fresh_counters(
    evidence: Option<&Evidence>,
    now: Timestamp,
) -> Result<(&[PodCounters], Timestamp), Unknown> {
    let pods = match evidence {
        Some(Evidence::Counters(pods)) => pods,
        Some(Evidence::Missing(unknown)) => return Err(unknown.clone()),
        None => return Err(Unknown::NoData),
    };
    let finite = pods
        .iter()
        .flat_map(|pod| &pod.samples)
        .all(|sample| sample.total.is_finite() && sample.failed.is_finite());
    if !finite {
        return Err(Unknown::NotANumber);
    }
    let newest = newest_sample(pods).ok_or(Unknown::NoData)?;
    let interval = scrape_interval(pods).unwrap_or(SCRAPE_INTERVAL_UNKNOWN);
    let age = now.duration_since(newest);
    if age > interval * STALE_AFTER_SCRAPES {
        return Err(Unknown::Stale { age });
    }
    Ok((pods, newest))
}

fn error_rate(pods: &[PodCounters], newest: Timestamp, rule: &ErrorRate) -> Reading {
    let counted = counted(pods, rule.window, newest);
    if counted.total < f64::from(rule.minimum_requests) {
        return Reading::Unknown(Unknown::TooFewRequests {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "finite, not negative, and below a u32"
            )]
            seen: counted.total as u64,
            needed: rule.minimum_requests,
        });
    }
    let measurement = Measurement::Requests {
        counted,
        threshold: rule.threshold,
        window: rule.window,
    };
    let since = over_since(pods, rule.window, rule.threshold, rule.minimum_requests);
    let Some(since) = since else {
        return Reading::Passing(measurement);
    };
    let lasted = newest.duration_since(since);
    if lasted < rule.sustained {
        return Reading::Unknown(Unknown::NotLongEnough {
            measurement: Box::new(measurement),
            lasted,
            needed: rule.sustained,
        });
    }
    Reading::Breached(measurement)
}

fn probe_failures(pods: &[PodCounters], newest: Timestamp, rule: &ProbeFailures) -> Reading {
    // Of the worst pod: one failure each while many pods start is not a pod that fails.
    let worst = pods
        .iter()
        .map(|pod| counted(std::slice::from_ref(pod), rule.window, newest))
        .max_by(|left, right| {
            let by_total = left.total.total_cmp(&right.total);
            left.failed.total_cmp(&right.failed).then(by_total)
        });
    let counted = worst.unwrap_or_default();
    let measurement = Measurement::Probes {
        probe: rule.probe.name(),
        counted,
        threshold: rule.threshold,
        window: rule.window,
    };
    if counted.failed >= f64::from(rule.threshold) {
        Reading::Breached(measurement)
    } else if counted.total > 0.0 {
        Reading::Passing(measurement)
    } else {
        Reading::Unknown(Unknown::NoData)
    }
}

fn restarts(observed: &Observed, rule: &Restarts, now: Timestamp) -> Reading {
    let pods = observed.pods.len();
    if pods == 0 {
        return Reading::Unknown(Unknown::NoPods);
    }
    let affected = observed
        .pods
        .iter()
        .filter(|pod| restarts_within(pod, rule.window, now) >= rule.threshold)
        .count();
    let measurement = Measurement::Restarts {
        affected,
        pods,
        threshold: rule.threshold,
        window: rule.window,
    };
    if affected > 0 && share(affected, pods) >= rule.pods {
        Reading::Breached(measurement)
    } else {
        Reading::Passing(measurement)
    }
}

/// Pod counts stay far below 2^52, where `f64` is exact.
#[expect(clippy::cast_precision_loss, reason = "pods are counted in thousands")]
fn share(part: usize, whole: usize) -> Ratio {
    Ratio(part as f64 / whole as f64)
}

fn rollout_stalled(workload: &Workload) -> Reading {
    if workload.progress_deadline_exceeded {
        Reading::Breached(Measurement::Rollout { complete: false })
    } else if workload.rolled_out {
        Reading::Passing(Measurement::Rollout { complete: true })
    } else {
        Reading::Unknown(Unknown::RolloutInProgress)
    }
}

#[cfg(test)]
mod tests;
