//! Conditions that are asked of the metric source in the user's own words.

use std::collections::BTreeMap;

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::{Duration, bounds};

/// A query of your own returns a bad value. An answer without values is neither good nor bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.above) != has(self.below)")
        .message("must have exactly one of above and below, such as \"above: '10'\"")
)]
pub struct PromQl {
    /// PromQL without a comparison at its end, which would leave nothing where all is well. $pods
    /// stands for the pods of the new revision, as in pod=~"$pods".
    #[schemars(length(min = 1, max = bounds::QUERY_LENGTH))]
    pub query: String,
    /// The revision is bad when a value is above this number, given as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE.length()), regex(pattern = bounds::VALUE.pattern()))]
    #[x_kube(validation = bounds::VALUE.rule())]
    pub above: Option<String>,
    /// The revision is bad when a value is below this number, given as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::VALUE.length()), regex(pattern = bounds::VALUE.pattern()))]
    #[x_kube(validation = bounds::VALUE.rule())]
    pub below: Option<String>,
    /// How long that must last.
    #[serde(default = "default_for", rename = "for")]
    #[x_kube(validation = bounds::FOR.rule())]
    pub sustained: Duration,
}

/// An alert of the metric source fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Labels of the alert and their values, such as alertname: CheckoutDown. All must be equal. Only
    /// alerts of the policy's namespace count, so the label namespace must not be given.
    #[schemars(extend("maxProperties" = bounds::ALERT_LABELS))]
    #[x_kube(validation = some_label_rule(), validation = reserved_rule())]
    pub match_labels: BTreeMap<String, AlertLabel>,
    /// How long it must fire, on top of the time in the alert's own rule.
    #[serde(default = "default_alert_for", rename = "for")]
    #[x_kube(validation = bounds::ALERT_FOR.rule())]
    pub sustained: Duration,
}

/// Value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct AlertLabel(#[schemars(length(min = 1, max = bounds::ALERT_VALUE_LENGTH))] pub String);

fn default_for() -> Duration {
    bounds::FOR.usual.into()
}

fn default_alert_for() -> Duration {
    bounds::ALERT_FOR.usual.into()
}

fn some_label_rule() -> Rule {
    Rule::new("size(self) > 0")
        .message("must name at least one label, such as \"alertname: CheckoutDown\"")
}

fn reserved_rule() -> Rule {
    let names = bounds::ALERT_RESERVED.map(|name| format!("'{name}'"));
    let rule = format!(
        "self.all(name, name.matches('{}') && !(name in [{}]))",
        bounds::METRIC_LABEL_PATTERN,
        names.join(", ")
    );
    let message = format!(
        "must hold names of labels, such as alertname, and none of {}, which are set already",
        bounds::ALERT_RESERVED.join(", ")
    );
    Rule::new(rule).message(message.as_str())
}
