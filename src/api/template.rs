//! The identity of a pod template.
//!
//! The digest is Astern's own, because the `pod-template-hash` changes with hash collisions and with
//! upgrades of Kubernetes, and revision numbers move on every rollback.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::config;
use super::names;
use super::record::annotation;
use crate::decide::config::{fingerprint, used};
use crate::decide::{Compatible, Config, Facts, Revision, Schema};

/// Returns the revision that `template` is.
///
/// Two templates are the same revision when they are equal as JSON values, apart from the label that
/// the Deployment controller adds, the stamp of `kubectl rollout restart`, and nulls.
#[must_use]
pub fn revision(template: &Value) -> Revision {
    let mut canonical = String::new();
    write_canonical(&identity_part(template), &mut canonical);
    Revision(digest(&canonical))
}

/// Returns the digest of the part of `config` that `template` reads; `None` where it reads none that is
/// known.
#[must_use]
pub fn config_digest(template: &Value, config: &Config) -> Option<String> {
    let used = used(&config::uses(template), config);
    (!used.is_empty()).then(|| digest(&fingerprint(&used)))
}

/// Returns the revision that a template is together with the config that its pods started with: the
/// template alone where no config is known.
#[must_use]
pub fn with_config(template: &Revision, config_digest: Option<&str>) -> Revision {
    match config_digest {
        Some(config) => Revision(digest(&format!("{}\n{config}", template.0))),
        None => template.clone(),
    }
}

/// Returns the SHA-256 of `text` in hexadecimal.
#[must_use]
pub fn digest(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Returns the images of the containers of `template`, init containers first.
#[must_use]
pub fn images(template: &Value) -> Vec<String> {
    ["/spec/initContainers", "/spec/containers"]
        .iter()
        .filter_map(|path| template.pointer(path)?.as_array())
        .flatten()
        .filter_map(|container| container.get("image")?.as_str())
        .map(str::to_owned)
        .collect()
}

/// Returns what `template` says about going back to it.
#[must_use]
pub fn facts(template: &Value) -> Facts {
    let mut substance = String::new();
    let spec = template.get("spec").unwrap_or(&Value::Null);
    write_canonical(spec, &mut substance);
    Facts {
        substance: digest(&substance),
        schema: annotation(template, names::SCHEMA).map(Schema::read),
        compatible: annotation(template, names::COMPATIBLE_SCHEMA).map(Compatible::read),
        labels: labels(template),
        claims: claims(template),
        uses: config::uses(template),
    }
}

/// Of one pod. More than any has, and few enough to keep for every recorded revision.
const LABELS_MAX: usize = 64;

fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let labels = labels.into_iter().flatten().take(LABELS_MAX);
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// What people are told. A pod with more claims is told of by these.
const CLAIMS_MAX: usize = 8;

fn claims(template: &Value) -> Vec<String> {
    let volumes = template.pointer("/spec/volumes").and_then(Value::as_array);
    let names = volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
    names.take(CLAIMS_MAX).map(str::to_owned).collect()
}

fn identity_part(template: &Value) -> Value {
    let mut part = template.clone();
    remove_key(&mut part, "labels", names::POD_TEMPLATE_HASH);
    remove_key(&mut part, "annotations", names::RESTARTED_AT);
    let metadata = part.get("metadata").and_then(Value::as_object);
    if metadata.is_some_and(|entries| entries.values().all(Value::is_null))
        && let Some(part) = part.as_object_mut()
    {
        part.remove("metadata");
    }
    part
}

/// Removes one label or annotation, and the map if nothing is left: `kubectl rollout restart` adds
/// the map where there was none.
fn remove_key(template: &mut Value, map: &str, key: &str) {
    let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else {
        return;
    };
    entries.remove(key);
    if entries.is_empty() {
        metadata.remove(map);
    }
}

/// Writes JSON with sorted keys and without nulls. The order must not depend on how a dependency
/// has configured its maps.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(entries) => {
            let mut keys: Vec<_> = entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .collect();
            keys.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, value)) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::from(key.as_str()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template() -> Value {
        json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "checkout"}},
            "spec": {"containers": [{"name": "app", "image": "registry.example/checkout:v1"}],
                     "initContainers": [{"name": "init", "image": "registry.example/init:v2"}]}
        })
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Value), same: bool) {
        let mut changed = template();
        change(&mut changed);
        assert_eq!(revision(&changed) == revision(&template()), same);
    }

    #[test]
    fn what_controllers_and_restarts_add_is_no_part_of_the_identity() {
        check(
            |t| t["metadata"]["labels"]["pod-template-hash"] = json!("7d9f8b6c5d"),
            true,
        );
        check(
            |t| t["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "2026"}),
            true,
        );
        check(
            |t| t["metadata"] = json!({"labels": {"app": "checkout"}}),
            true,
        );
    }

    #[test]
    fn everything_else_is() {
        check(
            |t| t["metadata"]["annotations"] = json!({"team": "shop"}),
            false,
        );
        check(|t| t["metadata"]["labels"]["app"] = json!("basket"), false);
        check(
            |t| t["spec"]["containers"][0]["image"] = json!("registry.example/checkout:v2"),
            false,
        );
        check(|t| t["spec"]["fieldOfNextYear"] = json!(true), false);
    }

    #[test]
    fn the_digest_is_the_same_for_ever() {
        // Revisions that older versions recorded must be found again.
        assert_eq!(
            revision(&json!({"spec": {"b": [1, "x"], "a": 1.5}})).0,
            "d129cd9f43bcfc8f34553e31b110b5992b41109b51a70ae3e74bba4725bbaeda"
        );
    }

    #[test]
    fn images_come_in_the_order_they_start() {
        assert_eq!(
            images(&template()),
            ["registry.example/init:v2", "registry.example/checkout:v1"]
        );
    }
}
