//! What kube-state-metrics recorded: the Deployment and its pods over time, as the API server showed
//! them to everybody then.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::changes::Changes;
use super::matrix::{Row, timestamp};
use super::span::later;
use crate::decide::{Availability, Pod, RestartCount, Waiting};

/// Of the Deployment.
const DEPLOYMENT: &str = "kube_deployment_spec_replicas|kube_deployment_spec_paused\
    |kube_deployment_status_replicas_available|kube_deployment_status_condition";

/// Of its pods.
const PODS: &str = "kube_pod_created|kube_pod_status_ready\
    |kube_pod_container_status_restarts_total|kube_pod_container_status_waiting_reason\
    |kube_pod_container_status_last_terminated_reason";

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

/// Samples by what they are of.
#[derive(Default)]
struct Builder {
    replicas: Vec<(Timestamp, u32)>,
    available: Vec<(Timestamp, u32)>,
    paused: Vec<(Timestamp, bool)>,
    deadline_exceeded: Vec<(Timestamp, bool)>,
    pods: BTreeMap<String, PodBuilder>,
}

#[derive(Default)]
struct PodBuilder {
    created: Option<Timestamp>,
    times: std::collections::BTreeSet<Timestamp>,
    ready: Vec<(Timestamp, bool)>,
    /// By time and container.
    restarts: BTreeMap<Timestamp, BTreeMap<String, u32>>,
    /// By container, then by time.
    waiting: BTreeMap<String, BTreeMap<Timestamp, String>>,
    last_termination: Vec<(Timestamp, String)>,
}

impl Builder {
    fn add(&mut self, row: &Row) {
        let counts = || row.values.iter().map(|(at, value)| (*at, count(*value)));
        let facts = || row.values.iter().map(|(at, value)| (*at, *value > 0.0));
        match row.label("__name__") {
            "kube_deployment_spec_replicas" => self.replicas.extend(counts()),
            "kube_deployment_status_replicas_available" => self.available.extend(counts()),
            "kube_deployment_spec_paused" => self.paused.extend(facts()),
            // The matchers leave one condition: no progress.
            "kube_deployment_status_condition" => self.deadline_exceeded.extend(facts()),
            name => {
                let pod = self.pods.entry(row.label("pod").to_owned()).or_default();
                pod.add(name, row);
            }
        }
    }

    fn build(self) -> KubeState {
        KubeState {
            replicas: Changes::of(self.replicas),
            available: Changes::of(self.available),
            paused: Changes::of(self.paused),
            deadline_exceeded: Changes::of(self.deadline_exceeded),
            pods: self
                .pods
                .into_iter()
                .filter_map(|(name, pod)| Some((name, pod.build()?)))
                .collect(),
        }
    }
}

impl PodBuilder {
    fn add(&mut self, name: &str, row: &Row) {
        self.times.extend(row.values.iter().map(|(at, _)| *at));
        let container = || row.label("container").to_owned();
        let held = || {
            let held = row.values.iter().filter(|(_, value)| *value > 0.0);
            held.map(|(at, _)| (*at, row.label("reason").to_owned()))
        };
        match name {
            "kube_pod_created" => {
                let first = row.values.first();
                self.created = first.and_then(|(_, seconds)| timestamp(*seconds));
            }
            "kube_pod_status_ready" => {
                let facts = row.values.iter().map(|(at, value)| (*at, *value > 0.0));
                self.ready.extend(facts);
            }
            "kube_pod_container_status_restarts_total" => {
                for (at, value) in &row.values {
                    let sum = self.restarts.entry(*at).or_default();
                    sum.insert(container(), count(*value));
                }
            }
            "kube_pod_container_status_waiting_reason" => {
                self.waiting.entry(container()).or_default().extend(held());
            }
            "kube_pod_container_status_last_terminated_reason" => {
                self.last_termination.extend(held());
            }
            _ => {}
        }
    }

    fn build(self) -> Option<PodState> {
        let times = &self.times;
        let waiting = self.waiting.into_iter().map(|(container, reasons)| {
            // There is no series while a container does not wait.
            let seen = times.iter().map(|at| (*at, reasons.get(at).cloned()));
            (container, Changes::of(seen))
        });
        let restarts = self
            .restarts
            .into_iter()
            .map(|(at, counts)| (at, counts.values().copied().fold(0, u32::saturating_add)));
        Some(PodState {
            created: self.created,
            last: times.last().copied()?,
            ready: Changes::of(self.ready),
            restarts: Changes::of(restarts),
            waiting: waiting.collect(),
            last_termination: Changes::of(self.last_termination),
        })
    }
}

/// What is negative, too large or no number counts nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float to an integer saturates, and takes NaN for zero"
)]
const fn count(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
    }

    fn row(labels: &[(&str, &str)], values: &[(i64, f64)]) -> Row {
        Row {
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            values: values
                .iter()
                .map(|(second, value)| (at(*second), *value))
                .collect(),
        }
    }

    fn pod_row(name: &str, more: &[(&str, &str)], values: &[(i64, f64)]) -> Row {
        let labels = [&[("__name__", name), ("pod", "x-a-1")], more].concat();
        row(&labels, values)
    }

    fn state() -> KubeState {
        KubeState::of(&[
            row(
                &[("__name__", "kube_deployment_spec_replicas")],
                &[(0, 4.0), (30, 4.0)],
            ),
            row(
                &[("__name__", "kube_deployment_status_replicas_available")],
                &[(0, 4.0), (30, 3.0), (60, 4.0)],
            ),
            row(
                &[("__name__", "kube_deployment_status_condition")],
                &[(0, 0.0), (60, 1.0)],
            ),
            pod_row("kube_pod_created", &[], &[(0, 999_990.0), (120, 999_990.0)]),
            pod_row(
                "kube_pod_status_ready",
                &[],
                &[(0, 0.0), (30, 1.0), (60, 1.0)],
            ),
            pod_row(
                "kube_pod_container_status_restarts_total",
                &[("container", "app")],
                &[(0, 0.0), (30, 2.0)],
            ),
            pod_row(
                "kube_pod_container_status_restarts_total",
                &[("container", "proxy")],
                &[(0, 1.0), (30, 1.0)],
            ),
            pod_row(
                "kube_pod_container_status_waiting_reason",
                &[("container", "app"), ("reason", "CrashLoopBackOff")],
                &[(60, 1.0)],
            ),
            pod_row(
                "kube_pod_container_status_last_terminated_reason",
                &[("container", "app"), ("reason", "OOMKilled")],
                &[(30, 1.0)],
            ),
        ])
    }

    #[test]
    fn the_deployment_is_seen_as_it_was() {
        let state = state();
        assert_eq!(state.replicas(at(10)), Some(4));
        assert_eq!(state.replicas(at(-1)), None);
        let seen = state.availability(at(40));
        assert_eq!(
            seen.last().map(|seen| (seen.at, seen.available)),
            Some((at(30), 3))
        );
        assert!(!state.deadline_exceeded(at(59)));
        assert!(state.deadline_exceeded(at(60)));
        assert!(!state.paused(at(60)));
        assert_eq!(state.progressed(at(50)), Some(at(30)));
        assert!(!state.is_empty());
        assert!(KubeState::default().is_empty());
    }

    #[test]
    fn pods_are_seen_as_they_were() {
        let state = state();
        let pod = |second| state.pods(at(second), |_| true).pop().expect("a pod");
        assert_eq!(state.pods(at(-20), |_| true), []);
        assert_eq!(state.pods(at(10), |name| name != "x-a-1"), []);
        let early = pod(10);
        assert_eq!((early.born, early.ready), (at(-10), None));
        assert_eq!((early.waiting, early.last_termination), (None, None));
        let late = pod(60);
        assert_eq!(late.ready, Some(at(30)));
        assert_eq!(late.restarts.last().map(|seen| seen.count), Some(3));
        assert_eq!(late.last_termination.as_deref(), Some("OOMKilled"));
        let waiting = late.waiting.expect("it waits");
        assert_eq!(
            (waiting.reason.as_str(), waiting.since),
            ("CrashLoopBackOff", at(60))
        );
        // The scrape at 120 found it running again.
        assert_eq!(pod(130).waiting, None);
        assert_eq!(state.pods(at(221), |_| true), []);
    }
}
