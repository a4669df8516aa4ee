//! Keeps a GitOps reconciler away from one object, and lets it come back.
//!
//! Our mark goes with every pause. What a person had paused before us has none, and stays.

use serde_json::{Value, json};

use super::Hands;
use crate::api::names;
use crate::api::record::pause::{PauseMark, mark, marks};
use crate::api::record::{annotation, annotation_pointer, label};
use crate::decide::gitops::Tool;
use crate::port::{self, ObjectRef, kinds};

const AUTOMATED: &str = "/spec/syncPolicy/automated";
const ENABLED: &str = "/spec/syncPolicy/automated/enabled";

/// What stands in [`names::GITOPS_ENABLED_BEFORE`].
const TRUE: &str = "true";
const ABSENT: &str = "absent";

/// Why an Application could not be paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process does not lead any more and must not write.
    #[error("leadership was lost")]
    NotLeading,
    #[error("failed to read application {name:?}")]
    GetApplication {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to patch application {name:?}")]
    PatchApplication {
        name: String,
        #[source]
        source: port::Error,
    },
    /// This Argo CD cannot switch automated sync off without forgetting its settings.
    #[error("argo cd before 3.1 cannot pause application {name:?}")]
    NotSupported { name: String },
}

/// Returns the operations that set the annotation `key` to `value`, with our `mark`, to go after those
/// of [`super::patches::roll_back`]: that has the guards, and has made the map of annotations.
///
/// Nothing where a person has set it before us.
#[must_use]
pub fn set(live: &Value, (key, value): (&str, &str), by: &PauseMark) -> Vec<Value> {
    let set = [annotation(live, key), label(live, key)]
        .into_iter()
        .flatten()
        .any(|found| found.eq_ignore_ascii_case(value));
    if set && mark(live).is_none() {
        return Vec::new();
    }
    vec![
        unchanged(live, key),
        unchanged(live, names::GITOPS_PAUSED_BY),
        json!({"op": "add", "path": annotation_pointer(key), "value": value}),
        noted(by),
    ]
}

/// Returns the operation that leaves our mark alone, where the pause is on another object. It goes after
/// those of [`super::patches::roll_back`].
#[must_use]
pub fn noted(by: &PauseMark) -> Value {
    json!({"op": "add", "path": annotation_pointer(names::GITOPS_PAUSED_BY),
        "value": by.to_string()})
}

/// Returns the write that lets the reconciler come back, provided that nobody has changed our pause
/// since it was read; `None` where there is none of ours.
///
/// Whatever a person made of the annotation stays; only our mark goes.
#[must_use]
pub fn lift(live: &Value) -> Option<Value> {
    mark(live)?;
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": live.pointer("/metadata/uid")}),
        unchanged(live, names::GITOPS_PAUSED_BY),
    ];
    if let Some(key) = paused_key(live) {
        operations.push(unchanged(live, key));
        operations.push(json!({"op": "remove", "path": annotation_pointer(key)}));
    }
    operations.push(json!({"op": "remove", "path": annotation_pointer(names::GITOPS_PAUSED_BY)}));
    Some(Value::Array(operations))
}

/// Returns the annotation that our mark belongs to. Where a person has set another tool's, ours is
/// that of the tool whose labels are on the Deployment.
fn paused_key(live: &Value) -> Option<&'static str> {
    let set: Vec<(Tool, &str)> = Tool::ALL
        .into_iter()
        .filter_map(|tool| {
            let (key, value) = tool.pause_annotation()?;
            (annotation(live, key) == Some(value)).then_some((tool, key))
        })
        .collect();
    let marked = |tool| match tool {
        Tool::FluxKustomization => label(live, names::FLUX_KUSTOMIZATION_NAME).is_some(),
        Tool::FluxHelmRelease => label(live, names::FLUX_HELM_RELEASE_NAME).is_some(),
        Tool::ArgoCd | Tool::Helm | Tool::Operator => false,
    };
    match set.as_slice() {
        [(_, key)] => Some(key),
        several => several
            .iter()
            .find_map(|(tool, key)| marked(*tool).then_some(*key)),
    }
}

/// Returns the write that switches the automated sync of an Application off; `None` where it is off
/// already and not by us, or was never on.
///
/// Several workloads of one Application can be rolled back at once: each leaves its mark, and the last
/// to go switches it on again.
#[must_use]
pub fn pause_application(live: &Value, by: &PauseMark) -> Option<Value> {
    let automated = live.pointer(AUTOMATED).filter(|it| it.is_object())?;
    let enabled = automated.get("enabled").and_then(Value::as_bool);
    let mut held = marks(live);
    if enabled == Some(false) && held.is_empty() {
        return None;
    }
    held.retain(|mark| mark.rollback != by.rollback);
    held.push(by.clone());
    let mut operations = guards(live);
    if live.pointer("/metadata/annotations").is_none() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    if enabled != Some(false) {
        let before = if enabled == Some(true) { TRUE } else { ABSENT };
        operations.push(json!({"op": "add", "path": ENABLED, "value": false}));
        operations.push(json!({"op": "add",
            "path": annotation_pointer(names::GITOPS_ENABLED_BEFORE), "value": before}));
    }
    operations.push(marked(&held));
    Some(Value::Array(operations))
}

/// Returns the write that takes the mark of `rollback` away, and with the last of them switches the
/// automated sync on as it was; `None` where `rollback` left no mark.
///
/// Whatever a person made of the switch meanwhile stays.
#[must_use]
pub fn resume_application(live: &Value, rollback: &str) -> Option<Value> {
    let held = marks(live);
    let left: Vec<PauseMark> = held
        .iter()
        .filter(|mark| mark.rollback != rollback)
        .cloned()
        .collect();
    if left.len() == held.len() {
        return None;
    }
    let mut operations = guards(live);
    if !left.is_empty() {
        operations.push(marked(&left));
        return Some(Value::Array(operations));
    }
    let before = annotation(live, names::GITOPS_ENABLED_BEFORE);
    if is_switched_off(live) {
        operations.push(match before {
            Some(TRUE) => json!({"op": "replace", "path": ENABLED, "value": true}),
            // Automated sync without a word on it is on.
            _ => json!({"op": "remove", "path": ENABLED}),
        });
    }
    if before.is_some() {
        let path = annotation_pointer(names::GITOPS_ENABLED_BEFORE);
        operations.push(json!({"op": "remove", "path": path}));
    }
    operations.push(json!({"op": "remove", "path": annotation_pointer(names::GITOPS_PAUSED_BY)}));
    Some(Value::Array(operations))
}

/// Returns whether the automated sync of an Application is switched off.
#[must_use]
pub fn is_switched_off(live: &Value) -> bool {
    live.pointer(ENABLED).and_then(Value::as_bool) == Some(false)
}

/// A test for null is true of what is absent, but only where its parent is there.
fn guards(live: &Value) -> Vec<Value> {
    let unchanged_at =
        |path: &str| json!({"op": "test", "path": path, "value": live.pointer(path)});
    let mut guards = vec![unchanged_at("/metadata/uid")];
    if live.pointer("/spec/syncPolicy").is_some() {
        guards.push(unchanged_at(AUTOMATED));
    }
    guards.push(if live.pointer("/metadata/annotations").is_some() {
        unchanged(live, names::GITOPS_PAUSED_BY)
    } else {
        unchanged_at("/metadata/annotations")
    });
    guards
}

fn marked(marks: &[PauseMark]) -> Value {
    let marks: Vec<String> = marks.iter().map(PauseMark::to_string).collect();
    json!({"op": "add", "path": annotation_pointer(names::GITOPS_PAUSED_BY),
        "value": marks.join(" ")})
}

/// Null equals absent.
fn unchanged(live: &Value, key: &str) -> Value {
    json!({"op": "test", "path": annotation_pointer(key), "value": annotation(live, key)})
}

/// Switches the automated sync of `application` off, before the rollback is written. Nothing is
/// written where it is off already.
///
/// # Errors
///
/// [`Error::NotSupported`]: it cannot be paused; ask people instead. Anything else: try again later,
/// and do not roll back before.
pub async fn switch_off(
    hands: &Hands,
    application: (&str, &str),
    by: &PauseMark,
) -> Result<(), Error> {
    let write = |live: &Value| pause_application(live, by);
    let Some(written) = change(hands, application, write).await? else {
        return Ok(());
    };
    if is_switched_off(&written) {
        return Ok(());
    }
    // A field that the API server does not know is dropped in silence; so is the pause.
    let write = |live: &Value| resume_application(live, &by.rollback);
    change(hands, application, write).await?;
    Err(Error::NotSupported {
        name: application.1.to_owned(),
    })
}

/// Switches the automated sync of `application` on again, if `rollback` was the last to hold it.
///
/// # Errors
///
/// Try again later.
pub async fn switch_on(
    hands: &Hands,
    application: (&str, &str),
    rollback: &str,
) -> Result<(), Error> {
    let write = |live: &Value| resume_application(live, rollback);
    change(hands, application, write).await.map(drop)
}

/// Reads an Application and writes what follows from it. Returns what was stored, if anything was.
async fn change(
    hands: &Hands,
    (namespace, name): (&str, &str),
    write: impl Fn(&Value) -> Option<Value>,
) -> Result<Option<Value>, Error> {
    let object = ObjectRef::new(kinds::APPLICATIONS, namespace, name);
    let live = hands
        .cluster
        .get(&object)
        .await
        .map_err(|source| Error::GetApplication {
            name: name.to_owned(),
            source,
        })?;
    let Some(operations) = live.as_ref().and_then(write) else {
        return Ok(None);
    };
    if !(hands.leads)() {
        return Err(Error::NotLeading);
    }
    hands
        .cluster
        .json_patch(&object, operations)
        .await
        .map(Some)
        .map_err(|source| Error::PatchApplication {
            name: name.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests;
