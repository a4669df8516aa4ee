//! Lets things happen, and judges every decision by what it knows about the world.

use std::collections::{BTreeMap, BTreeSet};

use astern::decide::{
    Decision, Effect, Entry, EntryKind, Incident, Mode, OnTimeout, Policy, Proof, Revision, State,
    TriggerKind, Verdict, decide,
};
use jiff::Timestamp;

use super::history::{Happening, Robot};
use crate::world::{Metrics, World, Write, revision};

/// Looks that one change may cause before the world must be at rest.
const LOOKS: usize = 12;

/// The world, and what nobody can argue with.
pub(super) struct Oracle {
    world: World,
    robot: Option<Robot>,
    /// Revisions that something ever spoke against.
    seen_bad: BTreeSet<Revision>,
    /// Revisions that ran while the metric source worked.
    measured: BTreeSet<Revision>,
    /// Who said yes to which rollback, quoting its code.
    consent: BTreeSet<(String, String)>,
    /// Template writes that nobody was asked for, per bad revision.
    unasked: BTreeMap<Revision, usize>,
    /// The policy has allowed more than observing at some time.
    may_write: bool,
    /// What happened, for people.
    trace: Vec<String>,
}

impl Oracle {
    /// A world in which v1 has been running for a day.
    pub(super) fn new(policy: Policy, robot: Option<Robot>) -> Self {
        let may_write = policy.mode > Mode::Observe;
        let world = World::new(policy, &revision("v1"));
        Self {
            world,
            robot,
            seen_bad: BTreeSet::new(),
            measured: BTreeSet::new(),
            consent: BTreeSet::new(),
            unasked: BTreeMap::new(),
            may_write,
            trace: Vec::new(),
        }
    }

    /// Lets `happening` happen, and Astern look.
    pub(super) fn after(&mut self, happening: &Happening) -> Result<(), String> {
        self.trace.push(format!("{happening:?}"));
        match happening {
            Happening::Wait(ticks) => {
                for _ in 0..*ticks {
                    self.tick()?;
                }
            }
            Happening::Deploy(which) => self.world.deploy(which),
            Happening::Behave(which, how) => {
                self.world.behaviours.insert(which.clone(), how.clone());
            }
            Happening::Release(which, how) => {
                self.world.behaviours.insert(which.clone(), how.clone());
                self.world.deploy(which);
            }
            Happening::Again => {
                if let Some((incident, _)) = self.world.written.last().cloned() {
                    self.world.deploy(&incident.from);
                }
            }
            Happening::Pause => self.world.pause(true),
            Happening::Resume => self.world.pause(false),
            Happening::Scale(replicas) => self.world.workload.replicas = *replicas,
            Happening::Metrics(metrics) => self.world.metrics = *metrics,
            Happening::Answer(kind, who) => self.answer(*kind, who),
            Happening::Forge(who) => self.forge(who),
            Happening::Restart => self.world.restart(),
            Happening::Mode(mode) => {
                self.world.policy.mode = *mode;
                self.may_write |= *mode > Mode::Observe;
            }
        }
        self.look()
    }

    fn answer(&mut self, kind: EntryKind, who: &str) {
        let open = self.world.stored.incident.clone();
        if !self.world.answer(kind, who) {
            return;
        }
        let person = !who.starts_with("system:");
        if let Some(incident) = open.filter(|_| person && kind == EntryKind::Approve) {
            let name = incident.name(&self.world.workload);
            self.consent.insert((name, who.to_owned()));
        }
    }

    fn forge(&mut self, who: &str) {
        if let Some(incident) = &self.world.stored.incident {
            let name = incident.name(&self.world.workload);
            self.world.entries.push(Entry {
                kind: EntryKind::Approve,
                value: format!("{name}/guess:{who}"),
                reason: None,
            });
        }
    }

    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.world.tick();
        self.look()
    }

    /// Decides and carries out until nothing changes any more.
    fn look(&mut self) -> Result<(), String> {
        if self.world.visibly_bad() {
            self.seen_bad.insert(self.world.workload.template.clone());
        }
        if self.world.metrics == Metrics::Working {
            self.measured.insert(self.world.workload.template.clone());
        }
        for _ in 0..LOOKS {
            let decision = self.decide();
            self.judge(&decision)?;
            let writes = self.world.writes(&decision);
            if writes.is_empty() {
                self.world.passing_since = decision.passing_since;
                return self.judge_rest(&decision);
            }
            self.judge_interruptions(&decision, &writes)?;
            for write in &writes {
                self.carry_out(write)?;
            }
            self.world.passing_since = decision.passing_since;
        }
        Err(self.broken("a world in which nothing happens comes to rest"))
    }

    fn decide(&self) -> Decision {
        decide(&self.world.observed(), &self.world.policy, self.world.now)
    }

    fn carry_out(&mut self, write: &Write) -> Result<(), String> {
        self.trace.push(format!("    {} {write:?}", self.world.now));
        let before = self.world.written.len();
        if let Write::Effect(Effect::RollBack { from, .. }, _) = write {
            let known = self.world.stored.revisions.get(from);
            let bad = known.is_some_and(|known| known.verdict == Verdict::Bad);
            self.hold(bad, "the revision is marked before the write")?;
        }
        self.world.apply(write);
        let Some((incident, _)) = self.world.written.get(before).cloned() else {
            return Ok(());
        };
        if !self.agreed(&incident) {
            let count = self.unasked.entry(incident.from.clone()).or_default();
            *count += 1;
            if *count > 1 {
                return Err(self.broken("a revision is rolled back unasked at most once"));
            }
        }
        match self.robot {
            Some(Robot::PutsBack) => self.world.deploy(&incident.from),
            Some(Robot::DeploysAnother) => self.world.deploy(&revision("v9")),
            None => {}
        }
        Ok(())
    }

    fn agreed(&self, incident: &Incident) -> bool {
        let name = incident.name(&self.world.workload);
        let people = self
            .consent
            .iter()
            .filter(|(rollback, _)| *rollback == name);
        people.count() >= incident.approval.required as usize
    }

    /// What must hold of every single decision.
    fn judge(&self, decision: &Decision) -> Result<(), String> {
        for effect in &decision.effects {
            match effect {
                Effect::RollBack { from, to, pause: _ } => self.judge_rollback(from, to)?,
                Effect::PauseRollout { from } => self.judge_pause(from)?,
                Effect::RestoreOwnership { to } => {
                    self.hold(
                        *to == self.world.workload.template,
                        "ownership is restored to what runs",
                    )?;
                }
                Effect::ResumeRollout => {
                    let ours = self.world.workload.paused_by.is_some();
                    self.hold(ours, "only a pause of Astern's is lifted")?;
                }
                Effect::Forget { revision } => {
                    self.hold(
                        *revision != self.world.workload.template,
                        "what runs is not forgotten",
                    )?;
                }
                Effect::LookAtReconciler | Effect::LiftPause { .. } => {
                    return Err(self.broken("nobody is kept away, so there is nobody to look at"));
                }
                Effect::Unpin => {
                    return Err(self.broken("no config is pinned, so no mark of it is lifted"));
                }
                Effect::Announce(_)
                | Effect::Inspect { .. }
                | Effect::Drill { .. }
                | Effect::KeepConfig { .. }
                | Effect::Diagnose { .. }
                | Effect::FollowTraffic { .. }
                | Effect::Decline { .. } => {}
            }
        }
        self.judge_proof(decision)?;
        self.judge_incident(decision.memory.incident.as_ref())?;
        let open = decision
            .memory
            .incident
            .as_ref()
            .is_some_and(|i| i.state.is_open());
        self.hold(
            !open || decision.look_again.is_some(),
            "an open incident is looked at again",
        )
    }

    fn judge_rollback(&self, from: &Revision, to: &Revision) -> Result<(), String> {
        let workload = &self.world.workload;
        self.hold(self.may_write, "observing writes nothing")?;
        self.hold(
            *from == workload.template && from != to,
            "what runs is replaced by another revision",
        )?;
        self.hold(
            self.seen_bad.contains(from),
            "a revision that nothing speaks against stays",
        )?;
        let known = self.world.stored.revisions.get(to);
        let good = known.is_some_and(|known| known.verdict == Verdict::Good);
        self.hold(good, "the target is known to have worked")?;
        let by_person = workload.paused && workload.paused_by.is_none();
        self.hold(!by_person, "a person's pause is respected")?;
        let present = workload.replicas > 0 && !workload.deleting;
        self.hold(present, "a Deployment without replicas is left alone")?;
        let recorded = self.world.stored.incident.as_ref().is_some_and(|incident| {
            incident.state == State::RollingBack && incident.from == *from && incident.to == *to
        });
        self.hold(recorded, "the record comes before the write")
    }

    fn judge_pause(&self, from: &Revision) -> Result<(), String> {
        let asked = self.world.stored.incident.as_ref().is_some_and(|incident| {
            incident.state == State::AwaitingApproval
                && incident.pause_rollout
                && incident.from == *from
        });
        self.hold(asked, "a rollout is paused only while people are asked")?;
        self.hold(
            !self.world.workload.rolled_out,
            "nothing is paused that is not rolling out",
        )
    }

    /// A revision is fully proven only by metrics that somebody could see.
    fn judge_proof(&self, decision: &Decision) -> Result<(), String> {
        let policy = &self.world.policy;
        let measures = policy.triggers.iter().any(|trigger| {
            let metric = matches!(
                trigger.kind,
                TriggerKind::ErrorRate(_)
                    | TriggerKind::ProbeFailures(_)
                    | TriggerKind::PromQl(_)
                    | TriggerKind::Alert(_)
            );
            metric && trigger.mode != Some(Mode::Disabled)
        });
        for (revision, memory) in &decision.memory.revisions {
            let full = memory.proof == Some(Proof::Full);
            let seen = self.measured.contains(revision) || !measures;
            self.hold(!full || seen, "what was never measured is not fully proven")?;
        }
        Ok(())
    }

    fn judge_incident(&self, after: Option<&Incident>) -> Result<(), String> {
        let Some(after) = after else {
            return Ok(());
        };
        let policy = &self.world.policy;
        let automatic = policy.mode == Mode::Automatic
            && policy
                .triggers
                .iter()
                .any(|trigger| trigger.mode.is_none_or(|mode| mode == Mode::Automatic));
        let Some(before) = &self.world.stored.incident else {
            let by_person = after.state == State::Recovered && after.restored_by.is_some();
            self.hold(
                by_person || self.seen_bad.contains(&after.from),
                "an incident has a cause",
            )?;
            self.hold(
                policy.mode != Mode::Disabled,
                "a disabled policy opens nothing",
            )?;
            let acts = after.state == State::RollingBack;
            self.hold(!acts || automatic, "only Automatic acts by itself")?;
            return self.hold(
                after.state != State::Verifying,
                "nothing is verified before it is done",
            );
        };
        if before.state == State::AwaitingApproval && after.state == State::RollingBack {
            let in_time = self.world.now < end(before.timings.proposed, before.approval.timeout);
            let silence = before.approval.on_timeout == OnTimeout::RollBack && !in_time;
            let fine = self.agreed(before) || silence || automatic;
            self.hold(fine, "nobody's rollback is carried out without consent")?;
        }
        let terms = (&before.approval, &before.rollback) == (&after.approval, &after.rollback);
        self.hold(terms, "the terms of an incident do not change")
    }

    /// What must hold when nothing is left to do for now.
    fn judge_rest(&self, decision: &Decision) -> Result<(), String> {
        let now = self.world.now;
        if let Some(incident) = &self.world.stored.incident {
            let timings = &incident.timings;
            let decided = timings.decided.unwrap_or(timings.proposed);
            let ends = match incident.state {
                State::AwaitingApproval if incident.approval.on_timeout == OnTimeout::Escalate => {
                    Timestamp::MAX
                }
                State::AwaitingApproval => end(timings.proposed, incident.approval.timeout),
                State::RollingBack | State::Verifying => end(decided, incident.rollback.deadline),
                State::Observed
                | State::Recovered
                | State::NotRecovered
                | State::Rejected
                | State::Released
                | State::Superseded
                | State::Failed => Timestamp::MIN,
            };
            self.hold(now < ends, "every open state ends by its deadline")?;
        } else {
            let marked = self.world.workload.paused_by.is_some();
            self.hold(!marked, "a pause of Astern's does not outlive the incident")?;
        }
        // What must be asked for again would be asked for for ever here.
        let again = decision
            .effects
            .iter()
            .any(|effect| !matches!(effect, Effect::Announce(_)));
        self.hold(!again, "an effect that was observed is not asked for again")
    }

    /// Any write may be lost, and the operator may stop after any of them.
    fn judge_interruptions(&self, decision: &Decision, writes: &[Write]) -> Result<(), String> {
        if self.robot.is_some() {
            return Ok(());
        }
        let complete = self.resting(decision.passing_since, writes)?;
        for done in 0..writes.len() {
            let stopped = self.resting(self.world.passing_since, &writes[..done])?;
            let lost = &writes[done];
            if !same_place(&complete, &stopped) {
                let rule = format!("an operator that stops before {lost:?} goes on from there");
                return Err(self.broken(&rule));
            }
            // Only an effect can fail alone: a record that cannot be written stops everything behind it.
            if matches!(lost, Write::Effect(..)) {
                let others: Vec<Write> = writes
                    .iter()
                    .filter(|write| *write != lost)
                    .cloned()
                    .collect();
                let without = self.resting(decision.passing_since, &others)?;
                let rule = format!("{lost:?} is asked for until it is observed");
                self.hold(same_place(&complete, &without), &rule)?;
            }
        }
        Ok(())
    }

    /// Carries out `writes`, then decides until nothing changes. The clock stands still.
    fn resting(&self, passing_since: Option<Timestamp>, writes: &[Write]) -> Result<World, String> {
        let mut world = self.world.clone();
        for write in writes {
            world.apply(write);
        }
        world.passing_since = passing_since;
        for _ in 0..LOOKS {
            let decision = decide(&world.observed(), &world.policy, world.now);
            let writes = world.writes(&decision);
            for write in &writes {
                world.apply(write);
            }
            world.passing_since = decision.passing_since;
            if writes.is_empty() {
                return Ok(world);
            }
        }
        Err(self.broken("a world in which nothing happens comes to rest after an interruption"))
    }

    /// When nothing happens any more, nothing is written any more.
    pub(super) fn rests(&mut self) -> Result<(), String> {
        let waits = self.world.stored.incident.as_ref().is_none_or(|incident| {
            incident.approval.on_timeout == OnTimeout::Escalate
                && incident.state == State::AwaitingApproval
        });
        self.hold(waits, "every incident ends, but those that wait for people")?;
        let before = self.trace.len();
        for _ in 0..20 {
            self.tick()?;
        }
        self.hold(
            self.trace.len() == before,
            "a quiet world is not written to",
        )
    }

    pub(super) fn has_rolled_back(&self) -> Result<(), String> {
        let running = &self.world.workload.template;
        self.hold(*running == revision("v1"), "a bad release is rolled back")?;
        self.hold(self.world.written.len() == 1, "with one write")?;
        self.hold(
            !self.world.workload.ownership_disturbed,
            "and leaves no residue",
        )
    }

    fn hold(&self, fact: bool, rule: &str) -> Result<(), String> {
        if fact { Ok(()) } else { Err(self.broken(rule)) }
    }

    fn broken(&self, rule: &str) -> String {
        let trace = self.trace.join("\n  ");
        format!(
            "broken: {rule}\nat {}\n  {trace}\n{:#?}",
            self.world.now, self.world.workload
        )
    }
}

fn end(from: Timestamp, after: jiff::SignedDuration) -> Timestamp {
    from.saturating_add(after).unwrap_or(Timestamp::MAX)
}

/// Everything that is on objects; what the process remembers may differ.
fn same_place(one: &World, other: &World) -> bool {
    one.stored == other.stored
        && one.past == other.past
        && one.workload == other.workload
        && one.written == other.written
}
