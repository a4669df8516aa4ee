//! A rollout that makes no progress, by Kubernetes' clock or by our own, and what keeps it.
//!
//! Kubernetes reports no deadline while a rollout is paused, nor where `progressDeadlineSeconds` is at
//! its maximum, and it knows no difference between a slow rollout and one that can never succeed.

use jiff::{SignedDuration, Timestamp};

use super::{Standing, accountable};
use crate::decide::{Measurement, Observed, Pod, Reading, Unknown, Waiting, Workload};

/// A registry that is out of breath, or a quota that is full while pods are exchanged, gets this long.
/// The kubelet tries an image three times in it.
const CANNOT_GO_ON: SignedDuration = SignedDuration::from_secs(60);

/// What no second attempt can change: the kubelet does not even ask a registry.
const FINAL: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];

pub(in crate::decide::health) fn rollout_stalled(observed: &Observed, now: Timestamp) -> Reading {
    let standing = Standing::of(observed, now);
    if standing.completed {
        return Reading::Passing(Measurement::Rollout {
            complete: true,
            cause: None,
        });
    }
    let obstacles = [
        cannot_start(observed, now),
        pods_refused(&observed.workload, standing, now),
    ];
    for obstacle in obstacles.iter().flatten() {
        if obstacle.lasted >= obstacle.needed {
            return Reading::Breached(no_progress(Some(obstacle.cause.clone())));
        }
    }
    if is_overdue(observed, standing, now) {
        if only_excused_pods_are_missing(observed) {
            return Reading::Unknown(Unknown::Disrupted {
                measurement: Box::new(no_progress(None)),
            });
        }
        return Reading::Breached(no_progress(likely_cause(observed)));
    }
    match obstacles.into_iter().flatten().next() {
        Some(obstacle) => Reading::Unknown(Unknown::NotLongEnough {
            measurement: Box::new(no_progress(Some(obstacle.cause))),
            lasted: obstacle.lasted,
            needed: obstacle.needed,
        }),
        None => Reading::Unknown(Unknown::RolloutInProgress),
    }
}

fn no_progress(cause: Option<String>) -> Measurement {
    Measurement::Rollout {
        complete: false,
        cause,
    }
}

/// Something that need not be given the whole deadline.
struct Obstacle {
    lasted: SignedDuration,
    needed: SignedDuration,
    cause: String,
}

/// Where another pod of the revision has started, the image and the configuration are there to be had:
/// then it is a matter of one node or of the registry, and the deadline decides.
fn cannot_start(observed: &Observed, now: Timestamp) -> Option<Obstacle> {
    if accountable(observed).any(|pod| pod.started) {
        return None;
    }
    let needed = |waiting: &Waiting| {
        if FINAL.contains(&waiting.reason.as_str()) {
            SignedDuration::ZERO
        } else {
            CANNOT_GO_ON
        }
    };
    accountable(observed)
        .filter_map(|pod| Some((pod, pod.waiting.as_ref()?)))
        .map(|(pod, waiting)| Obstacle {
            lasted: now.duration_since(waiting.since),
            needed: needed(waiting),
            cause: cause_of_waiting(pod, waiting),
        })
        .max_by_key(|obstacle| obstacle.lasted - obstacle.needed)
}

/// A rolling update that may not exceed a quota goes on as old pods make room, so only a refusal
/// without any progress beside it counts.
fn pods_refused(workload: &Workload, standing: Standing, now: Timestamp) -> Option<Obstacle> {
    let refused = workload.pods_refused.as_ref()?;
    let since = refused.since.max(last_progress(workload, standing));
    Some(Obstacle {
        lasted: now.duration_since(since),
        needed: CANNOT_GO_ON,
        cause: cause_of_refusal(&refused.message),
    })
}

fn last_progress(workload: &Workload, standing: Standing) -> Timestamp {
    let progressed = workload.progressed.unwrap_or(Timestamp::MIN);
    progressed.max(standing.since)
}

fn is_overdue(observed: &Observed, standing: Standing, now: Timestamp) -> bool {
    let workload = &observed.workload;
    if workload.progress_deadline_exceeded {
        return true;
    }
    if workload.current.is_none() || workload.replicas == 0 || is_held_by_pause(observed) {
        return false;
    }
    now.duration_since(last_progress(workload, standing)) >= workload.progress_deadline
}

/// A person's pause stops the clock. Ours goes on: what is there can become ready all the same; but
/// where all of it has, the pause is what keeps the rollout, and the revision must not pay for that.
fn is_held_by_pause(observed: &Observed) -> bool {
    let workload = &observed.workload;
    let ours = workload.paused_by.is_some();
    let waits = accountable(observed).any(|pod| pod.ready.is_none());
    workload.paused && !(ours && waits)
}

/// Whether every pod that is not ready is excused, and there is such a pod.
fn only_excused_pods_are_missing(observed: &Observed) -> bool {
    let mut missing = observed.pods.iter().filter(|pod| pod.ready.is_none());
    let none_refused = observed.workload.pods_refused.is_none();
    let first = missing.next();
    none_refused && first.is_some_and(|pod| pod.excused) && missing.all(|pod| pod.excused)
}

/// Returns what most likely keeps a rollout whose time is over, in words for people.
fn likely_cause(observed: &Observed) -> Option<String> {
    let find = |cause: fn(&Pod) -> Option<String>| accountable(observed).find_map(cause);
    let refused = observed.workload.pods_refused.as_ref();
    find(|pod| {
        let waiting = pod.waiting.as_ref()?;
        Some(cause_of_waiting(pod, waiting))
    })
    .or_else(|| refused.map(|refused| cause_of_refusal(&refused.message)))
    .or_else(|| find(cause_of_no_node))
    .or_else(|| find(cause_of_restarts))
    .or_else(|| cause_of_unreadiness(observed))
}

fn cause_of_waiting(pod: &Pod, waiting: &Waiting) -> String {
    let Waiting {
        container,
        reason,
        message,
        since: _,
    } = waiting;
    let advice = if reason.contains("Image") || reason.contains("Registry") {
        "check the image's name and tag, and imagePullSecrets"
    } else if reason.contains("Config") {
        "check the ConfigMaps and Secrets that it refers to"
    } else {
        "check its command, mounts and security context"
    };
    let colon = if message.is_empty() { "" } else { ": " };
    format!(
        "container {container} of pod {} cannot start, {reason}{colon}{message}; {advice}",
        pod.name
    )
}

fn cause_of_refusal(message: &str) -> String {
    format!(
        "the API server refuses new pods: {message}; check the namespace's quotas and admission policies"
    )
}

fn cause_of_no_node(pod: &Pod) -> Option<String> {
    let message = pod.unschedulable.as_ref()?;
    Some(format!(
        "no node takes pod {}: {message}; check its requests, node selector and volumes",
        pod.name
    ))
}

fn cause_of_restarts(pod: &Pod) -> Option<String> {
    let ended = pod.last_termination.as_ref()?;
    let restarts = pod.restarts.last()?.count;
    (pod.ready.is_none() && restarts > 0).then(|| {
        format!(
            "pod {} restarted {restarts} times, last after {ended}; see kubectl logs --previous",
            pod.name
        )
    })
}

fn cause_of_unreadiness(observed: &Observed) -> Option<String> {
    let waiting = accountable(observed).filter(|pod| pod.ready.is_none());
    let (waiting, all) = (waiting.count(), observed.pods.len());
    (waiting > 0).then(|| {
        format!(
            "{waiting} of {all} new pods are not ready; check their readiness probes and their logs"
        )
    })
}

#[cfg(test)]
mod tests;
