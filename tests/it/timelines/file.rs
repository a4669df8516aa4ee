//! What a timeline file holds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::world::{Behaviour, Metrics};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeline {
    pub(super) story: String,
    pub(super) policy: Value,
    #[serde(default)]
    pub(super) releases: BTreeMap<String, Release>,
    pub(super) running: String,
    pub(super) steps: Vec<Step>,
}

/// How a release does.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Release {
    /// Requests per second and pod; 20 where it is not said.
    requests: Option<f64>,
    /// Share of requests that fail, such as `30%`.
    errors: Option<String>,
    /// Whether its liveness probe fails.
    #[serde(default)]
    failing_probes: bool,
    /// Restarts per minute and pod.
    #[serde(default)]
    crashes: f64,
    /// Whether its rollout never completes.
    #[serde(default)]
    stalls: bool,
    /// What a query gives while it runs.
    #[serde(default)]
    value: f64,
    /// Whether an alert fires while it runs.
    #[serde(default)]
    alert: bool,
    /// Share of the replicas that is available, such as `50%`; all where it is not said.
    available: Option<String>,
}

impl Release {
    pub(super) fn behaviour(&self) -> Result<Behaviour, String> {
        Ok(Behaviour {
            requests: self.requests.unwrap_or(Behaviour::default().requests),
            errors: share("errors", self.errors.as_deref(), 0.0)?,
            failing_probes: self.failing_probes,
            crashes: self.crashes,
            stalls: self.stalls,
            value: self.value,
            alert: self.alert,
            available: share("available", self.available.as_deref(), 1.0)?,
        })
    }
}

fn share(field: &str, text: Option<&str>, usual: f64) -> Result<f64, String> {
    let Some(text) = text else {
        return Ok(usual);
    };
    let number = text.strip_suffix('%').and_then(|text| text.parse().ok());
    let percent: f64 = number.ok_or_else(|| format!("{field}: {text:?} is no percentage"))?;
    Ok(percent / 100.0)
}

/// What happens at a time, in this order, and what is expected after it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Step {
    pub(super) at: String,
    /// The operator was restarted, and has forgotten what it kept in memory.
    #[serde(default)]
    pub(super) restart: bool,
    pub(super) metrics: Option<MetricsAre>,
    /// Releases do otherwise from now on.
    #[serde(default)]
    pub(super) releases: BTreeMap<String, Release>,
    /// Somebody deploys this release.
    pub(super) deploy: Option<String>,
    /// A person pauses or resumes the rollout.
    pub(super) paused: Option<bool>,
    pub(super) replicas: Option<u32>,
    /// This person approves what is proposed.
    pub(super) approve: Option<String>,
    /// This person rejects what is proposed.
    pub(super) reject: Option<String>,
    pub(super) expect: Option<Expectation>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum MetricsAre {
    Working,
    Gone,
    Empty,
    Partial,
    NotNumbers,
}

impl From<MetricsAre> for Metrics {
    fn from(metrics: MetricsAre) -> Self {
        match metrics {
            MetricsAre::Working => Self::Working,
            MetricsAre::Gone => Self::Gone,
            MetricsAre::Empty => Self::Empty,
            MetricsAre::Partial => Self::Partial,
            MetricsAre::NotNumbers => Self::NotNumbers,
        }
    }
}

/// What is not given is not looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Expectation {
    pub(super) reason: Option<String>,
    /// The release that the template asks for.
    pub(super) running: Option<String>,
    /// Every write to the Deployment since the last step that asked.
    pub(super) did: Option<Vec<String>>,
    /// State of the newest incident, or `none`.
    pub(super) incident: Option<String>,
    /// A part of what ended the newest incident.
    pub(super) outcome: Option<String>,
    /// `Passing`, `Breached`, or why it is unknown.
    #[serde(default)]
    pub(super) readings: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) verdicts: BTreeMap<String, String>,
    /// Whether the rollout is paused.
    pub(super) paused: Option<bool>,
}
