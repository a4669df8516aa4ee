//! What a rollback costs the API server, and how long it takes.

use anyhow::{Context as _, ensure};
use astern_testbed::audit::Tally;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::breaker::Fleet;
use super::{approve, policy, settle, slow_to_roll_out};
use crate::{
    objects::word,
    stage::Stage,
    support::{CRASHING, GOOD, installed, run},
};

/// What comes apart from the writes of a rollback: the Lease by the clock, Events as they please,
/// copies of config as there is config.
const APART: [&str; 3] = ["leases", "events", "configmaps"];

#[test]
fn a_plain_rollback_takes_two_writes_to_the_deployment_and_eight_in_all() {
    run(async {
        let stage = Stage::set(installed().await?, "writes").await?;
        let mut policy = policy(&stage, "Automatic");
        // Long enough for readings to come and go.
        policy["spec"]["rollback"]["recovery"]["for"] = json!("8s");
        settle(&stage, &policy, &stage.deployment(GOOD)).await?;
        stage.heartbeats(3).await?;
        stage.deploy(CRASHING).await?;
        stage.until_states(&["Recovered"]).await?;
        stage.heartbeats(4).await?;
        is_frugal(&stage, 2, 8)
    });
}

#[test]
fn a_rollback_with_pause_and_approval_takes_fourteen_writes() {
    run(async {
        let stage = Stage::set(installed().await?, "writes").await?;
        let mut policy = policy(&stage, "RequireApproval");
        policy["spec"]["pauseRollout"] = json!(true);
        settle(&stage, &policy, &slow_to_roll_out(&stage)).await?;
        stage.heartbeats(3).await?;
        stage.deploy(CRASHING).await?;
        stage.until_states(&["AwaitingApproval"]).await?;
        let rollback = super::the_rollback(&stage).await?;
        let name = word(&rollback["metadata"]["name"]);
        stage
            .until("the rollout is paused", async || {
                Ok(stage.live().await?["spec"]["paused"] == true)
            })
            .await?;
        approve(&stage, &name).await?;
        stage.until_states(&["Recovered"]).await?;
        stage.heartbeats(4).await?;
        ensure!(stage.live().await?["spec"]["paused"].is_null());
        is_frugal(&stage, 3, 14)
    });
}

/// Counts from the first write of the incident until its end is on record.
fn is_frugal(stage: &Stage<'_>, to_deployment: usize, in_all: usize) -> anyhow::Result<()> {
    let writes = stage.writes();
    let begin = writes
        .iter()
        .position(|write| write.resource == "rollbacks");
    let begin = begin.context("nothing was proposed")?;
    let end = writes
        .iter()
        .rposition(|write| write.resource == "rollbacks/status");
    let end = end.context("nothing has ended")?;
    let tally = Tally::of(&writes[begin..=end]);
    let after = Tally::of(&writes[end + 1..]);
    println!("{}: {tally}; afterwards {after}", stage.namespace);
    ensure!(tally.on("deployments") == to_deployment, "{tally}");
    ensure!(tally.besides(&APART) <= in_all, "{tally}");
    Ok(())
}

const ROLLBACKS: usize = 50;
const LATENCY_MAX: SignedDuration = SignedDuration::from_millis(200);

/// From the first look that wanted to go back, so that the holds that need reads are within it, until
/// the write of the template has left the operator.
#[test]
#[ignore = "measures time, so it wants the machine for itself"]
fn from_decision_to_patch_it_takes_less_than_a_fifth_of_a_second() {
    run(async {
        let flags = ["--breaker-share=100", "--breaker-count=1000"];
        let stage = Stage::prepare_with(installed().await?, "latency", &flags).await?;
        stage.operator.start().await?;
        // One stays well, or all going bad would trip the breaker.
        let fleet = Fleet::settle(&stage, ROLLBACKS + 1).await?;
        stage.api_server.meter();
        for index in 0..ROLLBACKS {
            fleet.deploy(index..index + 1, CRASHING).await?;
            // One after the other, as releases come; a storm is the breaker's concern.
            stage
                .until("it is back", async || {
                    Ok(fleet.states().await?.get("Recovered") == Some(&(index + 1)))
                })
                .await?;
        }
        let mut latencies = latencies(&stage)?;
        latencies.sort();
        let at = |share: usize| latencies[(latencies.len() * share).div_ceil(100) - 1];
        println!(
            "{} rollbacks, from decision to patch: median {:#}, 95th percentile {:#}, most {:#}",
            latencies.len(),
            at(50),
            at(95),
            at(100)
        );
        ensure!(latencies.len() == ROLLBACKS, "{latencies:?}");
        ensure!(at(95) < LATENCY_MAX, "{latencies:?}");
        Ok(())
    });
}

/// The log says when a workload was first wanted back, the proxy when the patch came by.
fn latencies(stage: &Stage<'_>) -> anyhow::Result<Vec<SignedDuration>> {
    let log = std::fs::read_to_string(stage.operator.log())?;
    let passages = stage.api_server.passages();
    let mut latencies = Vec::new();
    for index in 0..ROLLBACKS {
        let target = format!("/deployments/shop-{index}?");
        let patch = passages.iter().find(|passage| {
            let real = passage.path.contains(&target) && !passage.path.contains("dryRun=");
            real && String::from_utf8_lossy(&passage.body).contains("/spec/template")
        });
        let patch = patch.with_context(|| format!("{target} was never patched"))?;
        let name = format!("name: \"shop-{index}\"");
        let decided = log
            .lines()
            .filter(|line| line.contains(&name) && line.contains("Inspect {"))
            .find_map(|line| line.split_whitespace().next()?.parse::<Timestamp>().ok());
        let decided = decided.with_context(|| format!("nothing in the log about {name}"))?;
        latencies.push(patch.at.duration_since(decided));
    }
    Ok(latencies)
}
