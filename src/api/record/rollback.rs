//! An incident as a `Rollback`: the request in `spec`, everything found and done in `status`.

mod approvals;
mod found;
mod gitops;
mod request;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{label_value, text, time};
use crate::api::names;
use crate::api::parse::duration;
use crate::api::render::{self, Place};
use crate::decide::{
    ApprovalTerms, Attempt, Entry, Incident, Mode, OnTimeout, Request, Revision, RollbackTerms,
    State, Timings, Workload,
};
use crate::port::kinds;

pub use approvals::entries;
pub use request::{claim, declined};

/// A Rollback as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackRecord {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub deployment: String,
    /// Empty where a person asks for it and Astern has not seen it yet.
    pub deployment_uid: String,
    pub created: Timestamp,
    /// `None` while the status was not written yet.
    pub incident: Option<Incident>,
    /// What a person or a pipeline asks for, as long as nobody has answered.
    pub request: Option<Request>,
    /// The answers that people wrote on it.
    pub entries: Vec<Entry>,
    pub awaits_approval: bool,
    /// The status as it is, to see whether a new one differs.
    pub status: Value,
}

impl RollbackRecord {
    /// Returns the Deployment that it is about as far as a record needs it, for one that is gone.
    #[must_use]
    pub fn workload(&self) -> Workload {
        Workload {
            uid: self.deployment_uid.clone(),
            name: self.deployment.clone(),
            deleting: true,
            ..Workload::default()
        }
    }

    /// Returns whether it still carries the label of a Rollback that awaits approval, though it does
    /// not await one any more.
    #[must_use]
    pub fn is_untidy(&self) -> bool {
        let moved_on = self
            .incident
            .as_ref()
            .is_some_and(|incident| incident.state != State::AwaitingApproval);
        moved_on && self.awaits_approval
    }

    /// Returns what the rules about repetition need to know, once the incident is closed.
    #[must_use]
    pub fn closed(&self) -> Option<Attempt> {
        let incident = self.incident.as_ref().filter(|i| !i.state.is_open())?;
        Some(incident.attempt())
    }
}

/// Returns the record in `object`, or `None` when it makes no sense or is nobody's.
#[must_use]
pub fn read(object: &Value) -> Option<RollbackRecord> {
    let status = object.get("status").cloned().unwrap_or(Value::Null);
    let label = super::label(object, names::DEPLOYMENT_UID);
    let claimed = label.or_else(|| text(&status, "/deploymentUid"));
    let answered = status.get("conditions").is_some();
    Some(RollbackRecord {
        namespace: text(object, "/metadata/namespace")?.to_owned(),
        name: text(object, "/metadata/name")?.to_owned(),
        uid: text(object, "/metadata/uid").unwrap_or_default().to_owned(),
        resource_version: text(object, "/metadata/resourceVersion")?.to_owned(),
        deployment: text(object, "/spec/deployment/name")?.to_owned(),
        deployment_uid: claimed.unwrap_or_default().to_owned(),
        created: time(object, "/metadata/creationTimestamp")?,
        incident: incident(&status).map(|incident| Incident {
            request: flag(&status, "/requested").then(|| request::asked(object)),
            ..incident
        }),
        request: request::request(object)
            .filter(|_| (label.is_none() || request::is_claimed(object)) && !answered),
        entries: entries(object),
        awaits_approval: super::label(object, names::AWAITING_APPROVAL) == Some("true"),
        status,
    })
}

fn incident(status: &Value) -> Option<Incident> {
    let mode = text(status, "/mode")?;
    let on_timeout = text(status, "/terms/onTimeout")?;
    Some(Incident {
        attempt: number(status, "/attempt")?,
        from: Revision(text(status, "/from/digest")?.to_owned()),
        to: Revision(text(status, "/to/digest")?.to_owned()),
        trigger: text(status, "/trigger").unwrap_or_default().to_owned(),
        // What was asked stands in the spec.
        request: None,
        repoint: repointed(status),
        restored: text(status, "/config/digest").map(|digest| Revision(digest.to_owned())),
        restored_by: text(status, "/restoredBy").map(str::to_owned),
        mode: [
            Mode::Disabled,
            Mode::Observe,
            Mode::RequireApproval,
            Mode::Automatic,
        ]
        .into_iter()
        .find(|known| known.name() == mode)?,
        caps: texts(status, "/caps"),
        state: state(status)?,
        evidence: text(status, "/evidence/summary")?.to_owned(),
        outcome: text(status, "/outcome").unwrap_or_default().to_owned(),
        approval: ApprovalTerms {
            required: number(status, "/terms/approvals")?,
            timeout: span(status, "/terms/approvalTimeout")?,
            on_timeout: [OnTimeout::Escalate, OnTimeout::RollBack, OnTimeout::Release]
                .into_iter()
                .find(|known| on_timeout_name(*known) == on_timeout)?,
            service_accounts: texts(status, "/terms/serviceAccounts"),
        },
        rollback: RollbackTerms {
            deadline: span(status, "/terms/deadline")?,
            recovery: span(status, "/terms/recovery")?,
        },
        pause_rollout: flag(status, "/terms/pauseRollout"),
        paused: flag(status, "/paused"),
        code: text(status, "/code").map(str::to_owned),
        approvals: approvals::given(status),
        rejected_by: text(status, "/rejectedBy").map(str::to_owned),
        escalated: flag(status, "/escalated"),
        reconciler: gitops::met(status),
        git_range: text(status, "/gitRange").map(str::to_owned),
        timings: Timings {
            proposed: time(status, "/timings/proposedTime")?,
            decided: time(status, "/timings/decidedTime"),
            patched: time(status, "/timings/patchedTime"),
            ended: time(status, "/timings/endedTime"),
        },
        found: found::read(status),
    })
}

/// The reason of the summary condition is the state.
fn state(status: &Value) -> Option<State> {
    let conditions = status.get("conditions")?.as_array()?;
    let complete = conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some(render::COMPLETE))?;
    let reason = text(complete, "/reason")?;
    State::ALL.into_iter().find(|state| state.name() == reason)
}

fn repointed(status: &Value) -> BTreeMap<String, String> {
    let copies = status.pointer("/config/copies").and_then(Value::as_array);
    let copies = copies.into_iter().flatten();
    copies
        .filter_map(|entry| {
            let (name, copy) = (text(entry, "/name")?, text(entry, "/copy")?);
            Some((name.to_owned(), copy.to_owned()))
        })
        .collect()
}

fn number(status: &Value, path: &str) -> Option<u32> {
    status.pointer(path)?.as_u64()?.try_into().ok()
}

fn span(status: &Value, path: &str) -> Option<SignedDuration> {
    duration::parse(text(status, path)?).ok()
}

fn flag(status: &Value, path: &str) -> bool {
    status.pointer(path).and_then(Value::as_bool) == Some(true)
}

fn texts(status: &Value, path: &str) -> Vec<String> {
    let values = status.pointer(path).and_then(Value::as_array);
    values
        .into_iter()
        .flatten()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

const fn on_timeout_name(on_timeout: OnTimeout) -> &'static str {
    match on_timeout {
        OnTimeout::Escalate => "Escalate",
        OnTimeout::RollBack => "RollBack",
        OnTimeout::Release => "Release",
    }
}

/// Returns the record of a new incident. The status is a write of its own.
///
/// The label for the admission policy is there from the start: whoever sees the record can already
/// not forge an approval of it.
#[must_use]
pub fn new(namespace: &str, workload: &Workload, incident: &Incident) -> Value {
    let labels = labels(workload, incident);
    json!({
        "apiVersion": kinds::ROLLBACKS.api_version(),
        "kind": kinds::ROLLBACKS.kind,
        "metadata": {
            "namespace": namespace,
            "name": incident.name(workload),
            "labels": labels,
        },
        "spec": {
            "deployment": {"name": workload.name},
            "reason": format!("trigger {}: {}", incident.trigger, incident.evidence),
        },
    })
}

fn labels(workload: &Workload, incident: &Incident) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert(names::DEPLOYMENT_UID.into(), json!(workload.uid));
    if let Some(name) = label_value(&workload.name) {
        labels.insert(names::DEPLOYMENT.into(), json!(name));
    }
    if incident.state == State::AwaitingApproval {
        labels.insert(names::AWAITING_APPROVAL.into(), json!("true"));
    }
    labels
}

/// A revision as people know it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub number: Option<i64>,
    pub images: Vec<String>,
}

/// What the status says about both revisions, and where they live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Both {
    pub namespace: String,
    pub from: Known,
    pub to: Known,
}

/// Returns the status that says where `incident` stands; `before` is the status that is there.
#[must_use]
pub fn status(
    incident: &Incident,
    workload: &Workload,
    revisions: &Both,
    before: &Value,
    now: Timestamp,
) -> Value {
    let name = incident.name(workload);
    let place = Place {
        namespace: &revisions.namespace,
        deployment: &workload.name,
        rollback: &name,
    };
    let mut status = json!({
        "deploymentUid": workload.uid,
        "requested": incident.request.is_some().then_some(true),
        "attempt": incident.attempt,
        "from": revision(&incident.from, &revisions.from),
        "to": revision(&incident.to, &revisions.to),
        "trigger": Some(&incident.trigger).filter(|trigger| !trigger.is_empty()),
        "config": incident.restored.as_ref().map(|restored| json!({
            "digest": restored.0,
            "copies": incident
                .repoint
                .iter()
                .map(|(name, copy)| json!({"name": name, "copy": copy}))
                .collect::<Vec<_>>(),
        })),
        "restoredBy": incident.restored_by,
        "mode": incident.mode.name(),
        "caps": incident.caps,
        "evidence": {"summary": incident.evidence},
        "terms": {
            "approvals": incident.approval.required,
            "approvalTimeout": duration::format(incident.approval.timeout),
            "onTimeout": on_timeout_name(incident.approval.on_timeout),
            "serviceAccounts": Some(&incident.approval.service_accounts)
                .filter(|accounts| !accounts.is_empty()),
            "deadline": duration::format(incident.rollback.deadline),
            "recovery": duration::format(incident.rollback.recovery),
            "pauseRollout": incident.pause_rollout,
        },
        "code": incident.code,
        "approvals": approvals::status(&incident.approvals),
        "rejectedBy": incident.rejected_by,
        "escalated": incident.escalated.then_some(true),
        "paused": incident.paused.then_some(true),
        "gitOps": incident.reconciler.as_ref().map(gitops::status),
        "gitRange": gitops::range(incident),
        "outcome": incident.outcome,
        "next": render::next(incident),
        "timings": {
            "proposedTime": incident.timings.proposed,
            "decidedTime": incident.timings.decided,
            "patchedTime": incident.timings.patched,
            "endedTime": incident.timings.ended,
        },
        "conditions": [render::complete(incident, &place, before, now)],
    });
    found::write(&incident.found, &workload.name, &mut status);
    drop_nulls(&mut status);
    status
}

/// What the schema takes.
const IMAGES_MAX: usize = 64;
const IMAGE_LENGTH_MAX: usize = 1024;

fn revision(revision: &Revision, known: &Known) -> Value {
    let images = known.images.iter().take(IMAGES_MAX);
    let images: Vec<String> = images
        .map(|image| image.chars().take(IMAGE_LENGTH_MAX).collect())
        .collect();
    json!({
        "digest": revision.0,
        "short": revision.short(),
        "revision": known.number,
        "images": images,
    })
}

/// The schema of the resource has no nulls.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, entry| !entry.is_null());
            entries.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

#[cfg(test)]
mod tests;
