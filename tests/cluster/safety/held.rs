//! Holds that stop, and holds that ask.

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::try_join;

use super::{
    annotate, is_left_alone, policy, scale, settle, settled, the_rollback, told, until_told,
};
use crate::{
    objects::{Kind, word},
    stage::{DEPLOYMENT, POLICY, Stage},
    support::{CRASHING, GOOD, installed, run},
};

const SUSPEND: &str = "astern.dev/suspend";
const ENABLED: &str = "astern.dev/enabled";

#[test]
fn what_does_not_fit_the_data_is_not_gone_back_to_unasked() {
    run(async {
        try_join!(an_incompatible_schema_holds(), claims_make_people_agree())?;
        Ok(())
    });
}

async fn an_incompatible_schema_holds() -> anyhow::Result<()> {
    let stage = Stage::set(installed().await?, "schema").await?;
    let with_schema = |image: &str, schema: &str, compatible: &str| {
        let mut deployment = stage.deployment(image);
        let annotations = &mut deployment["spec"]["template"]["metadata"]["annotations"];
        annotations["astern.dev/schema"] = json!(schema);
        annotations["astern.dev/compatible-schema"] = json!(compatible);
        deployment
    };
    let first = with_schema(GOOD, "41", "40-42");
    settle(&stage, &policy(&stage, "Automatic"), &first).await?;
    let second = with_schema(CRASHING, "43", "42-43");
    stage.bed.apply(&second.to_string()).await?;

    let note = until_told(&stage, "SchemaIncompatible").await?;
    let boundary = "the database is at schema 43, and the target runs on 40-42";
    ensure!(note.contains(boundary), "{note}");
    stage
        .until("the status of the policy names the boundary", async || {
            let status = &stage.get(Kind::Policies, POLICY).await?["status"];
            Ok(status["targets"].to_string().contains(boundary))
        })
        .await?;
    is_left_alone(&stage).await?;
    let states = stage.states().await?;
    ensure!(states.is_empty(), "{states:?}");
    Ok(())
}

async fn claims_make_people_agree() -> anyhow::Result<()> {
    let stage = Stage::set(installed().await?, "claims").await?;
    for object in volume(&stage.namespace) {
        stage.bed.apply(&object.to_string()).await?;
    }
    let mut deployment = stage.deployment(GOOD);
    let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "orders"}});
    deployment["spec"]["template"]["spec"]["volumes"] = json!([claim]);
    settle(&stage, &policy(&stage, "Automatic"), &deployment).await?;
    stage.deploy(CRASHING).await?;
    stage.until_states(&["AwaitingApproval"]).await?;
    let status = &the_rollback(&stage).await?["status"];
    ensure!(status["mode"] == "RequireApproval", "{status}");
    let caps = status["caps"].to_string();
    ensure!(caps.contains("PersistentVolumes: claims orders"), "{caps}");
    is_left_alone(&stage).await
}

/// Returns a claim and what it is bound to, as a provisioner would have left them.
fn volume(namespace: &str) -> [Value; 2] {
    let common = json!({
        "accessModes": ["ReadWriteMany"], "storageClassName": "",
    });
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace},
        "spec": common,
    });
    volume["spec"]["capacity"] = json!({"storage": "1Gi"});
    volume["spec"]["hostPath"] = json!({"path": "/nowhere"});
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "orders", "namespace": namespace}, "spec": common,
    });
    claim["spec"]["volumeName"] = json!(namespace);
    claim["spec"]["resources"] = json!({"requests": {"storage": "1Gi"}});
    [volume, claim]
}

#[test]
fn what_people_have_stopped_stands_still_until_they_let_it_go() {
    run(async {
        try_join!(
            paused_by_a_person(),
            stopped_by_annotation(SUSPEND, "2999-01-01T00:00:00Z big sale", "Suspended"),
            stopped_by_annotation(ENABLED, "false", "OptedOut"),
            suspended_namespace(),
            suspended_cluster(),
        )?;
        Ok(())
    });
}

async fn paused_by_a_person() -> anyhow::Result<()> {
    let stage = settled("paused", "Automatic").await?;
    // Paused before it can have crashed, but not before its pods come.
    let paused = |paused: Value| json!({"spec": {"paused": paused}});
    stage.deploy(CRASHING).await?;
    stage
        .until("the controller rolls it out", async || {
            let live = stage.live().await?;
            Ok(live["status"]["updatedReplicas"] == 1)
        })
        .await?;
    let change = paused(json!(true));
    stage.merge(Kind::Deployments, DEPLOYMENT, change).await?;
    until_told(&stage, "PausedByPerson").await?;
    is_left_alone(&stage).await?;
    ensure!(stage.live().await?["spec"]["paused"] == true);

    let change = paused(Value::Null);
    stage.merge(Kind::Deployments, DEPLOYMENT, change).await?;
    is_rolled_back(&stage).await
}

async fn stopped_by_annotation(key: &str, value: &str, reason: &str) -> anyhow::Result<()> {
    let stage = settled("stopped", "Automatic").await?;
    annotate(&stage, key, json!(value)).await?;
    stage.deploy(CRASHING).await?;
    until_told(&stage, reason).await?;
    is_left_alone(&stage).await?;
    annotate(&stage, key, Value::Null).await?;
    is_rolled_back(&stage).await
}

async fn suspended_namespace() -> anyhow::Result<()> {
    let stage = settled("suspended", "Automatic").await?;
    let place = format!("the namespace {} is suspended", stage.namespace);
    let namespace = stage.namespace.clone();
    suspended_at(&stage, &namespace, &place).await
}

async fn suspended_cluster() -> anyhow::Result<()> {
    let bed = installed().await?;
    let stage = Stage::apart(bed, "everywhere").await?;
    stage.operator.start().await?;
    let deployment = stage.deployment(GOOD);
    settle(&stage, &policy(&stage, "Automatic"), &deployment).await?;
    let home = stage.operator.home().to_owned();
    suspended_at(&stage, &home, "the cluster is suspended").await
}

async fn suspended_at(stage: &Stage<'_>, namespace: &str, place: &str) -> anyhow::Result<()> {
    let suspend = format!("{SUSPEND}=2999-01-01T00:00:00Z big sale");
    let arguments = ["annotate", "namespace", namespace, &suspend];
    super::kubectl(stage, &arguments).await?;
    stage.deploy(CRASHING).await?;
    let note = until_told(stage, "Suspended").await?;
    ensure!(note.contains(place) && note.contains("big sale"), "{note}");
    is_left_alone(stage).await?;
    let resume = format!("{SUSPEND}-");
    super::kubectl(stage, &["annotate", "namespace", namespace, &resume]).await?;
    is_rolled_back(stage).await
}

async fn is_rolled_back(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.until_states(&["Recovered"]).await?;
    let image = stage.image().await?;
    ensure!(image == GOOD, "{}: {image}", stage.namespace);
    Ok(())
}

/// The write is held on its way, so that the autoscaler comes between decision and patch, and once
/// more after it.
#[test]
fn what_an_autoscaler_does_meanwhile_stays() {
    run(async {
        let stage = settled("scaled", "Automatic").await?;
        let mut held = stage.hold_write();
        stage.deploy(CRASHING).await?;
        held.arrived().await?;
        scale(&stage, 3).await?;
        held.release();
        stage
            .until("the template is back", async || {
                Ok(stage.image().await? == GOOD)
            })
            .await?;
        ensure!(stage.live().await?["spec"]["replicas"] == 3);
        scale(&stage, 4).await?;
        stage.until_states(&["Recovered"]).await?;
        let live = stage.live().await?;
        ensure!(live["spec"]["replicas"] == 4, "{live}");
        ensure!(stage.changes_of_deployment() == 2, "{:?}", stage.writes());
        Ok(())
    });
}

/// Without this the others could pass because nobody ever tells.
#[test]
fn a_plain_rollback_tells_of_no_hold() {
    run(async {
        let stage = settled("free", "Automatic").await?;
        stage.deploy(CRASHING).await?;
        is_rolled_back(&stage).await?;
        for reason in ["Suspended", "OptedOut", "PausedByPerson"] {
            let notes = told(&stage, reason).await?;
            ensure!(notes.is_empty(), "{notes:?}");
        }
        let rollback = the_rollback(&stage).await?;
        ensure!(word(&rollback["status"]["trigger"]) == "crashes");
        Ok(())
    });
}
