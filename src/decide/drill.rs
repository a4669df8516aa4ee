//! Drills: could this workload be rolled back right now?
//!
//! A drill asks what a rollback would ask, and what only its writes would find out. It changes nothing.

use jiff::{SignedDuration, Timestamp};

use super::inspection::inspected;
use super::target::{Plan, mode_allowed, plan};
use super::{Held, Hold, Memory, Mode, Observed, Policy, Revision};

/// When drills are scheduled, seen from now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrillTimes {
    /// The last time at or before now.
    pub latest: Option<Timestamp>,
    pub next: Option<Timestamp>,
}

/// What only a drill looks at: a real rollback finds it out by itself, too late to prepare for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// What Astern may not write, such as `patch deployments`.
    pub missing_rights: Vec<String>,
    /// Why the metric source says nothing.
    pub source: Option<String>,
    /// Why nobody could approve. `None` where somebody may, or where it is not known.
    pub no_approver: Option<String>,
}

/// How a drill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrillOutcome {
    /// A rollback would go ahead, at the latest when people have approved.
    Ready,
    Held(Hold),
    /// The API server would not let Astern write.
    RightsMissing,
    /// Nothing would be judged, so nothing would be rolled back.
    MetricSourceFailing,
    /// People would have to approve, and nobody may.
    NoApprover,
}

impl DrillOutcome {
    /// Those that are no holds.
    pub const OWN: [Self; 4] = [
        Self::Ready,
        Self::RightsMissing,
        Self::MetricSourceFailing,
        Self::NoApprover,
    ];

    /// The spelling in status, Events, annotations and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Held(hold) => hold.name(),
            Self::RightsMissing => "RightsMissing",
            Self::MetricSourceFailing => "MetricSourceFailing",
            Self::NoApprover => "NoApprover",
        }
    }

    /// Returns the outcome that is spelled so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let holds = Hold::ALL.into_iter().map(Self::Held);
        let mut all = Self::OWN.into_iter().chain(holds);
        all.find(|outcome| outcome.name() == name)
    }

    /// What to do about it, for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Ready => "",
            Self::Held(hold) => hold.advice(),
            Self::RightsMissing => {
                "Astern lacks rights that a rollback needs; upgrade the chart, or give its ServiceAccount what docs/security.md lists"
            }
            Self::MetricSourceFailing => {
                "the metric source gives no answer, so no release is judged by metrics; set right what it says"
            }
            Self::NoApprover => {
                "people would have to approve; bind the ClusterRole astern-approver to those who may"
            }
        }
    }
}

/// The last drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drilled {
    pub at: Timestamp,
    pub outcome: DrillOutcome,
    /// What was seen, cut; names and boundaries, never contents.
    pub detail: String,
}

/// It is kept in an annotation, and shown in one line.
const DETAIL_MAX: usize = 400;

impl Drilled {
    fn new(at: Timestamp, outcome: DrillOutcome, detail: &str) -> Self {
        // One line: it stands in an annotation, between words.
        let words: Vec<&str> = detail.split_whitespace().collect();
        let detail = words.join(" ").chars().take(DETAIL_MAX).collect();
        Self {
            at,
            outcome,
            detail,
        }
    }

    /// What was seen and what to do, for people.
    #[must_use]
    pub fn message(&self) -> String {
        match (self.detail.as_str(), self.outcome.advice()) {
            ("", advice) => advice.to_owned(),
            (detail, "") => detail.to_owned(),
            (detail, advice) => format!("{detail}: {advice}"),
        }
    }
}

/// Returns the last drill of a workload, whichever revision ran then: a release does not make it undone.
#[must_use]
pub fn last(memory: &Memory) -> Option<&Drilled> {
    let drills = memory.revisions.values();
    let drills = drills.filter_map(|known| known.drilled.as_ref());
    drills.max_by_key(|drilled| drilled.at)
}

/// Whether a drill was scheduled since the last one, or since the workload is known. However many were
/// missed, one makes up for them.
#[must_use]
pub fn is_due(observed: &Observed) -> bool {
    let Some(latest) = observed.drills.and_then(|times| times.latest) else {
        return false;
    };
    let revisions = observed.memory.revisions.values();
    let known_since = || revisions.map(|known| known.since).min();
    let done = last(&observed.memory).map(|drilled| drilled.at);
    done.or_else(known_since).is_some_and(|done| latest > done)
}

/// Longer waits than this are as good as none, and a clock that is set meanwhile is noticed.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Returns how long to wait for the next drill.
#[must_use]
pub fn wait(observed: &Observed, now: Timestamp) -> Option<SignedDuration> {
    let next = observed.drills?.next?;
    Some(
        next.duration_since(now)
            .clamp(SignedDuration::ZERO, WAIT_MAX),
    )
}

/// What a drill does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The costly looks at this target come first.
    Look(Revision),
    Done(Drilled),
}

/// Goes through what a rollback would go through, as far as is known.
#[must_use]
pub fn step(observed: &Observed, policy: &Policy, now: Timestamp) -> Step {
    let done = |outcome, detail: &str| Step::Done(Drilled::new(now, outcome, detail));
    let (to, asks) = match plan(observed, policy, now, None) {
        Plan::Inspect(to) => return Step::Look(to),
        Plan::Held(held) => return done(DrillOutcome::Held(held.hold), &held.detail),
        Plan::Go { to, asks } => (to, asks),
    };
    let seen = inspected(observed, &to, now);
    let Some((seen, rehearsal)) = seen.and_then(|seen| Some((seen, seen.rehearsal.as_ref()?)))
    else {
        return Step::Look(to);
    };
    // First, because without rights the trial is refused too, and that says less.
    if !rehearsal.missing_rights.is_empty() {
        let rights = rehearsal.missing_rights.join(", ");
        return done(DrillOutcome::RightsMissing, &rights);
    }
    if let Some(refusal) = &seen.refused {
        return done(DrillOutcome::Held(Hold::DryRunRefused), refusal);
    }
    if let Some(doubt) = asks.iter().find(|held| !is_a_matter_of_consent(held.hold)) {
        return done(DrillOutcome::Held(doubt.hold), &doubt.detail);
    }
    if let Some(cause) = &rehearsal.source {
        return done(DrillOutcome::MetricSourceFailing, cause);
    }
    let asked = needs_approval(observed, policy, &to, &asks);
    if let Some(cause) = rehearsal.no_approver.as_ref().filter(|_| asked) {
        return done(DrillOutcome::NoApprover, cause);
    }
    let after = if asked { ", after approval" } else { "" };
    let ready = format!("would go back to revision {}{after}", to.short());
    done(DrillOutcome::Ready, &ready)
}

/// Whether a hold is settled once people agree. Of the others, a drill is there to tell in time.
const fn is_a_matter_of_consent(hold: Hold) -> bool {
    matches!(
        hold,
        Hold::PersistentVolumes | Hold::BudgetSpent | Hold::BreakerOpen | Hold::ApprovalMissing
    )
}

fn needs_approval(observed: &Observed, policy: &Policy, to: &Revision, asks: &[Held]) -> bool {
    let target = observed.memory.revisions.get(to);
    let proof = target.and_then(|known| known.proof);
    match policy.mode {
        Mode::Disabled | Mode::Observe => false,
        Mode::RequireApproval => true,
        Mode::Automatic => !asks.is_empty() || mode_allowed(proof, false) < Mode::Automatic,
    }
}
