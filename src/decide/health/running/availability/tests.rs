//! When too few replicas are the revision's fault, and when not.

use super::*;
use crate::decide::health::running::tests::{at, rolling, seconds, word};
use crate::decide::{RevisionMemory, Verdict};

fn rule() -> Unavailable {
    Unavailable {
        below: Ratio(0.5),
        sustained: seconds(60),
    }
}

#[track_caller]
fn check(observed: &Observed, now: i64, expected: &str) {
    assert_eq!(word(&unavailable(observed, &rule(), at(now))), expected);
}

/// Of four replicas, so many were available since these seconds.
fn rolling_with(seen: &[(i64, u32)]) -> Observed {
    let mut observed = rolling();
    observed.workload.availability = seen
        .iter()
        .map(|(second, available)| Availability {
            at: at(*second),
            available: *available,
            replicas: 4,
        })
        .collect();
    observed
}

/// The same, of a revision whose rollout was complete at second 10.
fn complete_with(seen: &[(i64, u32)]) -> Observed {
    let mut observed = rolling_with(seen);
    memory(&mut observed).rolled_out = Some(at(10));
    observed
}

fn memory(observed: &mut Observed) -> &mut RevisionMemory {
    let template = observed.workload.template.clone();
    let memory = observed.memory.revisions.get_mut(&template);
    memory.expect("remembered")
}

#[test]
fn too_few_for_long_enough_breach() {
    check(&complete_with(&[(0, 4), (20, 2)]), 999, "Passing");
    check(&complete_with(&[(0, 4), (20, 1)]), 79, "NotLongEnough");
    check(&complete_with(&[(0, 4), (20, 1)]), 80, "Breached");
    check(&complete_with(&[(0, 4), (20, 1), (50, 0)]), 80, "Breached");
    check(
        &complete_with(&[(0, 4), (20, 1), (50, 4), (51, 0)]),
        80,
        "NotLongEnough",
    );
    check(&complete_with(&[(0, 4), (20, 1), (99, 3)]), 100, "Passing");
}

#[test]
fn old_pods_that_held_the_level_show_that_it_can_be_held() {
    check(&rolling_with(&[(-9, 4), (20, 1)]), 79, "NotLongEnough");
    check(&rolling_with(&[(-9, 4), (20, 1)]), 80, "Breached");
}

#[test]
fn a_strategy_that_takes_the_old_pods_first_gives_the_new_ones_time() {
    let mut recreated = rolling_with(&[(-9, 4), (1, 0)]);
    recreated.workload.kept_available = 0;
    check(&recreated, 9999, "RolloutInProgress");
    recreated.workload.kept_available = 2;
    check(&recreated, 9999, "Breached");
    let mut recreated = complete_with(&[(-9, 4), (1, 0), (10, 4), (20, 0)]);
    recreated.workload.kept_available = 0;
    check(&recreated, 80, "Breached");
}

#[test]
fn a_first_rollout_has_its_time() {
    let mut first = rolling_with(&[(0, 0)]);
    first
        .memory
        .revisions
        .retain(|_, memory| memory.verdict != Verdict::Good);
    check(&first, 9999, "RolloutInProgress");
}

#[test]
fn what_was_down_before_is_not_held_against_the_release() {
    check(&rolling_with(&[(-9, 1)]), 9999, "BadBefore");
    check(
        &rolling_with(&[(-9, 4), (-5, 1), (20, 0)]),
        9999,
        "BadBefore",
    );
    check(&rolling_with(&[(-9, 1), (20, 4), (30, 1)]), 90, "Breached");
}

#[test]
fn a_restarted_operator_blames_nobody_for_what_it_did_not_see() {
    check(&rolling_with(&[(50, 1)]), 9999, "RolloutInProgress");
    check(&complete_with(&[(50, 1)]), 109, "NotLongEnough");
    check(&complete_with(&[(50, 1)]), 110, "Breached");
}

#[test]
fn what_a_disruption_took_does_not_count() {
    let mut drained = complete_with(&[(0, 4), (20, 1)]);
    drained.workload.disrupted = 1;
    check(&drained, 999, "Disrupted");
    let mut drained = complete_with(&[(0, 4), (20, 0)]);
    drained.workload.disrupted = 1;
    check(&drained, 999, "Breached");
}

#[test]
fn fewer_replicas_than_at_the_start_lower_the_level() {
    let mut scaled_down = complete_with(&[(0, 4), (20, 1)]);
    scaled_down.workload.replicas = 2;
    let newest = scaled_down.workload.availability.last_mut();
    newest.expect("seen").replicas = 2;
    check(&scaled_down, 999, "Passing");
    scaled_down.workload.replicas = 0;
    check(&scaled_down, 999, "NoPods");
}

#[test]
fn more_replicas_than_at_the_start_do_not_raise_the_level() {
    let mut scaled_up = complete_with(&[(0, 4), (20, 2)]);
    scaled_up.workload.replicas = 40;
    let newest = scaled_up.workload.availability.last_mut();
    newest.expect("seen").replicas = 40;
    check(&scaled_up, 999, "Passing");
}

#[test]
fn pods_that_a_scaling_asks_for_have_as_long_as_a_rollout() {
    let mut from_zero = complete_with(&[(0, 4), (20, 0), (100, 0)]);
    from_zero.workload.availability[1].replicas = 0;
    check(&from_zero, 699, "NotLongEnough");
    check(&from_zero, 700, "Breached");
    memory(&mut from_zero).replicas = 0;
    check(&from_zero, 700, "Breached");
}

#[test]
fn nothing_is_said_before_anything_was_seen() {
    check(&complete_with(&[]), 999, "NoPods");
}
