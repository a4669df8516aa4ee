//! Which triggers are replayed, and which parts of a release are looked at.

use serde_json::json;

use super::*;
use crate::api::parse;
use crate::decide::Revision;

fn at(minute: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1_000_000 + minute)
}

fn question(full: bool) -> Question {
    let object = json!({
        "metadata": {"name": "checkout"},
        "spec": {"probation": "15m", "triggers": [
            {"name": "crashes", "restarts": {}},
            {"name": "errors", "errorRate": {"preset": "HTTPRequests", "threshold": "5%"}},
            {"name": "off", "mode": "Disabled", "errorRate": {"preset": "HTTPRequests", "threshold": "5%"}},
            {"name": "pager", "alert": {"matchLabels": {"alertname": "Down"}}},
        ]},
    });
    Question {
        namespace: "shop".to_owned(),
        deployment: "checkout".to_owned(),
        policy: parse::rollback_policy(&object).expect("a policy"),
        range: Span {
            from: at(0),
            until: at(10_000),
        },
        step: None,
        full,
    }
}

fn found(has_kube_state: bool) -> Found {
    Found {
        subject: replay::tests::subject(),
        releases: Vec::new(),
        has_kube_state,
        notes: Vec::new(),
    }
}

#[test]
fn what_counts_in_front_of_the_pods_needs_somebody_who_knows_what_leads_to_them() {
    let object = json!({
        "metadata": {"name": "checkout"},
        "spec": {"triggers": [
            {"name": "any", "errorRate": {"preset": "Auto", "threshold": "5%"}},
            {"name": "front", "errorRate": {"preset": "IngressNginx", "threshold": "5%"}},
        ]},
    });
    let policy = parse::rollback_policy(&object).expect("a policy").policy;
    let mut found = found(false);
    assert_eq!(replayable(&policy, &found).1, []);
    found.subject.paths = Err("nobody was asked".to_owned());
    let (replayed, notes) = replayable(&policy, &found);
    assert_eq!(replayed.triggers[0].name, "any");
    let [note] = &notes[..] else {
        panic!("{notes:?}");
    };
    assert_eq!(note.trigger, "front");
    assert!(note.because.contains("nobody was asked"), "{note:?}");
}

#[test]
fn what_nobody_recorded_is_left_out_and_said() {
    let policy = question(false).policy.policy;
    let names = |has_kube_state| {
        let (replayed, notes) = replayable(&policy, &found(has_kube_state));
        let replayed: Vec<String> = replayed.triggers.into_iter().map(|one| one.name).collect();
        let left_out: Vec<String> = notes.into_iter().map(|note| note.trigger).collect();
        (replayed.join(" "), left_out.join(" "))
    };
    let without = ("errors pager".to_owned(), "crashes off".to_owned());
    assert_eq!(names(false), without);
    let with = ("crashes errors pager".to_owned(), "off".to_owned());
    assert_eq!(names(true), with);
}

/// Slices of a release that begins at minute 100 and is rolled out at 103, in minutes.
fn slices(full: bool, until: Option<i64>, attention: Attention) -> Vec<(i64, i64)> {
    let question = question(full);
    let release = Release {
        set: "checkout-b".to_owned(),
        revision: Revision("b".to_owned()),
        number: None,
        images: Vec::new(),
        created: None,
        from: at(100),
        dated: history::Dated::Pods,
        until: until.map(at),
        rolled_out: Some(at(103)),
    };
    let mut slices = Slices::of(&release, &question.policy.policy, &question);
    let next = || slices.next(attention);
    let minute = |time: Timestamp| time.duration_since(at(0)).as_mins();
    std::iter::from_fn(next)
        .map(|span| (minute(span.from), minute(span.until)))
        .collect()
}

#[test]
fn only_the_probation_is_looked_at_unless_more_is_asked_for() {
    assert_eq!(slices(false, Some(5000), Attention::Seldom), [(100, 123)]);
    assert_eq!(slices(false, Some(5000), Attention::None), [(100, 123)]);
    let full = slices(true, Some(900), Attention::Seldom);
    assert_eq!(full, [(100, 123), (123, 483), (483, 843), (843, 900)]);
}

#[test]
fn a_release_ends_with_the_next_one_or_with_the_range() {
    assert_eq!(slices(false, Some(110), Attention::Close), [(100, 110)]);
    let full = slices(true, None, Attention::Seldom);
    assert_eq!(full.last().map(|last| last.1), Some(10_000));
}

#[test]
fn a_probation_that_does_not_end_is_not_looked_at_for_ever() {
    let patient = slices(false, Some(9000), Attention::Close);
    assert_eq!(patient.first(), Some(&(100, 123)));
    assert_eq!(patient.last().map(|last| last.1), Some(123 + 24 * 60));
}
