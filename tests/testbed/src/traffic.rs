//! An open-loop load generator that follows the endpoints of a Service.
//!
//! Requests leave at a fixed rate, whatever becomes of those before them, so a slow application
//! cannot slow its own measurement. Each has a connection of its own and is never tried again: what
//! is recorded is what a client without any patience sees.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::TryStreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::now,
    get::{self, Request},
    node::PodAddress,
};

mod record;

use record::Record;
pub use record::{Answer, Second, Seen};

/// Requests under way at once. One more counts as failed: its client found no connection.
const IN_FLIGHT: usize = 4096;

const AGENT: &str = "astern-testbed-traffic";

/// What to send to whom.
#[derive(Clone, Debug)]
pub struct TrafficOptions {
    pub namespace: String,
    pub service: String,
    pub requests_per_second: f64,
    pub path: String,
    pub timeout: Duration,
}

impl TrafficOptions {
    /// Asks for `/` of a Service, with a time limit of two seconds for each request.
    #[must_use]
    pub fn new(namespace: &str, service: &str, requests_per_second: f64) -> Self {
        Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            requests_per_second,
            path: "/".to_owned(),
            timeout: Duration::from_secs(2),
        }
    }
}

/// Load on one Service, from its first ready endpoint on. Dropping it stops it.
#[derive(Debug)]
pub struct Traffic {
    record: Arc<Mutex<Record>>,
    endpoints: watch::Receiver<Vec<SocketAddr>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Traffic {
    /// Starts to send as soon as the Service has a ready endpoint.
    #[must_use]
    pub fn start(client: kube::Client, options: TrafficOptions) -> Self {
        let (sender, endpoints) = watch::channel(Vec::new());
        let traffic = Self {
            record: Arc::default(),
            endpoints,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        traffic.spawn(follow(client, options.clone(), sender));
        let requests = send(
            options,
            traffic.endpoints.clone(),
            Arc::clone(&traffic.record),
            traffic.tasks.clone(),
        );
        traffic.spawn(requests);
        traffic
    }

    /// Returns what clients saw of the requests answered in this range of time.
    #[must_use]
    pub fn snapshot(&self, range: impl std::ops::RangeBounds<jiff::Timestamp>) -> Seen {
        self.lock().summary(&range)
    }

    /// Returns what clients saw in the last while.
    #[must_use]
    pub fn last(&self, span: Duration) -> Seen {
        self.snapshot(now() - span..)
    }

    /// Returns total and failed requests of each second in this range of time, in order.
    #[must_use]
    pub fn by_second(&self, range: impl std::ops::RangeBounds<jiff::Timestamp>) -> Vec<Second> {
        self.lock().by_second(&range)
    }

    /// Returns the endpoints that are sent to now, on this machine.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        self.endpoints.borrow().clone()
    }

    /// Sends no more, and waits for the answers that are still out.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn send(
    options: TrafficOptions,
    mut endpoints: watch::Receiver<Vec<SocketAddr>>,
    record: Arc<Mutex<Record>>,
    tasks: TaskTracker,
) {
    if options.requests_per_second <= 0.0 {
        return;
    }
    // Before anything ever ran there is nothing to miss.
    if endpoints.wait_for(|ready| !ready.is_empty()).await.is_err() {
        return;
    }
    let options = Arc::new(options);
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut ticks = interval(Duration::from_secs(1).div_f64(options.requests_per_second));
    // Late requests are sent all the same: the load is what was asked for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for turn in 0_usize.. {
        ticks.tick().await;
        let endpoint = {
            let ready = endpoints.borrow();
            ready.get(turn % ready.len().max(1)).copied()
        };
        let (options, record) = (Arc::clone(&options), Arc::clone(&record));
        let place = Arc::clone(&places).try_acquire_owned();
        tasks.spawn(async move {
            let began = Instant::now();
            let outcome = match (endpoint, &place) {
                (None, _) => Err("no ready endpoint".to_owned()),
                (_, Err(_)) => Err("too many requests under way".to_owned()),
                (Some(endpoint), Ok(_)) => ask(endpoint, &options).await,
            };
            let answer = Answer {
                at: now(),
                latency: began.elapsed(),
                outcome,
            };
            record
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(answer);
        });
    }
}

async fn ask(address: SocketAddr, options: &TrafficOptions) -> Result<u16, String> {
    let request = Request {
        address,
        path: &options.path,
        user_agent: AGENT,
        headers: "",
    };
    match timeout(options.timeout, get::get(request)).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address}: no answer in time")),
    }
}

/// Keeps the list of ready endpoints up to date, for ever.
async fn follow(
    client: kube::Client,
    options: TrafficOptions,
    ready: watch::Sender<Vec<SocketAddr>>,
) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &options.namespace);
    let of_service = watcher::Config::default()
        .labels(&format!("kubernetes.io/service-name={}", options.service));
    let events = watcher(api, of_service).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut slices = BTreeMap::new();
    let mut listed = BTreeMap::new();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(slice))) => {
                listed.insert(slice.name_any(), addresses(&slice));
            }
            Ok(Some(watcher::Event::InitDone)) => slices = std::mem::take(&mut listed),
            Ok(Some(watcher::Event::Apply(slice))) => {
                slices.insert(slice.name_any(), addresses(&slice));
            }
            Ok(Some(watcher::Event::Delete(slice))) => {
                slices.remove(&slice.name_any());
            }
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "the watch of the endpoints broke and starts again");
                continue;
            }
        }
        let mut all: Vec<SocketAddr> = slices.values().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        ready.send_if_modified(|current| {
            let changes = *current != all;
            *current = all;
            changes
        });
    }
}

/// Returns where the ready endpoints of a slice are served on this machine.
fn addresses(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let port = slice
        .ports
        .iter()
        .flatten()
        .find_map(|port| u16::try_from(port.port?).ok());
    let Some(port) = port else {
        return Vec::new();
    };
    let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    });
    ready
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| match address.parse() {
            Ok(IpAddr::V4(address)) => Some(PodAddress(address).socket(port)),
            Ok(IpAddr::V6(_)) | Err(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_endpoints_are_asked_on_their_loopback_twin() {
        let slice: EndpointSlice = serde_json::from_str(
            r#"{"addressType": "IPv4", "metadata": {"name": "checkout-1"},
                "ports": [{"port": 8080}],
                "endpoints": [
                    {"addresses": ["10.200.0.17"], "conditions": {"ready": true}},
                    {"addresses": ["10.200.0.18"], "conditions": {"ready": false, "serving": true}},
                    {"addresses": ["10.200.0.19"], "conditions": {}}
                ]}"#,
        )
        .unwrap();
        let expected: Vec<SocketAddr> = ["127.200.0.17:8080", "127.200.0.19:8080"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(addresses(&slice), expected);
    }
}
