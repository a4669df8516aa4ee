//! The kinds of GitOps tools and of other rollout controllers, without the controllers.
//!
//! Their objects hold whatever is put into them: nothing is checked, and no field has a default.

use serde_json::{Value, json};

use crate::bed::Bed;

/// A kind as its project defines it, apart from the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    /// Whether `/status` is an endpoint of its own.
    pub status: bool,
}

impl Kind {
    /// Returns what objects of the kind say in `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// Flux, applying manifests.
pub const KUSTOMIZATION: Kind = Kind {
    group: "kustomize.toolkit.fluxcd.io",
    version: "v1",
    kind: "Kustomization",
    plural: "kustomizations",
    status: true,
};

/// Flux, applying charts.
pub const HELM_RELEASE: Kind = Kind {
    group: "helm.toolkit.fluxcd.io",
    version: "v2",
    kind: "HelmRelease",
    plural: "helmreleases",
    status: true,
};

/// Argo CD, whose controller writes the status with the rest of the object.
pub const APPLICATION: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    kind: "Application",
    plural: "applications",
    status: false,
};

/// Argo Rollouts.
pub const ARGO_ROLLOUT: Kind = Kind {
    group: "argoproj.io",
    version: "v1alpha1",
    kind: "Rollout",
    plural: "rollouts",
    status: true,
};

/// Flagger.
pub const CANARY: Kind = Kind {
    group: "flagger.app",
    version: "v1beta1",
    kind: "Canary",
    plural: "canaries",
    status: true,
};

/// `OpenKruise`.
pub const KRUISE_ROLLOUT: Kind = Kind {
    group: "rollouts.kruise.io",
    version: "v1beta1",
    kind: "Rollout",
    plural: "rollouts",
    status: true,
};

/// All of them.
pub const KINDS: &[Kind] = &[
    KUSTOMIZATION,
    HELM_RELEASE,
    APPLICATION,
    ARGO_ROLLOUT,
    CANARY,
    KRUISE_ROLLOUT,
];

/// Defines kinds on a bed, and waits until they are served. Those that are there stay.
///
/// # Errors
///
/// When the API server refuses, or does not serve them within a minute; look at its log.
pub async fn install(bed: &Bed, kinds: &[Kind]) -> anyhow::Result<()> {
    let definitions: Vec<Value> = kinds.iter().map(definition).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": definitions});
    bed.apply(&list.to_string()).await
}

fn definition(kind: &Kind) -> Value {
    let status = json!({"status": {}});
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", kind.plural, kind.group)},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind, "listKind": format!("{}List", kind.kind),
                "plural": kind.plural, "singular": kind.kind.to_lowercase(),
            },
            "versions": [{
                "name": kind.version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": anything},
                "subresources": if kind.status { status } else { json!({}) },
            }],
        },
    })
}
