//! What runs: pods, the nodes below them, the ReplicaSets above them, and how Deployments went.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Store;
use crate::api::record::text;
use crate::decide::Revision;
use crate::observe::cache::{Cache, Key};
use crate::observe::history::History;
use crate::observe::pods::{Pods, PodsOf};
use crate::observe::workload::{Deployment, ReplicaSet};
use crate::port::WatchEvent;

/// How many ReplicaSets of one Deployment are remembered as its own: those whose pods may still be
/// asked for. Kubernetes keeps ten besides the current one by default, and those without pods matter
/// to nobody.
const OWNED_KEPT: usize = 64;

#[derive(Debug)]
pub(super) struct Running {
    pods: HashMap<String, Pods>,
    /// Only those that are unfit to run pods: seldom any.
    unfit_nodes: Cache<()>,
    replica_sets: HashMap<Key, ReplicaSets>,
    histories: HashMap<Key, History>,
}

/// The ReplicaSets of one Deployment, as they were last listed.
#[derive(Debug)]
struct ReplicaSets {
    deployment_uid: String,
    template: Revision,
    current: ReplicaSet,
    /// UIDs of all that were ever seen to be its own, the newest last.
    owned: VecDeque<String>,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            pods: HashMap::new(),
            unfit_nodes: Cache::new(unfit),
            replica_sets: HashMap::new(),
            histories: HashMap::new(),
        }
    }
}

impl Running {
    /// Takes in how a Deployment is now, or that it is gone.
    pub(super) fn deployment_changed(
        &mut self,
        key: &Key,
        deployment: Option<&Arc<Deployment>>,
        now: Timestamp,
    ) {
        if let Some(deployment) = deployment {
            self.note(key, deployment, now);
        } else {
            self.histories.remove(key);
            self.replica_sets.remove(key);
        }
    }

    fn note(&mut self, key: &Key, deployment: &Deployment, now: Timestamp) -> &History {
        let known = self
            .histories
            .remove(key)
            .filter(|known| known.is_of(deployment));
        let history = match known {
            Some(mut known) => {
                known.note(deployment, now);
                known
            }
            None => History::begin(deployment, now),
        };
        self.histories.entry(key.clone()).or_insert(history)
    }
}

impl Store {
    /// Takes in one event of the watch on the pods of `namespace`. Returns the name of the
    /// ReplicaSet whose pods changed.
    pub fn handle_pod(
        &self,
        namespace: &str,
        event: &WatchEvent,
        now: Timestamp,
    ) -> Option<String> {
        let mut inner = self.lock();
        let Running {
            pods, unfit_nodes, ..
        } = &mut inner.running;
        let pods = pods.entry(namespace.to_owned()).or_default();
        match event {
            WatchEvent::Restarted => pods.restart(),
            WatchEvent::Applied(object) => {
                return pods.apply(object, &|node| is_unfit(unfit_nodes, node), now);
            }
            WatchEvent::Complete => pods.complete(now),
            WatchEvent::Deleted(object) => return pods.delete(object, now),
        }
        None
    }

    /// Takes in one event of the watch on nodes. Returns the nodes whose fitness changed.
    pub fn handle_node(&self, event: &WatchEvent, now: Timestamp) -> Vec<String> {
        let mut inner = self.lock();
        let Running {
            pods, unfit_nodes, ..
        } = &mut inner.running;
        let before = event_node(event).is_some_and(|node| is_unfit(unfit_nodes, node));
        let mut changed: Vec<String> = unfit_nodes
            .handle(0, event)
            .into_iter()
            .map(|key| key.name)
            .collect();
        // An unfit node goes on reporting, which changes nothing.
        changed.retain(|node| !(before && is_unfit(unfit_nodes, node)));
        for node in &changed {
            for pods in pods.values_mut() {
                pods.node_changed(node, now);
            }
        }
        changed
    }

    /// Forgets all nodes: nobody watches them any more.
    pub fn forget_nodes(&self) {
        self.lock().running.unfit_nodes = Cache::new(unfit);
    }

    /// Forgets the pods of a namespace whose watch has ended.
    pub fn forget_pods(&self, namespace: &str) {
        self.lock().running.pods.remove(namespace);
    }

    /// Returns the pods of `deployment`, whose current ReplicaSet is `current`; none while they are
    /// not known.
    #[must_use]
    pub fn pods_of(&self, deployment: &Deployment, current: &ReplicaSet, now: Timestamp) -> PodsOf {
        let key = Key::new(&deployment.namespace, &deployment.name);
        let inner = self.lock();
        let Running {
            pods,
            unfit_nodes,
            replica_sets,
            ..
        } = &inner.running;
        let Some(pods) = pods.get(&deployment.namespace) else {
            return PodsOf::default();
        };
        let owned: Vec<String> = replica_sets
            .get(&key)
            .filter(|known| known.deployment_uid == deployment.uid)
            .map(|known| known.owned.iter().cloned().collect())
            .unwrap_or_default();
        pods.of(
            &current.uid,
            &owned,
            &|node| is_unfit(unfit_nodes, node),
            now,
        )
    }

    /// Takes in how `deployment` is now, and returns what is known of its past.
    #[must_use]
    pub fn history(&self, deployment: &Deployment, now: Timestamp) -> History {
        let key = Key::new(&deployment.namespace, &deployment.name);
        let mut inner = self.lock();
        inner.running.note(&key, deployment, now).clone()
    }

    /// Returns the ReplicaSet that was found for this template and revision number.
    #[must_use]
    pub fn replica_set(&self, deployment: &Deployment) -> Option<ReplicaSet> {
        let key = Key::new(&deployment.namespace, &deployment.name);
        let inner = self.lock();
        let known = inner.running.replica_sets.get(&key)?;
        let holds = known.deployment_uid == deployment.uid
            && known.template == deployment.template
            && Some(known.current.number) == deployment.number;
        holds.then(|| known.current.clone())
    }

    /// Keeps the ReplicaSet that carries the current template, and the UIDs of all that `deployment`
    /// controls.
    pub fn found_replica_sets(
        &self,
        deployment: &Deployment,
        current: &ReplicaSet,
        controlled: &[&str],
    ) {
        let key = Key::new(&deployment.namespace, &deployment.name);
        let mut inner = self.lock();
        let known = inner.running.replica_sets.remove(&key);
        let mut owned = known
            .filter(|known| known.deployment_uid == deployment.uid)
            .map(|known| known.owned)
            .unwrap_or_default();
        owned.retain(|uid| !controlled.contains(&uid.as_str()));
        owned.extend(controlled.iter().map(|uid| (*uid).to_owned()));
        let too_many = owned.len().saturating_sub(OWNED_KEPT);
        owned.drain(..too_many);
        let found = ReplicaSets {
            deployment_uid: deployment.uid.clone(),
            template: deployment.template.clone(),
            current: current.clone(),
            owned,
        };
        inner.running.replica_sets.insert(key, found);
    }

    /// Forgets what was kept for a Deployment that nobody guards any more.
    pub fn forget(&self, key: &Key) {
        self.lock().running.replica_sets.remove(key);
    }
}

fn is_unfit(unfit_nodes: &Cache<()>, node: &str) -> bool {
    unfit_nodes.get(&Key::new("", node)).is_some()
}

fn event_node(event: &WatchEvent) -> Option<&str> {
    match event {
        WatchEvent::Applied(object) | WatchEvent::Deleted(object) => text(object, "/metadata/name"),
        WatchEvent::Restarted | WatchEvent::Complete => None,
    }
}

/// What the node controller puts on a node that is not to be relied on.
const UNFIT: [&str; 3] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/out-of-service",
];

/// Keeps nothing of a node that is ready and stays.
fn unfit(object: &Value) -> Option<()> {
    let each = |path: &str| {
        let list = object.pointer(path).and_then(Value::as_array);
        list.into_iter().flatten()
    };
    let ready = each("/status/conditions").any(|condition| {
        text(condition, "/type") == Some("Ready") && text(condition, "/status") == Some("True")
    });
    let tainted = each("/spec/taints")
        .filter_map(|taint| text(taint, "/key"))
        .any(|key| UNFIT.contains(&key));
    let leaving = object.pointer("/metadata/deletionTimestamp").is_some();
    (!ready || tainted || leaving).then_some(())
}

#[cfg(test)]
mod tests;
