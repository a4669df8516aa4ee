//! Wires the process together: flags, logs, lease, metrics, probes, shutdown.
//!
//! Decides nothing about workloads.

pub mod flags;
pub mod lease;
pub mod serve;
pub mod telemetry;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use rand::Rng as _;
use tokio::signal::unix::{SignalKind, signal};

use self::flags::{Flags, Task};
use self::lease::{Election, Terms};
use self::telemetry::Telemetry;
use crate::act::{self, Hands};
use crate::controller::Controller;
use crate::observe::Eyes;
use crate::observe::config::{ConfigStore, Secrets};
use crate::observe::prometheus::feeds::Feeds;
use crate::observe::sources::{FindSource, Sources};
use crate::observe::store::Store;
use crate::port::kube::{KubePort, MetricsPort};
use crate::port::{Cluster, ObjectRef, Outside, kinds};

/// Runs the operator until it is told to stop.
///
/// # Errors
///
/// When it cannot start. The message says what to set right.
pub async fn run(flags: Flags) -> anyhow::Result<()> {
    telemetry::start_logs(&flags)?;
    let cluster: Arc<dyn Cluster> = Arc::new(
        KubePort::connect()
            .await
            .context("cannot find the API server: run in a cluster, or set KUBECONFIG")?,
    );
    if flags.task == Some(Task::Release) {
        return release(&flags, cluster.as_ref()).await;
    }
    let outside: Arc<dyn Outside> =
        Arc::new(MetricsPort::new().context("cannot set up the client for metric sources")?);
    let identity = flags.identity();
    let election = Arc::new(Election::new(Terms {
        namespace: flags.namespace.clone(),
        name: flags.lease_name.clone(),
        identity: identity.clone(),
    }));
    let telemetry = Arc::new(Telemetry::new());
    let controller = Arc::new(controller(&flags, &cluster, outside, &election, &telemetry));

    let listener = tokio::net::TcpListener::bind(flags.listen_address)
        .await
        .with_context(|| {
            format!(
                "cannot listen on {}: choose another --listen-address",
                flags.listen_address
            )
        })?;
    let server = serve::serve(
        listener,
        Arc::clone(&telemetry),
        Arc::clone(&controller),
        Arc::clone(&election),
    );
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %flags.listen_address,
        identity,
        "started"
    );
    let on_change = {
        let controller = Arc::clone(&controller);
        move |leads: bool| {
            if leads {
                controller.look_at_all();
            }
        }
    };
    tokio::select! {
        () = Arc::clone(&election).run(Arc::clone(&cluster), on_change) => (),
        () = Arc::clone(&controller).run() => (),
        result = server => result.context("the server for metrics and probes stopped")?,
        result = told_to_stop() => result?,
    }
    // The next leader need not wait for the lease to run out.
    election.release(cluster.as_ref()).await;
    tracing::info!("stopped");
    Ok(())
}

/// An uninstallation waits for it, and must not wait for long.
const RELEASE_LIMIT: Duration = Duration::from_secs(45);

async fn release(flags: &Flags, cluster: &dyn Cluster) -> anyhow::Result<()> {
    let work = act::release::release(cluster, &flags.watch_namespaces, &flags.pause_applications);
    let done = tokio::time::timeout(RELEASE_LIMIT, work).await;
    let released = done.with_context(|| {
        format!("not all pauses are lifted after {RELEASE_LIMIT:?}; see kubectl astern check --leftovers -A")
    })?;
    tracing::info!(lifted = released.lifted, "pauses are lifted");
    if released.problems.is_empty() {
        return Ok(());
    }
    anyhow::bail!("{}", released.problems.join("; "))
}

fn controller(
    flags: &Flags,
    cluster: &Arc<dyn Cluster>,
    outside: Arc<dyn Outside>,
    election: &Arc<Election>,
    telemetry: &Arc<Telemetry>,
) -> Controller {
    let store = Arc::new(Store::default());
    let find: FindSource = {
        let store = Arc::clone(&store);
        Arc::new(move |name| store.source(name))
    };
    let sources = Sources::new(Arc::clone(cluster), flags.namespace.clone(), find);
    let eyes = Eyes {
        cluster: Arc::clone(cluster),
        store,
        feeds: Arc::new(Feeds::default()),
        sources: Arc::new(sources),
        config: Arc::new(ConfigStore::default()),
        secrets: if flags.check_secrets {
            Secrets::Granted
        } else {
            Secrets::NotGranted
        },
        namespace: flags.namespace.clone(),
        argo_cd_namespace: flags.argo_cd_namespace.clone(),
        pause_applications: flags.pause_applications.clone(),
        accept_unverified_approvals: flags.accept_unverified_approvals,
    };
    let leads = {
        let election = Arc::clone(election);
        Arc::new(move || election.leads())
    };
    let hands = Hands {
        cluster: Arc::clone(cluster),
        leads,
        instance: flags.identity(),
        announced: Mutex::new(HashSet::new()),
    };
    let meter = Arc::clone(telemetry);
    let mut controller = Controller::new(eyes, hands, outside, meter, Box::new(fresh_code));
    controller.namespaces.clone_from(&flags.watch_namespaces);
    controller.lease = ObjectRef::new(kinds::LEASES, &flags.namespace, &flags.lease_name);
    controller.breaker_terms = flags.breaker_terms();
    controller.drills = flags.drill_terms();
    controller
}

/// Eight characters that nobody confuses when reading them aloud: about 39 bits, which is far more
/// than anyone can try against the API server within the time of a proposal.
fn fresh_code() -> String {
    const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..8)
        .filter_map(|_| ALPHABET.get(random.random_range(0..ALPHABET.len())))
        .map(|byte| char::from(*byte))
        .collect()
}

async fn told_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    Ok(())
}
