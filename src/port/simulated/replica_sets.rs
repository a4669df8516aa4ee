//! The replica set controller: as many pods as asked for, and how many of them serve.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::deployments::{CONTROLLER, owner};
use super::fields::{items, number, set, stamp, text, time};
use super::pods::ready_condition;
use super::server::Part;
use super::world::{Task, World};
use crate::port::{ObjectRef, kinds};

/// Until a refused pod is tried again. The real one waits longer and longer.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

impl World {
    pub(super) fn sync_replica_set(&mut self, object: &ObjectRef) {
        let Some(value) = self.store.get(object) else {
            return;
        };
        if !text(&value, "/metadata/deletionTimestamp").is_empty() {
            return;
        }
        let wanted = usize::try_from(number(&value, "/spec/replicas")).unwrap_or(0);
        let mut pods = self.active_pods(object, &value);
        let mut refusal = None;
        for _ in pods.len()..wanted {
            refusal = self.create_pod(object, &value).err();
            if refusal.is_some() {
                self.after(RETRY, Task::SyncReplicaSet(object.clone()));
                break;
            }
        }
        if pods.len() > wanted {
            // Those that serve nobody go first, then the youngest.
            pods.sort_by_cached_key(|(pod, value)| {
                let created = text(value, "/metadata/creationTimestamp").to_owned();
                (!is_ready(value), created, pod.name.clone())
            });
            pods.sort_by_key(|(_, value)| !is_ready(value));
            for (pod, value) in pods.split_off(wanted) {
                self.delete(&pod, text(&value, "/metadata/uid"));
            }
        }
        self.write_replica_set_status(object, &value, refusal.as_deref());
    }

    fn active_pods(&self, object: &ObjectRef, set: &Value) -> Vec<(ObjectRef, Arc<Value>)> {
        let uid = text(set, "/metadata/uid");
        let mut pods = self.store.controlled(kinds::PODS, &object.namespace, uid);
        pods.retain(|(_, pod)| text(pod, "/metadata/deletionTimestamp").is_empty());
        pods
    }

    /// Creates a pod, or returns why the API server does not take it.
    fn create_pod(&mut self, object: &ObjectRef, set: &Value) -> Result<(), String> {
        if let Some(refusal) = self.quota_exceeded(&object.namespace, &object.name) {
            return Err(refusal);
        }
        let mut metadata = json!({
            "generateName": format!("{}-", object.name),
            "namespace": object.namespace,
            "ownerReferences": [owner(set, "apps/v1", "ReplicaSet")],
        });
        for field in ["labels", "annotations"] {
            if let Some(values) = set["spec"]["template"]["metadata"].get(field) {
                metadata[field] = values.clone();
            }
        }
        let mut body = json!({ "metadata": metadata, "spec": set["spec"]["template"]["spec"] });
        self::set(&mut body, &["spec", "nodeName"], self.next_node());
        // The name is random; should it be taken, the next look creates the pod.
        if let Ok(pod) = self.create(kinds::PODS, body, CONTROLLER) {
            let name = text(&pod, "/metadata/name");
            let pod = ObjectRef::new(kinds::PODS, object.namespace.as_str(), name);
            self.admit_pod(&pod);
        }
        Ok(())
    }

    fn write_replica_set_status(&mut self, object: &ObjectRef, set: &Value, refusal: Option<&str>) {
        let pods = self.active_pods(object, set);
        let patience = SignedDuration::from_secs(number(set, "/spec/minReadySeconds"));
        let mut available = 0_i64;
        for (_, pod) in pods.iter().filter(|(_, pod)| is_ready(pod)) {
            let since = ready_condition(pod).and_then(|ready| time(ready, "/lastTransitionTime"));
            let due = since.map_or(self.now, |since| since + patience);
            if due <= self.now {
                available += 1;
            } else {
                self.at(due, Task::SyncReplicaSet(object.clone()));
            }
        }
        let ready = count(pods.iter().filter(|(_, pod)| is_ready(pod)).count());
        let total = count(pods.len());
        let mut status = Map::new();
        status.insert("replicas".to_owned(), total.into());
        for (field, count) in [
            ("observedGeneration", number(set, "/metadata/generation")),
            ("fullyLabeledReplicas", total),
            ("readyReplicas", ready),
            ("availableReplicas", available),
        ] {
            if count != 0 {
                status.insert(field.to_owned(), count.into());
            }
        }
        let Some(current) = self.store.get(object) else {
            return;
        };
        if let Some(refusal) = refusal {
            let failure = self.failure(&current, refusal);
            status.insert("conditions".to_owned(), json!([failure]));
        }
        let mut changed = Value::clone(&current);
        self::set(&mut changed, &["status"], Value::Object(status));
        self.controller_write(object, changed, Part::Status);
    }

    fn failure(&self, set: &Value, refusal: &str) -> Value {
        let known = replica_failure(set);
        let since = known.map_or_else(
            || stamp(self.now),
            |known| known["lastTransitionTime"].clone(),
        );
        json!({
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": refusal,
            "lastTransitionTime": since,
        })
    }
}

/// The condition that says that pods are refused.
pub(super) fn replica_failure(object: &Value) -> Option<&Value> {
    items(object, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == "ReplicaFailure")
}

fn is_ready(pod: &Value) -> bool {
    ready_condition(pod).is_some_and(|ready| ready["status"] == "True")
}

fn count(pods: usize) -> i64 {
    i64::try_from(pods).unwrap_or(i64::MAX)
}
