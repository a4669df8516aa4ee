//! A trigger is breached: where to go back to, how far Astern may go, and the record of it.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::incident::told;
use super::reconciled::{pause_may_end, remembered, wrote_unasked};
use super::watching::{first_hold, keep};
use super::{Case, FALLBACK};
use crate::decide::inspection::inspected;
use crate::decide::model::Announcement;
use crate::decide::target::{Plan, plan};
use crate::decide::{
    ApprovalTerms, Decision, Effect, Found, Held, Hold, Incident, Measurement, Mode, OnTimeout,
    Reason, Revision, RevisionMemory, State, Timings, TriggerReading, Verdict, target,
};

pub(super) fn breached(
    case: &Case<'_>,
    memory: RevisionMemory,
    reading: &TriggerReading,
    measurement: &Measurement,
) -> Decision {
    let past = Past::of(case);
    if past.let_go {
        return keep(case, memory, Reason::LetGo, Some(FALLBACK));
    }
    // What would only be observed costs no look at the API server.
    let planned = if reading.mode > Mode::Observe {
        plan(case.observed, case.policy, case.now, None)
    } else {
        unlooked(case)
    };
    let (to, asks) = match planned {
        Plan::Go { to, asks } => match refused_again(case, &past, &to) {
            Some(held) => return hold_back(case, memory, held),
            None => (to, asks),
        },
        Plan::Held(held) => return hold_back(case, memory, held),
        Plan::Inspect(to) => return inspect_first(case, memory, to),
    };
    if pause_may_end(case) {
        return keep(case, memory, Reason::OnProbation, Some(FALLBACK));
    }
    let (mode, caps) = limits(case, (&memory, &to), reading, &asks);
    if past.observed && mode == Mode::Observe {
        return keep(
            case,
            memory,
            Reason::Incident(State::Observed),
            Some(FALLBACK),
        );
    }
    let state = match mode {
        Mode::Automatic => State::RollingBack,
        Mode::RequireApproval => State::AwaitingApproval,
        Mode::Observe | Mode::Disabled => State::Observed,
    };
    let (repoint, restored) = with_copies(case, &to);
    let approval = approval_terms(case, !caps.is_empty() || wrote_unasked(case, &to));
    let (reconciler, git_range) = remembered(case, &memory, (&to, state));
    let incident = Incident {
        attempt: past.attempts + 1,
        from: case.observed.workload.template.clone(),
        to,
        trigger: reading.trigger.clone(),
        request: None,
        repoint,
        restored,
        restored_by: None,
        mode,
        caps,
        state,
        evidence: measurement.to_string(),
        outcome: String::new(),
        approval,
        rollback: case.policy.rollback.clone(),
        pause_rollout: case.policy.pause_rollout && !past.paused,
        paused: false,
        code: None,
        approvals: Vec::new(),
        rejected_by: None,
        escalated: false,
        reconciler,
        git_range,
        found: Found::default(),
        timings: Timings {
            proposed: case.now,
            decided: (state == State::RollingBack).then_some(case.now),
            patched: None,
            ended: (state == State::Observed).then_some(case.now),
        },
    };
    open(case, memory, incident)
}

/// Returns the references that `to` gets to copies of its config, and what it is with them.
pub(super) fn with_copies(
    case: &Case<'_>,
    to: &Revision,
) -> (BTreeMap<String, String>, Option<Revision>) {
    let seen = inspected(case.observed, to, case.now);
    seen.map(|seen| (seen.repoint.clone(), seen.restored.clone()))
        .unwrap_or_default()
}

/// A rollback that the API server refused once is not proposed again while it still refuses it: nobody
/// could carry it out, whoever agreed.
fn refused_again(case: &Case<'_>, past: &Past, to: &Revision) -> Option<Held> {
    let refusal = inspected(case.observed, to, case.now)?.refused.clone()?;
    past.failed.then_some(Held {
        hold: Hold::DryRunRefused,
        detail: refusal,
    })
}

fn inspect_first(case: &Case<'_>, memory: RevisionMemory, to: Revision) -> Decision {
    let from = case.observed.workload.template.clone();
    let at_once = Some(SignedDuration::ZERO);
    keep(case, memory, Reason::OnProbation, at_once).with(Effect::Inspect { from, to })
}

fn hold_back(case: &Case<'_>, memory: RevisionMemory, held: Held) -> Decision {
    keep(case, memory, Reason::Held(held.hold), Some(FALLBACK)).announcing(Announcement::Held(held))
}

/// What would be done, as far as it can be told without asking the API server.
fn unlooked(case: &Case<'_>) -> Plan {
    if let Some(held) = first_hold(case) {
        return Plan::Held(held);
    }
    match target::newest_good(case.observed) {
        Some((to, _)) => Plan::Go {
            to: to.clone(),
            asks: Vec::new(),
        },
        None => Plan::Held(Hold::NoTarget.into()),
    }
}

/// Returns how far Astern may go, and for people, what lowers that.
fn limits(
    case: &Case<'_>,
    (memory, to): (&RevisionMemory, &Revision),
    reading: &TriggerReading,
    asks: &[Held],
) -> (Mode, Vec<String>) {
    let mut caps = Vec::new();
    let mut mode = reading.mode;
    if mode < case.policy.mode {
        caps.push(cap(case, memory, reading));
    }
    let proof = case
        .observed
        .memory
        .revisions
        .get(to)
        .and_then(|known| known.proof);
    let allowed = target::mode_allowed(proof, reading.cannot_run);
    if allowed < mode {
        mode = allowed;
        caps.push("the target was never judged on real data by every trigger".to_owned());
    }
    if wrote_unasked(case, to) && mode > Mode::RequireApproval {
        mode = Mode::RequireApproval;
        caps.push("this revision was rolled back automatically before".to_owned());
    }
    for held in asks {
        let limit = if held.hold == Hold::PersistentVolumes {
            case.policy.persistent_volumes
        } else {
            Mode::RequireApproval
        };
        mode = mode.min(limit);
        caps.push(shown(held));
    }
    caps.truncate(CAPS_MAX);
    (mode, caps)
}

/// What the record takes.
const CAPS_MAX: usize = 16;
const CAP_LENGTH_MAX: usize = 256;

/// Says what a hold asks, as short as the record wants it.
pub(super) fn shown(held: &Held) -> String {
    let text = format!("{}: {}", held.hold.name(), held.message());
    text.chars().take(CAP_LENGTH_MAX).collect()
}

/// Says, for people, what lowers the policy's mode.
fn cap(case: &Case<'_>, memory: &RevisionMemory, reading: &TriggerReading) -> String {
    let after = case.policy.after_probation;
    if memory.verdict == Verdict::Good && after == reading.mode {
        return format!(
            "the revision is through its probation, and afterProbation is {}",
            after.name()
        );
    }
    format!(
        "trigger {} has mode {}",
        reading.trigger,
        reading.mode.name()
    )
}

/// Silence that rolls back is as good as automatic, so whatever caps that caps it too.
pub(super) fn approval_terms(case: &Case<'_>, capped: bool) -> ApprovalTerms {
    let mut terms = case.policy.approval.clone();
    if capped && terms.on_timeout == OnTimeout::RollBack {
        terms.on_timeout = OnTimeout::Escalate;
    }
    terms
}

/// Writes the incident down first; the next look at it acts. An operator that stops in between finds
/// the record and goes on from it.
///
/// The verdict changes only then: the same operator would judge a revision that is good no longer by
/// other rules, and might not come to the same end.
pub(super) fn open(case: &Case<'_>, memory: RevisionMemory, incident: Incident) -> Decision {
    let state = incident.state;
    let mut decision = keep(
        case,
        memory,
        Reason::Incident(state),
        Some(SignedDuration::ZERO),
    );
    if state == State::Observed {
        decision.look_again = Some(FALLBACK);
    }
    decision.memory.incident = Some(incident);
    told(decision, state)
}

/// What became of earlier incidents of a revision.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about what was before"
)]
pub(super) struct Past {
    pub(super) attempts: u32,
    pub(super) observed: bool,
    let_go: bool,
    failed: bool,
    paused: bool,
}

impl Past {
    pub(super) fn of(case: &Case<'_>) -> Self {
        Self::of_revision(case, &case.observed.workload.template)
    }

    pub(super) fn of_revision(case: &Case<'_>, revision: &Revision) -> Self {
        let all = || {
            let past = case.observed.past.iter();
            past.filter(move |attempt| attempt.from == *revision)
        };
        // What people asked for says nothing about what Astern may do.
        let own = || all().filter(|attempt| !attempt.requested);
        Self {
            attempts: all().map(|attempt| attempt.attempt).max().unwrap_or(0),
            observed: own().any(|attempt| attempt.state == State::Observed),
            let_go: own().any(|attempt| matches!(attempt.state, State::Rejected | State::Released)),
            failed: own().any(|attempt| attempt.state == State::Failed),
            paused: all().any(|attempt| attempt.paused),
        }
    }
}
