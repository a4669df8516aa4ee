//! Where the past is asked for: a metric source that this machine reaches, or a Service of the cluster
//! through its API server.
//!
//! Long ranges are asked for in pieces, a few at a time, and a piece that is too much is halved. What an
//! admin forces into every query of a source is forced into these as well.

pub mod flags;
mod service;

use std::sync::Arc;

use anyhow::Context as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::span::Span;
use crate::api::parse::{AnswerLimits, PartialAnswers};
use crate::api::promql::{self, Confinement};
use crate::api::v1alpha1::bounds::source::NAMESPACE_LABEL;
use crate::decide::Unknown;
use crate::observe::prometheus::answer::{self, Row, Sink};
use crate::observe::prometheus::selector::matchers;
use crate::observe::sources::Endpoint;
use crate::port::{Access, Outside, QueryError};

pub use service::{ServiceAddress, ServiceProxy};

/// For one piece. What takes longer is halved, so this is how long a slow source may think, not how
/// long a user waits.
pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// One piece: a day of a hundred pods with a dozen series each at a scrape a minute stays below, and
/// what is above is halved.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Of one piece. More is a selector that went wrong: a Deployment of a thousand pods has a few thousand
/// series of each kind.
const SERIES_MAX: usize = 60_000;

/// Prometheus computes twenty queries at a time by default, and others want theirs.
const AT_ONCE: usize = 4;

/// What is still too much for this long is too much.
const PIECE_MIN: SignedDuration = SignedDuration::from_mins(5);

/// A server that speaks the HTTP API of Prometheus.
#[derive(Clone)]
pub struct Source {
    outside: Arc<dyn Outside>,
    endpoint: Endpoint,
}

/// Why a piece says nothing.
enum Failure {
    /// A smaller one may be answered.
    TooMuch(QueryError),
    NoAnswer(QueryError),
    NotUnderstood(Unknown),
}

impl Source {
    /// Returns the source at `endpoint`, which `outside` reaches.
    #[must_use]
    pub fn new(outside: Arc<dyn Outside>, endpoint: Endpoint) -> Self {
        Self { outside, endpoint }
    }

    /// Returns the source at `url`, about which no admin has said anything.
    #[must_use]
    pub fn plain(outside: Arc<dyn Outside>, url: &str, access: Access) -> Self {
        let endpoint = Endpoint {
            source: url.to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            timeout: TIMEOUT,
            match_labels: std::collections::BTreeMap::new(),
            // As the operator would for a source of which no more is said than its address.
            confine: Some(NAMESPACE_LABEL.to_owned()),
            partial_answers: PartialAnswers::Unknown,
            limits: AnswerLimits {
                bytes: BYTES_MAX,
                series: SERIES_MAX,
            },
            access: Arc::new(access),
        };
        Self::new(outside, endpoint)
    }

    /// Lets each request take `timeout`.
    #[must_use]
    pub fn within(mut self, timeout: SignedDuration) -> Self {
        self.endpoint.timeout = timeout;
        self
    }

    /// Returns `expression` with what the source forces into every query.
    ///
    /// # Errors
    ///
    /// When it is no PromQL.
    pub fn forced(&self, expression: &str) -> anyhow::Result<String> {
        if self.endpoint.match_labels.is_empty() {
            return Ok(expression.to_owned());
        }
        let labels = Confinement {
            namespace: None,
            labels: self.endpoint.match_labels.clone(),
        };
        promql::confined(expression, &labels)
            .map_err(|problem| anyhow::anyhow!("the query {expression:?} {problem}"))
    }

    /// Returns a user's own query as the operator would send it for a policy of `namespace`.
    ///
    /// # Errors
    ///
    /// When it is no PromQL that a policy may ask.
    pub fn confined(&self, query: &str, namespace: &str) -> anyhow::Result<String> {
        let own = self.endpoint.confine.clone();
        let confinement = Confinement {
            namespace: own.map(|label| (label, namespace.to_owned())),
            labels: self.endpoint.match_labels.clone(),
        };
        promql::confined(query, &confinement)
            .map_err(|problem| anyhow::anyhow!("the query {query:?} {problem}"))
    }

    /// Returns the matchers that the source forces into every query; empty for none.
    #[must_use]
    pub fn matchers(&self) -> String {
        matchers(&self.endpoint.match_labels)
    }

    /// Asks for all of `span` in pieces of at most `piece`: `query` returns the expression for a
    /// range of some length, and `sink` takes each sample once, the pieces in no certain order. `step`
    /// is called after each piece with how many are done and how many there are.
    ///
    /// # Errors
    ///
    /// When some piece has no answer that can be used: the whole would have a hole.
    pub async fn over(
        &self,
        (span, piece): (Span, SignedDuration),
        query: &(dyn Fn(SignedDuration) -> String + Sync),
        sink: &mut (dyn Sink + Send),
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
            match answer.and_then(|body| self.read(&body, part, sink)) {
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

    fn read(&self, body: &[u8], part: Span, sink: &mut dyn Sink) -> Result<(), Failure> {
        let accept_partial = self.endpoint.partial_answers == PartialAnswers::Accept;
        let mut sink = Within { part, sink };
        answer::read(body, accept_partial, &mut sink).map_err(Failure::NotUnderstood)
    }

    async fn ask(&self, span: Span, query: String) -> Result<Vec<u8>, Failure> {
        let mut query = self.endpoint.query(
            "api/v1/query",
            vec![
                ("query", query),
                ("time", time(span.until)),
                (
                    "timeout",
                    format!("{}s", self.endpoint.timeout.as_secs().max(1)),
                ),
            ],
        );
        query.bytes_max = query.bytes_max.max(BYTES_MAX);
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
            self.endpoint.url,
            time(span.until)
        )
    }
}

/// Keeps a piece from what belongs to the one before it: ranges were closed on both sides before
/// Prometheus 3, and still are elsewhere.
struct Within<'a> {
    part: Span,
    sink: &'a mut dyn Sink,
}

impl Sink for Within<'_> {
    fn keeps(&self, label: &str) -> bool {
        self.sink.keeps(label)
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let (from, until) = (
            self.part.from.as_millisecond(),
            self.part.until.as_millisecond(),
        );
        let within = |at: i64| at > from && at <= until;
        let all = row.values.iter().all(|(at, _)| within(*at))
            && row.histograms.iter().all(|(at, _)| within(*at));
        if all {
            return self.sink.row(row);
        }
        let mut row = row.clone();
        row.values.retain(|(at, _)| within(*at));
        row.histograms.retain(|(at, _)| within(*at));
        if row.values.is_empty() && row.histograms.is_empty() {
            return Ok(());
        }
        self.sink.row(&row)
    }
}

/// A source says 422 when a query needs more samples than it may load, and 503 when it took too long.
fn is_too_much(error: &QueryError) -> bool {
    match error {
        QueryError::Timeout(_) | QueryError::TooLarge(_) => true,
        QueryError::Status(status) => [413, 422, 503, 504].contains(status),
        QueryError::Unreachable
        | QueryError::BrokenOff
        | QueryError::Tls(_)
        | QueryError::NotAuthorized(_)
        | QueryError::Redirected(_)
        | QueryError::Compressed
        | QueryError::Credential(_)
        | QueryError::Token(_)
        | QueryError::NoToken => false,
    }
}

/// Returns `at` in the one spelling that Prometheus takes and people read.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.to_string()
}

#[cfg(test)]
mod tests;
