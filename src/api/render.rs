//! Decisions in words: conditions, Events, and what to type next.
//!
//! Every message says what happened and, where somebody must do something, the command for it.

mod clauses;
mod gitops;
mod note;
pub mod policy;
pub mod reasons;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{names, record};
use crate::decide::{Incident, State};

pub use note::{Note, breaker_opened, missing_policy, note};

/// The summary condition of a Rollback.
pub const COMPLETE: &str = "Complete";

/// Where an incident is, for commands that people can paste.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub namespace: &'a str,
    pub deployment: &'a str,
    pub rollback: &'a str,
}

/// Returns the one word of the column NEXT.
#[must_use]
pub fn next(incident: &Incident) -> &'static str {
    match incident.state {
        State::AwaitingApproval if incident.code.is_some() => "approve-or-reject",
        State::AwaitingApproval | State::RollingBack | State::Verifying => "wait",
        State::Observed | State::NotRecovered | State::Failed | State::Superseded => "look",
        State::Recovered | State::Rejected | State::Released => "none",
    }
}

/// Returns the summary condition of `incident`.
#[must_use]
pub fn complete(incident: &Incident, place: &Place<'_>, before: &Value, now: Timestamp) -> Value {
    let status = if incident.state.is_open() {
        "False"
    } else {
        "True"
    };
    condition(
        &Condition {
            kind: COMPLETE,
            status,
            reason: incident.state.name(),
            message: &message(incident, place),
        },
        before,
        now,
    )
}

/// One entry of `status.conditions`.
pub struct Condition<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

/// Returns `condition` as JSON. Its transition time moves only when its status or reason moves;
/// `before` is the status that is there.
#[must_use]
pub fn condition(condition: &Condition<'_>, before: &Value, now: Timestamp) -> Value {
    let same = before
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|known| record::text(known, "/type") == Some(condition.kind))
        .filter(|known| {
            record::text(known, "/status") == Some(condition.status)
                && record::text(known, "/reason") == Some(condition.reason)
        })
        .and_then(|known| record::text(known, "/lastTransitionTime"));
    let stamp = seconds(now);
    json!({
        "type": condition.kind,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": same.unwrap_or(&stamp),
    })
}

/// `metav1.Time` has whole seconds.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns what happened and what to do next, in a few sentences.
#[must_use]
pub fn message(incident: &Incident, place: &Place<'_>) -> String {
    let from = incident.from.short();
    let to = incident.to.short();
    let why = format!("trigger {}: {}", incident.trigger, incident.evidence);
    let outcome = &clauses::short(&incident.outcome);
    let found = clauses::found(&incident.found);
    let pinned = clauses::pinned(&incident.repoint);
    let git = format!(
        "{}{}",
        gitops::kept_away(incident, place),
        gitops::revert(incident)
    );
    match incident.state {
        State::Observed => format!("would have gone back from {from} to {to} ({why})"),
        State::AwaitingApproval => awaiting(incident, place, &why),
        State::RollingBack => {
            let why = clauses::short(&why);
            format!("going back from {from} to {to} ({why}){found}")
        }
        State::Verifying => format!("{to} is back; verifying that it works{pinned}{git}{found}"),
        State::Recovered => format!("{to} is back and works: {outcome}{pinned}{git}{found}"),
        State::NotRecovered => format!(
            "{to} is back, but {outcome}; the release was not the cause: look elsewhere, {from} may be deployed again{pinned}{}{found}",
            gitops::kept_away(incident, place)
        ),
        State::Rejected => format!("{outcome}; {from} goes on"),
        State::Released => format!("{outcome}; {from} goes on, as the policy says"),
        State::Superseded => outcome.clone(),
        State::Failed => format!(
            "{outcome}; look at it: kubectl -n {} describe deployment {}{found}",
            place.namespace, place.deployment
        ),
    }
}

fn awaiting(incident: &Incident, place: &Place<'_>, why: &str) -> String {
    let (from, to) = (incident.from.short(), incident.to.short());
    let Some(code) = &incident.code else {
        return format!(
            "proposes to go back from {from} to {to} ({why}); the code for approving follows as soon as the API server checks who approves (ValidatingAdmissionPolicyBinding {})",
            names::APPROVALS_BINDING
        );
    };
    let got = incident.approvals.len();
    let needed = incident.approval.required;
    let late = if incident.escalated {
        "still waiting; "
    } else {
        ""
    };
    format!(
        "{late}proposes to go back from {from} to {to} ({why}{}); {got} of {needed} approvals{}; to approve: {}; to reject: {}; `kubectl auth whoami` says what your username is",
        gitops::revert(incident),
        gitops::consent(incident),
        answer(place, names::APPROVE, code),
        answer(place, names::REJECT, code),
    )
}

/// The line to type. The API server checks that the name is the writer's own.
fn answer(place: &Place<'_>, key: &str, code: &str) -> String {
    let Place {
        namespace,
        rollback,
        deployment: _,
    } = place;
    format!(
        "kubectl -n {namespace} annotate --overwrite rollback {rollback} {key}={rollback}/{code}:YOUR-USERNAME"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T05:00:09.75Z".parse().expect("a time")
    }

    fn check(reason: &str, expected: &str) {
        let before = json!({"conditions": [{"type": "Complete", "status": "False",
            "reason": "RollingBack", "lastTransitionTime": "2026-11-23T04:00:00Z"}]});
        let made = Condition {
            kind: COMPLETE,
            status: "False",
            reason,
            message: "m",
        };
        let stamp = condition(&made, &before, now())["lastTransitionTime"].clone();
        assert_eq!(stamp, expected);
    }

    #[test]
    fn the_transition_time_moves_with_the_reason_only() {
        check("RollingBack", "2026-11-23T04:00:00Z");
        check("Verifying", "2026-11-23T05:00:09Z");
    }
}
