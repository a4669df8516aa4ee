//! What Astern found about a policy and the Deployments that it holds for.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::{Condition, Mode, bounds};

/// What Astern found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackPolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Accepted and Ready: the spec is understood. Guarding: the targets are there and the triggers
    /// have data. RollbackReady: what drills found. Stalled: the spec can never work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
    /// How far Astern goes after all caps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_mode: Option<Mode>,
    /// How many of the triggers have data, such as 2/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub guards: Option<String>,
    /// The newest Rollback of a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME_LENGTH))]
    pub last_rollback: Option<String>,
    /// How many Deployments the policy holds for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub matched_targets: Option<i32>,
    /// The Deployments that the policy holds for, at most 16 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::TARGETS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub targets: Vec<TargetStatus>,
}

/// Where one Deployment stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Name of the Deployment.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    pub name: String,
    /// The current revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub revision: Option<String>,
    /// What is known about the current revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub verdict: Option<String>,
    /// What a verdict of Good rests on. Full: every trigger has passed on real data. Partial: not every
    /// one had data. Vouched: it ran healthily before Astern came, or a person said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub proof: Option<String>,
    /// Where the Deployment stands, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// What the triggers say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::TRIGGERS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["trigger".to_owned()]))]
    pub readings: Vec<TriggerStatus>,
    /// What keeps Astern from acting, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub hold: Option<String>,
    /// What the last drill said: Ready, or what would have kept the Deployment from being rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub rollback_ready: Option<String>,
}

/// What one trigger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TriggerStatus {
    /// Name of the trigger.
    #[schemars(length(min = 1, max = bounds::TRIGGER_NAME_LENGTH))]
    pub trigger: String,
    /// Passing, Breached or Unknown.
    pub reading: TriggerReading,
    /// The preset that has data for the Deployment. With preset Auto: the one that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub preset: Option<String>,
    /// What was measured, or why nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// What a trigger can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TriggerReading {
    /// The limit is kept.
    Passing,
    /// The limit is broken.
    Breached,
    /// Nothing is known. Never causes a rollback.
    Unknown,
}
