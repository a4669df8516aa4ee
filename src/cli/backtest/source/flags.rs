//! The flags that say which metric source to ask, and what to prove to it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::SignedDuration;

use super::{ServiceAddress, ServiceProxy, Source};
use crate::api::parse::{self, MetricSource};
use crate::cli::connection::Connected;
use crate::observe::sources::{FindSource, Sources};
use crate::port::kube::MetricsPort;
use crate::port::{Access, Auth, Cluster, Credential, ObjectRef, Secret, kinds};

/// Which metric source to ask.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Metric source")]
pub struct SourceFlags {
    /// Address of the Prometheus to ask; the policy's metric source if not given.
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,

    /// File with a bearer token for --prometheus.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub bearer_token_file: Option<PathBuf>,

    /// Header for --prometheus, such as "X-Scope-OrgID: shop"; may be given more than once.
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "prometheus", value_parser = header)]
    pub headers: Vec<Header>,

    /// Service of the cluster to ask, through the API server.
    #[arg(
        long,
        value_name = "NAMESPACE/NAME:PORT",
        conflicts_with = "prometheus",
        value_parser = ServiceAddress::read
    )]
    pub service: Option<ServiceAddress>,

    /// Namespace of Astern, with the Secrets of its metric sources.
    #[arg(long, value_name = "NAMESPACE", default_value = "astern-system")]
    pub operator_namespace: String,
}

/// A header to send along. Its value is not printed.
#[derive(Clone, Debug)]
pub struct Header {
    name: String,
    value: Secret,
}

fn header(text: &str) -> Result<Header, String> {
    let problem = || format!("{text:?} is no header; write \"NAME: VALUE\"");
    let (name, value) = text.split_once(':').ok_or_else(problem)?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(good) {
        return Err(problem());
    }
    Ok(Header {
        name: name.to_owned(),
        value: Secret::new(value.trim()),
    })
}

const HELP: &str = "name a Prometheus with --prometheus URL, or one in the cluster with --service NAMESPACE/NAME:PORT";

impl SourceFlags {
    /// Returns the source that the flags name, or else the MetricSource `name`, as policies of
    /// `namespace` may ask it.
    ///
    /// # Errors
    ///
    /// Which flag would help.
    pub async fn source(
        &self,
        connected: Option<&Connected>,
        (name, namespace): (&str, &str),
        timeout: Option<SignedDuration>,
    ) -> anyhow::Result<Source> {
        let source = self.found(connected, (name, namespace)).await?;
        Ok(match timeout {
            Some(timeout) => source.within(timeout),
            None => source,
        })
    }

    async fn found(
        &self,
        connected: Option<&Connected>,
        (name, namespace): (&str, &str),
    ) -> anyhow::Result<Source> {
        if let Some(url) = &self.prometheus {
            check_url(url)?;
            let outside = Arc::new(MetricsPort::new()?);
            return Ok(Source::plain(outside, url, self.access()));
        }
        let connected = connected.context("without a cluster, --prometheus is needed")?;
        let proxy = || Arc::new(ServiceProxy::new(connected.port.client().clone()));
        if let Some(address) = &self.service {
            let path = address.proxy_path();
            return Ok(Source::plain(proxy(), &path, Access::default()));
        }
        let object = ObjectRef::new(kinds::METRIC_SOURCES, "", name);
        let found = connected.port.get(&object).await;
        let found = found.with_context(|| format!("cannot read metricsource {name:?}; {HELP}"))?;
        let found = found.with_context(|| format!("metricsource {name:?} not found; {HELP}"))?;
        let source = parse::metric_source(&found).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("metricsource {name:?}: {}", problems.join("; "))
        })?;
        let mut endpoint = self.endpoint(connected, source, namespace).await?;
        let Some(address) = ServiceAddress::of_url(&endpoint.url) else {
            return Ok(Source::new(Arc::new(MetricsPort::new()?), endpoint));
        };
        // The API server takes the header for itself.
        anyhow::ensure!(
            endpoint.access.auth == Auth::None,
            "metricsource {name:?} wants credentials, which the API server does not pass on; forward a port to {}, and name it with --prometheus and --bearer-token-file",
            endpoint.url
        );
        endpoint.url = address.proxy_path();
        Ok(Source::new(proxy(), endpoint))
    }

    /// Resolves a source as the operator does, with the rights of who asks.
    async fn endpoint(
        &self,
        connected: &Connected,
        source: MetricSource,
        namespace: &str,
    ) -> anyhow::Result<crate::observe::sources::Endpoint> {
        let name = source.name.clone();
        let source = Arc::new(source);
        let find: FindSource = Arc::new(move |_| Ok(Arc::clone(&source)));
        let cluster: Arc<dyn Cluster> = Arc::new(connected.port.clone());
        let sources = Sources::new(cluster, self.operator_namespace.clone(), find);
        let resolve = async {
            let tenant = sources.admit(&name, namespace).await?;
            sources.resolve(&name, tenant.as_deref()).await
        };
        let endpoint: Result<_, String> = resolve.await;
        endpoint.map_err(|problem| anyhow::anyhow!("metricsource {name:?}: {problem}; {HELP}"))
    }

    fn access(&self) -> Access {
        let file = self.bearer_token_file.clone();
        Access {
            auth: file.map_or(Auth::None, |file| Auth::Bearer(Credential::File(file))),
            headers: self
                .headers
                .iter()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            ..Access::default()
        }
    }
}

fn check_url(url: &str) -> anyhow::Result<()> {
    let source = serde_json::json!({"metadata": {"name": "x"}, "spec": {"url": url}});
    let problems = parse::metric_source(&source).err().unwrap_or_default();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow::ensure!(
        problems.is_empty(),
        "--prometheus {url:?}: {}",
        problems.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_is_asked() {
        assert!(check_url("http://localhost:9090").is_ok());
        let problem = check_url("localhost:9090")
            .expect_err("no address")
            .to_string();
        assert!(problem.contains("--prometheus"), "{problem}");
    }

    #[test]
    fn a_header_is_spelled_as_it_is_sent_and_never_shown() {
        let tenant = header("X-Scope-OrgID: shop-tenant").expect("a header");
        assert_eq!(
            (tenant.name.as_str(), tenant.value.reveal()),
            ("X-Scope-OrgID", "shop-tenant")
        );
        assert!(!format!("{tenant:?}").contains("shop-tenant"));
        for text in ["", "X-Scope-OrgID", ": shop", "X Scope: shop"] {
            assert!(header(text).is_err(), "{text}");
        }
    }
}
