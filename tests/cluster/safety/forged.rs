//! Records that somebody else made, and records that Kubernetes has thrown away.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::try_join;

use super::{create, policy, settle, settled};
use crate::{
    objects::{Kind, image_of},
    stage::{DEPLOYMENT, Stage},
    support::{CRASHING, FIXED, GOOD, eventually, installed, run},
};

/// What an attacker wants to run. The simulated registry has it, so that only Astern stands in the way.
const EVIL: &str = FIXED;

#[test]
fn only_what_astern_recorded_is_gone_back_to() {
    run(async {
        try_join!(a_forged_replica_set(), forged_revisions())?;
        Ok(())
    });
}

async fn a_forged_replica_set() -> anyhow::Result<()> {
    let stage = settled("forged", "Automatic").await?;
    let live = stage.live().await?;
    let mut template = live["spec"]["template"].clone();
    template["spec"]["containers"][0]["image"] = json!(EVIL);
    template["metadata"]["labels"]["pod-template-hash"] = json!("forged");
    let forged = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": "checkout-forged",
            "labels": template["metadata"]["labels"],
            "annotations": {"deployment.kubernetes.io/revision": "2"},
            "ownerReferences": [owner(&live)],
        },
        "spec": {
            "replicas": 0, "template": template,
            "selector": {"matchLabels": {"app": DEPLOYMENT, "pod-template-hash": "forged"}},
        },
    });
    create(&stage, Kind::ReplicaSets, &forged).await?;
    rolls_back_to_the_good_one(&stage).await
}

async fn forged_revisions() -> anyhow::Result<()> {
    let stage = settled("forged", "Automatic").await?;
    let mut revisions = stage.list(Kind::Revisions).await?;
    let genuine = revisions.pop().context("a good revision is recorded")?;
    let forged = |name: &str| {
        let mut forged = genuine.clone();
        let metadata = &genuine["metadata"];
        forged["metadata"] = json!({
            "name": name,
            "labels": metadata["labels"],
            "annotations": metadata["annotations"],
            "ownerReferences": metadata["ownerReferences"],
        });
        forged["metadata"]["annotations"]["astern.dev/revision"] = json!("99");
        forged["data"]["template"]["spec"]["containers"][0]["image"] = json!(EVIL);
        forged
    };
    create(&stage, Kind::Revisions, &forged("altered")).await?;
    let mut foreign = forged("foreign");
    let uid = "5eed0000-0000-4000-8000-000000000001";
    foreign["metadata"]["ownerReferences"][0]["uid"] = json!(uid);
    // Nothing that the garbage collector could find missing: it is another kind's.
    foreign["metadata"]["finalizers"] = json!(["example.com/stay"]);
    create(&stage, Kind::Revisions, &foreign).await?;
    rolls_back_to_the_good_one(&stage).await
}

fn owner(live: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENT,
        "uid": live["metadata"]["uid"], "controller": true,
    })
}

async fn rolls_back_to_the_good_one(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.deploy(CRASHING).await?;
    stage.until_states(&["Recovered"]).await?;
    let image = stage.image().await?;
    ensure!(image == GOOD, "{}: {image}", stage.namespace);
    Ok(())
}

#[test]
fn a_deployment_that_keeps_no_history_goes_back_all_the_same() {
    run(async {
        let stage = Stage::set(installed().await?, "history").await?;
        let mut deployment = stage.deployment(GOOD);
        deployment["spec"]["revisionHistoryLimit"] = json!(0);
        settle(&stage, &policy(&stage, "Automatic"), &deployment).await?;
        stage.deploy(FIXED).await?;
        stage.until_verdict(FIXED, "Good").await?;
        // Kubernetes has thrown away what `kubectl rollout undo` would need.
        eventually("only one ReplicaSet is left", async || {
            let sets = stage.list(Kind::ReplicaSets).await?;
            let images: Vec<_> = sets
                .iter()
                .map(|set| &set["spec"]["template"]["spec"]["containers"][0]["image"])
                .collect();
            Ok(images == [FIXED])
        })
        .await?;
        let recorded = stage.list(Kind::Revisions).await?;
        ensure!(recorded.iter().any(|revision| image_of(revision) == GOOD));
        let ask = json!({
            "apiVersion": "astern.dev/v1alpha1", "kind": "Rollback",
            "metadata": {"name": "back"},
            "spec": {"deployment": {"name": DEPLOYMENT}, "reason": "customers complain"},
        });
        create(&stage, Kind::Rollbacks, &ask).await?;
        stage.until_states(&["Recovered"]).await?;
        let image = stage.image().await?;
        ensure!(image == GOOD, "{image}");
        Ok(())
    });
}
