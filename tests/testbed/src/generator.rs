//! A server of metrics for thousands of pods that exist by name alone.
//!
//! Every pod is a target of its own for Prometheus, with a path of its own on one address, and
//! carries the labels that relabelling would give it. Its counters are a function of its name, its
//! age and a seed: nothing is counted, and two runs differ in nothing but their times of birth.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{self, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Client errors are part of every application's life, and nobody's fault.
const NOT_FOUND: f64 = 0.01;

/// How fast the counters of the pods rise.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Requests per second and pod, on average; a pod has between half and one and a half of it.
    pub requests_per_second: f64,
    /// The share of requests answered by 500.
    pub errors: f64,
    /// The same for the pods of one `ReplicaSet`, by its name.
    pub errors_of: BTreeMap<String, f64>,
    pub seed: u64,
}

/// Serves metrics until it is dropped.
#[derive(Debug)]
pub struct SeriesGenerator {
    address: SocketAddr,
    shared: Arc<Shared>,
    _end: DropGuard,
}

#[derive(Debug)]
struct Shared {
    rates: Rates,
    pods: Mutex<HashMap<(String, String), Instant>>,
}

impl SeriesGenerator {
    /// Starts to serve, without any pods at first.
    ///
    /// # Errors
    ///
    /// When the address is taken.
    pub async fn start(address: SocketAddr, rates: Rates) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("the series generator cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            rates,
            pods: Mutex::default(),
        });
        let router = Router::new()
            .route("/pods/{namespace}/{pod}", get(metrics))
            .with_state(Arc::clone(&shared));
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move {
            let serving = axum::serve(listener, router).into_future();
            if let Some(Err(error)) = ended.run_until_cancelled_owned(serving).await {
                tracing::warn!(%error, "the series generator serves no more");
            }
        });
        Ok(Self {
            address,
            shared,
            _end: end.drop_guard(),
        })
    }

    /// Serves these pods (namespace and name) and no others, and tells Prometheus by a file in the
    /// format of `file_sd_configs`. The counters of a pod that is new begin at zero; those of one
    /// that was there go on.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn publish(
        &self,
        pods: impl IntoIterator<Item = (String, String)>,
        file: &Path,
    ) -> anyhow::Result<()> {
        let targets: Value = {
            let mut known = self.shared.pods();
            let now = Instant::now();
            let born = |pod: (String, String)| {
                let born = known.get(&pod).copied().unwrap_or(now);
                (pod, born)
            };
            *known = pods.into_iter().map(born).collect();
            known.keys().map(|pod| self.target(pod)).collect()
        };
        // Prometheus must not see half of it.
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, targets.to_string())
            .and_then(|()| fs::rename(&unfinished, file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn target(&self, (namespace, pod): &(String, String)) -> Value {
        json!({
            "targets": [self.address.to_string()],
            "labels": {
                "__metrics_path__": format!("/pods/{namespace}/{pod}"),
                // One address for all, so the path must tell them apart.
                "instance": format!("{namespace}/{pod}"),
                "namespace": namespace,
                "pod": pod,
            },
        })
    }
}

impl Shared {
    fn pods(&self) -> MutexGuard<'_, HashMap<(String, String), Instant>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn metrics(
    State(shared): State<Arc<Shared>>,
    extract::Path(pod): extract::Path<(String, String)>,
) -> impl IntoResponse {
    let born = shared.pods().get(&pod).copied();
    let Some(born) = born else {
        return (StatusCode::NOT_FOUND, "no such pod\n".to_owned()).into_response();
    };
    let page = shared.rates.page((&pod.0, &pod.1), born.elapsed());
    let plain = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (plain, page).into_response()
}

impl Rates {
    /// Returns what a pod of this age has counted.
    fn page(&self, pod: (&str, &str), age: Duration) -> String {
        let mut page = String::from("# TYPE http_requests_total counter\n");
        for (code, count) in self.counts(pod, age) {
            writeln!(page, "http_requests_total{{code=\"{code}\"}} {count}")
                .expect("writing to a string cannot fail");
        }
        page
    }

    /// Each code has a rate of its own, so that no counter ever falls by rounding.
    fn counts(&self, (namespace, pod): (&str, &str), age: Duration) -> [(u16, f64); 3] {
        let replica_set = pod.rsplit_once('-').map_or(pod, |(owner, _)| owner);
        let errors = self.errors_of.get(replica_set).unwrap_or(&self.errors);
        let digest = Sha256::digest(format!("{}/{namespace}/{pod}", self.seed));
        let requests = self.requests_per_second * (0.5 + f64::from(digest[0]) / 255.0);
        let good = (1.0 - errors) * (1.0 - NOT_FOUND);
        let shares = [(200, good), (404, 1.0 - errors - good), (500, *errors)];
        shares.map(|(code, share)| (code, (requests * share * age.as_secs_f64()).floor()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::get;

    const POD: (&str, &str) = ("shop-1", "app-3-5f7c-abcde");

    fn rates() -> Rates {
        Rates {
            requests_per_second: 4.0,
            errors: 0.001,
            errors_of: BTreeMap::from([("app-3-5f7c".to_owned(), 0.5)]),
            seed: 7,
        }
    }

    fn at(rates: &Rates, pod: (&str, &str), seconds: u64) -> [f64; 3] {
        rates
            .counts(pod, Duration::from_secs(seconds))
            .map(|(_, count)| count)
    }

    #[test]
    fn counters_never_fall() {
        for second in 0..1000 {
            let (before, after) = (at(&rates(), POD, second), at(&rates(), POD, second + 1));
            assert!(
                before
                    .iter()
                    .zip(after)
                    .all(|(before, after)| *before <= after)
            );
        }
    }

    #[test]
    fn a_revision_may_have_errors_of_its_own() {
        let [good, not_found, failed] = at(&rates(), POD, 1000);
        let share = failed / (good + not_found + failed);
        assert!((share - 0.5).abs() < 0.01, "{share}");
        let [good, not_found, failed] = at(&rates(), ("shop-1", "app-3-77aa-abcde"), 1000);
        let share = failed / (good + not_found + failed);
        assert!(share < 0.002, "{share}");
        let total = good + not_found + failed;
        assert!((2000.0..=6000.0).contains(&total), "{total}");
    }

    #[test]
    fn the_same_seed_counts_the_same() {
        let page = |rates: &Rates| rates.page(POD, Duration::from_secs(300));
        assert_eq!(page(&rates()), page(&rates()));
        let other = Rates { seed: 8, ..rates() };
        assert_ne!(page(&rates()), page(&other));
    }

    #[tokio::test]
    async fn only_published_pods_are_served_and_each_is_a_target() {
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        let generator = SeriesGenerator::start(anywhere, rates()).await.unwrap();
        let directory = crate::bed::directory::Directory::create("generator", false).unwrap();
        let file = directory.path().join("targets.json");
        let pod = (POD.0.to_owned(), POD.1.to_owned());
        generator.publish([pod], &file).unwrap();

        let targets: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let labels = &targets[0]["labels"];
        assert_eq!(
            (&labels["namespace"], &labels["pod"]),
            (&json!(POD.0), &json!(POD.1))
        );
        let ask = async |path: &str| {
            let request = get::Request {
                address: generator.address,
                path,
                user_agent: "prometheus",
                headers: "",
            };
            get::get(request).await.unwrap()
        };
        assert_eq!(ask(labels["__metrics_path__"].as_str().unwrap()).await, 200);
        assert_eq!(ask("/pods/shop-1/other").await, 404);
    }
}
