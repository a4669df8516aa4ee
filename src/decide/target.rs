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
