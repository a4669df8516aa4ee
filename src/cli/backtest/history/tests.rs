//! Who was current when, from each kind of trace that a release leaves.

use serde_json::json;

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1_000_000 + minute)
}

fn span() -> Span {
    Span {
        from: at(0),
        until: at(600),
    }
}

fn set(name: &str, created: i64, numbers: &[i64]) -> ReplicaSet {
    let (number, before) = numbers.split_last().expect("a number");
    ReplicaSet {
        name: name.to_owned(),
        created: at(created),
        number: *number,
        numbers_before: before.to_vec(),
        revision: Revision(format!("digest of {name}")),
        images: vec![format!("image of {name}")],
    }
}

fn known(sets: &[ReplicaSet]) -> Known {
    Known {
        sets: sets
            .iter()
            .map(|set| (set.name.clone(), set.clone()))
            .collect(),
        ..Known::default()
    }
}

/// Pods of each ReplicaSet from a minute until before another one.
fn activity(runs: &[(&str, i64, i64, u32)]) -> Activity {
    let mut activity = Activity {
        step: SignedDuration::from_mins(1),
        ..Activity::default()
    };
    for (set, from, until, count) in runs {
        for minute in *from..*until {
            let pods = activity.pods.entry(at(minute)).or_default();
            pods.insert((*set).to_owned(), *count);
        }
    }
    activity
}

fn minute(time: Timestamp) -> i64 {
    time.duration_since(at(0)).as_mins()
}

#[track_caller]
fn check(known: &Known, activity: &Activity, expected: &[(&str, i64, Option<i64>, Dated)]) {
    let found = releases(known, activity, span());
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.set.as_str(), minute(one.from), one.number, one.dated))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn creations_alone_tell_the_releases_of_new_templates() {
    let known = known(&[
        set("a", -50, &[1]),
        set("b", 100, &[2]),
        set("c", 200, &[3]),
    ]);
    let expected = [
        ("a", 0, Some(1), Dated::Beginning),
        ("b", 100, Some(2), Dated::Created),
        ("c", 200, Some(3), Dated::Created),
    ];
    check(&known, &Activity::default(), &expected);
}

#[test]
fn pods_tell_when_an_older_one_became_current_again() {
    let known = known(&[set("a", -50, &[1, 3]), set("b", 100, &[2])]);
    let activity = activity(&[("a", 0, 102, 4), ("b", 101, 303, 4), ("a", 300, 600, 4)]);
    let expected = [
        ("a", 0, Some(1), Dated::Beginning),
        ("b", 100, Some(2), Dated::Created),
        ("a", 300, Some(3), Dated::Pods),
    ];
    check(&known, &activity, &expected);
}

#[test]
fn a_rollout_that_was_undone_half_way_ends_when_the_old_one_grew_again() {
    let known = known(&[set("a", -50, &[1, 3]), set("b", 100, &[2])]);
    let activity = activity(&[
        ("a", 0, 101, 4),
        ("a", 101, 110, 3),
        ("b", 101, 112, 2),
        ("a", 110, 600, 4),
    ]);
    let expected = [
        ("a", 0, Some(1), Dated::Beginning),
        ("b", 100, Some(2), Dated::Created),
        ("a", 110, Some(3), Dated::Pods),
    ];
    check(&known, &activity, &expected);
}

#[test]
fn pods_alone_are_enough() {
    let activity = activity(&[("x-a", 0, 102, 4), ("x-b", 101, 600, 4)]);
    let expected = [
        ("x-a", 0, None, Dated::Beginning),
        ("x-b", 101, None, Dated::Pods),
    ];
    check(&Known::default(), &activity, &expected);
    let found = releases(&Known::default(), &activity, span());
    assert_eq!(found[1].title(), "b");
    assert!(found[1].owns("x-b-7h2kq") && !found[1].owns("x-a-7h2kq"));
    assert_eq!(minute(found[1].rolled_out.expect("rolled out")), 102);
    assert_eq!(found[0].until, Some(at(101)));
}

#[test]
fn a_source_that_was_blind_for_a_while_makes_no_release() {
    let known = known(&[set("a", -50, &[1])]);
    let activity = activity(&[("a", 0, 100, 4), ("a", 200, 600, 4)]);
    check(&known, &activity, &[("a", 0, Some(1), Dated::Beginning)]);
}

#[test]
fn old_pods_that_are_scraped_once_more_make_no_release() {
    let known = known(&[set("a", -50, &[1]), set("b", 100, &[2])]);
    let activity = activity(&[
        ("a", 0, 103, 4),
        ("b", 101, 600, 4),
        ("a", 104, 105, 1),
        ("a", 107, 108, 1),
    ]);
    let expected = [
        ("a", 0, Some(1), Dated::Beginning),
        ("b", 100, Some(2), Dated::Created),
    ];
    check(&known, &activity, &expected);
}

#[test]
fn a_night_at_zero_replicas_makes_no_release() {
    let activity = activity(&[("a", 0, 100, 4), ("a", 300, 400, 4), ("b", 400, 600, 4)]);
    let expected = [
        ("a", 0, None, Dated::Beginning),
        ("b", 400, None, Dated::Pods),
    ];
    check(&Known::default(), &activity, &expected);
}

#[test]
fn a_release_whose_pods_were_never_scraped_is_not_lost() {
    let mut known = known(&[set("a", -50, &[1, 3]), set("b", 100, &[2])]);
    known.progressed = Some(at(130));
    let activity = activity(&[("a", 0, 600, 4)]);
    let expected = [
        ("a", 0, Some(1), Dated::Beginning),
        ("b", 100, Some(2), Dated::Created),
        ("a", 130, Some(3), Dated::Progressed),
    ];
    check(&known, &activity, &expected);
}

#[test]
fn what_an_operator_recorded_dates_a_return() {
    let mut known = known(&[set("a", -50, &[1, 3]), set("b", 100, &[2])]);
    known.recorded = vec![(Revision("digest of a".to_owned()), at(104))];
    let expected = [
        ("a", 0, Some(1), Dated::Beginning),
        ("b", 100, Some(2), Dated::Created),
        ("a", 104, Some(3), Dated::Recorded),
    ];
    check(&known, &Activity::default(), &expected);
}

#[test]
fn nothing_known_is_no_release() {
    check(&Known::default(), &Activity::default(), &[]);
}

#[test]
fn a_replica_set_is_read_only_from_its_owner() {
    let object = json!({
        "metadata": {"name": "checkout-abc", "creationTimestamp": "2026-11-23T05:00:00Z",
            "annotations": {
                "deployment.kubernetes.io/revision": "7",
                "deployment.kubernetes.io/revision-history": "1,4",
            },
            "ownerReferences": [{"controller": true, "uid": "5eed0006"}]},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "checkout:v1"}]}}},
    });
    let read = ReplicaSet::read(&object, "5eed0006").expect("a ReplicaSet");
    assert_eq!((read.number, read.numbers_before), (7, vec![1, 4]));
    assert_eq!(read.images, ["checkout:v1"]);
    assert_eq!(ReplicaSet::read(&object, "other"), None);
    assert_eq!(ReplicaSet::read(&json!({}), "5eed0006"), None);
}
