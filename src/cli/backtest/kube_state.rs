//! What kube-state-metrics recorded: the Deployment and its pods over time, as the API server showed
//! them to everybody then.

mod builder;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use self::builder::Builder;
use super::changes::Changes;
use super::rows::Row;
use super::span::later;
use crate::decide::{Availability, Pod, RestartCount, Waiting};

/// Of the Deployment.
const DEPLOYMENT: &str = "kube_deployment_spec_replicas|kube_deployment_spec_paused\
    |kube_deployment_status_replicas_available|kube_deployment_status_condition";

/// Of its pods.
const PODS: &str = "kube_pod_created|kube_pod_status_ready\
    |kube_pod_container_status_restarts_total|kube_pod_container_status_waiting_reason\
    |kube_pod_container_status_last_terminated_reason";

/// The labels that tell what a series of them is about.
pub const LABELS: &[&str] = &["__name__", "pod", "container", "reason"];

/// Returns the selector for all that is recorded of a Deployment.
#[must_use]
pub fn deployment_selector(namespace: &str, name: &str) -> String {
    // A matcher that also takes nothing leaves the metrics without that label alone.
    format!(
        r#"{{__name__=~"{DEPLOYMENT}",namespace="{namespace}",deployment="{name}",condition=~"(Progressing)?",status=~"(false)?"}}"#
    )
}

/// Returns the selector for all that is recorded of its pods, whose names match `pods`.
#[must_use]
pub fn pods_selector(namespace: &str, pods: &str) -> String {
    format!(r#"{{__name__=~"{PODS}",namespace="{namespace}",pod=~"{pods}",condition=~"(true)?"}}"#)
}

/// A Deployment and its pods over time. Empty where nobody recorded them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KubeState {
    replicas: Changes<u32>,
    available: Changes<u32>,
    paused: Changes<bool>,
    deadline_exceeded: Changes<bool>,
    pods: BTreeMap<String, PodState>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct PodState {
    created: Option<Timestamp>,
    /// The last time at which anything was recorded.
    last: Timestamp,
    ready: Changes<bool>,
    restarts: Changes<u32>,
    /// By container: why it waits; nothing while it does not.
    waiting: BTreeMap<String, Changes<Option<String>>>,
    last_termination: Changes<String>,
}

/// kube-state-metrics is scraped once in half a minute by default; a pod that is missing from three
/// of these is gone.
const GONE_AFTER: SignedDuration = SignedDuration::from_secs(100);

impl KubeState {
    /// Puts together what the answers to both selectors hold.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let mut builder = Builder::default();
        for row in rows {
            builder.add(row);
        }
        builder.build()
    }

    /// Returns whether anything was recorded of the Deployment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// Returns how many replicas were asked for.
    #[must_use]
    pub fn replicas(&self, now: Timestamp) -> Option<u32> {
        self.replicas.at(now).copied()
    }

    /// Returns how many were available, as far as it was seen until `now`.
    #[must_use]
    pub fn availability(&self, now: Timestamp) -> Vec<Availability> {
        let seen = self.available.until(now).iter();
        seen.map(|(at, available)| Availability {
            at: *at,
            available: *available,
            replicas: self.replicas(*at).unwrap_or(*available),
        })
        .collect()
    }

    /// Returns whether a person had paused it.
    #[must_use]
    pub fn paused(&self, now: Timestamp) -> bool {
        self.paused.at(now) == Some(&true)
    }

    /// Returns whether Kubernetes said that the rollout took too long.
    #[must_use]
    pub fn deadline_exceeded(&self, now: Timestamp) -> bool {
        self.deadline_exceeded.at(now) == Some(&true)
    }

    /// Returns when something about readiness or availability last changed.
    #[must_use]
    pub fn progressed(&self, now: Timestamp) -> Option<Timestamp> {
        let ready = self.pods.values().filter_map(|pod| pod.ready.since(now));
        ready.chain(self.available.since(now)).max()
    }

    /// Returns the time of birth of each pod that is known by name.
    #[must_use]
    pub fn born(&self, pod: &str) -> Option<Timestamp> {
        self.pods.get(pod)?.created
    }

    /// Returns the pods that existed at `now` and that `owns` accepts.
    #[must_use]
    pub fn pods(&self, now: Timestamp, owns: impl Fn(&str) -> bool) -> Vec<Pod> {
        self.pods
            .iter()
            .filter(|(name, _)| owns(name))
            .filter_map(|(name, state)| state.at(name, now))
            .collect()
    }
}

impl PodState {
    fn at(&self, name: &str, now: Timestamp) -> Option<Pod> {
        let born = self.created?;
        if born > now || later(self.last, GONE_AFTER) < now {
            return None;
        }
        let restarts = self.restarts.until(now).iter();
        let is_ready = self.ready.at(now) == Some(&true);
        Some(Pod {
            name: name.to_owned(),
            born,
            restarts: restarts
                .map(|(at, count)| RestartCount {
                    at: *at,
                    count: *count,
                })
                .collect(),
            last_termination: self.last_termination.at(now).cloned(),
            waiting: self.waiting_at(now),
            started: is_ready || self.has_started(now),
            // The scheduler's words are in no series.
            unschedulable: None,
            ready: is_ready.then(|| self.ready.since(now)).flatten(),
            // What happened to the nodes then is not in these series.
            excused: false,
        })
    }

    /// One that was ready or restarted has run.
    fn has_started(&self, now: Timestamp) -> bool {
        let was_ready = self.ready.until(now).iter().any(|(_, ready)| *ready);
        was_ready || self.restarts.at(now).is_some_and(|count| *count > 0)
    }

    fn waiting_at(&self, now: Timestamp) -> Option<Waiting> {
        self.waiting.iter().find_map(|(container, reasons)| {
            let reason = reasons.at(now)?.clone()?;
            Some(Waiting {
                container: container.clone(),
                reason,
                message: String::new(),
                since: reasons.since(now)?,
            })
        })
    }
}

#[cfg(test)]
mod tests;
