//! A revision as a `ControllerRevision`: its template is immutable data, its verdict labels.

mod marks;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{annotation, controller, drill, label, label_value, text};
use crate::api::{config, names, template};
use crate::decide::{
    Counted, Enforcement, Facts, Proof, Revision, RevisionMemory, Verdict, Workload,
};
use crate::port::kinds;

use self::marks::marks;

pub use self::marks::changes;

/// A `ControllerRevision` of ours, without the template that it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionRecord {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub deployment: String,
    pub deployment_uid: String,
    pub revision: Revision,
    /// The template alone, without the config that it ran with.
    pub template: Revision,
    pub memory: RevisionMemory,
    pub images: Vec<String>,
    pub facts: Facts,
}

/// Returns the record in `object`, or `None` when it is not one of ours or makes no sense.
///
/// The identity is computed from the immutable template, never taken from a label or annotation. One
/// that says otherwise is not a record of this template.
#[must_use]
pub fn read(object: &Value) -> Option<RevisionRecord> {
    let owner = controller(object)?;
    let deployment_uid = owner.get("uid")?.as_str()?;
    if owner.get("kind")?.as_str()? != kinds::DEPLOYMENTS.kind
        || label(object, names::DEPLOYMENT_UID)? != deployment_uid
    {
        return None;
    }
    let recorded = object.pointer("/data/template")?;
    let template = template::revision(recorded);
    let config = text(object, "/data/config/digest");
    let revision = template::with_config(&template, config);
    // Nobody can change the data, but anybody who may can make a record anew below the old marks.
    if annotation(object, names::DIGEST)? != revision.0 {
        return None;
    }
    Some(RevisionRecord {
        namespace: text(object, "/metadata/namespace")?.to_owned(),
        name: text(object, "/metadata/name")?.to_owned(),
        uid: text(object, "/metadata/uid").unwrap_or_default().to_owned(),
        resource_version: text(object, "/metadata/resourceVersion")?.to_owned(),
        deployment: owner.get("name")?.as_str()?.to_owned(),
        deployment_uid: deployment_uid.to_owned(),
        revision,
        template,
        memory: memory(object)?,
        images: template::images(recorded),
        facts: template::facts(recorded),
    })
}

fn memory(object: &Value) -> Option<RevisionMemory> {
    let passed = annotation(object, names::PASSED).unwrap_or_default();
    Some(RevisionMemory {
        verdict: verdict(label(object, names::VERDICT)?)?,
        proof: label(object, names::PROOF).and_then(proof),
        number: annotation(object, names::NUMBER)?.parse().ok()?,
        since: annotation(object, names::SINCE)?.parse().ok()?,
        rolled_out: annotation(object, names::ROLLED_OUT).and_then(|time| time.parse().ok()),
        passed: passed
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        replicas: annotation(object, names::REPLICAS)
            .and_then(|count| count.parse().ok())
            .unwrap_or_default(),
        baseline: baseline(annotation(object, names::BASELINE).unwrap_or_default()),
        convicted: annotation(object, names::CONVICTED).and_then(|time| time.parse().ok()),
        quarantine: label(object, names::QUARANTINE_ENFORCEMENT)
            .filter(|_| label(object, names::QUARANTINE) == Some("true"))
            .and_then(enforcement),
        mark: annotation(object, names::MARK).map(str::to_owned),
        config: annotation(object, names::CONFIG)
            .and_then(config::from_text)
            .unwrap_or_default(),
        restored_from: annotation(object, names::RESTORED_FROM)
            .map(|digest| Revision(digest.to_owned())),
        git: annotation(object, names::GIT_REVISION).map(str::to_owned),
        drilled: annotation(object, names::DRILLED).and_then(drill::from_text),
    })
}

/// What makes no sense counts nothing, and what counts nothing is no baseline.
fn baseline(text: &str) -> BTreeMap<String, Counted> {
    let entry = |entry: &str| {
        let (trigger, counts) = entry.split_once('=')?;
        let (failed, total) = counts.split_once('/')?;
        let count = |text: &str| text.parse::<u64>().ok();
        #[expect(
            clippy::cast_precision_loss,
            reason = "requests of minutes stay far below 2^52"
        )]
        let counted = Counted {
            total: count(total)? as f64,
            failed: count(failed)? as f64,
        };
        Some((trigger.to_owned(), counted))
    };
    text.split(',').filter_map(entry).collect()
}

/// Returns the object that remembers the template of `live`, a Deployment as the API server has it.
#[must_use]
pub fn new(live: &Value, workload: &Workload, memory: &RevisionMemory) -> Value {
    let recorded = Recorded {
        template: live
            .pointer("/spec/template")
            .cloned()
            .unwrap_or(Value::Null),
        ownership: ownership(live),
        last_applied: last_applied_template(live),
    };
    of_template(
        &recorded,
        (text(live, "/metadata/namespace"), workload),
        memory,
    )
}

/// Returns the object that remembers `recorded`, a revision of `workload` in a namespace.
#[must_use]
pub fn of_template(
    recorded: &Recorded,
    (namespace, workload): (Option<&str>, &Workload),
    memory: &RevisionMemory,
) -> Value {
    let config_digest = template::config_digest(&recorded.template, &memory.config);
    let own = template::revision(&recorded.template);
    let revision = &template::with_config(&own, config_digest.as_deref());
    let config = config_digest.map(
        // Digests of what it started with; immutable, because the identity rests on them.
        |digest| json!({"digest": digest, "objects": config::write(&memory.config)}),
    );
    let (labels, annotations) = marks(memory);
    let mut labels: Map<String, Value> = labels.into_iter().collect();
    labels.insert(names::DEPLOYMENT_UID.into(), json!(workload.uid));
    if let Some(name) = label_value(&workload.name) {
        labels.insert(names::DEPLOYMENT.into(), json!(name));
    }
    let mut annotations: Map<String, Value> = annotations.into_iter().collect();
    annotations.insert(names::DIGEST.into(), json!(revision.0));
    json!({
        "apiVersion": kinds::CONTROLLER_REVISIONS.api_version(),
        "kind": kinds::CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": name(workload, revision),
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
            // `controller`: or a StatefulSet whose selector matches our labels would adopt it and
            // delete it with its own history.
            "ownerReferences": [{
                "apiVersion": kinds::DEPLOYMENTS.api_version(),
                "kind": kinds::DEPLOYMENTS.kind,
                "name": workload.name,
                "uid": workload.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
        "revision": memory.number,
        "data": {
            "template": recorded.template,
            "ownership": recorded.ownership,
            "lastApplied": recorded.last_applied,
            "config": config,
        },
    })
}

/// Returns the name of the record: a function of the Deployment and the revision, so that creating
/// it twice is creating it once.
#[must_use]
pub fn name(workload: &Workload, revision: &Revision) -> String {
    const NAME_MAX: usize = 253;
    let suffix = format!(
        "-{}-{}",
        revision.0.get(..16).unwrap_or(&revision.0),
        workload.uid.get(..8).unwrap_or(&workload.uid)
    );
    let room = NAME_MAX.saturating_sub(suffix.len());
    let stem: String = workload.name.chars().take(room).collect();
    format!("{stem}{suffix}")
}

/// Returns the `managedFields` entries that own something of the template or of what kubectl apply
/// remembers, cut down to those parts.
fn ownership(live: &Value) -> Vec<Value> {
    let entries = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .filter(|entry| {
            entry.pointer(OWNED_TEMPLATE).is_some() || entry.pointer(OWNED_LAST_APPLIED).is_some()
        })
        .cloned()
        .collect()
}

/// Where a `managedFields` entry says that it owns fields of the template.
pub const OWNED_TEMPLATE: &str = "/fieldsV1/f:spec/f:template";
/// Where a `managedFields` entry says that it owns what kubectl apply remembers.
pub const OWNED_LAST_APPLIED: &str =
    "/fieldsV1/f:metadata/f:annotations/f:kubectl.kubernetes.io~1last-applied-configuration";

/// Returns the template inside `last-applied-configuration`, or null.
fn last_applied_template(live: &Value) -> Option<Value> {
    let text = annotation(live, names::LAST_APPLIED)?;
    let applied: Value = serde_json::from_str(text).ok()?;
    applied.pointer("/spec/template").cloned()
}

/// What a record holds besides marks: enough to put the revision back.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Raw, as the API server had it: a typed round trip would drop what is newer than this build.
    pub template: Value,
    /// The `managedFields` entries of whoever deployed it.
    pub ownership: Vec<Value>,
    /// The template that kubectl apply had remembered.
    pub last_applied: Option<Value>,
}

/// Returns what `object` holds, if it is a record of `revision` for the Deployment `uid`.
#[must_use]
pub fn recorded(object: &Value, uid: &str, revision: &Revision) -> Option<Recorded> {
    let record = read(object)?;
    if record.deployment_uid != uid || record.revision != *revision {
        return None;
    }
    Some(Recorded {
        template: object.pointer("/data/template")?.clone(),
        ownership: object
            .pointer("/data/ownership")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        last_applied: object
            .pointer("/data/lastApplied")
            .filter(|template| !template.is_null())
            .cloned(),
    })
}

/// The spelling of a verdict in labels and status.
#[must_use]
pub const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unproven => "Unproven",
        Verdict::Good => "Good",
        Verdict::Bad => "Bad",
        Verdict::Withdrawn => "Withdrawn",
    }
}

fn verdict(name: &str) -> Option<Verdict> {
    [
        Verdict::Unproven,
        Verdict::Good,
        Verdict::Bad,
        Verdict::Withdrawn,
    ]
    .into_iter()
    .find(|verdict| verdict_name(*verdict) == name)
}

/// The spelling of a proof in labels and status.
#[must_use]
pub const fn proof_name(proof: Proof) -> &'static str {
    match proof {
        Proof::Full => "Full",
        Proof::Partial => "Partial",
        Proof::Vouched => "Vouched",
    }
}

fn proof(name: &str) -> Option<Proof> {
    [Proof::Full, Proof::Partial, Proof::Vouched]
        .into_iter()
        .find(|proof| proof_name(*proof) == name)
}

fn enforcement(name: &str) -> Option<Enforcement> {
    [Enforcement::Warn, Enforcement::Deny]
        .into_iter()
        .find(|enforcement| enforcement.name() == name)
}

/// Returns when `object` was created.
#[must_use]
pub fn created(object: &Value) -> Option<Timestamp> {
    super::time(object, "/metadata/creationTimestamp")
}

#[cfg(test)]
mod tests;
