//! Conditions on the requests that a revision serves.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::{Duration, Percentage, bounds};

// Neither `preset` nor `for` has a default in the schema: it would be filled in beside `custom` or
// `worseThanBefore`, which exclude them.
/// Too large a share of the requests fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.threshold) != has(self.worseThanBefore)")
        .message("must have exactly one of threshold and worseThanBefore, such as \"threshold: 5%\""),
    validation = Rule::new("!(has(self.worseThanBefore) && has(self.__for__))")
        .message("for belongs to threshold; worseThanBefore takes the time that the evidence needs, so leave for out"),
    validation = Rule::new("!(has(self.custom) && (has(self.preset) || has(self.match) || has(self.labels)))")
        .message("custom excludes preset, match and labels; write what they would say into custom.total and custom.errors")
)]
pub struct ErrorRate {
    /// Shape of the request metrics. Auto, the default, takes the first of the others that has data
    /// for the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Counters of your own, instead of a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
    /// More label matchers in the syntax of PromQL, without braces, such as route="/pay".
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MATCHERS_LENGTH))]
    #[x_kube(validation = matchers_rule())]
    pub matchers: Option<String>,
    /// Names of labels, where your set-up names them otherwise than the preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelNames>,
    /// The revision is bad above this share of failed requests, not at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Percentage>,
    /// The revision is bad when it fails clearly more often than the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse_than_before: Option<WorseThanBefore>,
    /// What the rate is taken over, and at least four scrapes. For pods that are younger: since
    /// their birth.
    #[serde(default = "default_window")]
    #[x_kube(validation = bounds::RATE_WINDOW.rule())]
    pub window: Duration,
    /// How long the rate must stay above the threshold, or less when the evidence is conclusive
    /// sooner. 2m by default. Only with threshold.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = bounds::FOR.rule())]
    pub sustained: Option<Duration>,
    /// With fewer requests in the window nothing is known.
    #[serde(default = "default_minimum_requests")]
    #[schemars(range(min = bounds::MINIMUM_REQUESTS.least, max = bounds::MINIMUM_REQUESTS.most))]
    pub minimum_requests: i32,
}

/// Counters of your own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Custom {
    /// PromQL that returns the counters of all requests, without rate or increase. Keep the label
    /// pod, so that the new revision can be told from the old one. $pods stands for the pods of the
    /// Deployment, as in pod=~"$pods".
    #[schemars(length(min = 1, max = bounds::QUERY_LENGTH))]
    pub total: String,
    /// PromQL that returns the counters of the failed ones, with the same labels.
    #[schemars(length(min = 1, max = bounds::QUERY_LENGTH))]
    pub errors: String,
}

/// Names of labels that say where a series comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelNames {
    /// The label with the name of the pod, such as kubernetes_pod_name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = bounds::METRIC_LABEL_LENGTH),
        regex(pattern = bounds::METRIC_LABEL_PATTERN)
    )]
    #[x_kube(validation = label_rule("kubernetes_pod_name"))]
    pub pod: Option<String>,
    /// The label with the namespace, such as exported_namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = bounds::METRIC_LABEL_LENGTH),
        regex(pattern = bounds::METRIC_LABEL_PATTERN)
    )]
    #[x_kube(validation = label_rule("exported_namespace"))]
    pub namespace: Option<String>,
}

/// The revision fails clearly more often than the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorseThanBefore {
    /// How many times as often. Above 1 and up to 1000, as text.
    #[serde(default = "default_factor")]
    #[schemars(length(max = bounds::FACTOR.length()), regex(pattern = bounds::FACTOR.pattern()))]
    #[x_kube(validation = bounds::FACTOR.rule())]
    pub factor: String,
    /// A rate up to this share is never bad, whatever the one before did.
    #[serde(default = "default_at_least")]
    pub at_least: Percentage,
}

/// Too large a share of the requests is slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Shape of the request metrics. Their histogram is needed. Auto takes the first of the others
    /// that has data for the Deployment.
    #[serde(default)]
    pub preset: Preset,
    /// More label matchers in the syntax of PromQL, without braces, such as route="/pay".
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MATCHERS_LENGTH))]
    #[x_kube(validation = matchers_rule())]
    pub matchers: Option<String>,
    /// Names of labels, where your set-up names them otherwise than the preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelNames>,
    /// How many of a hundred requests must be faster than the threshold. From 50 to 99.999, as text.
    #[serde(default = "default_percentile")]
    #[schemars(
        length(max = bounds::PERCENTILE.length()),
        regex(pattern = bounds::PERCENTILE.pattern())
    )]
    #[x_kube(validation = bounds::PERCENTILE.rule())]
    pub percentile: String,
    /// The revision is bad when the percentile is slower than this. Most exact at a bucket boundary
    /// of the histogram.
    #[x_kube(validation = bounds::LATENCY.rule())]
    pub threshold: Duration,
    /// What the percentile is taken over, and at least four scrapes. For pods that are younger:
    /// since their birth.
    #[serde(default = "default_window")]
    #[x_kube(validation = bounds::RATE_WINDOW.rule())]
    pub window: Duration,
    /// How long the percentile must stay above the threshold, or less when the evidence is
    /// conclusive sooner.
    #[serde(default = "default_for", rename = "for")]
    #[x_kube(validation = bounds::FOR.rule())]
    pub sustained: Duration,
    /// With fewer requests in the window nothing is known.
    #[serde(default = "default_minimum_requests")]
    #[schemars(range(min = bounds::MINIMUM_REQUESTS.least, max = bounds::MINIMUM_REQUESTS.most))]
    pub minimum_requests: i32,
}

/// Shapes of request metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// The first of the others that has data for the Deployment.
    #[default]
    Auto,
    /// Envoy's clusters as Contour names them.
    Contour,
    /// Envoy's clusters as Envoy Gateway names them.
    EnvoyGateway,
    /// grpc_server_handled_total.
    #[serde(rename = "GRPC")]
    Grpc,
    /// http_requests_total{code}, as the usual client libraries name it.
    #[serde(rename = "HTTPRequests")]
    HttpRequests,
    /// nginx_ingress_controller_requests.
    IngressNginx,
    /// istio_requests_total, of sidecars and of waypoints.
    Istio,
    /// response_total of the proxy beside the pod.
    Linkerd,
    /// http_server_requests_seconds, as Spring and Quarkus name it.
    Micrometer,
    /// http.server.request.duration of the stable semantic conventions.
    OpenTelemetry,
    /// traefik_service_requests_total.
    Traefik,
}

fn default_window() -> Duration {
    bounds::RATE_WINDOW.usual.into()
}

fn default_for() -> Duration {
    bounds::FOR.usual.into()
}

fn default_minimum_requests() -> i32 {
    bounds::MINIMUM_REQUESTS.usual
}

fn default_factor() -> String {
    bounds::FACTOR.usual.to_owned()
}

fn default_at_least() -> Percentage {
    bounds::AT_LEAST.into()
}

fn default_percentile() -> String {
    bounds::PERCENTILE.usual.to_owned()
}

fn matchers_rule() -> Rule {
    Rule::new(format!("self.matches(r'{}')", bounds::MATCHERS_PATTERN)).message(
        "must be label matchers with values in double quotes and without braces, such as route=\"/pay\",method!=\"GET\"",
    )
}

fn label_rule(usual: &str) -> Rule {
    let message = format!(
        "must be the name of a label, of letters, digits and underscores, such as {usual:?}"
    );
    Rule::new(format!("self.matches('{}')", bounds::METRIC_LABEL_PATTERN)).message(message.as_str())
}
