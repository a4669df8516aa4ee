//! Where the past is asked for: a metric source that this machine reaches, or a Service of the cluster
//! through its API server.
//!
//! Long ranges are asked for in pieces, a few at a time, and a piece that is too much is halved.

mod service;

use std::sync::Arc;

use anyhow::Context as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::span::Span;
use crate::decide::Unknown;
use crate::port::{Outside, Query, QueryError};

pub use service::{ServiceAddress, ServiceProxy};

/// For one piece. What takes longer is halved, so this is how long a slow source may think, not how
/// long a user waits.
pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// One piece: a day of a hundred pods with a dozen series each at a scrape a minute stays below, and
/// what is above is halved.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Prometheus computes twenty queries at a time by default, and others want theirs.
const AT_ONCE: usize = 4;

/// What is still too much for this long is too much.
const PIECE_MIN: SignedDuration = SignedDuration::from_mins(5);

/// A server that speaks the HTTP API of Prometheus.
#[derive(Clone)]
pub struct Source {
    outside: Arc<dyn Outside>,
    /// Without `/api/v1/query`.
    url: String,
    timeout: SignedDuration,
}

/// Why a piece says nothing.
enum Failure {
    /// A smaller one may be answered.
    TooMuch(QueryError),
    NoAnswer(QueryError),
    NotUnderstood(Unknown),
}

impl Source {
    /// Returns the source at `url`, which `outside` reaches.
    #[must_use]
    pub fn new(outside: Arc<dyn Outside>, url: &str, timeout: SignedDuration) -> Self {
        Self {
            outside,
            url: url.trim_end_matches('/').to_owned(),
            timeout,
        }
    }

    /// Asks for all of `span` in pieces of at most `piece`: `query` returns the expression for a
    /// range of some length, and `read` takes in each answer, in no certain order. `step` is called
    /// after each with how many are done and how many there are.
    ///
    /// # Errors
    ///
    /// When some piece has no answer that can be used: the whole would have a hole.
    pub async fn over(
        &self,
        (span, piece): (Span, SignedDuration),
        query: &(dyn Fn(SignedDuration) -> String + Sync),
        read: &mut (dyn FnMut(&[u8]) -> Result<(), Unknown> + Send),
        step: &mut (dyn FnMut(usize, usize) + Send),
    ) -> anyhow::Result<()> {
        let mut waiting = span.pieces(piece);
        waiting.reverse();
        let mut all = waiting.len();
        let mut done = 0;
        let mut asking = FuturesUnordered::new();
        loop {
            while asking.len() < AT_ONCE
                && let Some(part) = waiting.pop()
            {
                asking.push(async move { (part, self.ask(part, query(part.length())).await) });
            }
            let Some((part, answer)) = asking.next().await else {
                return Ok(());
            };
            match answer.and_then(|body| read(&body).map_err(Failure::NotUnderstood)) {
                Ok(()) => {
                    done += 1;
                    step(done, all);
                }
                Err(Failure::TooMuch(error)) => {
                    let halves = part.halves(PIECE_MIN).ok_or(error);
                    let halves = halves.with_context(|| self.unanswered(part))?;
                    waiting.extend(halves);
                    all += 1;
                }
                Err(Failure::NoAnswer(error)) => {
                    return Err(error).with_context(|| self.unanswered(part));
                }
                Err(Failure::NotUnderstood(unknown)) => {
                    anyhow::bail!("{}: {unknown}", self.unanswered(part));
                }
            }
        }
    }

    async fn ask(&self, span: Span, query: String) -> Result<Vec<u8>, Failure> {
        let query = Query {
            url: format!("{}/api/v1/query", self.url),
            form: vec![
                ("query", query),
                ("time", time(span.until)),
                ("timeout", format!("{}s", self.timeout.as_secs().max(1))),
            ],
            timeout: self.timeout,
            bytes_max: BYTES_MAX,
        };
        let answer = self.outside.query(&query).await;
        answer.map_err(|error| {
            if is_too_much(&error) {
                Failure::TooMuch(error)
            } else {
                Failure::NoAnswer(error)
            }
        })
    }

    fn unanswered(&self, span: Span) -> String {
        format!(
            "cannot replay what {} recorded until {}",
            self.url,
            time(span.until)
        )
    }
}

/// A source says 422 when a query needs more samples than it may load, and 503 when it took too long.
fn is_too_much(error: &QueryError) -> bool {
    match error {
        QueryError::Timeout(_) | QueryError::TooLarge(_) => true,
        QueryError::Status(status) => [413, 422, 503, 504].contains(status),
        QueryError::Unreachable => false,
    }
}

/// Returns `at` in the one spelling that Prometheus takes and people read.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.to_string()
}

#[cfg(test)]
mod tests;
