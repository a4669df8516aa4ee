//! Where objects live on the API server, and what their fields say.

use serde_json::Value;

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deployments,
    Events,
    Leases,
    Policies,
    ReplicaSets,
    Revisions,
    Roles,
    Rollbacks,
}

impl Kind {
    pub(crate) fn path(self, namespace: &str) -> String {
        let (api, plural) = match self {
            Self::Deployments => ("apps/v1", "deployments"),
            Self::Events => ("events.k8s.io/v1", "events"),
            Self::Leases => ("coordination.k8s.io/v1", "leases"),
            Self::Policies => ("astern.dev/v1alpha1", "rollbackpolicies"),
            Self::ReplicaSets => ("apps/v1", "replicasets"),
            Self::Revisions => ("apps/v1", "controllerrevisions"),
            Self::Roles => ("rbac.authorization.k8s.io/v1", "roles"),
            Self::Rollbacks => ("astern.dev/v1alpha1", "rollbacks"),
        };
        format!("/apis/{api}/namespaces/{namespace}/{plural}")
    }
}

/// Returns the state of a Rollback; empty where it has none yet.
pub(crate) fn state(rollback: &Value) -> String {
    word(&condition(rollback, "Complete")["reason"])
}

/// Returns the image of a recorded revision.
pub(crate) fn image_of(revision: &Value) -> String {
    word(&revision["data"]["template"]["spec"]["containers"][0]["image"])
}

/// Returns a condition of an object; null where it has none.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    found.unwrap_or(&Value::Null)
}

/// Returns a string, or nothing for what is none.
pub(crate) fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
