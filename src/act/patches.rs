//! The writes to a Deployment, as JSON Patches with their guards.
//!
//! Never `replicas`, never the whole annotation map, never a typed round trip. Not guarded by
//! `generation`: annotations and autoscalers move it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::names;
use crate::api::record::revision::Recorded;
use crate::api::record::{annotation, annotation_pointer, pinned_in_vain};

const PAUSED: &str = "/spec/paused";

/// Returns the write that puts `target` back, as a compare-and-swap on what was judged; it lifts our
/// own pause and leaves our mark.
///
/// The template travels as raw JSON from record to patch. A merge would keep what the bad revision
/// added, and a typed round trip would drop every field that is newer than this build.
#[must_use]
pub fn roll_back(live: &Value, target: &Recorded, marks: &Marks<'_>) -> Value {
    let mut operations = guards(live);
    operations.push(json!({"op": "replace", "path": "/spec/template", "value": target.template}));
    if annotation(live, names::PAUSED_BY).is_some() {
        operations.extend(lift_pause(live));
    }
    operations.extend(last_applied(live, target));
    operations.extend(add_annotation(live, names::ROLLED_BACK_BY, marks.rollback));
    operations.extend(pinned(live, marks.pinned));
    Value::Array(operations)
}

/// What a rollback leaves on the Deployment besides the template.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// Name of the Rollback.
    pub rollback: &'a str,
    /// The ConfigMaps that the pods read as copies, by the names of the originals.
    pub pinned: Option<&'a BTreeMap<String, String>>,
}

/// Says on the Deployment which config is pinned, and nothing where none is any more.
fn pinned(live: &Value, copies: Option<&BTreeMap<String, String>>) -> Vec<Value> {
    let copies = copies.into_iter().flatten();
    let copies: Vec<String> = copies
        .map(|(name, copy)| format!("{name}={copy}"))
        .collect();
    let path = annotation_pointer(names::CONFIG_PINNED);
    if !copies.is_empty() {
        // The map is there: the mark of the rollback came before.
        return vec![json!({"op": "add", "path": path, "value": copies.join(",")})];
    }
    let stale = annotation(live, names::CONFIG_PINNED).is_some();
    stale
        .then(|| json!({"op": "remove", "path": path}))
        .into_iter()
        .collect()
}

/// Returns the write that stops the rollout, with the mark that says who did and why.
#[must_use]
pub fn pause(live: &Value, rollback: &str) -> Value {
    let mut operations = guards(live);
    operations.push(json!({"op": "add", "path": PAUSED, "value": true}));
    operations.extend(add_annotation(live, names::PAUSED_BY, rollback));
    Value::Array(operations)
}

/// Returns the write that lifts our pause, provided that the mark is still the one that was read.
#[must_use]
pub fn resume(live: &Value) -> Value {
    let mut operations = vec![json!({
        "op": "test", "path": "/metadata/uid", "value": live.pointer("/metadata/uid")})];
    operations.push(json!({
        "op": "test",
        "path": annotation_pointer(names::PAUSED_BY),
        "value": annotation(live, names::PAUSED_BY),
    }));
    operations.push(paused_guard(live));
    operations.extend(lift_pause(live));
    Value::Array(operations)
}

/// Returns the write that takes the mark of pinned config off, provided that the template still reads
/// none of the copies; `None` where there is no such mark.
#[must_use]
pub fn unpin(live: &Value) -> Option<Value> {
    pinned_in_vain(live).then(|| {
        let path = annotation_pointer(names::CONFIG_PINNED);
        let mark = annotation(live, names::CONFIG_PINNED);
        let mut operations = guards(live);
        operations.push(json!({"op": "test", "path": path, "value": mark}));
        operations.push(json!({"op": "remove", "path": path}));
        Value::Array(operations)
    })
}

fn guards(live: &Value) -> Vec<Value> {
    vec![
        json!({"op": "test", "path": "/metadata/uid", "value": live.pointer("/metadata/uid")}),
        json!({"op": "test", "path": "/spec/template", "value": live.pointer("/spec/template")}),
        paused_guard(live),
    ]
}

/// Null equals absent. A rollout that somebody pauses or resumes meanwhile is theirs.
fn paused_guard(live: &Value) -> Value {
    json!({"op": "test", "path": PAUSED, "value": live.pointer(PAUSED)})
}

fn lift_pause(live: &Value) -> Vec<Value> {
    let mut operations =
        vec![json!({"op": "remove", "path": annotation_pointer(names::PAUSED_BY)})];
    if live.pointer(PAUSED).and_then(Value::as_bool) == Some(true) {
        operations.push(json!({"op": "remove", "path": PAUSED}));
    }
    operations
}

/// kubectl apply compares with what it applied last. If that stayed the bad revision's, fields that
/// the next release does not have would stay for ever.
fn last_applied(live: &Value, target: &Recorded) -> Option<Value> {
    let text = annotation(live, names::LAST_APPLIED)?;
    let mut applied: Value = serde_json::from_str(text).ok()?;
    let template = applied.pointer_mut("/spec/template")?;
    *template = target
        .last_applied
        .clone()
        .unwrap_or_else(|| target.template.clone());
    Some(json!({
        "op": "replace",
        "path": annotation_pointer(names::LAST_APPLIED),
        // kubectl ends it with a line break.
        "value": format!("{applied}\n"),
    }))
}

/// One key, never the map: the other annotations belong to other people.
fn add_annotation(live: &Value, key: &str, value: &str) -> Vec<Value> {
    let mut operations = Vec::new();
    if live.pointer("/metadata/annotations").is_none() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    operations.push(json!({"op": "add", "path": annotation_pointer(key), "value": value}));
    operations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Marks<'static> {
        Marks {
            rollback: "checkout-1",
            pinned: None,
        }
    }

    fn live() -> Value {
        json!({
            "metadata": {"uid": "5eed0007", "annotations": {"team": "shop"}},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": "bad"}]}}},
        })
    }

    fn target() -> Recorded {
        Recorded {
            template: json!({"spec": {"containers": [{"image": "good"}], "fieldOfNextYear": 1}}),
            ownership: Vec::new(),
            last_applied: None,
        }
    }

    fn applied(object: &Value, patch: &Value) -> Value {
        let mut object = object.clone();
        // json-patch refuses to test what is absent; the API server takes null for it.
        let operations: Vec<Value> = patch
            .as_array()
            .expect("operations")
            .iter()
            .filter(|operation| operation["op"] != "test")
            .cloned()
            .collect();
        let patch: json_patch::Patch = serde_json::from_value(operations.into()).expect("a patch");
        json_patch::patch(&mut object, &patch).expect("it applies");
        object
    }

    fn tests_of(patch: &Value) -> Vec<(&str, &Value)> {
        patch
            .as_array()
            .expect("operations")
            .iter()
            .filter(|operation| operation["op"] == "test")
            .map(|operation| {
                (
                    operation["path"].as_str().expect("a path"),
                    &operation["value"],
                )
            })
            .collect()
    }

    #[test]
    fn a_rollback_changes_template_and_mark_and_nothing_else() {
        let after = applied(&live(), &roll_back(&live(), &target(), &marks()));
        let mut expected = live();
        expected["spec"]["template"] = target().template;
        expected["metadata"]["annotations"][names::ROLLED_BACK_BY] = json!("checkout-1");
        assert_eq!(after, expected);
    }

    #[test]
    fn a_rollback_is_a_compare_and_swap_on_what_was_judged() {
        let patch = roll_back(&live(), &target(), &marks());
        assert_eq!(
            tests_of(&patch),
            [
                ("/metadata/uid", &json!("5eed0007")),
                ("/spec/template", &live()["spec"]["template"]),
                ("/spec/paused", &Value::Null),
            ]
        );
    }

    #[test]
    fn a_deployment_without_annotations_gets_the_map_first() {
        let mut bare = live();
        bare["metadata"] = json!({"uid": "5eed0007"});
        let after = applied(&bare, &roll_back(&bare, &target(), &marks()));
        assert_eq!(
            after["metadata"]["annotations"],
            json!({names::ROLLED_BACK_BY: "checkout-1"})
        );
    }

    #[test]
    fn our_own_pause_is_lifted_in_the_same_write() {
        let paused = applied(&live(), &pause(&live(), "checkout-1"));
        assert_eq!(paused["spec"]["paused"], json!(true));
        assert_eq!(
            paused["metadata"]["annotations"][names::PAUSED_BY],
            json!("checkout-1")
        );
        let patch = roll_back(&paused, &target(), &marks());
        assert!(tests_of(&patch).contains(&("/spec/paused", &json!(true))));
        let after = applied(&paused, &patch);
        assert_eq!(after["spec"].get("paused"), None);
        assert_eq!(after["metadata"]["annotations"].get(names::PAUSED_BY), None);
    }

    #[test]
    fn resuming_undoes_pausing_and_keeps_a_resume_by_others() {
        let paused = applied(&live(), &pause(&live(), "checkout-1"));
        assert_eq!(applied(&paused, &resume(&paused)), live());
        let mut resumed = paused.clone();
        resumed["spec"]
            .as_object_mut()
            .expect("a spec")
            .remove("paused");
        assert_eq!(applied(&resumed, &resume(&resumed)), live());
    }

    #[test]
    fn what_kubectl_applied_goes_back_with_the_template() {
        let mut applied_before = live();
        let text = json!({"kind": "Deployment", "spec": {"replicas": 3, "template": {"x": "bad"}}});
        applied_before["metadata"]["annotations"][names::LAST_APPLIED] = json!(text.to_string());
        let recorded = Recorded {
            last_applied: Some(json!({"x": "good"})),
            ..target()
        };
        let after = applied(
            &applied_before,
            &roll_back(&applied_before, &recorded, &marks()),
        );
        let text = annotation(&after, names::LAST_APPLIED).expect("kept");
        let after: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(
            after,
            json!({"kind": "Deployment", "spec": {"replicas": 3, "template": {"x": "good"}}})
        );
    }

    #[test]
    fn the_mark_of_pinned_config_goes_when_the_template_reads_other_config() {
        let copies = BTreeMap::from([("web".to_owned(), "web-astern-1".to_owned())]);
        let marks = Marks {
            pinned: Some(&copies),
            ..marks()
        };
        let repointed = Recorded {
            template: json!({"spec": {"containers": [{"envFrom": [
                {"configMapRef": {"name": "web-astern-1"}}]}]}}),
            ..target()
        };
        let mut pinned = applied(&live(), &roll_back(&live(), &repointed, &marks));
        assert_eq!(unpin(&pinned), None, "the copy is read");
        pinned["spec"]["template"] = live()["spec"]["template"].clone();
        let patch = unpin(&pinned).expect("nothing reads the copy");
        assert_eq!(tests_of(&patch).len(), 4);
        let after = applied(&pinned, &patch);
        assert_eq!(annotation(&after, names::CONFIG_PINNED), None);
        assert_eq!(
            annotation(&after, names::ROLLED_BACK_BY),
            Some("checkout-1")
        );
        assert_eq!(unpin(&after), None);
    }

    #[test]
    fn nonsense_that_kubectl_applied_is_left_alone() {
        let mut nonsense = live();
        nonsense["metadata"]["annotations"][names::LAST_APPLIED] = json!("not JSON");
        let after = applied(&nonsense, &roll_back(&nonsense, &target(), &marks()));
        assert_eq!(annotation(&after, names::LAST_APPLIED), Some("not JSON"));
    }
}
