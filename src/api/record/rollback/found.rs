//! What an incident has brought to light, in the status of its `Rollback`.

use serde_json::{Value, json};

use super::{flag, text, texts, time};
use crate::decide::{Finding, Found, Impact};

pub(super) fn read(status: &Value) -> Found {
    let name = |path: &str| text(status, path).map(str::to_owned);
    Found {
        from_replica_set: name("/from/replicaSet"),
        to_replica_set: name("/to/replicaSet"),
        diagnosis: diagnosis(status),
        impact: impact(status),
        traffic: texts(status, "/traffic"),
    }
}

fn diagnosis(status: &Value) -> Vec<Finding> {
    let entries = status.get("diagnosis").and_then(Value::as_array);
    let finding = |entry: &Value| {
        let field = |path: &str| text(entry, path).unwrap_or_default().to_owned();
        Finding {
            about: field("/about"),
            saw: field("/saw"),
            attempt: field("/attempt"),
        }
    };
    entries.into_iter().flatten().map(finding).collect()
}

fn impact(status: &Value) -> Option<Impact> {
    let count = |path: &str| status.pointer(path).and_then(Value::as_u64);
    Some(Impact {
        failed: count("/impact/failedRequests")?,
        total: count("/impact/totalRequests")?,
        from: time(status, "/impact/from")?,
        until: time(status, "/impact/until")?,
        at_least: flag(status, "/impact/atLeast"),
        all_revisions: flag(status, "/impact/allRevisions"),
    })
}

/// Adds `found` to the status of a rollback of `deployment`.
pub(super) fn write(found: &Found, deployment: &str, status: &mut Value) {
    for (side, name) in [
        ("from", &found.from_replica_set),
        ("to", &found.to_replica_set),
    ] {
        status[side]["replicaSet"] = json!(name);
        status[side]["hash"] = json!(name.as_deref().and_then(|name| hash(name, deployment)));
    }
    let findings = found.diagnosis.iter().map(|finding| {
        let Finding {
            about,
            saw,
            attempt,
        } = finding;
        json!({"about": about, "saw": saw, "attempt": attempt})
    });
    status["diagnosis"] = findings.collect();
    status["impact"] = json!(found.impact.map(|impact| json!({
        "failedRequests": clamped(impact.failed),
        "totalRequests": clamped(impact.total),
        "from": impact.from,
        "until": impact.until,
        "atLeast": impact.at_least.then_some(true),
        "allRevisions": impact.all_revisions.then_some(true),
    })));
    status["traffic"] = json!(found.traffic);
}

/// The Deployment controller names a ReplicaSet after the Deployment and the hash of the template. One
/// that somebody else made may have any name, and its hash is not known here.
fn hash<'a>(replica_set: &'a str, deployment: &str) -> Option<&'a str> {
    let rest = replica_set.strip_prefix(deployment)?.strip_prefix('-')?;
    (!rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric())).then_some(rest)
}

/// The API has integers of 64 bits with a sign. Nothing counts so many requests.
fn clamped(count: u64) -> u64 {
    count.min(i64::MAX.unsigned_abs())
}
