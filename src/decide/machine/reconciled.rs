//! A GitOps reconciler deploys the workload: keeping it away, letting it come back, what it tells of Git.

use jiff::SignedDuration;

use super::{Case, FALLBACK};
use crate::decide::gitops::{self, LOOK_EVERY, Met, Pause, Plan, Seen};
use crate::decide::inspection::inspected;
use crate::decide::target::newest_good;
use crate::decide::{
    Decision, Effect, Held, Hold, Incident, Reason, Revision, RevisionMemory, State,
};

/// Returns the reconciler that going back to `to` meets, and how it is kept away once people have
/// agreed, or without them where `consented` is false.
pub(super) fn met(case: &Case<'_>, to: &Revision, consented: bool) -> Result<Option<Met>, Held> {
    let Some(inspection) = inspected(case.observed, to, case.now) else {
        return Ok(None);
    };
    let Some(reconciler) = &inspection.reconciler else {
        return Ok(None);
    };
    let plan = gitops::plan(
        Some(reconciler),
        case.policy.on_rollback,
        consented,
        inspection.may_pause_applications,
    );
    let pause = match plan {
        Plan::Act => None,
        Plan::ActAndPause(pause) => Some(pause),
        Plan::Hold { why, consent: _ } => {
            return Err(Held {
                hold: Hold::WouldBeUndone,
                detail: why,
            });
        }
    };
    Ok(Some(Met {
        title: reconciler.title(),
        revision: reconciler.revision().map(str::to_owned),
        pause,
    }))
}

/// Returns what a new incident remembers of Git: the reconciler, and the changes to look into.
pub(super) fn remembered(
    case: &Case<'_>,
    memory: &RevisionMemory,
    (to, state): (&Revision, State),
) -> (Option<Met>, Option<String>) {
    let asks = state != State::RollingBack;
    let met = met(case, to, asks).unwrap_or_default();
    let good = case.observed.memory.revisions.get(to);
    let good = good.and_then(|good| good.git.as_deref());
    let range = gitops::range(good, memory.git.as_deref());
    (met, range)
}

/// Git may have brought the same revision again. It deserves one more rollback for each time that Git
/// moved, as nobody fought: then whoever deploys has been told, and has deployed it all the same.
pub(super) fn wrote_unasked(case: &Case<'_>, to: &Revision) -> bool {
    let now = inspected(case.observed, to, case.now)
        .and_then(|inspection| inspection.reconciler.as_ref())
        .and_then(|reconciler| reconciler.revision());
    let in_spite_of_pause = case.observed.workload.kept_from.is_some();
    let from = &case.observed.workload.template;
    let past = case.observed.past.iter();
    let mut unasked = past.filter(|attempt| attempt.from == *from && attempt.wrote_unasked);
    unasked.any(|attempt| {
        let moved = now.zip(attempt.git.as_deref());
        let moved = moved.is_some_and(|(now, then)| now != then);
        let fought = attempt.state == State::Superseded;
        !moved || fought || in_spite_of_pause
    })
}

/// How long the commit that brought a revision is looked for. A reconciler says what it deploys when
/// it begins or when it is done, and by then it may be at the next commit.
const COMMIT_WITHIN: SignedDuration = SignedDuration::from_secs(300);

/// Notes the commit that brought the current revision. Returns whether a look at the reconciler is due.
pub(super) fn note_commit(case: &Case<'_>, memory: &mut RevisionMemory) -> bool {
    let age = case.now.duration_since(memory.since);
    let current = &case.observed.workload.template;
    if memory.git.is_some() || age > COMMIT_WITHIN || restored_by_astern(case, memory) {
        return false;
    }
    let inspections = case.observed.inspections.iter();
    let inspected = inspections
        .filter(|inspection| inspection.from == *current)
        .find_map(|inspection| inspection.reconciler.as_ref());
    let seen = case.observed.reconciler.as_ref();
    let seen = seen.filter(|seen| seen.template == *current && seen.at >= memory.since);
    let reconciler = inspected.or_else(|| seen?.reconciler.as_ref());
    let revision = reconciler.and_then(|reconciler| reconciler.revision());
    // What the revision before came with is what the reconciler had tried before this one.
    let before = newest_good(case.observed).and_then(|(_, good)| good.git.as_deref());
    let settled = revision != before || age >= COMMIT_WITHIN - LOOK_EVERY;
    if revision.is_some() && settled {
        memory.git = revision.map(str::to_owned);
        return false;
    }
    case.observed.workload.reconciled && !seen.is_some_and(|seen| seen.is_fresh(case.now))
}

/// Whether Astern itself brought the current revision back, so that no commit did.
pub(super) fn restored_by_astern(case: &Case<'_>, memory: &RevisionMemory) -> bool {
    let past = case.observed.past.iter();
    let last = past.max_by_key(|attempt| attempt.patched);
    let restored = last.is_some_and(|last| {
        let ours = last.patched.is_some() && !last.restored;
        ours && last.to == case.observed.workload.template
    });
    restored || memory.restored_from.is_some()
}

/// Carries `decision` on to the end of our pause: asks for a look from time to time, and lifts it when
/// it has no purpose any more.
pub(super) fn ending_pause(case: &Case<'_>, decision: Decision) -> Decision {
    let rolling_back = decision
        .memory
        .incident
        .as_ref()
        .is_some_and(|incident| incident.state == State::RollingBack);
    let Some(mark) = &case.observed.workload.kept_from else {
        return decision;
    };
    // The write that is about to come sets it anew.
    if rolling_back {
        return decision;
    }
    let Some(seen) = seen_paused(case) else {
        return looking(decision);
    };
    if gitops::is_over(mark, seen.reconciler.as_ref()) {
        let decision = decision.with(lift(&mark.rollback, Some(seen)));
        return again(decision, FALLBACK);
    }
    let age = case.now.duration_since(seen.at);
    again(decision, LOOK_EVERY - age)
}

/// Returns the last look at the reconciler, if it was lately and saw our pause as it is now.
fn seen_paused<'a>(case: &Case<'a>) -> Option<&'a Seen> {
    let mark = &case.observed.workload.kept_from;
    let seen = case.observed.reconciler.as_ref();
    seen.filter(|seen| seen.is_fresh(case.now) && seen.kept_from == *mark)
}

/// Whether the bad revision may have come back because Git moved on, and our pause is about to end.
pub(super) fn pause_may_end(case: &Case<'_>) -> bool {
    case.observed
        .workload
        .kept_from
        .as_ref()
        .is_some_and(|mark| {
            seen_paused(case).is_none_or(|seen| gitops::is_over(mark, seen.reconciler.as_ref()))
        })
}

/// An Application is switched off before the template is written. An incident that ends in between
/// must switch it on again, and only then is it over.
pub(super) fn released(case: &Case<'_>, incident: &Incident, decision: Decision) -> Decision {
    let after = decision.memory.incident.as_ref();
    let closes = after.is_some_and(|after| !after.state.is_open());
    let met = incident.reconciler.as_ref();
    let pause = met.and_then(|met| met.pause.as_ref());
    let marked = case.observed.workload.kept_from.is_some();
    if !closes || marked || !matches!(pause, Some(Pause::Application { .. })) {
        return decision;
    }
    let open = case.remember(
        super::incident::with_incident(case, incident),
        Reason::Incident(incident.state),
        None,
    );
    let seen = case.observed.reconciler.as_ref();
    let Some(seen) = seen.filter(|seen| seen.is_fresh(case.now)) else {
        return looking(open);
    };
    let name = incident.name(&case.observed.workload);
    let state = seen.reconciler.as_ref().and_then(|it| it.state.as_ref());
    if !state.is_some_and(|state| state.held_by.contains(&name)) {
        return decision;
    }
    looking(open.with(lift(&name, Some(seen))))
}

fn lift(rollback: &str, seen: Option<&Seen>) -> Effect {
    let reconciler = seen.and_then(|seen| seen.reconciler.as_ref());
    let application = reconciler.filter(|it| it.tool == gitops::Tool::ArgoCd);
    Effect::LiftPause {
        rollback: rollback.to_owned(),
        application: application.map(|it| (it.namespace.clone(), it.name.clone())),
    }
}

/// Asks for a look at the reconciler, and to decide anew with what it tells.
pub(super) fn looking(decision: Decision) -> Decision {
    let asked = decision.effects.contains(&Effect::LookAtReconciler);
    let decision = if asked {
        decision
    } else {
        decision.with(Effect::LookAtReconciler)
    };
    again(decision, SignedDuration::ZERO)
}

fn again(mut decision: Decision, within: SignedDuration) -> Decision {
    decision.look_again = decision.look_again.into_iter().chain([within]).min();
    decision
}
