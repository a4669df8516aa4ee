//! Judges by what Kubernetes itself says: restarts, a rollout without progress, too few replicas.

use jiff::Timestamp;

use crate::decide::detectors::restarts_within;
use crate::decide::{Measurement, Observed, Ratio, Reading, Restarts, Unavailable, Unknown};

pub(super) fn restarts(observed: &Observed, rule: &Restarts, now: Timestamp) -> Reading {
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
        cause: None,
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

pub(super) fn rollout_stalled(observed: &Observed, _: Timestamp) -> Reading {
    let workload = &observed.workload;
    if workload.progress_deadline_exceeded {
        Reading::Breached(Measurement::Rollout {
            complete: false,
            cause: None,
        })
    } else if workload.rolled_out {
        Reading::Passing(Measurement::Rollout {
            complete: true,
            cause: None,
        })
    } else {
        Reading::Unknown(Unknown::RolloutInProgress)
    }
}

pub(super) fn unavailable(observed: &Observed, rule: &Unavailable, _: Timestamp) -> Reading {
    let replicas = observed
        .current_memory()
        .map_or(observed.workload.replicas, |memory| memory.replicas);
    let available = observed.workload.availability.last();
    Reading::Passing(Measurement::Available {
        available: available.map_or(0, |seen| seen.available),
        replicas,
        below: rule.below,
    })
}
