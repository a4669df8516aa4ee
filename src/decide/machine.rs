//! The state machine: one function per state, all branching here.
//!
//! What a revision's own data says is judged in [`super::health`]; what keeps Astern from acting
//! stands in [`super::holds`]. This file only puts them in order.

mod asking;
mod drilling;
mod finding;
mod incident;
mod proposing;
mod reconciled;
mod recovery;
mod requested;
mod returned;
mod watching;

use jiff::{SignedDuration, Timestamp};

pub use incident::gone;

use super::model::Announcement;
use super::{
    Decision, Effect, Measurement, Memory, Mode, Observed, Policy, Reading, Reason, TriggerReading,
    health, quarantine,
};

/// How long to wait for a change that a watch should have reported already. A safety net only.
const FALLBACK: SignedDuration = SignedDuration::from_secs(30);

/// Returns what to do at `now`.
///
/// The answer depends on nothing but the arguments, and a frozen world reaches a decision that
/// repeats itself without effects that are not yet observed.
#[must_use]
pub fn decide(observed: &Observed, policy: &Policy, now: Timestamp) -> Decision {
    let (observed, told) = quarantine::with_marks(observed, now);
    let case = Case {
        observed: &observed,
        policy,
        now,
        readings: health::readings(&observed, policy, now),
    };
    let mut decision = match &observed.memory.incident {
        Some(incident) if incident.state.is_open() => incident::when_open(&case, incident),
        Some(_) | None => watching::when_watching(&case),
    };
    finding::write_down(&case, &mut decision);
    if policy.mode > Mode::Disabled {
        let reconciled = observed.workload.reconciled;
        let next = quarantine::update(&mut decision.memory, policy, reconciled, now);
        decision.look_again = decision.look_again.into_iter().chain(next).min();
    }
    let decision = reconciled::ending_pause(&case, decision);
    told.into_iter().fold(decision, Decision::announcing)
}

/// One call of [`decide`]: what every function of the machine looks at.
struct Case<'a> {
    observed: &'a Observed,
    policy: &'a Policy,
    now: Timestamp,
    readings: Vec<TriggerReading>,
}

impl Case<'_> {
    /// Returns a decision that changes nothing and looks again after `look_again`.
    fn stay(&self, reason: Reason, look_again: Option<SignedDuration>) -> Decision {
        self.remember(self.observed.memory.clone(), reason, look_again)
    }

    /// Returns a decision that leaves `memory` behind and has no effect yet.
    fn remember(
        &self,
        memory: Memory,
        reason: Reason,
        look_again: Option<SignedDuration>,
    ) -> Decision {
        Decision {
            memory,
            reason,
            readings: self.readings.clone(),
            effects: Vec::new(),
            passing_since: None,
            look_again,
        }
    }

    /// Returns the breached trigger that may go furthest; the policy's order decides between equals.
    fn worst_breach(&self) -> Option<(&TriggerReading, &Measurement)> {
        self.readings
            .iter()
            .filter(|reading| reading.mode > Mode::Disabled)
            .filter_map(|reading| match &reading.reading {
                Reading::Breached(measurement) => Some((reading, measurement)),
                Reading::Passing(_) | Reading::Unknown(_) => None,
            })
            .rev()
            .max_by_key(|(reading, _)| reading.mode)
    }
}

impl Decision {
    fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    fn announcing(self, announcement: Announcement) -> Self {
        self.with(Effect::Announce(announcement))
    }
}

#[cfg(test)]
pub(super) mod tests;
