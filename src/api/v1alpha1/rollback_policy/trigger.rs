//! The conditions that make a revision bad.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::{Duration, Mode, Percentage, bounds};

/// One condition that makes a revision bad: a name and exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.errorRate), has(self.probeFailures), has(self.restarts), has(self.rolloutStalled)].filter(x, x).size() == 1"
    )
    .message("must have exactly one of errorRate, probeFailures, restarts and rolloutStalled, such as \"restarts: {}\"")
)]
pub struct Trigger {
    /// Name of the trigger, unique in the policy.
    #[schemars(
        length(min = 1, max = bounds::TRIGGER_NAME_LENGTH),
        regex(pattern = bounds::TRIGGER_NAME_PATTERN)
    )]
    #[x_kube(validation = bounds::name_rule(bounds::TRIGGER_NAME_PATTERN, "server-errors"))]
    pub name: String,
    /// Caps the policy's mode for this trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Too large a share of the requests fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ErrorRate>,
    /// Probes of the kubelet fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_failures: Option<ProbeFailures>,
    /// Containers restart again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// The rollout makes no progress within the Deployment's own progressDeadlineSeconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_stalled: Option<RolloutStalled>,
}

/// Too large a share of the requests fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRate {
    /// Shape of the request metrics.
    #[serde(default)]
    pub preset: Preset,
    /// More label matchers in the syntax of PromQL, without braces, such as route="/pay".
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::MATCHERS_LENGTH))]
    #[x_kube(validation = matchers_rule())]
    pub matchers: Option<String>,
    /// The revision is bad above this share of failed requests, not at it.
    pub threshold: Percentage,
    /// What the rate is taken over. For pods that are younger: since their birth.
    #[serde(default = "default_rate_window")]
    #[x_kube(validation = bounds::RATE_WINDOW.rule())]
    pub window: Duration,
    /// How long the rate must stay above the threshold.
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
    /// http_requests_total{code}, as the usual client libraries name it.
    #[default]
    #[serde(rename = "HTTPRequests")]
    HttpRequests,
    /// istio_requests_total{response_code}, as reported by the destination.
    Istio,
}

/// Probes of the kubelet fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeFailures {
    /// Which probe.
    #[serde(default)]
    pub probe: Probe,
    /// The revision is bad at this many failed probes of one of its pods within the window.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = bounds::THRESHOLD.least, max = bounds::THRESHOLD.most))]
    pub threshold: i32,
    /// What the failures are counted in.
    #[serde(default = "default_probe_window")]
    #[x_kube(validation = bounds::PROBE_WINDOW.rule())]
    pub window: Duration,
}

/// Probes of the kubelet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Probe {
    /// Its failure restarts the container.
    #[default]
    Liveness,
    /// Its failure takes the pod out of the Service.
    Readiness,
    /// Its failure restarts a container that never came up.
    Startup,
}

/// Containers restart again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restarts {
    /// A pod counts when it restarted this often within the window.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = bounds::THRESHOLD.least, max = bounds::THRESHOLD.most))]
    pub threshold: i32,
    /// What the restarts are counted in.
    #[serde(default = "default_restart_window")]
    #[x_kube(validation = bounds::RESTART_WINDOW.rule())]
    pub window: Duration,
    /// The revision is bad when at least this share of its pods counts.
    #[serde(default = "default_pods")]
    pub pods: Percentage,
}

/// The rollout makes no progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RolloutStalled {}

fn default_rate_window() -> Duration {
    bounds::RATE_WINDOW.usual.into()
}

fn default_probe_window() -> Duration {
    bounds::PROBE_WINDOW.usual.into()
}

fn default_restart_window() -> Duration {
    bounds::RESTART_WINDOW.usual.into()
}

fn default_for() -> Duration {
    bounds::FOR.usual.into()
}

fn default_minimum_requests() -> i32 {
    bounds::MINIMUM_REQUESTS.usual
}

fn default_threshold() -> i32 {
    bounds::THRESHOLD.usual
}

fn default_pods() -> Percentage {
    bounds::PODS.into()
}

fn matchers_rule() -> Rule {
    Rule::new(format!("self.matches(r'{}')", bounds::MATCHERS_PATTERN)).message(
        "must be label matchers with values in double quotes and without braces, such as route=\"/pay\",method!=\"GET\"",
    )
}
