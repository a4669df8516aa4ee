//! What stalls a rollout, on both sides of each limit.

use super::*;
use crate::decide::health::running::tests::{at, rolling, seconds, word};
use crate::decide::{Found, Incident, Refused, RestartCount};

#[track_caller]
fn check(observed: &Observed, now: i64, expected: &str) {
    assert_eq!(word(&rollout_stalled(observed, at(now))), expected);
}

#[track_caller]
fn cause(observed: &Observed, now: i64) -> String {
    let Reading::Breached(Measurement::Rollout {
        cause: Some(cause), ..
    }) = rollout_stalled(observed, at(now))
    else {
        panic!("breached, and the cause is known");
    };
    cause
}

fn with(change: impl Fn(&mut Workload)) -> Observed {
    let mut observed = rolling();
    change(&mut observed.workload);
    observed
}

fn with_pods(pods: &[Pod]) -> Observed {
    Observed {
        pods: pods.to_vec(),
        ..rolling()
    }
}

/// A pod whose container has waited since second 10.
fn waiting(reason: &str) -> Pod {
    Pod {
        name: "checkout-bb-1".to_owned(),
        waiting: Some(Waiting {
            container: "app".to_owned(),
            reason: reason.to_owned(),
            message: "registry.example/checkout:v9: not found".to_owned(),
            since: at(10),
        }),
        ..Pod::default()
    }
}

fn started() -> Pod {
    Pod {
        name: "checkout-bb-2".to_owned(),
        started: true,
        ..Pod::default()
    }
}

fn excused(pod: Pod) -> Pod {
    Pod {
        excused: true,
        ..pod
    }
}

fn ready() -> Pod {
    Pod {
        ready: Some(at(20)),
        ..started()
    }
}

#[test]
fn our_own_clock_runs_from_the_last_progress() {
    check(&rolling(), 599, "RolloutInProgress");
    check(&rolling(), 600, "Breached");
    let moved = with(|workload| workload.progressed = Some(at(300)));
    check(&moved, 899, "RolloutInProgress");
    check(&moved, 900, "Breached");
    // What the revision before did is no progress of this one.
    let before = with(|workload| workload.progressed = Some(at(-500)));
    check(&before, 599, "RolloutInProgress");
}

#[test]
fn kubernetes_own_word_counts_at_once() {
    let exceeded = with(|workload| workload.progress_deadline_exceeded = true);
    check(&exceeded, 1, "Breached");
}

#[test]
fn a_rollout_that_was_complete_is_never_stalled() {
    let complete = with(|workload| workload.rolled_out = true);
    check(&complete, 9999, "Passing");
    let mut lost_a_node = rolling();
    let template = lost_a_node.workload.template.clone();
    let memory = lost_a_node.memory.revisions.get_mut(&template);
    memory.expect("remembered").rolled_out = Some(at(30));
    lost_a_node.pods = vec![waiting("ErrImagePull")];
    check(&lost_a_node, 9999, "Passing");
}

#[test]
fn what_was_complete_before_it_came_back_says_nothing() {
    let mut back = rolling();
    let template = back.workload.template.clone();
    let memory = back.memory.revisions.get_mut(&template);
    memory.expect("remembered").rolled_out = Some(at(-30));
    back.workload.current = back.workload.current.map(|current| crate::decide::Current {
        number: 3,
        ..current
    });
    back.memory.incident = Some(incident(at(100)));
    check(&back, 699, "RolloutInProgress");
    check(&back, 700, "Breached");
}

fn incident(patched: Timestamp) -> Incident {
    let observed = rolling();
    let mode = crate::decide::Mode::Automatic;
    Incident {
        attempt: 1,
        from: crate::decide::Revision("cc".to_owned()),
        to: observed.workload.template,
        trigger: "stuck".to_owned(),
        request: None,
        repoint: std::collections::BTreeMap::new(),
        restored: None,
        restored_by: None,
        mode,
        caps: Vec::new(),
        state: crate::decide::State::Verifying,
        evidence: String::new(),
        outcome: String::new(),
        approval: crate::decide::ApprovalTerms {
            required: 1,
            timeout: seconds(60),
            on_timeout: crate::decide::OnTimeout::Escalate,
            service_accounts: Vec::new(),
        },
        rollback: crate::decide::RollbackTerms {
            deadline: seconds(600),
            recovery: seconds(60),
        },
        pause_rollout: false,
        paused: false,
        code: None,
        approvals: Vec::new(),
        rejected_by: None,
        escalated: false,
        reconciler: None,
        git_range: None,
        found: Found::default(),
        timings: crate::decide::Timings {
            proposed: at(90),
            decided: Some(at(90)),
            patched: Some(patched),
            ended: None,
        },
    }
}

#[test]
fn a_persons_pause_stops_the_clock() {
    let paused = with(|workload| workload.paused = true);
    check(&paused, 9999, "RolloutInProgress");
}

#[test]
fn our_pause_stops_it_only_where_nothing_but_the_pause_is_waited_for() {
    let paused = |pods: &[Pod]| {
        let mut observed = with_pods(pods);
        observed.workload.paused = true;
        observed.workload.paused_by = Some("checkout-bb-5eed-1".to_owned());
        observed
    };
    check(&paused(&[ready()]), 9999, "RolloutInProgress");
    check(
        &paused(&[ready(), excused(started())]),
        9999,
        "RolloutInProgress",
    );
    check(&paused(&[ready(), started()]), 599, "RolloutInProgress");
    check(&paused(&[ready(), started()]), 600, "Breached");
    check(&paused(&[waiting("ErrImagePull")]), 70, "Breached");
}

#[test]
fn a_pod_that_cannot_start_breaches_after_a_minute() {
    for reason in [
        "ErrImagePull",
        "ImagePullBackOff",
        "CreateContainerConfigError",
    ] {
        let observed = with_pods(&[waiting(reason)]);
        check(&observed, 69, "NotLongEnough");
        check(&observed, 70, "Breached");
    }
    for reason in FINAL {
        check(&with_pods(&[waiting(reason)]), 10, "Breached");
    }
}

#[test]
fn a_pod_that_got_past_it_shows_that_the_revision_can_start() {
    let reason = "ImagePullBackOff";
    check(
        &with_pods(&[waiting(reason), started()]),
        599,
        "RolloutInProgress",
    );
    check(&with_pods(&[waiting(reason), started()]), 600, "Breached");
    check(
        &with_pods(&[waiting(reason), excused(started())]),
        70,
        "Breached",
    );
}

#[test]
fn a_pod_on_a_broken_node_is_not_the_revisions_fault() {
    let observed = with_pods(&[excused(waiting("ErrImagePull"))]);
    check(&observed, 599, "RolloutInProgress");
    check(&observed, 600, "Disrupted");
    let observed = with_pods(&[excused(waiting("ErrImagePull")), started()]);
    check(&observed, 600, "Breached");
    let observed = with_pods(&[excused(waiting("ErrImagePull")), ready()]);
    check(&observed, 600, "Disrupted");
}

#[test]
fn refused_pods_breach_after_a_minute_without_progress() {
    let refused = |progressed: i64| {
        with(|workload| {
            workload.progressed = Some(at(progressed));
            workload.pods_refused = Some(Refused {
                since: at(10),
                message: "exceeded quota: team".to_owned(),
            });
        })
    };
    check(&refused(0), 69, "NotLongEnough");
    check(&refused(0), 70, "Breached");
    check(&refused(50), 109, "NotLongEnough");
    check(&refused(50), 110, "Breached");
}

#[test]
fn a_refusal_of_the_revision_before_is_not_held_against_the_new_one() {
    let stale = with(|workload| {
        workload.pods_refused = Some(Refused {
            since: at(-500),
            message: "exceeded quota: team".to_owned(),
        });
    });
    check(&stale, 59, "NotLongEnough");
}

#[test]
fn the_cause_and_what_to_try_are_named() {
    let image = cause(&with_pods(&[waiting("ImagePullBackOff")]), 70);
    assert_eq!(
        image,
        "container app of pod checkout-bb-1 cannot start, ImagePullBackOff: \
         registry.example/checkout:v9: not found; check the image's name and tag, and imagePullSecrets"
    );
    let config = cause(&with_pods(&[waiting("CreateContainerConfigError")]), 70);
    assert!(
        config.ends_with("check the ConfigMaps and Secrets that it refers to"),
        "{config}"
    );
    let create = cause(&with_pods(&[waiting("StartError")]), 70);
    assert!(
        create.ends_with("check its command, mounts and security context"),
        "{create}"
    );
}

#[test]
fn what_most_likely_keeps_an_overdue_rollout_is_named() {
    let crashing = Pod {
        restarts: vec![RestartCount {
            at: at(9),
            count: 5,
        }],
        last_termination: Some("OOMKilled (exit code 137)".to_owned()),
        ..started()
    };
    let nowhere = Pod {
        name: "checkout-bb-3".to_owned(),
        unschedulable: Some("0/3 nodes are available: 3 Insufficient cpu.".to_owned()),
        ..Pod::default()
    };
    for (pods, words) in [
        (
            vec![started(), waiting("ErrImagePull")],
            "cannot start, ErrImagePull",
        ),
        (
            vec![crashing.clone(), nowhere],
            "no node takes pod checkout-bb-3: 0/3",
        ),
        (
            vec![ready(), crashing],
            "restarted 5 times, last after OOMKilled (exit code 137)",
        ),
        (vec![ready(), started()], "1 of 2 new pods are not ready"),
    ] {
        let cause = cause(&with_pods(&pods), 600);
        assert!(cause.contains(words), "{cause}");
    }
}
