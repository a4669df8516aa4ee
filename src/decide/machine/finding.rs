//! What is found out beside the way back: when to look for it, and when it is written down.
//!
//! None of it keeps a rollback waiting, and it is written with what is written anyway.

use jiff::{SignedDuration, Timestamp};

use super::Case;
use crate::decide::found::{DIAGNOSIS_FRESH, Found, diagnosed, joined};
use crate::decide::{Decision, Diagnosed, Effect, Impact, Incident, State, impact};

/// A proposal whose code is not told has nothing else to write, and those who wait for it should read
/// what was found. A code follows within less.
const DIAGNOSIS_WAITS: SignedDuration = SignedDuration::from_secs(10);

/// Asks what is wrong with the bad revision, until there is an answer.
///
/// Not where the next look is due at once: it would wait for the answer.
pub(super) fn look_for_causes(
    case: &Case<'_>,
    incident: &Incident,
    decision: Decision,
) -> Decision {
    let after = decision.memory.incident.as_ref();
    let open = after.is_some_and(|incident| incident.state.is_open());
    let hurries = decision.look_again == Some(SignedDuration::ZERO);
    let known = !incident.found.diagnosis.is_empty() || of_bad(case, incident).is_some();
    if !open || hurries || known {
        return decision;
    }
    let workload = &case.observed.workload;
    let replica_set = if workload.template == incident.from {
        workload.replica_set.clone()
    } else {
        incident.found.from_replica_set.clone()
    };
    let Some(replica_set) = replica_set else {
        // Without its name nobody can tell its pods from others.
        return decision;
    };
    decision.with(Effect::Diagnose {
        revision: incident.from.clone(),
        replica_set,
    })
}

/// Asks what is wrong with the restored revision, shortly before `deadline`: an incident that ends
/// without success says why.
pub(super) fn look_before_end(
    case: &Case<'_>,
    deadline: Timestamp,
    mut decision: Decision,
) -> Decision {
    let due = deadline.saturating_sub(LAST_LOOK).unwrap_or(deadline);
    if case.now < due {
        let left = due.duration_since(case.now);
        decision.look_again = decision.look_again.map(|again| again.min(left));
        return decision;
    }
    let workload = &case.observed.workload;
    let known = diagnosed(case.observed, &workload.template, due).is_some();
    match workload.replica_set.clone().filter(|_| !known) {
        Some(replica_set) => decision.with(Effect::Diagnose {
            revision: workload.template.clone(),
            replica_set,
        }),
        None => decision,
    }
}

/// Less than an answer stays fresh, and enough for one.
const LAST_LOOK: SignedDuration = SignedDuration::from_secs(15);

/// Adds what was found to an incident that is about to be written anyway.
pub(super) fn write_down(case: &Case<'_>, decision: &mut Decision) {
    let before = case.observed.memory.incident.as_ref();
    let Some(incident) = decision.memory.incident.as_mut() else {
        return;
    };
    if before != Some(&*incident) || is_overdue(case, incident) {
        incident.found = found(case, incident);
    }
}

fn is_overdue(case: &Case<'_>, incident: &Incident) -> bool {
    let waits = |answer: &Diagnosed| {
        let waited = case.now.duration_since(answer.at) >= DIAGNOSIS_WAITS;
        waited && !answer.findings.is_empty()
    };
    incident.state == State::AwaitingApproval
        && incident.found.diagnosis.is_empty()
        && of_bad(case, incident).is_some_and(waits)
}

/// Returns what was said of the bad revision in this incident.
fn of_bad<'a>(case: &Case<'a>, incident: &Incident) -> Option<&'a Diagnosed> {
    let since = incident.timings.proposed.saturating_sub(DIAGNOSIS_FRESH);
    diagnosed(
        case.observed,
        &incident.from,
        since.unwrap_or(Timestamp::MIN),
    )
}

fn found(case: &Case<'_>, incident: &Incident) -> Found {
    let mut found = incident.found.clone();
    let workload = &case.observed.workload;
    if workload.template == incident.from && workload.replica_set.is_some() {
        found.from_replica_set.clone_from(&workload.replica_set);
    }
    if workload.template == *incident.target() && workload.replica_set.is_some() {
        found.to_replica_set.clone_from(&workload.replica_set);
    }
    if let Some(answer) = of_bad(case, incident)
        && found.diagnosis.is_empty()
    {
        found.diagnosis.clone_from(&answer.findings);
    }
    let unsuccessful = match incident.state {
        State::Failed | State::NotRecovered => true,
        State::Observed
        | State::AwaitingApproval
        | State::RollingBack
        | State::Verifying
        | State::Recovered
        | State::Rejected
        | State::Released
        | State::Superseded => false,
    };
    let lately = case.now.saturating_sub(DIAGNOSIS_FRESH);
    let restored = diagnosed(
        case.observed,
        incident.target(),
        lately.unwrap_or(Timestamp::MIN),
    );
    if let Some(answer) = restored.filter(|_| unsuccessful) {
        found.diagnosis = joined(&answer.findings, &found.diagnosis);
    }
    found.impact = impact::largest(found.impact.into_iter().chain(cost(case, &found, incident)));
    found
}

/// Returns what the bad revision cost, by what is known now.
fn cost(case: &Case<'_>, found: &Found, incident: &Incident) -> Option<Impact> {
    let observed = case.observed;
    let since = observed.memory.revisions.get(&incident.from)?.since;
    let (triggers, evidence) = (&case.policy.triggers, &observed.evidence);
    if observed.workload.template == incident.from {
        return impact::by_triggers(triggers, evidence, |counters| {
            impact::impact(counters, since, case.now)
        });
    }
    let replica_set = found.from_replica_set.as_deref()?;
    impact::by_triggers(triggers, evidence, |counters| {
        impact::impact_of_replaced(counters, replica_set, since, case.now)
    })
}
