//! The Deployment that the demo is about.

use serde_json::Value;

use crate::scenario::Scenario;

/// Which Deployment is watched, and what its replicas shall stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) replicas: Option<i64>,
}

impl Workload {
    /// Returns the first Deployment of the scenario.
    pub(super) fn of(scenario: &Scenario) -> Option<Self> {
        let deployment = scenario
            .objects
            .iter()
            .find(|object| object["kind"] == "Deployment")?;
        let metadata = &deployment["metadata"];
        Some(Self {
            namespace: metadata["namespace"]
                .as_str()
                .unwrap_or("default")
                .to_owned(),
            name: metadata["name"].as_str()?.to_owned(),
            replicas: deployment.pointer("/spec/replicas").and_then(Value::as_i64),
        })
    }
}

/// Returns what people call an image: what stands behind the last colon.
pub(super) fn tag(image: &str) -> &str {
    image.rsplit(':').next().unwrap_or(image)
}
