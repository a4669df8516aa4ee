//! Measures what the node simulator itself costs.

use std::{fs, time::Duration};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    bed::Bed,
    behaviour::{Behaviour, Images},
    node::{Nodes, NodesOptions},
    usage::{self, Processor},
};

const IMAGE: &str = "registry.example/idle:v1";
const NODES: u16 = 10;
const CREATES: usize = 32;
const PATIENCE: Duration = Duration::from_secs(600);

/// What this process took while its pods had nothing to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Idle {
    pub pods: usize,
    /// From the first pod's creation until the last one was ready.
    pub started_in: Duration,
    pub cores: f64,
    pub memory_bytes: u64,
}

/// Makes this many pods, waits until all are ready, and measures this process for a while.
///
/// # Errors
///
/// When the machine allows too few open files, or the pods do not become ready.
pub async fn measure_idle_pods(
    bed: &Bed,
    pods: usize,
    probes: bool,
    span: Duration,
) -> anyhow::Result<Idle> {
    ensure_open_files(pods)?;
    let options = NodesOptions {
        nodes: NODES,
        images: Images::new([(IMAGE.to_owned(), Behaviour::default())]),
        backoff_factor: 1.0,
        log_directory: bed.directory().join("pods"),
        api_server: bed.api_server().to_owned(),
        ca_pem: bed.ca_pem().to_owned(),
    };
    let nodes = Nodes::start(bed.client(), options).await?;
    let began = Instant::now();
    let api: Api<Pod> = Api::default_namespaced(bed.client());
    futures::stream::iter(0..pods)
        .map(|number| create(&api, number, probes))
        .buffer_unordered(CREATES)
        .try_collect::<()>()
        .await?;
    while nodes.pods().iter().filter(|pod| pod.ready).count() < pods {
        ensure!(began.elapsed() < PATIENCE, "the pods do not become ready");
        sleep(Duration::from_millis(200)).await;
    }
    let started_in = began.elapsed();

    // The last status patches and Events are not idleness.
    sleep(Duration::from_secs(10)).await;
    let processor = Processor::of(std::process::id())?;
    sleep(span).await;
    let cores = processor.cores()?;
    let memory_bytes = usage::memory(std::process::id())?.resident_bytes;
    nodes.stop().await;
    Ok(Idle {
        pods,
        started_in,
        cores,
        memory_bytes,
    })
}

/// Creates a pod that is bound already: the scheduler is not what is measured.
async fn create(api: &Api<Pod>, number: usize, probes: bool) -> anyhow::Result<()> {
    let node = number % usize::from(NODES) + 1;
    let mut pod = json!({
        "metadata": {"name": format!("idle-{number}"), "labels": {"app": "idle"}},
        "spec": {
            "nodeName": format!("node-{node}"),
            "containers": [{
                "name": "app", "image": IMAGE, "ports": [{"name": "http", "containerPort": 8080}],
            }],
        },
    });
    if probes {
        let container = &mut pod["spec"]["containers"][0];
        for (kind, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            container[kind] = json!({"httpGet": {"path": path, "port": 8080}, "periodSeconds": 10});
        }
    }
    let pod: Pod = serde_json::from_value(pod)?;
    api.create(&PostParams::default(), &pod)
        .await
        .with_context(|| format!("failed to create pod {number}"))?;
    Ok(())
}

/// Every pod listens, and probes come on top.
fn ensure_open_files(pods: usize) -> anyhow::Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let allowed = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<usize>().ok());
    // No number means no limit.
    if let Some(allowed) = allowed {
        let needed = pods + 1000;
        ensure!(
            allowed >= needed,
            "{pods} pods need {needed} open files and {allowed} are allowed; \
             run `ulimit -n {needed}` first"
        );
    }
    Ok(())
}
