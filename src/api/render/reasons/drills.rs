//! What drills found, in words, as far as no hold says it.

use super::{NOTHING, Text, text};
use crate::decide::DrillOutcome;

/// Explains how a drill ended; `None` where a hold explains it.
#[must_use]
pub const fn of_outcome(outcome: DrillOutcome) -> Option<Text> {
    Some(match outcome {
        DrillOutcome::Held(_) => return None,
        DrillOutcome::Ready => text(
            "A rollback would go ahead, at the latest when people have approved.",
            NOTHING,
        ),
        DrillOutcome::RightsMissing => text(
            "The API server would not let Astern write what a rollback writes; the message names it.",
            "Upgrade the chart, or give its ServiceAccount what docs/security.md lists.",
        ),
        DrillOutcome::MetricSourceFailing => text(
            "The metric source gives no answer, so no release is judged by metrics.",
            "Set right what the message says about the MetricSource.",
        ),
        DrillOutcome::NoApprover => text(
            "People would have to approve, and nobody may, or no approval would count.",
            "Bind the ClusterRole `astern-approver` to those who may.",
        ),
    })
}

/// The reasons of the condition, besides the holds.
pub(super) fn rows() -> Vec<(&'static str, Text)> {
    let never = text(
        "No drill was due yet for at least one target.",
        "Wait for the schedule of the policy or of the cluster.",
    );
    let outcomes = DrillOutcome::OWN.into_iter();
    outcomes
        .filter_map(|outcome| Some((outcome.name(), of_outcome(outcome)?)))
        .chain([("NeverDrilled", never)])
        .collect()
}
