//! `MetricSource`: where metrics come from. Cluster-scoped, because reading metrics is the admin's
//! to grant.

mod access;
mod answers;

use std::collections::BTreeMap;

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::source;
use super::{Duration, bounds};

pub use access::{
    Auth, Basic, BasicSecret, Bearer, Header, KeyOfSecret, OAuth2, PairSecret, SecretKey, Tls,
};
pub use answers::{
    AllowedNamespaces, Confine, Limits, NamespaceName, PartialAnswers, Promql, Size, Tenant,
};

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
        name = "Timeout",
        type_ = "string",
        json_path = ".spec.timeout",
        priority = "1"
    ),
    printcolumn(
        name = "Tenant-Header",
        type_ = "string",
        json_path = ".spec.tenant.header",
        priority = "1"
    ),
    printcolumn(
        name = "Partial-Answers",
        type_ = "string",
        json_path = ".spec.partialAnswers",
        priority = "1"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = Rule::new("!has(self.tls) || self.url.startsWith('https://')")
        .message("tls makes no sense with an address in http; begin url with \"https://\"")
)]
pub struct MetricSourceSpec {
    /// Address of the server, http or https, with the path prefix of its API if it has one.
    /// User, query and fragment are not allowed.
    #[schemars(length(min = 1, max = bounds::URL_LENGTH))]
    #[x_kube(validation = url_rule("http://prometheus.monitoring:9090"))]
    pub url: String,
    /// How long one query may take, at most 60s.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = bounds::QUERY_TIMEOUT.rule())]
    pub timeout: Duration,
    /// How queries are sent. GET is for servers and proxies that take no POST.
    #[serde(default)]
    pub method: QueryMethod,
    /// How Astern proves who it is. Without it, it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = StructMerge::Atomic)]
    pub auth: Option<Auth>,
    /// Whom to trust and what to show in TLS. Without it, the authorities of Astern's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = StructMerge::Atomic)]
    pub tls: Option<Tls>,
    /// More headers of every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = source::HEADERS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub headers: Vec<Header>,
    /// More parameters of every query, such as nocache: "1" for VictoriaMetrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = source::PARAMETERS))]
    #[x_kube(validation = parameters_rule())]
    pub parameters: BTreeMap<String, LineOfText>,
    /// Labels that every series must have, forced into every query. This is how one server that holds
    /// the metrics of many clusters is asked for those of this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = source::MATCH_LABELS))]
    #[x_kube(validation = Rule::new("!('__name__' in self)").message("must not name the metric; use labels such as \"cluster\""))]
    pub match_labels: BTreeMap<String, LineOfText>,
    /// The header by which the server tells its tenants apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = StructMerge::Atomic)]
    pub tenant: Option<Tenant>,
    /// What an answer is worth that comes with warnings, as Thanos gives when a store is missing.
    #[serde(default)]
    pub partial_answers: PartialAnswers,
    /// How much of an answer is read. What is larger counts as no answer.
    #[serde(default)]
    pub limits: Limits,
    /// Namespaces whose policies may ask this source. Without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = StructMerge::Atomic)]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// What PromQL in policies may see.
    #[serde(default)]
    pub promql: Promql,
}

/// How queries are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueryMethod {
    /// In the body: queries of any length, which proxies do not log.
    #[default]
    #[serde(rename = "POST")]
    Post,
    /// In the address.
    #[serde(rename = "GET")]
    Get,
}

/// A short text without line breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct LineOfText(
    #[schemars(length(max = source::METRIC_VALUE_LENGTH), regex(pattern = source::METRIC_VALUE_PATTERN))]
    pub String,
);

fn default_timeout() -> Duration {
    bounds::QUERY_TIMEOUT.usual.into()
}

/// Returns the rule for an address.
fn url_rule(usual: &str) -> Rule {
    let message = format!(
        "must be an http or https address without user, query and fragment, such as {usual:?}"
    );
    Rule::new(format!("self.matches(r'{}')", bounds::URL_PATTERN)).message(message.as_str())
}

/// Asks for each name whether it is there: a rule about all keys would be charged for keys of any
/// length.
fn parameters_rule() -> Rule {
    let names: Vec<String> = source::REFUSED_PARAMETERS
        .iter()
        .map(|name| format!("'{name}'"))
        .collect();
    let message = format!(
        "must not hold {}, which Astern sets itself; such as nocache: \"1\"",
        source::REFUSED_PARAMETERS.join(", ")
    );
    Rule::new(format!(
        "![{}].exists(name, name in self)",
        names.join(", ")
    ))
    .message(message.as_str())
}
