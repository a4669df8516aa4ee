//! `ConfigMaps` and Secrets as a node finds them: what a pod refers to, and what is there.
//!
//! They are read from the API server each time, so that a container sees what holds when it starts.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;

use crate::node::{Simulation, state::Pod};

/// Which object a pod refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    ConfigMap(String),
    Secret(String),
}

impl Name {
    /// Returns how the API server says that it is not there, which kubelet repeats.
    pub(crate) fn not_found(&self) -> String {
        match self {
            Self::ConfigMap(name) => format!("configmap {name:?} not found"),
            Self::Secret(name) => format!("secret {name:?} not found"),
        }
    }

    /// Returns the kind and the name.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::ConfigMap(name) => ("ConfigMap", name),
            Self::Secret(name) => ("Secret", name),
        }
    }
}

/// What an object holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) text: BTreeMap<String, String>,
    /// Keys of `binaryData`: they can be mounted, and do not exist for the environment.
    pub(crate) binary: BTreeSet<String>,
}

/// What is there, of all that was asked for.
pub(crate) type Found = BTreeMap<Name, Contents>;

/// Reads objects of the pod's namespace.
///
/// # Errors
///
/// When the API server does not answer. The text says so in kubelet's words; try again later.
pub(crate) async fn read(
    simulation: &Simulation,
    pod: &Pod,
    names: BTreeSet<Name>,
) -> Result<Found, String> {
    let mut found = Found::new();
    for name in names {
        let contents = match &name {
            Name::ConfigMap(name) => {
                let api: Api<ConfigMap> =
                    Api::namespaced(simulation.client.clone(), &pod.namespace);
                let map = api.get_opt(name).await;
                map.map(|map| map.map(Contents::from))
                    .map_err(|error| ("configmap", error))
            }
            Name::Secret(name) => {
                let api: Api<Secret> = Api::namespaced(simulation.client.clone(), &pod.namespace);
                let secret = api.get_opt(name).await;
                secret
                    .map(|secret| secret.map(Contents::from))
                    .map_err(|error| ("secret", error))
            }
        };
        let contents = contents.map_err(|(kind, error)| {
            tracing::debug!(pod = pod.name, %error, "cannot read a {kind}");
            format!("failed to sync {kind} cache: timed out waiting for the condition")
        })?;
        if let Some(contents) = contents {
            found.insert(name, contents);
        }
    }
    Ok(found)
}

impl From<ConfigMap> for Contents {
    fn from(map: ConfigMap) -> Self {
        Self {
            text: map.data.unwrap_or_default(),
            binary: map.binary_data.unwrap_or_default().into_keys().collect(),
        }
    }
}

impl From<Secret> for Contents {
    fn from(secret: Secret) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let data = secret.data.unwrap_or_default();
        let data = data.into_iter().map(|(key, value)| (key, text(&value.0)));
        Self {
            text: data.collect(),
            binary: BTreeSet::new(),
        }
    }
}
