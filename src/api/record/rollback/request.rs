//! A `Rollback` that a person or a pipeline created, to ask for one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{RollbackRecord, flag, labels};
use crate::api::record::{text, time};
use crate::api::{names, render};
use crate::decide::{Asked, Incident, Request, State, Workload};

pub(super) fn asked(object: &Value) -> Asked {
    Asked {
        name: text(object, "/metadata/name")
            .unwrap_or_default()
            .to_owned(),
        requested_by: text(object, "/spec/requestedBy").map(str::to_owned),
        reason: text(object, "/spec/reason").unwrap_or_default().to_owned(),
        drill: flag(object, "/spec/drill"),
    }
}

pub(super) fn request(object: &Value) -> Option<Request> {
    let Asked {
        name,
        requested_by,
        reason,
        drill,
    } = asked(object);
    Some(Request {
        name,
        created: time(object, "/metadata/creationTimestamp")?,
        to: text(object, "/spec/to").map(str::to_owned),
        reason,
        requested_by,
        dry_run: flag(object, "/spec/dryRun"),
        drill,
    })
}

/// Whether it is seen to be a request, which is still one until its status is there.
pub(super) fn is_claimed(object: &Value) -> bool {
    crate::api::record::label(object, names::REQUESTED) == Some("true")
}

/// Returns the JSON Patch that puts our labels on `record`, which a person created. It comes before
/// the status, like the labels of our own records.
#[must_use]
pub fn claim(record: &RollbackRecord, workload: &Workload, incident: &Incident) -> Value {
    let mut labels = labels(workload, incident);
    labels.insert(names::REQUESTED.into(), json!("true"));
    // Whoever creates one may not give it labels of ours, and labels of others are not needed.
    json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": record.resource_version},
        {"op": "add", "path": "/metadata/labels", "value": labels},
    ])
}

/// Returns the status of a request that was not carried out.
#[must_use]
pub fn declined(record: &RollbackRecord, outcome: &str, now: Timestamp) -> Value {
    let condition = render::Condition {
        kind: render::COMPLETE,
        status: "True",
        reason: State::Failed.name(),
        message: outcome,
    };
    json!({
        "requested": true,
        "outcome": outcome.chars().take(OUTCOME_MAX).collect::<String>(),
        "next": "look",
        "timings": {"endedTime": now},
        "conditions": [render::condition(&condition, &record.status, now)],
    })
}

/// What the schema takes.
const OUTCOME_MAX: usize = 1024;
