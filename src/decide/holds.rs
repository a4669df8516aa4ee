//! Reasons not to roll back, or to ask first, in the order the user should read them.
//!
//! Each is a pure function. No limiter means "do nothing in silence": a hold either stops, and people
//! are told what to do, or it lowers the mode to asking.

mod guards;

use jiff::Timestamp;

use super::inspection::inspected;
use super::{Facts, Incident, Inspection, Observed, Policy, Revision};

/// Why a wanted rollback is held back, or must be agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    Suspended,
    OptedOut,
    Deleting,
    PausedByPerson,
    NoReplicas,
    OtherController,
    WouldBeUndone,
    NoTarget,
    TargetQuarantined,
    TargetIsCurrent,
    ImageUnavailable,
    ConfigMissing,
    ConfigChanged,
    SchemaIncompatible,
    SchemaUnknown,
    PersistentVolumes,
    FailingBefore,
    OnlyMetadataChanged,
    OnlyConfigChanged,
    BudgetSpent,
    BreakerOpen,
    ApprovalMissing,
    DryRunRefused,
}

/// A hold with what was seen: names and boundaries, never contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub hold: Hold,
    /// Empty where the hold says all there is.
    pub detail: String,
}

impl From<Hold> for Held {
    fn from(hold: Hold) -> Self {
        Self {
            hold,
            detail: String::new(),
        }
    }
}

impl Held {
    /// What was seen and what to do, for people.
    #[must_use]
    pub fn message(&self) -> String {
        if self.detail.is_empty() {
            self.hold.advice().to_owned()
        } else {
            format!("{}: {}", self.detail, self.hold.advice())
        }
    }
}

/// What follows from a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing is written, whoever agrees.
    Stops,
    /// People are asked first.
    Asks,
}

impl Hold {
    /// All holds, in the order they are asked.
    pub const ALL: [Self; 23] = [
        Self::Suspended,
        Self::OptedOut,
        Self::Deleting,
        Self::PausedByPerson,
        Self::NoReplicas,
        Self::OtherController,
        Self::WouldBeUndone,
        Self::NoTarget,
        Self::TargetQuarantined,
        Self::TargetIsCurrent,
        Self::ImageUnavailable,
        Self::ConfigMissing,
        Self::ConfigChanged,
        Self::SchemaIncompatible,
        Self::SchemaUnknown,
        Self::PersistentVolumes,
        Self::FailingBefore,
        Self::OnlyMetadataChanged,
        Self::OnlyConfigChanged,
        Self::BudgetSpent,
        Self::BreakerOpen,
        Self::ApprovalMissing,
        Self::DryRunRefused,
    ];

    /// The spelling in status, Events and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::OptedOut => "OptedOut",
            Self::Deleting => "Deleting",
            Self::PausedByPerson => "PausedByPerson",
            Self::NoReplicas => "NoReplicas",
            Self::OtherController => "OtherController",
            Self::WouldBeUndone => "WouldBeUndone",
            Self::NoTarget => "NoTarget",
            Self::TargetQuarantined => "TargetQuarantined",
            Self::TargetIsCurrent => "TargetIsCurrent",
            Self::ImageUnavailable => "ImageUnavailable",
            Self::ConfigMissing => "ConfigMissing",
            Self::ConfigChanged => "ConfigChanged",
            Self::SchemaIncompatible => "SchemaIncompatible",
            Self::SchemaUnknown => "SchemaUnknown",
            Self::PersistentVolumes => "PersistentVolumes",
            Self::FailingBefore => "FailingBefore",
            Self::OnlyMetadataChanged => "OnlyMetadataChanged",
            Self::OnlyConfigChanged => "OnlyConfigChanged",
            Self::BudgetSpent => "BudgetSpent",
            Self::BreakerOpen => "BreakerOpen",
            Self::ApprovalMissing => "ApprovalMissing",
            Self::DryRunRefused => "DryRunRefused",
        }
    }

    /// Whether it stops or asks.
    #[must_use]
    pub const fn weight(self) -> Weight {
        match self {
            Self::Suspended
            | Self::OptedOut
            | Self::Deleting
            | Self::PausedByPerson
            | Self::NoReplicas
            | Self::OtherController
            | Self::NoTarget
            | Self::TargetIsCurrent
            | Self::ConfigMissing
            | Self::SchemaIncompatible
            | Self::FailingBefore
            | Self::OnlyMetadataChanged
            | Self::OnlyConfigChanged
            | Self::DryRunRefused => Weight::Stops,
            Self::WouldBeUndone
            | Self::TargetQuarantined
            | Self::ImageUnavailable
            | Self::ConfigChanged
            | Self::SchemaUnknown
            | Self::PersistentVolumes
            | Self::BudgetSpent
            | Self::BreakerOpen
            | Self::ApprovalMissing => Weight::Asks,
        }
    }

    /// What it means and what to do, for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Suspended => {
                "Astern is suspended here; remove the annotation astern.dev/suspend, or wait until its time is over"
            }
            Self::OptedOut => {
                "the Deployment has opted out; remove the annotation astern.dev/enabled to be guarded again"
            }
            Self::Deleting => "the Deployment is being deleted",
            Self::PausedByPerson => {
                "the Deployment is paused by a person; resume it, or undo the release by hand"
            }
            Self::NoReplicas => "the Deployment has no replicas",
            Self::OtherController => {
                "another rollout controller looks after this Deployment; roll back with its own means"
            }
            Self::WouldBeUndone => {
                "revert in Git, where the rollback would last; or approve it for the time until then"
            }
            Self::NoTarget => {
                "no other revision is known to have worked; deploy a fix, or undo the release by hand"
            }
            Self::TargetQuarantined => {
                "the revision to go back to is itself known to be bad; approve if it is still the better one"
            }
            Self::TargetIsCurrent => "the revision to go back to is the one that runs",
            Self::ImageUnavailable => {
                "the images of the revision to go back to may not be there any more; look into the registry, then approve"
            }
            Self::ConfigMissing => {
                "pods of the revision to go back to could not start; bring it back by hand, with kubectl astern config restore where Astern has a copy"
            }
            Self::ConfigChanged => {
                "the revision to go back to ran with other config; look whether it gets along with this, then approve, or set config.mode: Restore before the next release"
            }
            Self::SchemaIncompatible => {
                "going back would run a version that does not fit the database; deploy a fix, or migrate the database back first"
            }
            Self::SchemaUnknown => {
                "whether the version to go back to fits the database is not known; annotate the pod template with astern.dev/schema and astern.dev/compatible-schema, or approve"
            }
            Self::PersistentVolumes => {
                "the pods keep data on persistent volumes that the newer version may have changed; look at that, then approve"
            }
            Self::FailingBefore => {
                "this failed already before the release, so going back would not help; look elsewhere"
            }
            Self::OnlyMetadataChanged => {
                "the release changed only labels or annotations of the pods and no config, so there is nothing to go back to; look elsewhere"
            }
            Self::OnlyConfigChanged => {
                "the release changed only config, which Astern does not restore here; bring it back by hand and restart, or set config.mode: Restore before the next release"
            }
            Self::BudgetSpent => {
                "this workload was rolled back too often lately; find out why releases fail, then approve"
            }
            Self::BreakerOpen => {
                "many workloads went bad at once, so the fault is hardly in this release; look for what they share, approve what should go back, then reset the breaker"
            }
            Self::ApprovalMissing => "people have to approve first",
            Self::DryRunRefused => {
                "the API server would refuse the rollback; set right what it says, or deploy a fix"
            }
        }
    }
}

/// What is asked of every hold: may this workload go back to `to`?
pub struct Question<'a> {
    pub observed: &'a Observed,
    pub policy: &'a Policy,
    pub now: Timestamp,
    /// `None` where there is no candidate.
    pub to: Option<&'a Revision>,
}

type Guard = fn(&Question<'_>) -> Option<Held>;

/// What the workload itself says, whatever the target is.
const OF_WORKLOAD: &[Guard] = &[
    guards::suspended,
    guards::opted_out,
    guards::deleting,
    guards::paused_by_person,
    guards::no_replicas,
    guards::other_controller,
];

/// What is said about one target.
const OF_TARGET: &[Guard] = &[
    guards::would_be_undone,
    guards::target_quarantined,
    guards::target_is_current,
    guards::image_unavailable,
    guards::config_missing,
    guards::config_changed,
    guards::schema_fits,
    guards::persistent_volumes,
    guards::only_metadata_changed,
];

/// What keeps Astern from acting by itself, whatever workload and target.
const OF_LIMITS: &[Guard] = &[guards::budget_spent, guards::breaker_open];

/// Returns the holds of the workload, in order.
#[must_use]
pub fn of_workload(question: &Question<'_>) -> Vec<Held> {
    asked(OF_WORKLOAD, question)
}

/// Returns the holds of the target, in order.
#[must_use]
pub fn of_target(question: &Question<'_>) -> Vec<Held> {
    asked(OF_TARGET, question)
}

/// Returns the holds that limit how much happens at once, in order.
#[must_use]
pub fn of_limits(question: &Question<'_>) -> Vec<Held> {
    asked(OF_LIMITS, question)
}

fn asked(guards: &[Guard], question: &Question<'_>) -> Vec<Held> {
    guards.iter().filter_map(|guard| guard(question)).collect()
}

/// Returns the first of `holds` that stops.
#[must_use]
pub fn first_stop(holds: &[Held]) -> Option<&Held> {
    holds
        .iter()
        .find(|held| held.hold.weight() == Weight::Stops)
}

/// Returns the first thing that stops any rollback of this workload, as far as it can be told without
/// costly looks.
#[must_use]
pub fn first_hold(observed: &Observed, policy: &Policy, now: Timestamp) -> Option<Held> {
    let question = Question {
        observed,
        policy,
        now,
        to: None,
    };
    first_stop(&of_workload(&question))
        .cloned()
        .or_else(|| guards::no_target(observed))
}

impl Question<'_> {
    fn inspection(&self) -> Option<&Inspection> {
        inspected(self.observed, self.to?, self.now)
    }

    fn facts(&self, revision: &Revision) -> Option<&Facts> {
        self.observed.facts.get(revision)
    }
}

/// Returns what the API server said against the rollback of `incident` when asked to only try.
#[must_use]
pub fn dry_run_refused<'a>(
    observed: &'a Observed,
    incident: &Incident,
    now: Timestamp,
) -> Option<&'a str> {
    inspected(observed, &incident.to, now)?.refused.as_deref()
}
