//! The simulated application of a pod: a real HTTP server on the pod's loopback twin.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    body::Body,
    http::{Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    behaviour::{Behaviour, Metrics},
    node::{
        environment::Environment,
        manifest::Probe,
        measures::{Labels, Measures},
        probe::AGENT,
        state::{Exit, Pod},
    },
};

/// How long open requests are waited for once the port is closed.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Exit code of what SIGTERM ended: 128 and the number of the signal.
const ENDED_BY_SIGTERM: i32 = 143;

/// A killed server closes its ports a moment later.
const HAND_OVER: Duration = Duration::from_secs(1);

type Following = watch::Receiver<Arc<Behaviour>>;

pub(crate) struct Server {
    facts: Arc<Facts>,
    addresses: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
    behaviour: Following,
}

/// What the answer to a request depends on.
struct Facts {
    started: Instant,
    behaviour: Following,
    environment: Environment,
    liveness_path: Option<String>,
    readiness_path: Option<String>,
    labels: Labels,
    measures: Mutex<Measures>,
    /// How many have arrived.
    requests: AtomicU32,
}

impl Server {
    /// Starts the application. One without a start-up time listens before this returns.
    ///
    /// # Errors
    ///
    /// When a port of the pod's address is taken.
    pub(crate) async fn start(
        pod: &Pod,
        index: usize,
        mut behaviour: Following,
        environment: Environment,
    ) -> anyhow::Result<Self> {
        let container = pod.container(index);
        let addresses: Vec<SocketAddr> = container
            .listening_ports()
            .into_iter()
            .map(|port| pod.address.socket(port))
            .collect();
        let startup = behaviour.borrow_and_update().startup;
        let listeners = if startup.is_zero() {
            listen(&addresses).await?
        } else {
            Vec::new()
        };
        let facts = Facts {
            started: Instant::now(),
            behaviour: behaviour.clone(),
            environment,
            liveness_path: probed_path(container.liveness_probe.as_ref()),
            readiness_path: probed_path(container.readiness_probe.as_ref()),
            labels: Labels::of(pod),
            measures: Mutex::default(),
            requests: AtomicU32::new(0),
        };
        Ok(Self {
            facts: Arc::new(facts),
            addresses,
            listeners,
            behaviour,
        })
    }

    pub(crate) async fn run(mut self, terminate: CancellationToken) -> Exit {
        let started = self.facts.started;
        let startup = self.behaviour.borrow().startup;
        if !startup.is_zero() {
            tokio::select! {
                () = sleep_until(started + startup) => {}
                exit = crash(&mut self.behaviour, &self.facts) => return exit,
                () = terminate.cancelled() => return 0.into(),
            }
            match listen(&self.addresses).await {
                Ok(listeners) => self.listeners = listeners,
                Err(_) => return 1.into(),
            }
        }
        let closing = CancellationToken::new();
        let mut accepting = JoinSet::new();
        for listener in self.listeners.drain(..) {
            accepting.spawn(serve(listener, Arc::clone(&self.facts), closing.clone()));
        }
        tokio::select! {
            exit = crash(&mut self.behaviour, &self.facts) => return exit,
            () = terminate.cancelled() => {}
        }
        let drain = self.behaviour.borrow().drain;
        sleep(drain).await;
        closing.cancel();
        let _ = timeout(LAST_REQUESTS, accepting.join_all()).await;
        // What has lost its liveness does not go in good order.
        let alive = self.behaviour.borrow().liveness.passes(started.elapsed());
        let code = if alive { 0 } else { ENDED_BY_SIGTERM };
        code.into()
    }
}

fn probed_path(probe: Option<&Probe>) -> Option<String> {
    Some(probe?.http_get.as_ref()?.path.clone())
}

async fn listen(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = listen_at(*address)
            .await
            .with_context(|| format!("failed to listen on {address}"))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Takes an address, which the container before this one may be about to give up.
async fn listen_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let deadline = Instant::now() + HAND_OVER;
    loop {
        match TcpListener::bind(address).await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(5)).await,
            outcome => return outcome,
        }
    }
}

/// Waits until the behaviour says that the application ends by itself.
async fn crash(behaviour: &mut Following, facts: &Facts) -> Exit {
    loop {
        let crash = {
            let behaviour = behaviour.borrow_and_update();
            behaviour.crash_in(facts.environment.variables()).cloned()
        };
        let end = async {
            match crash {
                Some(crash) => {
                    sleep_until(facts.started + crash.after).await;
                    if crash.out_of_memory {
                        Exit::OUT_OF_MEMORY
                    } else {
                        crash.exit_code.into()
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exit = end => return exit,
            () = change(behaviour) => {}
        }
    }
}

/// Waits for the next change; once the registry is gone there is none.
async fn change(behaviour: &mut Following) {
    if behaviour.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn serve(listener: TcpListener, facts: Arc<Facts>, closing: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely; connections end and free some.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = closing.cancelled() => break,
        };
        let facts = Arc::clone(&facts);
        let service = service_fn(move |request| answer(Arc::clone(&facts), request));
        let connection =
            graceful.watch(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        connections.spawn(connection);
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn answer(
    facts: Arc<Facts>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let began = Instant::now();
    let behaviour = Arc::clone(&facts.behaviour.borrow());
    let path = request.uri().path();
    if path == "/metrics" && behaviour.metrics != Metrics::None {
        return Ok(facts.metrics_page(behaviour.metrics));
    }
    let by_probe = request
        .headers()
        .get(header::USER_AGENT)
        .is_some_and(|agent| agent.as_bytes() == AGENT.as_bytes());
    if by_probe || facts.is_probe_path(path) {
        return Ok(facts.probe_answer(&behaviour, path));
    }
    let latency = behaviour
        .latency
        .of(facts.requests.fetch_add(1, Ordering::Relaxed));
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let faulty = began - facts.started >= behaviour.errors_after;
    let error_rate = if faulty {
        behaviour.error_rate_in(facts.environment.variables())
    } else {
        0.0
    };
    let status = facts
        .measures
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .record(request.method(), error_rate, began.elapsed());
    Ok(text(status, status.as_str().to_owned()))
}

impl Facts {
    fn is_probe_path(&self, path: &str) -> bool {
        path != "/"
            && [&self.liveness_path, &self.readiness_path]
                .into_iter()
                .flatten()
                .any(|probed| probed == path)
    }

    /// Answers a probe. A path that both probes share passes only if both do.
    fn probe_answer(&self, behaviour: &Behaviour, path: &str) -> Response<Body> {
        let age = self.started.elapsed();
        let fails =
            |probed: &Option<String>, passes: bool| probed.as_deref() == Some(path) && !passes;
        if fails(&self.liveness_path, behaviour.liveness.passes(age))
            || fails(&self.readiness_path, behaviour.readiness.passes(age))
        {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "failing".to_owned());
        }
        text(StatusCode::OK, "ok".to_owned())
    }

    fn metrics_page(&self, shape: Metrics) -> Response<Body> {
        let page = self
            .measures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .page(shape, &self.labels);
        text(StatusCode::OK, page)
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests;
