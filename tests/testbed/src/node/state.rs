//! What a node knows about a pod that it runs, shared by the pod's containers, its status and the
//! kubelet's metrics.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::node::{
    manifest::{self, Manifest},
    network::PodAddress,
};

/// What the API server wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    /// The node is short of memory: the pod ends at once, and stays as a failed one.
    Evict,
    /// The pod is being deleted and has this many seconds left.
    Terminate {
        grace_seconds: u64,
    },
    /// The pod has vanished from the API server.
    Vanish,
}

/// A pod on one of the simulated nodes.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) manifest: Manifest,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) address: PodAddress,
    pub(crate) node_address: PodAddress,
    pub(crate) accepted: Timestamp,
    pub(crate) containers: Vec<ContainerRecord>,
    pub(crate) wish: watch::Sender<Wish>,
    /// Since when its volumes are there, and with them its network.
    pub(crate) mounted: OnceLock<Timestamp>,
    /// Since when, if its node evicted it.
    pub(crate) evicted: OnceLock<Timestamp>,
    /// Nobody hears from the pod's node any more.
    pub(crate) unheard: AtomicBool,
    /// Rings when there is something new to tell the API server.
    pub(crate) changed: Notify,
}

/// What changes about one container, in the order of the pod's spec.
#[derive(Debug, Default)]
pub(crate) struct ContainerRecord {
    state: Mutex<ContainerState>,
    pub(crate) probes: ProbeCounters,
    /// Zero, or the process that runs this container.
    pub(crate) process: AtomicU32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerState {
    pub(crate) now: Now,
    pub(crate) last: Option<Ended>,
    pub(crate) restarts: u32,
    pub(crate) started: bool,
    pub(crate) ready: bool,
}

impl Default for ContainerState {
    fn default() -> Self {
        Self {
            now: Now::Waiting {
                reason: "ContainerCreating",
                message: None,
            },
            last: None,
            restarts: 0,
            started: false,
            ready: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        since: Timestamp,
    },
    Ended(Ended),
}

/// How an application ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) out_of_memory: bool,
}

impl Exit {
    /// What the kernel leaves of a process that took too much memory: 128 and the number of SIGKILL.
    pub(crate) const OUT_OF_MEMORY: Self = Self {
        code: 137,
        out_of_memory: true,
    };
}

impl From<i32> for Exit {
    fn from(code: i32) -> Self {
        Self {
            code,
            out_of_memory: false,
        }
    }
}

/// How a container came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
}

impl Ended {
    pub(crate) fn reason(&self) -> &'static str {
        match self.exit {
            Exit {
                out_of_memory: true,
                ..
            } => "OOMKilled",
            Exit { code: 0, .. } => "Completed",
            Exit { .. } => "Error",
        }
    }
}

impl Pod {
    pub(crate) fn container(&self, index: usize) -> &manifest::Container {
        &self.manifest.spec.containers[index]
    }

    pub(crate) fn state(&self, index: usize) -> ContainerState {
        self.containers[index]
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes what is known about a container, and has it told if it is something new.
    pub(crate) fn update(&self, index: usize, change: impl FnOnce(&mut ContainerState)) {
        let mut state = self.containers[index]
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = state.clone();
        change(&mut state);
        if *state != before {
            self.changed.notify_one();
        }
    }
}

impl Pod {
    /// Changes what is wanted of the pod. What has vanished stays so, and what was evicted never
    /// runs again.
    pub(crate) fn want(&self, wish: Wish) {
        self.wish.send_if_modified(|current| {
            let changes = match *current {
                Wish::Vanish => false,
                Wish::Evict => wish != Wish::Run && wish != Wish::Evict,
                // Whoever is being deleted already has nothing to be evicted from.
                Wish::Terminate { .. } => wish != Wish::Evict && wish != *current,
                Wish::Run => wish != Wish::Run,
            };
            if changes {
                *current = wish;
            }
            changes
        });
    }
}

/// Waits until a pod shall no longer run, and returns how long it may take to end.
pub(crate) async fn no_longer_wanted(pod: &Pod) -> Wish {
    let mut wish = pod.wish.subscribe();
    match wish.wait_for(|wish| *wish != Wish::Run).await {
        Ok(wish) => *wish,
        Err(_) => Wish::Vanish,
    }
}

/// Waits until the API server wants a pod to go.
pub(crate) async fn released(pod: &Pod) {
    let mut wish = pod.wish.subscribe();
    // A dropped sender means the same: nobody wants the pod any more.
    let _ = wish
        .wait_for(|wish| !matches!(wish, Wish::Run | Wish::Evict))
        .await;
}

/// Waits until a pod has vanished from the API server.
pub(crate) async fn vanished(pod: &Pod) {
    let mut wish = pod.wish.subscribe();
    // A dropped sender means the same: nobody wants the pod any more.
    let _ = wish.wait_for(|wish| *wish == Wish::Vanish).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Liveness,
    Readiness,
    Startup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    Successful,
    Failed,
    Unknown,
}

pub(crate) const PROBE_KINDS: [(ProbeKind, &str); 3] = [
    (ProbeKind::Liveness, "Liveness"),
    (ProbeKind::Readiness, "Readiness"),
    (ProbeKind::Startup, "Startup"),
];

pub(crate) const PROBE_RESULTS: [(ProbeResult, &str); 3] = [
    (ProbeResult::Successful, "successful"),
    (ProbeResult::Failed, "failed"),
    (ProbeResult::Unknown, "unknown"),
];

/// The kubelet's count of probes, by kind and result. Restarts do not reset it.
#[derive(Debug, Default)]
pub(crate) struct ProbeCounters([[AtomicU64; 3]; 3]);

impl ProbeCounters {
    pub(crate) fn count(&self, kind: ProbeKind, result: ProbeResult) {
        self.0[kind as usize][result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, kind: ProbeKind, result: ProbeResult) -> u64 {
        self.0[kind as usize][result as usize].load(Ordering::Relaxed)
    }
}

/// Every pod by UID.
pub(crate) type Pods = Mutex<std::collections::HashMap<String, Arc<Pod>>>;

/// Makes a pod of its manifest, for the tests of what runs in it.
#[cfg(test)]
pub(crate) fn pod_at(address: PodAddress, manifest: serde_json::Value) -> Pod {
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    Pod {
        namespace: "shop".to_owned(),
        name: "checkout-5f7-abcde".to_owned(),
        uid: "4711".to_owned(),
        address,
        node_address: PodAddress(std::net::Ipv4Addr::new(10, 240, 250, 1)),
        accepted: Timestamp::UNIX_EPOCH,
        containers: vec![ContainerRecord::default()],
        wish: watch::Sender::new(Wish::Run),
        mounted: OnceLock::from(Timestamp::UNIX_EPOCH),
        evicted: OnceLock::new(),
        unheard: AtomicBool::new(false),
        changed: Notify::new(),
        manifest,
    }
}
