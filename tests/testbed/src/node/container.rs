//! The life of one container: create, run, watch, end, wait, again.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::now,
    node::{
        Simulation,
        application::Application,
        backoff::Backoff,
        creation,
        environment::Environment,
        event::{self, Happening},
        probe,
        state::{Ended, Exit, Now, Pod, Wish, no_longer_wanted, vanished},
    },
};

/// Exit code of what had to be killed: 128 and the number of SIGKILL.
const KILLED: i32 = 137;

/// What a container runtime reports for a container that it could not start.
const CANNOT_START: i32 = 128;

const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// Runs a container until its pod shall end, or its restart policy says that it is done.
pub(crate) async fn run(simulation: &Simulation, pod: &Arc<Pod>, index: usize) {
    let mut backoff = Backoff::new(simulation.backoff_factor);
    loop {
        let environment = tokio::select! {
            // A pod that is being deleted must not start, so this is asked first.
            biased;
            _ = no_longer_wanted(pod) => return,
            environment = creation::create(simulation, pod, index) => environment,
        };
        let begun = Instant::now();
        let ended = run_once(simulation, pod, index, environment).await;
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
        "OnFailure" => ended.exit.code != 0,
        _ => true,
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

async fn run_once(
    simulation: &Simulation,
    pod: &Arc<Pod>,
    index: usize,
    environment: Environment,
) -> Ended {
    let started = now();
    let exit = match Application::start(simulation, pod, index, environment).await {
        Ok(application) => attend(simulation, pod, index, application).await,
        Err(error) => {
            tracing::warn!(
                namespace = pod.namespace,
                pod = pod.name,
                error = format!("{error:#}"),
                "container cannot start"
            );
            CANNOT_START.into()
        }
    };
    Ended {
        exit,
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
) -> Exit {
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
        exit = &mut application => return exit,
        given_up = probe::attend(simulation, pod, index) => {
            event::report(simulation, pod, Happening::Killing(&given_up.message));
            pod.update(index, |state| state.ready = false);
            given_up.grace
        }
        wish = no_longer_wanted(pod) => match wish {
            Wish::Terminate { grace_seconds } => Some(Duration::from_secs(grace_seconds)),
            Wish::Run | Wish::Evict | Wish::Vanish => Some(Duration::ZERO),
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
        ended = timeout(grace, &mut application) => ended.unwrap_or(KILLED.into()),
        () = vanished(pod) => KILLED.into(),
    }
}
