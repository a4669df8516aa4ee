//! Restarts on both sides of their limits, and the words that the other tests here share.

use jiff::SignedDuration;

use super::*;
use crate::decide::{Current, Memory, RestartCount, Revision, RevisionMemory, Verdict, Workload};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + seconds(1_000_000 + second)
}

pub(super) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

pub(super) fn word(reading: &Reading) -> &'static str {
    match reading {
        Reading::Passing(_) => "Passing",
        Reading::Breached(_) => "Breached",
        Reading::Unknown(unknown) => unknown.name(),
    }
}

/// A revision whose rollout began at 0 and is in progress; the revision before it was good.
pub(super) fn rolling() -> Observed {
    let known = |number: i64, since: i64| RevisionMemory {
        number,
        since: at(since),
        replicas: 4,
        ..RevisionMemory::default()
    };
    let before = RevisionMemory {
        verdict: Verdict::Good,
        rolled_out: Some(at(-900)),
        ..known(1, -1000)
    };
    let (new, old) = (Revision("bb".to_owned()), Revision("aa".to_owned()));
    Observed {
        workload: Workload {
            template: new.clone(),
            current: Some(Current {
                number: 2,
                created: at(0),
            }),
            replicas: 4,
            rolling_update: true,
            kept_available: 3,
            progress_deadline: seconds(600),
            progressed: Some(at(0)),
            ..Workload::default()
        },
        memory: Memory {
            revisions: [(old, before), (new, known(2, 0))].into(),
            incident: None,
        },
        ..Observed::default()
    }
}

/// A pod that restarted so often.
fn restarted(count: u32) -> Pod {
    Pod {
        born: at(0),
        restarts: vec![RestartCount { at: at(5), count }],
        last_termination: (count > 0).then(|| "Error (exit code 1)".to_owned()),
        ..Pod::default()
    }
}

fn reading(pods: Vec<Pod>) -> Reading {
    let rule = Restarts {
        threshold: 3,
        window: seconds(300),
        pods: Ratio(0.2),
    };
    let observed = Observed {
        pods,
        ..Observed::default()
    };
    restarts(&observed, &rule, at(10))
}

#[track_caller]
fn check(counts: &[u32], expected: &str) {
    let pods = counts.iter().copied().map(restarted).collect();
    assert_eq!(word(&reading(pods)), expected);
}

#[test]
fn restarts_breach_when_the_share_of_pods_is_reached() {
    check(&[], "NoPods");
    check(&[2, 2, 2, 2, 2], "Passing");
    check(&[3, 0, 0, 0, 0], "Breached");
    check(&[3, 0, 0, 0, 0, 0], "Passing");
}

#[test]
fn pods_that_are_excused_count_on_neither_side() {
    let excused = |count| Pod {
        excused: true,
        ..restarted(count)
    };
    let all = [3, 3].map(excused);
    assert_eq!(word(&reading(all.to_vec())), "NoPods");
    let one_of_five = [excused(9), excused(9), restarted(3)].into_iter();
    let healthy = (0..4).map(|_| restarted(0));
    let pods: Vec<Pod> = one_of_five.chain(healthy).collect();
    assert_eq!(word(&reading(pods)), "Breached");
    let pods = vec![excused(9), restarted(0)];
    assert_eq!(word(&reading(pods)), "Passing");
}

#[test]
fn the_most_common_cause_is_named() {
    let killed = Pod {
        last_termination: Some("OOMKilled (exit code 137)".to_owned()),
        ..restarted(3)
    };
    let pods = vec![restarted(3), killed.clone(), killed];
    let Reading::Breached(measurement) = reading(pods) else {
        panic!("breached");
    };
    assert_eq!(
        measurement.to_string(),
        "3 of 3 pods restarted 3 times or more in 5m: OOMKilled (exit code 137)"
    );
}
