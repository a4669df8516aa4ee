//! The life of one container: pull, run, watch, end, wait, again.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    behaviour::Pull,
    clock::now,
    node::{
        Simulation,
        application::Application,
        backoff::Backoff,
        event::{self, Happening},
        probe,
        state::{Ended, Now, Pod, Wish, no_longer_wanted, vanished},
    },
};

/// Exit code of what had to be killed: 128 and the number of SIGKILL.
const KILLED: i32 = 137;

const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Runs a container until its pod shall end, or its restart policy says that it is done.
pub(crate) async fn run(simulation: &Simulation, pod: &Arc<Pod>, index: usize) {
    let mut backoff = Backoff::new(simulation.backoff_factor);
    loop {
        tokio::select! {
            // A pod that is being deleted must not start, so this is asked first.
            biased;
            _ = no_longer_wanted(pod) => return,
            () = pull(simulation, pod, index) => {}
        }
        let begun = Instant::now();
        let ended = run_once(simulation, pod, index).await;
        pod.update(index, |state| {
            state.now = Now::Ended(ended.clone());
            state.ready = false;
            state.started = false;
        });
        if *pod.wish.borrow() != Wish::Run || !restarts(pod, &ended) {
            return;
        }
        tokio::select! {
            () = back_off(simulation, pod, index, backoff.wait(begun.elapsed())) => {}
            _ = no_longer_wanted(pod) => return,
        }
        pod.update(index, |state| {
            state.last = Some(ended);
            state.restarts += 1;
        });
    }
}

fn restarts(pod: &Pod, ended: &Ended) -> bool {
    match pod.manifest.spec.restart_policy.as_str() {
        "Never" => false,
        "OnFailure" => ended.exit_code != 0,
        _ => true,
    }
}

/// Tries to pull the image until it can be had.
async fn pull(simulation: &Simulation, pod: &Arc<Pod>, index: usize) {
    let image = &pod.container(index).image;
    let behaviour = simulation.images.follow(image);
    let mut backoff = Backoff::new(simulation.backoff_factor);
    // The first failure waits as well: unlike a container, an image was not there before.
    backoff.wait(Duration::ZERO);
    while behaviour.borrow().pull == Pull::Fails {
        let message = format!("failed to pull and unpack image {image:?}: not found");
        event::report(simulation, pod, Happening::FailedToPull(&message));
        pod.update(index, |state| {
            state.now = Now::Waiting {
                reason: "ErrImagePull",
                message: Some(message),
            };
        });
        let wait = backoff.wait(Duration::ZERO);
        // Both reasons are seen in turn, as on a real node.
        sleep(wait.mul_f64(0.1)).await;
        let message = format!("Back-off pulling image {image:?}");
        event::report(simulation, pod, Happening::BackOffPull(&message));
        pod.update(index, |state| {
            state.now = Now::Waiting {
                reason: "ImagePullBackOff",
                message: Some(message),
            };
        });
        sleep(wait.mul_f64(0.9)).await;
    }
}

async fn back_off(simulation: &Simulation, pod: &Arc<Pod>, index: usize, wait: Duration) {
    if wait.is_zero() {
        return;
    }
    let container = &pod.container(index).name;
    let message = format!(
        "Back-off restarting failed container {container} in pod {}",
        pod.name
    );
    event::report(simulation, pod, Happening::BackOffRestart(&message));
    pod.update(index, |state| {
        if let Now::Ended(ended) = &state.now {
            state.last = Some(ended.clone());
        }
        state.now = Now::Waiting {
            reason: "CrashLoopBackOff",
            message: Some(format!(
                "back-off {}s restarting failed container={container} pod={}",
                wait.as_secs(),
                pod.name
            )),
        };
    });
    sleep(wait).await;
}

async fn run_once(simulation: &Simulation, pod: &Arc<Pod>, index: usize) -> Ended {
    let started = now();
    let exit_code = match Application::start(simulation, pod, index).await {
        Ok(application) => attend(simulation, pod, index, application).await,
        Err(error) => {
            tracing::warn!(
                namespace = pod.namespace,
                pod = pod.name,
                error = format!("{error:#}"),
                "container cannot start"
            );
            128
        }
    };
    Ended {
        exit_code,
        started,
        finished: now(),
    }
}

/// Watches a running application until it ends, by itself or because it must.
async fn attend(
    simulation: &Simulation,
    pod: &Arc<Pod>,
    index: usize,
    application: Application,
) -> i32 {
    let container = pod.container(index);
    pod.update(index, |state| {
        state.now = Now::Running { since: now() };
        state.started = container.startup_probe.is_none();
        state.ready = state.started && container.readiness_probe.is_none();
    });
    let terminate = CancellationToken::new();
    let application = application.run(terminate.clone());
    tokio::pin!(application);

    let grace = tokio::select! {
        exit_code = &mut application => return exit_code,
        given_up = probe::attend(simulation, pod, index) => {
            event::report(simulation, pod, Happening::Killing(&given_up.message));
            pod.update(index, |state| state.ready = false);
            given_up.grace
        }
        wish = no_longer_wanted(pod) => match wish {
            Wish::Terminate { grace_seconds } => Some(Duration::from_secs(grace_seconds)),
            Wish::Run | Wish::Vanish => Some(Duration::ZERO),
        },
    };
    terminate.cancel();
    let grace = grace
        .or_else(|| {
            let seconds = pod.manifest.spec.termination_grace_period_seconds?;
            Some(Duration::from_secs(seconds))
        })
        .unwrap_or(DEFAULT_GRACE);
    // Dropping an application kills it.
    tokio::select! {
        ended = timeout(grace, &mut application) => ended.unwrap_or(KILLED),
        () = vanished(pod) => KILLED,
    }
}
