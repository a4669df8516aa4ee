//! What an HTTP answer of the API server means to the caller of the port.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use jiff::SignedDuration;
use kube::Client;
use serde_json::Value;

use crate::port::Error;

/// The API server refuses objects over 1.5 MiB, and a page holds a few hundred that are mostly small.
const BYTES_MAX: usize = 64 << 20;

/// Enough for the longest admission message that a person would read.
const MESSAGE_MAX: usize = 2048;

/// Sends `request` and returns the object in the answer.
///
/// This goes below kube's own reading of answers, which drops the headers: `Retry-After` is one.
pub(super) async fn of(client: &Client, request: Request<Vec<u8>>) -> Result<Value, Error> {
    let answer = client
        .send(request.map(kube::client::Body::from))
        .await
        .map_err(|error| unavailable(&error))?;
    let (head, body) = answer.into_parts();
    let body = to_bytes(Body::new(body), BYTES_MAX)
        .await
        .map_err(|error| unavailable(&error))?;
    if head.status.is_success() {
        // A write was carried out even if its answer cannot be read.
        return serde_json::from_slice(&body).map_err(|error| unavailable(&error));
    }
    let retry_after = retry_after(&head.headers);
    Err(refusal(head.status.as_u16(), retry_after, &body))
}

/// Names what the status code and the `Status` object in `body` say.
pub(super) fn refusal(code: u16, retry_after: Option<SignedDuration>, body: &[u8]) -> Error {
    // Proxies and request limits answer in plain text.
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match status["message"].as_str() {
        Some(message) => clipped(message),
        None => clipped(&String::from_utf8_lossy(body)),
    };
    match code {
        404 => Error::NotFound,
        409 if status["reason"] == "AlreadyExists" => Error::AlreadyExists,
        409 => Error::Conflict { message },
        422 => Error::Invalid { message },
        403 => Error::Forbidden { message },
        // 410: the list grew too old between two of its pages. It must begin anew.
        410 | 429 | 500.. => Error::Unavailable {
            message,
            retry_after: retry_after.or_else(|| {
                status["details"]["retryAfterSeconds"]
                    .as_i64()
                    .map(SignedDuration::from_secs)
            }),
        },
        _ => Error::Unexpected {
            status: code,
            message,
        },
    }
}

fn retry_after(headers: &HeaderMap) -> Option<SignedDuration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(SignedDuration::from_secs(seconds))
}

/// Tells the whole chain of causes, because the outermost one only says that a request failed.
fn unavailable(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    Error::Unavailable {
        message: clipped(&message),
        retry_after: None,
    }
}

fn clipped(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].trim_end().to_owned()
}
