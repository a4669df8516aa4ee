//! The one list of reasons that people read: in status, Events, metric labels, logs and `explain`.

use super::{Hold, State};

/// Where a workload stands, in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The policy is disabled.
    Disabled,
    /// The Deployment controller has not acted on the template yet.
    RevisionNotKnownYet,
    /// The current revision is being judged.
    OnProbation,
    /// The current revision went through its probation.
    RevisionGood,
    /// People let this revision go on; it is not proposed again.
    LetGo,
    /// A trigger is breached, and this keeps Astern from acting.
    Held(Hold),
    /// An incident is in this state.
    Incident(State),
}

impl Reason {
    /// The spelling everywhere.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::RevisionNotKnownYet => "RevisionNotKnownYet",
            Self::OnProbation => "OnProbation",
            Self::RevisionGood => "RevisionGood",
            Self::LetGo => "LetGo",
            Self::Held(hold) => hold.name(),
            Self::Incident(state) => state.name(),
        }
    }
}
