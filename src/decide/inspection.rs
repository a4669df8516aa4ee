//! What the costly looks tell, and what people have written to Astern.
//!
//! A costly look is one that costs requests to the API server, so it is taken only when a rollback is
//! wanted. Its answer is data like everything else, and goes stale.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::gitops::Reconciler;
use super::{Config, Observed, Rehearsal, Revision};

/// How long an answer counts. Long enough to propose and act on one look, short enough that nobody
/// acts on yesterday's.
const FRESH: SignedDuration = SignedDuration::from_secs(30);

/// What a rollback from one revision to another would meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    pub at: Timestamp,
    pub from: Revision,
    pub to: Revision,
    /// Kill switches on the Namespace and on Astern's own Namespace.
    pub suspensions: Vec<Suspension>,
    /// A rollout controller that has this Deployment in its hands.
    pub other_controller: Option<String>,
    /// Who deploys this Deployment, and would undo a rollback.
    pub reconciler: Option<Reconciler>,
    /// Astern may switch the automated sync of its Application off.
    pub may_pause_applications: bool,
    /// Why the target's images cannot be pulled, as far as the cluster can tell.
    pub image_unavailable: Option<String>,
    /// What the API server, asked to only try, said against the patch.
    pub refused: Option<String>,
    /// What stands for the Secrets that the target reads, as far as they may be read.
    pub secrets: Config,
    /// The ConfigMaps that the target would read as copies, by the names of the originals.
    pub repoint: BTreeMap<String, String>,
    /// What the target is with these references; `None` where they stay as they are.
    pub restored: Option<Revision>,
    /// What only drills look at; `None` where it was not looked at.
    pub rehearsal: Option<Rehearsal>,
}

impl Inspection {
    /// Returns whether it still counts at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) <= FRESH
    }
}

/// The kill switch: until when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// What carries it, such as `the namespace shop`.
    pub place: String,
    /// `None` where the time is not understood: a kill switch with a typing error still holds.
    pub until: Option<Timestamp>,
    pub reason: String,
}

impl Suspension {
    /// Returns whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A rollback that a person or a pipeline asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name of the Rollback that asks.
    pub name: String,
    pub created: Timestamp,
    /// The digest of the revision to go back to, or its number. `None`: the newest that worked.
    pub to: Option<String>,
    pub reason: String,
    pub requested_by: Option<String>,
    /// Find out what would be done, and do nothing.
    pub dry_run: bool,
    /// Nothing is wrong with what runs: it is found out whether the way back works.
    pub drill: bool,
}

/// What a person says about a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The first characters of its digest.
    pub revision: String,
    pub word: MarkWord,
    pub by: String,
    pub reason: String,
    /// As it was written; the same value counts once.
    pub value: String,
}

/// The words of a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkWord {
    Good,
    Bad,
    Withdrawn,
    /// Ends its quarantine.
    Lifted,
}

impl MarkWord {
    /// The spelling in annotations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "Good",
            Self::Bad => "Bad",
            Self::Withdrawn => "Withdrawn",
            Self::Lifted => "Lifted",
        }
    }

    /// All words.
    pub const ALL: [Self; 4] = [Self::Good, Self::Bad, Self::Withdrawn, Self::Lifted];
}

/// Returns what was seen of going from the current revision to `to`, if that was lately.
#[must_use]
pub fn inspected<'a>(
    observed: &'a Observed,
    to: &Revision,
    now: Timestamp,
) -> Option<&'a Inspection> {
    lately(observed, now)
        .find(|inspection| inspection.to == *to && inspection.from == observed.workload.template)
}

/// Returns what was seen lately, whatever the target was: what is older may be over, and who decided by
/// it would never look again.
pub(super) fn lately(observed: &Observed, now: Timestamp) -> impl Iterator<Item = &Inspection> {
    let inspections = observed.inspections.iter();
    inspections.filter(move |inspection| inspection.is_fresh(now))
}
