use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::any,
};
use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Fault, FaultProxy, Matcher, Moment, Rule, Seen, Upstream, Which};
use crate::bed::Authority;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const SOON: Duration = Duration::from_secs(10);

/// A server that counts and says what it was asked, and a proxy before it.
struct Pair {
    proxy: FaultProxy,
    client: reqwest::Client,
    received: Arc<AtomicUsize>,
}

async fn pair() -> Pair {
    let received = Arc::new(AtomicUsize::new(0));
    let router = Router::new()
        .route("/watch", any(watch))
        .fallback(echo)
        .with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind(ANYWHERE).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    let upstream = Upstream { url, ca_pem: None };
    let proxy = FaultProxy::start(ANYWHERE, upstream, None).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Pair {
        proxy,
        client,
        received,
    }
}

async fn echo(
    State(received): State<Arc<AtomicUsize>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let number = received.fetch_add(1, Ordering::SeqCst) + 1;
    let method = request.method().to_string();
    let path = request.uri().to_string();
    let body = axum::body::to_bytes(request.into_body(), 1_000_000)
        .await
        .unwrap();
    let authorization = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap());
    axum::Json(json!({
        "number": number,
        "method": method,
        "path": path,
        "authorization": authorization,
        "body": String::from_utf8_lossy(&body),
    }))
    .into_response()
}

/// Sends one event and then nothing, for ever.
async fn watch() -> Response {
    let first = stream::once(async { Ok::<_, std::io::Error>("first\n") });
    Body::from_stream(first.chain(stream::pending())).into_response()
}

impl Pair {
    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.client
            .get(format!("{}{path}", self.proxy.url()))
            .send()
            .await
    }

    async fn post(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.client
            .post(format!("{}{path}", self.proxy.url()))
            .send()
            .await
    }

    async fn number(&self, path: &str) -> u64 {
        let answer = json_of(self.get(path).await.unwrap()).await;
        answer["number"].as_u64().unwrap()
    }

    fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn requests_and_answers_pass_unchanged() {
    let pair = pair().await;
    let response = pair
        .client
        .patch(format!("{}/apis/x?a=b%20c", pair.proxy.url()))
        .header("authorization", "Bearer secret")
        .body("[1]")
        .send()
        .await
        .unwrap();
    assert_eq!(
        json_of(response).await,
        json!({
            "number": 1,
            "method": "PATCH",
            "path": "/apis/x?a=b%20c",
            "authorization": "Bearer secret",
            "body": "[1]",
        })
    );
    let seen = Seen {
        method: "PATCH".to_owned(),
        path: "/apis/x?a=b%20c".to_owned(),
        status: Some(200),
    };
    assert_eq!(pair.proxy.requests(), [seen]);
}

#[tokio::test]
async fn a_metered_request_is_kept_with_its_body_and_the_size_of_its_answer() {
    let pair = pair().await;
    pair.post("/before").await.unwrap();
    pair.proxy.meter();
    let url = format!("{}/api/v1/query", pair.proxy.url());
    let answer = pair.client.post(url).body("query=up").send().await.unwrap();
    let size = answer.bytes().await.unwrap().len() as u64;
    let passages = pair.proxy.passages();
    assert_eq!(passages.len(), 1);
    assert_eq!(passages[0].path, "/api/v1/query");
    assert_eq!(&passages[0].body[..], b"query=up");
    assert_eq!(passages[0].answer_bytes.load(Ordering::SeqCst), size);
}

#[tokio::test]
async fn watches_pass_as_they_come() {
    let pair = pair().await;
    let mut response = pair.get("/watch").await.unwrap();
    let chunk = timeout(SOON, response.chunk()).await.unwrap().unwrap();
    assert_eq!(chunk.unwrap().as_ref(), b"first\n");
}

#[tokio::test]
async fn delayed_requests_arrive_later() {
    let pair = pair().await;
    let delay = Duration::from_millis(200);
    pair.proxy
        .add(Rule::every(Matcher::any(), Fault::Delay(delay)));
    let begin = Instant::now();
    assert_eq!(pair.number("/").await, 1);
    assert!(begin.elapsed() >= delay);
}

#[tokio::test]
async fn cut_requests_never_reach_the_server() {
    let pair = pair().await;
    pair.proxy
        .add(Rule::every(Matcher::any().path("/secret"), Fault::Cut));
    assert!(pair.get("/secret").await.is_err());
    assert_eq!(pair.received(), 0);
    assert_eq!(pair.proxy.requests()[0].status, None);
    assert_eq!(pair.number("/other").await, 1);
}

#[tokio::test]
async fn lost_responses_were_given_by_the_server() {
    let pair = pair().await;
    pair.proxy
        .add(Rule::first(1, Matcher::any(), Fault::LoseResponse));
    assert!(pair.post("/").await.is_err());
    assert_eq!(pair.received(), 1);
    assert_eq!(pair.number("/").await, 2);
}

#[tokio::test]
async fn refusals_look_like_those_of_the_api_server() {
    let pair = pair().await;
    pair.proxy.add(Rule {
        matcher: Matcher::any().method("POST"),
        which: Which::Nth(2),
        fault: Fault::refusal(409, "Conflict", "the object has been modified"),
    });
    assert_eq!(pair.post("/").await.unwrap().status(), 200);
    let refused = pair.post("/").await.unwrap();
    assert_eq!(refused.status(), 409);
    let body = json_of(refused).await;
    assert_eq!(
        (&body["kind"], &body["reason"]),
        (&json!("Status"), &json!("Conflict"))
    );
    assert_eq!(pair.post("/").await.unwrap().status(), 200);
    assert_eq!(pair.received(), 2);
}

#[tokio::test]
async fn too_many_requests_say_when_to_come_again() {
    let pair = pair().await;
    pair.proxy
        .add(Rule::every(Matcher::any(), Fault::too_many_requests(7)));
    let response = pair.get("/").await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
}

#[tokio::test]
async fn stale_answers_stay_the_same_per_path() {
    let pair = pair().await;
    let rule = pair.proxy.add(Rule::every(Matcher::any(), Fault::Stale));
    assert_eq!(pair.number("/one").await, 1);
    assert_eq!(pair.number("/two").await, 2);
    assert_eq!(pair.number("/one").await, 1);
    pair.proxy.remove(rule);
    assert_eq!(pair.number("/one").await, 3);
}

#[tokio::test]
async fn frozen_watches_hear_nothing() {
    let pair = pair().await;
    pair.proxy.add(Rule::every(Matcher::any(), Fault::Freeze));
    let mut response = pair.get("/watch").await.unwrap();
    assert_eq!(response.status(), 200);
    let quiet = timeout(Duration::from_millis(200), response.chunk()).await;
    assert!(quiet.is_err());
    pair.proxy.cut_connections();
    assert!(timeout(SOON, response.chunk()).await.unwrap().is_err());
}

#[tokio::test]
async fn answers_are_cut_in_the_middle_and_only_there() {
    let pair = pair().await;
    let time = Duration::from_millis(100);
    pair.proxy
        .add(Rule::every(Matcher::any(), Fault::CutAfter(time)));
    let response = pair.get("/watch").await.unwrap();
    assert!(timeout(SOON, response.text()).await.unwrap().is_err());
    assert_eq!(pair.number("/short").await, 1);
}

#[tokio::test]
async fn bodies_are_rewritten() {
    let pair = pair().await;
    let garbage = Fault::rewrite(|body| [b"garbage: ", body].concat());
    pair.proxy
        .add(Rule::every(Matcher::any().path("/query"), garbage));
    let text = pair.get("/query").await.unwrap().text().await.unwrap();
    assert!(text.starts_with("garbage: {"), "{text}");
    pair.proxy.clear();
    assert_eq!(pair.number("/query").await, 2);
}

#[tokio::test]
async fn a_blocked_server_is_unreachable_until_it_is_unblocked() {
    let pair = pair().await;
    let mut watch = pair.get("/watch").await.unwrap();
    watch.chunk().await.unwrap();
    pair.proxy.block();
    assert!(timeout(SOON, watch.chunk()).await.unwrap().is_err());
    assert!(pair.get("/").await.is_err());
    pair.proxy.unblock();
    assert_eq!(pair.number("/").await, 1);
}

#[tokio::test]
async fn a_server_that_is_gone_looks_like_a_cut() {
    let url = "http://127.0.0.1:1".to_owned();
    let upstream = Upstream { url, ca_pem: None };
    let proxy = FaultProxy::start(ANYWHERE, upstream, None).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(client.get(proxy.url()).send().await.is_err());
}

#[tokio::test]
async fn leases_events_reviews_and_dry_runs_are_no_writes() {
    let pair = pair().await;
    for path in [
        "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
        "/apis/events.k8s.io/v1/namespaces/a/events",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/apps/v1/namespaces/a/deployments?fieldManager=b&dryRun=All",
    ] {
        pair.post(path).await.unwrap();
    }
    pair.get("/apis/apps/v1/deployments").await.unwrap();
    assert_eq!(pair.proxy.writes(), 0);
    pair.post("/apis/apps/v1/deployments?note=/leases")
        .await
        .unwrap();
    assert_eq!(pair.proxy.writes(), 1);
    pair.proxy.count_writes_if(Seen::is_write);
    pair.post("/apis/coordination.k8s.io/v1/namespaces/a/leases/b")
        .await
        .unwrap();
    assert_eq!((pair.proxy.writes(), pair.proxy.requests().len()), (2, 7));
    pair.proxy.forget();
    assert_eq!((pair.proxy.writes(), pair.proxy.requests().len()), (0, 0));
}

/// Kills (here: notes what the server has received) at the second write.
async fn received_at_hook(moment: Moment) -> (usize, usize) {
    let pair = pair().await;
    let at_hook = Arc::new(Mutex::new(None));
    let (slot, received) = (Arc::clone(&at_hook), Arc::clone(&pair.received));
    pair.proxy.on_write(2, moment, move || {
        async move { *slot.lock().unwrap() = Some(received.load(Ordering::SeqCst)) }.boxed()
    });
    assert!(pair.post("/first").await.is_ok());
    assert!(pair.proxy.hook_waits());
    assert!(pair.post("/second").await.is_err());
    assert!(!pair.proxy.hook_waits());
    let before_third = pair.received();
    assert!(pair.post("/third").await.is_ok());
    let at_hook = at_hook.lock().unwrap().unwrap();
    (at_hook, before_third)
}

#[tokio::test]
async fn a_hook_before_a_write_keeps_it_from_the_server() {
    assert_eq!(received_at_hook(Moment::Before).await, (1, 1));
}

#[tokio::test]
async fn a_hook_after_a_write_keeps_the_answer_from_the_client() {
    assert_eq!(received_at_hook(Moment::After).await, (2, 2));
}

/// A killed client closes its connection, and the kill must not stop half done because of that.
#[tokio::test]
async fn a_hook_is_carried_through_when_the_client_dies() {
    let pair = pair().await;
    let (send, finished) = tokio::sync::oneshot::channel();
    pair.proxy.on_write(1, Moment::Before, move || {
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            send.send(()).ok();
        }
        .boxed()
    });
    let dying = timeout(Duration::from_millis(50), pair.post("/"));
    assert!(dying.await.is_err());
    timeout(SOON, finished).await.unwrap().unwrap();
    assert_eq!(pair.received(), 0);
}

#[tokio::test]
async fn tls_is_proven_by_the_authority_of_the_bed() {
    let plain = pair().await;
    let upstream = Upstream {
        url: plain.proxy.url().to_owned(),
        ca_pem: None,
    };
    let authority = Authority::create().unwrap();
    let identity = authority.server("proxy", Ipv4Addr::LOCALHOST).unwrap();
    let proxy = FaultProxy::start(ANYWHERE, upstream, Some(&identity))
        .await
        .unwrap();
    for (pem, trusted) in [
        (authority.certificate_pem().to_owned(), true),
        (
            Authority::create().unwrap().certificate_pem().to_owned(),
            false,
        ),
    ] {
        let root = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .build()
            .unwrap();
        let answer = client.get(proxy.url()).send().await;
        assert_eq!(answer.is_ok(), trusted);
    }
}
