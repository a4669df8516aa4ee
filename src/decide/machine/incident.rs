//! An incident is open: the template goes back, recovery is verified.

use jiff::{SignedDuration, Timestamp};

use super::asking::when_awaiting_approval;
use super::finding::look_for_causes;
use super::reconciled::{met, released};
use super::recovery::verify;
use super::requested::declined_meanwhile;
use super::watching::brought_up_to_date;
use super::{Case, FALLBACK};
use crate::decide::holds::Question;
use crate::decide::inspection::inspected;
use crate::decide::model::Announcement;
use crate::decide::restoring::renamed;
use crate::decide::{
    Decision, Effect, Held, Incident, Reason, Revision, RevisionMemory, State, Verdict, holds,
    quarantine,
};

pub(super) fn when_open(case: &Case<'_>, incident: &Incident) -> Decision {
    let decision = in_state(case, incident);
    let decision = look_for_causes(case, incident, decision);
    declined_meanwhile(case, incident, decision)
}

fn in_state(case: &Case<'_>, incident: &Incident) -> Decision {
    match incident.state {
        State::AwaitingApproval => when_awaiting_approval(case, incident),
        State::RollingBack => released(case, incident, when_rolling_back(case, incident)),
        State::Verifying => when_verifying(case, incident),
        // Closed states never come here; saying so changes nothing.
        State::Observed
        | State::Recovered
        | State::NotRecovered
        | State::Rejected
        | State::Released
        | State::Superseded
        | State::Failed => case.stay(Reason::Incident(incident.state), None),
    }
}

/// A person put a revision back that had worked, be it the one that was proposed or another. What is
/// left to do is to see whether that helped.
pub(super) fn restored_by_person(case: &Case<'_>, incident: &Incident) -> Option<Incident> {
    let workload = &case.observed.workload;
    if workload.template == incident.from {
        return None;
    }
    let known = case.observed.current_memory();
    let worked = known.is_some_and(|known| known.verdict == Verdict::Good);
    if workload.template != *incident.target() && !worked {
        return None;
    }
    let by = workload.written_by.clone();
    let mut restored = decided(case, incident);
    if workload.template != *incident.target() {
        restored.to = workload.template.clone();
        restored.restored = None;
        restored.repoint.clear();
    }
    restored.restored_by = Some(by.unwrap_or_else(|| "a person or a tool".to_owned()));
    Some(restored)
}

fn when_rolling_back(case: &Case<'_>, incident: &Incident) -> Decision {
    let workload = &case.observed.workload;
    let ours = workload.rolled_back_by.as_deref() == Some(incident.name(workload).as_str());
    if workload.template == *incident.target() && ours {
        return advance(case, incident, State::Verifying);
    }
    if let Some(restored) = restored_by_person(case, incident) {
        return advance(case, &restored, State::Verifying);
    }
    if workload.template != incident.from {
        return superseded(case, incident);
    }
    if came_back(case, incident) {
        return put_back(case, incident);
    }
    let refusal = case.observed.refusal.as_deref();
    let refusal = refusal.or_else(|| holds::dry_run_refused(case.observed, incident, case.now));
    if let Some(refusal) = refusal {
        let outcome = format!("the API server refused the rollback: {refusal}");
        return close(case, incident, State::Failed, outcome);
    }
    let deadline = deadline(incident);
    let held = stop(case, incident);
    if case.now >= deadline {
        let obstacle = held.map_or_else(
            || "the template could not be written in time".to_owned(),
            |held| held.message(),
        );
        return close(case, incident, State::Failed, obstacle);
    }
    let left = deadline.duration_since(case.now).min(FALLBACK);
    // What is remembered must be on the objects before the write: the revision is bad from here on.
    let mut memory = with_incident(case, incident);
    convict(case, &mut memory, incident);
    if let Some(held) = held {
        return case
            .remember(memory, Reason::Held(held.hold), Some(left))
            .announcing(Announcement::Held(held));
    }
    if workload.current.is_none() {
        // Until the controller has acted on the template, nobody knows whether it came back.
        return case.remember(memory, Reason::RevisionNotKnownYet, Some(left));
    }
    let (from, to) = (incident.from.clone(), incident.to.clone());
    let reason = Reason::Incident(State::RollingBack);
    if inspected(case.observed, &to, case.now).is_none() {
        return case
            .remember(memory, reason, Some(SignedDuration::ZERO))
            .with(Effect::Inspect { from, to });
    }
    let met = match met(case, &to, incident.is_consented()) {
        Ok(met) => met,
        // Nobody was asked about this. The next look asks.
        Err(held) => return close(case, incident, State::Failed, held.message()),
    };
    let pause = met.as_ref().and_then(|met| met.pause.clone());
    if let Some(incident) = &mut memory.incident {
        incident.reconciler = met;
    }
    if let Some(restored) = &incident.restored {
        remember_restored(case, &mut memory, incident, restored);
    }
    let to = incident.target().clone();
    // Told after the write: Events never delay it.
    case.remember(memory, reason, Some(left))
        .with(Effect::RollBack { from, to, pause })
        .announcing(Announcement::Incident(State::RollingBack))
}

/// A target that reads copies is a revision of its own. It is recorded before it is written, and takes
/// the verdict of its source once it runs.
fn remember_restored(
    case: &Case<'_>,
    memory: &mut crate::decide::Memory,
    incident: &Incident,
    restored: &Revision,
) {
    let source = memory.revisions.get(&incident.to).cloned();
    let Some(source) = source.filter(|_| !memory.revisions.contains_key(restored)) else {
        return;
    };
    let known = RevisionMemory {
        since: case.now,
        config: renamed(&source.config, &incident.repoint),
        restored_from: Some(incident.to.clone()),
        git: source.git.clone(),
        ..RevisionMemory::default()
    };
    memory.revisions.insert(restored.clone(), known);
}

/// Returns what stops a rollback that was decided. What only asks has been answered.
fn stop(case: &Case<'_>, incident: &Incident) -> Option<Held> {
    let question = Question {
        observed: case.observed,
        policy: case.policy,
        now: case.now,
        to: Some(&incident.to),
    };
    let mut held = holds::of_workload(&question);
    held.extend(holds::of_target(&question));
    holds::first_stop(&held).cloned()
}

fn when_verifying(case: &Case<'_>, incident: &Incident) -> Decision {
    let workload = &case.observed.workload;
    if workload.template == incident.from {
        return put_back(case, incident);
    }
    if workload.template != *incident.target() {
        return superseded(case, incident);
    }
    let mut decision = verify(case, incident);
    if workload.ownership_disturbed {
        decision = decision.with(Effect::RestoreOwnership {
            to: incident.target().clone(),
        });
    }
    decision
}

/// Whether the bad revision became current anew since the incident was opened. Either our own mark
/// says that we had restored another template, or its revision number moved; a robot may be faster
/// than the controller that numbers revisions, and may strip the mark.
pub(super) fn came_back(case: &Case<'_>, incident: &Incident) -> bool {
    let workload = &case.observed.workload;
    if workload.rolled_back_by.as_deref() == Some(incident.name(workload).as_str()) {
        return true;
    }
    let then = case.observed.memory.revisions.get(&incident.from);
    let now = workload.current.as_ref();
    now.zip(then)
        .is_some_and(|(now, then)| now.number != then.number)
}

/// One write is enough. Whoever puts the bad revision back after it must be stopped by a person.
fn put_back(case: &Case<'_>, incident: &Incident) -> Decision {
    let outcome = "the bad revision was put back by someone else".to_owned();
    close(case, incident, State::Superseded, outcome).announcing(Announcement::Fighting)
}

/// Returns how an open incident ends when its Deployment is gone.
#[must_use]
pub fn gone(incident: &Incident, now: Timestamp) -> Incident {
    let mut closed = Incident {
        state: State::Superseded,
        outcome: "the Deployment is gone".to_owned(),
        ..incident.clone()
    };
    closed.timings.ended = Some(now);
    closed
}

pub(super) fn superseded(case: &Case<'_>, incident: &Incident) -> Decision {
    let outcome = "somebody deployed another revision meanwhile".to_owned();
    close(case, incident, State::Superseded, outcome)
}

pub(super) fn decided(case: &Case<'_>, incident: &Incident) -> Incident {
    let mut decided = incident.clone();
    decided.timings.decided = Some(case.now);
    decided
}

pub(super) fn advance(case: &Case<'_>, incident: &Incident, state: State) -> Decision {
    let mut incident = Incident {
        state,
        ..incident.clone()
    };
    if state == State::Verifying {
        incident.timings.patched = Some(case.now);
    }
    let mut memory = with_incident(case, &incident);
    convict(case, &mut memory, &incident);
    if let Some(restored) = incident
        .restored
        .as_ref()
        .filter(|_| state == State::Verifying)
    {
        let source = memory.revisions.get(&incident.to).cloned();
        if let Some((known, source)) = memory.revisions.get_mut(restored).zip(source) {
            known.verdict = source.verdict;
            known.proof = source.proof;
            known.passed = source.passed;
        }
    }
    let decision = case.remember(memory, Reason::Incident(state), Some(SignedDuration::ZERO));
    told(decision, state)
}

/// Tells that the incident has reached `state`. That a rollback begins is told when it is written.
pub(super) fn told(decision: Decision, state: State) -> Decision {
    if state == State::RollingBack {
        return decision;
    }
    decision.announcing(Announcement::Incident(state))
}

/// What the record takes; a refusal by an admission webhook may be as long as it likes.
const OUTCOME_MAX: usize = 1024;

/// Ends the incident. Where we paused the rollout, the next look lifts the pause.
pub(super) fn close(
    case: &Case<'_>,
    incident: &Incident,
    state: State,
    mut outcome: String,
) -> Decision {
    if let Some((end, _)) = outcome.char_indices().nth(OUTCOME_MAX) {
        outcome.truncate(end);
    }
    let mut incident = Incident {
        state,
        outcome,
        ..incident.clone()
    };
    incident.timings.ended = Some(case.now);
    let mut memory = with_incident(case, &incident);
    // What came back with other config than it had would look like a release of its own afterwards.
    let workload = &case.observed.workload;
    if workload.template == *incident.target()
        && let Some(current) = &workload.current
        && let Some(known) = memory.revisions.get_mut(&workload.template)
    {
        *known = brought_up_to_date(case, known.clone(), current);
    }
    let passing_since = case.observed.passing_since;
    if state == State::NotRecovered {
        // The release was not the cause, so nothing speaks against deploying it again.
        mark(case, &mut memory, &incident.from, Verdict::Unproven);
    }
    let mut decision = case.remember(memory, Reason::Incident(state), Some(SignedDuration::ZERO));
    // Should the record not be written, the next look closes it again, and does not start over.
    decision.passing_since = passing_since;
    decision.announcing(Announcement::Incident(state))
}

pub(super) fn with_incident(case: &Case<'_>, incident: &Incident) -> crate::decide::Memory {
    crate::decide::Memory {
        revisions: case.observed.memory.revisions.clone(),
        incident: Some(incident.clone()),
    }
}

/// Remembers what a rollback says about the revision that is left: a person who asks for it is no
/// trigger, and a drill says nothing.
fn convict(case: &Case<'_>, memory: &mut crate::decide::Memory, incident: &Incident) {
    let verdict = match &incident.request {
        Some(asked) if asked.drill => return,
        Some(_) => Verdict::Withdrawn,
        None => Verdict::Bad,
    };
    mark(case, memory, &incident.from, verdict);
}

fn mark(
    case: &Case<'_>,
    memory: &mut crate::decide::Memory,
    revision: &Revision,
    verdict: Verdict,
) {
    let Some(known) = memory.revisions.get_mut(revision) else {
        return;
    };
    match verdict {
        Verdict::Bad | Verdict::Withdrawn => quarantine::convict(known, verdict, case.now),
        Verdict::Unproven | Verdict::Good => {
            known.verdict = verdict;
            known.proof = None;
            known.convicted = None;
        }
    }
}

pub(super) fn deadline(incident: &Incident) -> Timestamp {
    let decided = incident
        .timings
        .decided
        .unwrap_or(incident.timings.proposed);
    later(decided, incident.rollback.deadline)
}

pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
