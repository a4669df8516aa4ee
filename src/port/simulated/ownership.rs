//! Who owns which field: the `managedFields` of Deployments.
//!
//! Only updates are here. Server-side apply, with its conflicts, is tested on a real API server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fields::{items, map, set, stamp, text};

/// Keys from the root down to a field, in the notation of `fieldsV1`.
type Path = Vec<String>;

/// A write, as far as ownership asks.
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) subresource: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// Writes the `managedFields` that follow from turning `old` into `new` into the latter.
///
/// Entries that `new` brings along replace the recorded ones before the change itself is counted.
/// So a patch that changes fields *and* drops its own entry gets the entry back, and a second patch
/// that only replaces entries is taken at its word.
pub(super) fn record(old: &Value, new: &mut Value, writer: &Writer<'_>) {
    let brought = items(new, "/metadata/managedFields");
    let recorded = items(old, "/metadata/managedFields");
    let mut entries = if brought.is_empty() || writer.subresource.is_some() {
        recorded.to_vec()
    } else {
        brought.to_vec()
    };
    let (before, after) = (leaves(old), leaves(new));
    let written: BTreeSet<Path> = changed(&before, &after);
    let removed = before.keys().filter(|path| !after.contains_key(*path));
    let lost: BTreeSet<Path> = removed.chain(&written).cloned().collect();
    if !lost.is_empty() {
        for entry in &mut entries {
            if !is_of(entry, writer) {
                take_away(entry, &lost);
            }
        }
        own(&mut entries, writer, old, &written, &lost);
        entries.retain(|entry| entry["fieldsV1"] != json!({}));
    }
    set(new, &["metadata", "managedFields"], Value::Array(entries));
}

fn changed(before: &BTreeMap<Path, &Value>, after: &BTreeMap<Path, &Value>) -> BTreeSet<Path> {
    after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(*value))
        .map(|(path, _)| path.clone())
        .collect()
}

fn is_of(entry: &Value, writer: &Writer<'_>) -> bool {
    text(entry, "/manager") == writer.manager
        && text(entry, "/operation") == "Update"
        && text(entry, "/subresource") == writer.subresource.unwrap_or_default()
}

fn take_away(entry: &mut Value, lost: &BTreeSet<Path>) {
    let kept = paths(&entry["fieldsV1"])
        .into_iter()
        .filter(|path| !lost.contains(path));
    entry["fieldsV1"] = nested(kept);
}

/// Adds `written` to the writer's own entry, or makes one.
fn own(
    entries: &mut Vec<Value>,
    writer: &Writer<'_>,
    old: &Value,
    written: &BTreeSet<Path>,
    lost: &BTreeSet<Path>,
) {
    let at = entries.iter().position(|entry| is_of(entry, writer));
    let owned = at.map_or_else(BTreeSet::new, |at| paths(&entries[at]["fieldsV1"]));
    let kept = owned.into_iter().filter(|path| !lost.contains(path));
    let mut entry = json!({
        "manager": writer.manager,
        "operation": "Update",
        "apiVersion": old.get("apiVersion").cloned().unwrap_or_else(|| "apps/v1".into()),
        "time": stamp(writer.now),
        "fieldsType": "FieldsV1",
        "fieldsV1": nested(kept.chain(written.iter().cloned())),
    });
    if let Some(subresource) = writer.subresource {
        set(&mut entry, &["subresource"], subresource);
    }
    match at {
        Some(at) => entries[at] = entry,
        None => entries.push(entry),
    }
}

/// Returns every field of `object` that can be owned, with its value.
fn leaves(object: &Value) -> BTreeMap<Path, &Value> {
    let mut found = BTreeMap::new();
    for field in ["spec", "status"] {
        if let Some(value) = object.get(field) {
            collect(value, &vec![format!("f:{field}")], &mut found);
        }
    }
    for field in ["annotations", "labels", "ownerReferences", "finalizers"] {
        if let Some(value) = object["metadata"].get(field) {
            let path = vec!["f:metadata".to_owned(), format!("f:{field}")];
            collect(value, &path, &mut found);
        }
    }
    found
}

fn collect<'a>(value: &'a Value, path: &Path, found: &mut BTreeMap<Path, &'a Value>) {
    if let Some(fields) = value.as_object().filter(|fields| !fields.is_empty()) {
        for (key, value) in fields {
            collect(value, &below(path, format!("f:{key}")), found);
        }
        return;
    }
    let field = path.last().map(String::as_str).unwrap_or_default();
    let keys = list_keys(field);
    let array = value.as_array().filter(|_| !keys.is_empty());
    let Some(array) = array.filter(|array| array.iter().all(|item| item.get(keys[0]).is_some()))
    else {
        found.insert(path.clone(), value);
        return;
    };
    for item in array {
        let key: Map<String, Value> = keys
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())))
            .collect();
        let item_path = below(path, format!("k:{}", Value::Object(key)));
        // The item itself is owned too, so that removing it can be told from emptying it.
        found.insert(below(&item_path, ".".to_owned()), &Value::Null);
        collect(item, &item_path, found);
    }
}

/// Returns what tells the items of a list apart. Other lists are owned as a whole.
fn list_keys(field: &str) -> &'static [&'static str] {
    match field {
        "f:containers" | "f:initContainers" | "f:env" | "f:volumes" => &["name"],
        "f:ports" => &["containerPort", "protocol"],
        "f:volumeMounts" => &["mountPath"],
        "f:conditions" => &["type"],
        "f:ownerReferences" => &["uid"],
        _ => &[],
    }
}

fn below(path: &Path, key: String) -> Path {
    let mut path = path.clone();
    path.push(key);
    path
}

fn paths(fields: &Value) -> BTreeSet<Path> {
    fn walk(fields: &Value, path: &Path, found: &mut BTreeSet<Path>) {
        match fields.as_object() {
            Some(map) if !map.is_empty() => {
                for (key, value) in map {
                    walk(value, &below(path, key.clone()), found);
                }
            }
            _ => {
                found.insert(path.clone());
            }
        }
    }
    let mut found = BTreeSet::new();
    if fields.as_object().is_some_and(|map| !map.is_empty()) {
        walk(fields, &Vec::new(), &mut found);
    }
    found
}

fn nested(paths: impl Iterator<Item = Path>) -> Value {
    let mut root = json!({});
    for path in paths {
        let mut at = &mut root;
        for key in path {
            at = map(at).entry(key).or_insert_with(|| json!({}));
        }
    }
    root
}

#[cfg(test)]
mod tests;
