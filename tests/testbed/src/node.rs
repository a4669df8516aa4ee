//! Simulated nodes: the kubelet's part for every pod that the scheduler binds to one of them.
//!
//! A pod becomes a real HTTP server, or a local program; probes, back-off, termination, status and
//! the kubelet's metrics are as on a real node. There is no isolation; a volume is mounted
//! by being there, and init containers succeed at once.

use std::{
    collections::HashSet,
    future::Future,
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    behaviour::{Behaviour, Images},
    clock::now,
    node::{
        manifest::{Manifest, slim},
        outage::Lost,
        pulled::Pulled,
        state::{ContainerRecord, Now, Pod, Pods, Wish},
    },
};

mod application;
mod backoff;
mod config;
mod container;
mod creation;
mod credentials;
mod environment;
mod event;
mod kubelet;
mod manifest;
mod measures;
mod mounts;
mod network;
mod outage;
mod pod;
mod probe;
mod program;
mod pulled;
mod register;
mod server;
mod state;
mod status;

pub use kubelet::PORT as KUBELET_PORT;
pub use network::{PodAddress, PodNetwork};

/// Writes to the API server under way at once: each holds a connection.
const WRITES: usize = 16;

/// What to simulate, for which API server.
#[derive(Clone, Debug)]
pub struct NodesOptions {
    /// How many nodes, named `node-1` and so on.
    pub nodes: u16,
    pub images: Images,
    /// Multiplies every back-off. One is as long as on a real node.
    pub backoff_factor: f64,
    /// Where programs write their output, a directory per pod.
    pub log_directory: PathBuf,
    /// What programs are told about the API server.
    pub api_server: String,
    pub ca_pem: String,
}

/// The simulated nodes of a test bed. Dropping them ends every pod at once.
pub struct Nodes(Arc<Simulation>);

/// A running pod, for tests to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSeen {
    pub namespace: String,
    pub name: String,
    pub node: String,
    /// The address as the API server knows it.
    pub address: std::net::Ipv4Addr,
    pub ready: bool,
    pub restarts: u32,
}

/// What all parts of the simulation share.
pub(crate) struct Simulation {
    pub(crate) client: kube::Client,
    pub(crate) images: Images,
    pub(crate) nodes: Vec<NodeRecord>,
    pub(crate) backoff_factor: f64,
    pub(crate) log_directory: PathBuf,
    pub(crate) api_server: String,
    pub(crate) ca_pem: String,
    pub(crate) writes: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) lost: Lost,
    pub(crate) pulled: Pulled,
    network: PodNetwork,
    pods: Pods,
    stop: CancellationToken,
}

#[derive(Clone, Debug)]
pub(crate) struct NodeRecord {
    pub(crate) name: String,
    pub(crate) address: PodAddress,
}

impl Nodes {
    /// Registers the nodes and starts to run their pods.
    ///
    /// # Errors
    ///
    /// When the API server refuses the nodes, or the machine has no addresses left for them.
    pub async fn start(client: kube::Client, options: NodesOptions) -> anyhow::Result<Self> {
        let network = PodNetwork::reserve().await?;
        let nodes = (1..=options.nodes)
            .map(|number| NodeRecord {
                name: format!("node-{number}"),
                address: network.node(number),
            })
            .collect();
        let simulation = Arc::new(Simulation {
            client,
            images: options.images,
            nodes,
            backoff_factor: options.backoff_factor,
            log_directory: options.log_directory,
            api_server: options.api_server,
            ca_pem: options.ca_pem,
            writes: Arc::new(Semaphore::new(WRITES)),
            tasks: TaskTracker::new(),
            lost: Lost::default(),
            pulled: Pulled::default(),
            network,
            pods: Pods::default(),
            stop: CancellationToken::new(),
        });
        // From here on, dropping on an error stops what has been started.
        let this = Self(simulation);
        for node in &this.0.nodes {
            register::register(&this.0, node).await?;
            kubelet::serve(&this.0, node).await?;
        }
        let simulation = Arc::clone(&this.0);
        this.0
            .spawn(async move { register::heartbeat(&simulation).await });
        let simulation = Arc::clone(&this.0);
        this.0.spawn(async move { follow(&simulation).await });
        Ok(this)
    }

    /// Changes what an image does, in running containers too.
    pub fn set_image(&self, image: &str, behaviour: Behaviour) {
        self.0.images.set(image, behaviour);
    }

    /// Returns the block of addresses of pods and nodes: 10.x.y.z is served on 127.x.y.z.
    #[must_use]
    pub fn pod_network(&self) -> &PodNetwork {
        &self.0.network
    }

    /// Returns every pod that a node runs now.
    #[must_use]
    pub fn pods(&self) -> Vec<PodSeen> {
        let see = |pod: Arc<Pod>| {
            let states: Vec<_> = (0..pod.containers.len())
                .map(|index| pod.state(index))
                .collect();
            PodSeen {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                node: pod.manifest.spec.node_name.clone(),
                address: pod.address.0,
                ready: states
                    .iter()
                    .all(|state| state.ready && matches!(state.now, Now::Running { .. })),
                restarts: states.iter().map(|state| state.restarts).sum(),
            }
        };
        self.0.pods().into_iter().map(see).collect()
    }

    /// Returns the process of a pod that runs a local program.
    #[must_use]
    pub fn pid_of(&self, namespace: &str, pod: &str) -> Option<u32> {
        self.0
            .pods()
            .iter()
            .filter(|running| running.namespace == namespace && running.name == pod)
            .flat_map(|running| &running.containers)
            .map(|container| container.process.load(Ordering::Relaxed))
            .find(|process| *process != 0)
    }

    /// Returns where a program that runs as a pod writes its output.
    #[must_use]
    pub fn log_of(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        self.0
            .log_directory
            .join(format!("{namespace}_{pod}"))
            .join(format!("{container}.log"))
    }

    /// Ends every pod at once, without a word to the API server, and waits until all is still.
    pub async fn stop(self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl Simulation {
    /// Runs a task until it ends or the simulation does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }

    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.values().cloned().collect()
    }

    /// Waits for one of the places to write to the API server.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.writes.acquire().await.ok()
    }

    fn accept(self: &Arc<Self>, manifest: Manifest) -> anyhow::Result<()> {
        let metadata = &manifest.metadata;
        let uid = metadata.uid.clone().context("pod without a uid")?;
        let wish = wish_of(&manifest);
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = pods.get(&uid) {
            pod.want(wish);
            return Ok(());
        }
        let Some(node) = self
            .nodes
            .iter()
            .find(|node| node.name == manifest.spec.node_name)
        else {
            return Ok(());
        };
        let done = matches!(manifest.status.phase.as_str(), "Succeeded" | "Failed");
        if done && wish == Wish::Run {
            return Ok(());
        }
        let pod = Arc::new(Pod {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: uid.clone(),
            address: self.network.claim()?,
            node_address: node.address,
            accepted: now(),
            containers: manifest
                .spec
                .containers
                .iter()
                .map(|_| ContainerRecord::default())
                .collect(),
            wish: tokio::sync::watch::Sender::new(wish),
            mounted: OnceLock::new(),
            evicted: OnceLock::new(),
            unheard: AtomicBool::new(false),
            changed: tokio::sync::Notify::new(),
            manifest,
        });
        pods.insert(uid, Arc::clone(&pod));
        drop(pods);
        let simulation = Arc::clone(self);
        self.spawn(async move {
            pod::run(Arc::clone(&simulation), Arc::clone(&pod)).await;
            simulation.forget(&pod);
        });
        Ok(())
    }

    fn vanish(&self, uid: &str) {
        self.lost.forget(uid);
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = pods.get(uid) {
            pod.wish.send_replace(Wish::Vanish);
        }
    }

    fn forget(&self, pod: &Pod) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.remove(&pod.uid);
        drop(pods);
        self.network.release(pod.address);
    }
}

fn wish_of(manifest: &Manifest) -> Wish {
    if manifest.metadata.deletion_timestamp.is_none() {
        return Wish::Run;
    }
    let grace = manifest.metadata.deletion_grace_period_seconds.unwrap_or(0);
    Wish::Terminate {
        grace_seconds: u64::try_from(grace).unwrap_or(0),
    }
}

/// Follows all pods of all nodes with one watch, for ever.
async fn follow(simulation: &Arc<Simulation>) {
    let api: Api<Manifest> = Api::all(simulation.client.clone());
    let bound = watcher::Config::default().fields("spec.nodeName!=");
    let mut events = watcher(api, bound).default_backoff().boxed();
    let mut listed = HashSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(manifest))) => {
                listed.extend(manifest.metadata.uid.clone());
                take(simulation, manifest);
            }
            Ok(Some(watcher::Event::InitDone)) => {
                for pod in simulation.pods() {
                    if !listed.contains(&pod.uid) {
                        simulation.vanish(&pod.uid);
                    }
                }
            }
            Ok(Some(watcher::Event::Apply(manifest))) => take(simulation, manifest),
            Ok(Some(watcher::Event::Delete(manifest))) => {
                simulation.vanish(manifest.metadata.uid.as_deref().unwrap_or_default());
            }
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "the watch of the pods broke and starts again"),
        }
    }
}

fn take(simulation: &Arc<Simulation>, mut manifest: Manifest) {
    slim(&mut manifest);
    let Some(manifest) = simulation.lost.keep(manifest) else {
        return;
    };
    let name = manifest.metadata.name.clone();
    if let Err(error) = simulation.accept(manifest) {
        tracing::warn!(pod = name, error = format!("{error:#}"), "cannot run a pod");
    }
}
