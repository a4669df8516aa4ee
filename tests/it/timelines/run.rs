//! Runs one timeline.

use std::fmt::Write as _;

use astern::api::parse::{self, duration};
use astern::decide::{Decision, Effect, EntryKind, Incident, Reading, decide};
use jiff::SignedDuration;
use serde_json::json;

use super::file::{Expectation, Step, Timeline};
use crate::world::{TICK, World, Write, at, revision};

/// Looks that one change may cause before the world must be at rest.
const LOOKS: usize = 12;

/// Runs the timeline in `text`. The error says everything that went otherwise.
pub(super) fn run(text: &str) -> Result<(), String> {
    let timeline: Timeline = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut run = Run::new(&timeline)?;
    for step in &timeline.steps {
        run.reach(step)?;
    }
    if !run.did.is_empty() {
        let left = run.did.join(", ");
        run.wrong
            .push(format!("in the end: no step mentions {left}"));
    }
    if run.wrong.is_empty() {
        return Ok(());
    }
    let wrong = run.wrong.join("\n  ");
    Err(format!(
        "{}\n  {wrong}\n\nWhat happened:\n{}",
        timeline.story, run.log
    ))
}

struct Run {
    world: World,
    decision: Option<Decision>,
    incident: Option<Incident>,
    /// Writes to the Deployment that no step has mentioned yet.
    did: Vec<String>,
    /// One line per change, for people.
    log: String,
    last_line: String,
    wrong: Vec<String>,
}

impl Run {
    fn new(timeline: &Timeline) -> Result<Self, String> {
        let object = json!({"metadata": {"name": "checkout"}, "spec": timeline.policy});
        let parsed = parse::rollback_policy(&object).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            problems.join("\n")
        })?;
        let mut world = World::new(parsed.policy, &revision(&timeline.running));
        for (name, release) in &timeline.releases {
            world
                .behaviours
                .insert(revision(name), release.behaviour()?);
        }
        Ok(Self {
            world,
            decision: None,
            incident: None,
            did: Vec::new(),
            log: String::new(),
            last_line: String::new(),
            wrong: Vec::new(),
        })
    }

    /// Lets time pass until the step, lets it happen, and compares.
    fn reach(&mut self, step: &Step) -> Result<(), String> {
        let time =
            duration::parse(&step.at).map_err(|_| format!("at: {:?} is no time", step.at))?;
        let until = at(time.as_secs());
        if time.as_millis() % TICK.as_millis() != 0 || until < self.world.now {
            return Err(format!(
                "at: {:?} is no multiple of 5s that comes later",
                step.at
            ));
        }
        while self.world.now < until {
            self.world.tick();
            if self.world.now < until {
                self.settle()?;
            }
        }
        self.happen(step)?;
        self.settle()?;
        if let Some(expected) = &step.expect {
            self.compare(&step.at, expected);
        }
        Ok(())
    }

    fn happen(&mut self, step: &Step) -> Result<(), String> {
        if step.restart {
            self.world.restart();
        }
        if let Some(metrics) = step.metrics {
            self.world.metrics = metrics.into();
        }
        for (name, release) in &step.releases {
            self.world
                .behaviours
                .insert(revision(name), release.behaviour()?);
        }
        if let Some(release) = &step.deploy {
            self.world.deploy(&revision(release));
        }
        if let Some(paused) = step.paused {
            self.world.pause(paused);
        }
        if let Some(replicas) = step.replicas {
            self.world.workload.replicas = replicas;
        }
        let answers = [
            (EntryKind::Approve, &step.approve),
            (EntryKind::Reject, &step.reject),
        ];
        for (kind, username) in answers {
            if let Some(username) = username
                && !self.world.answer(kind, username)
            {
                return Err(format!(
                    "at {}: nothing is proposed that {username} could answer\n{}",
                    step.at, self.log
                ));
            }
        }
        Ok(())
    }

    /// Decides and carries out until nothing changes any more, as watches would make it.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..LOOKS {
            let decision = decide(&self.world.observed(), &self.world.policy, self.world.now);
            let writes = self.world.writes(&decision);
            for write in &writes {
                self.world.apply(write);
                if let Write::Effect(effect, _) = write
                    && !effect.is_look()
                {
                    self.did.push(spelled(effect));
                }
            }
            self.world.passing_since = decision.passing_since;
            self.incident = decision.memory.incident.clone().or(self.incident.take());
            self.note(&decision, &writes);
            self.decision = Some(decision);
            if writes.is_empty() {
                return Ok(());
            }
        }
        let moment = self.moment();
        Err(format!(
            "at {moment}: {LOOKS} looks did not come to rest\n{}",
            self.log
        ))
    }

    /// Adds a line to the log, unless it says the same as the one before.
    fn note(&mut self, decision: &Decision, writes: &[Write]) {
        let mut line = format!(
            "{}  {}",
            self.world.workload.template.0,
            decision.reason.name()
        );
        for reading in &decision.readings {
            let _ = write!(line, "  {}={}", reading.trigger, said(&reading.reading));
        }
        for write in writes {
            if let Write::Effect(effect, _) = write {
                let _ = write!(line, "  -> {}", spelled(effect));
            }
        }
        if line != self.last_line {
            let _ = writeln!(self.log, "{:>7}  {line}", self.moment());
            self.last_line = line;
        }
    }

    fn moment(&self) -> String {
        let time: SignedDuration = self.world.now.duration_since(at(0));
        duration::format(time)
    }

    fn compare(&mut self, moment: &str, expected: &Expectation) {
        let Some(decision) = self.decision.clone() else {
            return;
        };
        let mut differs = Differs {
            moment,
            wrong: &mut self.wrong,
        };
        differs.check("reason", decision.reason.name(), expected.reason.as_deref());
        let running = self.world.workload.template.0.as_str();
        differs.check("running", running, expected.running.as_deref());
        let state = self.incident.as_ref().map_or("none", |i| i.state.name());
        differs.check("incident", state, expected.incident.as_deref());
        if let Some(part) = &expected.outcome {
            let outcome = self.incident.as_ref().map_or("", |i| i.outcome.as_str());
            if !outcome.contains(part) {
                differs.check("outcome", &format!("{outcome:?}"), Some(part));
            }
        }
        if let Some(paused) = expected.paused {
            let found = self.world.workload.paused.to_string();
            differs.check("paused", &found, Some(&paused.to_string()));
        }
        for (trigger, reading) in &expected.readings {
            let mut readings = decision.readings.iter();
            let found = readings.find(|found| found.trigger == *trigger);
            let found = found.map_or("missing", |found| said(&found.reading));
            differs.check(&format!("reading of {trigger}"), found, Some(reading));
        }
        for (name, verdict) in &expected.verdicts {
            let found = self.world.stored.revisions.get(&revision(name));
            let found = found.map_or("unknown".to_owned(), |known| format!("{:?}", known.verdict));
            differs.check(&format!("verdict of {name}"), &found, Some(verdict));
        }
        if let Some(did) = &expected.did {
            let found = format!("[{}]", self.did.join(", "));
            let wanted = format!("[{}]", did.join(", "));
            if found != wanted {
                differs
                    .wrong
                    .push(format!("at {moment}: did {found}, expected {wanted}"));
            }
            self.did.clear();
        }
    }
}

struct Differs<'a> {
    moment: &'a str,
    wrong: &'a mut Vec<String>,
}

impl Differs<'_> {
    fn check(&mut self, what: &str, found: &str, expected: Option<&str>) {
        let moment = self.moment;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.wrong.push(format!(
                "at {moment}: {what} is {found}, expected {expected}"
            ));
        }
    }
}

fn said(reading: &Reading) -> &'static str {
    match reading {
        Reading::Passing(_) => "Passing",
        Reading::Breached(_) => "Breached",
        Reading::Unknown(unknown) => unknown.name(),
    }
}

fn spelled(effect: &Effect) -> String {
    match effect {
        Effect::RollBack { from, to, .. } => format!("RollBack {} to {}", from.0, to.0),
        Effect::RestoreOwnership { to } => format!("RestoreOwnership {}", to.0),
        Effect::PauseRollout { from } => format!("PauseRollout {}", from.0),
        Effect::ResumeRollout => "ResumeRollout".to_owned(),
        Effect::Unpin => "Unpin".to_owned(),
        Effect::Forget { revision } => format!("Forget {}", revision.0),
        Effect::Diagnose { revision, .. } => format!("Diagnose {}", revision.0),
        Effect::FollowTraffic { to, .. } => format!("FollowTraffic {}", to.0),
        Effect::Inspect { to, .. } => format!("Inspect {}", to.0),
        Effect::Drill { to, .. } => format!("Drill {}", to.0),
        Effect::KeepConfig { revision } => format!("KeepConfig {}", revision.0),
        Effect::LookAtReconciler => "LookAtReconciler".to_owned(),
        Effect::LiftPause { rollback, .. } => format!("LiftPause {rollback}"),
        Effect::Decline { request, .. } => format!("Decline {request}"),
        Effect::Announce(announcement) => format!("Announce {announcement:?}"),
    }
}
