//! A drill is due: it waits until nothing else is going on.

use jiff::SignedDuration;

use super::Case;
use crate::decide::drill::{self, Step};
use crate::decide::model::Announcement;
use crate::decide::{Decision, Effect, Mode};

/// Adds to `decision` what a drill has to do.
pub(super) fn drill(case: &Case<'_>, mut decision: Decision) -> Decision {
    if case.policy.mode == Mode::Disabled || case.observed.drills.is_none() {
        return decision;
    }
    let template = &case.observed.workload.template;
    let busy = is_busy(case, &decision);
    let memory = decision.memory.revisions.get_mut(template);
    if let Some(memory) = memory.filter(|_| !busy && drill::is_due(case.observed)) {
        match drill::step(case.observed, case.policy, case.now) {
            Step::Look(to) => {
                decision.look_again = Some(SignedDuration::ZERO);
                let from = template.clone();
                return decision.with(Effect::Drill { from, to });
            }
            Step::Done(drilled) => {
                let before = drill::last(&case.observed.memory);
                let news = before.is_none_or(|before| before.outcome != drilled.outcome);
                memory.drilled = Some(drilled.clone());
                if news {
                    decision = decision.announcing(Announcement::Drilled(drilled));
                }
            }
        }
    }
    let next = drill::wait(case.observed, case.now);
    decision.look_again = decision.look_again.into_iter().chain(next).min();
    decision
}

/// Whether somebody waits for something else. A drill that was missed is made up for later.
fn is_busy(case: &Case<'_>, decision: &Decision) -> bool {
    let incident = decision.memory.incident.as_ref();
    incident.is_some_and(|incident| incident.state.is_open())
        || !case.observed.requests.is_empty()
        || case.observed.workload.paused_by.is_some()
        || decision
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Inspect { .. }))
}

#[cfg(test)]
mod tests;
