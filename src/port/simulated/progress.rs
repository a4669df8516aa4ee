//! What the Deployment controller reports: counts, `Available`, and `Progressing` with its deadline.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::deployments::{Deployment, ReplicaSet, Revisions, conditions_without};
use super::fields::{items, number, set, stamp, text, time};
use super::replica_sets::replica_failure;
use super::rollout::is_complete;
use super::server::Part;
use super::world::{Task, World};

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const FAILURE: &str = "ReplicaFailure";
const PAUSED: &str = "DeploymentPaused";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const DONE: &str = "NewReplicaSetAvailable";

/// A condition to be written: type, status, reason, message.
struct Condition<'a> {
    name: &'a str,
    status: &'a str,
    reason: &'a str,
    message: String,
}

impl World {
    /// Says in the conditions that a rollout was paused or resumed. True when it was written.
    pub(super) fn note_pause(&mut self, deployment: &Deployment) -> bool {
        if deployment.deadline_seconds.is_none() {
            return false;
        }
        let reason = reason_of_progress(&deployment.value);
        let noted = reason == PAUSED;
        if reason == TIMED_OUT || noted == deployment.paused {
            return false;
        }
        let (reason, message) = if deployment.paused {
            (PAUSED, "Deployment is paused")
        } else {
            ("DeploymentResumed", "Deployment is resumed")
        };
        let mut value = Value::clone(&deployment.value);
        let condition = Condition {
            name: PROGRESSING,
            status: "Unknown",
            reason,
            message: message.to_owned(),
        };
        self.set_condition(&mut value, &condition);
        self.controller_write(&deployment.object, value, Part::Status);
        true
    }

    pub(super) fn note_created(&self, value: &mut Value, replica_set: &str) {
        let condition = Condition {
            name: PROGRESSING,
            status: "True",
            reason: "NewReplicaSetCreated",
            message: format!("Created new replica set {replica_set:?}"),
        };
        self.set_condition(value, &condition);
    }

    pub(super) fn note_found(&self, value: &mut Value, replica_set: &str) {
        // A rollout back to a template that ran before keeps the condition it finds.
        if !reason_of_progress(value).is_empty() {
            return;
        }
        let condition = Condition {
            name: PROGRESSING,
            status: "True",
            reason: "FoundNewReplicaSet",
            message: format!("Found new replica set {replica_set:?}"),
        };
        self.set_condition(value, &condition);
    }

    /// Counts the pods and says how the rollout goes.
    pub(super) fn write_deployment_status(
        &mut self,
        deployment: &Deployment,
        revisions: &Revisions,
    ) {
        let mut value = Value::clone(&deployment.value);
        let status = counts(deployment, revisions);
        set(&mut value, &["status"], Value::Object(status));
        self.set_availability(&mut value, deployment);
        if !deployment.paused {
            self.set_progress(&mut value, deployment, revisions);
            set_failure(&mut value, revisions);
        }
        if value != *deployment.value {
            self.controller_write(&deployment.object, value, Part::Status);
        }
    }

    fn set_availability(&self, value: &mut Value, deployment: &Deployment) {
        let limits = &deployment.limits;
        let enough =
            number(value, "/status/availableReplicas") >= limits.replicas - limits.unavailable;
        let (status, reason, message) = if enough {
            (
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            )
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        let condition = Condition {
            name: AVAILABLE,
            status,
            reason,
            message: message.to_owned(),
        };
        self.set_condition(value, &condition);
    }

    fn set_progress(&mut self, value: &mut Value, deployment: &Deployment, revisions: &Revisions) {
        let Some(seconds) = deployment.deadline_seconds else {
            let others = conditions_without(value, PROGRESSING);
            set(value, &["status", "conditions"], others);
            return;
        };
        let name = match &revisions.new {
            Some(set) => format!("ReplicaSet {:?}", set.object.name),
            None => format!("Deployment {:?}", deployment.object.name),
        };
        let reason = reason_of_progress(value).to_owned();
        let status = |field: &str| number(value, &format!("/status/{field}"));
        if reason == DONE && status("replicas") == status("updatedReplicas") {
            return;
        }
        let after = Deployment {
            value: value.clone().into(),
            ..deployment.clone()
        };
        let mut condition = Condition {
            name: PROGRESSING,
            status: "True",
            reason: DONE,
            message: format!("{name} has successfully progressed."),
        };
        if is_complete(&after) {
            self.set_condition(value, &condition);
        } else if moved(&deployment.value, value) {
            condition.reason = "ReplicaSetUpdated";
            condition.message = format!("{name} is progressing.");
            self.renew_condition(value, &condition);
        } else {
            let due = progress_updated(value).map(|from| from + SignedDuration::from_secs(seconds));
            if reason == TIMED_OUT || due.is_some_and(|due| due < self.now) {
                condition.status = "False";
                condition.reason = TIMED_OUT;
                condition.message = format!("{name} has timed out progressing.");
                self.set_condition(value, &condition);
            }
        }
        self.look_at_deadline(deployment, value, seconds);
    }

    /// Nothing may change any more until the deadline, so the controller wakes itself for it.
    fn look_at_deadline(&mut self, deployment: &Deployment, value: &Value, seconds: i64) {
        let reason = reason_of_progress(value);
        if reason == DONE || reason == TIMED_OUT {
            return;
        }
        if let Some(from) = progress_updated(value) {
            let due = from + SignedDuration::from_secs(seconds + 1);
            if due > self.now {
                self.at(due, Task::SyncDeployment(deployment.object.clone()));
            }
        }
    }

    /// Writes a condition, unless it already says the same for the same reason.
    fn set_condition(&self, value: &mut Value, condition: &Condition<'_>) {
        let current = condition_named(value, condition.name);
        let same = current.is_some_and(|current| {
            current["status"] == condition.status && current["reason"] == condition.reason
        });
        if !same {
            self.renew_condition(value, condition);
        }
    }

    fn renew_condition(&self, value: &mut Value, condition: &Condition<'_>) {
        let current = condition_named(value, condition.name);
        let since = current
            .filter(|current| current["status"] == condition.status)
            .map_or_else(|| stamp(self.now), |it| it["lastTransitionTime"].clone());
        let mut conditions = conditions_without(value, condition.name);
        conditions.push(json!({
            "type": condition.name,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastUpdateTime": stamp(self.now),
            "lastTransitionTime": since,
        }));
        set(value, &["status", "conditions"], conditions);
    }
}

/// Shows that pods of a replica set are refused, the newest one's first.
fn set_failure(value: &mut Value, revisions: &Revisions) {
    let mut conditions = conditions_without(value, FAILURE);
    let mut newest_first = revisions.new.iter().chain(&revisions.old);
    conditions.extend(
        newest_first
            .find_map(|set| replica_failure(&set.value))
            .cloned(),
    );
    set(value, &["status", "conditions"], conditions);
}

fn counts(deployment: &Deployment, revisions: &Revisions) -> Map<String, Value> {
    let sum = |field: &str| -> i64 {
        let field = format!("/status/{field}");
        revisions.all().map(|set| number(&set.value, &field)).sum()
    };
    let new = |set: &ReplicaSet| number(&set.value, "/status/replicas");
    let (total, available) = (sum("replicas"), sum("availableReplicas"));
    let counted = [
        (
            "observedGeneration",
            number(&deployment.value, "/metadata/generation"),
        ),
        ("replicas", total),
        ("updatedReplicas", revisions.new.as_ref().map_or(0, new)),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (total - available).max(0)),
        (
            "collisionCount",
            number(&deployment.value, "/status/collisionCount"),
        ),
    ];
    // Zero is written as absent.
    let counted = counted.into_iter().filter(|(_, count)| *count != 0);
    let mut status: Map<String, Value> = counted
        .map(|(field, count)| (field.to_owned(), count.into()))
        .collect();
    let conditions = items(&deployment.value, "/status/conditions");
    status.insert("conditions".to_owned(), conditions.to_vec().into());
    status
}

/// Says whether there are more new pods, fewer old ones, or more that serve than before.
fn moved(before: &Value, after: &Value) -> bool {
    let count = |object: &Value, field: &str| number(object, &format!("/status/{field}"));
    let old = |object: &Value| count(object, "replicas") - count(object, "updatedReplicas");
    let more = |field: &str| count(after, field) > count(before, field);
    more("updatedReplicas")
        || old(after) < old(before)
        || more("readyReplicas")
        || more("availableReplicas")
}

fn condition_named<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    items(object, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == name)
}

fn reason_of_progress(object: &Value) -> &str {
    condition_named(object, PROGRESSING)
        .map(|condition| text(condition, "/reason"))
        .unwrap_or_default()
}

fn progress_updated(object: &Value) -> Option<Timestamp> {
    time(condition_named(object, PROGRESSING)?, "/lastUpdateTime")
}
