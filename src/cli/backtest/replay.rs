//! Runs the operator's own [`decide`] over the past, one release after another.
//!
//! Nothing is judged here. What a decision remembers is carried over as the operator's objects would
//! carry it. What would have followed a rollback cannot be known, so a release is not looked at any
//! further once it would have been rolled back; the next one finds the world as it really was.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::history::{Dated, Release};
use super::judged::Judged;
use super::recording::{Moment, Recording};
use super::span::{Span, later};
use crate::decide::{
    Attempt, Attention, Availability, Current, Decision, Effect, Incident, Inspection, Memory,
    Observed, Pod, Policy, Reading, State, Verdict, Workload, decide, health,
};
use crate::observe::evidence::join::Join;
use crate::observe::prometheus::buffer::Owner;
use crate::observe::prometheus::presets::Identity;
use crate::observe::prometheus::services::Paths;

/// Decisions at one moment until nothing changes any more. The operator's own come to rest after three.
const SETTLE: usize = 8;

/// Between two looks while a revision is judged: half a scrape, like the operator's own ticks.
const LOOK_MIN: SignedDuration = SignedDuration::from_secs(1);
const LOOK_MAX: SignedDuration = SignedDuration::from_secs(15);

/// A rollout whose pods nobody counted is taken for complete after this long.
const ROLLOUT_UNSEEN: SignedDuration = SignedDuration::from_mins(10);

/// The Deployment, as far as it is taken not to have changed.
#[derive(Clone, Debug)]
pub struct Subject {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Of its pods.
    pub labels: BTreeMap<String, String>,
    /// What leads to its pods, or why nobody knows.
    pub paths: Result<Arc<Paths>, String>,
    pub progress_deadline: SignedDuration,
    pub rolling_update: bool,
    /// How many pods may be missing during a rollout, of how many; Kubernetes' own quarter if unknown.
    pub kept_available: Option<(u32, u32)>,
}

impl Subject {
    /// Returns what joins metrics with it, of no pods, for a release that began at `release`.
    #[must_use]
    pub fn join(&self, release: Timestamp) -> Join<'_> {
        Join {
            namespace: &self.namespace,
            workload: &self.name,
            labels: &self.labels,
            paths: self.paths.as_deref().map_err(String::as_str),
            new: &[],
            old: &[],
            unwatched: None,
            release,
        }
    }

    /// Returns what a shape counts in front of its pods.
    #[must_use]
    pub fn in_front(&self, identity: Identity) -> Vec<Owner> {
        if identity.tells_revisions_apart() {
            return Vec::new();
        }
        self.join(Timestamp::MIN).owners(identity)
    }

    fn kept_available(&self, replicas: u32) -> u32 {
        if !self.rolling_update {
            return 0;
        }
        match self.kept_available {
            Some((kept, of)) => replicas.saturating_sub(of.saturating_sub(kept)),
            None => replicas - replicas / 4,
        }
    }
}

/// An operator in the past.
pub struct Replay<'a> {
    subject: &'a Subject,
    policy: &'a Policy,
    memory: Memory,
    past: Vec<Attempt>,
    passing_since: Option<Timestamp>,
    /// What the API server would have told then is not known, so nothing speaks against going back.
    inspections: Vec<Inspection>,
    /// Counts releases: numbers of Kubernetes are not known for all, and only their order matters.
    number: i64,
}

impl<'a> Replay<'a> {
    /// Returns an operator that sees the Deployment for the first time.
    #[must_use]
    pub fn new(subject: &'a Subject, policy: &'a Policy) -> Self {
        Self {
            subject,
            policy,
            memory: Memory::default(),
            past: Vec::new(),
            passing_since: None,
            inspections: Vec::new(),
            number: 0,
        }
    }

    /// A release becomes current. A rollback that would have happened before it is taken for done.
    pub fn begin(&mut self) {
        self.number += 1;
        if let Some(incident) = self.memory.incident.take_if(|one| is_acted_on(one)) {
            self.past.push(Attempt {
                state: State::Recovered,
                ..incident.attempt()
            });
        }
    }

    /// Returns whether the release would have been rolled back.
    #[must_use]
    pub fn has_acted(&self) -> bool {
        self.memory.incident.as_ref().is_some_and(is_acted_on)
    }

    /// Returns how closely the operator would look at `release` now.
    #[must_use]
    pub fn attention(&self, release: &Release) -> Attention {
        let observed = Observed {
            workload: Workload {
                template: release.revision.clone(),
                ..Workload::default()
            },
            memory: self.memory.clone(),
            ..Observed::default()
        };
        observed.attention(self.policy)
    }

    /// Looks at `release` through `span`, until it would have been rolled back or nothing is left to
    /// look at. `slow` is the time between two looks after its probation; `None` looks no further.
    pub fn run(
        &mut self,
        (release, recording): (&Release, &Recording),
        span: Span,
        slow: Option<SignedDuration>,
        judged: &mut Judged,
    ) {
        let close = (recording.interval / 2).clamp(LOOK_MIN, LOOK_MAX);
        let mut now = span.from;
        while now < span.until && !self.has_acted() {
            self.look(release, recording, now, judged);
            now = match (self.attention(release), slow) {
                (Attention::Close, _) => later(now, close),
                (Attention::Seldom, Some(slow)) => later(now, slow),
                (Attention::Seldom | Attention::None, _) => return,
            };
        }
    }

    /// Takes note of a release that was known good already: it gets no probation, and nobody is told
    /// again.
    pub fn note_known(&self, release: &Release, judged: &mut Judged) {
        let known = self.memory.revisions.get(&release.revision);
        if let Some(known) = known.filter(|known| known.verdict == Verdict::Good) {
            judged.good.get_or_insert((release.from, known.proof));
        }
    }

    /// Looks once more where silence decides: the answer is due, whatever the evidence says then.
    pub fn at_timeout(
        &mut self,
        (release, recording): (&Release, &Recording),
        end: Timestamp,
        judged: &mut Judged,
    ) {
        let waiting = self.memory.incident.as_ref();
        let waiting = waiting.filter(|incident| incident.state == State::AwaitingApproval);
        let due = waiting.map(|one| later(one.timings.proposed, one.approval.timeout));
        if let Some(due) = due.filter(|due| *due < end) {
            self.look(release, recording, due, judged);
        }
    }

    /// Returns what `trigger` says of the release as it really went on.
    #[must_use]
    pub fn reading(
        &self,
        (release, recording): (&Release, &Recording),
        trigger: &str,
        now: Timestamp,
    ) -> Option<Reading> {
        let observed = self.observed(release, recording, now);
        let readings = health::readings(&observed, self.policy, now);
        let own = readings.into_iter().find(|one| one.trigger == trigger);
        own.map(|one| one.reading)
    }

    fn look(
        &mut self,
        release: &Release,
        recording: &Recording,
        now: Timestamp,
        judged: &mut Judged,
    ) {
        judged.looks += 1;
        for turn in 0..SETTLE {
            let observed = self.observed(release, recording, now);
            let decision = decide(&observed, self.policy, now);
            if turn == 0 {
                judged.listen(&decision.readings);
            }
            let state = |replay: &Self| {
                let inspections = replay.inspections.clone();
                (replay.memory.clone(), replay.past.len(), inspections)
            };
            let before = state(self);
            self.carry_over(release, decision, now, judged);
            let settled = before == state(self);
            if settled || self.has_acted() {
                return;
            }
        }
    }

    /// Remembers what the objects in the cluster would.
    fn carry_over(
        &mut self,
        release: &Release,
        decision: Decision,
        now: Timestamp,
        judged: &mut Judged,
    ) {
        let state = |memory: &Memory| memory.incident.as_ref().map(|one| one.state);
        let before = state(&self.memory);
        for effect in &decision.effects {
            judged.hear(effect, now, &decision);
            if let Effect::Inspect { from, to } = effect {
                self.inspections = vec![Inspection {
                    at: now,
                    from: from.clone(),
                    to: to.clone(),
                    ..Inspection::default()
                }];
            }
        }
        self.memory = decision.memory;
        self.passing_since = decision.passing_since;
        let Some(incident) = self.memory.incident.clone() else {
            return;
        };
        if before != Some(incident.state) && incident.from == release.revision {
            judged.follow(&incident, now);
        }
        if !incident.state.is_open() {
            self.memory.incident = None;
            self.passing_since = None;
            self.past.push(incident.attempt());
        }
    }

    fn observed(&self, release: &Release, recording: &Recording, now: Timestamp) -> Observed {
        let recorded = self.memory.incident.as_ref();
        let mut observed = Observed {
            workload: self.workload(release, recording, now),
            memory: self.memory.clone(),
            past: self.past.clone(),
            pods: pods(release, recording, now),
            evidence: BTreeMap::new(),
            entries: Vec::new(),
            recorded: recorded.map(|incident| incident.timings.proposed),
            approvals_are_checked: true,
            fresh_code: "backtest".to_owned(),
            passing_since: self.passing_since,
            inspections: self.inspections.clone(),
            ..Observed::default()
        };
        let moment = Moment {
            subject: self.subject,
            release,
            observed: &observed,
            attention: observed.attention(self.policy),
            now,
        };
        observed.evidence = recording.evidence(&self.policy.triggers, moment);
        observed
    }

    fn workload(&self, release: &Release, recording: &Recording, now: Timestamp) -> Workload {
        let kube = &recording.kube;
        let own = recording.scraped(now);
        let own = own.keys().filter(|pod| release.owns(pod)).count();
        let scraped = u32::try_from(own).unwrap_or(u32::MAX);
        // Nobody counts pods that are not there, and one that cannot start is no reason to hold back.
        let replicas = kube.replicas(now).unwrap_or(scraped.max(1));
        let availability = if kube.is_empty() {
            vec![Availability {
                at: now,
                available: scraped,
                replicas,
            }]
        } else {
            kube.availability(now)
        };
        let available = availability.last().map_or(0, |seen| seen.available);
        let all_there = kube.is_empty() || available >= replicas;
        Workload {
            uid: self.subject.uid.clone(),
            name: self.subject.name.clone(),
            template: release.revision.clone(),
            current: Some(Current {
                number: self.number,
                created: created(release),
            }),
            replicas,
            availability,
            rolled_out: all_there && rolled_out(release, recording, now),
            rolling_update: self.subject.rolling_update,
            kept_available: self.subject.kept_available(replicas),
            paused: kube.paused(now),
            progress_deadline_exceeded: kube.deadline_exceeded(now),
            progress_deadline: self.subject.progress_deadline,
            progressed: kube.progressed(now).or(Some(release.from)),
            ..Workload::default()
        }
    }
}

fn is_acted_on(incident: &Incident) -> bool {
    incident.state == State::RollingBack
}

/// What ran before the range ran long before it.
fn created(release: &Release) -> Timestamp {
    match (release.created, release.dated) {
        (Some(created), _) => created,
        (None, Dated::Beginning) => Timestamp::UNIX_EPOCH,
        (None, Dated::Created | Dated::Recorded | Dated::Pods | Dated::Progressed) => release.from,
    }
}

fn rolled_out(release: &Release, recording: &Recording, now: Timestamp) -> bool {
    if release.rolled_out.is_some_and(|time| time <= now) {
        return true;
    }
    recording
        .only(release, now)
        .unwrap_or_else(|| later(release.from, ROLLOUT_UNSEEN) <= now)
}

fn pods(release: &Release, recording: &Recording, now: Timestamp) -> Vec<Pod> {
    if !recording.kube.is_empty() {
        return recording.kube.pods(now, |pod| release.owns(pod));
    }
    let scraped = recording.scraped(now).into_iter();
    scraped
        .filter(|(pod, _)| release.owns(pod))
        .map(|(pod, born)| Pod {
            name: pod.to_owned(),
            born,
            started: true,
            ..Pod::default()
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests;
