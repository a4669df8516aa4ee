//! A person or a pipeline asks for a rollback, by creating a `Rollback`.
//!
//! The same holds, approvals and record apply. Whoever may create one has said yes already, so that
//! only a policy that wants approvals, and holds that ask, make others agree.

use jiff::SignedDuration;

use super::proposing::{Past, open, shown, with_copies};
use super::watching::{brought_up_to_date, first_seen, keep};
use super::{Case, FALLBACK};
use crate::decide::target::{Plan, plan};
use crate::decide::{
    Asked, Decision, Effect, Found, Held, Incident, Mode, Reason, Request, Revision,
    RevisionMemory, State, Timings, Verdict,
};

/// Answers `request`; no other incident is open.
pub(super) fn when_requested(case: &Case<'_>, request: &Request) -> Decision {
    let Some(current) = &case.observed.workload.current else {
        return case.stay(Reason::RevisionNotKnownYet, Some(FALLBACK));
    };
    let works = |known: &RevisionMemory| known.verdict == Verdict::Good;
    if request.drill && !case.observed.current_memory().is_some_and(works) {
        return decline(case, request, NO_DRILL);
    }
    let wanted = request.to.as_deref();
    match plan(case.observed, case.policy, case.now, wanted) {
        Plan::Inspect(to) => {
            let from = case.observed.workload.template.clone();
            case.stay(Reason::OnProbation, Some(SignedDuration::ZERO))
                .with(Effect::Inspect { from, to })
        }
        Plan::Held(held) => {
            let mut decision = decline(case, request, &held.message());
            decision.reason = Reason::Held(held.hold);
            decision
        }
        Plan::Go { to, asks } => {
            let known = case.observed.current_memory().cloned();
            let known = known.unwrap_or_else(|| first_seen(case, current));
            let memory = brought_up_to_date(case, known, current);
            let incident = proposed(case, request, to, &asks);
            let state = incident.state;
            if state == State::Observed {
                let mut decision = keep(
                    case,
                    memory,
                    Reason::Incident(state),
                    Some(SignedDuration::ZERO),
                );
                decision.memory.incident = Some(incident);
                return decision;
            }
            open(case, memory, incident)
        }
    }
}

fn proposed(case: &Case<'_>, request: &Request, to: Revision, asks: &[Held]) -> Incident {
    let mode = if asks.is_empty() && case.policy.mode != Mode::RequireApproval {
        Mode::Automatic
    } else {
        Mode::RequireApproval
    };
    let state = match mode {
        _ if request.dry_run => State::Observed,
        Mode::RequireApproval => State::AwaitingApproval,
        Mode::Automatic | Mode::Observe | Mode::Disabled => State::RollingBack,
    };
    let (repoint, restored) = with_copies(case, &to);
    let from = case.observed.workload.template.clone();
    let by = request.requested_by.as_deref().unwrap_or("somebody");
    Incident {
        attempt: Past::of_revision(case, &from).attempts + 1,
        from,
        to,
        trigger: String::new(),
        request: Some(Asked {
            name: request.name.clone(),
            requested_by: request.requested_by.clone(),
            reason: request.reason.clone(),
            drill: request.drill,
        }),
        repoint,
        restored,
        restored_by: None,
        mode,
        caps: asks.iter().map(shown).collect(),
        state,
        evidence: format!("{by} asked for it: {}", request.reason),
        outcome: String::new(),
        approval: case.policy.approval.clone(),
        rollback: case.policy.rollback.clone(),
        pause_rollout: case.policy.pause_rollout,
        paused: false,
        code: None,
        approvals: Vec::new(),
        rejected_by: None,
        escalated: false,
        found: Found::default(),
        timings: Timings {
            proposed: case.now,
            decided: (state == State::RollingBack).then_some(case.now),
            patched: None,
            ended: (state == State::Observed).then_some(case.now),
        },
    }
}

/// A drill ends where it began, so that what runs must be known to work.
const NO_DRILL: &str = "a drill goes back and forth between revisions that are known to have worked, and \
                        the one that runs is not known to; ask again when its probation is over";

fn decline(case: &Case<'_>, request: &Request, why: &str) -> Decision {
    case.stay(Reason::OnProbation, Some(SignedDuration::ZERO))
        .with(Effect::Decline {
            request: request.name.clone(),
            outcome: format!("not rolled back: {why}"),
        })
}

/// What runs while an incident is open may not run when it is over, so nobody's request may wait for
/// that: it would go back from the revision that was just restored.
pub(super) fn declined_meanwhile(
    case: &Case<'_>,
    incident: &Incident,
    decision: Decision,
) -> Decision {
    let open = incident.name(&case.observed.workload);
    case.observed
        .requests
        .iter()
        .fold(decision, |decision, request| {
            decision.with(Effect::Decline {
                request: request.name.clone(),
                outcome: format!(
                    "not rolled back: another rollback of this Deployment is open, {open}; approve or reject that one, or ask again when it is over"
                ),
            })
        })
}
