//! The kubelet's own HTTP server on each node, as far as Prometheus reads it.

use std::{fmt::Write as _, sync::Arc};

use anyhow::Context as _;
use axum::{Router, extract::State, routing::get};
use tokio::net::TcpListener;

use crate::node::{
    NodeRecord, Simulation,
    state::{PROBE_KINDS, PROBE_RESULTS, Pod},
};

/// The port of every kubelet.
pub const PORT: u16 = 10_250;

/// Serves `/metrics/probes` of a node until the listener is dropped with its task.
///
/// # Errors
///
/// When the port is taken.
pub(crate) async fn serve(simulation: &Arc<Simulation>, node: &NodeRecord) -> anyhow::Result<()> {
    let address = node.address.socket(PORT);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))?;
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/metrics/probes", get(probes))
        .with_state((Arc::clone(simulation), node.name.clone()));
    simulation.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "a node no longer serves its metrics");
        }
    });
    Ok(())
}

async fn probes(State((simulation, node)): State<(Arc<Simulation>, String)>) -> String {
    let mut page = String::from(
        "# HELP prober_probe_total [ALPHA] Cumulative number of a liveness, readiness or startup \
         probe for a container by result.\n# TYPE prober_probe_total counter\n",
    );
    for pod in simulation.pods() {
        if pod.manifest.spec.node_name == node {
            write_pod(&mut page, &pod);
        }
    }
    page
}

/// Writes what has been counted at least once, as the kubelet does.
fn write_pod(page: &mut String, pod: &Pod) {
    for (index, record) in pod.containers.iter().enumerate() {
        for (kind, kind_word) in PROBE_KINDS {
            for (result, result_word) in PROBE_RESULTS {
                let count = record.probes.read(kind, result);
                if count == 0 {
                    continue;
                }
                writeln!(
                    page,
                    "prober_probe_total{{container=\"{}\",namespace=\"{}\",pod=\"{}\",\
                     pod_uid=\"{}\",probe_type=\"{kind_word}\",result=\"{result_word}\"}} {count}",
                    pod.container(index).name,
                    pod.namespace,
                    pod.name,
                    pod.uid,
                )
                .expect("writing to a string cannot fail");
            }
        }
    }
}
