//! What happens to pods from outside: nodes that are lost, evictions, a quota that is full.
//!
//! Nodes take any number of pods, one after the other. A lost node's containers run on; nobody hears of
//! them, and no controller moves its pods elsewhere.

use serde_json::{Value, json};

use super::SimulatedCluster;
use super::fields::{items, set, stamp, text};
use super::server::Part;
use super::world::{Task, World};
use crate::port::{Error, ObjectRef, kinds};

/// How many nodes share the pods.
const NODES: usize = 4;

/// Who takes nodes for lost and pods off them.
const CONTROL_PLANE: &str = "kube-controller-manager";

impl SimulatedCluster {
    /// Loses a node, `node-0` to `node-3`, or brings it back.
    ///
    /// # Errors
    ///
    /// As the API server's.
    pub fn set_node_ready(&self, name: &str, ready: bool) -> Result<(), Error> {
        self.change(|world| world.set_node_ready(name, ready))
    }

    /// Evicts a pod, as a drain of its node does.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such pod.
    pub fn evict(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let pod = ObjectRef::new(kinds::PODS, namespace, name);
        self.change(|world| world.evict(&pod))
    }

    /// Lets a namespace have so many pods and no more; `None` for as many as it likes.
    pub fn set_quota(&self, namespace: &str, pods: Option<usize>) {
        self.change(|world| {
            match pods {
                Some(pods) => world.quotas.insert(namespace.to_owned(), pods),
                None => world.quotas.remove(namespace),
            };
            world.wake_all_replica_sets();
        });
    }
}

impl World {
    /// Returns the node that takes the next pod.
    pub(super) fn next_node(&self) -> String {
        format!("node-{}", self.runs.len() % NODES)
    }

    pub(super) fn is_lost(&self, pod: &Value) -> bool {
        self.lost_nodes.contains(text(pod, "/spec/nodeName"))
    }

    fn set_node_ready(&mut self, name: &str, ready: bool) -> Result<(), Error> {
        if ready {
            self.lost_nodes.remove(name);
        } else {
            self.lost_nodes.insert(name.to_owned());
        }
        let node = ObjectRef::new(kinds::NODES, "", name);
        let condition = json!({
            "type": "Ready",
            "status": if ready { "True" } else { "Unknown" },
            "lastTransitionTime": stamp(self.now),
        });
        if let Some(known) = self.store.get(&node) {
            let mut known = Value::clone(&known);
            set(&mut known, &["status", "conditions"], json!([condition]));
            self.update(&node, known, Part::Main, CONTROL_PLANE)?;
        } else {
            let body = json!({
                "metadata": { "name": name },
                "status": { "conditions": [condition] },
            });
            self.create(kinds::NODES, body, CONTROL_PLANE)?;
        }
        self.wake_all_pods();
        Ok(())
    }

    fn evict(&mut self, pod: &ObjectRef) -> Result<(), Error> {
        let current = self.store.get(pod).ok_or(Error::NotFound)?;
        let mut marked = Value::clone(&current);
        let mut conditions = items(&current, "/status/conditions").to_vec();
        conditions.push(json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": stamp(self.now),
        }));
        set(&mut marked, &["status", "conditions"], conditions);
        self.update(pod, marked, Part::Status, CONTROL_PLANE)?;
        self.delete(pod, text(&current, "/metadata/uid"));
        Ok(())
    }

    /// Returns why the API server takes no more pods in `namespace`.
    pub(super) fn quota_exceeded(&self, namespace: &str, replica_set: &str) -> Option<String> {
        let limit = *self.quotas.get(namespace)?;
        let used = self.store.of_kind(kinds::PODS, Some(namespace)).count();
        (used >= limit).then(|| {
            format!(
                "pods \"{replica_set}-xxxxx\" is forbidden: exceeded quota: team, requested: pods=1, \
                 used: pods={used}, limited: pods={limit}"
            )
        })
    }

    fn wake_all_replica_sets(&mut self) {
        let sets: Vec<ObjectRef> = self
            .store
            .of_kind(kinds::REPLICA_SETS, None)
            .map(|(set, _)| set.clone())
            .collect();
        for set in sets {
            self.soon(Task::SyncReplicaSet(set));
        }
    }
}
