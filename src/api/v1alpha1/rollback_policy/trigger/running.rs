//! Conditions on how the pods of a revision run. They need no metric source, except for probes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::{Duration, Percentage, bounds};

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

/// Too few of the replicas are available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unavailable {
    /// The revision is bad when fewer than this share of the replicas is available, of those at the
    /// start of the rollout.
    #[serde(default = "default_below")]
    pub below: Percentage,
    /// How long that must last.
    #[serde(default = "default_unavailable_for", rename = "for")]
    #[x_kube(validation = bounds::UNAVAILABLE_FOR.rule())]
    pub sustained: Duration,
}

fn default_threshold() -> i32 {
    bounds::THRESHOLD.usual
}

fn default_probe_window() -> Duration {
    bounds::PROBE_WINDOW.usual.into()
}

fn default_restart_window() -> Duration {
    bounds::RESTART_WINDOW.usual.into()
}

fn default_pods() -> Percentage {
    bounds::PODS.into()
}

fn default_below() -> Percentage {
    bounds::BELOW.into()
}

fn default_unavailable_for() -> Duration {
    bounds::UNAVAILABLE_FOR.usual.into()
}
