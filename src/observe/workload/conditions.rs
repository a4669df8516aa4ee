//! What the Deployment controller says in the conditions of a Deployment.

use jiff::Timestamp;
use serde_json::Value;

use super::ReplicaSet;
use crate::api::record::{text, time};
use crate::decide::Refused;
use crate::observe::pods::cut;

/// Enough for the name of a quota and what it counts.
const MESSAGE_MAX: usize = 300;

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some(name))
}

/// Returns what the controller says when the deadline is over.
pub(super) fn deadline_exceeded(object: &Value) -> Option<String> {
    let progressing = condition(object, "Progressing")?;
    (text(progressing, "/reason") == Some("ProgressDeadlineExceeded")).then(|| {
        let message = text(progressing, "/message").unwrap_or_default();
        cut(message, MESSAGE_MAX)
    })
}

/// Whether `message` is about the rollout of `current`. A template that ran before finds the condition
/// of the rollout before it, and keeps it until something moves; only the name in it tells.
pub(super) fn is_about(message: &str, current: &ReplicaSet) -> bool {
    !message.starts_with("ReplicaSet ") || message.contains(&format!("{:?}", current.name))
}

/// Returns when the controller saw progress. Pausing stamps the same condition; that is none.
pub(super) fn progressed(object: &Value) -> Option<Timestamp> {
    let progressing = condition(object, "Progressing")?;
    match text(progressing, "/reason")? {
        "NewReplicaSetCreated"
        | "FoundNewReplicaSet"
        | "ReplicaSetUpdated"
        | "NewReplicaSetAvailable"
        | "DeploymentResumed" => time(progressing, "/lastUpdateTime"),
        _ => None,
    }
}

pub(super) fn pods_refused(object: &Value) -> Option<Refused> {
    let failure = condition(object, "ReplicaFailure")?;
    let refused = text(failure, "/status") == Some("True")
        && text(failure, "/reason") == Some("FailedCreate");
    refused.then(|| Refused {
        since: time(failure, "/lastTransitionTime").unwrap_or_default(),
        message: cut(text(failure, "/message").unwrap_or_default(), MESSAGE_MAX),
    })
}
