//! Tokens from another server.

use std::time::Duration;

use super::*;
use crate::port::{OAuth2, Tls};

fn grant(server: &Server) -> OAuth2 {
    OAuth2 {
        token_url: server.url("/oauth2/token"),
        client_id: "astern:eu".to_owned(),
        client_secret: value("hunter 2"),
        scopes: vec!["metrics.read".to_owned(), "openid".to_owned()],
        audience: Some("prometheus".to_owned()),
        tls: Tls::default(),
    }
}

fn access(login: &Server) -> Access {
    with(Auth::OAuth2(Box::new(grant(login))))
}

/// Gives tokens that are numbered, each for `seconds`.
async fn login(seconds: &'static str) -> Server {
    let count = AtomicU32::new(0);
    Server::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        ok(&format!(
            r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":{seconds}}}"#
        ))
    })
    .await
}

fn sent(server: &Server) -> Vec<String> {
    let seen = server.seen();
    seen.iter()
        .map(|seen| seen.header("authorization").unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_used_until_it_ends() {
    let server = Server::start(|_| ok(ANSWER)).await;
    // Ends in the past as soon as it comes, however fast this machine is.
    for (seconds, tokens) in [("3600", 1), ("\"3600\"", 1), ("0", 3)] {
        let login = login(seconds).await;
        let port = MetricsPort::new().unwrap();
        let query = query(server.url("/"), access(&login));
        for _ in 0..3 {
            port.query(&query).await.unwrap();
        }
        assert_eq!(login.seen().len(), tokens, "{seconds}");
    }
    assert_eq!(sent(&server)[..3], ["Bearer token-0"; 3]);
    assert_eq!(sent(&server)[8], "Bearer token-2");
}

#[tokio::test]
async fn the_grant_says_who_asks_for_what() {
    let (server, login) = (Server::start(|_| ok(ANSWER)).await, login("3600").await);
    ask(&server, access(&login)).await.unwrap();
    let seen = login.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/oauth2/token")
    );
    assert_eq!(
        seen.body,
        "grant_type=client_credentials&scope=metrics.read+openid&audience=prometheus"
    );
    // astern%3aeu:hunter%202
    assert_eq!(
        seen.header("authorization"),
        Some("Basic YXN0ZXJuJTNhZXU6aHVudGVyJTIwMg==")
    );
}

#[tokio::test]
async fn a_server_that_wants_the_secret_in_the_body_gets_it_there() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let login = Server::start(|seen| {
        if seen.body.contains("client_secret=hunter+2") {
            ok(r#"{"access_token":"t"}"#)
        } else {
            b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_vec()
        }
    })
    .await;
    ask(&server, access(&login)).await.unwrap();
    assert_eq!(sent(&server), ["Bearer t"]);
    let second = &login.seen()[1];
    assert!(second.body.contains("client_id=astern%3Aeu"), "{second:?}");
    assert_eq!(second.header("authorization"), None);
}

#[tokio::test]
async fn what_a_login_server_answers_is_told_without_its_words() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let token = |error| QueryError::Token(Box::new(error));
    for (answer, expected) in [
        (ok("{}"), QueryError::NoToken),
        (ok("<html>hunter2</html>"), QueryError::NoToken),
        (ok(r#"{"access_token":""}"#), QueryError::NoToken),
        (ok(r#"{"access_token":"a\r\nb"}"#), QueryError::NoToken),
        (
            ok(r#"{"access_token":"a","token_type":"mac"}"#),
            QueryError::NoToken,
        ),
        (
            found("https://hunter2.example/"),
            QueryError::Redirected(302),
        ),
        (
            b"HTTP/1.1 503 No\r\nContent-Length: 7\r\n\r\nhunter2".to_vec(),
            QueryError::Status(503),
        ),
        (ok(&"[".repeat(65 * 1024)), QueryError::TooLarge(64 * 1024)),
    ] {
        let login = Server::start(move |_| answer.clone()).await;
        let error = ask(&server, access(&login)).await.unwrap_err();
        assert_eq!(error, token(expected));
        assert!(!format!("{error} {error:?}").contains("hunter"));
    }
    assert_eq!(server.seen().len(), 0);
}

/// Time stands still, so that only what the test lets pass goes by.
#[tokio::test]
async fn a_login_server_is_not_asked_again_at_once() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let login = Server::start(|_| b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let port = MetricsPort::new().unwrap();
    let query = query(server.url("/"), access(&login));
    let first = port.query(&query).await.unwrap_err();
    tokio::time::pause();
    let second = port.query(&query).await.unwrap_err();
    assert_eq!((&first, login.seen().len()), (&second, 1));
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    port.query(&query).await.unwrap_err();
    assert_eq!(login.seen().len(), 2);
}

#[tokio::test]
async fn a_token_that_the_source_refuses_is_not_kept() {
    let login = login("3600").await;
    let server = Server::start(|seen| match seen.header("authorization") {
        Some("Bearer token-0") => b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok(ANSWER),
    })
    .await;
    let port = MetricsPort::new().unwrap();
    let query = query(server.url("/"), access(&login));
    let refused = Err(QueryError::NotAuthorized(401));
    // One that is new would be refused as well, so it is kept for some seconds.
    assert_eq!(port.query(&query).await, refused);
    assert_eq!(port.query(&query).await, refused);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(port.query(&query).await, refused);
    port.query(&query).await.unwrap();
    assert_eq!(login.seen().len(), 2);
}

#[tokio::test]
async fn the_time_limit_covers_the_token_too() {
    let server = Server::start(|_| ok(ANSWER)).await;
    let login = Server::trickling("HTTP/1.1 200 OK\r\n\r\n").await;
    let port = MetricsPort::new().unwrap();
    let mut query = query(server.url("/"), access(&login));
    query.timeout = SignedDuration::from_millis(300);
    assert_eq!(
        port.query(&query).await,
        Err(QueryError::Timeout(query.timeout))
    );
}
