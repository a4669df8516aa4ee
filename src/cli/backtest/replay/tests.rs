//! What the operator's decisions become when they are replayed. That they are right is tested with
//! them.

use serde_json::json;

use super::*;
use crate::api::parse;
use crate::cli::backtest::judged::What;
use crate::cli::backtest::kube_state::KubeState;
use crate::cli::backtest::recording::Recorded;
use crate::cli::backtest::span::earlier;
use crate::decide::{Hold, Revision};
use crate::observe::prometheus::buffer::{Buffer, Column, Subject as About, Target};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

/// A Deployment to which no Service leads.
pub(in crate::cli::backtest) fn subject() -> Subject {
    Subject {
        namespace: "shop".to_owned(),
        name: "checkout".to_owned(),
        labels: BTreeMap::new(),
        paths: Ok(Arc::default()),
        uid: "5eed0006".to_owned(),
        progress_deadline: SignedDuration::from_secs(600),
        rolling_update: true,
        kept_available: None,
    }
}

fn policy(mode: &str, on_timeout: &str) -> Policy {
    let object = json!({
        "metadata": {"name": "checkout"},
        "spec": {
            "mode": mode, "probation": "2m",
            "approval": {"timeout": "5m", "onTimeout": on_timeout},
            "triggers": [{"name": "fires", "alert": {"matchLabels": {"alertname": "Down"}, "for": "0s"}}],
        },
    });
    parse::rollback_policy(&object).expect("a policy").policy
}

fn release(set: &str, from: i64, until: Option<i64>) -> Release {
    Release {
        set: set.to_owned(),
        revision: Revision(format!("digest of {set}")),
        number: None,
        images: Vec::new(),
        created: Some(earlier(
            at(from),
            SignedDuration::from_secs(if from == 0 { 86_400 } else { 0 }),
        )),
        from: at(from),
        dated: if from == 0 {
            Dated::Beginning
        } else {
            Dated::Created
        },
        until: until.map(at),
        rolled_out: Some(at(from)),
    }
}

/// An alert that fires from one second until another one.
fn recording(from: i64, until: i64) -> Recording {
    let times = (from..until).step_by(15).map(at);
    let times: Vec<(i64, f64)> = times.map(|at| (at.as_millisecond(), 1.0)).collect();
    let target = Target {
        rank: 0,
        instance: 1,
        job: 2,
    };
    let mut fires = Buffer::default();
    let here = ("shop".to_owned(), About::All);
    fires.stream(here, target).add(Column::Total, &times);
    let recorded = [("fires".to_owned(), Recorded::Alert(fires))].into();
    Recording::new(recorded, KubeState::default(), &subject(), at(-3600))
}

/// A good release for ten minutes, then one under which the alert fires from second 700 to 1000.
fn story(mode: &str, on_timeout: &str) -> (Judged, Judged, bool) {
    let (subject, policy) = (subject(), policy(mode, on_timeout));
    let mut replay = Replay::new(&subject, &policy);
    let recording = recording(700, 1000);
    let (good, bad) = (release("a", 0, Some(600)), release("b", 600, Some(3000)));
    let mut judged = (Judged::default(), Judged::default());
    replay.begin();
    let span = Span {
        from: at(0),
        until: at(600),
    };
    replay.run((&good, &recording), span, None, &mut judged.0);
    replay.begin();
    let span = Span {
        from: at(600),
        until: at(900),
    };
    replay.run((&bad, &recording), span, None, &mut judged.1);
    replay.at_timeout((&bad, &recording), at(3000), &mut judged.1);
    (judged.0, judged.1, replay.has_acted())
}

fn seconds(judged: &Judged) -> Vec<(What, i64)> {
    let steps = judged.steps.iter();
    steps
        .map(|step| (step.what, step.at.duration_since(at(0)).as_secs()))
        .collect()
}

#[test]
fn what_ran_healthy_before_the_range_is_known_good_and_not_looked_at_again() {
    let (good, _, _) = story("Automatic", "Escalate");
    assert_eq!((good.looks, good.steps.len()), (1, 0));
}

#[test]
fn a_breach_is_acted_on_and_the_release_is_left_alone_then() {
    let (_, bad, acted) = story("Automatic", "Escalate");
    assert!(acted);
    let [(What::RolledBack, second)] = seconds(&bad)[..] else {
        panic!("{:?}", bad.steps);
    };
    assert!((700..=730).contains(&second), "{second}");
    assert_eq!(bad.steps[0].to, Some(Revision("digest of a".to_owned())));
    assert_eq!(bad.steps[0].trigger, "fires");
}

#[test]
fn who_only_observes_goes_on_looking() {
    let (_, bad, acted) = story("Observe", "Escalate");
    assert!(!acted);
    assert!(
        matches!(seconds(&bad)[..], [(What::Observed, _)]),
        "{:?}",
        bad.steps
    );
    assert!(bad.said["fires"].breached > 1, "{:?}", bad.said);
}

#[test]
fn silence_does_what_the_policy_says_even_after_the_last_look() {
    let (_, bad, acted) = story("RequireApproval", "RollBack");
    assert!(acted);
    let [(What::Asked, asked), (What::RolledBack, acted)] = seconds(&bad)[..] else {
        panic!("{:?}", bad.steps);
    };
    assert_eq!(acted - asked, 300);
    let (_, bad, acted) = story("RequireApproval", "Release");
    assert!(!acted);
    assert!(matches!(
        seconds(&bad)[..],
        [(What::Asked, _), (What::LetGo, _)]
    ));
    let (_, bad, acted) = story("RequireApproval", "Escalate");
    assert!(!acted);
    assert!(matches!(seconds(&bad)[..], [(What::Asked, _)]));
}

#[test]
fn a_first_release_has_nothing_to_go_back_to_and_says_so_once() {
    let (subject, policy) = (subject(), policy("Automatic", "Escalate"));
    let mut replay = Replay::new(&subject, &policy);
    let first = Release {
        created: Some(at(0)),
        dated: Dated::Created,
        ..release("a", 0, None)
    };
    let mut judged = Judged::default();
    replay.begin();
    let span = Span {
        from: at(0),
        until: at(300),
    };
    replay.run((&first, &recording(100, 300)), span, None, &mut judged);
    assert!(!replay.has_acted());
    assert!(
        matches!(seconds(&judged)[..], [(What::Held(Hold::NoTarget), _)]),
        "{:?}",
        judged.steps
    );
}

#[test]
fn the_release_after_a_rollback_is_judged_against_the_one_before_it() {
    let (subject, policy) = (subject(), policy("Automatic", "Escalate"));
    let mut replay = Replay::new(&subject, &policy);
    let recording = recording(100, 400);
    let mut steps = Vec::new();
    for (set, from, until) in [("a", 0, 60), ("b", 60, 200), ("c", 200, 600)] {
        let release = release(set, from, Some(until));
        let mut judged = Judged::default();
        replay.begin();
        let span = Span {
            from: at(from),
            until: at(until),
        };
        replay.run((&release, &recording), span, None, &mut judged);
        steps.extend(judged.steps);
    }
    // The alert fired already when the third one came, so nothing is held against that.
    let whats: Vec<What> = steps.iter().map(|step| step.what).collect();
    let before = What::Held(Hold::FailingBefore);
    assert_eq!(whats, [What::RolledBack, before], "{steps:?}");
}
