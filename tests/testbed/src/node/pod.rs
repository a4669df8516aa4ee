//! The life of one pod: its containers side by side, its status, its end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::node::{
    Simulation, container,
    manifest::Manifest,
    mounts, outage,
    state::{Pod, Wish, released, vanished},
    status::StatusPage,
};

/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(20);

const RETRY: Duration = Duration::from_secs(1);

/// The watch may have to be started anew before it delivers the deletion.
const LAST_EVENT: Duration = Duration::from_secs(30);

/// Runs a pod until it is gone from the API server.
pub(crate) async fn run(simulation: Arc<Simulation>, pod: Arc<Pod>) {
    let mut page = StatusPage::of(&pod);
    let mut told = Value::Null;
    {
        let containers = async {
            mounts::mount(&simulation, &pod).await;
            let all =
                (0..pod.containers.len()).map(|index| container::run(&simulation, &pod, index));
            join_all(all).await;
            // One that was evicted stays, for people to see, until somebody deletes it.
            released(&pod).await;
        };
        let telling = async {
            loop {
                pod.changed.notified().await;
                sleep(GATHER).await;
                tell(&simulation, &pod, &mut page, &mut told).await;
            }
        };
        pod.changed.notify_one();
        tokio::select! {
            () = containers => {}
            () = telling => {}
            never = outage::evict_when_due(&simulation, &pod) => match never {},
            () = vanished(&pod) => {}
        }
    }
    if *pod.wish.borrow() != Wish::Vanish {
        tell(&simulation, &pod, &mut page, &mut told).await;
        delete(&simulation, &pod).await;
        // Until the watch says so too, an older event could bring the pod back to life.
        let _ = timeout(LAST_EVENT, vanished(&pod)).await;
    }
}

/// Writes the status, if it differs from what was written last, and again until it is taken.
async fn tell(simulation: &Simulation, pod: &Pod, page: &mut StatusPage, told: &mut Value) {
    let api = api(simulation, pod);
    loop {
        let status = if pod.unheard.load(Ordering::Relaxed) {
            page.given_up()
        } else {
            page.render(pod)
        };
        if status == *told {
            return;
        }
        // The UID keeps the status of a dead pod off a new one of the same name.
        let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
        let outcome = {
            let _turn = simulation.turn().await;
            api.patch_status(
                &pod.name,
                &PatchParams::default(),
                &Patch::Strategic(&patch),
            )
            .await
        };
        match outcome {
            Ok(_) => {
                *told = status;
                return;
            }
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return,
            Err(error) => {
                tracing::debug!(pod = pod.name, %error, "cannot write the status of a pod");
                sleep(RETRY).await;
            }
        }
    }
}

/// Deletes a pod that has ended, as only its node may.
async fn delete(simulation: &Simulation, pod: &Pod) {
    let api = api(simulation, pod);
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(pod.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    loop {
        let outcome = {
            let _turn = simulation.turn().await;
            api.delete(&pod.name, &now).await
        };
        match outcome {
            Ok(_) => return,
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return,
            Err(error) => {
                tracing::debug!(pod = pod.name, %error, "cannot delete a pod");
                sleep(RETRY).await;
            }
        }
    }
}

/// The slim type serves for the answers too: a typed Pod would be read only to be thrown away.
fn api(simulation: &Simulation, pod: &Pod) -> Api<Manifest> {
    Api::namespaced(simulation.client.clone(), &pod.namespace)
}
