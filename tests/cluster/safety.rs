//! What keeps Astern from acting, or makes it ask, on a real control plane.
//!
//! All but the figures are judged by restarts alone, which need no Prometheus and show within seconds.

mod alone;
mod breaker;
mod figures;
mod forged;
mod held;
mod marks;
mod people;
mod refused;
mod requests;

use anyhow::{Context as _, ensure};
use kube::{
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::{Value, json};

use crate::{
    objects::{Kind, word},
    stage::{DEPLOYMENT, POLICY, Stage},
    support::{GOOD, installed},
};

/// Sets a stage whose policy judges by restarts alone, with a first release that is known good.
async fn settled(label: &str, mode: &str) -> anyhow::Result<Stage<'static>> {
    let stage = Stage::set(installed().await?, label).await?;
    let deployment = stage.deployment(GOOD);
    settle(&stage, &policy(&stage, mode), &deployment).await?;
    Ok(stage)
}

/// Applies a policy and a first good release, and waits until that is known good.
pub(crate) async fn settle(
    stage: &Stage<'_>,
    policy: &Value,
    deployment: &Value,
) -> anyhow::Result<()> {
    stage.bed.apply(&policy.to_string()).await?;
    stage.bed.apply(&deployment.to_string()).await?;
    stage.until_verdict(GOOD, "Good").await
}

/// Returns a policy that judges by restarts alone, and soon.
pub(crate) fn policy(stage: &Stage<'_>, mode: &str) -> Value {
    let mut policy = stage.policy(mode);
    let spec = &mut policy["spec"];
    spec["probation"] = json!("3s");
    spec["rollback"]["recovery"]["for"] = json!("1s");
    spec["rollback"]["budget"] = json!({"count": 50, "per": "1h"});
    spec["triggers"] = json!([{"name": "crashes", "restarts": {"threshold": 1, "window": "1m"}}]);
    policy
}

/// Changes the policy, as its owner does.
async fn change_policy(stage: &Stage<'_>, spec: Value) -> anyhow::Result<()> {
    let change = json!({"spec": spec});
    stage.merge(Kind::Policies, POLICY, change).await
}

/// Writes or, where the value is null, removes an annotation of the Deployment.
async fn annotate(stage: &Stage<'_>, key: &str, value: Value) -> anyhow::Result<()> {
    let change = json!({"metadata": {"annotations": {key: value}}});
    stage.merge(Kind::Deployments, DEPLOYMENT, change).await
}

/// Waits until an Event of ours has this reason, and returns what it says.
async fn until_told(stage: &Stage<'_>, reason: &str) -> anyhow::Result<String> {
    let mut found = String::new();
    stage
        .until(&format!("an Event says {reason}"), async || {
            let notes = told(stage, reason).await?;
            found = notes.into_iter().next_back().unwrap_or_default();
            Ok(!found.is_empty())
        })
        .await?;
    Ok(found)
}

/// Returns what the Events about Deployments with a reason say.
async fn told(stage: &Stage<'_>, reason: &str) -> anyhow::Result<Vec<String>> {
    let events = stage.list(Kind::Events).await?;
    let own = events.iter().filter(|event| {
        event["reportingController"] == "astern.dev/operator"
            && event["reason"] == reason
            && event["regarding"]["kind"] == "Deployment"
    });
    Ok(own.map(|event| word(&event["note"])).collect())
}

/// Makes sure that nothing was written to the Deployment, and that nothing will be.
async fn is_left_alone(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.heartbeats(3).await?;
    let writes = stage.writes_to_deployment();
    ensure!(writes.is_empty(), "{}: {writes:?}", stage.namespace);
    Ok(())
}

/// Returns the only Rollback there is.
pub(crate) async fn the_rollback(stage: &Stage<'_>) -> anyhow::Result<Value> {
    let mut rollbacks = stage.list(Kind::Rollbacks).await?;
    ensure!(rollbacks.len() == 1, "{rollbacks:?}");
    rollbacks.pop().context("counted before")
}

/// Returns a first release whose rollouts take a while, so that one can be stopped.
pub(crate) fn slow_to_roll_out(stage: &Stage<'_>) -> Value {
    let mut deployment = stage.deployment(GOOD);
    deployment["spec"]["minReadySeconds"] = json!(5);
    deployment
}

/// Approves a Rollback as the administrator, the way its message says.
pub(crate) async fn approve(stage: &Stage<'_>, name: &str) -> anyhow::Result<()> {
    let mut code = Value::Null;
    stage
        .until("the code is told", async || {
            let rollback = stage.get(Kind::Rollbacks, name).await?;
            code = rollback["status"]["code"].clone();
            Ok(code.is_string())
        })
        .await?;
    let code = word(&code);
    let answer = format!("astern.dev/approve={name}/{code}:astern-testbed-admin");
    kubectl(stage, &["annotate", "rollback", name, &answer]).await?;
    Ok(())
}

/// Runs kubectl as the administrator in the namespace of the stage.
pub(crate) async fn kubectl(stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<String> {
    let arguments = [arguments, &["--namespace", &stage.namespace]].concat();
    let bed = stage.bed;
    let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
    ensure!(output.status.success(), "{arguments:?}: {}", output.stderr);
    Ok(output.stdout)
}

/// Creates an object, as an attacker or a person does.
pub(crate) async fn create(stage: &Stage<'_>, kind: Kind, object: &Value) -> anyhow::Result<()> {
    let request = Request::new(kind.path(&stage.namespace));
    let request = request.create(&PostParams::default(), object.to_string().into())?;
    stage.bed.client().request::<Value>(request).await?;
    Ok(())
}

/// Sets the replicas the way an autoscaler does.
async fn scale(stage: &Stage<'_>, replicas: u32) -> anyhow::Result<()> {
    let request = Request::new(Kind::Deployments.path(&stage.namespace));
    let change = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let request =
        request.patch_subresource("scale", DEPLOYMENT, &PatchParams::default(), &change)?;
    stage.bed.client().request::<Value>(request).await?;
    Ok(())
}
