//! Whether the restored revision works, by the same triggers that convicted the other one.

use super::Case;
use crate::decide::{Incident, Measurement, Reading, TriggerReading, Unknown};

/// How the restored revision does.
pub(super) enum Recovery {
    Passing,
    Incomplete,
    Breached(String),
    Unknown(String),
}

impl Recovery {
    /// The trigger that caused the incident must pass again; the others must not be breached. They
    /// may be unknown, as they may never have had data.
    pub(super) fn of(case: &Case<'_>, incident: &Incident) -> Self {
        if let Some((_, measurement)) = case.worst_breach() {
            return Self::Breached(measurement.to_string());
        }
        if let Some(still) = case.readings.iter().find_map(still_bad) {
            return Self::Breached(still);
        }
        if !case.observed.workload.rolled_out {
            return Self::Incomplete;
        }
        let culprit = case
            .readings
            .iter()
            .find(|reading| reading.trigger == incident.trigger);
        match culprit.map(|reading| &reading.reading) {
            Some(Reading::Unknown(unknown)) => Self::Unknown(unknown.to_string()),
            // A trigger that was removed from the policy meanwhile has nothing to say any more.
            Some(Reading::Passing(_) | Reading::Breached(_)) | None => Self::Passing,
        }
    }
}

/// What was there before a release is not the release's fault; what was there before the way back and
/// stays is not undone by it.
fn still_bad(reading: &TriggerReading) -> Option<String> {
    match &reading.reading {
        Reading::Unknown(Unknown::BadBefore { measurement }) => Some(measurement.to_string()),
        Reading::Unknown(Unknown::FiringBefore) => {
            Some(Measurement::Alert { firing: true }.to_string())
        }
        Reading::Passing(_) | Reading::Breached(_) | Reading::Unknown(_) => None,
    }
}
