//! What drills say, in the status of a policy.

use super::Target;
use crate::decide::{DrillOutcome, Drilled};

/// Instead of an outcome, until the first drill.
const NEVER: &str = "NeverDrilled";

/// Returns status, reason and message of the condition `RollbackReady`: whatever is wrong with one target
/// is wrong with the whole.
pub(super) fn ready(targets: &[Target]) -> (&'static str, &'static str, String) {
    let drilled = || {
        let targets = targets.iter();
        targets.map(|target| (target, target.drills.iter().flatten().next()))
    };
    let named = |(target, drilled): (&Target, Option<&Drilled>)| {
        format!("{}: {}", target.name, text(drilled))
    };
    let not_ready: Vec<_> = drilled()
        .filter(|(_, last)| last.is_some_and(|last| last.outcome != DrillOutcome::Ready))
        .collect();
    if let Some((_, Some(first))) = not_ready.first() {
        let reason = first.outcome.name();
        let lines: Vec<String> = not_ready.into_iter().map(named).collect();
        return ("False", reason, lines.join("; "));
    }
    let never: Vec<_> = drilled()
        .filter(|(_, last)| last.is_none())
        .map(|(target, _)| target.name.as_str())
        .collect();
    if targets.is_empty() || !never.is_empty() {
        let message = format!("not drilled yet: {}", never.join(", "));
        let message = message.trim_end_matches([':', ' ']).to_owned();
        return ("Unknown", NEVER, message);
    }
    let message = "at its last drill every target could have been rolled back";
    ("True", DrillOutcome::Ready.name(), message.to_owned())
}

/// Returns what the last drill of one target said.
pub(super) fn text(drilled: Option<&Drilled>) -> String {
    let Some(drilled) = drilled else {
        return NEVER.to_owned();
    };
    let message = drilled.message();
    let outcome = drilled.outcome.name();
    if message.is_empty() {
        format!("{outcome} at {}", drilled.at)
    } else {
        format!("{outcome} at {}: {message}", drilled.at)
    }
}
