//! What keeps a rollback from doing harm: config, quarantine, GitOps tools, drills.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::{Duration, Enforcement, bounds};

/// What happens to the configuration that a revision refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// How much Astern does about it.
    #[serde(default)]
    pub mode: ConfigMode,
    /// Names of ConfigMaps and Secrets that are left alone, such as feature flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = bounds::EXCLUDED),
        inner(length(min = 1, max = bounds::NAME_LENGTH), regex(pattern = bounds::NAME_PATTERN))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub exclude: Vec<String>,
}

/// How much Astern does about configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigMode {
    /// Nothing.
    Ignore,
    /// People are asked where what the restored revision refers to has changed since it ran.
    #[default]
    Check,
    /// The restored revision gets the ConfigMaps that it ran with, as copies that nobody else uses.
    /// Secrets are only ever checked.
    Restore,
}

/// What happens to a revision that was gone back from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// How long it should not be deployed again.
    #[serde(default = "default_quarantine", rename = "for")]
    #[x_kube(validation = bounds::QUARANTINE.rule())]
    pub lasting: Duration,
    /// What admission does when it is. Never Deny where a GitOps tool owns the Deployment.
    #[serde(default)]
    pub enforcement: Enforcement,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            lasting: default_quarantine(),
            enforcement: Enforcement::default(),
        }
    }
}

/// How Astern gets along with a tool that puts the Deployment back to what Git says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitOps {
    /// What a rollback does about it.
    #[serde(default)]
    pub on_rollback: OnRollback,
}

/// What a rollback does about a GitOps tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRollback {
    /// Acts where it sticks, pauses the tool for this one object where one annotation suffices, else
    /// asks people first.
    #[default]
    Auto,
    /// Asks people first wherever a tool owns the Deployment.
    Hold,
    /// Pauses the tool, the Application of Argo CD included, where Astern may do so.
    Pause,
    /// Acts and does not care.
    Proceed,
}

/// When to rehearse a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// Five fields as in cron: minute, hour, day of the month, month, day of the week.
    #[schemars(length(min = 9, max = bounds::SCHEDULE_LENGTH))]
    pub schedule: String,
    /// Name of the time zone of the schedule, such as Asia/Shanghai.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = bounds::TIME_ZONE_LENGTH))]
    pub time_zone: String,
}

fn default_quarantine() -> Duration {
    bounds::QUARANTINE.usual.into()
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}
