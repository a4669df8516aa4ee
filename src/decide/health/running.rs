//! Judges by what Kubernetes itself says: restarts, a rollout without progress, too few replicas.
//!
//! Pods whose fate is not their revision's fault are left out everywhere, and what cannot be told
//! apart from that is unknown.

mod availability;
mod rollout;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub(super) use self::availability::unavailable;
pub(super) use self::rollout::rollout_stalled;
use crate::decide::detectors::restarts_within;
use crate::decide::{Measurement, Observed, Pod, Ratio, Reading, Restarts, Unknown};

pub(super) fn restarts(observed: &Observed, rule: &Restarts, now: Timestamp) -> Reading {
    let pods = accountable(observed).count();
    if pods == 0 {
        return Reading::Unknown(Unknown::NoPods);
    }
    let affected: Vec<&Pod> = accountable(observed)
        .filter(|pod| restarts_within(pod, rule.window, now) >= rule.threshold)
        .collect();
    let measurement = Measurement::Restarts {
        affected: affected.len(),
        pods,
        threshold: rule.threshold,
        window: rule.window,
        cause: usual_cause(&affected),
    };
    if !affected.is_empty() && share(affected.len(), pods) >= rule.pods {
        Reading::Breached(measurement)
    } else {
        Reading::Passing(measurement)
    }
}

/// The pods of the current revision for whose fate it answers.
fn accountable(observed: &Observed) -> impl Iterator<Item = &Pod> {
    observed.pods.iter().filter(|pod| !pod.excused)
}

/// Returns how most of the pods ended last; of two that are as common, the one that is first by name,
/// so that the words do not change from look to look.
fn usual_cause(pods: &[&Pod]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cause in pods
        .iter()
        .filter_map(|pod| pod.last_termination.as_deref())
    {
        *counts.entry(cause).or_default() += 1;
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map(|(cause, _)| cause.to_owned())
}

/// Pod counts stay far below 2^52, where `f64` is exact.
#[expect(clippy::cast_precision_loss, reason = "pods are counted in thousands")]
fn share(part: usize, whole: usize) -> Ratio {
    Ratio(part as f64 / whole as f64)
}

/// Since when the current revision is the current one, and what it has shown since.
#[derive(Clone, Copy, Debug)]
struct Standing {
    since: Timestamp,
    /// Its rollout was complete once. What goes missing later did not fail to come.
    completed: bool,
    /// What was asked for when it became current.
    replicas: Option<u32>,
}

impl Standing {
    /// What is remembered counts only for the time in which it was written: a revision that comes back
    /// is rolled out anew, and while an incident is open, nobody has taken note of that yet.
    fn of(observed: &Observed, now: Timestamp) -> Self {
        let workload = &observed.workload;
        let number = workload.current.as_ref().map(|current| current.number);
        let memory = observed
            .current_memory()
            .filter(|memory| number.is_none_or(|number| number == memory.number));
        if let Some(memory) = memory {
            return Self {
                since: memory.since,
                completed: workload.rolled_out || memory.rolled_out.is_some(),
                replicas: Some(memory.replicas),
            };
        }
        let incident = observed.memory.incident.as_ref();
        Self {
            since: incident
                .and_then(|incident| incident.timings.patched)
                .unwrap_or(now),
            completed: workload.rolled_out,
            replicas: None,
        }
    }
}

#[cfg(test)]
mod tests;
