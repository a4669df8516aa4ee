//! The plugin's verbs, one after another as people type them, beside an operator that answers.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{
    objects::{Kind, state, word},
    operator::release_as_the_chart_does,
    safety::{policy, settle},
    stage::{DEPLOYMENT, Stage},
    support::{ERRING, FIXED, GOOD, installed, run},
};

/// The longest verb follows a rollback to its end.
const LIMIT: Duration = Duration::from_secs(180);
const TARGET: &str = "deployment/checkout";

#[test]
fn what_people_type_is_done_and_told() {
    run(async {
        let stage = Stage::set(installed().await?, "verbs").await?;
        stage.settle("RequireApproval", GOOD).await?;
        stage.deploy(ERRING).await?;
        stage.until_states(&["AwaitingApproval"]).await?;
        approve(&stage).await?;
        stage.until_states(&["Recovered"]).await?;
        know(&stage).await?;
        hold(&stage).await?;
        breaker(&stage).await?;
        succeed(&stage, &["check", "--leftovers"], "Nothing is left.").await
    });
}

async fn approve(stage: &Stage<'_>) -> anyhow::Result<()> {
    let rollbacks = stage.list(Kind::Rollbacks).await?;
    let name = word(&rollbacks[0]["metadata"]["name"]);
    fail(
        stage,
        &["approve", "nobody"],
        "rollbacks.astern.dev \"nobody\" not found",
    )
    .await?;
    let open = ["check", "--leftovers"];
    let output = astern(stage, &open).await?;
    ensure!(output.status.code() == Some(1), "an open Rollback is left");
    ensure!(
        said(&output).contains(&format!("reject {name}")),
        "{}",
        said(&output)
    );
    let dry_run = ["approve", &name, "--dry-run=server", "--timeout=2m"];
    succeed(stage, &dry_run, "approved (server dry run)").await?;
    ensure!(state(&stage.get(Kind::Rollbacks, &name).await?) == "AwaitingApproval");
    let approve = ["approve", &name, "--timeout=2m"];
    succeed(stage, &approve, "approved; it is").await?;
    fail(stage, &["reject", &name], "awaits no approval").await
}

/// What is known about revisions, and what people say about them.
async fn know(stage: &Stage<'_>) -> anyhow::Result<()> {
    let bad = history(stage, ERRING).await?;
    ensure!(bad["verdict"] == "Bad" && bad["runs"] == false, "{bad}");
    ensure!(bad["quarantine"].is_string(), "{bad}");
    let good = history(stage, GOOD).await?;
    ensure!(good["runs"] == true && good["verdict"] == "Good", "{good}");

    let digest = word(&bad["digest"]);
    succeed(stage, &["quarantine", "list"], &digest[..8]).await?;
    let lift = [
        "quarantine",
        "lift",
        TARGET,
        "--revision",
        &digest[..8],
        "--reason",
        "fixed",
    ];
    succeed(
        stage,
        &[&lift[..], &["--dry-run=client"]].concat(),
        "lifted (dry run)",
    )
    .await?;
    succeed(stage, &["quarantine", "list"], &digest[..8]).await?;
    succeed(stage, &lift, "quarantine of revision 2 lifted\n").await?;
    succeed(
        stage,
        &["quarantine", "list"],
        "No revision is in quarantine.",
    )
    .await?;

    let mark = [
        "mark",
        TARGET,
        "Withdrawn",
        "--revision",
        "2",
        "--reason",
        "loses orders",
    ];
    succeed(stage, &mark, "revision 2 is Withdrawn").await?;
    ensure!(history(stage, ERRING).await?["verdict"] == "Withdrawn");
    let again = [
        "mark",
        TARGET,
        "Bad",
        "--revision",
        "99",
        "--reason",
        "typing error",
    ];
    fail(stage, &again, "no revision \"99\" is recorded; there are:").await
}

/// A rollback that is asked for meets what holds any other.
async fn hold(stage: &Stage<'_>) -> anyhow::Result<()> {
    let ask = [
        "rollback",
        TARGET,
        "--to",
        "2",
        "--reason",
        "customers complain",
    ];
    let try_out = [&ask[..], &["--dry-run=server"]].concat();
    succeed(stage, &try_out, "Observed - ").await?;
    let suspend = ["suspend", TARGET, "--for", "1h", "--reason", "load test"];
    succeed(stage, &suspend, "deployment.apps/checkout suspended until").await?;
    fail(stage, &ask, "the rollback ended as Failed").await?;
    succeed(
        stage,
        &["resume", TARGET],
        "deployment.apps/checkout resumed\n",
    )
    .await?;
    succeed(stage, &["resume", TARGET], "is not suspended").await?;
    let wide = [
        "suspend",
        "--namespace-wide",
        "--for",
        "1h",
        "--reason",
        "move",
        "--dry-run=server",
    ];
    succeed(stage, &wide, "suspended until").await?;
    let image = stage.image().await?;
    ensure!(image == GOOD, "{image}");
    Ok(())
}

async fn breaker(stage: &Stage<'_>) -> anyhow::Result<()> {
    let lease = format!("--lease-name={}-astern", stage.namespace);
    let place = format!("--astern-namespace={}", stage.namespace);
    let flags = [lease.as_str(), place.as_str()];
    let status = [&["breaker", "status"][..], &flags].concat();
    succeed(stage, &status, "The breaker is closed").await?;
    let open = "astern.dev/breaker=2026-11-23T05:00:00Z 11 automatic rollbacks within 10m";
    let lease = format!("{}-astern", stage.namespace);
    let words = ["annotate", "lease", &lease, open, "-n", &stage.namespace];
    let output = stage
        .bed
        .kubectl(stage.bed.kubeconfig(), &words, None)
        .await?;
    ensure!(output.status.success(), "{}", output.stderr);
    succeed(stage, &status, "11 automatic rollbacks").await?;
    let reset = [
        &["breaker", "reset", "--reason", "the broker is back"][..],
        &flags,
    ]
    .concat();
    succeed(stage, &reset, "breaker reset\n").await?;
    succeed(stage, &status, "the broker is back").await
}

async fn history(stage: &Stage<'_>, image: &str) -> anyhow::Result<Value> {
    let output = astern(stage, &["history", TARGET, "-o", "json"]).await?;
    ensure!(output.status.success(), "{}", said(&output));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let row = rows.into_iter().find(|row| row["images"][0] == image);
    row.with_context(|| format!("{image} has no history"))
}

pub(crate) async fn succeed(stage: &Stage<'_>, words: &[&str], part: &str) -> anyhow::Result<()> {
    let output = astern(stage, words).await?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{words:?}: {}", said(&output));
    ensure!(stdout.contains(part), "{words:?}: {}", said(&output));
    Ok(())
}

pub(crate) async fn fail(stage: &Stage<'_>, words: &[&str], part: &str) -> anyhow::Result<()> {
    let output = astern(stage, words).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1),
        "{words:?}: {}",
        said(&output)
    );
    ensure!(stderr.starts_with("error: "), "{words:?}: {stderr}");
    ensure!(stderr.contains(part), "{words:?}: {stderr}");
    Ok(())
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

async fn astern(stage: &Stage<'_>, words: &[&str]) -> anyhow::Result<Output> {
    let child = Command::new(env!("CARGO_BIN_EXE_kubectl-astern"))
        .args(words)
        .args(["-n", &stage.namespace, "--kubeconfig"])
        .arg(stage.bed.kubeconfig())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Ok(timeout(LIMIT, child)
        .await
        .context("the plugin does not end")??)
}

#[test]
fn a_live_drill_goes_back_and_forth_and_measures_both() {
    run(async {
        let stage = Stage::set(installed().await?, "live").await?;
        let policy = policy(&stage, "Automatic");
        settle(&stage, &policy, &stage.deployment(GOOD)).await?;
        let live = ["drill", TARGET, "--live", "--timeout=2m"];
        fail(&stage, &live, "nothing to go back to").await?;
        stage.deploy(FIXED).await?;
        stage.until_verdict(FIXED, "Good").await?;
        succeed(&stage, &["drill", TARGET], "A rollback would work.").await?;
        ensure!(stage.writes_to_deployment().is_empty());

        let output = astern(&stage, &live).await?;
        ensure!(output.status.success(), "{}", said(&output));
        println!("{}", said(&output));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let measured = |way: &str| {
            let mut rows = stdout.lines().filter(|line| line.starts_with(way));
            rows.any(|row| row.ends_with("Recovered"))
        };
        ensure!(measured("back ") && measured("forth "), "{stdout}");
        ensure!(stage.image().await? == FIXED);
        ensure!(stage.changes_of_deployment() == 4, "{:?}", stage.writes());
        let good = |image: &str| (image.to_owned(), "Good".to_owned());
        let verdicts = stage.verdicts().await?;
        ensure!(verdicts == [good(GOOD), good(FIXED)], "{verdicts:?}");
        Ok(())
    });
}

#[test]
fn going_away_ends_our_pauses_and_leaves_those_of_people() {
    run(async {
        let stage = Stage::prepare(installed().await?, "release").await?;
        let paused = |name: &str, annotations: Value| {
            let mut deployment = stage.deployment(GOOD);
            deployment["metadata"]["name"] = json!(name);
            deployment["metadata"]["annotations"] = annotations;
            deployment["spec"]["paused"] = json!(true);
            deployment.to_string()
        };
        let ours = json!({"astern.dev/paused-by": "checkout-1"});
        stage.bed.apply(&paused(DEPLOYMENT, ours)).await?;
        let theirs = json!({"team": "shop"});
        stage.bed.apply(&paused("theirs", theirs)).await?;
        let output = astern(&stage, &["check", "--leftovers"]).await?;
        ensure!(output.status.code() == Some(1), "{}", said(&output));
        ensure!(said(&output).contains("rollout resume deployment/checkout"));
        ensure!(!said(&output).contains("theirs"), "{}", said(&output));

        release_as_the_chart_does(stage.bed, &stage.namespace).await?;
        let live = stage.live().await?;
        ensure!(live["spec"].get("paused").is_none(), "{live}");
        let mark = &live["metadata"]["annotations"]["astern.dev/paused-by"];
        ensure!(mark.is_null(), "{live}");
        let theirs = stage.get(Kind::Deployments, "theirs").await?;
        ensure!(theirs["spec"]["paused"] == true, "{theirs}");
        succeed(&stage, &["check", "--leftovers"], "Nothing is left.").await
    });
}
