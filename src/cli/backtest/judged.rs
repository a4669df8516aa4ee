//! What came out of the replay of one release.
//!
//! Only what decisions say is kept here, in their own words.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::decide::model::Announcement;
use crate::decide::{
    Decision, Effect, Hold, Incident, Proof, Reading, Revision, State, TriggerReading, Verdict,
};

/// Something that people would have been told, or that would have been done.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub at: Timestamp,
    pub what: What,
    pub trigger: String,
    /// The decision's own words.
    pub evidence: String,
    pub to: Option<Revision>,
    /// Why the mode was lower than the policy's.
    pub caps: Vec<String>,
}

/// What that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    RolledBack,
    Asked,
    /// Recorded what it would have done.
    Observed,
    /// Nobody answered, and the policy lets the revision go on.
    LetGo,
    /// Something was wrong, and this kept it from acting.
    Held(Hold),
}

/// What a trigger said, over all looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub passing: usize,
    pub breached: usize,
    /// By the name of the cause: how often, and its last words.
    pub unknown: BTreeMap<&'static str, (usize, String)>,
}

/// What came out for one release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    pub looks: usize,
    pub steps: Vec<Step>,
    pub good: Option<(Timestamp, Option<Proof>)>,
    pub said: BTreeMap<String, Said>,
}

impl Judged {
    pub(super) fn listen(&mut self, readings: &[TriggerReading]) {
        for one in readings {
            let said = self.said.entry(one.trigger.clone()).or_default();
            match &one.reading {
                Reading::Passing(_) => said.passing += 1,
                Reading::Breached(_) => said.breached += 1,
                Reading::Unknown(unknown) => {
                    let count = said.unknown.entry(unknown.name()).or_default();
                    *count = (count.0 + 1, unknown.to_string());
                }
            }
        }
    }

    pub(super) fn hear(&mut self, effect: &Effect, now: Timestamp, decision: &Decision) {
        match effect {
            Effect::Announce(Announcement::Good(revision)) => {
                let known = decision.memory.revisions.get(revision);
                let good = known.filter(|known| known.verdict == Verdict::Good);
                self.good = good.map(|known| (now, known.proof));
            }
            Effect::Announce(Announcement::Held(held)) => self.held(held.hold, now, decision),
            Effect::Announce(
                Announcement::Incident(_)
                | Announcement::AskForApproval
                | Announcement::Escalate
                | Announcement::BrokenGlass(_)
                | Announcement::Fighting
                | Announcement::ConfigChanged(_)
                | Announcement::BackFromQuarantine(_)
                | Announcement::Marked(_)
                | Announcement::MarkNotUnderstood(_)
                | Announcement::Drilled(_),
            )
            | Effect::RollBack { .. }
            | Effect::RestoreOwnership { .. }
            | Effect::PauseRollout { .. }
            | Effect::ResumeRollout
            | Effect::Unpin
            | Effect::Forget { .. }
            | Effect::Inspect { .. }
            | Effect::Drill { .. }
            | Effect::KeepConfig { .. }
            | Effect::LookAtReconciler
            | Effect::LiftPause { .. }
            | Effect::Diagnose { .. }
            | Effect::FollowTraffic { .. }
            | Effect::Decline { .. } => {}
        }
    }

    /// Said again and again while it lasts, and told once.
    fn held(&mut self, hold: Hold, now: Timestamp, decision: &Decision) {
        if self.steps.iter().any(|step| step.what == What::Held(hold)) {
            return;
        }
        let breach = decision.readings.iter().find_map(|one| match &one.reading {
            Reading::Breached(measurement) => Some((one.trigger.clone(), measurement.to_string())),
            Reading::Passing(_) | Reading::Unknown(_) => None,
        });
        let (trigger, evidence) = breach.unwrap_or_default();
        self.steps.push(Step {
            at: now,
            what: What::Held(hold),
            trigger,
            evidence,
            to: None,
            caps: Vec::new(),
        });
    }

    pub(super) fn follow(&mut self, incident: &Incident, now: Timestamp) {
        let what = match incident.state {
            State::RollingBack => What::RolledBack,
            State::AwaitingApproval => What::Asked,
            State::Observed => What::Observed,
            State::Released => What::LetGo,
            State::Verifying
            | State::Recovered
            | State::NotRecovered
            | State::Rejected
            | State::Superseded
            | State::Failed => return,
        };
        self.steps.push(Step {
            at: now,
            what,
            trigger: incident.trigger.clone(),
            evidence: incident.evidence.clone(),
            to: Some(incident.to.clone()),
            caps: incident.caps.clone(),
        });
    }
}
