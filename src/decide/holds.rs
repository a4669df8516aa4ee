//! Reasons not to roll back, in the order they are asked.

use super::{Observed, target};

/// Why a wanted rollback is held back for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// Somebody is removing the Deployment.
    Deleting,
    /// Somebody paused the Deployment; a patch would lie in wait for the resume.
    PausedByPerson,
    /// Nothing runs, so nothing can fail or recover.
    NoReplicas,
    /// No revision is known to have worked.
    NoTarget,
}

impl Hold {
    /// The spelling in status, Events and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deleting => "Deleting",
            Self::PausedByPerson => "PausedByPerson",
            Self::NoReplicas => "NoReplicas",
            Self::NoTarget => "NoTarget",
        }
    }

    /// What it means and what to do, for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Deleting => "the Deployment is being deleted",
            Self::PausedByPerson => {
                "the Deployment is paused by a person; resume it, or undo the release by hand"
            }
            Self::NoReplicas => "the Deployment has no replicas",
            Self::NoTarget => {
                "no other revision is known to have worked; deploy a fix, or undo the release by hand"
            }
        }
    }

    /// All holds, in the order they are asked.
    pub const ALL: [Self; 4] = [
        Self::Deleting,
        Self::PausedByPerson,
        Self::NoReplicas,
        Self::NoTarget,
    ];
}

type Guard = fn(&Observed) -> Option<Hold>;

/// The first hold is the one the user reads, so the order goes from user's doing to ours.
const GUARDS: &[Guard] = &[deleting, paused_by_person, no_replicas, no_target];

/// Returns the first reason to hold back, or `None` when nothing stands in the way.
#[must_use]
pub fn first_hold(observed: &Observed) -> Option<Hold> {
    GUARDS.iter().find_map(|guard| guard(observed))
}

fn deleting(observed: &Observed) -> Option<Hold> {
    observed.workload.deleting.then_some(Hold::Deleting)
}

fn paused_by_person(observed: &Observed) -> Option<Hold> {
    let workload = &observed.workload;
    (workload.paused && workload.paused_by.is_none()).then_some(Hold::PausedByPerson)
}

fn no_replicas(observed: &Observed) -> Option<Hold> {
    (observed.workload.replicas == 0).then_some(Hold::NoReplicas)
}

fn no_target(observed: &Observed) -> Option<Hold> {
    target::newest_good(observed)
        .is_none()
        .then_some(Hold::NoTarget)
}
