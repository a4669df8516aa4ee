//! The record of one rollback as types: its states, its terms, who agreed, when what happened.
//!
//! What leads from one state to the next stands in [`super::machine`].

use jiff::Timestamp;

use super::{ApprovalTerms, Mode, Revision, RollbackTerms, Workload};

/// Where an incident stands. The words are those of `Rollback.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Closed: what would have been done.
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
    pub trigger: String,
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
    /// What an approval must quote. Set a while after the record exists, so that nothing planted in
    /// advance can match.
    pub code: Option<String>,
    pub approvals: Vec<Approval>,
    pub rejected_by: Option<String>,
    /// The time-out passed, and people were told again.
    pub escalated: bool,
    pub timings: Timings,
}

impl Incident {
    /// Returns whether it went ahead without all the approvals that it asked for. A template may have
    /// been written then: an operator that stopped in between cannot tell.
    #[must_use]
    pub fn was_decided_unasked(&self) -> bool {
        let approved = u32::try_from(self.approvals.len()).unwrap_or(u32::MAX);
        self.timings.decided.is_some() && approved < self.approval.required
    }

    /// Returns the name of the record: a function of Deployment, bad revision and attempt, so that
    /// creating it twice is creating it once.
    #[must_use]
    pub fn name(&self, workload: &Workload) -> String {
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
}

/// An annotation by which a person answered, as found on a Rollback or a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    /// The annotation's value: `<rollback>/<code>:<username>`.
    pub value: String,
}

/// What the annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Approve,
    Reject,
}

/// A closed incident of this workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub from: Revision,
    pub attempt: u32,
    pub state: State,
    /// [`Incident::was_decided_unasked`].
    pub wrote_unasked: bool,
}
