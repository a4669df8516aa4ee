//! A Deployment, its pods and its metrics, as far as `decide` can see them: no ports, no JSON, no time
//! but its own.
//!
//! What the cluster does with a write stands here once, for timelines and for invariants. Nothing is
//! decided here, and nothing fails: what the API server would refuse has no effect.

use std::collections::BTreeMap;

use astern::decide::traffic::Traffic;
use astern::decide::{
    self, Attempt, Attention, Availability, Current, Decision, Diagnosed, Effect, Entry, EntryKind,
    Evidence, Firing, Followed, Incident, Inspection, Memory, Observed, Pod, PodCounters, Policy,
    RestartCount, Revision, Sample, TriggerKind, Unknown, ValueAt, Workload,
};
use jiff::{SignedDuration, Timestamp};

/// Between two scrapes, and between two looks where nothing asks for an earlier one.
pub(crate) const TICK: SignedDuration = SignedDuration::from_secs(5);
/// How long a rollout takes where nothing keeps it.
const ROLLOUT: SignedDuration = SignedDuration::from_secs(10);
/// Pods of a revision.
const PODS: usize = 2;
/// How long scrapes are kept: for more than the longest window of any test.
const KEPT: SignedDuration = SignedDuration::from_secs(300);

/// How a revision does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Behaviour {
    /// Requests per second and pod.
    pub(crate) requests: f64,
    /// Share of them that fails.
    pub(crate) errors: f64,
    /// Failed probes per scrape and pod; one in each scrape is made.
    pub(crate) failing_probes: bool,
    /// Restarts per minute and pod.
    pub(crate) crashes: f64,
    /// Its rollout never completes.
    pub(crate) stalls: bool,
    /// What a query of the user gives while it runs.
    pub(crate) value: f64,
    /// Whether an alert fires while it runs.
    pub(crate) alert: bool,
    /// Share of the replicas that is available once it is rolled out.
    pub(crate) available: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            requests: 20.0,
            errors: 0.0,
            failing_probes: false,
            crashes: 0.0,
            stalls: false,
            value: 0.0,
            alert: false,
            available: 1.0,
        }
    }
}

/// What the metric source answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metrics {
    Working,
    /// No answer at all.
    Gone,
    /// No series.
    Empty,
    /// An answer that says itself that it is incomplete.
    Partial,
    /// Values that are no numbers.
    NotNumbers,
}

/// What a pod has counted since it was born.
#[derive(Clone, Debug, Default)]
struct Counters {
    requests: f64,
    failed: f64,
    probes: f64,
    failed_probes: f64,
    restarts: f64,
}

/// What was scraped from a pod, and seen of it.
#[derive(Clone, Debug)]
struct LivePod {
    name: String,
    born: Timestamp,
    counters: Counters,
    requests: Vec<Sample>,
    probes: Vec<Sample>,
    restarts: Vec<RestartCount>,
}

/// All of it at one moment.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) policy: Policy,
    pub(crate) workload: Workload,
    pub(crate) behaviours: BTreeMap<Revision, Behaviour>,
    pub(crate) metrics: Metrics,
    pub(crate) entries: Vec<Entry>,
    /// What is on the objects.
    pub(crate) stored: Memory,
    pub(crate) past: Vec<Attempt>,
    recorded: Option<Timestamp>,
    /// What the process remembers.
    pub(crate) passing_since: Option<Timestamp>,
    pub(crate) inspections: Vec<Inspection>,
    diagnosed: Vec<Diagnosed>,
    followed: Option<Followed>,
    rollout_started: Timestamp,
    /// When the ReplicaSet of each revision was made.
    replica_sets: BTreeMap<Revision, Timestamp>,
    number: i64,
    pods: Vec<LivePod>,
    /// Of the revision before; those that are gone are remembered.
    old: Vec<LivePod>,
    old_revision: Revision,
    values: Vec<ValueAt>,
    firing: Vec<Timestamp>,
    codes: u32,
    /// Every template that Astern wrote, with the incident that it was written for.
    pub(crate) written: Vec<(Incident, Revision)>,
}

/// Returns the moment `second` seconds after the beginning of the test.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_700_000_000 + second)
}

fn replica_set(revision: &Revision) -> String {
    format!("checkout-{}", revision.short())
}

pub(crate) fn revision(name: &str) -> Revision {
    Revision(name.to_owned())
}

impl World {
    /// A world in which `running` has been rolled out for a day, and Astern looks for the first time.
    pub(crate) fn new(policy: Policy, running: &Revision) -> Self {
        let day_ago = at(0) - SignedDuration::from_hours(24);
        let mut world = Self {
            now: at(0),
            policy,
            workload: Workload {
                uid: "5eed0001-aaaa-bbbb-cccc-000000000001".to_owned(),
                name: "checkout".to_owned(),
                template: running.clone(),
                current: Some(Current {
                    number: 1,
                    created: day_ago,
                }),
                replica_set: Some(replica_set(running)),
                replicas: 2,
                rolled_out: true,
                rolling_update: true,
                progress_deadline: SignedDuration::from_secs(60),
                ..Workload::default()
            },
            behaviours: BTreeMap::new(),
            metrics: Metrics::Working,
            entries: Vec::new(),
            stored: Memory::default(),
            past: Vec::new(),
            recorded: None,
            passing_since: None,
            inspections: Vec::new(),
            diagnosed: Vec::new(),
            followed: None,
            rollout_started: day_ago,
            replica_sets: BTreeMap::from([(running.clone(), day_ago)]),
            number: 1,
            pods: Vec::new(),
            old: Vec::new(),
            old_revision: running.clone(),
            values: Vec::new(),
            firing: Vec::new(),
            codes: 0,
            written: Vec::new(),
        };
        world.replace_pods(day_ago);
        world
    }

    /// Returns what Astern would see.
    pub(crate) fn observed(&self) -> Observed {
        let mut observed = Observed {
            workload: self.workload.clone(),
            memory: self.stored.clone(),
            past: self.past.clone(),
            pods: Vec::new(),
            evidence: BTreeMap::new(),
            entries: self.entries.clone(),
            recorded: self.recorded,
            approvals_are_checked: true,
            fresh_code: format!("code{}", self.codes),
            passing_since: self.passing_since,
            inspections: self.inspections.clone(),
            diagnosed: self.diagnosed.clone(),
            followed: self.followed.clone(),
            ..Observed::default()
        };
        if observed.attention(&self.policy) > Attention::None && self.workload.current.is_some() {
            observed.pods = self.pods.iter().map(LivePod::seen).collect();
            let triggers = self.policy.triggers.iter();
            observed.evidence = triggers
                .filter_map(|trigger| {
                    let evidence = self.evidence(&trigger.kind)?;
                    Some((trigger.name.clone(), evidence))
                })
                .collect();
        }
        observed
    }

    fn evidence(&self, kind: &TriggerKind) -> Option<Evidence> {
        let samples: fn(&LivePod) -> &Vec<Sample> = match kind {
            TriggerKind::ErrorRate(_) => |pod| &pod.requests,
            TriggerKind::ProbeFailures(_) => |pod| &pod.probes,
            // What a query of the user asks for is not counted by pods.
            TriggerKind::PromQl(_) | TriggerKind::Alert(_) => |_| const { &Vec::new() },
            TriggerKind::Latency(_)
            | TriggerKind::Restarts(_)
            | TriggerKind::RolloutStalled
            | TriggerKind::Unavailable(_) => return None,
        };
        let cause = "cannot be reached".to_owned();
        let missing = match self.metrics {
            Metrics::Gone => Some(Unknown::NoAnswer { cause }),
            Metrics::Empty => Some(Unknown::NoData),
            Metrics::Partial => Some(Unknown::Incomplete),
            // Whether an alert fires is no number, so this says nothing at all.
            Metrics::NotNumbers if matches!(kind, TriggerKind::Alert(_)) => {
                Some(Unknown::NotANumber)
            }
            Metrics::Working | Metrics::NotNumbers => None,
        };
        if let Some(missing) = missing {
            return Some(Evidence::Missing(missing));
        }
        Some(match kind {
            TriggerKind::PromQl(_) => Evidence::Values(self.values()),
            TriggerKind::Alert(_) => Evidence::Firing(Firing {
                seen: self.firing.clone(),
                asked: Some(self.now),
                interval: Some(TICK),
            }),
            TriggerKind::ErrorRate(_)
            | TriggerKind::ProbeFailures(_)
            | TriggerKind::Latency(_)
            | TriggerKind::Restarts(_)
            | TriggerKind::RolloutStalled
            | TriggerKind::Unavailable(_) => Evidence::Counters(self.counted(samples)),
        })
    }

    fn counted(&self, samples: fn(&LivePod) -> &Vec<Sample>) -> decide::Counters {
        let counted = |pod: &LivePod| PodCounters {
            pod: pod.name.clone(),
            born: pod.born,
            samples: samples(pod)
                .iter()
                .map(|sample| self.as_answered(*sample))
                .collect(),
        };
        decide::Counters {
            new: self.pods.iter().map(counted).collect(),
            old: self.old.iter().map(counted).collect(),
            ..decide::Counters::default()
        }
    }

    fn values(&self) -> Vec<ValueAt> {
        let numbers = self.metrics == Metrics::Working;
        let answered = |value: &ValueAt| ValueAt {
            at: value.at,
            value: if numbers { value.value } else { f64::NAN },
        };
        self.values.iter().map(answered).collect()
    }

    fn as_answered(&self, sample: Sample) -> Sample {
        let even = sample.at.as_second() % 2 == 0;
        match self.metrics {
            Metrics::NotNumbers => Sample {
                failed: if even { f64::NAN } else { f64::INFINITY },
                ..sample
            },
            Metrics::Working | Metrics::Gone | Metrics::Empty | Metrics::Partial => sample,
        }
    }

    /// Lets one tick pass: traffic flows, pods are scraped, a rollout goes on.
    pub(crate) fn tick(&mut self) {
        self.now += TICK;
        let behaviour = self.behaviour();
        for pod in &mut self.pods {
            pod.live(&behaviour, self.now, self.metrics != Metrics::Gone);
        }
        if !self.workload.rolled_out {
            let before = self.behaviours.get(&self.old_revision).cloned();
            let before = before.unwrap_or_default();
            for pod in &mut self.old {
                pod.live(&before, self.now, self.metrics != Metrics::Gone);
            }
        }
        // Of pods that are gone too: a feed asks for all pods from the same moment on.
        let oldest = self.now - KEPT;
        for pod in self.pods.iter_mut().chain(&mut self.old) {
            pod.requests.retain(|sample| sample.at > oldest);
            pod.probes.retain(|sample| sample.at > oldest);
        }
        self.values.push(ValueAt {
            at: self.now,
            value: behaviour.value,
        });
        self.firing.extend(behaviour.alert.then_some(self.now));
        self.count_available(&behaviour);
        if self.workload.replicas == 0 {
            // Whatever is asked for later gets its whole time.
            self.rollout_started = self.now;
        }
        self.workload.progressed = Some(self.rollout_started);
        let since = self.now.duration_since(self.rollout_started);
        let rolling = !self.workload.rolled_out && !self.workload.paused;
        if rolling && self.workload.current.is_some() {
            let stuck = behaviour.stalls || self.workload.replicas == 0;
            self.workload.rolled_out = !stuck && since >= ROLLOUT;
            let late = since >= self.workload.progress_deadline;
            self.workload.progress_deadline_exceeded = behaviour.stalls && late;
        }
    }

    fn count_available(&mut self, behaviour: &Behaviour) {
        let replicas = f64::from(self.workload.replicas);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a few replicas"
        )]
        let available = (replicas * behaviour.available) as u32;
        let seen = self.workload.availability.last();
        if seen.is_none_or(|seen| seen.available != available) {
            self.workload.availability.push(Availability {
                at: self.now,
                available,
                replicas: self.workload.replicas,
            });
        }
    }

    fn behaviour(&self) -> Behaviour {
        let template = &self.workload.template;
        self.behaviours.get(template).cloned().unwrap_or_default()
    }

    /// A person or a robot deploys.
    pub(crate) fn deploy(&mut self, template: &Revision) {
        if self.workload.template == *template {
            return;
        }
        self.old_revision = self.workload.template.clone();
        self.workload.template = template.clone();
        if self.workload.paused {
            // The Deployment controller makes no ReplicaSet while paused.
            self.workload.current = None;
            self.workload.replica_set = None;
            self.workload.rolled_out = false;
            self.pods.clear();
        } else {
            self.roll_out();
        }
    }

    /// A person pauses or resumes. Astern's mark stays where it is: people do not know it.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.workload.paused = paused;
        if !paused && self.workload.current.is_none() {
            self.roll_out();
        }
        if !paused {
            self.rollout_started = self.now;
            self.workload.progressed = Some(self.now);
        }
    }

    fn roll_out(&mut self) {
        self.number += 1;
        let template = self.workload.template.clone();
        self.workload.replica_set = Some(replica_set(&template));
        let created = *self.replica_sets.entry(template).or_insert(self.now);
        self.workload.current = Some(Current {
            number: self.number,
            created,
        });
        self.workload.rolled_out = false;
        self.workload.progress_deadline_exceeded = false;
        self.rollout_started = self.now;
        self.replace_pods(self.now);
    }

    fn replace_pods(&mut self, born: Timestamp) {
        let short = self.workload.template.short().to_owned();
        self.old = std::mem::take(&mut self.pods);
        self.pods = (0..PODS)
            .map(|index| LivePod {
                name: format!("checkout-{short}-{index}"),
                born,
                counters: Counters::default(),
                requests: Vec::new(),
                probes: Vec::new(),
                restarts: vec![RestartCount { at: born, count: 0 }],
            })
            .collect();
    }

    /// A person answers the proposal that is open. Without one, or before its code is told, nobody
    /// can.
    pub(crate) fn answer(&mut self, kind: EntryKind, username: &str) -> bool {
        let Some(incident) = &self.stored.incident else {
            return false;
        };
        let Some(code) = &incident.code else {
            return false;
        };
        let value = format!("{}/{code}:{username}", incident.name(&self.workload));
        // One annotation of a kind: the next one overwrites it.
        self.entries.retain(|entry| entry.kind != kind);
        self.entries.push(Entry {
            kind,
            value,
            reason: None,
        });
        true
    }

    /// Forgets what the process remembers.
    pub(crate) fn restart(&mut self) {
        self.passing_since = None;
        self.inspections.clear();
        self.diagnosed.clear();
        self.followed = None;
    }

    /// The writes that a decision asks for, in the order in which they are made.
    pub(crate) fn writes(&self, decision: &Decision) -> Vec<Write> {
        let mut writes = Vec::new();
        for (revision, memory) in &decision.memory.revisions {
            if self.stored.revisions.get(revision) != Some(memory) {
                writes.push(Write::Revision(revision.clone(), memory.clone()));
            }
        }
        if let Some(incident) = &decision.memory.incident
            && self.stored.incident.as_ref() != Some(incident)
        {
            writes.push(Write::Incident(Box::new(incident.clone())));
        }
        let incident = decision.memory.incident.as_ref();
        for effect in &decision.effects {
            if !matches!(effect, Effect::Announce(_)) {
                let incident = incident.cloned().map(Box::new);
                writes.push(Write::Effect(effect.clone(), incident));
            }
        }
        writes
    }

    /// Does what the API server does with one write.
    pub(crate) fn apply(&mut self, write: &Write) {
        match write {
            Write::Revision(revision, memory) => {
                self.stored
                    .revisions
                    .insert(revision.clone(), memory.clone());
            }
            Write::Incident(incident) => self.store(incident),
            Write::Effect(effect, incident) => self.carry_out(effect, incident.as_deref()),
        }
    }

    fn store(&mut self, incident: &Incident) {
        if self.stored.incident.is_none() {
            self.recorded = Some(self.now);
        }
        if incident.code.is_some() {
            self.codes += 1;
        }
        if incident.state.is_open() {
            self.stored.incident = Some(incident.clone());
            return;
        }
        self.stored.incident = None;
        self.recorded = None;
        self.past.push(incident.attempt());
    }

    fn carry_out(&mut self, effect: &Effect, incident: Option<&Incident>) {
        match effect {
            Effect::RollBack { from, to, pause: _ } => {
                if self.workload.template != *from {
                    return;
                }
                self.written
                    .extend(incident.map(|incident| (incident.clone(), to.clone())));
                self.old_revision = from.clone();
                self.workload.template = to.clone();
                self.workload.rolled_back_by = incident.map(|i| i.name(&self.workload));
                self.workload.ownership_disturbed = true;
                if self.workload.paused_by.take().is_some() {
                    self.workload.paused = false;
                }
                self.roll_out();
            }
            Effect::RestoreOwnership { to } => {
                if self.workload.template == *to {
                    self.workload.ownership_disturbed = false;
                }
            }
            Effect::PauseRollout { from } => {
                if self.workload.template == *from && !self.workload.paused {
                    self.workload.paused = true;
                    self.workload.paused_by = incident.map(|i| i.name(&self.workload));
                }
            }
            Effect::ResumeRollout => {
                if self.workload.paused_by.take().is_some() && self.workload.paused {
                    self.pause(false);
                }
            }
            Effect::Unpin => self.workload.stale_pin = false,
            Effect::Forget { revision } => {
                self.stored.revisions.remove(revision);
            }
            Effect::Inspect { from, to } | Effect::Drill { from, to } => {
                self.inspections = vec![Inspection {
                    at: self.now,
                    from: from.clone(),
                    to: to.clone(),
                    ..Inspection::default()
                }];
            }
            Effect::Diagnose { revision, .. } => {
                self.diagnosed.retain(|known| known.revision != *revision);
                self.diagnosed.push(Diagnosed {
                    at: self.now,
                    revision: revision.clone(),
                    findings: Vec::new(),
                });
            }
            Effect::FollowTraffic { to, .. } => {
                self.followed = Some(Followed {
                    at: self.now,
                    to: to.clone(),
                    traffic: Traffic::default(),
                });
            }
            // Nobody deploys this workload but people.
            Effect::Announce(_)
            | Effect::Decline { .. }
            | Effect::KeepConfig { .. }
            | Effect::LookAtReconciler
            | Effect::LiftPause { .. } => {}
        }
    }

    /// Returns whether anything at all speaks against the current revision, for whoever can see it: an
    /// oracle that knows nothing of windows, thresholds and triggers.
    pub(crate) fn visibly_bad(&self) -> bool {
        let counters = || self.pods.iter().map(|pod| &pod.counters);
        let scraped = self.metrics == Metrics::Working
            && counters().any(|counted| counted.failed > 0.0 || counted.failed_probes > 0.0);
        let crashed = counters().any(|counted| counted.restarts >= 1.0);
        let told = self.metrics == Metrics::Working
            && (self.firing.last() == Some(&self.now)
                || self.values.last().is_some_and(|value| value.value > 0.0));
        scraped || crashed || told || self.workload.progress_deadline_exceeded
    }
}

/// One write to one object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    Revision(Revision, astern::decide::RevisionMemory),
    Incident(Box<Incident>),
    Effect(Effect, Option<Box<Incident>>),
}

impl LivePod {
    fn seen(&self) -> Pod {
        Pod {
            name: self.name.clone(),
            born: self.born,
            restarts: self.restarts.clone(),
            ..Pod::default()
        }
    }

    fn live(&mut self, behaviour: &Behaviour, now: Timestamp, scraped: bool) {
        let seconds = TICK.as_secs_f64();
        let counters = &mut self.counters;
        counters.requests += behaviour.requests * seconds;
        counters.failed += behaviour.requests * seconds * behaviour.errors;
        counters.probes += 1.0;
        counters.failed_probes += f64::from(u8::from(behaviour.failing_probes));
        counters.restarts += behaviour.crashes * seconds / 60.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a test runs for minutes, so the count stays small"
        )]
        let count = counters.restarts as u32;
        if self.restarts.last().is_none_or(|seen| seen.count != count) {
            self.restarts.push(RestartCount { at: now, count });
        }
        if scraped {
            push(&mut self.requests, now, counters.requests, counters.failed);
            push(
                &mut self.probes,
                now,
                counters.probes,
                counters.failed_probes,
            );
        }
    }
}

fn push(samples: &mut Vec<Sample>, at: Timestamp, total: f64, failed: f64) {
    samples.push(Sample { at, total, failed });
}
