use serde_json::json;

use super::*;
use crate::{
    behaviour::{Crash, Images, Probed},
    get,
    node::{PodNetwork, config::Found, state::pod_at},
};

const PORT: u16 = 8080;

/// An application in a container whose probes share no path.
struct Running {
    address: SocketAddr,
    facts: Arc<Facts>,
    terminate: CancellationToken,
    end: tokio::task::JoinHandle<Exit>,
    _network: PodNetwork,
}

async fn running(behaviour: Behaviour) -> Running {
    let network = PodNetwork::reserve().await.unwrap();
    let address = network.claim().unwrap();
    let pod = pod_at(
        address,
        json!({"metadata": {}, "spec": {"containers": [{
            "name": "app", "ports": [{"containerPort": PORT}],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": PORT}},
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}},
        }]}}),
    );
    let images = Images::new([("app".to_owned(), behaviour)]);
    let environment = Environment::of(&pod, pod.container(0), &Found::new()).unwrap();
    let server = Server::start(&pod, 0, images.follow("app"), environment)
        .await
        .unwrap();
    let facts = Arc::clone(&server.facts);
    let terminate = CancellationToken::new();
    let end = tokio::spawn(server.run(terminate.clone()));
    Running {
        address: address.socket(PORT),
        facts,
        terminate,
        end,
        _network: network,
    }
}

impl Running {
    async fn ask(&self, path: &str) -> Option<u16> {
        let request = get::Request {
            address: self.address,
            path,
            user_agent: "somebody",
            headers: "",
        };
        get::get(request).await.ok()
    }

    fn counted(&self) -> String {
        let measures = self.facts.measures.lock().unwrap();
        measures.page(Metrics::HTTPRequests, &self.facts.labels)
    }
}

#[tokio::test]
async fn only_requests_of_users_are_counted() {
    let application = running(Behaviour::default()).await;
    for path in ["/", "/cart", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(application.ask(path).await, Some(200), "{path}");
    }
    let page = application.counted();
    let line = "http_requests_total{code=\"200\",method=\"GET\"} 2";
    assert!(page.contains(line), "{page}");
}

#[tokio::test]
async fn each_probe_fails_alone() {
    let application = running(Behaviour {
        liveness: Probed {
            fail_after: Some(Duration::ZERO),
            recover_after: None,
        },
        ..Behaviour::default()
    })
    .await;
    assert_eq!(application.ask("/healthz").await, Some(500));
    assert_eq!(application.ask("/readyz").await, Some(200));
    assert_eq!(application.ask("/").await, Some(200));
}

#[tokio::test]
async fn a_terminated_application_serves_on_while_it_drains() {
    let application = running(Behaviour {
        drain: Duration::from_millis(300),
        ..Behaviour::default()
    })
    .await;
    application.terminate.cancel();
    assert_eq!(application.ask("/").await, Some(200));
    let address = application.address;
    assert_eq!(application.end.await.unwrap(), Exit::from(0));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_crash_has_the_exit_code_of_the_scenario() {
    let application = running(Behaviour {
        crash: Some(Crash {
            after: Duration::from_millis(10),
            exit_code: 3,
            out_of_memory: false,
        }),
        ..Behaviour::default()
    })
    .await;
    assert_eq!(application.end.await.unwrap(), Exit::from(3));
}

#[tokio::test]
async fn an_application_that_takes_too_much_memory_is_killed_for_it() {
    let application = running(Behaviour {
        crash: Some(Crash {
            after: Duration::ZERO,
            exit_code: 3,
            out_of_memory: true,
        }),
        ..Behaviour::default()
    })
    .await;
    assert_eq!(application.end.await.unwrap(), Exit::OUT_OF_MEMORY);
}

#[tokio::test]
async fn slow_requests_are_counted_as_slow() {
    let application = running(Behaviour {
        latency: Duration::from_millis(30).into(),
        ..Behaviour::default()
    })
    .await;
    assert_eq!(application.ask("/").await, Some(200));
    let page = application.counted();
    let name = "http_request_duration_seconds_bucket{code=\"200\",method=\"GET\",";
    let bucket = |limit: &str, count: u8| page.contains(&format!("{name}le=\"{limit}\"}} {count}"));
    assert!(bucket("0.025", 0) && bucket("+Inf", 1), "{page}");
}
