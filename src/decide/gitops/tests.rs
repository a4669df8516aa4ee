use super::*;

const ANNOTATION: Pause = Pause::Annotation {
    key: "kustomize.toolkit.fluxcd.io/reconcile",
    value: "disabled",
};
const NO_DRIFT: Pause = Pause::Annotation {
    key: "helm.toolkit.fluxcd.io/driftDetection",
    value: "disabled",
};

fn application() -> Pause {
    Pause::Application {
        namespace: "team".to_owned(),
        name: "apps".to_owned(),
    }
}

/// One that was read and corrects drift. Each test changes one thing.
fn reconciler(tool: Tool) -> Reconciler {
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
        state: Some(correcting()),
        paused: false,
    }
}

fn correcting() -> ReconcilerState {
    ReconcilerState {
        corrects_drift: true,
        follows_git: true,
        every: Some(SignedDuration::from_mins(10)),
        revision: Some("main@sha1:aaaa".to_owned()),
        suspended: false,
        held_by: Vec::new(),
        managed_by_set: false,
    }
}

fn with(tool: Tool, change: impl FnOnce(&mut ReconcilerState)) -> Reconciler {
    let mut state = correcting();
    change(&mut state);
    Reconciler {
        state: Some(state),
        ..reconciler(tool)
    }
}

fn sticking(tool: Tool) -> Reconciler {
    with(tool, |state| state.corrects_drift = false)
}

fn unread(tool: Tool) -> Reconciler {
    Reconciler {
        state: None,
        ..reconciler(tool)
    }
}

/// What a plan comes to, without its words.
#[derive(Debug, PartialEq)]
enum Short {
    Act,
    Pause(Pause),
    /// Held, with what an approval is consent to.
    Hold(Option<Pause>),
}
use Short::{Act, Hold};

fn short(plan: Plan) -> Short {
    match plan {
        Plan::Act => Act,
        Plan::ActAndPause(pause) => Short::Pause(pause),
        Plan::Hold { consent, .. } => Hold(consent),
    }
}

/// `expected` for `Auto`, `Pause`, `Hold` and `Proceed`, in this order.
#[track_caller]
fn check(reconciler: &Reconciler, may: bool, expected: [Short; 4]) {
    use OnRollback::{Auto, Hold, Pause, Proceed};
    for (on_rollback, expected) in [Auto, Pause, Hold, Proceed].into_iter().zip(expected) {
        let unasked = short(plan(Some(reconciler), on_rollback, false, may));
        assert_eq!(unasked, expected, "{on_rollback:?} {reconciler:?}");
        // An approval turns a hold into the pause that it named, and changes nothing else.
        let asked = short(plan(Some(reconciler), on_rollback, true, may));
        let approved = match expected {
            Short::Hold(Some(pause)) | Short::Pause(pause) => Short::Pause(pause),
            Short::Hold(None) | Act => Act,
        };
        assert_eq!(asked, approved, "approved, {on_rollback:?} {reconciler:?}");
    }
}

#[test]
fn nobody_undoes_what_nobody_reconciles() {
    for on_rollback in [
        OnRollback::Auto,
        OnRollback::Pause,
        OnRollback::Hold,
        OnRollback::Proceed,
    ] {
        assert_eq!(plan(None, on_rollback, false, false), Plan::Act);
    }
}

#[test]
fn who_is_kept_away_holds_nothing_back() {
    for tool in Tool::ALL {
        for state in [None, Some(correcting())] {
            let paused = Reconciler {
                paused: true,
                state,
                ..reconciler(tool)
            };
            check(&paused, true, [Act, Act, Act, Act]);
        }
    }
    for tool in [Tool::FluxKustomization, Tool::FluxHelmRelease, Tool::ArgoCd] {
        let suspended = with(tool, |state| state.suspended = true);
        check(&suspended, true, [Act, Act, Act, Act]);
    }
}

#[test]
fn a_rollback_that_sticks_is_held_only_where_a_policy_wants_it() {
    for tool in [Tool::FluxKustomization, Tool::FluxHelmRelease, Tool::ArgoCd] {
        check(&sticking(tool), true, [Act, Act, Hold(None), Act]);
    }
    check(&unread(Tool::Helm), true, [Act, Act, Act, Act]);
}

#[test]
fn flux_is_paused_by_one_annotation() {
    let paused = || Short::Pause(ANNOTATION);
    let expected = [paused(), paused(), Hold(Some(ANNOTATION)), Act];
    check(&reconciler(Tool::FluxKustomization), false, expected);
    let paused = || Short::Pause(NO_DRIFT);
    let expected = [paused(), paused(), Hold(Some(NO_DRIFT)), Act];
    check(&reconciler(Tool::FluxHelmRelease), false, expected);
}

/// Nothing would say that Git has moved, so the Deployment would be cut off from it for good.
#[test]
fn a_pause_that_would_not_end_by_itself_is_asked_for() {
    let blind = with(Tool::FluxKustomization, |state| state.revision = None);
    for reconciler in [blind, unread(Tool::FluxKustomization)] {
        let held = || Hold(Some(ANNOTATION));
        let expected = [held(), Short::Pause(ANNOTATION), held(), Act];
        check(&reconciler, true, expected);
    }
    let held = || Hold(Some(NO_DRIFT));
    let expected = [held(), Short::Pause(NO_DRIFT), held(), Act];
    check(&unread(Tool::FluxHelmRelease), true, expected);
}

#[test]
fn an_application_is_paused_only_with_the_role_for_it() {
    let argo = reconciler(Tool::ArgoCd);
    let paused = || Short::Pause(application());
    let expected = [paused(), paused(), Hold(Some(application())), Act];
    check(&argo, true, expected);
    check(&argo, false, [Hold(None), Hold(None), Hold(None), Act]);
}

#[test]
fn an_application_that_something_else_makes_is_never_paused() {
    let made = with(Tool::ArgoCd, |state| state.managed_by_set = true);
    check(&made, true, [Hold(None), Hold(None), Hold(None), Act]);
    let unread = unread(Tool::ArgoCd);
    check(&unread, true, [Hold(None), Hold(None), Hold(None), Act]);
}

#[test]
fn an_operator_cannot_be_paused() {
    let operator = unread(Tool::Operator);
    check(&operator, true, [Hold(None), Hold(None), Hold(None), Act]);
}

#[test]
fn people_read_who_would_undo_it_and_when() {
    let made = with(Tool::ArgoCd, |state| {
        state.managed_by_set = true;
        state.every = Some(SignedDuration::from_secs(5));
    });
    let by_hand = with(Tool::ArgoCd, |state| {
        state.corrects_drift = false;
        state.follows_git = false;
    });
    let nowhere = Reconciler {
        namespace: String::new(),
        ..unread(Tool::Operator)
    };
    let kustomization = Tool::FluxKustomization;
    for (reconciler, expected) in [
        (
            reconciler(kustomization),
            "Flux Kustomization team/apps puts Git's template back within 10m",
        ),
        (
            unread(kustomization),
            "Flux Kustomization team/apps may put its template back at any time; it could not be read",
        ),
        (
            sticking(Tool::FluxHelmRelease),
            "Flux HelmRelease team/apps puts the chart's template back at its next upgrade",
        ),
        (
            sticking(Tool::ArgoCd),
            "Argo CD Application team/apps puts Git's template back with the next commit",
        ),
        (
            by_hand,
            "Argo CD Application team/apps puts Git's template back at the next sync",
        ),
        (
            made,
            "Argo CD Application team/apps puts Git's template back within 5s; another object makes \
             that Application and would undo a pause of it",
        ),
        (
            nowhere,
            "Shop apps owns the Deployment, and its controller puts its own template back",
        ),
    ] {
        assert_eq!(undone(&reconciler), expected);
    }
}

#[test]
fn a_pause_ends_when_git_moves() {
    let at = |revision: Option<&str>| {
        with(Tool::FluxKustomization, |state| {
            state.revision = revision.map(str::to_owned);
        })
    };
    assert!(pause_ends("main@sha1:aaaa", &at(Some("main@sha1:bbbb"))));
    assert!(!pause_ends("main@sha1:aaaa", &at(Some("main@sha1:aaaa"))));
    assert!(!pause_ends("main@sha1:aaaa", &at(None)));
    assert!(!pause_ends(
        "main@sha1:aaaa",
        &unread(Tool::FluxKustomization)
    ));
    assert!(!pause_ends("", &at(Some("main@sha1:bbbb"))));
}

#[test]
fn a_range_goes_from_the_good_commit_to_the_bad_one() {
    let [a, b] = ["a1", "b2"].map(|digits| digits.repeat(COMMIT / 2));
    let [c, d] = ["c3", "d4"].map(|digits| digits.repeat(CONTENT / 2));
    let commits = Some(format!("{a}..{b}"));
    let contents = Some(format!("{c}..{d}"));
    let versions = Some("6.5.4..6.6.0".to_owned());
    for (good, bad, expected) in [
        (format!("main@sha1:{a}"), format!("main@sha1:{b}"), &commits),
        (format!("v1@sha1:{a}"), format!("v2@sha1:{b}"), &commits),
        (format!("feature/x/{a}"), format!("main@sha1:{b}"), &commits),
        (a.clone(), b.clone(), &commits),
        (format!("{a},{c}"), format!("{b},{c}"), &commits),
        (
            format!("main@sha256:{c}"),
            format!("main@sha256:{d}"),
            &contents,
        ),
        (
            format!("6.5.4@sha256:{c}"),
            format!("6.6.0@sha256:{d}"),
            &versions,
        ),
        (
            format!("6.5.4#sha256:{c}"),
            format!("6.6.0#sha256:{d}"),
            &versions,
        ),
        // Only the values changed; nothing says which commit did.
        (
            format!("6.5.4#sha256:{c}"),
            format!("6.5.4#sha256:{d}"),
            &None,
        ),
        (a.clone(), a.clone(), &None),
        (a.clone(), format!("{a},{b}"), &None),
        (String::new(), "6.5.4".to_owned(), &None),
    ] {
        let found = range(Some(&good), Some(&bad));
        assert_eq!(&found, expected, "{good} {bad}");
    }
    assert_eq!(range(None, Some(&b)), None);
    assert_eq!(range(Some(&a), None), None);
}

#[test]
fn every_source_that_changed_is_in_the_range() {
    let [a, b] = ["a1", "b2"].map(|digits| digits.repeat(COMMIT / 2));
    let found = range(Some(&format!("{a},1.0.0")), Some(&format!("{b},1.1.0")));
    assert_eq!(found, Some(format!("{a}..{b}, 1.0.0..1.1.0")));
}
