//! A GitOps reconciler deploys the workload.

mod commits;

use super::*;
use crate::decide::gitops::{Met, Pause, PauseMark, Reconciler, ReconcilerState, Seen, Tool};

const BEFORE: &str = "main@sha1:aaaa";
const COMMIT: &str = "main@sha1:bbbb";
const NEXT: &str = "main@sha1:cccc";

fn reconciler(tool: Tool, corrects_drift: bool) -> Reconciler {
    let kind = match tool {
        Tool::FluxKustomization => "Kustomization",
        Tool::FluxHelmRelease => "HelmRelease",
        Tool::ArgoCd => "Application",
        Tool::Helm => "Helm release",
        Tool::Operator => "Shop",
    };
    Reconciler {
        tool,
        namespace: "team".to_owned(),
        name: "apps".to_owned(),
        kind: kind.to_owned(),
        state: Some(ReconcilerState {
            corrects_drift,
            follows_git: true,
            revision: Some(COMMIT.to_owned()),
            ..ReconcilerState::default()
        }),
        paused: false,
    }
}

fn kustomization() -> Reconciler {
    reconciler(Tool::FluxKustomization, true)
}

/// The Kustomization as it is while our annotation keeps it away, with Git at `revision`.
fn kept_away(revision: &str) -> Reconciler {
    Reconciler {
        paused: true,
        ..deploying(revision)
    }
}

fn deploying(revision: &str) -> Reconciler {
    let mut reconciler = kustomization();
    let state = reconciler.state.as_mut().expect("it was read");
    state.revision = Some(revision.to_owned());
    reconciler
}

fn pause() -> Pause {
    let (key, value) = Tool::FluxKustomization.pause_annotation().expect("one");
    Pause::Annotation { key, value }
}

fn application() -> Pause {
    Pause::Application {
        namespace: "team".to_owned(),
        name: "apps".to_owned(),
    }
}

/// `observed` where `reconciler` deploys, after the costly looks.
fn deployed_by(reconciler: &Reconciler, may_pause: bool, mut observed: Observed) -> Observed {
    observed.workload.reconciled = true;
    for inspection in &mut observed.inspections {
        inspection.reconciler = Some(reconciler.clone());
        inspection.may_pause_applications = may_pause;
    }
    if let Some(known) = observed.memory.revisions.get_mut(&good()) {
        known.git = Some(BEFORE.to_owned());
    }
    observed
}

fn seen(observed: &mut Observed, at: Timestamp, reconciler: Option<Reconciler>) {
    observed.reconciler = Some(Seen {
        at,
        template: observed.workload.template.clone(),
        kept_from: observed.workload.kept_from.clone(),
        reconciler,
    });
}

fn marked(mut observed: Observed, revision: &str) -> Observed {
    observed.workload.reconciled = true;
    observed.workload.kept_from = Some(PauseMark {
        rollback: "checkout-bad0-1".to_owned(),
        revision: revision.to_owned(),
    });
    observed
}

fn proposed(observed: &Observed, policy: &Policy) -> Incident {
    let decision = decided(observed, policy, 100);
    decision.memory.incident.expect("an incident")
}

#[track_caller]
fn check(
    (reconciler, may_pause): (Reconciler, bool),
    on_rollback: OnRollback,
    (state, expected): (State, Option<Pause>),
) {
    let policy = Policy {
        on_rollback,
        ..policy()
    };
    let observed = deployed_by(&reconciler, may_pause, breached());
    let incident = proposed(&observed, &policy);
    assert_eq!(incident.state, state);
    let met = incident.reconciler.clone();
    assert_eq!(met.and_then(|met| met.pause), expected);
    let asked = incident
        .caps
        .iter()
        .any(|cap| cap.starts_with("WouldBeUndone"));
    assert_eq!(asked, state == State::AwaitingApproval);
}

#[test]
fn what_sticks_is_done_and_what_would_be_undone_is_asked() {
    use OnRollback::{Auto, Hold, Proceed};
    use State::{AwaitingApproval, RollingBack};
    let kustomization = || (kustomization(), false);
    check(kustomization(), Auto, (RollingBack, Some(pause())));
    check(kustomization(), Hold, (AwaitingApproval, Some(pause())));
    check(kustomization(), Proceed, (RollingBack, None));
    let helm = || (reconciler(Tool::FluxHelmRelease, false), false);
    check(helm(), Auto, (RollingBack, None));
    check(helm(), Hold, (AwaitingApproval, None));
    let argo = |may| (reconciler(Tool::ArgoCd, true), may);
    check(argo(true), Auto, (RollingBack, Some(application())));
    check(argo(false), Auto, (AwaitingApproval, None));
    let unread = Reconciler {
        state: None,
        ..reconciler(Tool::FluxKustomization, true)
    };
    check((unread, false), Auto, (AwaitingApproval, Some(pause())));
}

fn rolling_back(reconciler: &Reconciler) -> Observed {
    deployed_by(reconciler, false, during(State::RollingBack))
}

#[test]
fn the_pause_goes_with_the_write_and_is_remembered_before_it() {
    let decision = decided(&rolling_back(&kustomization()), &policy(), 101);
    assert_eq!(
        writes(&decision),
        [&Effect::RollBack {
            from: bad(),
            to: good(),
            pause: Some(pause()),
        }]
    );
    let incident = decision.memory.incident.expect("open");
    let expected = Met {
        title: "Flux Kustomization team/apps".to_owned(),
        revision: Some(COMMIT.to_owned()),
        pause: Some(pause()),
    };
    assert_eq!(incident.reconciler, Some(expected));
}

#[test]
fn what_nobody_agreed_to_is_not_written_when_things_changed_since() {
    let policy = Policy {
        on_rollback: OnRollback::Hold,
        ..policy()
    };
    let mut observed = rolling_back(&kustomization());
    let decision = decided(&observed, &policy, 101);
    assert_eq!(writes(&decision), [] as [&Effect; 0]);
    let state = decision.memory.incident.map(|incident| incident.state);
    assert_eq!(state, Some(State::Failed));

    let incident = observed.memory.incident.as_mut().expect("open");
    incident.approvals.push(Approval {
        username: "alice".to_owned(),
        at: at(100),
        break_glass: None,
    });
    assert!(!writes(&decided(&observed, &policy, 101)).is_empty());
}

/// The same bad revision again, after a rollback that met Git at `then`.
fn again(then: Option<&str>, reconciler: &Reconciler) -> Observed {
    let mut observed = deployed_by(reconciler, false, breached());
    observed.past = vec![Attempt {
        from: bad(),
        to: good(),
        attempt: 1,
        state: State::Recovered,
        wrote_unasked: true,
        git: then.map(str::to_owned),
        ..Attempt::default()
    }];
    observed
}

#[test]
fn a_revision_goes_back_unasked_once_per_revision_of_git() {
    let state = |observed: &Observed| proposed(observed, &policy()).state;
    let moved = again(Some(COMMIT), &deploying(NEXT));
    assert_eq!(state(&moved), State::RollingBack);
    let same = again(Some(NEXT), &deploying(NEXT));
    assert_eq!(state(&same), State::AwaitingApproval);
    let unknown = again(None, &deploying(NEXT));
    assert_eq!(state(&unknown), State::AwaitingApproval);

    let mut twice = again(Some(COMMIT), &deploying(NEXT));
    twice.past.push(Attempt {
        attempt: 2,
        git: Some(NEXT.to_owned()),
        ..twice.past[0].clone()
    });
    assert_eq!(state(&twice), State::AwaitingApproval);
}

#[test]
fn whoever_fought_before_is_not_trusted_to_have_moved() {
    let mut fought = again(Some(COMMIT), &deploying(NEXT));
    fought.past[0].state = State::Superseded;
    assert_eq!(proposed(&fought, &policy()).state, State::AwaitingApproval);
    let mut in_spite = marked(again(Some(COMMIT), &kept_away(COMMIT)), COMMIT);
    seen(&mut in_spite, at(100), Some(kept_away(COMMIT)));
    assert_eq!(
        proposed(&in_spite, &policy()).state,
        State::AwaitingApproval
    );
}

#[test]
fn the_budget_bounds_what_git_brings() {
    let mut observed = again(Some(BEFORE), &deploying(NEXT));
    observed.past = (1..=3)
        .map(|attempt| Attempt {
            attempt,
            decided: Some(at(0)),
            git: Some(format!("main@sha1:{attempt}")),
            ..observed.past[0].clone()
        })
        .collect();
    let incident = proposed(&observed, &policy());
    assert_eq!(incident.state, State::AwaitingApproval);
}

fn resting() -> Observed {
    let mut observed = deployed_by(&kustomization(), false, breached());
    observed.workload.template = good();
    observed.workload.current = Some(Current {
        number: 1,
        created: at(0),
    });
    observed.evidence.clear();
    observed
}

fn lifted(decision: &Decision) -> bool {
    let mut effects = decision.effects.iter();
    effects.any(|effect| matches!(effect, Effect::LiftPause { .. }))
}

fn looks(decision: &Decision) -> bool {
    decision.effects.contains(&Effect::LookAtReconciler)
}

#[test]
fn a_pause_is_looked_after_once_a_minute() {
    let mut observed = marked(resting(), COMMIT);
    assert!(looks(&decided(&observed, &policy(), 100)));
    seen(&mut observed, at(100), Some(kept_away(COMMIT)));
    let decision = decided(&observed, &policy(), 110);
    assert!(!looks(&decision) && !lifted(&decision));
    assert!(decision.look_again <= Some(seconds(50)));
    assert!(looks(&decided(&observed, &policy(), 160)));
}

#[test]
fn a_pause_ends_when_it_has_no_purpose() {
    let ends = |revision: &str, reconciler: Option<Reconciler>, policy: &Policy| {
        let mut observed = marked(resting(), revision);
        seen(&mut observed, at(100), reconciler);
        lifted(&decided(&observed, policy, 110))
    };
    let auto = policy();
    let disabled = Policy {
        mode: Mode::Disabled,
        ..policy()
    };
    assert!(!ends(COMMIT, Some(kept_away(COMMIT)), &auto));
    assert!(ends(COMMIT, Some(kept_away(NEXT)), &auto));
    assert!(ends(COMMIT, Some(kept_away(NEXT)), &disabled));
    // Nobody knows when Git moves.
    assert!(!ends("", Some(kept_away(NEXT)), &auto));
    // A look from before the pause says nothing about it.
    let mut early = marked(resting(), COMMIT);
    early.reconciler = Some(Seen {
        at: at(100),
        template: good(),
        kept_from: None,
        reconciler: Some(kustomization()),
    });
    let decision = decided(&early, &auto, 110);
    assert!(looks(&decision) && !lifted(&decision));
    // A person has ended it; the mark must not claim a later pause of theirs.
    assert!(ends(COMMIT, Some(kustomization()), &auto));
    assert!(ends(COMMIT, None, &auto));
}

#[test]
fn the_sync_of_an_application_comes_on_again() {
    let mut off = reconciler(Tool::ArgoCd, true);
    let state = off.state.as_mut().expect("it was read");
    state.held_by = vec!["checkout-bad0-1".to_owned()];
    let mut observed = marked(resting(), COMMIT);
    seen(&mut observed, at(100), Some(off.clone()));
    assert!(!lifted(&decided(&observed, &policy(), 110)));

    let mut observed = marked(resting(), BEFORE);
    seen(&mut observed, at(100), Some(off));
    let decision = decided(&observed, &policy(), 110);
    assert!(decision.effects.contains(&Effect::LiftPause {
        rollback: "checkout-bad0-1".to_owned(),
        application: Some(("team".to_owned(), "apps".to_owned())),
    }));
}

#[test]
fn a_pause_that_is_over_ends_before_the_next_proposal() {
    let mut observed = marked(again(Some(COMMIT), &kept_away(NEXT)), COMMIT);
    seen(&mut observed, at(100), Some(kept_away(NEXT)));
    let decision = decided(&observed, &policy(), 100);
    assert!(lifted(&decision));
    assert_eq!(decision.memory.incident, None);
}

#[test]
fn an_incident_ends_only_after_its_application_is_on_again() {
    let mut off = reconciler(Tool::ArgoCd, true);
    let state = off.state.as_mut().expect("it was read");
    state.held_by = vec![incident(State::RollingBack).name(&breached().workload)];
    let mut observed = during(State::RollingBack);
    observed.workload.template = other();
    let incident = observed.memory.incident.as_mut().expect("open");
    incident.reconciler = Some(Met {
        title: off.title(),
        revision: None,
        pause: Some(application()),
    });
    let open = |decision: &Decision| {
        let incident = decision.memory.incident.as_ref();
        incident.is_some_and(|incident| incident.state == State::RollingBack)
    };
    let decision = decided(&observed, &policy(), 110);
    assert!(open(&decision) && looks(&decision));
    seen(&mut observed, at(110), Some(off));
    let decision = decided(&observed, &policy(), 110);
    assert!(open(&decision) && looks(&decision) && lifted(&decision));
    let on = reconciler(Tool::ArgoCd, true);
    seen(&mut observed, at(110), Some(on));
    assert!(!open(&decided(&observed, &policy(), 110)));
}
