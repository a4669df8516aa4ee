//! The plugin on a real API server and a real Prometheus, over a release that no operator saw.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{
    stage::{DEPLOYMENT, Stage},
    support::{ERRING, GOOD, installed, run},
};

/// A minute's work at most, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The policy that people try out: it is nowhere in the cluster.
const POLICY: &str = "
apiVersion: astern.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: tried-out}
spec:
  targetRefs: [{name: checkout}]
  mode: Automatic
  probation: 4s
  triggers:
  - name: server-errors
    errorRate: {preset: HTTPRequests, threshold: \"5%\", window: 10s, for: 4s, minimumRequests: 10}
  - name: stuck
    rolloutStalled: {}
";

#[test]
fn a_release_that_nobody_watched_is_replayed_from_a_plain_prometheus() {
    run(async {
        let bed = installed().await?;
        // No operator is started: the stage has the Deployment, and the metric source beside it.
        let stage = Stage::prepare(bed, "backtest").await?;
        bed.apply(&stage.service()).await?;
        bed.apply(&stage.deployment(GOOD).to_string()).await?;
        let requests = format!("http_requests_total{{namespace=\"{}\"}}", stage.namespace);
        until_counted(&stage, &requests, 200.0).await?;
        stage.deploy(ERRING).await?;
        let failed = format!(
            "http_requests_total{{namespace=\"{}\",code=\"500\"}}",
            stage.namespace
        );
        until_counted(&stage, &failed, 60.0).await?;

        let prometheus = bed.prometheus().context("a bed with Prometheus")?.url();
        let direct = ["--prometheus", prometheus];
        let report = report(&stage, &direct).await?;
        let releases = report["releases"].as_array().context("no releases")?;
        let verdicts: Vec<&Value> = releases.iter().map(|one| &one["verdict"]).collect();
        ensure!(verdicts == ["Good", "WouldRollBack"], "{report:#}");
        let bad = &releases[1];
        ensure!(bad["images"][0] == ERRING, "{bad:#}");
        ensure!(bad["steps"][0]["trigger"] == "server-errors", "{bad:#}");
        ensure!(bad["steps"][0]["to"] == "1", "{bad:#}");
        let saved = bad["aftermath"]["savedRequests"].as_u64();
        ensure!(saved.is_some_and(|saved| saved > 0), "{bad:#}");
        ensure!(report["notReplayed"][0]["trigger"] == "stuck", "{report:#}");

        // Without a cluster the pods' names tell the releases; the images nobody knows.
        let alone = ["--prometheus", prometheus, "--no-cluster"];
        let report = self::report(&stage, &alone).await?;
        let last = report["releases"].as_array().and_then(|all| all.last());
        let last = last.context("no releases")?;
        ensure!(last["verdict"] == "WouldRollBack", "{report:#}");

        // The table is what people see.
        let output = astern(
            &stage,
            &[&direct[..], &["--until", &until(&report)]].concat(),
        )
        .await?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            text.contains("WouldRollBack") && text.contains("would have been saved"),
            "{text}"
        );
        if let Some(path) = std::env::var_os("SHOW") {
            std::fs::write(path, &text)?;
        }
        Ok(())
    });
}

fn until(report: &Value) -> String {
    report["until"].as_str().unwrap_or_default().to_owned()
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

async fn until_counted(stage: &Stage<'_>, series: &str, wanted: f64) -> anyhow::Result<()> {
    let prometheus = stage.bed.prometheus().context("a bed with Prometheus")?;
    let sum = format!("sum({series})");
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
