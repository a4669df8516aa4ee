//! What stands between a pod and the start of its container: the image, and all that the container
//! refers to.
//!
//! A node tries again for ever, so nothing here ends but in a container that can start.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    behaviour::{Create, Pull, is_reference},
    node::{
        Simulation,
        backoff::Backoff,
        config,
        environment::{self, Environment},
        event::{self, Happening},
        state::{Now, Pod},
    },
};

/// How soon kubelet tries again to create a container. Unlike with images and crashes, every time
/// the same.
const AGAIN: Duration = Duration::from_secs(10);

/// Returns the environment of a container, as soon as it can start.
pub(super) async fn create(simulation: &Simulation, pod: &Arc<Pod>, index: usize) -> Environment {
    let behaviour = simulation.images.follow(&pod.container(index).image);
    loop {
        pull(simulation, pod, index).await;
        let create = behaviour.borrow().create;
        let environment = match create {
            Create::Succeeds => resolve(simulation, pod, index).await,
            Create::ConfigFails => Err("configmap \"simulated\" not found".to_owned()),
            Create::Fails => {
                let message = "failed to create the container: refused by the simulated runtime";
                wait(simulation, pod, index, "CreateContainerError", message).await;
                continue;
            }
        };
        let message = match environment {
            Ok(environment) => return environment,
            Err(message) => message,
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

/// Tries to pull the image until it can be had. What the node has is not pulled again, unless the
/// pod asks for that.
async fn pull(simulation: &Simulation, pod: &Arc<Pod>, index: usize) {
    let container = pod.container(index);
    let (image, node) = (&container.image, &pod.manifest.spec.node_name);
    if container.image_pull_policy == "IfNotPresent" && simulation.pulled.has(node, image) {
        return;
    }
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
            simulation.pulled.add(node, image);
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

/// Reads what the environment of a container refers to. What is missing is told in kubelet's words.
async fn resolve(simulation: &Simulation, pod: &Pod, index: usize) -> Result<Environment, String> {
    let container = pod.container(index);
    let found = config::read(simulation, pod, environment::referred(container)).await?;
    Environment::of(pod, container, &found)
}
