//! Against servers in this process, good and bad.

mod server;
mod tls;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::SignedDuration;

use self::server::{Server, found, ok};
use super::*;
use crate::port::Access;

/// Long enough on a busy machine; only what never answers takes it.
const LIMIT: SignedDuration = SignedDuration::from_secs(30);

const ANSWER: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;

fn query(url: String, access: Access) -> Query {
    Query {
        url,
        form: vec![
            ("query", "up{job=\"a b\"}[1m]".to_owned()),
            ("time", "7".to_owned()),
        ],
        access: Arc::new(access),
        timeout: LIMIT,
        bytes_max: 1024 * 1024,
    }
}

fn with(auth: Auth) -> Access {
    Access {
        auth,
        ..Access::default()
    }
}

fn value(text: &str) -> Credential {
    Credential::Value(Secret::new(text))
}

/// A path that is no other test's.
fn place(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("astern-{}-{count}-{name}", std::process::id()))
}

async fn ask(server: &Server, access: Access) -> Result<Vec<u8>, QueryError> {
    let port = MetricsPort::new().unwrap();
    port.query(&query(server.url("/prometheus/api/v1/query"), access))
        .await
}

#[tokio::test]
async fn a_query_is_a_form_in_the_body() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let access = Access {
        parameters: vec![("nocache".to_owned(), "1".to_owned())],
        headers: vec![("X-Scope-OrgID".to_owned(), Secret::new("shop"))],
        ..Access::default()
    };
    let body = ask(&server, access).await.unwrap();
    assert_eq!(body, ANSWER.as_bytes());
    let seen = server.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/prometheus/api/v1/query")
    );
    assert_eq!(
        seen.body,
        "query=up%7Bjob%3D%22a+b%22%7D%5B1m%5D&time=7&nocache=1"
    );
    assert_eq!(
        seen.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(seen.header("x-scope-orgid"), Some("shop"));
    assert_eq!(seen.header("authorization"), None);
    // What is not asked for need not be unpacked.
    assert_eq!(seen.header("accept-encoding"), None);
}

#[tokio::test]
async fn a_query_can_stand_in_the_address() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let get = || Access {
        method: Method::Get,
        parameters: vec![("nocache".to_owned(), "1".to_owned())],
        ..Access::default()
    };
    ask(&server, get()).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.method, "GET");
    assert_eq!(
        seen.target,
        "/prometheus/api/v1/query?query=up%7Bjob%3D%22a+b%22%7D%5B1m%5D&time=7&nocache=1"
    );
    assert_eq!(seen.body, "");

    let mut long = query(server.url("/"), get());
    long.form[0].1 = "x".repeat(ADDRESS_MAX);
    let error = MetricsPort::new().unwrap().query(&long).await.unwrap_err();
    assert_eq!(
        error,
        QueryError::Credential(CredentialProblem::TooLongForGet)
    );
}

#[tokio::test]
async fn bearer_and_basic_credentials_are_sent() {
    let server = Server::start(|_| ok(ANSWER)).await;
    ask(&server, with(Auth::Bearer(value("t0ken"))))
        .await
        .unwrap();
    let basic = Auth::Basic {
        username: Secret::new("astern"),
        password: value("hunter2"),
    };
    ask(&server, with(basic)).await.unwrap();
    let sent: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(sent, ["Bearer t0ken", "Basic YXN0ZXJuOmh1bnRlcjI="]);
}

#[tokio::test]
async fn a_token_that_changes_in_its_file_is_picked_up() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let path = place("token");
    let port = MetricsPort::new().unwrap();
    let bearer = with(Auth::Bearer(Credential::File(path.clone())));
    let query = query(server.url("/"), bearer);
    let missing = port.query(&query).await.unwrap_err();
    assert_eq!(
        missing,
        QueryError::Credential(CredentialProblem::File(path.clone()))
    );
    // Of the same length and perhaps within one tick of the file system's clock.
    for token in ["first", "other"] {
        std::fs::write(&path, format!("{token}\n")).unwrap();
        port.query(&query).await.unwrap();
    }
    std::fs::write(&path, "\n").unwrap();
    let empty = port.query(&query).await.unwrap_err();
    assert_eq!(
        empty,
        QueryError::Credential(CredentialProblem::Empty(path.clone()))
    );
    std::fs::remove_file(&path).unwrap();
    let sent: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(sent, ["Bearer first", "Bearer other"]);
}

#[tokio::test]
async fn what_cannot_stand_in_a_header_is_not_sent() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let split = "a\r\nX-Other: b";
    let error = ask(&server, with(Auth::Bearer(value(split)))).await;
    assert_eq!(
        error,
        Err(QueryError::Credential(CredentialProblem::NotSendable(
            "token"
        )))
    );
    let access = Access {
        headers: vec![("X-Key".to_owned(), Secret::new(split))],
        ..Access::default()
    };
    assert_eq!(
        ask(&server, access).await,
        Err(QueryError::Credential(CredentialProblem::NotSendable(
            "header"
        )))
    );
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let other = Server::start(|_| ok(ANSWER)).await;
    for status in [301, 302, 307, 308] {
        let location = other.url("/api/v1/query");
        let server = Server::start(move |_| {
            let head = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\n");
            format!("{head}Content-Length: 0\r\n\r\n").into_bytes()
        })
        .await;
        let answer = ask(&server, with(Auth::Bearer(value("t0ken")))).await;
        assert_eq!(answer, Err(QueryError::Redirected(status)));
    }
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn statuses_become_errors_without_the_body() {
    let leak = "internal: password=hunter2";
    for (status, expected) in [
        (401, QueryError::NotAuthorized(401)),
        (403, QueryError::NotAuthorized(403)),
        (204, QueryError::Status(204)),
        (404, QueryError::Status(404)),
        (422, QueryError::Status(422)),
        (503, QueryError::Status(503)),
    ] {
        let server = Server::start(move |_| {
            let head = format!("HTTP/1.1 {status} No\r\n");
            let length = if status == 204 { 0 } else { leak.len() };
            let body = &leak[..length];
            format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
        })
        .await;
        let error = ask(&server, Access::default()).await.unwrap_err();
        assert_eq!(error, expected);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_arrive_as_they_are() {
    let server = Server::start(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_vec();
        answer.extend([0xff, 0x00, 0xfe]);
        answer
    })
    .await;
    let body = ask(&server, Access::default()).await;
    assert_eq!(body, Ok(vec![0xff, 0x00, 0xfe]));
}

#[tokio::test]
async fn fifty_megabytes_of_nested_json_are_refused_at_the_limit() {
    let server = Server::streaming("HTTP/1.1 200 OK\r\n\r\n", b'[', 50 << 20).await;
    let answer = ask(&server, Access::default()).await;
    assert_eq!(answer, Err(QueryError::TooLarge(1024 * 1024)));
    // What the sockets in between held has been sent; most of it never was.
    assert!(server.sent().await < 40 << 20, "{}", server.sent().await);

    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n";
    let server = Server::streaming(announced, b'[', 0).await;
    let answer = ask(&server, Access::default()).await;
    assert_eq!(answer, Err(QueryError::TooLarge(1024 * 1024)));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let server = Server::start(|_| ok("12345")).await;
    let port = MetricsPort::new().unwrap();
    let mut query = query(server.url("/"), Access::default());
    query.bytes_max = 5;
    assert_eq!(port.query(&query).await, Ok(b"12345".to_vec()));
    query.bytes_max = 4;
    assert_eq!(port.query(&query).await, Err(QueryError::TooLarge(4)));
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let start = "HTTP/1.1 200 OK\r\nX-Endless: ";
    let server = Server::streaming(start, b'x', 50 << 20).await;
    let answer = ask(&server, Access::default()).await;
    assert_eq!(answer, Err(QueryError::BrokenOff));
}

#[tokio::test]
async fn compression_that_was_not_asked_for_is_refused() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f!";
    let server = Server::start(|_| answer.as_bytes().to_vec()).await;
    let answer = ask(&server, Access::default()).await;
    assert_eq!(answer, Err(QueryError::Compressed));
}

/// Bytes that come one at a time keep every limit on silence from firing.
#[tokio::test]
async fn a_server_that_trickles_is_given_up() {
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    for start in ["HTTP/1.1 200 OK\r\nX-Slow: ", body] {
        let server = Server::trickling(start).await;
        let port = MetricsPort::new().unwrap();
        let mut query = query(server.url("/"), Access::default());
        query.timeout = SignedDuration::from_millis(300);
        let answer = port.query(&query).await;
        assert_eq!(answer, Err(QueryError::Timeout(query.timeout)));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_from_one_that_never_was() {
    let server = Server::start(|_| Vec::new()).await;
    let answer = ask(&server, Access::default()).await;
    assert_eq!(answer, Err(QueryError::BrokenOff));
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let server = Server::start(|_| half.as_bytes().to_vec()).await;
    let answer = ask(&server, Access::default()).await;
    assert_eq!(answer, Err(QueryError::BrokenOff));
    let url = Server::nobody().await;
    let port = MetricsPort::new().unwrap();
    let answer = port.query(&query(url, Access::default())).await;
    assert_eq!(answer, Err(QueryError::Unreachable));
}

#[tokio::test]
async fn an_address_that_is_none_cannot_be_asked() {
    let port = MetricsPort::new().unwrap();
    let answer = port
        .query(&query("prometheus".to_owned(), Access::default()))
        .await;
    assert_eq!(
        answer,
        Err(QueryError::Credential(CredentialProblem::Address))
    );
}

/// Everything that is logged, of every crate, while a secret goes out and is refused.
#[tokio::test]
async fn no_log_holds_a_secret() {
    let log = server::Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start(|_| found("https://hunter2.example/")).await;
    let access = Access {
        headers: vec![("X-Key".to_owned(), Secret::new("hunter2"))],
        parameters: vec![("key".to_owned(), "hunter2".to_owned())],
        ..with(Auth::Bearer(value("hunter2")))
    };
    for method in [Method::Post, Method::Get] {
        let access = Access {
            method,
            ..access.clone()
        };
        ask(&server, access.clone()).await.unwrap_err();
        let broken = Server::start(|_| Vec::new()).await;
        let error = ask(&broken, access).await.unwrap_err();
        tracing::warn!(?error, %error, "told");
    }
    drop(guard);
    assert!(log.text().contains("BrokenOff"), "{}", log.text());
    assert!(!log.text().contains("hunter2"), "{}", log.text());
}
