//! A person went back to a revision that had worked: by `kubectl rollout undo`, `helm rollback`, a
//! revert in Git, or by applying the old manifest.
//!
//! Kubernetes does not say that it happened. It shows in the order: a good revision runs anew, and
//! one that was deployed after it does not run any more.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::Case;
use super::proposing::{Past, approval_terms};
use crate::decide::{
    Announcement, Current, Decision, Found, Incident, Reason, Revision, RevisionMemory, State,
    Timings, Verdict, quarantine,
};

/// Returns the revision that was left, if it was a person who went back from it to the current one.
///
/// `known` is what is remembered of the current revision, from before it came back.
pub(super) fn left_by_person(
    case: &Case<'_>,
    known: &RevisionMemory,
    current: &Current,
) -> Option<Revision> {
    let back = &case.observed.workload.template;
    if known.verdict != Verdict::Good || known.number == 0 || current.number == known.number {
        return None;
    }
    let revisions = case.observed.memory.revisions.iter();
    let between = revisions.filter(|(revision, memory)| {
        *revision != back && memory.number > known.number && memory.number < current.number
    });
    let (left, memory) = between.max_by_key(|(_, memory)| memory.number)?;
    let convictable = match memory.verdict {
        Verdict::Unproven | Verdict::Good => true,
        Verdict::Bad | Verdict::Withdrawn => false,
    };
    let by_astern = case.observed.past.iter().any(|attempt| {
        let wrote = attempt
            .patched
            .is_some_and(|patched| patched >= memory.since);
        wrote && attempt.from == *left && !attempt.restored
    });
    (convictable && !by_astern).then(|| left.clone())
}

/// Writes down that a person went back from `left`: first that it happened, then what it says about
/// the revision that was left. Only after that the one that came back is brought up to date, because
/// what is remembered of it shows that it came back.
pub(super) fn went_back(case: &Case<'_>, left: &Revision) -> Decision {
    let mut memory = case.observed.memory.clone();
    memory.incident = None;
    let recorded = case.observed.past.iter().any(|attempt| {
        let since = case.observed.memory.revisions.get(left).map(|it| it.since);
        attempt.restored && attempt.from == *left && attempt.patched >= since
    });
    if !recorded {
        memory.incident = Some(incident(case, left));
        return case
            .remember(
                memory,
                Reason::Incident(State::Recovered),
                Some(SignedDuration::ZERO),
            )
            .announcing(Announcement::Incident(State::Recovered));
    }
    if let Some(known) = memory.revisions.get_mut(left) {
        quarantine::convict(known, Verdict::Withdrawn, case.now);
    }
    case.remember(memory, Reason::RevisionGood, Some(SignedDuration::ZERO))
}

fn incident(case: &Case<'_>, left: &Revision) -> Incident {
    let back = case.observed.workload.template.clone();
    let by = case.observed.workload.written_by.clone();
    let by = by.unwrap_or_else(|| "a person or a tool".to_owned());
    let past = Past::of_revision(case, left);
    Incident {
        attempt: past.attempts + 1,
        from: left.clone(),
        to: back,
        trigger: String::new(),
        request: None,
        mode: case.policy.mode,
        caps: Vec::new(),
        state: State::Recovered,
        evidence: format!("{by} put the revision back"),
        outcome: format!("{by} went back to it, not Astern"),
        repoint: BTreeMap::new(),
        restored: None,
        restored_by: Some(by),
        approval: approval_terms(case, false),
        rollback: case.policy.rollback.clone(),
        pause_rollout: false,
        paused: false,
        code: None,
        approvals: Vec::new(),
        rejected_by: None,
        escalated: false,
        reconciler: None,
        git_range: None,
        found: Found::default(),
        timings: Timings {
            proposed: case.now,
            decided: None,
            patched: Some(case.now),
            ended: Some(case.now),
        },
    }
}
