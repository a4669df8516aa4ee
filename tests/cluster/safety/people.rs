//! People go back by their own means, and Astern understands.

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::try_join;

use super::{kubectl, policy, settled, the_rollback};
use crate::{
    next_deploy::ways::Way,
    objects::{Kind, image_of, word},
    stage::{DEPLOYMENT, Stage},
    support::{CRASHING, FIXED, GOOD, installed, run},
};

#[test]
fn a_rollback_by_people_is_recognised_and_recorded() {
    run(async {
        try_join!(
            undone_on_probation(),
            undone_during_an_incident(),
            undone_by_helm(),
        )?;
        Ok(())
    });
}

async fn undone_on_probation() -> anyhow::Result<()> {
    let stage = settled("undone", "Automatic").await?;
    super::change_policy(&stage, json!({"probation": "1h"})).await?;
    stage.deploy(FIXED).await?;
    stage.until_verdict(FIXED, "Unproven").await?;
    kubectl(&stage, &["rollout", "undo", "deployment", DEPLOYMENT]).await?;
    was_left(&stage, "kubectl", FIXED).await
}

async fn undone_during_an_incident() -> anyhow::Result<()> {
    let stage = settled("undone", "RequireApproval").await?;
    stage.deploy(CRASHING).await?;
    stage.until_states(&["AwaitingApproval"]).await?;
    kubectl(&stage, &["rollout", "undo", "deployment", DEPLOYMENT]).await?;
    stage.until_states(&["Recovered"]).await?;
    let status = &the_rollback(&stage).await?["status"];
    ensure!(status["restoredBy"] == "kubectl", "{status}");
    ensure!(status["trigger"] == "crashes", "{status}");
    ensure!(verdict(&stage, GOOD).await? == "Good");
    let left = verdict(&stage, CRASHING).await?;
    ensure!(["Bad", "Withdrawn"].contains(&left.as_str()), "{left}");
    let writes = stage.writes_to_deployment();
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}

async fn undone_by_helm() -> anyhow::Result<()> {
    let stage = Stage::set(installed().await?, "undone").await?;
    let policy = policy(&stage, "Automatic");
    stage.bed.apply(&policy.to_string()).await?;
    let way = Way::Helm4;
    way.deploy(&stage, &stage.deployment(GOOD)).await?;
    stage.until_verdict(GOOD, "Good").await?;
    super::change_policy(&stage, json!({"probation": "1h"})).await?;
    way.deploy(&stage, &stage.deployment(FIXED)).await?;
    stage.until_verdict(FIXED, "Unproven").await?;
    way.helm_rollback(&stage).await?;
    was_left(&stage, "helm", FIXED).await
}

/// Checks what is on record after `by` went back from the release of `image`.
async fn was_left(stage: &Stage<'_>, by: &str, image: &str) -> anyhow::Result<()> {
    stage.until_states(&["Recovered"]).await?;
    stage.until_verdict(image, "Withdrawn").await?;
    let status = &the_rollback(stage).await?["status"];
    ensure!(status["restoredBy"] == by, "{status}");
    ensure!(status["from"]["images"] == json!([image]), "{status}");
    ensure!(status["to"]["images"] == json!([GOOD]), "{status}");
    stage.heartbeats(3).await?;
    // No probation: the policy asks for an hour of it now.
    ensure!(verdict(stage, GOOD).await? == "Good");
    ensure!(stage.image().await? == GOOD);
    let writes = stage.writes_to_deployment();
    ensure!(writes.is_empty(), "{writes:?}");
    ensure!(stage.states().await? == ["Recovered"]);
    let revision = recorded(stage, image).await?;
    let labels = &revision["metadata"]["labels"];
    ensure!(labels["astern.dev/quarantine"] == "true", "{labels}");
    Ok(())
}

async fn verdict(stage: &Stage<'_>, image: &str) -> anyhow::Result<String> {
    let revision = recorded(stage, image).await?;
    Ok(word(&revision["metadata"]["labels"]["astern.dev/verdict"]))
}

async fn recorded(stage: &Stage<'_>, image: &str) -> anyhow::Result<Value> {
    let mut revisions = stage.list(Kind::Revisions).await?;
    revisions.retain(|revision| image_of(revision) == image);
    ensure!(revisions.len() == 1, "{revisions:?}");
    Ok(revisions.remove(0))
}
