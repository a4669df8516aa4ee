//! A Prometheus that scrapes targets with the labels that real set-ups give them.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use astern_testbed::{
    bed::{Bed, Process, Program},
    get::{Request, get},
    tools::Tool,
};
use serde_json::{Value, json};

use super::exposition::Target;
use crate::support::within;

/// A loaded machine reads the write-ahead log of nothing within this.
const START: Duration = Duration::from_secs(60);

/// How a set-up labels what it scrapes.
struct Job {
    name: &'static str,
    /// What service discovery knows, and the label that it becomes.
    labels: &'static [(&'static str, &'static str)],
    /// More fields of the scrape configuration.
    more: fn() -> Value,
}

const POD: &[(&str, &str)] = &[("namespace", "namespace"), ("pod", "pod")];

const JOBS: &[Job] = &[
    // The job `kubernetes-pods` of the community's chart.
    Job {
        name: "pods",
        labels: POD,
        more: || json!({}),
    },
    // The same as it was before 2021, and still is in copies of Istio's and Linkerd's samples.
    Job {
        name: "pods-by-old-names",
        labels: &[
            ("namespace", "kubernetes_namespace"),
            ("pod", "kubernetes_pod_name"),
        ],
        more: || json!({}),
    },
    // What the Prometheus Operator makes of a PodMonitor.
    Job {
        name: "pod-monitor",
        labels: &[
            ("namespace", "namespace"),
            ("pod", "pod"),
            ("container", "container"),
        ],
        more: || json!({}),
    },
    // What it makes of a ServiceMonitor.
    Job {
        name: "service-monitor",
        labels: &[
            ("namespace", "namespace"),
            ("pod", "pod"),
            ("service", "service"),
            ("container", "container"),
        ],
        more: || json!({}),
    },
    // The same with `honorLabels: true`.
    Job {
        name: "honoring",
        labels: &[
            ("namespace", "namespace"),
            ("pod", "pod"),
            ("service", "service"),
        ],
        more: || json!({"honor_labels": true}),
    },
    // The job of linkerd-viz.
    Job {
        name: "linkerd-proxy",
        labels: &[
            ("namespace", "namespace"),
            ("pod", "pod"),
            ("deployment", "deployment"),
            ("pod_template_hash", "pod_template_hash"),
        ],
        more: || json!({}),
    },
    // The exporter of an OpenTelemetry Collector, which speaks for many pods.
    Job {
        name: "collector",
        labels: &[],
        more: || json!({"honor_labels": true}),
    },
    Job {
        name: "native",
        labels: POD,
        more: || json!({"scrape_protocols": ["PrometheusProto"]}),
    },
    Job {
        name: "converting",
        labels: POD,
        more: || {
            json!({
                "convert_classic_histograms_to_nhcb": true,
                "always_scrape_classic_histograms": false,
            })
        },
    },
];

/// A running Prometheus.
pub(crate) struct Scraper {
    pub(crate) url: String,
    _process: Process,
}

impl Scraper {
    /// Starts one that scrapes `targets`, all of which are served at `served`, every second.
    pub(crate) async fn start(
        bed: &Bed,
        targets: &[Target],
        served: SocketAddr,
    ) -> anyhow::Result<Self> {
        let address = bed.free_port()?;
        let directory = bed.directory().join("presets");
        std::fs::create_dir_all(&directory)?;
        let jobs: Vec<Value> = JOBS
            .iter()
            .map(|job| configured(job, targets, served))
            .collect();
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": jobs,
        });
        let file = directory.join("prometheus.yaml");
        std::fs::write(&file, configuration.to_string())?;
        let program = Program {
            name: "prometheus of the presets".to_owned(),
            path: bed.tools().path(Tool::Prometheus).to_owned(),
            arguments: vec![
                format!("--config.file={}", file.display()),
                format!("--storage.tsdb.path={}", directory.join("data").display()),
                format!("--web.listen-address={address}"),
                "--enable-feature=native-histograms".to_owned(),
                "--log.level=warn".to_owned(),
            ],
            environment: Vec::new(),
            working_directory: directory,
            log: bed.directory().join("prometheus-of-presets.log"),
        };
        let process = Process::start(&program).await?;
        let ready = Request {
            address,
            path: "/-/ready",
            user_agent: "presets",
            headers: "",
        };
        within(START, "Prometheus is ready", async || {
            Ok(get(ready).await.is_ok_and(|status| status == 200))
        })
        .await
        .with_context(|| process.log_tail())?;
        Ok(Self {
            url: format!("http://{address}"),
            _process: process,
        })
    }
}

fn configured(job: &Job, targets: &[Target], served: SocketAddr) -> Value {
    let rules: Vec<Value> = job
        .labels
        .iter()
        .map(|(known, label)| {
            json!({"source_labels": [format!("__meta_{known}")], "target_label": label})
        })
        .collect();
    let own = targets.iter().filter(|target| target.job == job.name);
    let mut configured = json!({
        "job_name": job.name,
        "relabel_configs": rules,
        "static_configs": own.map(|target| placed(target, served)).collect::<Vec<_>>(),
    });
    let more = (job.more)();
    for (key, value) in more.as_object().into_iter().flatten() {
        configured[key] = value.clone();
    }
    configured
}

/// Pods have an address each; here they have a path each, and the label that their address would be.
fn placed(target: &Target, served: SocketAddr) -> Value {
    let mut labels = json!({"__metrics_path__": target.path, "instance": target.path});
    for (key, value) in &target.meta {
        let label = if key == "instance" {
            key.clone()
        } else {
            format!("__meta_{key}")
        };
        labels[label] = json!(value);
    }
    if target.job == "collector" {
        labels["instance"] = json!("collector:8889");
    }
    json!({"targets": [served.to_string()], "labels": labels})
}
