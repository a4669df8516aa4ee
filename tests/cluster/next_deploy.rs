//! The deploy after a rollback goes through, and leaves nothing behind of what came before.
//!
//! Each story is the same: v1, a bad v2 that drops an environment variable and a sidecar, Astern's
//! rollback to v1, and a v3 without those two.

pub(crate) mod ways;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::try_join;

use self::ways::Way;
use crate::{
    objects::word,
    stage::Stage,
    support::{ERRING, FIXED, GOOD, installed, run},
};

#[test]
fn after_a_rollback_the_next_deploy_works_and_leaves_no_residue() {
    run(async {
        try_join!(
            leaves_no_residue(Way::ClientSide),
            leaves_no_residue(Way::ServerSide),
            leaves_no_residue(Way::SetImage),
            leaves_no_residue(Way::Helm4),
        )?;
        Ok(())
    });
}

/// Helm 3 removes what the release before had and the next one has not. For the release before it
/// looks into its own Secret alone, which says v2, and v2 had neither the variable nor the sidecar.
///
/// A Secret is nothing that Astern may read, let alone write. `helm rollback` brings Helm's record
/// to where the cluster is, and changes nothing else, since all is as it was.
#[test]
fn with_helm_3_what_v2_had_dropped_stays_unless_its_record_goes_back_too() {
    run(async {
        try_join!(residue_of_helm_3(), no_residue_after_helm_rollback())?;
        Ok(())
    });
}

async fn leaves_no_residue(way: Way) -> anyhow::Result<()> {
    let stage = rolled_back(way).await?;
    next_deploy(&stage, way).await?;
    is_as_deployed(&stage).await?;
    stage.prove(FIXED).await
}

async fn residue_of_helm_3() -> anyhow::Result<()> {
    let way = Way::Helm3;
    let stage = rolled_back(way).await?;
    // Accepted all the same, and what v3 says holds.
    next_deploy(&stage, way).await?;
    let left = containers(&stage).await?;
    ensure!(left[0]["image"] == FIXED, "{left}");
    let environment = json!([{"name": "A", "value": "3"}, {"name": "OLD", "value": "1"}]);
    ensure!(left[0]["env"] == environment, "{left}");
    ensure!(left[1]["name"] == "shipper", "{left}");

    // The release after it does not mend that: v3 had neither, so nothing is to be removed. Nor does
    // Helm 4, which goes on as Helm 3 began.
    next_deploy(&stage, way).await?;
    next_deploy(&stage, Way::Helm4).await?;
    let still = containers(&stage).await?;
    ensure!(still == left, "{still}");
    Ok(())
}

async fn no_residue_after_helm_rollback() -> anyhow::Result<()> {
    let way = Way::Helm3;
    let stage = rolled_back(way).await?;
    let before = stage.live().await?;
    way.helm_rollback(&stage).await?;
    let after = stage.live().await?;
    let generation = |object: &Value| object["metadata"]["generation"].clone();
    ensure!(generation(&after) == generation(&before), "{after}");

    next_deploy(&stage, way).await?;
    is_as_deployed(&stage).await?;
    stage.prove(FIXED).await
}

/// Deploys v1 and a bad v2, and waits until Astern has brought everything back to where it was.
async fn rolled_back(way: Way) -> anyhow::Result<Stage<'static>> {
    let stage = Stage::set(installed().await?, "deployer").await?;
    let policy = stage.policy("Automatic").to_string();
    stage.bed.apply(&policy).await?;
    stage.bed.apply(&stage.service()).await?;

    let environment = json!([{"name": "A", "value": "1"}, {"name": "OLD", "value": "1"}]);
    let mut first = release(&stage, GOOD, environment);
    let containers = &mut first["spec"]["template"]["spec"]["containers"];
    let sidecar = json!({"name": "shipper", "image": GOOD});
    *containers = json!([containers[0], sidecar]);
    way.deploy(&stage, &first).await?;
    stage.prove(GOOD).await?;
    let before = stage.live().await?;

    let environment = json!([{"name": "A", "value": "2"}, {"name": "NEW", "value": "1"}]);
    let second = release(&stage, ERRING, environment);
    way.deploy_image(&stage, ERRING, &second).await?;
    stage.until_states(&["Recovered"]).await?;
    let after = stage.live().await?;
    let (template, restored) = (&before["spec"]["template"], &after["spec"]["template"]);
    ensure!(restored == template, "{way:?}: {restored}");
    let (then, now) = (owners(&before), owners(&after));
    ensure!(
        now == then,
        "{way:?}: {} instead of {}",
        json!(now),
        json!(then)
    );
    Ok(stage)
}

async fn next_deploy(stage: &Stage<'_>, way: Way) -> anyhow::Result<()> {
    let third = release(stage, FIXED, json!([{"name": "A", "value": "3"}]));
    way.deploy(stage, &third).await
}

async fn is_as_deployed(stage: &Stage<'_>) -> anyhow::Result<()> {
    let containers = containers(stage).await?;
    let environment = json!([{"name": "A", "value": "3"}]);
    ensure!(containers[0]["env"] == environment, "{containers}");
    ensure!(containers[0]["image"] == FIXED, "{containers}");
    ensure!(containers[1].is_null(), "{containers}");
    Ok(())
}

async fn containers(stage: &Stage<'_>) -> anyhow::Result<Value> {
    let mut live = stage.live().await?;
    Ok(live["spec"]["template"]["spec"]["containers"].take())
}

fn release(stage: &Stage<'_>, image: &str, environment: Value) -> Value {
    let mut deployment = stage.deployment(image);
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = environment;
    deployment
}

/// Returns who owns which fields, without controllers, which write to other fields all the time.
fn owners(deployment: &Value) -> Vec<(String, String, Value)> {
    let entries = deployment["metadata"]["managedFields"].as_array();
    let entries = entries.into_iter().flatten();
    let people = entries.filter(|entry| entry["manager"] != "kube-controller-manager");
    let mut owners: Vec<_> = people
        .map(|entry| {
            let (manager, operation) = (word(&entry["manager"]), word(&entry["operation"]));
            (manager, operation, entry["fieldsV1"].clone())
        })
        .collect();
    owners.sort_by_key(|(manager, operation, _)| (manager.clone(), operation.clone()));
    owners
}
