//! One workload that is healthy and could go back; each case changes one thing.

use jiff::SignedDuration;

use crate::decide::machine::tests::{
    asked_for, at, awaiting, bad, breached, decided, good, healthy, known, policy, seconds,
};
use crate::decide::{
    Announcement, Decision, DrillOutcome, DrillTimes, Drilled, Effect, Facts, Hold, Mode, Observed,
    Policy, Proof, Rehearsal, Suspension, Verdict,
};

/// Now is second 100; a drill was scheduled ten seconds ago.
fn due(mut observed: Observed) -> Observed {
    observed.drills = Some(DrillTimes {
        latest: Some(at(90)),
        next: Some(at(110)),
    });
    for inspection in &mut observed.inspections {
        inspection.rehearsal = Some(Rehearsal::default());
    }
    observed
}

fn drill(decision: &Decision) -> Option<&Drilled> {
    decision.memory.revisions[&bad()].drilled.as_ref()
}

fn announced(decision: &Decision) -> Vec<&Drilled> {
    let effects = decision.effects.iter();
    effects
        .filter_map(|effect| {
            if let Effect::Announce(Announcement::Drilled(drilled)) = effect {
                Some(drilled)
            } else {
                None
            }
        })
        .collect()
}

fn looks(decision: &Decision) -> bool {
    let mut effects = decision.effects.iter();
    effects.any(|effect| matches!(effect, Effect::Drill { .. }))
}

fn with_drill(mut observed: Observed, second: i64, outcome: DrillOutcome) -> Observed {
    let memory = observed.memory.revisions.get_mut(&good());
    memory.expect("it is known").drilled = Some(Drilled {
        at: at(second),
        outcome,
        detail: String::new(),
    });
    observed
}

#[track_caller]
fn check(change: impl Fn(&mut Observed, &mut Policy), outcome: DrillOutcome, detail: &str) {
    let (mut observed, mut policy) = (due(healthy()), policy());
    change(&mut observed, &mut policy);
    let decision = decided(&observed, &policy, 100);
    let drilled = drill(&decision).expect("a drill was due");
    assert_eq!((drilled.at, drilled.outcome), (at(100), outcome));
    assert!(drilled.detail.contains(detail), "{drilled:?}");
    assert_eq!(announced(&decision), [drilled]);
    assert!(!drilled.message().is_empty());
}

#[test]
fn a_drill_says_what_would_keep_a_rollback_from_going_ahead() {
    let held = DrillOutcome::Held;
    check(|_, _| (), DrillOutcome::Ready, "revision 900d900d");
    check(
        |observed, _| {
            observed.memory.revisions.remove(&good());
        },
        held(Hold::NoTarget),
        "",
    );
    check(
        |observed, _| observed.workload.replicas = 0,
        held(Hold::NoReplicas),
        "",
    );
    check(
        |observed, _| {
            observed.inspections[0].suspensions = vec![Suspension {
                place: "the namespace shop".to_owned(),
                until: Some(at(200)),
                reason: "moving house".to_owned(),
            }];
        },
        held(Hold::Suspended),
        "the namespace shop",
    );
    check(
        |observed, _| observed.inspections[0].image_unavailable = Some("no v1".to_owned()),
        held(Hold::ImageUnavailable),
        "no v1",
    );
    check(
        |observed, _| observed.inspections[0].refused = Some("denied".to_owned()),
        held(Hold::DryRunRefused),
        "denied",
    );
    check(
        |observed, _| {
            rehearsal(observed).missing_rights = vec![
                "patch deployments".to_owned(),
                "create rollbacks".to_owned(),
            ];
            // What the API server says to the trial is the consequence.
            observed.inspections[0].refused = Some("forbidden".to_owned());
        },
        DrillOutcome::RightsMissing,
        "patch deployments, create rollbacks",
    );
    check(
        |observed, _| rehearsal(observed).source = Some("no answer\n  in 10s".to_owned()),
        DrillOutcome::MetricSourceFailing,
        "no answer in 10s",
    );
}

fn rehearsal(observed: &mut Observed) -> &mut Rehearsal {
    let inspection = observed.inspections.first_mut().expect("there is one");
    inspection.rehearsal.as_mut().expect("there is one")
}

#[test]
fn an_approver_is_missed_only_where_people_would_be_asked() {
    let nobody = |observed: &mut Observed| {
        rehearsal(observed).no_approver = Some("nobody may".to_owned());
    };
    check(|observed, _| nobody(observed), DrillOutcome::Ready, "");
    let (asks, none) = (DrillOutcome::NoApprover, "nobody may");
    let asking = |observed: &mut Observed, policy: &mut Policy| {
        nobody(observed);
        policy.mode = Mode::RequireApproval;
    };
    check(asking, asks, none);
    check(
        |observed, policy| {
            asking(observed, policy);
            policy.mode = Mode::Observe;
        },
        DrillOutcome::Ready,
        "",
    );
    // A target that was never judged by everything, or keeps data, makes people agree first.
    check(
        |observed, _| {
            nobody(observed);
            let target = observed.memory.revisions.get_mut(&good());
            target.expect("it is known").proof = Some(Proof::Partial);
        },
        asks,
        none,
    );
    let data = |observed: &mut Observed| {
        let facts = Facts {
            claims: vec!["data".to_owned()],
            ..Facts::default()
        };
        observed.facts.insert(good(), facts);
    };
    check(
        |observed, _| {
            nobody(observed);
            data(observed);
        },
        asks,
        none,
    );
    check(
        |observed, _| data(observed),
        DrillOutcome::Ready,
        "after approval",
    );
}

#[test]
fn the_looks_come_first_and_those_of_a_rollback_are_not_enough() {
    let without_looks = {
        let mut observed = due(healthy());
        observed.inspections.clear();
        observed
    };
    let with_half = {
        let mut observed = due(healthy());
        observed.inspections[0].rehearsal = None;
        observed
    };
    for observed in [without_looks, with_half] {
        let decision = decided(&observed, &policy(), 100);
        assert!(looks(&decision), "{:?}", decision.effects);
        assert_eq!(decision.look_again, Some(SignedDuration::ZERO));
        assert_eq!(drill(&decision), None);
    }
}

#[track_caller]
fn check_none(observed: &Observed, policy: &Policy) {
    let decision = decided(observed, policy, 100);
    assert!(!looks(&decision) && announced(&decision).is_empty());
    let drilled = decision.memory.revisions.values();
    let at_now = drilled.filter(|known| known.drilled.as_ref().is_some_and(|d| d.at == at(100)));
    assert_eq!(at_now.count(), 0);
}

#[test]
fn a_drill_waits_for_its_time_and_until_nothing_else_goes_on() {
    let mut early = due(healthy());
    early.drills = Some(DrillTimes {
        latest: Some(at(-1)),
        next: Some(at(500)),
    });
    // What was scheduled before the workload was known is nobody's omission.
    check_none(&early, &policy());
    let mut none = due(healthy());
    none.drills = None;
    check_none(&none, &policy());
    check_none(
        &with_drill(due(healthy()), 91, DrillOutcome::Ready),
        &policy(),
    );
    check_none(&due(awaiting()), &policy());
    check_none(&due(asked_for(None)), &policy());
    let mut proposing = due(breached());
    proposing.inspections.clear();
    check_none(&proposing, &policy());
    let disabled = Policy {
        mode: Mode::Disabled,
        ..policy()
    };
    check_none(&due(healthy()), &disabled);
}

#[test]
fn missed_drills_run_once_and_a_release_does_not_lose_the_last_one() {
    let observed = with_drill(due(healthy()), 10, DrillOutcome::Ready);
    let decision = decided(&observed, &policy(), 100);
    assert_eq!(drill(&decision).map(|drilled| drilled.at), Some(at(100)));
    let mut after = observed;
    after.memory = decision.memory;
    check_none_at(&after, 101);
}

#[track_caller]
fn check_none_at(observed: &Observed, second: i64) {
    let decision = decided(observed, &policy(), second);
    assert!(!looks(&decision) && announced(&decision).is_empty());
    assert_eq!(decision.memory.revisions, observed.memory.revisions);
}

#[test]
fn only_an_outcome_that_changed_is_told() {
    let same = with_drill(due(healthy()), 10, DrillOutcome::Ready);
    let decision = decided(&same, &policy(), 100);
    assert!(drill(&decision).is_some() && announced(&decision).is_empty());
    let other = with_drill(due(healthy()), 10, DrillOutcome::NoApprover);
    let decision = decided(&other, &policy(), 100);
    assert_eq!(announced(&decision).len(), 1);
}

#[test]
fn the_next_drill_is_waited_for_but_no_longer_than_a_day() {
    let mut observed = healthy();
    observed
        .memory
        .revisions
        .insert(bad(), known(Verdict::Good, 2, 70));
    let quiet = Policy {
        after_probation: Mode::Disabled,
        ..policy()
    };
    for (next, wait) in [(at(130), seconds(30)), (at(1_000_000), seconds(86_400))] {
        observed.drills = Some(DrillTimes {
            latest: None,
            next: Some(next),
        });
        let decision = decided(&observed, &quiet, 100);
        assert_eq!(decision.look_again, Some(wait));
    }
}
