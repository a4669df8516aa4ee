//! No incident is open: the current revision is getting known, on probation, or through it.

use jiff::{SignedDuration, Timestamp};

use super::{Case, FALLBACK};
use crate::decide::health::counted_before;
use crate::decide::model::Announcement;
use crate::decide::{
    ApprovalTerms, Current, Decision, Effect, Evidence, Hold, Incident, Measurement, Memory, Mode,
    OnTimeout, Proof, Reading, Reason, RevisionMemory, State, Timings, TriggerKind, TriggerReading,
    Unknown, Verdict, holds, target,
};

pub(super) fn when_watching(case: &Case<'_>) -> Decision {
    let mut decision = judge(case);
    for revision in target::superfluous(case.observed) {
        decision.memory.revisions.remove(&revision);
        decision = decision.with(Effect::Forget { revision });
    }
    let workload = &case.observed.workload;
    // Our pause belongs to an incident. Where none is open, it must not outlive it: nobody's fix
    // would roll out. A mark without a pause goes too, or it would claim a person's later pause.
    if workload.paused_by.is_some() {
        return decision.with(Effect::ResumeRollout);
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
    let memory = brought_up_to_date(case, known, current);
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
    if reading.mode == Mode::Observe && holds::first_hold(case.observed).is_some() {
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
fn first_seen(case: &Case<'_>, current: &Current) -> RevisionMemory {
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
        passed: std::collections::BTreeSet::new(),
        replicas: workload.replicas,
        baseline: std::collections::BTreeMap::new(),
    }
}

/// A revision number that moved means that the revision became current anew: somebody deployed it
/// again, so it is judged again. A good one stays good.
fn brought_up_to_date(
    case: &Case<'_>,
    mut memory: RevisionMemory,
    current: &Current,
) -> RevisionMemory {
    if current.number != memory.number {
        memory.number = current.number;
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
            keep(case, memory, Reason::OnProbation, Some(left.min(FALLBACK)))
        }
        Some(_) | None => keep(case, memory, Reason::OnProbation, Some(FALLBACK)),
    }
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

fn breached(
    case: &Case<'_>,
    memory: RevisionMemory,
    reading: &TriggerReading,
    measurement: &Measurement,
) -> Decision {
    let past = Past::of(case);
    if past.let_go {
        return keep(case, memory, Reason::LetGo, Some(FALLBACK));
    }
    if let Some(hold) = holds::first_hold(case.observed) {
        return keep(case, memory, Reason::Held(hold), Some(FALLBACK))
            .announcing(Announcement::Held(hold));
    }
    let Some((to, target)) = target::newest_good(case.observed) else {
        return keep(case, memory, Reason::Held(Hold::NoTarget), Some(FALLBACK));
    };
    let mut caps = Vec::new();
    let mut mode = reading.mode;
    if mode < case.policy.mode {
        caps.push(cap(case, &memory, reading));
    }
    let allowed = target::mode_allowed(target.proof, reading.cannot_run);
    if allowed < mode {
        mode = allowed;
        caps.push("the target was never judged on real data by every trigger".to_owned());
    }
    if past.wrote_unasked && mode > Mode::RequireApproval {
        mode = Mode::RequireApproval;
        caps.push("this revision was rolled back automatically before".to_owned());
    }
    if past.observed && mode == Mode::Observe {
        return keep(
            case,
            memory,
            Reason::Incident(State::Observed),
            Some(FALLBACK),
        );
    }
    let state = match mode {
        Mode::Automatic => State::RollingBack,
        Mode::RequireApproval => State::AwaitingApproval,
        Mode::Observe | Mode::Disabled => State::Observed,
    };
    let approval = approval_terms(case, past.wrote_unasked || !caps.is_empty());
    let incident = Incident {
        attempt: past.attempts + 1,
        from: case.observed.workload.template.clone(),
        to: to.clone(),
        trigger: reading.trigger.clone(),
        mode,
        caps,
        state,
        evidence: measurement.to_string(),
        outcome: String::new(),
        approval,
        rollback: case.policy.rollback.clone(),
        pause_rollout: case.policy.pause_rollout,
        code: None,
        approvals: Vec::new(),
        rejected_by: None,
        escalated: false,
        timings: Timings {
            proposed: case.now,
            decided: (state == State::RollingBack).then_some(case.now),
            patched: None,
            ended: (state == State::Observed).then_some(case.now),
        },
    };
    open(case, memory, incident)
}

/// Says, for people, what lowers the policy's mode.
fn cap(case: &Case<'_>, memory: &RevisionMemory, reading: &TriggerReading) -> String {
    let after = case.policy.after_probation;
    if memory.verdict == Verdict::Good && after == reading.mode {
        return format!(
            "the revision is through its probation, and afterProbation is {}",
            after.name()
        );
    }
    format!(
        "trigger {} has mode {}",
        reading.trigger,
        reading.mode.name()
    )
}

/// Silence that rolls back is as good as automatic, so whatever caps that caps it too.
fn approval_terms(case: &Case<'_>, capped: bool) -> ApprovalTerms {
    let mut terms = case.policy.approval.clone();
    if capped && terms.on_timeout == OnTimeout::RollBack {
        terms.on_timeout = OnTimeout::Escalate;
    }
    terms
}

/// Writes the incident down first; the next look at it acts. An operator that stops in between finds
/// the record and goes on from it.
///
/// The verdict changes only then: the same operator would judge a revision that is good no longer by
/// other rules, and might not come to the same end.
fn open(case: &Case<'_>, memory: RevisionMemory, incident: Incident) -> Decision {
    let state = incident.state;
    let mut decision = keep(
        case,
        memory,
        Reason::Incident(state),
        Some(SignedDuration::ZERO),
    );
    if state == State::Observed {
        decision.look_again = Some(FALLBACK);
    }
    decision.memory.incident = Some(incident);
    decision.announcing(Announcement::Incident(state))
}

/// What became of earlier incidents of the current revision.
struct Past {
    attempts: u32,
    observed: bool,
    wrote_unasked: bool,
    let_go: bool,
}

impl Past {
    fn of(case: &Case<'_>) -> Self {
        let current = &case.observed.workload.template;
        let own = || {
            case.observed
                .past
                .iter()
                .filter(move |attempt| attempt.from == *current)
        };
        Self {
            attempts: own().map(|attempt| attempt.attempt).max().unwrap_or(0),
            observed: own().any(|attempt| attempt.state == State::Observed),
            wrote_unasked: own().any(|attempt| attempt.wrote_unasked),
            let_go: own().any(|attempt| matches!(attempt.state, State::Rejected | State::Released)),
        }
    }
}

fn keep(
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
