//! The custom resources of `astern.dev/v1alpha1` as types: what goes over the wire, and its schema.
//!
//! Nothing is interpreted here. What a spec means, and whether it makes sense, is said by
//! [`super::parse`], which reads raw JSON; a type here that fails to decode must never decide
//! anything. The descriptions that `kubectl explain` shows are the comments of these fields.

#![expect(
    unreachable_pub,
    reason = "the schema derive hides a copy of every public type inside a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "columns are attributes of one derive, and most have the same type"
)]
#![expect(
    clippy::doc_markdown,
    reason = "kubectl explain shows these comments as they are"
)]

pub mod bounds;
pub mod metric_source;
pub mod rollback;
pub mod rollback_policy;

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use metric_source::{MetricSource, MetricSourceSpec};
pub use rollback::{Rollback, RollbackSpec, RollbackStatus};
pub use rollback_policy::{RollbackPolicy, RollbackPolicySpec, RollbackPolicyStatus};

/// A span of time as GEP-2257 spells it: `1h30m`, `90s`, `500ms`.
///
/// Kept as it was written, so that reading and writing an object does not change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(pub String);

impl From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": bounds::DURATION_PATTERN,
            "maxLength": bounds::DURATION_LENGTH,
        })
    }
}

/// A share of a whole, such as `5%` or `0.1%`. Text, because numbers with a point do not survive
/// every tool between an editor and the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percentage(pub String);

impl From<&str> for Percentage {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for Percentage {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percentage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let rule = format!(
            "self.matches('{}') && double(self.replace('%', '')) > 0.0 && double(self.replace('%', '')) <= 100.0",
            bounds::PERCENTAGE_PATTERN,
        );
        json_schema!({
            "type": "string",
            "pattern": bounds::PERCENTAGE_PATTERN,
            "maxLength": bounds::PERCENTAGE_LENGTH,
            "x-kubernetes-validations": [{
                "rule": rule,
                "message": "must be a percentage above 0% and up to 100%, such as \"5%\"",
            }],
        })
    }
}

/// How far Astern may go. One ladder: what caps it only lowers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Nothing is judged.
    Disabled,
    /// Judges, and records what it would have done. Never writes to a Deployment.
    #[default]
    Observe,
    /// Proposes a rollback, and acts when people have approved.
    RequireApproval,
    /// Acts by itself.
    Automatic,
}

/// What admission does about a rule that is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// Nothing.
    Disabled,
    /// The write goes through, and whoever made it is warned.
    #[default]
    Warn,
    /// The write is refused.
    Deny,
}

/// One aspect of an object's state, as every Kubernetes API has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// The generation of the object that the condition was set for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Why, in one word.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, for people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can tell.
    Unknown,
}
