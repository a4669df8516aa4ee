//! A real Prometheus that finds the pods of a bed by its own Kubernetes discovery.
//!
//! A pod says that it has 10.x.y.z, because the API server refuses loopback addresses in
//! `EndpointSlices`, and listens on 127.x.y.z. The same holds for nodes. A relabelling rule maps one
//! to the other, so nothing but Prometheus itself takes part.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    bed::{Bed, Process, Program},
    tools::Tool,
};

const READY: Duration = Duration::from_secs(60);

/// The file of [`Discovery::File`], beside the configuration.
const TARGETS: &str = "targets.json";

/// Where Prometheus finds what to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The API server: pods that are annotated for it, and nodes.
    Kubernetes,
    /// A [file](Prometheus::targets_file) that can be rewritten at any time.
    File,
}

/// A Prometheus that can be stopped and started again with the same address and data.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    address: SocketAddr,
    program: Program,
    process: Mutex<Option<Process>>,
}

impl Prometheus {
    /// Starts Prometheus for a bed and waits until it answers queries.
    ///
    /// # Errors
    ///
    /// When it does not start; the message shows the end of its log.
    pub async fn start(
        bed: &Bed,
        scrape_interval: Duration,
        discovery: Discovery,
    ) -> anyhow::Result<Self> {
        let address = bed.free_port()?;
        let directory = bed.directory().join("prometheus");
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let file = directory.join("prometheus.yaml");
        let targets = directory.join(TARGETS);
        let jobs = match discovery {
            Discovery::Kubernetes => kubernetes_jobs(&bed.kubeconfig().display().to_string()),
            Discovery::File => file_job(&targets),
        };
        let text = configuration(scrape_interval, &jobs).to_string();
        for (file, text) in [(&file, text.as_str()), (&targets, "[]")] {
            std::fs::write(file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let prometheus = Self {
            url: format!("http://{address}"),
            address,
            program: Program {
                name: "prometheus".to_owned(),
                path: bed.tools().path(Tool::Prometheus).to_owned(),
                arguments: arguments(&file, &directory.join("data"), address),
                environment: Vec::new(),
                working_directory: directory,
                log: bed.directory().join("prometheus.log"),
            },
            process: Mutex::new(None),
        };
        prometheus.resume().await?;
        Ok(prometheus)
    }

    /// Returns where queries go.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the address that [`url`](Self::url) names.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills Prometheus. Its data stays.
    ///
    /// # Errors
    ///
    /// When the process does not die.
    pub async fn stop(&self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.lock().await.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Starts a stopped Prometheus at the same address with the same data. Does nothing if it runs.
    ///
    /// # Errors
    ///
    /// When it does not start; the message shows the end of its log.
    pub async fn resume(&self) -> anyhow::Result<()> {
        let mut slot = self.process.lock().await;
        if slot.is_some() {
            return Ok(());
        }
        let mut process = Process::start(&self.program).await?;
        self.wait_ready(&mut process).await?;
        *slot = Some(process);
        Ok(())
    }

    /// Stops and starts again.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.stop().await?;
        self.resume().await
    }

    /// Asks an instant query and returns the `data` of the answer.
    ///
    /// # Errors
    ///
    /// When Prometheus does not answer, or refuses the query.
    pub async fn query(&self, query: &str) -> anyhow::Result<Value> {
        let response = http_client()?
            .post(format!("{}/api/v1/query", self.url))
            .form(&[("query", query)])
            .send()
            .await
            .context("Prometheus does not answer")?;
        let text = response.text().await?;
        let mut answer: Value =
            serde_json::from_str(&text).with_context(|| format!("Prometheus answered {text:?}"))?;
        if answer["status"] != "success" {
            bail!("Prometheus refused {query:?}: {}", answer["error"]);
        }
        Ok(answer["data"].take())
    }

    /// Returns the file that names what to ask, in the format of `file_sd_configs`. A change of it is
    /// seen at once where [`Discovery::File`] was asked for.
    #[must_use]
    pub fn targets_file(&self) -> PathBuf {
        self.program.working_directory.join(TARGETS)
    }

    /// Returns the process id, or `None` when it is stopped.
    pub async fn process_id(&self) -> Option<u32> {
        self.process.lock().await.as_ref().map(Process::id)
    }

    /// Returns the resident memory in bytes, or `None` when it is stopped.
    pub async fn memory_bytes(&self) -> Option<u64> {
        self.process.lock().await.as_ref()?.memory_bytes()
    }

    async fn wait_ready(&self, process: &mut Process) -> anyhow::Result<()> {
        let client = http_client()?;
        let url = format!("{}/-/ready", self.url);
        let end = Instant::now() + READY;
        loop {
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            let ended = process.exited();
            if ended.is_some() || Instant::now() > end {
                bail!(
                    "Prometheus did not start ({ended:?}); the end of its log:\n{}",
                    process.log_tail(),
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn http_client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .context("cannot make a client for Prometheus")
}

fn arguments(file: &Path, data: &Path, address: SocketAddr) -> Vec<String> {
    vec![
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", data.display()),
        format!("--web.listen-address={address}"),
        "--storage.tsdb.retention.time=1d".to_owned(),
        // New pods are looked at a second after they were found.
        "--scrape.discovery-reload-interval=1s".to_owned(),
        "--log.level=warn".to_owned(),
    ]
}

fn configuration(scrape_interval: Duration, jobs: &Value) -> Value {
    let interval = format!("{}ms", scrape_interval.as_millis());
    json!({
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": jobs,
    })
}

fn kubernetes_jobs(kubeconfig: &str) -> Value {
    let discovery = |role: &str| json!([{"role": role, "kubeconfig_file": kubeconfig}]);
    json!([
        {
            "job_name": "pods",
            "kubernetes_sd_configs": discovery("pod"),
            "relabel_configs": pod_rules(),
        },
        {
            "job_name": "kubelet-probes",
            "metrics_path": "/metrics/probes",
            // The kubelet names namespace, pod and container of what it probed.
            "honor_labels": true,
            "kubernetes_sd_configs": discovery("node"),
            "relabel_configs": node_rules(),
        },
    ])
}

fn file_job(targets: &Path) -> Value {
    json!([{"job_name": "pods", "file_sd_configs": [{"files": [targets]}]}])
}

fn pod_rules() -> Value {
    let annotation = |name: &str| format!("__meta_kubernetes_pod_annotation_prometheus_io_{name}");
    json!([
        {"action": "keep", "source_labels": [annotation("scrape")], "regex": "true"},
        {"action": "keep", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Running"},
        {
            "source_labels": ["__meta_kubernetes_pod_ip", annotation("port")],
            "separator": ":",
            "regex": r"10\.([0-9.]+):([0-9]+)",
            "target_label": "__address__",
            "replacement": "127.${1}:${2}",
        },
        {
            "source_labels": [annotation("path")],
            "regex": "(.+)",
            "target_label": "__metrics_path__",
            "replacement": "${1}",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ])
}

fn node_rules() -> Value {
    json!([
        {
            "source_labels": ["__meta_kubernetes_node_address_InternalIP"],
            "regex": r"10\.([0-9.]+)",
            "target_label": "__address__",
            "replacement": "127.${1}:10250",
        },
        {"source_labels": ["__meta_kubernetes_node_name"], "target_label": "node"},
    ])
}
