//! A Service of the cluster, reached through the API server.
//!
//! The addresses of Services mean nothing outside the cluster, and a port-forward needs a second
//! terminal. Who may `get services/proxy` needs neither.

use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use kube::Client;

use crate::port::{CredentialProblem, Outside, Query, QueryError};

/// A Service and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    pub namespace: String,
    pub name: String,
    pub port: String,
    pub https: bool,
    /// Of the API behind it, such as `/prometheus`; empty for none.
    pub path: String,
}

impl ServiceAddress {
    /// Reads `NAMESPACE/NAME:PORT`, with a path behind it where the API has a prefix.
    ///
    /// # Errors
    ///
    /// Says how to spell it.
    pub fn read(text: &str) -> Result<Self, String> {
        let read = || {
            let (namespace, rest) = text.split_once('/')?;
            let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (name, port) = address.split_once(':')?;
            Self::checked(namespace, name, port, path)
        };
        read().ok_or_else(|| {
            format!("{text:?} is no Service; write NAMESPACE/NAME:PORT, such as monitoring/prometheus:9090")
        })
    }

    /// Returns the Service that a URL of the cluster's own DNS names, such as
    /// `http://prometheus.monitoring.svc:9090/prefix`; `None` for any other.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let (https, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let standard = if https { "443" } else { "80" };
        let (host, port) = authority.split_once(':').unwrap_or((authority, standard));
        let mut parts = host.splitn(3, '.');
        let (name, namespace) = (parts.next()?, parts.next()?);
        match parts.next() {
            None | Some("svc") => (),
            Some(rest) if rest.starts_with("svc.") => (),
            Some(_) => return None,
        }
        // Two words may be a host of the outside world, but those have no letters in the last one
        // only when they are addresses.
        let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        if is_number(name) || is_number(namespace) {
            return None;
        }
        let address = Self::checked(namespace, name, port, path)?;
        Some(Self { https, ..address })
    }

    fn checked(namespace: &str, name: &str, port: &str, path: &str) -> Option<Self> {
        let word = |text: &str| {
            let good =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !text.is_empty() && text.len() <= 63 && text.bytes().all(good)
        };
        let good_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte);
        let good = word(namespace) && word(name) && word(port) && path.bytes().all(good_path);
        good.then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port: port.to_owned(),
            https: false,
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// Returns the path on the API server that leads to it.
    #[must_use]
    pub fn proxy_path(&self) -> String {
        let Self {
            namespace,
            name,
            port,
            https,
            path,
        } = self;
        let scheme = if *https { "https:" } else { "" };
        format!("/api/v1/namespaces/{namespace}/services/{scheme}{name}:{port}/proxy{path}")
    }
}

/// Asks through the API server. The URL of a query is a path on it.
pub struct ServiceProxy {
    client: Client,
}

impl ServiceProxy {
    /// Returns the way through the API server behind `client`.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Asks by GET: a POST would need the verb `create`, which far fewer users have.
    async fn exchange(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let address = format!("{}?{}", query.url, encoded(&query.form));
        let mut request = Request::get(address);
        for (name, value) in &query.access.headers {
            request = request.header(name, value.reveal());
        }
        let request = request
            .body(Vec::new())
            .map_err(|_| QueryError::Credential(CredentialProblem::Address))?;
        let answer = self
            .client
            .send(request.map(kube::client::Body::from))
            .await
            .map_err(|error| {
                tracing::debug!(%error, "API server not reached");
                QueryError::Unreachable
            })?;
        let status = answer.status().as_u16();
        match status {
            200..=299 => (),
            401 | 403 => return Err(QueryError::NotAuthorized(status)),
            _ => return Err(QueryError::Status(status)),
        }
        let body = to_bytes(Body::new(answer.into_body()), query.bytes_max).await;
        // A connection that broke looks the same, and less is worth a try then too.
        let body = body.map_err(|_| QueryError::TooLarge(query.bytes_max))?;
        Ok(body.to_vec())
    }
}

#[async_trait]
impl Outside for ServiceProxy {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let limit: Duration = query.timeout.unsigned_abs();
        match tokio::time::timeout(limit, self.exchange(query)).await {
            Ok(result) => result,
            Err(_) => Err(QueryError::Timeout(query.timeout)),
        }
    }
}

/// Returns the form as the query of an address.
fn encoded(form: &[(&'static str, String)]) -> String {
    let pairs: Vec<String> = form
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encoded(value)))
        .collect();
    pairs.join("&")
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_namespace_name_and_port() {
        let address =
            ServiceAddress::read("monitoring/prometheus:9090/prefix/").expect("a Service");
        assert_eq!(
            address.proxy_path(),
            "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/prefix"
        );
        assert!(ServiceAddress::read("monitoring/prometheus:http").is_ok());
        for text in [
            "prometheus:9090",
            "a/b",
            "a/b:",
            "/b:1",
            "a/b:1?x=1",
            "a/b:1/../x%2f",
        ] {
            let problem = ServiceAddress::read(text).expect_err(text);
            assert!(problem.contains("monitoring/prometheus:9090"), "{problem}");
        }
    }

    #[test]
    fn addresses_of_the_clusters_own_dns_name_a_service() {
        for (url, path) in [
            ("http://prometheus.monitoring:9090", "prometheus:9090/proxy"),
            (
                "http://prometheus.monitoring.svc:9090",
                "prometheus:9090/proxy",
            ),
            (
                "https://prometheus.monitoring.svc.cluster.local/api",
                "https:prometheus:443/proxy/api",
            ),
            ("http://prometheus.monitoring", "prometheus:80/proxy"),
        ] {
            let address = ServiceAddress::of_url(url).expect(url);
            let expected = format!("/api/v1/namespaces/monitoring/services/{path}");
            assert_eq!(address.proxy_path(), expected);
        }
        for url in [
            "http://prometheus.example.com:9090",
            "http://localhost:9090",
            "http://10.0.0.1:9090",
            "http://[::1]:9090",
            "ftp://prometheus.monitoring",
        ] {
            assert_eq!(ServiceAddress::of_url(url), None, "{url}");
        }
    }

    #[test]
    fn what_a_query_holds_cannot_become_another_parameter() {
        let form = vec![
            ("query", "a{b=\"c\"}&x=1 +".to_owned()),
            ("time", "1".to_owned()),
        ];
        assert_eq!(
            encoded(&form),
            "query=a%7Bb%3D%22c%22%7D%26x%3D1%20%2B&time=1"
        );
    }
}
