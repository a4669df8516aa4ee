//! Between memory and the objects that it lives on: `ControllerRevision` and `Rollback`.
//!
//! Reading is lenient: an object that makes no sense is `None`, and its reader reports it.

pub mod answers;
pub mod drill;
pub mod pause;
pub mod revision;
pub mod rollback;

use jiff::Timestamp;
use serde_json::Value;

use super::{config, names};
use crate::decide::{ConfigKind, ConfigName};

/// Returns the string at `path`, a JSON pointer.
#[must_use]
pub fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path)?.as_str()
}

/// Returns the time at `path`, a JSON pointer.
#[must_use]
pub fn time(object: &Value, path: &str) -> Option<Timestamp> {
    text(object, path)?.parse().ok()
}

/// Returns the annotation `key` of `object`.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// Returns the label `key` of `object`.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// Returns the reference to the object that controls `object`.
#[must_use]
pub fn controller(object: &Value) -> Option<&Value> {
    object
        .pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// Returns the JSON pointer to the annotation `key`.
#[must_use]
pub fn annotation_pointer(key: &str) -> String {
    format!("/metadata/annotations/{}", escaped(key))
}

/// Returns the JSON pointer to the label `key`.
#[must_use]
pub fn label_pointer(key: &str) -> String {
    format!("/metadata/labels/{}", escaped(key))
}

/// RFC 6901: a slash inside a key would otherwise start the next one.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Whether `deployment` carries our mark of pinned config, and its template reads none of the copies.
#[must_use]
pub fn pinned_in_vain(deployment: &Value) -> bool {
    let Some(mark) = annotation(deployment, names::CONFIG_PINNED) else {
        return false;
    };
    let template = deployment.pointer("/spec/template");
    let uses = template.map(config::uses).unwrap_or_default();
    let copies = mark.split(',').filter_map(|pair| pair.split_once('='));
    let read = |copy: &str| {
        let name = ConfigName {
            kind: ConfigKind::ConfigMap,
            name: copy.to_owned(),
        };
        uses.contains_key(&name)
    };
    !copies.into_iter().any(|(_, copy)| read(copy))
}

/// Returns `value` if it fits into a label. Names of objects may be four times as long.
#[must_use]
pub fn label_value(value: &str) -> Option<&str> {
    const LABEL_MAX: usize = 63;
    (value.len() <= LABEL_MAX).then_some(value)
}
