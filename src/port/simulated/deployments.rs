//! The Deployment controller: one replica set per template, and which of them is current.
//!
//! It follows the real one step by step where Astern looks: revisions are renumbered when a template
//! comes back, annotations are copied and stay, a paused Deployment gets no replica set.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::{default, items, number, remove, set, text};
use super::rollout::Limits;
use super::server::Part;
use super::world::{World, word};
use crate::port::{ObjectRef, kinds};

pub(super) const CONTROLLER: &str = "kube-controller-manager";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const HASH: &str = "pod-template-hash";

/// Annotations of a Deployment that its replica sets do not get.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// A Deployment as its controller reads it.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) object: ObjectRef,
    pub(super) value: Arc<Value>,
    pub(super) limits: Limits,
    pub(super) paused: bool,
    /// `None`: no deadline, and so no `Progressing` condition.
    pub(super) deadline_seconds: Option<i64>,
}

/// A replica set as the Deployment controller reads it.
#[derive(Clone, Debug)]
pub(super) struct ReplicaSet {
    pub(super) object: ObjectRef,
    pub(super) value: Arc<Value>,
}

/// The replica set of the Deployment's template, and all others.
#[derive(Debug)]
pub(super) struct Revisions {
    pub(super) new: Option<ReplicaSet>,
    pub(super) old: Vec<ReplicaSet>,
}

impl Revisions {
    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new)
    }
}

impl Deployment {
    fn of(object: &ObjectRef, value: Arc<Value>) -> Self {
        let deadline = number(&value, "/spec/progressDeadlineSeconds");
        Self {
            object: object.clone(),
            limits: Limits::of(&value),
            paused: value["spec"]["paused"] == true,
            deadline_seconds: (deadline != i64::from(i32::MAX)).then_some(deadline),
            value,
        }
    }

    pub(super) fn uid(&self) -> &str {
        text(&self.value, "/metadata/uid")
    }
}

impl ReplicaSet {
    pub(super) fn replicas(&self) -> i64 {
        number(&self.value, "/spec/replicas")
    }

    pub(super) fn available(&self) -> i64 {
        number(&self.value, "/status/availableReplicas")
    }

    pub(super) fn annotation(&self, key: &str) -> &str {
        self.value["metadata"]["annotations"][key]
            .as_str()
            .unwrap_or_default()
    }

    pub(super) fn revision(&self) -> i64 {
        self.annotation(REVISION).parse().unwrap_or(0)
    }

    /// Compares as the controller does, without the label that it adds itself.
    fn has_template(&self, template: &Value) -> bool {
        let mut own = self.value["spec"]["template"].clone();
        remove(&mut own, &["metadata", "labels", HASH]);
        own == *template
    }
}

impl World {
    pub(super) fn sync_deployment(&mut self, object: &ObjectRef) {
        let Some(value) = self.store.get(object) else {
            return;
        };
        if !text(&value, "/metadata/deletionTimestamp").is_empty() {
            return;
        }
        let deployment = Deployment::of(object, value);
        // Every write brings the controller back here soon, so each step ends with its first write.
        if self.note_pause(&deployment) {
            return;
        }
        let sets = self.replica_sets_of(&deployment);
        let scaling = deployment.limits.were_changed_since(&sets);
        let may_create = !deployment.paused && !scaling && self.may_start(&deployment, &sets);
        let Some(revisions) = self.revisions(&deployment, sets, may_create) else {
            return;
        };
        if deployment.paused || scaling {
            self.scale_in_proportion(&deployment, &revisions);
        } else {
            self.roll(&deployment, &revisions);
        }
        self.write_deployment_status(&deployment, &revisions);
    }

    fn replica_sets_of(&self, deployment: &Deployment) -> Vec<ReplicaSet> {
        let namespace = &deployment.object.namespace;
        let mut sets: Vec<ReplicaSet> = self
            .store
            .controlled(kinds::REPLICA_SETS, namespace, deployment.uid())
            .into_iter()
            .map(|(object, value)| ReplicaSet { object, value })
            .collect();
        let created = |set: &ReplicaSet| text(&set.value, "/metadata/creationTimestamp").to_owned();
        sets.sort_by_cached_key(|set| (created(set), set.object.name.clone()));
        sets
    }

    /// With the strategy `Recreate` nothing new starts while something old runs.
    fn may_start(&self, deployment: &Deployment, sets: &[ReplicaSet]) -> bool {
        let template = &deployment.value["spec"]["template"];
        let old = sets.iter().filter(|set| !set.has_template(template));
        let pods = |set: &ReplicaSet| {
            let uid = text(&set.value, "/metadata/uid");
            !self
                .store
                .controlled(kinds::PODS, &set.object.namespace, uid)
                .is_empty()
        };
        let mut old = old.filter(|set| set.replicas() > 0 || pods(set));
        !deployment.limits.recreate || old.next().is_none()
    }

    /// Finds or makes the replica set of the current template and gives it the newest number. `None`
    /// when something was written.
    fn revisions(
        &mut self,
        deployment: &Deployment,
        sets: Vec<ReplicaSet>,
        may_create: bool,
    ) -> Option<Revisions> {
        let template = &deployment.value["spec"]["template"];
        let (mut same, mut old): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| set.has_template(template));
        let mut new = None;
        if !same.is_empty() {
            new = Some(same.remove(0));
            old.extend(same);
        }
        let number = old.iter().map(ReplicaSet::revision).max().unwrap_or(0) + 1;
        let Some(set) = &new else {
            if may_create {
                self.create_replica_set(deployment, &old, number);
                return None;
            }
            return Some(Revisions { new, old });
        };
        let mut annotated = Value::clone(&set.value);
        annotate(&mut annotated, deployment, number);
        if annotated != *set.value {
            self.controller_write(&set.object, annotated, Part::Main);
            return None;
        }
        let revision = set.annotation(REVISION);
        if deployment.value["metadata"]["annotations"][REVISION] != revision {
            let mut value = Value::clone(&deployment.value);
            set_annotation(&mut value, REVISION, revision);
            if deployment.deadline_seconds.is_some() {
                self.note_found(&mut value, &set.object.name);
            }
            self.controller_write(&deployment.object, value, Part::Status);
            return None;
        }
        Some(Revisions { new, old })
    }

    fn create_replica_set(&mut self, deployment: &Deployment, old: &[ReplicaSet], revision: i64) {
        let value = &deployment.value;
        let hash = template_hash(value);
        let name = format!("{}-{hash}", deployment.object.name);
        let mut template = value["spec"]["template"].clone();
        set(&mut template, &["metadata", "labels", HASH], hash.as_str());
        let mut selector = value["spec"]["selector"].clone();
        set(&mut selector, &["matchLabels", HASH], hash.as_str());
        let mut body = json!({
            "metadata": {
                "name": name,
                "namespace": deployment.object.namespace,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [owner(value, "apps/v1", "Deployment")],
            },
            "spec": {
                "replicas": deployment.limits.new_replicas(old, 0),
                "selector": selector,
                "template": template,
            },
        });
        if let Some(seconds) = value["spec"].get("minReadySeconds") {
            set(&mut body, &["spec", "minReadySeconds"], seconds.clone());
        }
        annotate(&mut body, deployment, revision);
        deployment.limits.annotate(&mut body);
        let mut changed = Value::clone(value);
        if self.create(kinds::REPLICA_SETS, body, CONTROLLER).is_ok() {
            set_annotation(&mut changed, REVISION, &revision.to_string());
            if deployment.deadline_seconds.is_some() {
                self.note_created(&mut changed, &name);
            }
        } else {
            // The name belongs to another template or another Deployment: try another hash.
            let collisions = number(value, "/status/collisionCount") + 1;
            set(&mut changed, &["status", "collisionCount"], collisions);
        }
        self.controller_write(&deployment.object, changed, Part::Status);
    }

    /// Writes as the controllers do. A conflict only means that they look again.
    pub(super) fn controller_write(&mut self, object: &ObjectRef, value: Value, part: Part) {
        drop(self.update(object, value, part, CONTROLLER));
    }

    /// Removes the oldest replica sets that are neither current nor in use.
    pub(super) fn clean_up(&mut self, deployment: &Deployment, old: &[ReplicaSet]) {
        let limit = number(&deployment.value, "/spec/revisionHistoryLimit");
        let unused =
            |set: &&ReplicaSet| set.replicas() == 0 && number(&set.value, "/status/replicas") == 0;
        let mut unused: Vec<&ReplicaSet> = old.iter().filter(unused).collect();
        unused.sort_by_key(|set| set.revision());
        let surplus = unused
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(0));
        for set in unused.into_iter().take(surplus) {
            self.delete(&set.object, text(&set.value, "/metadata/uid"));
        }
    }
}

/// Copies the Deployment's annotations to a replica set, where they stay, and numbers it anew.
fn annotate(set: &mut Value, deployment: &Deployment, number: i64) {
    let annotations = deployment.value["metadata"]["annotations"].as_object();
    for (key, value) in annotations.into_iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            set_annotation(set, key, value.as_str().unwrap_or_default());
        }
    }
    let current = set["metadata"]["annotations"][REVISION].as_str();
    let current: i64 = current.and_then(|text| text.parse().ok()).unwrap_or(0);
    if current >= number {
        return;
    }
    if current > 0 {
        let history = set["metadata"]["annotations"][REVISION_HISTORY].as_str();
        let history = match history {
            Some(history) => format!("{history},{current}"),
            None => current.to_string(),
        };
        set_annotation(set, REVISION_HISTORY, &history);
    }
    set_annotation(set, REVISION, &number.to_string());
}

pub(super) fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set(object, &["metadata", "annotations", key], value);
}

/// Returns the reference of a controller to itself.
pub(super) fn owner(value: &Value, api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "name": value["metadata"]["name"],
        "uid": value["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Names a template, differently after each collision. FNV-1a as in the real one, over other bytes.
fn template_hash(deployment: &Value) -> String {
    let mut hashed = deployment["spec"]["template"].clone();
    default(
        &mut hashed,
        &["collisions"],
        number(deployment, "/status/collisionCount"),
    );
    let hash = hashed
        .to_string()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    word(super::world::scrambled(u64::from(hash)), 9)
}

/// Returns the conditions of `object` without that of type `name`.
pub(super) fn conditions_without(object: &Value, name: &str) -> Vec<Value> {
    items(object, "/status/conditions")
        .iter()
        .filter(|condition| condition["type"] != name)
        .cloned()
        .collect()
}
