//! `RollbackPolicy`: what to watch and what to do.

mod safety;
mod selector;
mod status;
mod trigger;

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Mode, bounds};

pub use safety::{Config, ConfigMode, Drill, GitOps, OnRollback, Quarantine};
pub use selector::{LabelValue, Operator, Requirement, Selector};
pub use status::{RollbackPolicyStatus, TargetStatus, TriggerReading, TriggerStatus};
pub use trigger::{
    Alert, AlertLabel, Custom, ErrorRate, LabelNames, Latency, Preset, Probe, ProbeFailures,
    PromQl, Restarts, RolloutStalled, Trigger, Unavailable, WorseThanBefore,
};

/// What to watch and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "astern.dev",
    version = "v1alpha1",
    kind = "RollbackPolicy",
    plural = "rollbackpolicies",
    shortname = "rbp",
    category = "astern",
    namespaced,
    status = "RollbackPolicyStatus",
    derive = "PartialEq",
    selectable = ".spec.mode",
    doc = "Which Deployments to watch, by what, and what to do when a release is bad.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Effective",
        type_ = "string",
        json_path = ".status.effectiveMode"
    ),
    printcolumn(name = "Guards", type_ = "string", json_path = ".status.guards"),
    printcolumn(
        name = "Last-Rollback",
        type_ = "string",
        json_path = ".status.lastRollback"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = Rule::new("!(has(self.selector) && has(self.targetRefs) && size(self.targetRefs) > 0)")
        .message("targetRefs and selector exclude each other; keep one of them")
)]
pub struct RollbackPolicySpec {
    /// The Deployments, by name. Without targetRefs and selector, the policy holds where a
    /// Deployment's annotation astern.dev/policy names it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::TARGETS))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["group".to_owned(), "kind".to_owned(), "name".to_owned()])
    )]
    pub target_refs: Vec<TargetReference>,
    /// The Deployments, by label. An empty selector stands for every Deployment of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = StructMerge::Atomic)]
    pub selector: Option<Selector>,
    /// How far Astern may go.
    #[serde(default)]
    pub mode: Mode,
    /// How long a revision is judged after its rollout completed.
    #[serde(default = "default_probation")]
    #[x_kube(validation = bounds::PROBATION.rule())]
    pub probation: Duration,
    /// The MetricSource to ask.
    #[serde(default = "default_metric_source")]
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH), regex(pattern = bounds::NAME_PATTERN))]
    #[x_kube(validation = bounds::name_rule(bounds::NAME_PATTERN, bounds::METRIC_SOURCE))]
    pub metric_source: String,
    // No default in the schema. What a default puts into a list belongs to nobody, so a server-side
    // apply that adds the first trigger would keep the default ones beside it for ever.
    /// What makes a revision bad. Without any: "crashes" (restarts), "stuck" (rolloutStalled), "down"
    /// (unavailable below 50% for 1m) and "server-errors" (errorRate of preset Auto above 5% for 2m),
    /// each with its defaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::TRIGGERS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub triggers: Vec<Trigger>,
    /// How far Astern may go once a revision is through its probation: a breach is seldom its
    /// release's fault then. Caps the mode.
    #[serde(default)]
    pub after_probation: Mode,
    /// Who must agree to a proposed rollback, and until when.
    #[serde(default)]
    pub approval: Approval,
    /// Pause a bad rollout while people decide. A paused Deployment refuses kubectl rollout undo.
    #[serde(default)]
    pub pause_rollout: bool,
    /// How a rollback is carried out and judged.
    #[serde(default)]
    pub rollback: RollbackTerms,
    /// What happens to the configuration that a revision refers to.
    #[serde(default)]
    pub config: Config,
    /// What happens to a revision that was gone back from.
    #[serde(default)]
    pub quarantine: Quarantine,
    /// How Astern gets along with a tool that puts the Deployment back to what Git says.
    #[serde(default)]
    pub git_ops: GitOps,
    /// When to rehearse a rollback. Without it: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
}

/// A Deployment in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// API group of the target.
    #[serde(default)]
    pub group: TargetGroup,
    /// Kind of the target.
    #[serde(default)]
    pub kind: TargetKind,
    /// Name of the target.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH), regex(pattern = bounds::NAME_PATTERN))]
    #[x_kube(validation = bounds::name_rule(bounds::NAME_PATTERN, "checkout"))]
    pub name: String,
}

/// API groups of targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetGroup {
    /// The group of Deployments.
    #[default]
    #[serde(rename = "apps")]
    Apps,
}

/// Kinds of targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// The one kind so far.
    #[default]
    Deployment,
}

/// Who must agree to a proposed rollback, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// How many people must approve.
    #[serde(default = "default_required")]
    #[schemars(range(min = bounds::REQUIRED.least, max = bounds::REQUIRED.most))]
    pub required: i32,
    /// How long they have.
    #[serde(default = "default_approval_timeout")]
    #[x_kube(validation = bounds::APPROVAL_TIMEOUT.rule())]
    pub timeout: Duration,
    /// What silence means.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// `ServiceAccounts` whose answers count, such as `ci/release-bot`. Those of others never do,
    /// whatever rights they have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = bounds::SERVICE_ACCOUNTS),
        inner(
            length(min = 3, max = bounds::SERVICE_ACCOUNT_LENGTH),
            regex(pattern = bounds::SERVICE_ACCOUNT_PATTERN)
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub service_accounts: Vec<String>,
}

impl Default for Approval {
    fn default() -> Self {
        Self {
            required: default_required(),
            timeout: default_approval_timeout(),
            on_timeout: OnTimeout::default(),
            service_accounts: Vec::new(),
        }
    }
}

/// What silence means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnTimeout {
    /// People are told again, louder. The proposal stays open, a paused rollout stays paused.
    #[default]
    Escalate,
    /// Astern rolls back without approval. Counts as Automatic where modes are capped.
    RollBack,
    /// The revision goes on.
    Release,
}

/// How a rollback is carried out and judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = recovery_rule())]
pub struct RollbackTerms {
    /// From the decision until recovery is verified.
    #[serde(default = "default_deadline")]
    #[x_kube(validation = bounds::DEADLINE.rule())]
    pub deadline: Duration,
    /// How the restored revision is judged.
    #[serde(default)]
    pub recovery: Recovery,
    /// How many rollbacks of one Deployment go ahead before people are asked.
    #[serde(default)]
    pub budget: Budget,
    /// How far Astern may go where the revision to go back to mounts persistent volume claims: the
    /// newer version may have changed the data. Caps the mode.
    #[serde(default = "default_persistent_volumes")]
    pub persistent_volumes: Mode,
}

impl Default for RollbackTerms {
    fn default() -> Self {
        Self {
            deadline: default_deadline(),
            recovery: Recovery::default(),
            budget: Budget::default(),
            persistent_volumes: default_persistent_volumes(),
        }
    }
}

/// So many rollbacks in so long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// How many.
    #[serde(default = "default_budget_count")]
    #[schemars(range(min = bounds::BUDGET_COUNT.least, max = bounds::BUDGET_COUNT.most))]
    pub count: i32,
    /// In how long.
    #[serde(default = "default_budget_per")]
    #[x_kube(validation = bounds::BUDGET_PER.rule())]
    pub per: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            count: default_budget_count(),
            per: default_budget_per(),
        }
    }
}

/// How the restored revision is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// How long the triggers must pass again.
    #[serde(default = "default_for", rename = "for")]
    #[x_kube(validation = bounds::FOR.rule())]
    pub sustained: Duration,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            sustained: default_for(),
        }
    }
}

fn default_probation() -> Duration {
    bounds::PROBATION.usual.into()
}

fn default_metric_source() -> String {
    bounds::METRIC_SOURCE.to_owned()
}

fn default_required() -> i32 {
    bounds::REQUIRED.usual
}

fn default_approval_timeout() -> Duration {
    bounds::APPROVAL_TIMEOUT.usual.into()
}

fn default_deadline() -> Duration {
    bounds::DEADLINE.usual.into()
}

fn default_persistent_volumes() -> Mode {
    Mode::RequireApproval
}

fn default_budget_count() -> i32 {
    bounds::BUDGET_COUNT.usual
}

fn default_budget_per() -> Duration {
    bounds::BUDGET_PER.usual.into()
}

fn default_for() -> Duration {
    bounds::FOR.usual.into()
}

/// A recovery that takes longer than the deadline could never be verified.
fn recovery_rule() -> Rule {
    let pattern = bounds::DURATION_PATTERN;
    Rule::new(format!(
        "!self.deadline.matches('{pattern}') || !self.recovery.__for__.matches('{pattern}') || duration(self.recovery.__for__) < duration(self.deadline)"
    ))
    .message("recovery.for must be shorter than deadline, such as 2m of 10m")
}
