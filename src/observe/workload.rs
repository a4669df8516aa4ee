//! A Deployment cut down to what a decision needs, and the ReplicaSet behind it.
//!
//! Ten thousand whole Deployments would fill a gigabyte, so only this much of each is kept.

mod conditions;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use self::conditions::{deadline_exceeded, is_about, pods_refused, progressed};
use super::gitops;
use crate::api::record::pause::{self, PauseMark};
use crate::api::record::{self, annotation, answers, revision, rollback, text, time};
use crate::api::{names, template};
use crate::decide::{self, Current, Entry, Mark, Refused, Revision, Suspension};

/// What is kept of a Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    /// `astern.dev/policy`.
    pub policy: Option<String>,
    /// `astern.dev/enabled` is "false".
    pub opted_out: bool,
    /// What people say about revisions of it.
    pub marks: Vec<Mark>,
    /// Approvals and rejections that people wrote on it.
    pub entries: Vec<Entry>,
    /// A label selector that finds its ReplicaSets and pods.
    pub selector: String,
    /// The labels of the pods of its template, by which Services select them.
    pub pod_labels: BTreeMap<String, String>,
    pub template: Revision,
    /// The Deployment controller has seen the newest template.
    pub seen_by_controller: bool,
    /// The revision number that the Deployment controller wrote last.
    pub number: Option<i64>,
    /// All of [`decide::Workload`] that the Deployment tells by itself.
    facts: Facts,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that Kubernetes reports"
)]
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    counts: Counts,
    rolled_out: bool,
    rolling_update: bool,
    kept_available: u32,
    paused: bool,
    paused_by: Option<String>,
    rolled_back_by: Option<String>,
    ownership_disturbed: bool,
    /// What Kubernetes says when the deadline is over.
    deadline_exceeded: Option<String>,
    progress_deadline: SignedDuration,
    progressed: Option<Timestamp>,
    pods_refused: Option<Refused>,
    deleting: bool,
    suspension: Option<Suspension>,
    written_by: Option<String>,
    reconciled: bool,
    stale_pin: bool,
    kept_from: Option<PauseMark>,
    template: decide::Facts,
}

/// How many pods were asked for, and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub asked_for: u32,
    /// Of all revisions.
    pub all: u32,
    pub updated: u32,
    pub ready: u32,
    pub available: u32,
}

impl Counts {
    /// Whether a rollout came nearer to its end, as the Deployment controller sees it: more new pods,
    /// fewer old ones, or more that serve.
    #[must_use]
    pub const fn moved_on(self, before: Self) -> bool {
        let old = self.all.saturating_sub(self.updated);
        self.updated > before.updated
            || old < before.all.saturating_sub(before.updated)
            || self.ready > before.ready
            || self.available > before.available
    }
}

/// The ReplicaSet that carries the current template.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    pub name: String,
    pub uid: String,
    pub created: Timestamp,
    pub number: i64,
}

/// What Kubernetes itself takes when `progressDeadlineSeconds` is absent.
const PROGRESS_DEADLINE: SignedDuration = SignedDuration::from_secs(600);

/// Stands for no deadline at all.
const ENDLESS: i64 = i32::MAX as i64;

impl Deployment {
    /// Reads what is needed from `object`; `None` when it is no Deployment that could exist.
    ///
    /// Who owns the template is known only where `object` comes from a GET: watches strip it.
    #[must_use]
    pub fn read(object: &Value) -> Option<Self> {
        let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
        let generation = number("/metadata/generation").unwrap_or_default();
        let seen_by_controller = number("/status/observedGeneration") == Some(generation);
        let counts = counts(object);
        let rolled_out = seen_by_controller
            && counts.updated == counts.asked_for
            && counts.all == counts.asked_for
            && counts.available == counts.asked_for;
        let rolling_update = text(object, "/spec/strategy/type") != Some("Recreate");
        Some(Self {
            namespace: text(object, "/metadata/namespace")?.to_owned(),
            name: text(object, "/metadata/name")?.to_owned(),
            uid: text(object, "/metadata/uid")?.to_owned(),
            resource_version: text(object, "/metadata/resourceVersion")?.to_owned(),
            labels: string_map(object.pointer("/metadata/labels")),
            policy: annotation(object, names::POLICY).map(str::to_owned),
            opted_out: annotation(object, names::ENABLED) == Some("false"),
            marks: answers::mark(object).into_iter().collect(),
            entries: rollback::entries(object),
            selector: selector(object.pointer("/spec/selector")?),
            pod_labels: string_map(object.pointer("/spec/template/metadata/labels")),
            template: template::revision(object.pointer("/spec/template")?),
            seen_by_controller,
            number: revision_number(object),
            facts: Facts {
                counts,
                rolled_out,
                rolling_update,
                kept_available: if rolling_update {
                    kept_available(object, counts.asked_for)
                } else {
                    0
                },
                paused: object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true),
                paused_by: annotation(object, names::PAUSED_BY).map(str::to_owned),
                rolled_back_by: annotation(object, names::ROLLED_BACK_BY).map(str::to_owned),
                ownership_disturbed: ownership_disturbed(object),
                deadline_exceeded: deadline_exceeded(object).filter(|_| seen_by_controller),
                progress_deadline: number("/spec/progressDeadlineSeconds")
                    .filter(|seconds| *seconds != ENDLESS)
                    .map_or(PROGRESS_DEADLINE, SignedDuration::from_secs),
                progressed: progressed(object),
                pods_refused: pods_refused(object),
                deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
                suspension: answers::suspension(object, "the Deployment"),
                written_by: written_by(object),
                reconciled: gitops::is_reconciled(object),
                stale_pin: record::pinned_in_vain(object),
                kept_from: pause::mark(object),
                template: template::facts(object.pointer("/spec/template")?),
            },
        })
    }

    /// Returns whether it carries our mark of a paused rollout, or of a paused reconciler.
    #[must_use]
    pub fn is_paused_by_us(&self) -> bool {
        self.facts.paused_by.is_some() || self.facts.kept_from.is_some()
    }

    /// Returns whether it stands still because a person wants it to.
    #[must_use]
    pub fn is_paused_by_person(&self) -> bool {
        self.facts.paused && self.facts.paused_by.is_none()
    }

    /// Returns what its template says about itself.
    #[must_use]
    pub fn template_facts(&self) -> &decide::Facts {
        &self.facts.template
    }

    /// Returns how many pods there are, as its controller counted them last.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.facts.counts
    }

    /// Returns when its rollout made progress, as far as the Deployment itself says.
    #[must_use]
    pub fn progressed(&self) -> Option<Timestamp> {
        self.facts.progressed
    }

    /// Returns the workload as `decide` knows it, without what only time or the pods tell.
    #[must_use]
    pub fn workload(&self, current: Option<&ReplicaSet>) -> decide::Workload {
        let Facts {
            counts,
            rolled_out,
            rolling_update,
            kept_available,
            paused,
            paused_by,
            rolled_back_by,
            ownership_disturbed,
            deadline_exceeded,
            progress_deadline,
            progressed,
            pods_refused,
            deleting,
            suspension,
            written_by,
            reconciled,
            stale_pin,
            kept_from,
            template: _,
        } = self.facts.clone();
        let exceeded_by_current =
            |message: String| current.is_none_or(|current| is_about(&message, current));
        decide::Workload {
            uid: self.uid.clone(),
            name: self.name.clone(),
            template: self.template.clone(),
            current: current.map(|replica_set| Current {
                number: replica_set.number,
                created: replica_set.created,
            }),
            replica_set: current.map(|replica_set| replica_set.name.clone()),
            replicas: counts.asked_for,
            rolled_out,
            rolling_update,
            kept_available,
            paused,
            paused_by,
            rolled_back_by,
            ownership_disturbed,
            progress_deadline_exceeded: deadline_exceeded.is_some_and(exceeded_by_current),
            progress_deadline,
            progressed,
            pods_refused,
            deleting,
            opted_out: self.opted_out,
            suspension,
            written_by,
            reconciled,
            stale_pin,
            kept_from,
            ..decide::Workload::default()
        }
    }

    /// Returns whether `object`, a ReplicaSet, carries the current template of this Deployment.
    ///
    /// The owner, the revision number and the template must all agree: the number may lag behind
    /// the template, and a ReplicaSet may be forged.
    #[must_use]
    pub fn current_replica_set(&self, object: &Value) -> Option<ReplicaSet> {
        self.owned_replica_set(object)?;
        let number = revision_number(object)?;
        let carries = Some(number) == self.number
            && template::revision(object.pointer("/spec/template")?) == self.template;
        carries.then_some(ReplicaSet {
            name: text(object, "/metadata/name")?.to_owned(),
            uid: text(object, "/metadata/uid")?.to_owned(),
            created: time(object, "/metadata/creationTimestamp")?,
            number,
        })
    }

    /// Returns the UID of `object`, a ReplicaSet, if this Deployment controls it. A name proves nothing.
    #[must_use]
    pub fn owned_replica_set<'a>(&self, object: &'a Value) -> Option<&'a str> {
        let owner = record::controller(object)?;
        let uid = text(object, "/metadata/uid")?;
        (text(owner, "/uid") == Some(self.uid.as_str())).then_some(uid)
    }
}

fn revision_number(object: &Value) -> Option<i64> {
    annotation(object, names::DEPLOYMENT_REVISION)?.parse().ok()
}

/// Returns the field manager that wrote the template last, as far as `managedFields` tell.
fn written_by(object: &Value) -> Option<String> {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.pointer(revision::OWNED_TEMPLATE).is_some())
        .max_by_key(|entry| time(entry, "/time"))
        .and_then(|entry| text(entry, "/manager"))
        .map(str::to_owned)
}

fn ownership_disturbed(object: &Value) -> bool {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        text(entry, "/manager") == Some(names::FIELD_MANAGER)
            && entry.pointer(revision::OWNED_TEMPLATE).is_some()
    })
}

fn counts(object: &Value) -> Counts {
    let count = |path: &str| {
        let count = object.pointer(path).and_then(Value::as_i64);
        count.map(|count| u32::try_from(count).unwrap_or_default())
    };
    let status = |path: &str| count(path).unwrap_or_default();
    Counts {
        asked_for: count("/spec/replicas").unwrap_or(1),
        all: status("/status/replicas"),
        updated: status("/status/updatedReplicas"),
        ready: status("/status/readyReplicas"),
        available: status("/status/availableReplicas"),
    }
}

/// Returns how many of the pods a rolling update leaves available: a number is taken as it is, a
/// percentage of pods that may be missing is rounded down, and where neither more nor fewer pods are
/// allowed, one may be missing.
fn kept_available(object: &Value, replicas: u32) -> u32 {
    let allowed = |path: &str| match object.pointer(path) {
        None => 0.25 * f64::from(replicas),
        Some(Value::String(percent)) => {
            let percent = percent.trim_end_matches('%').parse::<f64>();
            percent.unwrap_or_default() / 100.0 * f64::from(replicas)
        }
        Some(number) => number.as_f64().unwrap_or_default(),
    };
    let surge = allowed("/spec/strategy/rollingUpdate/maxSurge").ceil();
    let unavailable = allowed("/spec/strategy/rollingUpdate/maxUnavailable").floor();
    let unavailable = if surge + unavailable < 1.0 {
        1.0
    } else {
        unavailable
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "such a cast keeps within the bounds of the type"
    )]
    let unavailable = unavailable as u32;
    replicas.saturating_sub(unavailable)
}

fn string_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object);
    entries
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Returns the selector in the API server's own syntax.
fn selector(value: &Value) -> String {
    let labels = string_map(value.get("matchLabels"));
    let equal = labels.iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = value.get("matchExpressions").and_then(Value::as_array);
    let expressions = expressions.into_iter().flatten().filter_map(expression);
    equal.chain(expressions).collect::<Vec<_>>().join(",")
}

fn expression(value: &Value) -> Option<String> {
    let key = text(value, "/key")?;
    let values: Vec<&str> = value
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let values = values.join(",");
    match text(value, "/operator")? {
        "In" => Some(format!("{key} in ({values})")),
        "NotIn" => Some(format!("{key} notin ({values})")),
        "Exists" => Some(key.to_owned()),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
