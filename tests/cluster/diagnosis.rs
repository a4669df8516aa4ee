//! What a Rollback says on a real control plane: why a release could not run, and where traffic leads.

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::try_join;

use crate::{
    objects::{Kind, word},
    stage::{DEPLOYMENT, POLICY, Stage},
    support::{CRASHING, ERRING, GOOD, installed, run},
};

#[test]
fn a_rollback_says_what_was_wrong_and_waits_for_its_traffic() {
    run(async {
        let bed = installed().await?;
        let (crashing, turned) =
            try_join!(Stage::set(bed, "diagnosed"), Stage::set(bed, "turned"),)?;
        try_join!(
            a_crash_loop_is_named_by_its_exit_code(&crashing),
            a_service_that_selects_the_bad_release_keeps_recovery_waiting(&turned),
        )?;
        Ok(())
    });
}

async fn a_crash_loop_is_named_by_its_exit_code(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.settle("Automatic", GOOD).await?;
    let triggers = json!([
        {"name": "crashes", "restarts": {"threshold": 3, "window": "5m", "pods": "20%"}},
        {"name": "stuck", "rolloutStalled": {}},
    ]);
    let change = json!({"spec": {"triggers": triggers}});
    stage.merge(Kind::Policies, POLICY, change).await?;
    stage.deploy(CRASHING).await?;
    stage.until_states(&["Recovered"]).await?;
    let status = status(stage).await?;
    let first = &status["diagnosis"][0];
    ensure!(
        word(&first["about"]).starts_with("pod/checkout-"),
        "{status}"
    );
    ensure!(word(&first["saw"]).contains("exit code 3"), "{status}");
    ensure!(!word(&first["attempt"]).is_empty(), "{status}");
    let hash = word(&status["from"]["hash"]);
    ensure!(word(&first["about"]).contains(&hash), "{status}");
    let message = word(&status["conditions"][0]["message"]);
    ensure!(message.contains("exit code 3"), "{message}");
    Ok(())
}

async fn a_service_that_selects_the_bad_release_keeps_recovery_waiting(
    stage: &Stage<'_>,
) -> anyhow::Result<()> {
    stage.settle("Automatic", GOOD).await?;
    // The Service with the traffic stays; another one follows the release, as a preview does.
    let preview = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": stage.namespace, "name": "preview"},
        "spec": {"selector": {"app": DEPLOYMENT, "version": "v2"}, "ports": [{"port": 80}]},
    });
    stage.bed.apply(&preview.to_string()).await?;
    let change = json!({"spec": {
        "rollback": {"deadline": "60s"},
    }});
    stage.merge(Kind::Policies, POLICY, change).await?;
    let mut release = stage.deployment(ERRING);
    release["spec"]["template"]["metadata"]["labels"]["version"] = json!("v2");
    stage.bed.apply(&release.to_string()).await?;
    stage.until_states(&["Failed"]).await?;
    let status = status(stage).await?;
    let outcome = word(&status["outcome"]);
    ensure!(
        outcome.contains("service \"preview\" asks for version=v2"),
        "{outcome}"
    );
    ensure!(
        status["impact"]["failedRequests"].as_u64() > Some(0),
        "{status}"
    );
    ensure!(stage.image().await? == GOOD);
    Ok(())
}

async fn status(stage: &Stage<'_>) -> anyhow::Result<Value> {
    Ok(stage.list(Kind::Rollbacks).await?.remove(0)["status"].take())
}
