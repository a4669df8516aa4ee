//! Events that tell of no state of an incident and of no hold, in words.

use super::{NOTHING, Text, text};
use crate::decide::{Announcement, DrillOutcome};

/// Events that are about no state of an incident and no hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    ApprovalOverdue,
    GlassBroken,
    RevisionGood,
    RollbackFighting,
    ConfigChanged,
    QuarantinedRevisionDeployed,
    RevisionMarked,
    MarkNotUnderstood,
    PolicyNotFound,
    BreakerOpened,
    RollbackReady,
    RollbackNotReady,
}

impl Told {
    pub(super) const ALL: [Self; 12] = [
        Self::ApprovalOverdue,
        Self::GlassBroken,
        Self::RevisionGood,
        Self::RollbackFighting,
        Self::ConfigChanged,
        Self::QuarantinedRevisionDeployed,
        Self::RevisionMarked,
        Self::MarkNotUnderstood,
        Self::PolicyNotFound,
        Self::BreakerOpened,
        Self::RollbackReady,
        Self::RollbackNotReady,
    ];

    /// The reason of the Event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApprovalOverdue => "ApprovalOverdue",
            Self::GlassBroken => "GlassBroken",
            Self::RevisionGood => "RevisionGood",
            Self::RollbackFighting => "RollbackFighting",
            Self::ConfigChanged => "ConfigChanged",
            Self::QuarantinedRevisionDeployed => "QuarantinedRevisionDeployed",
            Self::RevisionMarked => "RevisionMarked",
            Self::MarkNotUnderstood => "MarkNotUnderstood",
            Self::PolicyNotFound => "PolicyNotFound",
            Self::BreakerOpened => "BreakerOpened",
            Self::RollbackReady => "RollbackReady",
            Self::RollbackNotReady => "RollbackNotReady",
        }
    }

    pub(super) const fn text(self) -> Text {
        match self {
            Self::ApprovalOverdue => text(
                "The time for approval is over, and nobody has answered.",
                "Approve or reject.",
            ),
            Self::GlassBroken => text(
                "In an emergency, one person approved for all who were to be asked, with a reason.",
                "Ask that person, and see that the rollback was right.",
            ),
            Self::RevisionGood => text("A revision is known to work now.", NOTHING),
            Self::RollbackFighting => text(
                "Somebody, or a robot, put the bad revision back after a rollback. Astern does not write again.",
                "Stop whoever deploys it, or deploy a fix.",
            ),
            Self::ConfigChanged => text(
                "Config changed under running pods, without a release. (As a hold, it means that going back would run with other config.)",
                "Look there first if something fails from now on.",
            ),
            Self::QuarantinedRevisionDeployed => text(
                "A revision that was gone back from lately runs again. It is judged anew.",
                "Deploy a fix; or lift the quarantine, if the cause is gone.",
            ),
            Self::RevisionMarked => text(
                "What a person said about a revision is written down.",
                NOTHING,
            ),
            Self::MarkNotUnderstood => text(
                "The annotation `astern.dev/mark` names no revision that is recorded, or is spelled wrong.",
                "Use `kubectl astern mark`, or spell it as the Event says.",
            ),
            Self::PolicyNotFound => text(
                "The Deployment names a policy that does not exist or cannot be used. Nothing is guarded.",
                "Correct the annotation `astern.dev/policy`, or the policy.",
            ),
            Self::BreakerOpened => text(
                "Too much went bad at once. Every rollback has to be approved until the breaker is reset.",
                "Look for what the workloads share; then `kubectl astern breaker reset`.",
            ),
            Self::RollbackReady => text(
                "A drill found that the Deployment could be rolled back right now; before, it could not, or nobody had tried.",
                NOTHING,
            ),
            Self::RollbackNotReady => text(
                "A drill found that the Deployment could not be rolled back right now; the Event names what is in the way.",
                "Set that right before a rollback is needed.",
            ),
        }
    }
}

/// Returns which Event tells of `announcement`; `None` where it is told by a state or a hold.
#[must_use]
pub const fn of_announcement(announcement: &Announcement) -> Option<Told> {
    match announcement {
        Announcement::Incident(_) | Announcement::AskForApproval | Announcement::Held(_) => None,
        Announcement::Escalate => Some(Told::ApprovalOverdue),
        Announcement::BrokenGlass(_) => Some(Told::GlassBroken),
        Announcement::Good(_) => Some(Told::RevisionGood),
        Announcement::Fighting => Some(Told::RollbackFighting),
        Announcement::ConfigChanged(_) => Some(Told::ConfigChanged),
        Announcement::BackFromQuarantine(_) => Some(Told::QuarantinedRevisionDeployed),
        Announcement::Marked(_) => Some(Told::RevisionMarked),
        Announcement::MarkNotUnderstood(_) => Some(Told::MarkNotUnderstood),
        Announcement::Drilled(drilled) => Some(match drilled.outcome {
            DrillOutcome::Ready => Told::RollbackReady,
            DrillOutcome::Held(_)
            | DrillOutcome::RightsMissing
            | DrillOutcome::MetricSourceFailing
            | DrillOutcome::NoApprover => Told::RollbackNotReady,
        }),
    }
}
