//! Releases that cannot run, on a real control plane: what Kubernetes says of them is enough, and the
//! record names the cause.

use anyhow::ensure;
use astern_testbed::bed::Bed;
use serde_json::{Value, json};
use tokio::try_join;

use crate::{
    objects::{Kind, word},
    stage::{POLICY, Stage},
    support::{CRASHING, GOOD, MISSING, installed, run},
};

#[test]
fn a_release_that_cannot_run_is_taken_back_and_the_cause_is_named() {
    run(async {
        let bed = installed().await?;
        try_join!(
            an_image_that_no_registry_has(bed),
            a_crash_loop(bed),
            a_quota_that_refuses_new_pods(bed),
        )?;
        Ok(())
    });
}

async fn an_image_that_no_registry_has(bed: &Bed) -> anyhow::Result<()> {
    let stage = settled(bed, "missing").await?;
    stage.deploy(MISSING).await?;
    let evidence = taken_back(&stage, "stuck").await?;
    ensure!(evidence.contains("cannot start"), "{evidence}");
    ensure!(evidence.contains("ImagePull"), "{evidence}");
    ensure!(evidence.contains("imagePullSecrets"), "{evidence}");
    Ok(())
}

async fn a_crash_loop(bed: &Bed) -> anyhow::Result<()> {
    let stage = settled(bed, "crashing").await?;
    stage.deploy(CRASHING).await?;
    let evidence = taken_back(&stage, "crashes").await?;
    ensure!(evidence.ends_with(": Error (exit code 3)"), "{evidence}");
    Ok(())
}

/// There is room for what runs, and for nothing beside it.
async fn a_quota_that_refuses_new_pods(bed: &Bed) -> anyhow::Result<()> {
    let stage = settled(bed, "quota").await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"namespace": stage.namespace, "name": "team"},
        "spec": {"hard": {"pods": "2"}},
    });
    bed.apply(&quota.to_string()).await?;
    stage.deploy("registry.example/checkout:v2.0.0").await?;
    let evidence = taken_back(&stage, "stuck").await?;
    ensure!(evidence.contains("exceeded quota: team"), "{evidence}");
    Ok(())
}

/// A good release, under a policy that also watches for crash loops.
async fn settled<'a>(bed: &'a Bed, label: &str) -> anyhow::Result<Stage<'a>> {
    let stage = Stage::set(bed, label).await?;
    stage.settle("Automatic", GOOD).await?;
    // No traffic reaches what does not run, so nothing else may speak first.
    let triggers = json!([
        {"name": "crashes", "restarts": {"threshold": 3, "window": "5m", "pods": "20%"}},
        {"name": "stuck", "rolloutStalled": {}},
    ]);
    let change = json!({"spec": {"triggers": triggers}});
    stage.merge(Kind::Policies, POLICY, change).await?;
    Ok(stage)
}

/// Returns the evidence, once the good release is back because of `trigger`.
async fn taken_back(stage: &Stage<'_>, trigger: &str) -> anyhow::Result<String> {
    stage.until_states(&["Recovered"]).await?;
    ensure!(stage.image().await? == GOOD);
    let rollback = stage.list(Kind::Rollbacks).await?.remove(0);
    let status: &Value = &rollback["status"];
    ensure!(status["trigger"] == trigger, "{status}");
    Ok(word(&status["evidence"]["summary"]))
}
