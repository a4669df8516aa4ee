//! The kubelet's part: containers that start, become ready, fail, and are started again.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::behaviour::Behaviour;
use super::fields::{items, number, set, stamp, text};
use super::server::Part;
use super::world::{Task, World, scrambled};
use crate::port::{ObjectRef, kinds};

/// How long a pod takes to end once it is told to.
const TERMINATION: SignedDuration = SignedDuration::from_secs(1);

/// Before the second start again; doubled each time.
const BACK_OFF: SignedDuration = SignedDuration::from_secs(10);
const BACK_OFF_MAX: SignedDuration = SignedDuration::from_secs(300);

/// The containers of one pod as they run.
#[derive(Debug)]
pub(super) struct PodRun {
    pub(super) containers: Vec<ContainerRun>,
    pub(super) address: String,
    ends: Option<Timestamp>,
}

/// One container as it runs.
#[derive(Debug)]
pub(super) struct ContainerRun {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) state: State,
    restarts: u32,
    last: Option<Value>,
    pub(super) counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// `until` is `None` when it waits for something that never comes.
    Waiting {
        reason: &'static str,
        until: Option<Timestamp>,
    },
    Running {
        since: Timestamp,
    },
}

/// What was counted up to a moment. Requests begin at zero with every start, probes do not.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) liveness_passed: f64,
    pub(super) liveness_failed: f64,
    pub(super) until: Timestamp,
}

impl World {
    /// Takes a new pod: decides how its containers begin.
    pub(super) fn admit_pod(&mut self, pod: &ObjectRef) {
        let Some(value) = self.store.get(pod) else {
            return;
        };
        let containers = items(&value, "/spec/containers")
            .iter()
            .map(|container| self.first_run(container))
            .collect();
        let number = scrambled(self.settings.seed ^ self.runs.len() as u64);
        let address = format!("10.244.{}.{}", number % 256, (number >> 8) % 254 + 1);
        let run = PodRun {
            containers,
            address,
            ends: None,
        };
        self.runs.insert(pod.clone(), run);
        self.soon(Task::MovePod(pod.clone()));
        self.first_scrape(pod);
    }

    fn first_run(&self, container: &Value) -> ContainerRun {
        let image = text(container, "/image");
        let behaviour = self.behaviour(image);
        let state = State::Waiting {
            reason: behaviour.obstacle().unwrap_or("ContainerCreating"),
            until: behaviour
                .obstacle()
                .is_none()
                .then_some(self.now + behaviour.starts_after),
        };
        ContainerRun {
            name: text(container, "/name").to_owned(),
            image: image.to_owned(),
            state,
            restarts: 0,
            last: None,
            counters: Counters {
                requests: 0.0,
                errors: 0.0,
                liveness_passed: 0.0,
                liveness_failed: 0.0,
                until: self.now,
            },
        }
    }

    pub(super) fn behaviour(&self, image: &str) -> Behaviour {
        self.settings.images.get(image).cloned().unwrap_or_default()
    }

    /// Lets a pod's containers do what is due, and reports it.
    pub(super) fn move_pod(&mut self, pod: &ObjectRef) {
        let Some(value) = self.store.get(pod) else {
            self.runs.remove(pod);
            return;
        };
        let Some(mut run) = self.runs.remove(pod) else {
            return;
        };
        if !text(&value, "/metadata/deletionTimestamp").is_empty() {
            let ends = *run.ends.get_or_insert(self.now + TERMINATION);
            if ends <= self.now {
                self.drop_object(pod);
                return;
            }
            self.at(ends, Task::MovePod(pod.clone()));
        }
        let mut next: Option<Timestamp> = None;
        let mut all_ready = true;
        for (at, container) in run.containers.iter_mut().enumerate() {
            let behaviour = self.behaviour(&container.image);
            let probe = Probe::of(&value["spec"]["containers"][at]);
            let due = container.move_on(&behaviour, &probe, self.now);
            next = [next, due].into_iter().flatten().min();
            all_ready &= container.is_ready(&behaviour, self.now);
        }
        if let Some(due) = next.filter(|due| *due > self.now) {
            self.at(due, Task::MovePod(pod.clone()));
        }
        let ready = all_ready && run.ends.is_none() && !self.is_lost(&value);
        let reported = self.report(&value, &run, ready);
        self.runs.insert(pod.clone(), run);
        self.controller_write(pod, reported, Part::Status);
    }

    fn report(&self, pod: &Value, run: &PodRun, ready: bool) -> Value {
        let mut reported = pod.clone();
        let started = run.containers.iter().any(ContainerRun::started);
        let statuses: Vec<Value> = run
            .containers
            .iter()
            .map(|container| container.report(&self.behaviour(&container.image), self.now))
            .collect();
        set(
            &mut reported,
            &["status"],
            json!({
                "phase": if started { "Running" } else { "Pending" },
                "podIP": run.address,
                "qosClass": "BestEffort",
                "startTime": pod["metadata"]["creationTimestamp"],
                "containerStatuses": statuses,
                "conditions": [
                    self.condition(pod, "PodScheduled", true),
                    self.condition(pod, "Initialized", true),
                    self.condition(pod, "ContainersReady", ready),
                    self.condition(pod, "Ready", ready),
                ],
            }),
        );
        let marks = items(pod, "/status/conditions")
            .iter()
            .filter(|condition| condition["type"] == "DisruptionTarget");
        if let Some(conditions) = reported["status"]["conditions"].as_array_mut() {
            conditions.extend(marks.cloned());
        }
        reported
    }

    fn condition(&self, pod: &Value, name: &str, holds: bool) -> Value {
        let status = if holds { "True" } else { "False" };
        let current = items(pod, "/status/conditions")
            .iter()
            .find(|condition| condition["type"] == name && condition["status"] == status);
        if let Some(current) = current {
            return current.clone();
        }
        let mut condition = json!({
            "type": name,
            "status": status,
            "lastProbeTime": null,
            "lastTransitionTime": stamp(self.now),
        });
        if !holds {
            condition["reason"] = "ContainersNotReady".into();
        }
        condition
    }

    /// Counts what all containers did up to now, before their images change.
    pub(super) fn count_all_pods(&mut self) {
        for pod in self.runs.keys().cloned().collect::<Vec<_>>() {
            if let Some(value) = self.store.get(&pod) {
                self.count_pod(&pod, &value);
            }
        }
    }

    /// Lets every pod notice that images behave differently now.
    pub(super) fn wake_all_pods(&mut self) {
        let pods: Vec<ObjectRef> = self
            .store
            .of_kind(kinds::PODS, None)
            .map(|(pod, _)| pod.clone())
            .collect();
        for pod in pods {
            self.soon(Task::MovePod(pod));
        }
    }
}

/// What matters of a container's liveness probe.
pub(super) struct Probe {
    period: SignedDuration,
    tolerated: i32,
}

impl Probe {
    pub(super) fn of(container: &Value) -> Self {
        let or = |value: i64, default: i64| if value > 0 { value } else { default };
        let probe = &container["livenessProbe"];
        Self {
            period: SignedDuration::from_secs(or(number(probe, "/periodSeconds"), 10)),
            tolerated: i32::try_from(or(number(probe, "/failureThreshold"), 3)).unwrap_or(3),
        }
    }
}

impl ContainerRun {
    /// Does what is due and returns when something is due next.
    fn move_on(
        &mut self,
        behaviour: &Behaviour,
        probe: &Probe,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.count(behaviour, probe, now);
        if let State::Waiting { until, .. } = self.state
            && until.is_some_and(|until| until <= now)
        {
            self.restarts += u32::from(self.last.is_some());
            self.state = State::Running { since: now };
            self.counters.requests = 0.0;
            self.counters.errors = 0.0;
        }
        let since = match self.state {
            State::Waiting { until, .. } => return until,
            State::Running { since } => since,
        };
        let killed = behaviour.liveness_fails_after.map(|after| {
            // Killed by a signal, which is what 137 says.
            (since + after + probe.period * probe.tolerated, 137)
        });
        let exits = behaviour
            .exits_after
            .map(|after| (since + after, behaviour.exit_code));
        let end = [killed, exits].into_iter().flatten().min();
        match end {
            Some((end, code)) if end <= now => {
                let reason = match code {
                    0 => "Completed",
                    _ if behaviour.out_of_memory => "OOMKilled",
                    _ => "Error",
                };
                Some(self.fail(since, now, (reason, code)))
            }
            _ => {
                let ready = behaviour.ready_after.map(|after| since + after);
                let ready = ready.filter(|at| *at > now);
                [ready, end.map(|(at, _)| at)].into_iter().flatten().min()
            }
        }
    }

    /// Ends the container and returns when it starts again: at once the first time, then later and
    /// later.
    fn fail(&mut self, since: Timestamp, now: Timestamp, (reason, code): (&str, i32)) -> Timestamp {
        let wait = match self.restarts {
            0 => SignedDuration::from_secs(1),
            restarts => (BACK_OFF * (1 << (restarts - 1).min(5))).min(BACK_OFF_MAX),
        };
        self.last = Some(json!({
            "exitCode": code,
            "reason": reason,
            "startedAt": stamp(since),
            "finishedAt": stamp(now),
        }));
        let until = now + wait;
        self.state = State::Waiting {
            reason: "CrashLoopBackOff",
            until: Some(until),
        };
        until
    }

    /// Counts what happened since the last look.
    pub(super) fn count(&mut self, behaviour: &Behaviour, probe: &Probe, now: Timestamp) {
        let from = self.counters.until;
        self.counters.until = now;
        let State::Running { since } = self.state else {
            return;
        };
        let from = from.max(since);
        let seconds = |from: Timestamp| now.duration_since(from).as_secs_f64().max(0.0);
        if let Some(after) = behaviour.ready_after {
            let requests = behaviour.requests_per_second * seconds(from.max(since + after));
            self.counters.requests += requests;
            self.counters.errors += requests * behaviour.error_rate;
        }
        let failing = match behaviour.liveness_fails_after {
            Some(after) => seconds(from.max(since + after)),
            None => 0.0,
        };
        let period = probe.period.as_secs_f64();
        self.counters.liveness_failed += failing / period;
        self.counters.liveness_passed += (seconds(from) - failing) / period;
    }

    fn started(&self) -> bool {
        self.last.is_some() || matches!(self.state, State::Running { .. })
    }

    pub(super) fn is_ready(&self, behaviour: &Behaviour, now: Timestamp) -> bool {
        match (&self.state, behaviour.ready_after) {
            (State::Running { since }, Some(after)) => *since + after <= now,
            (State::Running { .. }, None) | (State::Waiting { .. }, _) => false,
        }
    }

    fn report(&self, behaviour: &Behaviour, now: Timestamp) -> Value {
        let state = match &self.state {
            State::Running { since } => json!({ "running": { "startedAt": stamp(*since) } }),
            State::Waiting { reason, .. } => json!({ "waiting": { "reason": reason } }),
        };
        let last = self.last.as_ref();
        json!({
            "name": self.name,
            "image": self.image,
            "imageID": format!("sim.example/{}@sha256:{:064x}", self.image, digest(&self.image)),
            "ready": self.is_ready(behaviour, now),
            "started": matches!(self.state, State::Running { .. }),
            "restartCount": self.restarts,
            "state": state,
            "lastState": last.map_or_else(|| json!({}), |last| json!({ "terminated": last })),
        })
    }
}

fn digest(image: &str) -> u64 {
    image
        .bytes()
        .fold(0, |sum, byte| scrambled(sum ^ u64::from(byte)))
}

/// Returns the pod's `Ready` condition.
pub(super) fn ready_condition(pod: &Value) -> Option<&Value> {
    items(pod, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == "Ready")
}
