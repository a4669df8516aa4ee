//! From changes to the workloads that they concern.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{AbortHandle, JoinSet};

use super::{Controller, Work};
use crate::decide::Reason;
use crate::observe::cache::Key;
use crate::port::{Kind, Selection, WatchEvent, kinds};

/// Watched all the time. Pods come and go with probation.
const WATCHED: [Kind; 5] = [
    kinds::DEPLOYMENTS,
    kinds::ROLLBACK_POLICIES,
    kinds::METRIC_SOURCES,
    kinds::ROLLBACKS,
    kinds::CONTROLLER_REVISIONS,
];

/// A namespace whose pods nobody wanted for this long is not watched any more. Longer than any look
/// at a workload on probation waits.
const UNWATCH_AFTER: SignedDuration = SignedDuration::from_secs(120);

impl Controller {
    pub(super) fn start_watches(self: &Arc<Self>, background: &mut JoinSet<()>) {
        self.pods.controller(Arc::downgrade(self));
        for kind in WATCHED {
            let namespaces: Vec<Option<String>> = if self.namespaces.is_empty() || !kind.namespaced
            {
                vec![None]
            } else {
                self.namespaces.iter().cloned().map(Some).collect()
            };
            self.eyes.store.expect_parts(kind, namespaces.len());
            background.spawn(Arc::clone(self).follow(kind, namespaces));
        }
        let namespaces: Vec<Option<String>> = if self.namespaces.is_empty() {
            vec![None]
        } else {
            self.namespaces.iter().cloned().map(Some).collect()
        };
        self.eyes.config.expect_parts(namespaces.len());
        background.spawn(Arc::clone(self).follow_config(namespaces));
    }

    async fn follow_config(self: Arc<Self>, namespaces: Vec<Option<String>>) {
        let streams = namespaces
            .into_iter()
            .enumerate()
            .map(|(index, namespace)| {
                let selection = Selection {
                    namespace,
                    labels: String::new(),
                };
                let events = self.eyes.cluster.watch(kinds::CONFIG_MAPS, selection);
                events.map(move |event| (index, event))
            });
        let mut events = futures::stream::select_all(streams);
        while let Some((index, event)) = events.next().await {
            let now = self.eyes.cluster.now();
            for deployment in self.eyes.config.handle(index, &event) {
                self.queue.add(Work::Workload(deployment), now);
            }
        }
    }

    async fn follow(self: Arc<Self>, kind: Kind, namespaces: Vec<Option<String>>) {
        let selection = |namespace| Selection {
            namespace,
            // Only our own: other controllers keep theirs for DaemonSets and StatefulSets.
            labels: match kind {
                kinds::CONTROLLER_REVISIONS => crate::api::names::DEPLOYMENT_UID.to_owned(),
                _ => String::new(),
            },
        };
        let streams = namespaces
            .into_iter()
            .enumerate()
            .map(|(index, namespace)| {
                self.eyes
                    .cluster
                    .watch(kind, selection(namespace))
                    .map(move |event| (index, event))
            });
        let mut events = futures::stream::select_all(streams);
        while let Some((index, event)) = events.next().await {
            let before = self.concerned(kind, &event);
            let now = self.eyes.cluster.now();
            let changed = self.eyes.store.handle(kind, index, &event, now);
            for work in changed
                .iter()
                .flat_map(|key| self.concerned_by(kind, key))
                .chain(before)
            {
                self.queue.add(work, now);
            }
        }
    }

    /// Of an object that goes away, whom it concerned must be asked before it is forgotten.
    fn concerned(&self, kind: Kind, event: &WatchEvent) -> Vec<Work> {
        match event {
            WatchEvent::Deleted(object) => Key::of(object)
                .map(|key| self.concerned_by(kind, &key))
                .unwrap_or_default(),
            WatchEvent::Restarted | WatchEvent::Applied(_) | WatchEvent::Complete => Vec::new(),
        }
    }

    fn concerned_by(&self, kind: Kind, key: &Key) -> Vec<Work> {
        let store = &self.eyes.store;
        match kind {
            kinds::DEPLOYMENTS => vec![Work::Workload(key.clone())],
            kinds::ROLLBACKS => store
                .deployment_of_rollback(key)
                .map(Work::Workload)
                .into_iter()
                .collect(),
            kinds::CONTROLLER_REVISIONS => store
                .deployment_of_revision(key)
                .map(Work::Workload)
                .into_iter()
                .collect(),
            kinds::ROLLBACK_POLICIES => {
                let deployments = store.deployments_in(&key.namespace);
                let workloads = deployments.into_iter().map(Work::Workload);
                workloads.chain([Work::Policy(key.clone())]).collect()
            }
            _ => Vec::new(),
        }
    }

    /// New samples, and pods and nodes, concern the workloads of these namespaces that are being judged.
    pub(super) fn metrics_arrived(&self, namespaces: &[String]) {
        let now = self.eyes.cluster.now();
        for (key, summary) in self.lock_summaries().iter() {
            let open = matches!(summary.target.reason, Reason::Incident(_));
            if (summary.target.judging || open) && namespaces.contains(&key.namespace) {
                self.queue.add(Work::Workload(key.clone()), now);
            }
        }
    }

    pub(super) fn known_work(&self) -> Vec<Work> {
        let store = &self.eyes.store;
        let workloads = store.deployment_keys().into_iter().map(Work::Workload);
        workloads
            .chain(store.policy_keys().into_iter().map(Work::Policy))
            .collect()
    }
}

/// The watches on pods, by namespace: only where a workload is being judged. As long as there is one,
/// nodes are watched too: every kubelet reports at least every five minutes, which is a megabyte in
/// four seconds on five thousand nodes, and nothing asks for it the rest of the time.
#[derive(Default)]
pub(super) struct PodWatches {
    controller: Mutex<Weak<Controller>>,
    watches: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    pods: HashMap<String, PodWatch>,
    nodes: Option<EndOnDrop>,
}

struct PodWatch {
    wanted: Timestamp,
    _task: EndOnDrop,
}

struct EndOnDrop(AbortHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PodWatches {
    fn controller(&self, controller: Weak<Controller>) {
        *self
            .controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = controller;
    }

    /// Ends all watches. They hold on to the controller, so it would never go away by itself.
    pub(super) fn end(&self) {
        *self.lock() = Running::default();
    }

    /// Keeps the pods of `namespace` watched if they are `wanted`, and ends watches that nobody
    /// wanted for a while.
    pub(super) fn want(&self, controller: &Controller, namespace: &str, wanted: bool) {
        let now = controller.eyes.cluster.now();
        let store = &controller.eyes.store;
        let mut running = self.lock();
        let Running { pods, nodes } = &mut *running;
        if wanted && nodes.is_none() {
            // First, so that what befell a pod is known before the pod is seen.
            *nodes = self.start(Controller::follow_nodes);
        }
        if let Some(watch) = pods.get_mut(namespace).filter(|_| wanted) {
            watch.wanted = now;
        } else if wanted {
            let name = namespace.to_owned();
            let task = self.start(|controller| controller.follow_pods(name));
            let watch = task.map(|task| PodWatch {
                wanted: now,
                _task: task,
            });
            pods.extend(watch.map(|watch| (namespace.to_owned(), watch)));
        }
        pods.retain(|namespace, watch| {
            let keep = now.duration_since(watch.wanted) <= UNWATCH_AFTER;
            if !keep {
                store.forget_pods(namespace);
            }
            keep
        });
        if pods.is_empty() && nodes.take().is_some() {
            store.forget_nodes();
        }
    }

    fn start<Following>(
        &self,
        follow: impl FnOnce(Arc<Controller>) -> Following,
    ) -> Option<EndOnDrop>
    where
        Following: Future<Output = ()> + Send + 'static,
    {
        let controller = self
            .controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()?;
        Some(EndOnDrop(tokio::spawn(follow(controller)).abort_handle()))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn namespaces(&self) -> Vec<String> {
        self.lock().pods.keys().cloned().collect()
    }
}

impl Controller {
    async fn follow_pods(self: Arc<Self>, namespace: String) {
        let selection = Selection {
            namespace: Some(namespace.clone()),
            labels: String::new(),
        };
        let mut events = self.eyes.cluster.watch(kinds::PODS, selection);
        while let Some(event) = events.next().await {
            let now = self.eyes.cluster.now();
            let complete = matches!(event, WatchEvent::Complete);
            let owner = self.eyes.store.handle_pod(&namespace, &event, now);
            // ReplicaSets are named after their Deployment and the hash of the template.
            let deployment = owner
                .as_deref()
                .and_then(|name| name.rsplit_once('-'))
                .map(|(deployment, _)| Key::new(&namespace, deployment));
            if let Some(key) = deployment {
                self.queue.add(Work::Workload(key), now);
            }
            if complete {
                self.metrics_arrived(std::slice::from_ref(&namespace));
            }
        }
    }

    async fn follow_nodes(self: Arc<Self>) {
        let mut events = self.eyes.cluster.watch(kinds::NODES, Selection::default());
        while let Some(event) = events.next().await {
            let changed = self.eyes.store.handle_node(&event, self.eyes.cluster.now());
            if !changed.is_empty() {
                tracing::info!(nodes = ?changed, "nodes became fit or unfit to run pods");
                self.metrics_arrived(&self.pods.namespaces());
            }
        }
    }
}
