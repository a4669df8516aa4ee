//! What containers take from `ConfigMaps`, and what becomes of a pod whose config is missing.

use anyhow::Context as _;
use astern_testbed::{bed::Bed, traffic};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{container_status, deployment, eventually, rolled_out};

fn config_map(name: &str, data: &Value) -> String {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": data,
    });
    map.to_string()
}

/// Applies a Deployment of one replica, its Service, and `change` merged into its pods' spec.
pub(super) async fn apply(
    bed: &Bed,
    name: &str,
    image: &str,
    change: &Value,
) -> anyhow::Result<()> {
    bed.apply(&deployment(name, image, 0)).await?;
    let change = json!({"spec": {"replicas": 1, "template": {"spec": change}}});
    patch(bed, name, &change).await
}

/// Has all pods of a Deployment replaced, as `kubectl rollout restart` does.
pub(super) async fn restart(bed: &Bed, name: &str) -> anyhow::Result<()> {
    let restart = json!({"metadata": {"annotations": {"restarted": "1"}}});
    patch(bed, name, &json!({"spec": {"template": restart}})).await
}

async fn patch(bed: &Bed, name: &str, change: &Value) -> anyhow::Result<()> {
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::default_namespaced(bed.client());
    api.patch(name, &PatchParams::default(), &Patch::Strategic(change))
        .await?;
    Ok(())
}

/// The same image, another `ConfigMap`: what it does follows the values that its container began
/// with, until the next container begins.
pub(super) async fn an_image_does_what_its_config_says(bed: &Bed) -> anyhow::Result<()> {
    bed.apply(&config_map("features", &json!({"FEATURE": "off"})))
        .await?;
    let from = json!([{"configMapRef": {"name": "features"}}]);
    let pod = json!({"containers": [{"name": "app", "envFrom": from}]});
    apply(bed, "toggled", "shop/toggled:v1", &pod).await?;
    rolled_out(bed, "toggled").await?;
    let options = traffic::TrafficOptions::new("default", "toggled", 50.0);
    let traffic = traffic::Traffic::start(bed.client(), options);
    eventually("good answers", async || {
        Ok((traffic.snapshot(..).total > 50).then_some(()))
    })
    .await?;
    bed.apply(&config_map("features", &json!({"FEATURE": "on"})))
        .await?;
    let before = traffic.snapshot(..).total;
    eventually("more answers", async || {
        Ok((traffic.snapshot(..).total > before + 50).then_some(()))
    })
    .await?;
    assert_eq!(traffic.snapshot(..).failed, 0);

    restart(bed, "toggled").await?;
    eventually("bad answers", async || {
        Ok((traffic.snapshot(..).failed > 10).then_some(()))
    })
    .await?;
    traffic.stop().await;
    Ok(())
}

pub(super) async fn a_volume_without_its_config_map_keeps_the_pod_pending(
    bed: &Bed,
) -> anyhow::Result<()> {
    let volume = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    let pod = json!({"volumes": volume});
    apply(bed, "volumed", "shop/checkout:v1", &pod).await?;
    let events: Api<Event> = Api::default_namespaced(bed.client());
    let event = eventually("event FailedMount", async || {
        let about = ListParams::default().fields("reason=FailedMount");
        Ok(events.list(&about).await?.items.pop())
    })
    .await?;
    assert_eq!(
        event.message.as_deref(),
        Some("MountVolume.SetUp failed for volume \"settings\" : configmap \"settings\" not found")
    );
    let status = container_status(bed, "volumed").await?;
    assert_eq!(status["state"]["waiting"]["reason"], "ContainerCreating");
    let api: Api<Pod> = Api::default_namespaced(bed.client());
    let of_app = ListParams::default().labels("app=volumed");
    let pod = api.list(&of_app).await?.items.pop().context("no pod")?;
    let status = pod.status.unwrap_or_default();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(status.pod_ip, None);

    bed.apply(&config_map("settings", &json!({"a": "b"})))
        .await?;
    rolled_out(bed, "volumed").await
}
