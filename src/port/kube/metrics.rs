//! Queries to metric sources.

use std::time::Duration;

use async_trait::async_trait;

use super::ConnectError;
use crate::port::{Outside, Query, QueryError};

/// A source inside the cluster accepts at once. Most of the time limit is for computing the answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Metric sources over HTTP, by a client that only goes where it is told.
///
/// It follows no redirect, because an answer could then send the operator to addresses that only it
/// can reach. It takes no proxy from the environment, because that is set for the API server or the
/// outside world, and would see the credentials of sources that an admin named by their address.
#[derive(Clone)]
pub struct MetricsPort {
    http: reqwest::Client,
}

impl MetricsPort {
    /// Returns a client that trusts the platform's certificates.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up at all; trying again cannot help.
    pub fn new() -> Result<Self, ConnectError> {
        // Reqwest is built without a provider and panics if nobody chose one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = builder()
            .build()
            // An image without certificates can still reach sources that speak plain HTTP.
            .or_else(|_| builder().tls_certs_only([]).build())
            .map_err(ConnectError::BuildMetricsClient)?;
        Ok(Self { http })
    }

    async fn exchange(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let mut answer = self
            .http
            .post(&query.url)
            .form(&query.form)
            .send()
            .await
            .map_err(|error| unreachable(&error))?;
        if !answer.status().is_success() {
            return Err(QueryError::Status(answer.status().as_u16()));
        }
        // The announced length is not to be trusted, so the bytes are counted as they come.
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + chunk.len() > query.bytes_max {
                return Err(QueryError::TooLarge(query.bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

#[async_trait]
impl Outside for MetricsPort {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let limit = query.timeout.unsigned_abs();
        match tokio::time::timeout(limit, self.exchange(query)).await {
            Ok(result) => result,
            Err(_) => Err(QueryError::Timeout(query.timeout)),
        }
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_LIMIT)
        .user_agent(concat!("astern/", env!("CARGO_PKG_VERSION")))
}

fn unreachable(error: &reqwest::Error) -> QueryError {
    tracing::debug!(%error, "metric source not reached");
    QueryError::Unreachable
}
