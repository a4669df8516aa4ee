//! A bad release on a real cluster, with real metrics: what is written, and what is left alone.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::try_join;

use crate::{
    objects::{Kind, word},
    stage::{DEPLOYMENT, Stage},
    support::{ERRING, FIXED, GOOD, installed, run},
};

const ROLLED_BACK_BY: &str = "astern.dev/rolled-back-by";
/// Written by the Deployment controller.
const REVISION: &str = "deployment.kubernetes.io/revision";

#[test]
fn a_bad_release_is_rolled_back_once_and_nothing_else_is_touched() {
    run(async {
        let stage = Stage::set(installed().await?, "rollback").await?;
        let mut deployment = stage.deployment(GOOD);
        deployment["metadata"]["annotations"] = json!({"team": "shop"});
        // Fields that the operator knows nothing about.
        let pod = &mut deployment["spec"]["template"]["spec"];
        pod["setHostnameAsFQDN"] = json!(true);
        pod["dnsConfig"] = json!({"options": [{"name": "ndots", "value": "1"}]});
        pod["containers"][0]["resizePolicy"] =
            json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        stage.settle_with("Automatic", &deployment).await?;
        let change = json!({"spec": {"replicas": 3}});
        stage.merge(Kind::Deployments, DEPLOYMENT, change).await?;
        let before = stage.live().await?;

        stage.deploy(ERRING).await?;
        stage.until_states(&["Recovered"]).await?;
        let after = stage.live().await?;
        ensure!(
            apart_from_marks(&after) == apart_from_marks(&before),
            "before {before}, after {after}"
        );
        // One for the template, one for its owners.
        let changes = stage.changes_of_deployment();
        ensure!(changes == 2, "{:?}", stage.writes_to_deployment());

        let rollback = stage.list(Kind::Rollbacks).await?.remove(0);
        let mark = &after["metadata"]["annotations"][ROLLED_BACK_BY];
        ensure!(*mark == rollback["metadata"]["name"], "{mark}");
        let status = &rollback["status"];
        ensure!(status["trigger"] == "server-errors", "{status}");
        ensure!(status["from"]["images"] == json!([ERRING]), "{status}");
        ensure!(status["to"]["images"] == json!([GOOD]), "{status}");
        for time in ["proposedTime", "decidedTime", "patchedTime", "endedTime"] {
            ensure!(status["timings"][time].is_string(), "{time}: {status}");
        }
        let expected = [(GOOD, "Good"), (ERRING, "Bad")];
        let expected = expected.map(|(image, verdict)| (image.to_owned(), verdict.to_owned()));
        ensure!(stage.verdicts().await? == expected);
        recorded_as_it_was(&stage, &before).await
    });
}

/// What people have said about the Deployment, without what controllers write.
fn apart_from_marks(deployment: &Value) -> Value {
    let mut annotations = deployment["metadata"]["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|key, _| key != REVISION && key != ROLLED_BACK_BY);
    }
    json!([
        annotations,
        deployment["metadata"]["labels"],
        deployment["spec"]
    ])
}

async fn recorded_as_it_was(stage: &Stage<'_>, before: &Value) -> anyhow::Result<()> {
    let revisions = stage.list(Kind::Revisions).await?;
    let template = &before["spec"]["template"];
    ensure!(word(&template["spec"]["containers"][0]["image"]) == GOOD);
    revisions
        .iter()
        .find(|revision| revision["data"]["template"] == *template)
        .with_context(|| format!("{template} is not recorded in {revisions:?}"))?;
    Ok(())
}

#[test]
fn observing_never_writes_to_the_deployment() {
    run(async {
        let stage = Stage::set(installed().await?, "observe").await?;
        stage.settle("Observe", GOOD).await?;
        stage.deploy(ERRING).await?;
        stage.until_states(&["Observed"]).await?;
        stage.heartbeats(5).await?;
        let writes = stage.writes_to_deployment();
        ensure!(writes.is_empty(), "{writes:?}");
        ensure!(stage.image().await? == ERRING);
        ensure!(stage.states().await? == ["Observed"]);
        Ok(())
    });
}

#[test]
fn what_happens_between_decision_and_patch_is_respected() {
    run(async {
        let bed = installed().await?;
        let (newer, disturbed) =
            try_join!(Stage::set(bed, "newer"), Stage::set(bed, "disturbed"),)?;
        try_join!(
            a_newer_deploy_wins(&newer),
            an_annotation_and_a_scaling_do_not_disturb(&disturbed),
        )?;
        Ok(())
    });
}

async fn a_newer_deploy_wins(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.settle("Automatic", GOOD).await?;
    let mut held = stage.hold_write();
    stage.deploy(ERRING).await?;
    held.arrived().await?;
    stage.deploy(FIXED).await?;
    held.release();
    stage.until_states(&["Superseded"]).await?;
    stage.prove(FIXED).await?;
    ensure!(stage.image().await? == FIXED);
    let writes = stage.writes_to_deployment();
    ensure!(writes == [422], "{writes:?}");
    Ok(())
}

async fn an_annotation_and_a_scaling_do_not_disturb(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.settle("Automatic", GOOD).await?;
    let mut held = stage.hold_write();
    stage.deploy(ERRING).await?;
    held.arrived().await?;
    let change = json!({"metadata": {"annotations": {"team": "shop"}}, "spec": {"replicas": 3}});
    stage.merge(Kind::Deployments, DEPLOYMENT, change).await?;
    held.release();
    stage.until_states(&["Recovered"]).await?;
    let live = stage.live().await?;
    ensure!(live["metadata"]["annotations"]["team"] == "shop", "{live}");
    ensure!(live["spec"]["replicas"] == 3, "{live}");
    ensure!(stage.image().await? == GOOD);
    let writes = stage.writes_to_deployment();
    ensure!(writes.first() == Some(&200), "{writes:?}");
    Ok(())
}
