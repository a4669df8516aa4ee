//! Which revision to go back to.

use super::{Mode, Observed, Proof, Revision, RevisionMemory, Verdict};

/// Returns the newest revision that is known to have worked, other than the current one.
#[must_use]
pub fn newest_good(observed: &Observed) -> Option<(&Revision, &RevisionMemory)> {
    observed
        .memory
        .revisions
        .iter()
        .filter(|(revision, memory)| {
            **revision != observed.workload.template && memory.verdict == Verdict::Good
        })
        .max_by_key(|(revision, memory)| (memory.number, memory.since, *revision))
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
