//! An incident is open: people are asked, the template goes back, recovery is verified.

use jiff::{SignedDuration, Timestamp};

use super::recovery::Recovery;
use super::{Case, FALLBACK};
use crate::decide::model::Announcement;
use crate::decide::{
    Decision, Effect, Hold, Incident, Mode, OnTimeout, Reason, Revision, State, Verdict, approval,
    holds, target,
};

/// The API server's parameter cache must have the record before its code is told. Creation stamps
/// are whole seconds, so one more than the two that the cache was seen to need.
const CODE_AFTER: SignedDuration = SignedDuration::from_secs(3);

pub(super) fn when_open(case: &Case<'_>, incident: &Incident) -> Decision {
    match incident.state {
        State::AwaitingApproval => when_awaiting_approval(case, incident),
        State::RollingBack => when_rolling_back(case, incident),
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

fn when_awaiting_approval(case: &Case<'_>, incident: &Incident) -> Decision {
    let workload = &case.observed.workload;
    if workload.template == incident.to {
        // A person put it back meanwhile. What is left to do is to see whether that helped.
        return advance(case, &decided(case, incident), State::Verifying);
    }
    if workload.template != incident.from || came_back(case, incident) {
        return superseded(case, incident);
    }
    let name = incident.name(workload);
    if let Some(person) = approval::rejected_by(case.observed, incident, &name) {
        let rejected = Incident {
            rejected_by: Some(person.to_owned()),
            ..incident.clone()
        };
        return close(
            case,
            &rejected,
            State::Rejected,
            format!("rejected by {person}"),
        );
    }
    let approvals = approval::gathered(case.observed, incident, &name, case.now);
    let incident = &Incident {
        approvals,
        ..incident.clone()
    };
    let approved = u32::try_from(incident.approvals.len()).unwrap_or(u32::MAX);
    if approved >= incident.approval.required || grew_automatic(case) {
        return advance(case, &decided(case, incident), State::RollingBack);
    }
    let timeout = later(incident.timings.proposed, incident.approval.timeout);
    if case.now < timeout {
        return ask(case, incident, timeout);
    }
    match incident.approval.on_timeout {
        OnTimeout::RollBack => advance(case, &decided(case, incident), State::RollingBack),
        OnTimeout::Release => {
            let outcome = format!("nobody answered within {:#}", incident.approval.timeout);
            close(case, incident, State::Released, outcome)
        }
        OnTimeout::Escalate => {
            let escalated = Incident {
                escalated: true,
                ..incident.clone()
            };
            ask(case, &escalated, Timestamp::MAX).announcing(Announcement::Escalate)
        }
    }
}

/// Things got worse while people were asked: a trigger that may act by itself is breached now.
fn grew_automatic(case: &Case<'_>) -> bool {
    let Some((reading, _)) = case.worst_breach() else {
        return false;
    };
    let wrote_before =
        case.observed.past.iter().any(|attempt| {
            attempt.wrote_unasked && attempt.from == case.observed.workload.template
        });
    let allowed = target::newest_good(case.observed).map_or(Mode::Disabled, |(_, memory)| {
        target::mode_allowed(memory.proof, reading.cannot_run)
    });
    reading.mode == Mode::Automatic && allowed == Mode::Automatic && !wrote_before
}

/// Keeps the proposal open: gives the code when it is time, stops the rollout where that was asked.
fn ask(case: &Case<'_>, incident: &Incident, timeout: Timestamp) -> Decision {
    let recorded = case.observed.recorded.unwrap_or(case.now);
    let code_due = later(recorded.max(incident.timings.proposed), CODE_AFTER);
    let mut incident = incident.clone();
    let look_again = if case.now < code_due {
        code_due.duration_since(case.now)
    } else {
        // Without the check an entry says nothing about its writer, and a code that was told early
        // could be used before the check is in force.
        if incident.code.is_none() && case.observed.approvals_are_checked {
            incident.code = Some(case.observed.fresh_code.clone());
        }
        timeout.duration_since(case.now).min(FALLBACK)
    };
    let mut decision = case.remember(
        with_incident(case, &incident),
        Reason::Incident(State::AwaitingApproval),
        Some(look_again),
    );
    if should_pause(case, &incident) {
        decision = decision.with(Effect::PauseRollout {
            from: incident.from.clone(),
        });
    }
    if incident.code.is_some() {
        decision = decision.announcing(Announcement::AskForApproval);
    }
    decision
}

/// A rollout is paused once. Our mark without a pause means that a person resumed it, and that is
/// theirs to decide.
fn should_pause(case: &Case<'_>, incident: &Incident) -> bool {
    let workload = &case.observed.workload;
    incident.pause_rollout
        && workload.rolling_update
        && !workload.rolled_out
        && !workload.paused
        && workload.paused_by.as_deref() != Some(incident.name(workload).as_str())
}

fn when_rolling_back(case: &Case<'_>, incident: &Incident) -> Decision {
    let workload = &case.observed.workload;
    if workload.template == incident.to {
        return advance(case, incident, State::Verifying);
    }
    if workload.template != incident.from {
        return superseded(case, incident);
    }
    if came_back(case, incident) {
        return put_back(case, incident);
    }
    if let Some(refusal) = &case.observed.refusal {
        let outcome = format!("the API server refused the rollback: {refusal}");
        return close(case, incident, State::Failed, outcome);
    }
    let deadline = deadline(incident);
    let hold = holds::first_hold(case.observed);
    if case.now >= deadline {
        let obstacle = hold.map_or("the template could not be written in time", Hold::advice);
        return close(case, incident, State::Failed, obstacle.to_owned());
    }
    let left = deadline.duration_since(case.now).min(FALLBACK);
    // What is remembered must be on the objects before the write: the revision is bad from here on.
    let mut memory = with_incident(case, incident);
    mark(&mut memory, &incident.from, Verdict::Bad);
    if let Some(hold) = hold {
        return case
            .remember(memory, Reason::Held(hold), Some(left))
            .announcing(Announcement::Held(hold));
    }
    if workload.current.is_none() {
        // Until the controller has acted on the template, nobody knows whether it came back.
        return case.remember(memory, Reason::RevisionNotKnownYet, Some(left));
    }
    case.remember(memory, Reason::Incident(State::RollingBack), Some(left))
        .with(Effect::RollBack {
            from: incident.from.clone(),
            to: incident.to.clone(),
        })
}

fn when_verifying(case: &Case<'_>, incident: &Incident) -> Decision {
    let workload = &case.observed.workload;
    if workload.template == incident.from {
        return put_back(case, incident);
    }
    if workload.template != incident.to {
        return superseded(case, incident);
    }
    let mut decision = verify(case, incident);
    if workload.ownership_disturbed {
        decision = decision.with(Effect::RestoreOwnership {
            to: incident.to.clone(),
        });
    }
    decision
}

fn verify(case: &Case<'_>, incident: &Incident) -> Decision {
    let health = Recovery::of(case, incident);
    let since = match health {
        Recovery::Passing => Some(case.observed.passing_since.unwrap_or(case.now)),
        Recovery::Incomplete | Recovery::Breached(_) | Recovery::Unknown(_) => None,
    };
    let verified = since.map(|since| later(since, incident.rollback.recovery));
    // The ownership patch is part of the rollback: until it is seen, the work is not done.
    if verified.is_some_and(|verified| case.now >= verified)
        && !case.observed.workload.ownership_disturbed
    {
        let outcome = format!("the triggers passed for {:#}", incident.rollback.recovery);
        return close(case, incident, State::Recovered, outcome);
    }
    let deadline = deadline(incident);
    if case.now >= deadline {
        return match health {
            Recovery::Breached(evidence) => close(
                case,
                incident,
                State::NotRecovered,
                format!("the restored revision fails too: {evidence}"),
            ),
            Recovery::Incomplete => close(
                case,
                incident,
                State::Failed,
                "the rollout of the restored revision did not complete in time".to_owned(),
            ),
            Recovery::Unknown(unknown) => close(
                case,
                incident,
                State::Failed,
                format!("the revision is restored, but recovery could not be verified: {unknown}"),
            ),
            Recovery::Passing => close(
                case,
                incident,
                State::Failed,
                "the triggers did not pass for long enough in time".to_owned(),
            ),
        };
    }
    let look_again = verified.unwrap_or(deadline).min(deadline);
    let mut decision = case.remember(
        with_incident(case, incident),
        Reason::Incident(State::Verifying),
        Some(look_again.duration_since(case.now).min(FALLBACK)),
    );
    decision.passing_since = since;
    decision
}

/// Whether the bad revision became current anew since the incident was opened. Either our own mark
/// says that we had restored another template, or its revision number moved; a robot may be faster
/// than the controller that numbers revisions, and may strip the mark.
fn came_back(case: &Case<'_>, incident: &Incident) -> bool {
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

fn superseded(case: &Case<'_>, incident: &Incident) -> Decision {
    let outcome = "somebody deployed another revision meanwhile".to_owned();
    close(case, incident, State::Superseded, outcome)
}

fn decided(case: &Case<'_>, incident: &Incident) -> Incident {
    let mut decided = incident.clone();
    decided.timings.decided = Some(case.now);
    decided
}

fn advance(case: &Case<'_>, incident: &Incident, state: State) -> Decision {
    let mut incident = Incident {
        state,
        ..incident.clone()
    };
    if state == State::Verifying {
        incident.timings.patched = Some(case.now);
    }
    let mut memory = with_incident(case, &incident);
    mark(&mut memory, &incident.from, Verdict::Bad);
    case.remember(memory, Reason::Incident(state), Some(SignedDuration::ZERO))
        .announcing(Announcement::Incident(state))
}

/// What the record takes; a refusal by an admission webhook may be as long as it likes.
const OUTCOME_MAX: usize = 1024;

/// Ends the incident. Where we paused the rollout, the next look lifts the pause.
fn close(case: &Case<'_>, incident: &Incident, state: State, mut outcome: String) -> Decision {
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
    let passing_since = case.observed.passing_since;
    if state == State::NotRecovered {
        // The release was not the cause, so nothing speaks against deploying it again.
        mark(&mut memory, &incident.from, Verdict::Unproven);
    }
    let mut decision = case.remember(memory, Reason::Incident(state), Some(SignedDuration::ZERO));
    // Should the record not be written, the next look closes it again, and does not start over.
    decision.passing_since = passing_since;
    decision.announcing(Announcement::Incident(state))
}

fn with_incident(case: &Case<'_>, incident: &Incident) -> crate::decide::Memory {
    crate::decide::Memory {
        revisions: case.observed.memory.revisions.clone(),
        incident: Some(incident.clone()),
    }
}

fn mark(memory: &mut crate::decide::Memory, revision: &Revision, verdict: Verdict) {
    if let Some(known) = memory.revisions.get_mut(revision) {
        known.verdict = verdict;
        known.proof = None;
    }
}

fn deadline(incident: &Incident) -> Timestamp {
    let decided = incident
        .timings
        .decided
        .unwrap_or(incident.timings.proposed);
    later(decided, incident.rollback.deadline)
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
