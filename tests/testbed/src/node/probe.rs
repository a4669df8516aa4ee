//! The probes of a container, done for real over the network.
//!
//! Probes by `exec` and `grpc` are not run: there is no container to run them in. They are counted
//! as `unknown`, which changes nothing, as on a node whose container runtime does not answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    get::{self, Request},
    node::{
        Simulation,
        event::{self, Happening},
        manifest::{HttpGet, Probe},
        state::{Pod, ProbeKind, ProbeResult},
    },
};

/// Agent of every probe, by which an application can tell them from its users.
pub(crate) const AGENT: &str = "kube-probe/1.37";

/// A container that its probes have given up.
pub(crate) struct GivenUp {
    pub(crate) message: String,
    /// Replaces the pod's grace period.
    pub(crate) grace: Option<Duration>,
}

/// One probe of one container.
#[derive(Clone, Copy)]
struct Prober<'a> {
    simulation: &'a Simulation,
    pod: &'a Arc<Pod>,
    index: usize,
    kind: ProbeKind,
    probe: &'a Probe,
}

/// Probes a container, and returns when it must be restarted.
pub(crate) async fn attend(simulation: &Simulation, pod: &Arc<Pod>, index: usize) -> GivenUp {
    let container = pod.container(index);
    let prober = |kind, probe| Prober {
        simulation,
        pod,
        index,
        kind,
        probe,
    };
    if let Some(probe) = &container.startup_probe {
        let prober = prober(ProbeKind::Startup, probe);
        if !prober.passes_once().await {
            return prober.given_up();
        }
        pod.update(index, |state| {
            state.started = true;
            state.ready = container.readiness_probe.is_none();
        });
    }
    let readiness = async {
        match &container.readiness_probe {
            Some(probe) => prober(ProbeKind::Readiness, probe).follow_readiness().await,
            None => std::future::pending::<Infallible>().await,
        }
    };
    let liveness = async {
        match &container.liveness_probe {
            Some(probe) => prober(ProbeKind::Liveness, probe).until_failed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = readiness => match never {},
        given_up = liveness => given_up,
    }
}

impl Prober<'_> {
    /// Probes until it has passed or failed as often as the probe says.
    async fn passes_once(self) -> bool {
        let mut failures = 0;
        sleep(Duration::from_secs(self.probe.initial_delay_seconds)).await;
        loop {
            match self.once().await {
                ProbeResult::Successful => return true,
                ProbeResult::Failed => failures += 1,
                ProbeResult::Unknown => {}
            }
            if failures >= self.probe.failure_threshold {
                return false;
            }
            self.pause().await;
        }
    }

    async fn until_failed(self) -> GivenUp {
        let mut failures = 0;
        sleep(Duration::from_secs(self.probe.initial_delay_seconds)).await;
        loop {
            match self.once().await {
                ProbeResult::Successful => failures = 0,
                ProbeResult::Failed => failures += 1,
                ProbeResult::Unknown => {}
            }
            if failures >= self.probe.failure_threshold {
                return self.given_up();
            }
            self.pause().await;
        }
    }

    async fn follow_readiness(self) -> Infallible {
        let (mut successes, mut failures) = (0, 0);
        sleep(Duration::from_secs(self.probe.initial_delay_seconds)).await;
        loop {
            match self.once().await {
                ProbeResult::Successful => (successes, failures) = (successes + 1, 0),
                ProbeResult::Failed => (successes, failures) = (0, failures + 1),
                ProbeResult::Unknown => {}
            }
            if successes >= self.probe.success_threshold {
                self.pod.update(self.index, |state| state.ready = true);
            } else if failures >= self.probe.failure_threshold {
                self.pod.update(self.index, |state| state.ready = false);
            }
            self.pause().await;
        }
    }

    async fn pause(self) {
        sleep(Duration::from_secs(self.probe.period_seconds.max(1))).await;
    }

    fn given_up(self) -> GivenUp {
        let name = &self.pod.container(self.index).name;
        let kind = word(self.kind).to_lowercase();
        GivenUp {
            message: format!("Container {name} failed {kind} probe, will be restarted"),
            grace: self
                .probe
                .termination_grace_period_seconds
                .map(Duration::from_secs),
        }
    }

    async fn once(self) -> ProbeResult {
        let limit = Duration::from_secs(self.probe.timeout_seconds.max(1));
        let outcome = if let Some(get) = &self.probe.http_get {
            timeout(limit, self.get(get)).await
        } else if let Some(socket) = &self.probe.tcp_socket {
            let port = self.pod.container(self.index).port(&socket.port);
            timeout(limit, self.connect(port)).await
        } else {
            Ok(Ok(ProbeResult::Unknown))
        };
        let (result, message) = match outcome {
            Ok(Ok(result)) => (result, None),
            Ok(Err(message)) => (ProbeResult::Failed, Some(message)),
            Err(_) => (
                ProbeResult::Failed,
                Some("context deadline exceeded".to_owned()),
            ),
        };
        self.pod.containers[self.index]
            .probes
            .count(self.kind, result);
        if let Some(message) = message {
            let message = format!("{} probe failed: {message}", word(self.kind));
            event::report(self.simulation, self.pod, Happening::Unhealthy(&message));
        }
        result
    }

    async fn get(self, get: &HttpGet) -> Result<ProbeResult, String> {
        let Some(port) = self.pod.container(self.index).port(&get.port) else {
            return Err(format!("port {:?} is not declared", get.port));
        };
        let mut headers = String::new();
        for header in &get.http_headers {
            headers.extend([&header.name, ": ", &header.value, "\r\n"]);
        }
        let request = Request {
            address: self.pod.address.socket(port),
            path: &get.path,
            user_agent: AGENT,
            headers: &headers,
        };
        match get::get(request).await {
            Ok(status) if (200..400).contains(&status) => Ok(ProbeResult::Successful),
            Ok(status) => Err(format!("HTTP probe failed with statuscode: {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn connect(self, port: Option<u16>) -> Result<ProbeResult, String> {
        let port = port.ok_or("port is not declared")?;
        TcpStream::connect(self.pod.address.socket(port))
            .await
            .map(|_| ProbeResult::Successful)
            .map_err(|error| error.to_string())
    }
}

fn word(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Liveness => "Liveness",
        ProbeKind::Readiness => "Readiness",
        ProbeKind::Startup => "Startup",
    }
}
