//! No incident is open: the current revision is getting known, on probation, or through it.

use jiff::{SignedDuration, Timestamp};

use super::drilling::drill;
use super::proposing::{Past, breached};
use super::reconciled::{looking, note_commit, restored_by_astern};
use super::requested::when_requested;
use super::returned::{left_by_person, went_back};
use super::{Case, FALLBACK};
use crate::decide::health::counted_before;
use crate::decide::model::Announcement;
use crate::decide::{
    Current, Decision, Effect, Evidence, Held, Hold, Memory, Mode, Proof, Reading, Reason,
    RevisionMemory, TriggerKind, Unknown, Verdict, holds, restoring, target,
};

pub(super) fn when_watching(case: &Case<'_>) -> Decision {
    let mut decision = match case.observed.requests.first() {
        Some(request) => when_requested(case, request),
        None => judge(case),
    };
    for revision in target::superfluous(case.observed) {
        decision.memory.revisions.remove(&revision);
        decision = decision.with(Effect::Forget { revision });
    }
    if let Some(effect) = restoring::keep(case.observed, case.policy) {
        decision = decision.with(effect);
    }
    decision = drill(case, decision);
    let workload = &case.observed.workload;
    // Our pause belongs to an incident. Where none is open, it must not outlive it: nobody's fix
    // would roll out. A mark without a pause goes too, or it would claim a person's later pause.
    if workload.paused_by.is_some() {
        decision = decision.with(Effect::ResumeRollout);
    }
    // The deploy after a rollback brings the ordinary names of config back; the mark would go on to say
    // that the app runs on copies.
    if workload.stale_pin {
        decision = decision.with(Effect::Unpin);
    }
    decision
}

fn judge(case: &Case<'_>) -> Decision {
    if case.policy.mode == Mode::Disabled {
        return case.stay(Reason::Disabled, None);
    }
    let Some(current) = &case.observed.workload.current else {
        return case.stay(Reason::RevisionNotKnownYet, Some(FALLBACK));
    };
    let known = case.observed.current_memory().cloned();
    let known = known.unwrap_or_else(|| first_seen(case, current));
    let left = left_by_person(case, &known, current);
    let deployed_again = known.number > 0 && known.number != current.number;
    let back_from_quarantine = deployed_again && known.quarantine.is_some();
    if let Some(left) = left {
        return went_back(case, &left);
    }
    let mut memory = brought_up_to_date(case, known, current);
    let look = note_commit(case, &mut memory);
    let changed = restoring::settle(case.observed, case.policy, &mut memory, case.now);
    let mut decision = judge_revision(case, memory);
    if !changed.is_empty() {
        decision = decision.announcing(Announcement::ConfigChanged(changed));
    }
    if look {
        decision = looking(decision);
    }
    if back_from_quarantine {
        let revision = case.observed.workload.template.clone();
        return decision.announcing(Announcement::BackFromQuarantine(revision));
    }
    decision
}

fn judge_revision(case: &Case<'_>, memory: RevisionMemory) -> Decision {
    if memory.verdict == Verdict::Good {
        return through_probation(case, memory);
    }
    match case.worst_breach() {
        Some((reading, measurement)) => breached(case, memory, reading, measurement),
        None => on_probation(case, memory),
    }
}

/// Once a minute: what fails now is seldom the release's fault, and nobody waits for it.
const AFTER_PROBATION: SignedDuration = SignedDuration::from_secs(60);

fn through_probation(case: &Case<'_>, memory: RevisionMemory) -> Decision {
    let again = case
        .policy
        .after_probation
        .min(case.policy.mode)
        .gt(&Mode::Disabled)
        .then_some(AFTER_PROBATION);
    let Some((reading, measurement)) = case.worst_breach() else {
        return keep(case, memory, Reason::RevisionGood, again);
    };
    // Where nothing would be written anyway, what stands in the way is nobody's concern.
    if reading.mode == Mode::Observe && first_hold(case).is_some() {
        return keep(case, memory, Reason::RevisionGood, again);
    }
    let mut decision = breached(case, memory, reading, measurement);
    if decision.look_again == Some(FALLBACK) {
        decision.look_again = again;
    }
    decision
}

/// A revision that nobody has judged. One that ran healthy long before Astern first saw the
/// workload is adopted: without it a fresh installation would have nothing to go back to.
pub(super) fn first_seen(case: &Case<'_>, current: &Current) -> RevisionMemory {
    let workload = &case.observed.workload;
    let age = case.now.duration_since(current.created);
    let adopted = case.observed.memory.revisions.is_empty()
        && workload.rolled_out
        && age >= case.policy.probation
        && case.worst_breach().is_none();
    RevisionMemory {
        verdict: if adopted {
            Verdict::Good
        } else {
            Verdict::Unproven
        },
        proof: adopted.then_some(Proof::Vouched),
        number: current.number,
        since: case.now,
        rolled_out: workload.rolled_out.then_some(case.now),
        replicas: workload.replicas,
        config: restoring::own_config(case.observed),
        ..RevisionMemory::default()
    }
}

/// A revision number that moved means that the revision became current anew: somebody deployed it
/// again, so it is judged again. A good one stays good.
pub(super) fn brought_up_to_date(
    case: &Case<'_>,
    mut memory: RevisionMemory,
    current: &Current,
) -> RevisionMemory {
    if current.number != memory.number {
        memory.number = current.number;
        if !restored_by_astern(case, &memory) {
            memory.git = None;
        }
        memory.since = case.now;
        memory.rolled_out = None;
        memory.replicas = case.observed.workload.replicas;
        memory.baseline.clear();
        if memory.verdict != Verdict::Good {
            memory.verdict = Verdict::Unproven;
            memory.passed.clear();
        }
    }
    if memory.rolled_out.is_none() && case.observed.workload.rolled_out {
        memory.rolled_out = Some(case.now);
    }
    if memory.verdict != Verdict::Good {
        let passing = case
            .readings
            .iter()
            .filter(|reading| matches!(reading.reading, Reading::Passing(_)));
        memory
            .passed
            .extend(passing.map(|reading| reading.trigger.clone()));
        record_baselines(case, &mut memory);
    }
    memory
}

/// Keeps what the revision before counted for when its pods are gone, once and no sooner: while they
/// are there they say more.
fn record_baselines(case: &Case<'_>, memory: &mut RevisionMemory) {
    for trigger in &case.policy.triggers {
        let compares = match &trigger.kind {
            TriggerKind::ErrorRate(_) | TriggerKind::Latency(_) => true,
            TriggerKind::ProbeFailures(_)
            | TriggerKind::Restarts(_)
            | TriggerKind::RolloutStalled
            | TriggerKind::Unavailable(_)
            | TriggerKind::PromQl(_)
            | TriggerKind::Alert(_) => false,
        };
        let Some(Evidence::Counters(counters)) = case.observed.evidence.get(&trigger.name) else {
            continue;
        };
        let due = compares && (memory.rolled_out.is_some() || counters.before_and_after);
        if let Some(before) = counted_before(counters).filter(|_| due) {
            memory
                .baseline
                .entry(trigger.name.clone())
                .or_insert(before);
        }
    }
}

fn on_probation(case: &Case<'_>, mut memory: RevisionMemory) -> Decision {
    let end = probation_end(case, &memory);
    let undecided = case
        .readings
        .iter()
        .any(|reading| is_undecided(&reading.reading));
    match end {
        Some(end) if case.now >= end && !undecided && may_become_good(case, &memory) => {
            let judging = case
                .readings
                .iter()
                .filter(|reading| reading.mode > Mode::Disabled);
            let full = judging
                .into_iter()
                .all(|reading| memory.passed.contains(&reading.trigger));
            memory.verdict = Verdict::Good;
            memory.proof = Some(if full { Proof::Full } else { Proof::Partial });
            let revision = case.observed.workload.template.clone();
            keep(case, memory, Reason::RevisionGood, None).announcing(Announcement::Good(revision))
        }
        Some(end) if end > case.now => {
            let left = end.duration_since(case.now);
            undecided_yet(case, memory, left.min(FALLBACK))
        }
        Some(_) | None => undecided_yet(case, memory, FALLBACK),
    }
}

fn undecided_yet(case: &Case<'_>, memory: RevisionMemory, again: SignedDuration) -> Decision {
    match failing_before(case) {
        Some(held) => keep(case, memory, Reason::Held(held.hold), Some(again))
            .announcing(Announcement::Held(held)),
        None => keep(case, memory, Reason::OnProbation, Some(again)),
    }
}

/// What failed already before the release is no reason to go back from it, and people should know that
/// this is why nothing happens.
fn failing_before(case: &Case<'_>) -> Option<Held> {
    let before = case.readings.iter().find(|reading| {
        let failing = matches!(
            reading.reading,
            Reading::Unknown(Unknown::BadBefore { .. } | Unknown::FiringBefore)
        );
        failing && reading.mode > Mode::Observe
    })?;
    Some(Held {
        hold: Hold::FailingBefore,
        detail: format!("trigger {}", before.trigger),
    })
}

pub(super) fn first_hold(case: &Case<'_>) -> Option<Held> {
    holds::first_hold(case.observed, case.policy, case.now)
}

/// Probation does not end while a breach may be about to become one, or while a source that should
/// answer does not: an outage must not make a revision known good. One that never had anything to
/// say about these pods does not hold it up.
fn is_undecided(reading: &Reading) -> bool {
    match reading {
        Reading::Unknown(Unknown::NotLongEnough { .. }) => true,
        Reading::Unknown(unknown) => unknown.is_outage(),
        Reading::Passing(_) | Reading::Breached(_) => false,
    }
}

/// A revision that Astern would have gone back from is not one to go back to.
fn may_become_good(case: &Case<'_>, memory: &RevisionMemory) -> bool {
    memory.verdict == Verdict::Unproven && !Past::of(case).observed
}

fn probation_end(case: &Case<'_>, memory: &RevisionMemory) -> Option<Timestamp> {
    memory.rolled_out.map(|complete| {
        complete
            .saturating_add(case.policy.probation)
            .unwrap_or(Timestamp::MAX)
    })
}

pub(super) fn keep(
    case: &Case<'_>,
    memory: RevisionMemory,
    reason: Reason,
    look_again: Option<SignedDuration>,
) -> Decision {
    let mut all = Memory {
        revisions: case.observed.memory.revisions.clone(),
        incident: None,
    };
    all.revisions
        .insert(case.observed.workload.template.clone(), memory);
    case.remember(all, reason, look_again)
}
