//! What people are told in Events.

use super::{Place, message};
use crate::api::names;
use crate::decide::{
    Announcement, ConfigChange, DrillOutcome, Drilled, Hold, Incident, Mark, Revision, State,
};

/// An Event in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub warning: bool,
    pub reason: String,
    pub action: &'static str,
    pub note: String,
}

/// Returns what `announcement` says; `incident` is the one it belongs to, where there is one.
#[must_use]
pub fn note(announcement: &Announcement, incident: Option<(&Incident, &Place<'_>)>) -> Note {
    let told = |fallback: &str| {
        incident.map_or_else(
            || fallback.to_owned(),
            |(incident, place)| message(incident, place),
        )
    };
    match announcement {
        Announcement::Incident(state) => Note {
            warning: *state != State::Recovered,
            reason: state.name().to_owned(),
            action: "RollBack",
            note: told(state.name()),
        },
        Announcement::AskForApproval => Note {
            warning: true,
            reason: State::AwaitingApproval.name().to_owned(),
            action: "AskForApproval",
            note: told("awaits approval"),
        },
        Announcement::Escalate => Note {
            warning: true,
            reason: "ApprovalOverdue".to_owned(),
            action: "AskForApproval",
            note: told("still awaits approval"),
        },
        Announcement::BrokenGlass(alone) => Note {
            warning: true,
            reason: "GlassBroken".to_owned(),
            action: "Approve",
            note: format!(
                "{} approved alone, for everybody who was to be asked: {}",
                alone.username,
                alone.break_glass.as_deref().unwrap_or_default()
            ),
        },
        Announcement::Good(revision) => Note {
            warning: false,
            reason: "RevisionGood".to_owned(),
            action: "Judge",
            note: format!("revision {} is known to work", revision.short()),
        },
        Announcement::Held(held) => Note {
            warning: true,
            reason: held.hold.name().to_owned(),
            action: "Hold",
            note: format!("not rolling back: {}", held.message()),
        },
        Announcement::Fighting => Note {
            warning: true,
            reason: "RollbackFighting".to_owned(),
            action: "Hold",
            note: "the bad revision was put back after a rollback; Astern does not write again: stop whoever deploys it, or deploy a fix".to_owned(),
        },
        Announcement::ConfigChanged(changes) => config_changed(changes),
        Announcement::BackFromQuarantine(revision) => back_from_quarantine(revision),
        Announcement::Marked(mark) => marked(mark),
        Announcement::MarkNotUnderstood(mark) => mark_not_understood(mark),
        Announcement::Drilled(drilled) => drill(drilled),
    }
}

/// The time makes it an Event of its own, also where the outcome is that of an earlier one.
fn drill(drilled: &Drilled) -> Note {
    let ready = drilled.outcome == DrillOutcome::Ready;
    let answer = if ready { "yes" } else { "no" };
    Note {
        warning: !ready,
        reason: if ready {
            "RollbackReady".to_owned()
        } else {
            "RollbackNotReady".to_owned()
        },
        action: "Drill",
        note: format!(
            "drill at {}: could this be rolled back right now? {answer}, {}: {}",
            drilled.at,
            drilled.outcome.name(),
            drilled.message()
        ),
    }
}

fn config_changed(changes: &[ConfigChange]) -> Note {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    Note {
        warning: false,
        reason: "ConfigChanged".to_owned(),
        action: "Judge",
        note: format!(
            "config changed under running pods, without a release: {}; what fails from now on may come from that",
            changes.join(", ")
        ),
    }
}

fn back_from_quarantine(revision: &Revision) -> Note {
    Note {
        warning: true,
        reason: "QuarantinedRevisionDeployed".to_owned(),
        action: "Judge",
        note: format!(
            "revision {} runs again, though it was gone back from lately; it is judged anew",
            revision.short()
        ),
    }
}

fn marked(mark: &Mark) -> Note {
    Note {
        warning: false,
        reason: "RevisionMarked".to_owned(),
        action: "Mark",
        note: format!(
            "{} marked revision {} as {}: {}",
            mark.by,
            mark.revision,
            mark.word.name(),
            mark.reason
        ),
    }
}

fn mark_not_understood(mark: &Mark) -> Note {
    Note {
        warning: true,
        reason: "MarkNotUnderstood".to_owned(),
        action: "Mark",
        note: format!(
            "the annotation {} says {:?}, which names no revision that is recorded; write <digest>/<Good|Bad|Withdrawn|Lifted>:<username>: <reason>, with at least eight characters of a digest as kubectl get controllerrevisions -o yaml shows it in {}",
            names::MARK,
            mark.value.chars().take(VALUE_SHOWN).collect::<String>(),
            names::DIGEST
        ),
    }
}

/// Enough to find what somebody wrote.
const VALUE_SHOWN: usize = 80;

/// Returns what to say when the breaker opens. Once for the whole cluster.
#[must_use]
pub fn breaker_opened(why: &str) -> Note {
    Note {
        warning: true,
        reason: "BreakerOpened".to_owned(),
        action: "Hold",
        note: format!("{why}: {}", Hold::BreakerOpen.advice()),
    }
}

/// Returns what to say where a Deployment names a policy that does not exist or is not usable.
#[must_use]
pub fn missing_policy(name: &str) -> Note {
    Note {
        warning: true,
        reason: "PolicyNotFound".to_owned(),
        action: "Attach",
        note: format!(
            "{} names the policy {name:?}, and there is no usable RollbackPolicy of that name in this namespace; nothing is guarded",
            names::POLICY
        ),
    }
}
