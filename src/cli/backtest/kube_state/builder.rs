//! Puts series together to what they are of.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{KubeState, PodState};
use crate::cli::backtest::changes::Changes;
use crate::cli::backtest::rows::{Row, whole};

/// Samples by what they are of.
#[derive(Default)]
pub(super) struct Builder {
    replicas: Vec<(Timestamp, u32)>,
    available: Vec<(Timestamp, u32)>,
    paused: Vec<(Timestamp, bool)>,
    deadline_exceeded: Vec<(Timestamp, bool)>,
    pods: BTreeMap<String, PodBuilder>,
}

#[derive(Default)]
struct PodBuilder {
    created: Option<Timestamp>,
    times: BTreeSet<Timestamp>,
    ready: Vec<(Timestamp, bool)>,
    /// By time and container.
    restarts: BTreeMap<Timestamp, BTreeMap<String, u32>>,
    /// By container, then by time.
    waiting: BTreeMap<String, BTreeMap<Timestamp, String>>,
    last_termination: Vec<(Timestamp, String)>,
}

impl Builder {
    pub(super) fn add(&mut self, row: &Row) {
        let counts = || row.values.iter().map(|(at, value)| (*at, whole(*value)));
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

    pub(super) fn build(self) -> KubeState {
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
                self.created = first.and_then(|(_, seconds)| time(*seconds));
            }
            "kube_pod_status_ready" => {
                let facts = row.values.iter().map(|(at, value)| (*at, *value > 0.0));
                self.ready.extend(facts);
            }
            "kube_pod_container_status_restarts_total" => {
                for (at, value) in &row.values {
                    let sum = self.restarts.entry(*at).or_default();
                    sum.insert(container(), whole(*value));
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

/// Whole seconds since 1970, as kube-state-metrics gives times.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a float to an integer saturates, and what is out of range is no time"
)]
fn time(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_second(seconds as i64).ok()
}
