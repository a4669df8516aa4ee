//! Which revision to go back to, and whether that may be done.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::holds::{self, Question, first_stop};
use super::inspection::inspected;
use super::{Held, Hold, Mode, Observed, Policy, Proof, Revision, RevisionMemory, Verdict};

/// Returns the newest revision that is known to have worked, other than the current one.
#[must_use]
pub fn newest_good(observed: &Observed) -> Option<(&Revision, &RevisionMemory)> {
    good(observed).into_iter().next()
}

/// Returns the revisions that are known to have worked, other than the current one, newest first.
fn good(observed: &Observed) -> Vec<(&Revision, &RevisionMemory)> {
    let revisions = observed.memory.revisions.iter();
    let mut good: Vec<_> = revisions
        .filter(|(revision, memory)| {
            **revision != observed.workload.template && memory.verdict == Verdict::Good
        })
        .collect();
    good.sort_by_key(|(revision, memory)| Reverse((memory.number, memory.since, *revision)));
    good
}

/// What to do about a wanted rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The costly looks at this target come first.
    Inspect(Revision),
    /// This stops it.
    Held(Held),
    /// Go back to `to`; people have to agree first where something asks for it.
    Go { to: Revision, asks: Vec<Held> },
}

/// Every candidate costs requests to the API server, and whoever has four good revisions that cannot
/// be restored has other worries.
const CANDIDATES_MAX: usize = 4;

/// Returns where to go back to: the newest revision that worked and that nothing speaks against; where
/// something speaks against each, the newest that people may agree to.
///
/// `wanted` is the digest, or its beginning, or the number of the revision that a person asks for.
#[must_use]
pub fn plan(observed: &Observed, policy: &Policy, now: Timestamp, wanted: Option<&str>) -> Plan {
    let question = |to| Question {
        observed,
        policy,
        now,
        to,
    };
    if let Some(held) = first_stop(&holds::of_workload(&question(None))) {
        return Plan::Held(held.clone());
    }
    let candidates = match wanted {
        Some(wanted) => named(observed, wanted),
        None => good(observed).into_iter().map(|(to, _)| to).collect(),
    };
    if candidates.is_empty() {
        return Plan::Held(Held {
            hold: Hold::NoTarget,
            detail: wanted.map_or_else(String::new, |wanted| {
                format!("no revision {wanted:?} is recorded")
            }),
        });
    }
    let mut second_best = None;
    let mut stopped = None;
    for to in candidates.into_iter().take(CANDIDATES_MAX) {
        let held = holds::of_target(&question(Some(to)));
        if let Some(stop) = first_stop(&held) {
            stopped.get_or_insert_with(|| Plan::Held(stop.clone()));
            continue;
        }
        if inspected(observed, to, now).is_none() {
            return Plan::Inspect(to.clone());
        }
        let may_not_start = held.iter().any(|held| held.hold == Hold::ImageUnavailable);
        let mut asks = held;
        asks.extend(holds::of_limits(&question(Some(to))));
        let plan = Plan::Go {
            to: to.clone(),
            asks,
        };
        if !may_not_start {
            return plan;
        }
        second_best.get_or_insert(plan);
    }
    second_best
        .or(stopped)
        .unwrap_or_else(|| Plan::Held(Hold::NoTarget.into()))
}

/// Fewer characters of a digest than this could mean a revision number.
const DIGEST_LEAST: usize = 6;

/// Returns the recorded revisions that a person may mean, at most one unless the text is ambiguous.
fn named<'a>(observed: &'a Observed, wanted: &str) -> Vec<&'a Revision> {
    let revisions = observed.memory.revisions.iter();
    let number = wanted.parse::<i64>().ok();
    let found: Vec<&Revision> = revisions
        .filter(|(revision, memory)| {
            let by_digest = wanted.len() >= DIGEST_LEAST && revision.0.starts_with(wanted);
            by_digest || Some(memory.number) == number
        })
        .map(|(revision, _)| revision)
        .collect();
    // Two that begin the same way: nobody can know which one was meant.
    if found.len() == 1 { found } else { Vec::new() }
}

/// A Deployment keeps this many revisions: twice what Kubernetes keeps by default, so that a target
/// outlives a row of bad releases. Each holds one pod template, a few kilobytes.
const REVISIONS_MAX: usize = 20;

/// Returns the revisions to forget, oldest first: those beyond the limit, but never the current one,
/// the newest known to have worked, or one that an open incident is about.
#[must_use]
pub fn superfluous(observed: &Observed) -> Vec<Revision> {
    let memory = &observed.memory;
    let target = newest_good(observed).map(|(revision, _)| revision);
    let incident = memory.incident.as_ref();
    let needed = |revision: &Revision| {
        *revision == observed.workload.template
            || Some(revision) == target
            || incident
                .is_some_and(|incident| *revision == incident.from || *revision == incident.to)
    };
    let surplus = memory.revisions.len().saturating_sub(REVISIONS_MAX);
    let mut oldest: Vec<_> = memory
        .revisions
        .iter()
        .filter(|(revision, _)| !needed(revision))
        .collect();
    oldest.sort_by_key(|(revision, memory)| (memory.number, memory.since, *revision));
    let forgotten = oldest.into_iter().take(surplus);
    forgotten.map(|(revision, _)| revision.clone()).collect()
}

/// Returns how far Astern may go back to a revision with this proof.
///
/// A revision that was never seen with real data is better than one that cannot run at all, but
/// otherwise a person should look at it first.
#[must_use]
pub const fn mode_allowed(proof: Option<Proof>, cannot_run: bool) -> Mode {
    match proof {
        Some(Proof::Full | Proof::Vouched) => Mode::Automatic,
        Some(Proof::Partial) | None => {
            if cannot_run {
                Mode::Automatic
            } else {
                Mode::RequireApproval
            }
        }
    }
}
