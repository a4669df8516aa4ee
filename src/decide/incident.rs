//! The record of one rollback as types: its states, its terms, who agreed, when what happened.
//!
//! What leads from one state to the next stands in [`super::machine`].

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::gitops::Met;
use super::{ApprovalTerms, Found, Mode, Revision, RollbackTerms, Workload};

/// Where an incident stands. The words are those of `Rollback.status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Closed: what would have been done.
    #[default]
    Observed,
    AwaitingApproval,
    RollingBack,
    Verifying,
    /// Closed: the restored revision works.
    Recovered,
    /// Closed: the restored revision fails too, so the release was not the cause.
    NotRecovered,
    /// Closed: a person said no.
    Rejected,
    /// Closed: nobody answered, and the policy lets the revision go on.
    Released,
    /// Closed: somebody changed the template meanwhile.
    Superseded,
    /// Closed: the rollback could not be carried out or verified in time.
    Failed,
}

impl State {
    /// The spelling in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observed => "Observed",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::RollingBack => "RollingBack",
            Self::Verifying => "Verifying",
            Self::Recovered => "Recovered",
            Self::NotRecovered => "NotRecovered",
            Self::Rejected => "Rejected",
            Self::Released => "Released",
            Self::Superseded => "Superseded",
            Self::Failed => "Failed",
        }
    }

    /// All states, in the order in which an incident may pass them.
    pub const ALL: [Self; 10] = [
        Self::Observed,
        Self::AwaitingApproval,
        Self::RollingBack,
        Self::Verifying,
        Self::Recovered,
        Self::NotRecovered,
        Self::Rejected,
        Self::Released,
        Self::Superseded,
        Self::Failed,
    ];

    /// Whether Astern still has to do something about it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::AwaitingApproval | Self::RollingBack | Self::Verifying
        )
    }
}

/// One incident. It lives on a `Rollback`.
///
/// The terms that decide are copied when it is proposed, so that a later edit of the policy does not
/// change an incident under the eyes of those who work on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// The n-th Rollback of this revision; part of the record's name.
    pub attempt: u32,
    pub from: Revision,
    pub to: Revision,
    /// The trigger that was breached; empty where people asked for it or did it themselves.
    pub trigger: String,
    /// What a person or a pipeline asked for, where it was not a trigger.
    pub request: Option<Asked>,
    /// ConfigMaps that `to` reads as copies once it is back, by the names of the originals.
    pub repoint: BTreeMap<String, String>,
    /// What `to` is with these references; `None` where they stay as they were.
    pub restored: Option<Revision>,
    /// Who put `to` back, where it was not Astern.
    pub restored_by: Option<String>,
    /// The policy's mode after all caps.
    pub mode: Mode,
    /// Why the mode is lower than the policy's, for people.
    pub caps: Vec<String>,
    pub state: State,
    /// What was seen when it was proposed, for people.
    pub evidence: String,
    /// What ended it, for people. Empty while it is open.
    pub outcome: String,
    pub approval: ApprovalTerms,
    pub rollback: RollbackTerms,
    pub pause_rollout: bool,
    /// Astern paused the rollout once; a person who resumes it is obeyed.
    pub paused: bool,
    /// What an approval must quote. Set a while after the record exists, so that nothing planted in
    /// advance can match.
    pub code: Option<String>,
    pub approvals: Vec<Approval>,
    pub rejected_by: Option<String>,
    /// The time-out passed, and people were told again.
    pub escalated: bool,
    /// The GitOps reconciler that it met.
    pub reconciler: Option<Met>,
    /// The changes in Git from the revision that is restored to the one that is left.
    pub git_range: Option<String>,
    pub timings: Timings,
    /// What was found out on the way.
    pub found: Found,
}

impl Incident {
    /// Returns whether it went ahead without all the approvals that it asked for. A template may have
    /// been written then: an operator that stopped in between cannot tell.
    #[must_use]
    pub fn was_decided_unasked(&self) -> bool {
        let approved = u32::try_from(self.approvals.len()).unwrap_or(u32::MAX);
        let asked = self.request.is_some() || self.restored_by.is_some();
        self.timings.decided.is_some() && !asked && approved < self.approval.required
    }

    /// Returns the revision that runs once the rollback is done.
    #[must_use]
    pub fn target(&self) -> &Revision {
        self.restored.as_ref().unwrap_or(&self.to)
    }

    /// Returns whether people agreed to it, and to what it does about a reconciler.
    #[must_use]
    pub fn is_consented(&self) -> bool {
        let approved = u32::try_from(self.approvals.len()).unwrap_or(u32::MAX);
        self.request.is_some() || approved >= self.approval.required
    }

    /// Returns what rules about repetition need to know of it, once it is closed.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt {
            from: self.from.clone(),
            to: self.to.clone(),
            attempt: self.attempt,
            state: self.state,
            wrote_unasked: self.was_decided_unasked(),
            requested: self.request.is_some(),
            restored: self.restored_by.is_some(),
            paused: self.paused,
            decided: self.timings.decided,
            patched: self.timings.patched,
            git: self
                .reconciler
                .as_ref()
                .and_then(|met| met.revision.clone()),
        }
    }

    /// Returns the name of the record: a function of Deployment, bad revision and attempt, so that
    /// creating it twice is creating it once.
    ///
    /// Whoever asked has named it already.
    #[must_use]
    pub fn name(&self, workload: &Workload) -> String {
        if let Some(request) = &self.request {
            return request.name.clone();
        }
        let uid: String = workload
            .uid
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(8)
            .collect();
        let suffix = format!("-{}-{uid}-{}", self.from.short(), self.attempt);
        let room = NAME_MAX.saturating_sub(suffix.len());
        let stem: String = workload.name.chars().take(room).collect();
        // A cut may leave a separator at the end, which is fine inside a name.
        format!("{stem}{suffix}")
    }
}

/// The request behind an incident, as it stands in the record's `spec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name of the record, which the asker chose.
    pub name: String,
    pub requested_by: Option<String>,
    pub reason: String,
    /// Nothing is said about the revision that is left.
    pub drill: bool,
}

/// The API server's limit for names of objects.
const NAME_MAX: usize = 253;

/// When what happened. Times are those of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    pub proposed: Timestamp,
    /// From here the deadline runs: at once when automatic, else at the last approval.
    pub decided: Option<Timestamp>,
    /// The target's template was first seen in place.
    pub patched: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

/// One person's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub username: String,
    pub at: Timestamp,
    /// Why this one was to be enough, whatever the terms ask.
    pub break_glass: Option<String>,
}

/// An annotation by which a person answered, as found on a Rollback or a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    /// The annotation's value: `<rollback>/<code>:<username>`.
    pub value: String,
    /// Why, where the annotation wants it said.
    pub reason: Option<String>,
}

/// What the annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Approve,
    Reject,
    /// Approves, and is enough by itself: an emergency, with a reason.
    BreakGlass,
}

/// A closed incident of this workload.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that rules about repetition ask for"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    pub from: Revision,
    pub to: Revision,
    pub attempt: u32,
    pub state: State,
    /// [`Incident::was_decided_unasked`].
    pub wrote_unasked: bool,
    /// A person or a pipeline asked for it.
    pub requested: bool,
    /// Somebody else than Astern put `to` back.
    pub restored: bool,
    /// [`Incident::paused`].
    pub paused: bool,
    pub decided: Option<Timestamp>,
    /// When `to` was seen in place.
    pub patched: Option<Timestamp>,
    /// What the reconciler had tried to deploy last by then.
    pub git: Option<String>,
}
