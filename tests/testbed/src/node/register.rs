//! The Node objects of simulated nodes, and the heartbeats that keep them ready.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::interval;

use crate::{
    clock::now,
    node::{NodeRecord, Simulation},
};

/// The node lifecycle controller gives a node up after 40 seconds without.
const HEARTBEAT: Duration = Duration::from_secs(10);

const LEASES: &str = "kube-node-lease";

/// Creates a Node, or takes over the one of an earlier run, and reports it ready.
///
/// # Errors
///
/// When the API server refuses.
pub(crate) async fn register(simulation: &Simulation, node: &NodeRecord) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(simulation.client.clone());
    let object = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name, "labels": {
            "kubernetes.io/hostname": node.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": std::env::consts::ARCH,
        }},
    });
    let object: Node = serde_json::from_value(object)?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {}
        Err(kube::Error::Api(error)) if error.code == 409 => {}
        Err(error) => {
            return Err(error).with_context(|| format!("failed to create node {:?}", node.name));
        }
    }
    report(simulation, node, true).await?;
    renew(simulation, node)
        .await
        .with_context(|| format!("failed to create the lease of node {:?}", node.name))
}

/// Writes the status of a node: its own word that it is ready, or what the control plane says of
/// one that it hears nothing of.
///
/// # Errors
///
/// When the API server refuses.
pub(super) async fn report(
    simulation: &Simulation,
    node: &NodeRecord,
    ready: bool,
) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(simulation.client.clone());
    let status = json!({"status": if ready { status(node) } else { silence() }});
    api.patch_status(
        &node.name,
        &PatchParams::default(),
        &Patch::Strategic(&status),
    )
    .await
    .with_context(|| format!("failed to report node {:?}", node.name))?;
    Ok(())
}

fn silence() -> Value {
    let at = now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"conditions": [{
        "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.", "lastTransitionTime": at,
    }]})
}

/// Keeps all nodes ready but those that are lost, and tells what they have pulled, for ever.
pub(crate) async fn heartbeat(simulation: &Simulation) {
    let mut ticks = interval(HEARTBEAT);
    loop {
        ticks.tick().await;
        let heard = |node: &&NodeRecord| !simulation.lost.contains(&node.name);
        for node in simulation.nodes.iter().filter(heard) {
            if let Err(error) = renew(simulation, node).await {
                tracing::debug!(node = node.name, %error, "cannot renew the lease of a node");
            }
            if let Err(error) = report_images(simulation, node).await {
                tracing::debug!(node = node.name, %error, "cannot report the images of a node");
            }
        }
    }
}

/// Tells the images of a node if there are new ones. Kubelet, too, looks every ten seconds.
async fn report_images(simulation: &Simulation, node: &NodeRecord) -> Result<(), kube::Error> {
    let Some((count, images)) = simulation.pulled.news(&node.name) else {
        return Ok(());
    };
    let api: Api<Node> = Api::all(simulation.client.clone());
    let status = json!({"status": {"images": images}});
    let patch = Patch::Strategic(&status);
    api.patch_status(&node.name, &PatchParams::default(), &patch)
        .await?;
    simulation.pulled.told(&node.name, count);
    Ok(())
}

pub(super) async fn renew(simulation: &Simulation, node: &NodeRecord) -> Result<(), kube::Error> {
    let api: Api<Lease> = Api::namespaced(simulation.client.clone(), LEASES);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node.name},
        "spec": {
            "holderIdentity": node.name,
            "leaseDurationSeconds": 40,
            "renewTime": now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        },
    });
    let parameters = PatchParams::apply("astern-testbed").force();
    api.patch(&node.name, &parameters, &Patch::Apply(&lease))
        .await?;
    Ok(())
}

fn status(node: &NodeRecord) -> Value {
    let at = now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "simulated",
            "lastHeartbeatTime": at, "lastTransitionTime": at,
        })
    };
    let resources = json!({
        "cpu": "10000", "memory": "100Ti", "pods": "10000", "ephemeral-storage": "100Ti",
    });
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            {"type": "InternalIP", "address": node.address.to_string()},
            {"type": "Hostname", "address": node.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": super::kubelet::PORT}},
        "conditions": [
            condition("Ready", "True", "KubeletReady"),
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        ],
        "nodeInfo": {
            "architecture": std::env::consts::ARCH, "operatingSystem": "linux",
            "osImage": "simulated", "kernelVersion": "simulated",
            "containerRuntimeVersion": "simulated://1.0.0",
            "kubeletVersion": "v1.37.2", "kubeProxyVersion": "",
            "machineID": node.name, "systemUUID": node.name, "bootID": node.name,
        },
    })
}
