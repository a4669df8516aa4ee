//! Copies of ConfigMaps, and which ConfigMaps may be copied.
//!
//! A copy is named after its original and its content, so that making it twice is making it once,
//! and so that it can be recognised by computing its name again.

use serde_json::{Value, json};

use super::contents::{contents, short_digest};
use crate::api::names;
use crate::api::record::{annotation, controller, label, label_value, text};
use crate::decide::Contents;
use crate::port::kinds;

/// A ControllerRevision that refers to a copy, and keeps it alive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerRef {
    pub name: String,
    pub uid: String,
}

/// Whose a ConfigMap is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// People's, as far as anybody can tell.
    Ordinary,
    /// Another program keeps it current, such as a bundle of CA certificates: what it held must not
    /// come back.
    Managed,
    /// A copy of ours of the ConfigMap `of`.
    Copy { of: String },
}

/// What the control plane, OpenShift and Istio put into every namespace.
const MANAGED_NAMES: [&str; 3] = [
    "kube-root-ca.crt",
    "openshift-service-ca.crt",
    "istio-ca-root-cert",
];
/// What trust-manager and OpenShift mark the bundles with that they fill. OpenShift's two are a label
/// and an annotation; either place counts, whatever the value.
const MANAGED_MARKS: [&str; 3] = [
    "trust.cert-manager.io/bundle",
    "service.beta.openshift.io/inject-cabundle",
    "config.openshift.io/inject-trusted-cabundle",
];

/// Returns whose the ConfigMap `object` is.
#[must_use]
pub fn standing(object: &Value) -> Standing {
    let name = text(object, "/metadata/name").unwrap_or_default();
    if let Some(of) = copied(object, name) {
        return Standing::Copy { of };
    }
    let marked = MANAGED_MARKS
        .iter()
        .any(|mark| label(object, mark).is_some() || annotation(object, mark).is_some());
    if marked || MANAGED_NAMES.contains(&name) || controller(object).is_some() {
        Standing::Managed
    } else {
        Standing::Ordinary
    }
}

/// An annotation can be written by anybody; the name says whether the content is what it claims.
fn copied(object: &Value, name: &str) -> Option<String> {
    let of = annotation(object, names::CONFIG_COPY_OF)?;
    let sealed = object.get("immutable").and_then(Value::as_bool) == Some(true);
    (sealed && name == copy_name(of, &contents(object))).then(|| of.to_owned())
}

/// Returns the name of the copy of the ConfigMap `name` that holds `contents`.
#[must_use]
pub fn copy_name(name: &str, contents: &Contents) -> String {
    const NAME_MAX: usize = 253;
    let digest = short_digest(&[name, contents.whole()]);
    let suffix = format!("-astern-{}", digest.get(..8).unwrap_or(&digest));
    let room = NAME_MAX - suffix.len();
    // Names of Kubernetes are ASCII; a cut one must not end in a dot before the hyphen.
    let stem: String = name.chars().take(room).collect();
    let stem = stem.trim_end_matches(['.', '-']);
    format!("{stem}{suffix}")
}

/// Returns the copy of the ConfigMap `object` that `owners` keep alive.
///
/// It carries no label or annotation of the original: whoever selects by those, to prune, to
/// replicate or to inject, must not find it.
#[must_use]
pub fn copy(object: &Value, owners: &[OwnerRef]) -> Value {
    let of = text(object, "/metadata/name").unwrap_or_default();
    // Copies are found by it, so it is there also where the name is too long for it.
    let value = label_value(of).unwrap_or_default();
    let mut copy = json!({
        "apiVersion": kinds::CONFIG_MAPS.api_version(),
        "kind": kinds::CONFIG_MAPS.kind,
        "metadata": {
            "name": copy_name(of, &contents(object)),
            "namespace": text(object, "/metadata/namespace"),
            "labels": {names::CONFIG_COPY_OF: value},
            "annotations": {names::CONFIG_COPY_OF: of},
            "ownerReferences": owner_references(owners),
        },
        "immutable": true,
    });
    for field in ["data", "binaryData"] {
        if let Some(entries) = object.get(field).filter(|entries| !entries.is_null()) {
            copy[field] = entries.clone();
        }
    }
    copy
}

/// Returns `owners` as they stand in metadata.
#[must_use]
pub fn owner_references(owners: &[OwnerRef]) -> Vec<Value> {
    owners
        .iter()
        .map(|owner| {
            json!({
                "apiVersion": kinds::CONTROLLER_REVISIONS.api_version(),
                "kind": kinds::CONTROLLER_REVISIONS.kind,
                "name": owner.name,
                "uid": owner.uid,
                // Several revisions keep one copy; only one could be its controller.
                "controller": false,
                "blockOwnerDeletion": false,
            })
        })
        .collect()
}
