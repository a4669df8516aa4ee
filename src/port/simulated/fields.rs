//! Short ways to read and write places in an object. Absent and of the wrong type are alike, as in
//! the controllers that this stands in for.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Returns the text at `pointer`, or an empty one.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns the whole number at `pointer`, or zero.
pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// Returns the items at `pointer`, or none.
pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Writes `value` under `path`, making the maps on the way.
pub(super) fn set(object: &mut Value, path: &[&str], value: impl Into<Value>) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut at = object;
    for key in parents {
        at = map(at).entry(*key).or_insert(Value::Null);
    }
    map(at).insert((*last).to_owned(), value.into());
}

/// Removes what is under `path`, if it is there.
pub(super) fn remove(object: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut at = object;
    for key in parents {
        let Some(next) = at.get_mut(*key) else {
            return;
        };
        at = next;
    }
    if let Value::Object(fields) = at {
        fields.remove(*last);
    }
}

/// Writes `value` under `path` unless something is there.
pub(super) fn default(object: &mut Value, path: &[&str], value: impl Into<Value>) {
    let there = path
        .iter()
        .try_fold(&*object, |at, key| at.get(*key))
        .is_some_and(|found| !found.is_null());
    if !there {
        set(object, path, value);
    }
}

/// Returns `value` as a map, making it one if it is something else.
pub(super) fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("was made a map just above")
}

/// Writes `at` as the API server writes times: in whole seconds.
pub(super) fn stamp(at: Timestamp) -> Value {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
        .into()
}

/// Reads the time at `pointer`.
pub(super) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// Returns the UID of the controller that owns `object`, or an empty text.
pub(super) fn controller_uid(object: &Value) -> &str {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)
        .map(|owner| text(owner, "/uid"))
        .unwrap_or_default()
}
