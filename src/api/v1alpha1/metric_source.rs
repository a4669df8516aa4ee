//! `MetricSource`: where metrics come from. Cluster-scoped, because reading metrics is the admin's
//! to grant.

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Duration, bounds};

/// A server that speaks the HTTP API of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "astern.dev",
    version = "v1alpha1",
    kind = "MetricSource",
    plural = "metricsources",
    shortname = "msrc",
    category = "astern",
    derive = "PartialEq",
    doc = "A server that speaks the HTTP API of Prometheus. Policies refer to it by name.",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
pub struct MetricSourceSpec {
    /// Address of the server, http or https, with the path prefix of its API if it has one.
    /// User, query and fragment are not allowed.
    #[schemars(length(min = 1, max = bounds::URL_LENGTH))]
    #[x_kube(validation = url_rule())]
    pub url: String,
    /// How long one query may take, at most 60s.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = bounds::QUERY_TIMEOUT.rule())]
    pub timeout: Duration,
}

fn default_timeout() -> Duration {
    bounds::QUERY_TIMEOUT.usual.into()
}

fn url_rule() -> Rule {
    Rule::new(format!("self.matches(r'{}')", bounds::URL_PATTERN)).message(
        "must be an http or https address without user, query and fragment, such as \"http://prometheus.monitoring:9090\"",
    )
}
