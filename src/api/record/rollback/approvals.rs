//! What people answer, as they write it and as the record keeps it.

use serde_json::{Value, json};

use crate::api::names;
use crate::api::record::{annotation, text, time};
use crate::decide::{Approval, Entry, EntryKind};

/// Returns the answers that people wrote on `object`, a Rollback or a Deployment.
#[must_use]
pub fn entries(object: &Value) -> Vec<Entry> {
    [
        (names::APPROVE, EntryKind::Approve),
        (names::REJECT, EntryKind::Reject),
        (names::BREAK_GLASS, EntryKind::BreakGlass),
    ]
    .into_iter()
    .filter_map(|(key, kind)| {
        let value = annotation(object, key)?.to_owned();
        let reason =
            annotation(object, names::BREAK_GLASS_REASON).filter(|_| kind == EntryKind::BreakGlass);
        Some(Entry {
            kind,
            value,
            reason: reason.map(str::to_owned),
        })
    })
    .collect()
}

/// Returns the approvals that Astern has counted.
pub(super) fn given(status: &Value) -> Vec<Approval> {
    let entries = status.get("approvals").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            Some(Approval {
                username: text(entry, "/username")?.to_owned(),
                at: time(entry, "/time")?,
                break_glass: text(entry, "/breakGlass").map(str::to_owned),
            })
        })
        .collect()
}

/// Returns them as the status has them.
pub(super) fn status(approvals: &[Approval]) -> Vec<Value> {
    approvals
        .iter()
        .map(|approval| {
            json!({
                "username": approval.username,
                "time": approval.at,
                "breakGlass": approval.break_glass,
            })
        })
        .collect()
}
