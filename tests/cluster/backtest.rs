//! The plugin on a real API server and a real Prometheus, over a release that no operator saw.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{
    stage::{DEPLOYMENT, Stage},
    support::{ERRING, FIXED, GOOD, installed, run},
};

/// A minute's work at most, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The policy that people try out: it is nowhere in the cluster. Every way of asking Prometheus is in it.
///
/// A release is judged by what was known of it until its probation ended. That one leaves Prometheus
/// the time to find new pods, which it looks for every five seconds, and to ask them a few times, on
/// a machine that does much else.
const POLICY: &str = r#"
apiVersion: astern.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: tried-out}
spec:
  targetRefs: [{name: checkout}]
  mode: Automatic
  probation: 30s
  triggers:
  - name: server-errors
    errorRate: {preset: Auto, threshold: "5%", window: 10s, for: 4s, minimumRequests: 10}
  - name: by-hand
    errorRate:
      custom:
        total: sum by (pod) (http_requests_total)
        errors: sum by (pod) (http_requests_total{code="500"})
      threshold: "90%"
      window: 10s
      minimumRequests: 10
  - name: slow
    latency: {preset: HTTPRequests, percentile: "99", threshold: 7s, window: 10s, minimumRequests: 10}
  - name: probes
    probeFailures: {probe: Liveness}
  - name: targets
    promql: {query: 'min(up{pod=~"$pods"})', below: "0.5", for: 4s}
  - name: pager
    alert: {matchLabels: {alertname: CheckoutDown}}
  - name: stuck
    rolloutStalled: {}
"#;

/// Those that are replayed.
const REPLAYED: [&str; 6] = [
    "server-errors",
    "by-hand",
    "slow",
    "probes",
    "targets",
    "pager",
];

/// May read the namespace, and nothing else.
const USER: &str = "alice";

#[test]
fn a_release_that_nobody_watched_is_replayed_from_a_plain_prometheus() {
    run(async {
        let bed = installed().await?;
        // No operator is started: the stage has the Deployment, and the metric source beside it.
        let stage = Stage::prepare(bed, "backtest").await?;
        bed.apply(&stage.service()).await?;
        bed.apply(&view(&stage)).await?;
        bed.apply(&stage.deployment(GOOD).to_string()).await?;
        until_counted(&stage, "", 200.0).await?;
        let prometheus = bed.prometheus().context("a bed with Prometheus")?.url();
        let direct = ["--prometheus", prometheus, "--as", USER];
        let alone = ["--prometheus", prometheus, "--no-cluster"];
        // The first requests are counted before the first windows are full. Dated by scrapes, a release
        // begins some seconds later, and must have been good for as long.
        let mut last = String::new();
        let healthy = stage
            .until("every trigger has seen something", async || {
                let seen = is_healthy(&report(&stage, &direct).await?);
                let seen = seen.and(is_good(&report(&stage, &alone).await?));
                last = seen
                    .as_ref()
                    .err()
                    .map_or_else(String::new, ToString::to_string);
                Ok(seen.is_ok())
            })
            .await;
        healthy.with_context(|| last)?;

        stage.deploy(ERRING).await?;
        until_counted(&stage, ",code=\"500\"", 60.0).await?;
        stage.deploy(FIXED).await?;
        until_rolled_out(&stage).await?;
        is_found(&report(&stage, &direct).await?)?;

        // Without a cluster the pods' names tell the releases; the images nobody knows.
        let report = report(&stage, &alone).await?;
        let summary = &report["summary"];
        let acted = ["wouldRollBack", "wouldAsk"].map(|what| summary[what].as_u64());
        ensure!(acted.iter().flatten().sum::<u64>() == 1, "{report:#}");

        // The table is what people see.
        let output = astern(&stage, &direct).await?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            text.contains("WouldRollBack") && text.contains("would have been saved"),
            "{text}"
        );
        ensure!(output.stderr.is_empty(), "nobody watches a terminal");
        if let Some(path) = std::env::var_os("SHOW") {
            std::fs::write(path, &text)?;
        }
        Ok(())
    });
}

/// Lets the user read the namespace.
fn view(stage: &Stage<'_>) -> String {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": stage.namespace, "name": "view"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    });
    binding.to_string()
}

fn is_good(report: &Value) -> anyhow::Result<()> {
    ensure!(report["releases"][0]["verdict"] == "Good", "{report:#}");
    Ok(())
}

/// A good release and nothing else: every trigger has seen something, and nobody would have acted.
fn is_healthy(report: &Value) -> anyhow::Result<()> {
    ensure!(report["summary"]["releases"] == 1, "{report:#}");
    let only = &report["releases"][0];
    ensure!(only["verdict"] == "Good", "{report:#}");
    ensure!(only["steps"] == json!([]), "{report:#}");
    ensure!(report["neverHadData"] == json!([]), "{report:#}");
    for trigger in REPLAYED {
        let passing = only["triggers"][trigger]["passing"].as_u64();
        ensure!(passing > Some(0), "{trigger}: {report:#}");
    }
    Ok(())
}

/// A bad release that nobody rolled back, between two good ones.
fn is_found(report: &Value) -> anyhow::Result<()> {
    let releases = report["releases"].as_array().context("no releases")?;
    let verdicts: Vec<&Value> = releases.iter().map(|one| &one["verdict"]).collect();
    ensure!(
        verdicts[..2] == ["Good", "WouldRollBack"] && verdicts.len() == 3,
        "{report:#}"
    );
    let bad = &releases[1];
    ensure!(bad["images"][0] == ERRING, "{bad:#}");
    let step = &bad["steps"][0];
    ensure!(step["trigger"] == "server-errors", "{bad:#}");
    let evidence = step["evidence"].as_str().unwrap_or_default();
    ensure!(evidence.contains("requests failed"), "{bad:#}");
    ensure!(step["to"] == "1", "{bad:#}");
    ensure!(bad["aftermath"]["replacedBy"] == "3", "{bad:#}");
    let saved = bad["aftermath"]["savedRequests"].as_u64();
    ensure!(saved > Some(0), "{bad:#}");
    ensure!(report["notReplayed"][0]["trigger"] == "stuck", "{report:#}");
    Ok(())
}

async fn until_rolled_out(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage
        .until("the last release is rolled out", async || {
            let live = stage.live().await?;
            let status = &live["status"];
            let counts = ["replicas", "updatedReplicas", "availableReplicas"];
            let seen = status["observedGeneration"] == live["metadata"]["generation"];
            Ok(seen && counts.iter().all(|count| status[count] == 2))
        })
        .await
}

#[test]
fn what_cannot_be_asked_is_an_error_on_stderr() {
    run(async {
        let bed = installed().await?;
        let stage = Stage::prepare(bed, "backtest-errors").await?;
        for (arguments, part) in [
            (
                vec!["--prometheus", "http://127.0.0.1:1"],
                "cannot be reached",
            ),
            (vec!["--prometheus", "nowhere"], "http://"),
            (vec!["--service", "monitoring/none:9090"], "HTTP status"),
            (vec![], "metricsource \"default\" not found"),
        ] {
            let output = astern(&stage, &arguments).await?;
            let stderr = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(1), "{stderr}");
            ensure!(
                stderr.starts_with("error: ") && stderr.contains(part),
                "{stderr}"
            );
            ensure!(output.stdout.is_empty(), "an error is no answer");
        }
        Ok(())
    });
}

/// Waits until so many requests were counted, of those that `matchers` narrow.
async fn until_counted(stage: &Stage<'_>, matchers: &str, wanted: f64) -> anyhow::Result<()> {
    let prometheus = stage.bed.prometheus().context("a bed with Prometheus")?;
    let namespace = &stage.namespace;
    let sum = format!("sum(http_requests_total{{namespace=\"{namespace}\"{matchers}}})");
    stage
        .until(&format!("{sum} is {wanted}"), async || {
            let data = prometheus.query(&sum).await?;
            let value = data["result"][0]["value"][1].as_str();
            Ok(value.and_then(|value| value.parse::<f64>().ok()) >= Some(wanted))
        })
        .await
}

async fn report(stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = astern(stage, &[arguments, &["-o", "json"]].concat()).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn astern(stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<Output> {
    let file = stage
        .bed
        .directory()
        .join(format!("{}.yaml", stage.namespace));
    std::fs::write(&file, POLICY)?;
    let target = format!("deployment/{DEPLOYMENT}");
    let child = Command::new(env!("CARGO_BIN_EXE_kubectl-astern"))
        .args([
            "backtest",
            &target,
            "-n",
            &stage.namespace,
            "--since",
            "10m",
            "-f",
        ])
        .arg(Path::new(&file))
        .arg("--kubeconfig")
        .arg(stage.bed.kubeconfig())
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Ok(timeout(LIMIT, child)
        .await
        .context("the plugin does not end")??)
}
