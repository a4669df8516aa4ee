//! What is remembered of a revision besides its data: labels and annotations, which may change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{proof_name, verdict_name};
use crate::api::record::{annotation_pointer, drill, label_pointer};
use crate::api::{config, names};
use crate::decide::RevisionMemory;

/// Returns the JSON Patch that turns `before` into `after`; empty when they are equal.
#[must_use]
pub fn changes(before: &RevisionMemory, after: &RevisionMemory) -> Vec<Value> {
    let (labels_before, annotations_before) = marks(before);
    let (labels, annotations) = marks(after);
    let mut operations = changes_of(&labels_before, &labels, label_pointer);
    operations.extend(changes_of(
        &annotations_before,
        &annotations,
        annotation_pointer,
    ));
    operations
}

type Marks = Vec<(String, Value)>;

fn changes_of(before: &Marks, after: &Marks, pointer: fn(&str) -> String) -> Vec<Value> {
    let added = after
        .iter()
        .filter(|mark| !before.contains(mark))
        .map(|(key, value)| json!({"op": "add", "path": pointer(key), "value": value}));
    let removed = before
        .iter()
        .filter(|(key, _)| !after.iter().any(|(kept, _)| kept == key))
        .map(|(key, _)| json!({"op": "remove", "path": pointer(key)}));
    added.chain(removed).collect()
}

/// Labels for what people select by, annotations for the rest.
pub(super) fn marks(memory: &RevisionMemory) -> (Marks, Marks) {
    let mut labels = vec![(
        names::VERDICT.to_owned(),
        json!(verdict_name(memory.verdict)),
    )];
    if let Some(proof) = memory.proof {
        labels.push((names::PROOF.to_owned(), json!(proof_name(proof))));
    }
    if let Some(enforcement) = memory.quarantine {
        labels.push((names::QUARANTINE.to_owned(), json!("true")));
        labels.push((
            names::QUARANTINE_ENFORCEMENT.to_owned(),
            json!(enforcement.name()),
        ));
    }
    let mut annotations = vec![
        (names::NUMBER.to_owned(), json!(memory.number.to_string())),
        (names::SINCE.to_owned(), json!(memory.since.to_string())),
    ];
    if let Some(time) = memory.rolled_out {
        annotations.push((names::ROLLED_OUT.to_owned(), json!(time.to_string())));
    }
    if let Some(time) = memory.convicted {
        annotations.push((names::CONVICTED.to_owned(), json!(time.to_string())));
    }
    if !memory.config.is_empty() {
        annotations.push((
            names::CONFIG.to_owned(),
            json!(config::to_text(&memory.config)),
        ));
    }
    if let Some(source) = &memory.restored_from {
        annotations.push((names::RESTORED_FROM.to_owned(), json!(source.0)));
    }
    if let Some(drilled) = &memory.drilled {
        annotations.push((names::DRILLED.to_owned(), json!(drill::to_text(drilled))));
    }
    if let Some(mark) = &memory.mark {
        annotations.push((names::MARK.to_owned(), json!(mark)));
    }
    if let Some(git) = &memory.git {
        annotations.push((names::GIT_REVISION.to_owned(), json!(git)));
    }
    if !memory.passed.is_empty() {
        annotations.push((names::PASSED.to_owned(), json!(joined(&memory.passed))));
    }
    if memory.replicas > 0 {
        annotations.push((
            names::REPLICAS.to_owned(),
            json!(memory.replicas.to_string()),
        ));
    }
    if !memory.baseline.is_empty() {
        let entries: Vec<String> = memory
            .baseline
            .iter()
            .map(|(trigger, counted)| {
                format!("{trigger}={:.0}/{:.0}", counted.failed, counted.total)
            })
            .collect();
        annotations.push((names::BASELINE.to_owned(), json!(entries.join(","))));
    }
    (labels, annotations)
}

fn joined(names: &BTreeSet<String>) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",")
}
