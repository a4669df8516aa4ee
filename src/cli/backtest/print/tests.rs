//! What people read, word for word.

use std::collections::BTreeMap;

use super::*;
use crate::cli::backtest::report::{Summary, TriggerNote, summary as sum_up};

fn at(second: i64) -> Timestamp {
    let base: Timestamp = "2026-11-02T10:00:00.25Z".parse().expect("a time");
    base + SignedDuration::from_secs(second)
}

fn release(title: &str, image: &str, from: i64, until: Option<i64>) -> ReleaseReport {
    ReleaseReport {
        release: title.to_owned(),
        replica_set: format!("checkout-{title}"),
        images: vec![format!("registry.example/{image}")],
        from: at(from),
        dated_by: "Created",
        until: until.map(at),
        verdict: Verdict::Good,
        good_since: Some(at(from + 960)),
        proof: Some("Full"),
        steps: Vec::new(),
        aftermath: None,
        triggers: BTreeMap::new(),
    }
}

fn report() -> Report {
    let mut bad = release("12", "checkout:v1.1.0", 7200, Some(18_720));
    bad.verdict = Verdict::WouldRollBack;
    bad.proof = None;
    bad.steps = vec![StepReport {
        at: at(7302),
        after_seconds: 102,
        what: "RollBack",
        trigger: "server-errors".to_owned(),
        evidence: "31.4% of 1204 requests failed in 1m (limit 5%)".to_owned(),
        to: Some("11".to_owned()),
        because: Vec::new(),
    }];
    bad.aftermath = Some(AftermathReport {
        requests: Some(13_400),
        failed_requests: Some(4211),
        saved_requests: Some(4190),
        counted_until: at(19_320),
        counted_in_part: false,
        ended_by_itself: None,
        replaced_by: Some("13".to_owned()),
        replaced_after_seconds: Some(11_418),
        judgement: Judgement::Justified,
        because: "it went on for 1h at least".to_owned(),
    });
    let mut report = Report {
        namespace: "shop".to_owned(),
        deployment: "checkout".to_owned(),
        policy: "careful".to_owned(),
        mode: "Automatic",
        from: at(0),
        until: at(86_400),
        history: vec!["ReplicaSets in the cluster: 3".to_owned()],
        releases: vec![
            release("11", "checkout:v1.0.0", 0, Some(7200)),
            bad,
            release("13", "checkout:v1.0.0", 18_720, None),
        ],
        not_replayed: vec![TriggerNote {
            trigger: "crashes".to_owned(),
            because: "nobody knows".to_owned(),
        }],
        never_had_data: Vec::new(),
        summary: Summary::default(),
    };
    report.summary = sum_up(&report.releases);
    report
}

#[test]
fn a_report_reads_like_this() {
    let expected = "\
Deployment shop/checkout, policy careful, mode Automatic
from 2026-11-02T10:00:00Z to 2026-11-03T10:00:00Z

RELEASE   TAG      FROM           VERDICT         AFTER    SAVED    JUDGEMENT
11        v1.0.0   11-02T10:00Z   Good            <none>   <none>   <none>
12        v1.1.0   11-02T12:00Z   WouldRollBack   1m42s    4190     Justified
13        v1.0.0   11-02T15:12Z   Good            <none>   <none>   <none>

Release 12, registry.example/checkout:v1.1.0, from 2026-11-02T12:00:00Z
  Would have rolled back to release 11 at 2026-11-02T12:01:42Z, 1m42s after the
    release
    server-errors: 31.4% of 1204 requests failed in 1m (limit 5%)
  In fact release 13 came 3h10m after that
  4211 of 13400 requests failed from then until 2026-11-02T15:22:00Z; up to 4190
    would have been saved
  Justified: it went on for 1h at least

3 releases: 1 would have been rolled back, 2 would have been known good.
1 decision: 1 justified, 0 false alarms, 0 unclear. Up to 4190 failed requests
  would have been saved.

Triggers that were not replayed:
  crashes: nobody knows

Releases were found in:
  ReplicaSets in the cluster: 3
";
    let found = text(&report(), false, Colours::none());
    assert_eq!(found, expected, "{found}");
    assert!(found.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn a_wide_table_says_more_and_its_cells_hold_no_spaces() {
    let wide = releases(&report(), true, Colours::none());
    for word in [
        "REPLICASET",
        "checkout-12",
        "registry.example/checkout:v1.1.0",
        "Full",
    ] {
        assert!(wide.contains(word), "{word}: {wide}");
    }
    let words = |line: &str| line.split_whitespace().count();
    let counts: Vec<usize> = wide.lines().map(words).collect();
    assert_eq!(counts, [12, 12, 12, 12], "{wide}");
}

#[test]
fn a_tag_tells_releases_apart_and_many_images_take_the_room_of_one() {
    let tags_of = |images: &[&str]| {
        let mut one = release("1", "checkout:v1", 0, None);
        one.images = images.iter().map(|image| (*image).to_owned()).collect();
        tags(&one)
    };
    assert_eq!(tags_of(&["registry.example:5000/checkout:v1"]), "v1");
    assert_eq!(tags_of(&["registry.example:5000/checkout"]), "latest");
    assert_eq!(
        tags_of(&["checkout:v1@sha256:0123456789abcdef"]),
        "0123456789ab"
    );
    assert_eq!(tags_of(&["checkout:v1", "proxy:v2"]), "v1,+1");
    assert_eq!(tags_of(&[]), "<unknown>");
    let mut two = release("1", "checkout:v1", 0, None);
    two.images.push("registry.example/proxy:v2".to_owned());
    assert_eq!(
        images(&two),
        "registry.example/checkout:v1,registry.example/proxy:v2"
    );
}

#[test]
fn what_a_false_alarm_is_stands_where_there_is_one() {
    let mut report = report();
    if let Some(aftermath) = &mut report.releases[1].aftermath {
        aftermath.judgement = Judgement::FalseAlarm;
    }
    report.summary = sum_up(&report.releases);
    let found = text(&report, false, Colours::none());
    assert!(found.contains("counts as a false alarm when"), "{found}");
}
