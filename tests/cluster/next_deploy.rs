//! The deploy after a rollback goes through, and leaves nothing behind of what came before.

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::try_join;

use crate::{
    objects::word,
    stage::{DEPLOYMENT, Stage},
    support::{ERRING, FIXED, GOOD, installed, run},
};

/// How a release is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ClientSide,
    ServerSide,
    /// The bad one by `kubectl set image`, the others by `kubectl apply`.
    SetImage,
}

#[test]
fn after_a_rollback_the_next_deploy_works_and_leaves_no_residue() {
    run(async {
        try_join!(
            story(Way::ClientSide),
            story(Way::ServerSide),
            story(Way::SetImage),
        )?;
        Ok(())
    });
}

async fn story(way: Way) -> anyhow::Result<()> {
    let stage = Stage::set(installed().await?, "deployer").await?;
    let policy = stage.policy("Automatic").to_string();
    stage.bed.apply(&policy).await?;
    stage.bed.apply(&stage.service()).await?;
    let release = |image, environment| release(stage.deployment(image), environment);

    let mut first = release(
        GOOD,
        json!([{"name": "A", "value": "1"}, {"name": "OLD", "value": "1"}]),
    );
    let containers = &mut first["spec"]["template"]["spec"]["containers"];
    let sidecar = json!({"name": "shipper", "image": GOOD});
    *containers = json!([containers[0], sidecar]);
    apply(&stage, way, &first).await?;
    stage.prove(GOOD).await?;
    let before = stage.live().await?;

    if way == Way::SetImage {
        let image = format!("app={ERRING}");
        kubectl(
            &stage,
            &["set", "image", "deployment", DEPLOYMENT, &image],
            None,
        )
        .await?;
    } else {
        let bad = json!([{"name": "A", "value": "2"}, {"name": "NEW", "value": "1"}]);
        apply(&stage, way, &release(ERRING, bad)).await?;
    }
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

    apply(
        &stage,
        way,
        &release(FIXED, json!([{"name": "A", "value": "3"}])),
    )
    .await?;
    let live = stage.live().await?;
    let containers = &live["spec"]["template"]["spec"]["containers"];
    let environment = json!([{"name": "A", "value": "3"}]);
    ensure!(containers[0]["env"] == environment, "{way:?}: {containers}");
    ensure!(containers[1].is_null(), "{way:?}: {containers}");
    stage.prove(FIXED).await
}

fn release(mut deployment: Value, environment: Value) -> Value {
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = environment;
    deployment
}

async fn apply(stage: &Stage<'_>, way: Way, manifest: &Value) -> anyhow::Result<()> {
    let arguments: &[&str] = match way {
        Way::ClientSide | Way::SetImage => &["apply", "-f", "-"],
        Way::ServerSide => &["apply", "--server-side", "-f", "-"],
    };
    kubectl(stage, arguments, Some(&manifest.to_string())).await
}

async fn kubectl(stage: &Stage<'_>, arguments: &[&str], input: Option<&str>) -> anyhow::Result<()> {
    let place = ["--namespace", &stage.namespace];
    let arguments = [arguments, &place].concat();
    let bed = stage.bed;
    let output = bed.kubectl(bed.kubeconfig(), &arguments, input).await?;
    ensure!(output.status.success(), "{arguments:?}: {}", output.stderr);
    ensure!(output.stderr.is_empty(), "{arguments:?}: {}", output.stderr);
    Ok(())
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
