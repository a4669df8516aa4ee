//! What follows from a decision: writes to the outside world, and looks at it, as data.

use super::gitops::Pause;
use super::{Announcement, Revision};

/// One write to the outside world.
///
/// Carrying an effect out twice must equal carrying it out once: an effect is asked for until it
/// is observed, because the operator may stop between any two lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Restores the pod template of `to`, provided the Deployment still runs `from`; lifts our own
    /// pause of the rollout in the same write. `pause` keeps a GitOps reconciler away: on the
    /// Deployment in the same write, an Application right before it.
    RollBack {
        from: Revision,
        to: Revision,
        pause: Option<Pause>,
    },
    /// Lets the reconciler come back that `rollback` keeps away: switches `application` on again, and
    /// takes mark and pause off the Deployment.
    LiftPause {
        rollback: String,
        application: Option<(String, String)>,
    },
    /// Puts field ownership back to what it was when `to` was deployed, in a write of its own: the
    /// change of the template makes the entries anew.
    RestoreOwnership { to: Revision },
    /// Stops a rollout in progress, with our mark, provided that the Deployment still runs `from`.
    PauseRollout { from: Revision },
    /// Lifts a pause that carries our mark, and the mark.
    ResumeRollout,
    /// Takes the mark of pinned config off: the template reads none of the copies that it names.
    Unpin,
    /// Deletes the record of a revision that is too old to matter.
    Forget { revision: Revision },
    /// Takes the costly looks at what a rollback from `from` to `to` would meet.
    Inspect { from: Revision, to: Revision },
    /// Takes the same looks, and those that only a drill takes.
    Drill { from: Revision, to: Revision },
    /// Copies the ConfigMaps that the current revision reads, as long as they hold what it runs with.
    KeepConfig { revision: Revision },
    /// Looks at the reconciler of the Deployment alone.
    LookAtReconciler,
    /// Looks for what is wrong with the pods of `revision`, beside everything else: nothing waits for it.
    Diagnose {
        revision: Revision,
        replica_set: String,
    },
    /// Looks where the traffic leads, now that `to` should have taken the place of `from`.
    FollowTraffic { from: Revision, to: Revision },
    /// Ends a request that cannot be carried out, on its own record.
    Decline { request: String, outcome: String },
    /// Tells people, on the Deployment and on the Rollback. Sent once per wording.
    Announce(Announcement),
}

impl Effect {
    /// Returns whether it only looks: what it tells comes back in the next [`super::Observed`].
    #[must_use]
    pub const fn is_look(&self) -> bool {
        match self {
            Self::Inspect { .. }
            | Self::Drill { .. }
            | Self::LookAtReconciler
            | Self::Diagnose { .. }
            | Self::FollowTraffic { .. } => true,
            Self::RollBack { .. }
            | Self::LiftPause { .. }
            | Self::RestoreOwnership { .. }
            | Self::PauseRollout { .. }
            | Self::ResumeRollout
            | Self::Unpin
            | Self::Forget { .. }
            | Self::KeepConfig { .. }
            | Self::Decline { .. }
            | Self::Announce(_) => false,
        }
    }
}
