//! The Events that a node writes about its pods.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    clock::now,
    node::{Simulation, state::Pod},
};

/// What happened, and the message about it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening<'a> {
    Unhealthy(&'a str),
    Killing(&'a str),
    BackOffRestart(&'a str),
    BackOffPull(&'a str),
    FailedToPull(&'a str),
    FailedToInspect(&'a str),
    FailedToCreate(&'a str),
    FailedToMount(&'a str),
    Evicted(&'a str),
}

impl<'a> Happening<'a> {
    /// Returns type, reason and message, in kubelet's words.
    fn words(self) -> (&'static str, &'static str, &'a str) {
        match self {
            Self::Unhealthy(message) => ("Warning", "Unhealthy", message),
            Self::Killing(message) => ("Normal", "Killing", message),
            Self::BackOffRestart(message) => ("Warning", "BackOff", message),
            Self::BackOffPull(message) => ("Normal", "BackOff", message),
            Self::FailedToPull(message) | Self::FailedToCreate(message) => {
                ("Warning", "Failed", message)
            }
            Self::FailedToMount(message) => ("Warning", "FailedMount", message),
            Self::FailedToInspect(message) => ("Warning", "InspectFailed", message),
            Self::Evicted(message) => ("Warning", "Evicted", message),
        }
    }
}

/// Writes an Event, or counts one more of the same. Nobody waits for it, and it may be lost.
pub(crate) fn report(simulation: &Simulation, pod: &Arc<Pod>, happening: Happening<'_>) {
    let (kind, reason, message) = happening.words();
    let (client, pod) = (simulation.client.clone(), Arc::clone(pod));
    let (writes, message) = (Arc::clone(&simulation.writes), message.to_owned());
    simulation.spawn(async move {
        // An Event that finds no turn is dropped, as a real node drops them when there are many.
        let Ok(_turn) = writes.try_acquire_owned() else {
            return;
        };
        if let Err(error) = write(client, &pod, (kind, reason, &message)).await {
            tracing::debug!(pod = pod.name, %error, "cannot write an event");
        }
    });
}

async fn write(
    client: kube::Client,
    pod: &Pod,
    (kind, reason, message): (&str, &str, &str),
) -> Result<(), kube::Error> {
    let api: Api<Event> = Api::namespaced(client, &pod.namespace);
    let digest = Sha256::digest(format!("{}/{reason}/{message}", pod.uid));
    let name = format!("{}.{:016x}", pod.name, u64_of(&digest));
    let at = now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    if let Some(event) = api.get_opt(&name).await? {
        let count = event.count.unwrap_or(1) + 1;
        let again = json!({"count": count, "lastTimestamp": at});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&again))
            .await?;
        return Ok(());
    }
    let event = json!({
        "metadata": {"name": name, "namespace": pod.namespace},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod",
            "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
        },
        "type": kind, "reason": reason, "message": message,
        "source": {"component": "kubelet", "host": pod.manifest.spec.node_name},
        "count": 1, "firstTimestamp": at, "lastTimestamp": at,
    });
    let event: Event = serde_json::from_value(event).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &event).await?;
    Ok(())
}

fn u64_of(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
