//! Whether the restored revision works, by the same triggers that convicted the other one,
//! and whether users get there.

use jiff::{SignedDuration, Timestamp};

use super::finding::look_before_end;
use super::incident::{close, deadline, later, with_incident};
use super::{Case, FALLBACK};
use crate::decide::found::{TRAFFIC_FRESH, followed, traffic_lines};
use crate::decide::traffic::settled;
use crate::decide::{
    Decision, Effect, Incident, Measurement, Reading, Reason, State, TriggerReading, Unknown,
};

/// Waits until the restored revision has passed for long enough and its traffic has arrived, or until
/// the deadline.
pub(super) fn verify(case: &Case<'_>, incident: &Incident) -> Decision {
    let health = Recovery::of(case, incident);
    let since = match health {
        Recovery::Passing => Some(case.observed.passing_since.unwrap_or(case.now)),
        Recovery::Incomplete | Recovery::Breached(_) | Recovery::Unknown(_) => None,
    };
    let verified = since.map(|since| later(since, incident.rollback.recovery));
    let deadline = deadline(incident);
    // The ownership patch is part of the rollback: until it is seen, the work is not done.
    if verified.is_some_and(|verified| case.now >= verified)
        && !case.observed.workload.ownership_disturbed
    {
        let mut decision = follow_traffic(case, incident, deadline);
        decision.passing_since = since;
        return decision;
    }
    if case.now >= deadline {
        let (state, outcome) = too_late(health);
        return close(case, incident, state, outcome);
    }
    let look_again = verified.unwrap_or(deadline).min(deadline);
    let left = look_again.duration_since(case.now).min(FALLBACK);
    let mut decision = go_on_verifying(case, incident, left);
    decision.passing_since = since;
    if since.is_none() {
        decision = look_before_end(case, deadline, decision);
    }
    decision
}

/// Says how an incident ends whose restored revision did not recover by the deadline.
fn too_late(health: Recovery) -> (State, String) {
    match health {
        Recovery::Breached(evidence) => (
            State::NotRecovered,
            format!("the restored revision fails too: {evidence}"),
        ),
        Recovery::Incomplete => (
            State::Failed,
            "the rollout of the restored revision did not complete in time".to_owned(),
        ),
        Recovery::Unknown(unknown) => (
            State::Failed,
            format!("the revision is restored, but recovery could not be verified: {unknown}"),
        ),
        Recovery::Passing => (
            State::Failed,
            "the triggers did not pass for long enough in time".to_owned(),
        ),
    }
}

fn go_on_verifying(case: &Case<'_>, incident: &Incident, again: SignedDuration) -> Decision {
    let reason = Reason::Incident(State::Verifying);
    case.remember(with_incident(case, incident), reason, Some(again))
}

/// Everything else has passed for long enough. What is left to see is that users get there.
fn follow_traffic(case: &Case<'_>, incident: &Incident, deadline: Timestamp) -> Decision {
    let Some(traffic) = followed(case.observed, incident.target(), case.now) else {
        let (from, to) = (incident.from.clone(), incident.target().clone());
        return go_on_verifying(case, incident, SignedDuration::ZERO)
            .with(Effect::FollowTraffic { from, to });
    };
    let mut seen = incident.clone();
    seen.found.traffic = traffic_lines(traffic);
    match settled(traffic) {
        Ok(()) => close(case, &seen, State::Recovered, recovered(&seen)),
        Err(left) if case.now >= deadline => {
            let outcome = format!(
                "the revision is restored and its triggers pass, but in time not its traffic: {left}"
            );
            close(case, &seen, State::Failed, outcome)
        }
        Err(_) => {
            let left = deadline.duration_since(case.now);
            go_on_verifying(case, incident, left.min(TRAFFIC_FRESH))
        }
    }
}

fn recovered(incident: &Incident) -> String {
    let mut outcome = format!("the triggers passed for {:#}", incident.rollback.recovery);
    if let Some(by) = &incident.restored_by {
        outcome = format!("{by} put it back, not Astern; {outcome}");
    }
    for line in &incident.found.traffic {
        outcome.push_str("; ");
        outcome.push_str(line);
    }
    outcome
}

/// How the restored revision does.
enum Recovery {
    Passing,
    Incomplete,
    Breached(String),
    Unknown(String),
}

impl Recovery {
    /// The trigger that caused the incident must pass again; the others must not be breached. They
    /// may be unknown, as they may never have had data.
    fn of(case: &Case<'_>, incident: &Incident) -> Self {
        if let Some((_, measurement)) = case.worst_breach() {
            return Self::Breached(measurement.to_string());
        }
        if let Some(still) = case.readings.iter().find_map(still_bad) {
            return Self::Breached(still);
        }
        if !case.observed.workload.rolled_out {
            return Self::Incomplete;
        }
        let culprit = case
            .readings
            .iter()
            .find(|reading| reading.trigger == incident.trigger);
        match culprit.map(|reading| &reading.reading) {
            Some(Reading::Unknown(unknown)) => Self::Unknown(unknown.to_string()),
            // A trigger that was removed from the policy meanwhile has nothing to say any more.
            Some(Reading::Passing(_) | Reading::Breached(_)) | None => Self::Passing,
        }
    }
}

/// What was there before a release is not the release's fault; what was there before the way back and
/// stays is not undone by it.
fn still_bad(reading: &TriggerReading) -> Option<String> {
    match &reading.reading {
        Reading::Unknown(Unknown::BadBefore { measurement }) => Some(measurement.to_string()),
        Reading::Unknown(Unknown::FiringBefore) => {
            Some(Measurement::Alert { firing: true }.to_string())
        }
        Reading::Passing(_) | Reading::Breached(_) | Reading::Unknown(_) => None,
    }
}
