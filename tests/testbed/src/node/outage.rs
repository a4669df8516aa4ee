//! What goes wrong with nodes instead of images: one that nobody hears from any more, and pods that
//! have to leave.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use futures::future::select_all;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    behaviour::Behaviour,
    clock::now,
    node::{
        NodeRecord, Nodes, Simulation,
        event::{self, Happening},
        manifest::Manifest,
        register,
        state::{Pod, Wish},
        status::EVICTED,
    },
};

/// The nodes that are lost, each with the newest manifest of every pod that it missed, by UID.
#[derive(Debug, Default)]
pub(crate) struct Lost(Mutex<HashMap<String, HashMap<String, Manifest>>>);

impl Lost {
    pub(crate) fn contains(&self, node: &str) -> bool {
        self.lock().contains_key(node)
    }

    /// Keeps a manifest until its node is back. Gives it back if the node is not lost.
    pub(crate) fn keep(&self, manifest: Manifest) -> Option<Manifest> {
        let mut lost = self.lock();
        let Some(missed) = lost.get_mut(&manifest.spec.node_name) else {
            return Some(manifest);
        };
        if let Some(uid) = manifest.metadata.uid.clone() {
            missed.insert(uid, manifest);
        }
        None
    }

    pub(crate) fn forget(&self, uid: &str) {
        for missed in self.lock().values_mut() {
            missed.remove(uid);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, HashMap<String, Manifest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes {
    /// Makes a node fall silent: it is not ready, its pods are neither, and nothing reaches them.
    /// They run on, and who has their address still gets answers.
    ///
    /// The control plane would find out after 50 seconds without heartbeats. What it writes then is
    /// written at once.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the API server refuses.
    pub async fn lose(&self, node: &str) -> anyhow::Result<()> {
        let record = self.record(node)?;
        self.0.lost.lock().entry(node.to_owned()).or_default();
        register::report(&self.0, record, false).await?;
        self.hear(node, false);
        Ok(())
    }

    /// Brings a lost node back. It catches up with all that it missed.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the API server refuses.
    pub async fn recover(&self, node: &str) -> anyhow::Result<()> {
        let record = self.record(node)?;
        register::report(&self.0, record, true).await?;
        register::renew(&self.0, record)
            .await
            .with_context(|| format!("failed to renew the lease of node {node:?}"))?;
        let missed = self.0.lost.lock().remove(node).unwrap_or_default();
        self.hear(node, true);
        for manifest in missed.into_values() {
            self.0.accept(manifest)?;
        }
        Ok(())
    }

    /// Makes a pod's node evict it, as one that is short of memory does. Says whether there was
    /// such a pod.
    #[must_use]
    pub fn evict(&self, namespace: &str, pod: &str) -> bool {
        let pods = self.0.pods();
        let found = pods
            .iter()
            .find(|running| running.namespace == namespace && running.name == pod);
        if let Some(pod) = found {
            evict(&self.0, pod);
        }
        found.is_some()
    }

    fn record(&self, node: &str) -> anyhow::Result<&NodeRecord> {
        self.0
            .nodes
            .iter()
            .find(|record| record.name == node)
            .with_context(|| format!("there is no node {node:?}"))
    }

    fn hear(&self, node: &str, heard: bool) {
        for pod in self.0.pods() {
            if pod.manifest.spec.node_name == node {
                pod.unheard.store(!heard, Ordering::Relaxed);
                pod.changed.notify_one();
            }
        }
    }
}

fn evict(simulation: &Simulation, pod: &Arc<Pod>) {
    // Once is enough; a second time would be another Event.
    if *pod.wish.borrow() == Wish::Run && pod.evicted.set(now()).is_ok() {
        event::report(simulation, pod, Happening::Evicted(EVICTED));
        pod.want(Wish::Evict);
        pod.changed.notify_one();
    }
}

/// Evicts a pod when one of its images says so.
pub(super) async fn evict_when_due(simulation: &Simulation, pod: &Arc<Pod>) -> Infallible {
    let started = Instant::now();
    let due = pod.manifest.spec.containers.iter().map(|container| {
        let behaviour = simulation.images.follow(&container.image);
        Box::pin(due(behaviour, started))
    });
    let due: Vec<_> = due.collect();
    if !due.is_empty() {
        select_all(due).await;
        evict(simulation, pod);
    }
    std::future::pending().await
}

async fn due(mut behaviour: watch::Receiver<Arc<Behaviour>>, started: Instant) {
    loop {
        let after: Option<Duration> = behaviour.borrow_and_update().evicted_after;
        let end = async {
            match after {
                Some(after) => sleep_until(started + after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = end => return,
            changed = behaviour.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
        }
    }
}
