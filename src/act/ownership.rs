//! Field ownership goes back with the template, or the next deploy meets a conflict with us, and
//! fields that it dropped stay for ever.
//!
//! It takes a write of its own: the change of the template makes the entries anew.

use serde_json::{Map, Value, json};

use crate::api::names;
use crate::api::record::revision::{OWNED_LAST_APPLIED, OWNED_TEMPLATE, Recorded};
use crate::api::record::text;

/// The parts of an entry that go back; everything else belongs to what happened meanwhile.
const RESTORED: [&str; 2] = [OWNED_TEMPLATE, OWNED_LAST_APPLIED];
/// The map of annotations itself. Who owned it lost it to us with what kubectl apply remembers; it
/// goes back, but is never taken away.
const OWNED_ANNOTATIONS: &str = "/fieldsV1/f:metadata/f:annotations/.";

/// Returns the write that gives the template's fields back to whoever deployed `target`, and drops
/// our own entry. Guarded by the resource version, since the whole list is written.
#[must_use]
pub fn restore(live: &Value, target: &Recorded) -> Value {
    json!([
        {"op": "test", "path": "/metadata/uid", "value": live.pointer("/metadata/uid")},
        {"op": "replace", "path": "/metadata/resourceVersion",
         "value": live.pointer("/metadata/resourceVersion")},
        {"op": "replace", "path": "/metadata/managedFields", "value": restored(live, target)},
    ])
}

fn restored(live: &Value, target: &Recorded) -> Vec<Value> {
    let entries = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let mut kept: Vec<Value> = entries
        .into_iter()
        .flatten()
        .filter(|entry| !is_ours(entry))
        .cloned()
        .collect();
    for entry in kept.iter_mut().filter(|entry| is_main(entry)) {
        let before = target
            .ownership
            .iter()
            .find(|known| same_writer(known, entry));
        for path in RESTORED {
            set(entry, path, before.and_then(|before| before.pointer(path)));
        }
        if let Some(owned) = before.and_then(|before| before.pointer(OWNED_ANNOTATIONS)) {
            set(entry, OWNED_ANNOTATIONS, Some(owned));
        }
    }
    let missing = target
        .ownership
        .iter()
        .filter(|known| !kept.iter().any(|entry| same_writer(known, entry)))
        .map(only_restored_parts)
        .collect::<Vec<_>>();
    kept.extend(missing);
    // An entry that owns nothing is refused or dropped; better not to send it.
    kept.retain(|entry| {
        entry
            .get("fieldsV1")
            .and_then(Value::as_object)
            .is_some_and(|fields| !fields.is_empty())
    });
    kept
}

/// Entries of subresources are about other fields.
fn is_main(entry: &Value) -> bool {
    entry.get("subresource").is_none()
}

fn is_ours(entry: &Value) -> bool {
    is_main(entry) && text(entry, "/manager") == Some(names::FIELD_MANAGER)
}

/// `Update` and `Apply` under one name are two writers.
fn same_writer(left: &Value, right: &Value) -> bool {
    is_main(left)
        && is_main(right)
        && left.get("manager") == right.get("manager")
        && left.get("operation") == right.get("operation")
        && left.get("apiVersion") == right.get("apiVersion")
}

fn only_restored_parts(entry: &Value) -> Value {
    let mut cut = entry.clone();
    if let Some(cut) = cut.as_object_mut() {
        cut.insert("fieldsV1".to_owned(), json!({}));
    }
    for path in RESTORED.into_iter().chain([OWNED_ANNOTATIONS]) {
        set(&mut cut, path, entry.pointer(path));
    }
    cut
}

/// Puts `value` at `path` or removes what is there, and drops maps that this leaves empty.
fn set(entry: &mut Value, path: &str, value: Option<&Value>) {
    let keys: Vec<String> = path
        .split('/')
        .skip(1)
        .map(|key| key.replace("~1", "/").replace("~0", "~"))
        .collect();
    if let Some(entry) = entry.as_object_mut() {
        set_in(entry, &keys, value);
    }
}

fn set_in(map: &mut Map<String, Value>, keys: &[String], value: Option<&Value>) {
    let Some((first, rest)) = keys.split_first() else {
        return;
    };
    if rest.is_empty() {
        match value {
            Some(value) => map.insert(first.clone(), value.clone()),
            None => map.remove(first),
        };
        return;
    }
    if value.is_none() && !map.contains_key(first) {
        return;
    }
    let inner = map.entry(first.clone()).or_insert_with(|| json!({}));
    if let Some(inner) = inner.as_object_mut() {
        set_in(inner, rest, value);
        // `fieldsV1` itself stays, so that the caller sees an entry that owns nothing.
        if inner.is_empty() && first != "fieldsV1" {
            map.remove(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1",
               "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn target(ownership: Vec<Value>) -> Recorded {
        Recorded {
            template: json!({}),
            ownership,
            last_applied: None,
        }
    }

    #[track_caller]
    fn check(live: &[Value], recorded: Vec<Value>, expected: &[Value]) {
        let live = json!({"metadata": {"managedFields": live}});
        assert_eq!(restored(&live, &target(recorded)), expected);
    }

    #[test]
    fn the_deployer_owns_again_what_it_owned_and_we_own_nothing() {
        let good = json!({"f:spec": {"f:template": {"f:a": {}, "f:old": {}}, "f:replicas": {}}});
        let bad = json!({"f:spec": {"f:template": {"f:a": {}}, "f:replicas": {}}});
        check(
            &[
                entry("kubectl", "Apply", &bad),
                entry(
                    "astern",
                    "Update",
                    &json!({"f:spec": {"f:template": {"f:old": {}}}}),
                ),
            ],
            vec![entry("kubectl", "Apply", &good)],
            &[entry("kubectl", "Apply", &good)],
        );
    }

    #[test]
    fn what_changed_meanwhile_outside_the_template_stays() {
        let then = json!({"f:spec": {"f:template": {"f:a": {}}, "f:replicas": {}}});
        let now = json!({"f:spec": {"f:template": {"f:b": {}}}});
        let mixed = json!({"f:spec": {"f:template": {"f:a": {}}}});
        check(
            &[entry("helm", "Apply", &now)],
            vec![entry("helm", "Apply", &then)],
            &[entry("helm", "Apply", &mixed)],
        );
    }

    #[test]
    fn who_wrote_only_to_the_bad_template_loses_the_entry() {
        let bad = json!({"f:spec": {"f:template": {"f:image": {}}}});
        check(&[entry("kubectl-set", "Update", &bad)], Vec::new(), &[]);
    }

    #[test]
    fn an_entry_that_vanished_comes_back_cut_to_the_template() {
        let then = json!({"f:spec": {"f:template": {"f:a": {}}, "f:replicas": {}},
                          "f:metadata": {"f:labels": {}}});
        let back = json!({"f:spec": {"f:template": {"f:a": {}}}});
        check(
            &[],
            vec![entry("kubectl", "Apply", &then)],
            &[entry("kubectl", "Apply", &back)],
        );
    }

    #[test]
    fn what_kubectl_remembers_goes_back_to_kubectl() {
        let key = "f:kubectl.kubernetes.io/last-applied-configuration";
        let fields = json!({"f:metadata": {"f:annotations": {".": {}, key: {}}},
                            "f:spec": {"f:template": {"f:a": {}}}});
        let now = json!({"f:spec": {"f:strategy": {}}});
        let both = json!({"f:metadata": {"f:annotations": {".": {}, key: {}}},
                          "f:spec": {"f:template": {"f:a": {}}, "f:strategy": {}}});
        let name = "kubectl-client-side-apply";
        check(
            &[entry(name, "Update", &now)],
            vec![entry(name, "Update", &fields)],
            &[entry(name, "Update", &both)],
        );
    }

    #[test]
    fn entries_of_subresources_are_left_alone() {
        let mut status = entry(
            "kube-controller-manager",
            "Update",
            &json!({"f:status": {}}),
        );
        status["subresource"] = json!("status");
        check(&[status.clone()], Vec::new(), &[status]);
    }
}
