//! People are asked.

use jiff::{SignedDuration, Timestamp};

use super::incident::{
    advance, came_back, close, decided, later, restored_by_person, superseded, with_incident,
};
use super::{Case, FALLBACK};
use crate::decide::model::Announcement;
use crate::decide::target::Plan;
use crate::decide::{
    Decision, Effect, Incident, Mode, OnTimeout, Reading, Reason, State, approval, target,
};

/// The API server's parameter cache must have the record before its code is told. Creation stamps
/// are whole seconds, so one more than the two that the cache was seen to need.
const CODE_AFTER: SignedDuration = SignedDuration::from_secs(3);

pub(super) fn when_awaiting_approval(case: &Case<'_>, incident: &Incident) -> Decision {
    let workload = &case.observed.workload;
    if let Some(restored) = restored_by_person(case, incident) {
        return advance(case, &restored, State::Verifying);
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
    if approval::is_enough(incident, &incident.approvals) {
        let decision = advance(case, &decided(case, incident), State::RollingBack);
        return match approval::broken_glass(&incident.approvals) {
            Some(alone) => decision.announcing(Announcement::BrokenGlass(alone.clone())),
            None => decision,
        };
    }
    match grown_automatic(case, incident) {
        Growth::None => (),
        Growth::Automatic => {
            return advance(case, &decided(case, incident), State::RollingBack);
        }
        Growth::Inspect => {
            let (from, to) = (incident.from.clone(), incident.to.clone());
            let reason = Reason::Incident(State::AwaitingApproval);
            return case
                .remember(
                    with_incident(case, incident),
                    reason,
                    Some(SignedDuration::ZERO),
                )
                .with(Effect::Inspect { from, to });
        }
    }
    let timeout = later(incident.timings.proposed, incident.approval.timeout);
    if case.now < timeout {
        return ask(case, incident, timeout);
    }
    match incident.approval.on_timeout {
        OnTimeout::RollBack if case.observed.breaker.is_none() => {
            advance(case, &decided(case, incident), State::RollingBack)
        }
        OnTimeout::Release => {
            let outcome = format!("nobody answered within {:#}", incident.approval.timeout);
            close(case, incident, State::Released, outcome)
        }
        OnTimeout::Escalate | OnTimeout::RollBack => {
            let escalated = Incident {
                escalated: true,
                ..incident.clone()
            };
            ask(case, &escalated, Timestamp::MAX).announcing(Announcement::Escalate)
        }
    }
}

/// Whether things got worse while people were asked.
enum Growth {
    None,
    /// It may be, and the costly looks must say whether anything speaks against acting.
    Inspect,
    /// Another trigger is breached, one that may act by itself, and nothing asks for people.
    Automatic,
}

fn grown_automatic(case: &Case<'_>, incident: &Incident) -> Growth {
    let others = case.readings.iter().find(|reading| {
        let breached = matches!(reading.reading, Reading::Breached(_));
        breached && reading.mode == Mode::Automatic && reading.trigger != incident.trigger
    });
    let Some(reading) = others.filter(|_| incident.request.is_none()) else {
        return Growth::None;
    };
    let past = case.observed.past.iter();
    let wrote_before = past
        .filter(|attempt| attempt.from == incident.from)
        .any(|attempt| attempt.wrote_unasked);
    let proof = case.observed.memory.revisions.get(&incident.to);
    let allowed = target::mode_allowed(proof.and_then(|known| known.proof), reading.cannot_run);
    if wrote_before || allowed < Mode::Automatic {
        return Growth::None;
    }
    match target::plan(case.observed, case.policy, case.now, None) {
        Plan::Go { to, asks } if to == incident.to && asks.is_empty() => Growth::Automatic,
        Plan::Inspect(to) if to == incident.to => Growth::Inspect,
        Plan::Go { .. } | Plan::Inspect(_) | Plan::Held(_) => Growth::None,
    }
}

/// Keeps the proposal open: gives the code when it is time, stops the rollout where that was asked.
fn ask(case: &Case<'_>, incident: &Incident, timeout: Timestamp) -> Decision {
    let recorded = case.observed.recorded.unwrap_or(case.now);
    let code_due = later(recorded.max(incident.timings.proposed), CODE_AFTER);
    let mut incident = incident.clone();
    incident.paused |= carries_our_pause(case, &incident);
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

fn carries_our_pause(case: &Case<'_>, incident: &Incident) -> bool {
    let workload = &case.observed.workload;
    workload.paused_by.as_deref() == Some(incident.name(workload).as_str())
}

/// A rollout is paused once. A pause that is gone was lifted by a person, and that is theirs to decide.
fn should_pause(case: &Case<'_>, incident: &Incident) -> bool {
    let workload = &case.observed.workload;
    incident.pause_rollout
        && workload.rolling_update
        && !workload.rolled_out
        && !workload.paused
        && !incident.paused
}
