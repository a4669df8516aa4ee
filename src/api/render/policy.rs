//! The status of a policy.
//!
//! `Ready` says that the spec is understood and nothing else, so that a GitOps tool never waits for
//! an app or a Prometheus; whether anything is guarded stands in `Guarding`. No message holds a
//! number that moves, or the status would be written at every look.

mod drills;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Condition, condition};
use crate::api::parse::{FieldError, ParsedPolicy};
use crate::api::record::revision::{proof_name, verdict_name};
use crate::decide::unknown::long_enough;
use crate::decide::{
    Drilled, Held, Measurement, Proof, Reading, Reason, Revision, TriggerReading, Unknown, Verdict,
};

/// A status names at most this many targets; the schema says the same.
const TARGETS_MAX: usize = 16;

/// The API server takes 32 KiB for a message; people take less.
const MESSAGE_MAX: usize = 1024;

/// Where one workload stands.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: String,
    pub revision: Revision,
    pub verdict: Option<Verdict>,
    /// What a verdict of Good rests on.
    pub proof: Option<Proof>,
    pub reason: Reason,
    /// What stands in the way, with what was seen.
    pub held: Option<Held>,
    pub readings: Vec<TriggerReading>,
    /// Triggers that have passed on real data for the current revision.
    pub passed: Vec<String>,
    /// Whether the current revision is being judged; if not, its readings say nothing.
    pub judging: bool,
    pub last_rollback: Option<String>,
    /// The last drill, if there was one; `None` where the policy asks for no drills.
    pub drills: Option<Option<Drilled>>,
}

/// Returns the status of a policy; `before` is the one that is there.
#[must_use]
pub fn status(
    generation: i64,
    parsed: Result<&ParsedPolicy, &[FieldError]>,
    mut targets: Vec<Target>,
    before: &Value,
    now: Timestamp,
) -> Value {
    targets.sort_by(|left, right| left.name.cmp(&right.name));
    let conditions = match parsed {
        Ok(policy) => understood(policy, &targets, before, now),
        Err(errors) => invalid(errors, before, now),
    };
    let mut status = json!({
        "observedGeneration": generation,
        "conditions": conditions,
        "matchedTargets": targets.len(),
    });
    if let Ok(policy) = parsed {
        let (guarded, all) = guarded(policy, &targets);
        status["effectiveMode"] = json!(policy.policy.mode.name());
        status["guards"] = json!(format!("{}/{}", guarded.len(), all));
    }
    if let Some(last) = targets
        .iter()
        .filter_map(|t| t.last_rollback.as_ref())
        .max()
    {
        status["lastRollback"] = json!(last);
    }
    if !targets.is_empty() {
        let shown: Vec<Value> = targets.iter().take(TARGETS_MAX).map(target).collect();
        status["targets"] = json!(shown);
    }
    status
}

fn understood(
    policy: &ParsedPolicy,
    targets: &[Target],
    before: &Value,
    now: Timestamp,
) -> Vec<Value> {
    let (guarded, all) = guarded(policy, targets);
    let missing = missing(policy, targets, &guarded);
    let (status, reason, message) = if targets.is_empty() {
        let message = "no Deployment is covered: check targetRefs, selector, or the annotation astern.dev/policy";
        ("False", "NoTarget", message.to_owned())
    } else if guarded.len() == all {
        ("True", "Guarding", "every trigger has data".to_owned())
    } else if guarded.is_empty() {
        ("False", "NoData", missing)
    } else {
        ("False", "Partial", missing)
    };
    let understood = "the spec is understood";
    // The cluster may ask for drills where the policy does not.
    let drilled =
        policy.policy.drill.is_some() || targets.iter().any(|target| target.drills.is_some());
    let drills = drilled.then(|| drills::ready(targets));
    let drills = drills.as_ref();
    [
        ("Accepted", "True", "Accepted", understood),
        ("Ready", "True", "Accepted", understood),
        ("Guarding", status, reason, &message),
    ]
    .into_iter()
    .chain(
        drills
            .map(|(status, reason, message)| ("RollbackReady", *status, *reason, message.as_str())),
    )
    .map(|parts| made(parts, before, now))
    .collect()
}

fn invalid(errors: &[FieldError], before: &Value, now: Timestamp) -> Vec<Value> {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let message = errors.join("; ");
    let nothing = "the spec is not understood, so nothing is guarded";
    [
        ("Accepted", "False", "Invalid", message.as_str()),
        ("Ready", "False", "Invalid", message.as_str()),
        ("Guarding", "False", "Invalid", nothing),
        ("Stalled", "True", "Invalid", message.as_str()),
    ]
    .into_iter()
    .map(|parts| made(parts, before, now))
    .collect()
}

fn made(parts: (&str, &str, &str, &str), before: &Value, now: Timestamp) -> Value {
    let (kind, status, reason, message) = parts;
    let message: String = message.chars().take(MESSAGE_MAX).collect();
    let made = Condition {
        kind,
        status,
        reason,
        message: &message,
    };
    condition(&made, before, now)
}

/// Returns the triggers that have data for every target, and how many triggers there are.
fn guarded<'a>(policy: &'a ParsedPolicy, targets: &[Target]) -> (BTreeSet<&'a str>, usize) {
    let triggers = &policy.policy.triggers;
    let guarded = triggers
        .iter()
        .map(|trigger| trigger.name.as_str())
        .filter(|trigger| !targets.is_empty() && targets.iter().all(|t| has_data(t, trigger)))
        .collect();
    (guarded, triggers.len())
}

/// A revision that is not judged any more had data when it passed.
fn has_data(target: &Target, trigger: &str) -> bool {
    let reading = target.readings.iter().find(|r| r.trigger == trigger);
    let blind = reading.is_some_and(|reading| match &reading.reading {
        Reading::Passing(_) | Reading::Breached(_) => false,
        Reading::Unknown(unknown) => lacks_data(unknown),
    });
    if target.judging {
        !blind
    } else {
        !blind || target.passed.iter().any(|passed| passed == trigger)
    }
}

/// Waiting for time to pass is not lack of data.
fn lacks_data(unknown: &Unknown) -> bool {
    !matches!(
        unknown,
        Unknown::NotLongEnough { .. } | Unknown::RolloutInProgress | Unknown::Disrupted { .. }
    )
}

fn missing(policy: &ParsedPolicy, targets: &[Target], guarded: &BTreeSet<&str>) -> String {
    let names = policy
        .policy
        .triggers
        .iter()
        .map(|trigger| trigger.name.as_str())
        .filter(|name| !guarded.contains(name));
    let lines: Vec<String> = names
        .map(|name| {
            let cause = targets.iter().find_map(|target| {
                let reading = target.readings.iter().find(|r| r.trigger == name)?;
                Some(still(&reading.reading))
            });
            format!(
                "{name}: {}",
                cause.unwrap_or_else(|| "no data yet".to_owned())
            )
        })
        .collect();
    lines.join("; ")
}

/// What a reading says, without numbers that move.
fn still(reading: &Reading) -> String {
    match reading {
        Reading::Passing(measurement) => within("below the limit", measurement),
        Reading::Breached(measurement) => within("over the limit", measurement),
        Reading::Unknown(unknown) => match unknown {
            Unknown::TooFewRequests { seen, needed, window } => {
                let help = match long_enough(*seen, *needed, *window) {
                    Some(longer) => format!("window: {longer:#} would see enough"),
                    None => "a longer window or a smaller minimumRequests may help".to_owned(),
                };
                format!("TooFewRequests: fewer than {needed} requests in {window:#}; {help}")
            }
            Unknown::NotLongEnough { .. } => "NotLongEnough: over the limit, but not for long enough yet".to_owned(),
            Unknown::NotConclusive { .. } => "NotConclusive: over the limit, but the evidence is not conclusive yet".to_owned(),
            Unknown::Disrupted { .. } => "Disrupted: pods were evicted, or nodes are not ready".to_owned(),
            Unknown::BadBefore { .. } => "BadBefore: over the limit, and so was the revision before".to_owned(),
            Unknown::Stale { .. } => "StaleSamples: the newest sample is older than three scrapes; check that the pods are scraped".to_owned(),
            Unknown::NoSource { .. }
            | Unknown::NoAnswer { .. }
            | Unknown::NotUnderstood { .. }
            | Unknown::Incomplete
            | Unknown::NotANumber
            | Unknown::NoData
            | Unknown::NoPods
            | Unknown::RolloutInProgress
            | Unknown::NothingBefore
            | Unknown::FiringBefore
            | Unknown::EmptyAnswer
            | Unknown::NotWatched => format!("{}: {unknown}", unknown.name()),
        },
    }
}

/// What cannot tell revisions apart should say so.
fn within(words: &str, measurement: &Measurement) -> String {
    match measurement {
        Measurement::Requests(measurement) if measurement.before_and_after => {
            format!("{words}; all revisions counted together")
        }
        Measurement::Requests(_)
        | Measurement::Probes { .. }
        | Measurement::Restarts { .. }
        | Measurement::Rollout { .. }
        | Measurement::Available { .. }
        | Measurement::Value { .. }
        | Measurement::Alert { .. } => words.to_owned(),
    }
}

fn target(target: &Target) -> Value {
    let mut made = json!({
        "name": target.name,
        "revision": target.revision.short(),
        "reason": target.reason.name(),
    });
    if let Some(verdict) = target.verdict {
        made["verdict"] = json!(verdict_name(verdict));
    }
    if let Some(proof) = target.proof {
        made["proof"] = json!(proof_name(proof));
    }
    if let Some(drilled) = &target.drills {
        let text = drills::text(drilled.as_ref());
        made["rollbackReady"] = json!(text.chars().take(MESSAGE_MAX).collect::<String>());
    }
    if let Some(held) = &target.held {
        let text = format!("{}: {}", held.hold.name(), held.message());
        made["hold"] = json!(text.chars().take(MESSAGE_MAX).collect::<String>());
    }
    // Once a revision is judged, its metrics are not asked for, and their absence says nothing.
    if target.judging {
        let readings: Vec<Value> = target.readings.iter().map(reading).collect();
        made["readings"] = json!(readings);
    }
    made
}

fn reading(reading: &TriggerReading) -> Value {
    let word = match reading.reading {
        Reading::Passing(_) => "Passing",
        Reading::Breached(_) => "Breached",
        Reading::Unknown(_) => "Unknown",
    };
    let message: String = still(&reading.reading).chars().take(MESSAGE_MAX).collect();
    let mut made = json!({"trigger": reading.trigger, "reading": word, "message": message});
    if let Some(preset) = reading.preset {
        made["preset"] = json!(preset.name());
    }
    made
}

#[cfg(test)]
mod tests;
