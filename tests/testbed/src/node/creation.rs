//! What stands between a pod and the start of its container: the image, and all that the container
//! refers to.
//!
//! A node tries again for ever, so nothing here ends but in a container that can start.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use tokio::time::sleep;

use crate::{
    behaviour::{Create, Pull, is_reference},
    node::{
        Simulation,
        backoff::Backoff,
        event::{self, Happening},
        manifest::{Container, Referent},
        state::{Now, Pod},
    },
};

/// How soon kubelet tries again to create a container. Unlike with images and crashes, every time
/// the same.
const AGAIN: Duration = Duration::from_secs(10);

/// Returns as soon as a container can start.
pub(super) async fn create(simulation: &Simulation, pod: &Arc<Pod>, index: usize) {
    let behaviour = simulation.images.follow(&pod.container(index).image);
    loop {
        pull(simulation, pod, index).await;
        let create = behaviour.borrow().create;
        let obstacle = match create {
            Create::Succeeds => missing(simulation, pod, pod.container(index)).await,
            Create::ConfigFails => Some("configmap \"simulated\" not found".to_owned()),
            Create::Fails => {
                let message = "failed to create the container: refused by the simulated runtime";
                wait(simulation, pod, index, "CreateContainerError", message).await;
                continue;
            }
        };
        let Some(message) = obstacle else {
            return;
        };
        wait(
            simulation,
            pod,
            index,
            "CreateContainerConfigError",
            &message,
        )
        .await;
    }
}

/// Tells why the container cannot be created, and waits until it is tried again.
async fn wait(
    simulation: &Simulation,
    pod: &Arc<Pod>,
    index: usize,
    reason: &'static str,
    message: &str,
) {
    let happening = format!("Error: {message}");
    event::report(simulation, pod, Happening::FailedToCreate(&happening));
    wait_for(pod, index, reason, message);
    sleep(AGAIN.mul_f64(simulation.backoff_factor)).await;
}

fn wait_for(pod: &Pod, index: usize, reason: &'static str, message: &str) {
    pod.update(index, |state| {
        state.now = Now::Waiting {
            reason,
            message: Some(message.to_owned()),
        };
    });
}

/// Tries to pull the image until it can be had.
async fn pull(simulation: &Simulation, pod: &Arc<Pod>, index: usize) {
    let image = &pod.container(index).image;
    let behaviour = simulation.images.follow(image);
    let mut backoff = Backoff::new(simulation.backoff_factor);
    // The first failure waits as well: unlike a container, an image was not there before.
    backoff.wait(Duration::ZERO);
    loop {
        let pull = behaviour.borrow().pull;
        if pull == Pull::InvalidName || !is_reference(image) {
            let message = format!(
                "Failed to apply default image tag {image:?}: couldn't parse image name \
                 {image:?}: invalid reference format"
            );
            event::report(simulation, pod, Happening::FailedToInspect(&message));
            wait_for(pod, index, "InvalidImageName", &message);
            sleep(AGAIN.mul_f64(simulation.backoff_factor)).await;
            continue;
        }
        if pull == Pull::Succeeds {
            return;
        }
        let message = format!("failed to pull and unpack image {image:?}: not found");
        event::report(simulation, pod, Happening::FailedToPull(&message));
        wait_for(pod, index, "ErrImagePull", &message);
        let wait = backoff.wait(Duration::ZERO);
        // Both reasons are seen in turn, as on a real node.
        sleep(wait.mul_f64(0.1)).await;
        let message = format!("Back-off pulling image {image:?}");
        event::report(simulation, pod, Happening::BackOffPull(&message));
        wait_for(pod, index, "ImagePullBackOff", &message);
        sleep(wait.mul_f64(0.9)).await;
    }
}

/// Returns what the environment of a container refers to and is not there, in kubelet's words.
async fn missing(simulation: &Simulation, pod: &Pod, container: &Container) -> Option<String> {
    for referent in container.referents() {
        let keys = match referent {
            Referent::ConfigMap(name, ..) => {
                let api: Api<ConfigMap> =
                    Api::namespaced(simulation.client.clone(), &pod.namespace);
                api.get_opt(name).await.map(|found| {
                    found.map(|map| {
                        let text = map.data.unwrap_or_default().into_keys();
                        let bytes = map.binary_data.unwrap_or_default().into_keys();
                        text.chain(bytes).collect::<Vec<_>>()
                    })
                })
            }
            Referent::Secret(name, ..) => {
                let api: Api<Secret> = Api::namespaced(simulation.client.clone(), &pod.namespace);
                api.get_opt(name).await.map(|found| {
                    found.map(|secret| secret.data.unwrap_or_default().into_keys().collect())
                })
            }
        };
        let obstacle = match keys {
            Ok(keys) => referent.obstacle(&pod.namespace, keys.as_deref()),
            Err(error) => Some(format!("failed to sync {referent:?}: {error}")),
        };
        if obstacle.is_some() {
            return obstacle;
        }
    }
    None
}
