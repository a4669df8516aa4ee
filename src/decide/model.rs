//! The words of the product as types: what is observed, what is remembered, what is decided.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Evidence, Hold, Mode, Policy, Reason, TriggerReading};

/// One version of a Deployment's pod template, named by the digest of its canonical JSON.
///
/// Neither the revision number nor the `pod-template-hash` is an identity: a rollback renumbers, and
/// a hash collision or an upgrade of Kubernetes gives the same template another hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub String);

impl Revision {
    /// Returns the first eight characters, which tell revisions of one Deployment apart for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// What is known about a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Not judged to the end.
    Unproven,
    /// Rolled out, through its probation, nothing breached.
    Good,
    /// Astern went back from it.
    Bad,
    /// A person went back from it.
    Withdrawn,
}

/// What a [`Verdict::Good`] rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// Every trigger passed at least once on real data.
    Full,
    /// Some trigger never had data.
    Partial,
    /// A person said so, or it ran healthy when Astern first saw it.
    Vouched,
}

/// All that is remembered about one revision. It lives on a `ControllerRevision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionMemory {
    pub verdict: Verdict,
    pub proof: Option<Proof>,
    /// The Deployment's revision number when it last became current; a higher one means that it
    /// became current anew.
    pub number: i64,
    /// When it last became current: the start of its probation.
    pub since: Timestamp,
    /// When its rollout was complete for the first time since then.
    pub rolled_out: Option<Timestamp>,
    /// The triggers that have passed on real data since then.
    pub passed: BTreeSet<String>,
}

/// The Deployment as it is now.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that Kubernetes reports"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub uid: String,
    pub name: String,
    /// What the pod template asks for, whether or not any controller has acted on it.
    pub template: Revision,
    /// The ReplicaSet that carries the template; `None` while the controllers catch up.
    pub current: Option<Current>,
    pub replicas: u32,
    /// Every replica runs the current revision and is available, and no other pod is left.
    pub rolled_out: bool,
    pub rolling_update: bool,
    pub paused: bool,
    /// The Rollback whose mark says that Astern paused it.
    pub paused_by: Option<String>,
    /// The Rollback whose mark says that Astern restored its template. It counts only for that one:
    /// the mark stays when others deploy, and an undo brings old ones back.
    pub rolled_back_by: Option<String>,
    /// Astern's field manager owns fields of the template: the next deploy would meet a conflict.
    pub ownership_disturbed: bool,
    pub progress_deadline_exceeded: bool,
    pub progress_deadline: SignedDuration,
    pub deleting: bool,
}

/// The ReplicaSet of the current revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The revision number that the Deployment controller gave it, for people and for order.
    pub number: i64,
    /// When the ReplicaSet was created.
    pub created: Timestamp,
}

/// One pod of the current revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub born: Timestamp,
    /// Restart counts in order of time, as far as they were seen; bounded by who collects them.
    pub restarts: Vec<RestartCount>,
}

/// How often the containers of a pod had restarted at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartCount {
    pub at: Timestamp,
    pub count: u32,
}

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
    pub approval: super::ApprovalTerms,
    pub rollback: super::RollbackTerms,
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

/// All that survives a restart. Where it is stored: `ARCHITECTURE.md`, "Where memory lives".
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Memory {
    pub revisions: BTreeMap<Revision, RevisionMemory>,
    /// The open incident, or the one that this decision closes.
    pub incident: Option<Incident>,
}

/// Everything that a decision may depend on, besides policy and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub workload: Workload,
    pub memory: Memory,
    /// Closed incidents, for "at most once" rules.
    pub past: Vec<Attempt>,
    /// The pods of the current revision.
    pub pods: Vec<Pod>,
    /// Per trigger that reads metrics: what the source answered.
    pub evidence: BTreeMap<String, Evidence>,
    pub entries: Vec<Entry>,
    /// When the API server created the record of the open incident.
    pub recorded: Option<Timestamp>,
    /// Whether the API server checks who writes an approval.
    pub approvals_are_checked: bool,
    /// A random code, in case this decision needs one.
    pub fresh_code: String,
    /// Since when all triggers that caused the incident pass again. Process memory: losing it costs
    /// a longer verification, nothing else.
    pub passing_since: Option<Timestamp>,
    /// The API server refused the rollback for good, in its own words.
    pub refusal: Option<String>,
}

/// One write to the outside world.
///
/// Carrying an effect out twice must equal carrying it out once: an effect is asked for until it
/// is observed, because the operator may stop between any two lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Restores the pod template of `to`, provided the Deployment still runs `from`; lifts our own
    /// pause in the same write.
    RollBack { from: Revision, to: Revision },
    /// Puts field ownership back to what it was when `to` was deployed, in a write of its own: the
    /// change of the template makes the entries anew.
    RestoreOwnership { to: Revision },
    /// Stops a rollout in progress, with our mark, provided that the Deployment still runs `from`.
    PauseRollout { from: Revision },
    /// Lifts a pause that carries our mark, and the mark.
    ResumeRollout,
    /// Deletes the record of a revision that is too old to matter.
    Forget { revision: Revision },
    /// Tells people, on the Deployment and on the Rollback. Sent once per wording.
    Announce(Announcement),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The incident reached this state.
    Incident(State),
    /// The incident awaits approval, and this is what to quote.
    AskForApproval,
    /// The time for approval is over, and nobody has answered.
    Escalate,
    /// A revision became [`Verdict::Good`].
    Good(Revision),
    /// Something is wrong with the current revision, and Astern does not act.
    Held(Hold),
    /// Somebody put the bad revision back.
    Fighting,
}

/// What follows from an observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What must be on the objects before any effect is carried out.
    pub memory: Memory,
    pub reason: Reason,
    pub readings: Vec<TriggerReading>,
    pub effects: Vec<Effect>,
    /// Since when the triggers pass again; goes into the next [`Observed`].
    pub passing_since: Option<Timestamp>,
    /// When to look again at the latest. `None` only where nothing but a change can matter.
    pub look_again: Option<SignedDuration>,
}

impl Observed {
    /// Returns what is remembered about the revision that the template asks for.
    #[must_use]
    pub fn current_memory(&self) -> Option<&RevisionMemory> {
        self.memory.revisions.get(&self.workload.template)
    }

    /// Returns whether the current revision is on probation or part of an open incident: only then
    /// are its pods and metrics worth reading.
    #[must_use]
    pub fn needs_judging(&self, policy: &Policy) -> bool {
        if policy.mode == Mode::Disabled {
            return false;
        }
        let open = self
            .memory
            .incident
            .as_ref()
            .is_some_and(|incident| incident.state.is_open());
        open || self
            .current_memory()
            .is_none_or(|memory| memory.verdict != Verdict::Good)
    }
}
