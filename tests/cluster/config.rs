//! Config goes back with the code, on real ConfigMaps, and people put it back where they edit it.
//!
//! What is restored, and when, is told in virtual time by `tests/it/config.rs`.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    objects::{Kind, word},
    safety::{kubectl, policy, settle, the_rollback},
    stage::Stage,
    support::{CRASHING, FIXED, GOOD, installed, run},
    verbs::{fail, succeed},
};

const SETTINGS: &str = "settings";
/// Found nowhere but in ConfigMaps, or contents have leaked.
pub(crate) const OLD: &str = "ultramarine";
pub(crate) const NEW: &str = "vermilion";

#[test]
fn config_goes_back_with_the_code_and_others_keep_theirs() {
    run(async {
        let stage = Stage::set(installed().await?, "config").await?;
        begin(&stage).await?;
        stage.bed.apply(&other(&stage).to_string()).await?;
        write(&stage, NEW).await?;
        stage.deploy(CRASHING).await?;
        stage.until_states(&["Recovered"]).await?;
        is_back(&stage).await?;
        tells_no_contents(&stage).await?;

        // The next deploy brings the ordinary name back by itself.
        let next = reading(stage.deployment(FIXED));
        stage.bed.apply(&next.to_string()).await?;
        ensure!(read_by(&stage).await? == SETTINGS);
        stage.until_verdict(FIXED, "Good").await?;
        restore(&stage).await
    });
}

/// Applies what reads the ConfigMap, and waits until it is known good and its config kept.
pub(crate) async fn begin(stage: &Stage<'_>) -> anyhow::Result<()> {
    write(stage, OLD).await?;
    let mut policy = policy(stage, "Automatic");
    policy["spec"]["config"] = json!({"mode": "Restore"});
    settle(stage, &policy, &reading(stage.deployment(GOOD))).await?;
    until_kept(stage).await
}

pub(crate) async fn until_kept(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage
        .until("the config is kept", async || {
            Ok(!copy(stage, OLD).await?.is_empty())
        })
        .await
}

pub(crate) async fn write(stage: &Stage<'_>, colour: &str) -> anyhow::Result<()> {
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": stage.namespace, "name": SETTINGS},
        "data": {"colour": colour, "region": "eu"},
    });
    stage.bed.apply(&settings.to_string()).await
}

/// Lets the pods take their environment from the ConfigMap.
pub(crate) fn reading(mut deployment: Value) -> Value {
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["envFrom"] = json!([{"configMapRef": {"name": SETTINGS}}]);
    deployment
}

/// Returns the name of the ConfigMap that the Deployment reads.
pub(crate) async fn read_by(stage: &Stage<'_>) -> anyhow::Result<String> {
    let live = stage.live().await?;
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    Ok(word(&container["envFrom"][0]["configMapRef"]["name"]))
}

/// Another app that reads the same ConfigMap.
fn other(stage: &Stage<'_>) -> Value {
    let mut deployment = reading(stage.deployment(GOOD));
    deployment["metadata"]["name"] = json!("cart");
    deployment["spec"]["selector"] = json!({"matchLabels": {"app": "cart"}});
    deployment["spec"]["template"]["metadata"]["labels"] = json!({"app": "cart"});
    deployment
}

/// Returns the name of the copy that holds `colour`; empty where there is none.
async fn copy(stage: &Stage<'_>, colour: &str) -> anyhow::Result<String> {
    let of = "-l=astern.dev/config-copy-of=settings";
    let listed = kubectl(stage, &["get", "configmaps", of, "-o", "json"]).await?;
    let listed: Value = serde_json::from_str(&listed)?;
    let copies = listed["items"].as_array().context("a list")?;
    let found = copies.iter().find(|copy| copy["data"]["colour"] == colour);
    if let Some(copy) = found {
        ensure!(copy["immutable"] == true, "{copy}");
    }
    Ok(found.map_or_else(String::new, |copy| word(&copy["metadata"]["name"])))
}

async fn settings(stage: &Stage<'_>) -> anyhow::Result<Value> {
    let get = [
        "get",
        "configmap",
        SETTINGS,
        "-o",
        "json",
        "--show-managed-fields",
    ];
    Ok(serde_json::from_str(&kubectl(stage, &get).await?)?)
}

async fn is_back(stage: &Stage<'_>) -> anyhow::Result<()> {
    ensure!(stage.image().await? == GOOD);
    let copy = copy(stage, OLD).await?;
    ensure!(!copy.is_empty() && read_by(stage).await? == copy, "{copy}");
    let live = stage.live().await?;
    let pinned = word(&live["metadata"]["annotations"]["astern.dev/config-pinned"]);
    ensure!(pinned.contains(&copy), "{pinned}");
    let rollback = the_rollback(stage).await?;
    let told = &rollback["status"]["config"]["copies"];
    ensure!(told == &json!([{"name": SETTINGS, "copy": copy}]), "{told}");

    let shared = settings(stage).await?;
    ensure!(shared["data"]["colour"] == NEW, "{shared}");
    let managers = shared["metadata"]["managedFields"].as_array();
    let ours = managers.into_iter().flatten();
    ensure!(
        !ours.clone().any(|entry| entry["manager"] == "astern"),
        "{shared}"
    );
    let other = stage.get(Kind::Deployments, "cart").await?;
    ensure!(other["metadata"]["generation"] == 1, "{other}");
    Ok(())
}

async fn tells_no_contents(stage: &Stage<'_>) -> anyhow::Result<()> {
    for kind in [
        Kind::Events,
        Kind::Rollbacks,
        Kind::Policies,
        Kind::Revisions,
    ] {
        let text = serde_json::to_string(&stage.list(kind).await?)?;
        ensure!(
            !text.contains(OLD) && !text.contains(NEW),
            "{kind:?}: {text}"
        );
    }
    Ok(())
}

/// A person puts back what it held, and what was deleted.
async fn restore(stage: &Stage<'_>) -> anyhow::Result<()> {
    let copy = copy(stage, OLD).await?;
    succeed(stage, &["config", "list"], &copy).await?;
    fail(
        stage,
        &["config", "restore", "secret/settings"],
        "configmap/NAME",
    )
    .await?;
    let restore = ["config", "restore", "configmap/settings", "--copy", &copy];
    let tried = [&restore[..], &["--dry-run=server"]].concat();
    succeed(stage, &tried, "(server dry run): changed colour").await?;
    ensure!(settings(stage).await?["data"]["colour"] == NEW);
    succeed(stage, &restore, "restored from").await?;
    ensure!(settings(stage).await?["data"]["colour"] == OLD);
    succeed(stage, &restore, "configmap/settings unchanged").await?;

    kubectl(stage, &["delete", "configmap", SETTINGS]).await?;
    succeed(stage, &restore, "added colour, region").await?;
    ensure!(settings(stage).await?["data"]["colour"] == OLD);
    Ok(())
}
