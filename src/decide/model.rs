//! The words of the product as types: what is observed, what is remembered, what is decided.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::gitops::{PauseMark, Seen};
use super::{
    Approval, Attempt, Config, ConfigChange, Counted, Diagnosed, DrillTimes, Drilled, Effect,
    Enforcement, Entry, Evidence, Facts, Followed, Held, Incident, Inspection, Mark, Reason,
    Request, State, Suspension, TriggerReading,
};

/// One version of a Deployment's pod template, named by the digest of its canonical JSON.
///
/// Neither the revision number nor the `pod-template-hash` is an identity: a rollback renumbers, and
/// a hash collision or an upgrade of Kubernetes gives the same template another hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub String);

impl Revision {
    /// Returns the first eight characters, which tell revisions of one Deployment apart for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// What is known about a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Not judged to the end.
    #[default]
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
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// The replicas that were asked for when it became current.
    pub replicas: u32,
    /// Per trigger that counts: what the revision before had counted, kept for when its pods are gone.
    pub baseline: BTreeMap<String, Counted>,
    /// When it became [`Verdict::Bad`] or [`Verdict::Withdrawn`]: its quarantine runs from here.
    pub convicted: Option<Timestamp>,
    /// What admission does about deploying it again; `None` where it is not in quarantine.
    pub quarantine: Option<Enforcement>,
    /// The last word of a person about it, as it was written. The same words count once.
    pub mark: Option<String>,
    /// What the config that it refers to held while it ran, the last that it ran with.
    pub config: Config,
    /// The revision that this one is with other references to config: a restored one that reads copies.
    pub restored_from: Option<Revision>,
    /// What its reconciler had tried to deploy when it became current: the commit that brought it.
    pub git: Option<String>,
    /// The last drill while it was current.
    pub drilled: Option<Drilled>,
}

/// The Deployment as it is now.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that Kubernetes reports"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    pub uid: String,
    pub name: String,
    /// What the pod template asks for, whether or not any controller has acted on it.
    pub template: Revision,
    /// The ReplicaSet that carries the template; `None` while the controllers catch up.
    pub current: Option<Current>,
    /// The name of that ReplicaSet.
    pub replica_set: Option<String>,
    pub replicas: u32,
    /// How many pods were available, as far as it was seen, in order of time; the last one counts now.
    pub availability: Vec<Availability>,
    /// Every replica runs the current revision and is available, and no other pod is left.
    pub rolled_out: bool,
    pub rolling_update: bool,
    /// How many pods the strategy leaves available during a rollout; none where it recreates.
    pub kept_available: u32,
    /// Pods, of whatever revision, that are missing or not ready for reasons that are no revision's
    /// fault; those that are gone count while their replacements may still be starting.
    pub disrupted: u32,
    pub paused: bool,
    /// The Rollback whose mark says that Astern paused it.
    pub paused_by: Option<String>,
    /// The Rollback whose mark says that Astern restored its template. It counts only for that one:
    /// the mark stays when others deploy, and an undo brings old ones back.
    pub rolled_back_by: Option<String>,
    /// Astern's field manager owns fields of the template: the next deploy would meet a conflict.
    pub ownership_disturbed: bool,
    pub progress_deadline_exceeded: bool,
    /// How long a rollout may go without progress; what Kubernetes takes by default where it has none.
    pub progress_deadline: SignedDuration,
    /// When the rollout last made progress, as far as Kubernetes or the watch can tell. A pause by a
    /// person moves it along.
    pub progressed: Option<Timestamp>,
    pub pods_refused: Option<Refused>,
    pub deleting: bool,
    /// `astern.dev/enabled: "false"`.
    pub opted_out: bool,
    /// The kill switch on the Deployment itself.
    pub suspension: Option<Suspension>,
    /// Who wrote the template last, as far as the API server tells.
    pub written_by: Option<String>,
    /// Flux or Argo CD deploys it, as far as its labels and annotations tell.
    pub reconciled: bool,
    /// Our mark says that the pods read copies of config, and the template names none of them any more.
    pub stale_pin: bool,
    /// Our mark of a pause of its reconciler.
    pub kept_from: Option<PauseMark>,
}

/// How many pods of a workload were available since a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Availability {
    pub at: Timestamp,
    pub available: u32,
    /// How many were asked for.
    pub replicas: u32,
}

/// The API server takes no more pods: a quota, an admission policy, a service account that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub since: Timestamp,
    /// The API server's own words, cut.
    pub message: String,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub born: Timestamp,
    /// Restart counts in order of time, as far as they were seen; bounded by who collects them.
    pub restarts: Vec<RestartCount>,
    /// How a container last ended, such as `OOMKilled`; for people.
    pub last_termination: Option<String>,
    /// Why a container cannot be started, be it for its image or for its configuration.
    pub waiting: Option<Waiting>,
    /// Every container has run at least once.
    pub started: bool,
    /// Why no node takes it, in the scheduler's own words, cut.
    pub unschedulable: Option<String>,
    /// Since when it has been ready; `None` while it is not.
    pub ready: Option<Timestamp>,
    /// What happens to it is not its revision's fault: its node is not ready, or it is being evicted,
    /// preempted or disrupted.
    pub excused: bool,
}

/// A container that waits to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub container: String,
    /// As the kubelet spells it, such as `ImagePullBackOff`.
    pub reason: String,
    /// The kubelet's own words, cut.
    pub message: String,
    /// Since when it was seen to wait for a reason of the same family.
    pub since: Timestamp,
}

/// How often the containers of a pod had restarted at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartCount {
    pub at: Timestamp,
    pub count: u32,
}

/// All that survives a restart. Where it is stored: `ARCHITECTURE.md`, "Where memory lives".
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Memory {
    pub revisions: BTreeMap<Revision, RevisionMemory>,
    /// The open incident, or the one that this decision closes.
    pub incident: Option<Incident>,
}

/// Everything that a decision may depend on, besides policy and time.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// What the recorded templates, and the one that runs, say about themselves.
    pub facts: BTreeMap<Revision, Facts>,
    /// What the costly looks told, one per target. Process memory: it is asked for again.
    pub inspections: Vec<Inspection>,
    /// What was seen of its reconciler last. Process memory: it is looked at again.
    pub reconciler: Option<Seen>,
    /// What was said to be wrong with revisions. Process memory, as the next one.
    pub diagnosed: Vec<Diagnosed>,
    /// Where the traffic was last seen to lead.
    pub followed: Option<Followed>,
    /// Why the breaker is open, or would open with one more rollback that nobody asked for.
    pub breaker: Option<String>,
    /// Rollbacks that people or pipelines ask for, oldest first.
    pub requests: Vec<Request>,
    /// What people say about revisions.
    pub marks: Vec<Mark>,
    /// What the config that any of the revisions refers to holds now; `None`: not known. What others
    /// keep current, or the policy leaves alone, is not in it.
    pub config: Option<Config>,
    /// Since when it has been seen to hold that. Process memory: losing it costs time.
    pub config_since: Option<Timestamp>,
    /// Per revision: the copies of its ConfigMaps that exist, by the names of the originals.
    pub copies: BTreeMap<Revision, BTreeMap<String, String>>,
    /// When drills are scheduled; `None` where there are none.
    pub drills: Option<DrillTimes>,
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
    /// One person approved for all who were to be asked.
    BrokenGlass(Approval),
    /// A revision became [`Verdict::Good`].
    Good(Revision),
    /// Something is wrong with the current revision, and Astern does not act.
    Held(Held),
    /// Somebody put the bad revision back.
    Fighting,
    /// Config changed under running pods, which take it in without a release.
    ConfigChanged(Vec<ConfigChange>),
    /// A revision in quarantine runs again.
    BackFromQuarantine(Revision),
    /// What a person says about a revision is written down.
    Marked(Mark),
    /// What a person says about a revision names none that is known.
    MarkNotUnderstood(Mark),
    /// A drill ended otherwise than the one before.
    Drilled(Drilled),
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

    /// Returns when the current revision became current; `None` where it did so just now, or is not
    /// known yet.
    #[must_use]
    pub fn released(&self) -> Option<Timestamp> {
        if let Some(incident) = &self.memory.incident
            && incident.state == State::Verifying
        {
            return incident.timings.patched;
        }
        let known = self.current_memory()?;
        let current = self.workload.current.as_ref()?;
        (known.number == current.number).then_some(known.since)
    }
}
