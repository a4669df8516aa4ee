//! What is remembered of a reconciler: that a rollback met it, how it is kept away, what was seen of it.

use jiff::{SignedDuration, Timestamp};

use super::{Pause, Reconciler};
use crate::decide::Revision;

/// The reconciler that a rollback met. It lives on the `Rollback`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// [`Reconciler::title`].
    pub title: String,
    /// What it had tried to deploy last.
    pub revision: Option<String>,
    /// How it is kept away; before people have agreed, how it will be.
    pub pause: Option<Pause>,
}

/// Who keeps a reconciler away, and how far the reconciler had come by then.
///
/// ReplicaSets keep copies of a Deployment's annotations, and an undo brings mark and pause back
/// together: the revision in the mark tells that Git has moved long since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseMark {
    /// The Rollback that set it; on an Application `<namespace>/<rollback>`.
    pub rollback: String,
    /// What the reconciler had tried to deploy last. Empty where that was not known.
    pub revision: String,
}

/// A look at the reconciler alone, without a rollback in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub at: Timestamp,
    /// What the Deployment asked for then.
    pub template: Revision,
    /// Our mark on the Deployment then. What was seen before a pause says nothing about its end.
    pub kept_from: Option<PauseMark>,
    /// `None`: nobody owns the Deployment any more.
    pub reconciler: Option<Reconciler>,
}

/// How often a reconciler is looked at: two requests each time, and after a commit nobody waits longer
/// than this for a pause to end.
pub const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(60);

impl Seen {
    /// Returns whether it still counts at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < LOOK_EVERY
    }
}
