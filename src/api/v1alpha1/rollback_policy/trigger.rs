//! The conditions that make a revision bad.

mod queries;
mod requests;
mod running;

use kube::KubeSchema;
use kube::core::Rule;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::{Mode, bounds};

pub use queries::{Alert, AlertLabel, PromQl};
pub use requests::{Custom, ErrorRate, LabelNames, Latency, Preset, WorseThanBefore};
pub use running::{Probe, ProbeFailures, Restarts, RolloutStalled, Unavailable};

/// One condition that makes a revision bad: a name and exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = one_kind_rule())]
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
    /// Too large a share of the requests is slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Probes of the kubelet fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_failures: Option<ProbeFailures>,
    /// Containers restart again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// The rollout makes no progress: an image that cannot be pulled, a container that cannot be
    /// created, a quota that is spent, or the Deployment's own progressDeadlineSeconds exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_stalled: Option<RolloutStalled>,
    /// Too few of the replicas are available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Unavailable>,
    /// A query of your own returns a bad value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<PromQl>,
    /// An alert of the metric source fires that did not fire before the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
}

impl Trigger {
    /// The fields that are kinds, in the order of their declaration.
    pub const KINDS: [&str; 8] = [
        "errorRate",
        "latency",
        "probeFailures",
        "restarts",
        "rolloutStalled",
        "unavailable",
        "promql",
        "alert",
    ];
}

fn one_kind_rule() -> Rule {
    let given = Trigger::KINDS.map(|kind| format!("has(self.{kind})"));
    let message = format!(
        "must have exactly one of {}, such as \"restarts: {{}}\"",
        Trigger::KINDS.join(", ")
    );
    Rule::new(format!(
        "[{}].filter(given, given).size() == 1",
        given.join(", ")
    ))
    .message(message.as_str())
}
