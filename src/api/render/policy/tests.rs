//! What a user reads about what is guarded, and what is not.

use super::*;
use crate::api::parse;
use crate::decide::{DrillOutcome, DrillTerms, Hold, Measurement, Mode};

fn now() -> Timestamp {
    "2026-11-23T05:00:00Z".parse().expect("a time")
}

fn parsed() -> ParsedPolicy {
    let object = json!({
        "metadata": {"namespace": "shop", "name": "checkout-policy", "uid": "u1", "generation": 3,
            "creationTimestamp": "2026-11-23T05:00:00Z"},
        "spec": {"targetRefs": [{"name": "checkout"}], "mode": "Automatic", "triggers": [
            {"name": "errors", "errorRate": {"threshold": "5%"}},
            {"name": "stuck", "rolloutStalled": {}}]},
    });
    parse::rollback_policy(&object).expect("a good policy")
}

fn target_with(errors: Reading) -> Target {
    let reading = |trigger: &str, reading| TriggerReading {
        trigger: trigger.to_owned(),
        mode: Mode::Automatic,
        cannot_run: false,
        preset: None,
        reading,
    };
    Target {
        name: "checkout".to_owned(),
        revision: Revision("0123456789abcdef".to_owned()),
        verdict: Some(Verdict::Unproven),
        proof: None,
        held: None,
        reason: Reason::OnProbation,
        readings: vec![
            reading("errors", errors),
            reading(
                "stuck",
                Reading::Passing(Measurement::Rollout {
                    complete: true,
                    cause: None,
                }),
            ),
        ],
        passed: Vec::new(),
        judging: true,
        last_rollback: None,
        drills: None,
    }
}

fn passing() -> Reading {
    Reading::Passing(Measurement::Rollout {
        complete: true,
        cause: None,
    })
}

fn unavailable() -> Reading {
    Reading::Unknown(Unknown::NoAnswer {
        cause: "cannot be reached".to_owned(),
    })
}

#[track_caller]
fn check(targets: Vec<Target>, guards: &str, guarding: (&str, &str), message: &str) {
    let policy = parsed();
    let status = status(3, Ok(&policy), targets, &Value::Null, now());
    assert_eq!(status["guards"], guards);
    let condition = &status["conditions"][2];
    assert_eq!(condition["type"], "Guarding");
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!(guarding.0), &json!(guarding.1))
    );
    let text = condition["message"].as_str().expect("text");
    assert!(text.contains(message), "{text:?} does not say {message:?}");
    // Whatever happens to targets and sources, the spec is understood.
    assert_eq!(status["conditions"][1]["status"], "True");
}

#[test]
fn guarding_says_what_is_missing() {
    check(
        vec![target_with(passing())],
        "2/2",
        ("True", "Guarding"),
        "every trigger",
    );
    check(vec![], "0/2", ("False", "NoTarget"), "targetRefs");
    check(
        vec![target_with(unavailable())],
        "1/2",
        ("False", "Partial"),
        "errors: MetricSourceUnavailable: the metric source cannot be reached",
    );
}

#[test]
fn one_blind_target_is_enough_to_say_so() {
    let seeing = Target {
        name: "basket".to_owned(),
        ..target_with(passing())
    };
    check(
        vec![seeing, target_with(unavailable())],
        "1/2",
        ("False", "Partial"),
        "errors",
    );
}

#[test]
fn a_revision_that_passed_is_not_called_blind() {
    let mut settled = target_with(unavailable());
    settled.judging = false;
    settled.passed = vec!["errors".to_owned()];
    check(vec![settled], "2/2", ("True", "Guarding"), "every trigger");
}

#[test]
fn a_good_revision_says_what_that_rests_on() {
    let mut settled = target_with(passing());
    settled.verdict = Some(Verdict::Good);
    settled.proof = Some(Proof::Partial);
    let status = status(3, Ok(&parsed()), vec![settled], &Value::Null, now());
    let target = &status["targets"][0];
    assert_eq!(
        (&target["verdict"], &target["proof"]),
        (&json!("Good"), &json!("Partial"))
    );
}

#[test]
fn a_spec_that_can_never_work_is_stalled_and_names_the_fields() {
    let object = json!({"metadata": {"namespace": "shop", "name": "p", "uid": "u"},
        "spec": {"mode": "Sometimes"}});
    let errors = parse::rollback_policy(&object).expect_err("a bad mode");
    let status = status(1, Err(&errors), Vec::new(), &Value::Null, now());
    let accepted = &status["conditions"][0];
    assert_eq!(accepted["status"], "False");
    assert!(
        accepted["message"]
            .as_str()
            .expect("text")
            .contains("spec.mode")
    );
    assert_eq!(status["conditions"][3]["type"], "Stalled");
}

#[test]
fn nothing_is_written_twice() {
    let policy = parsed();
    let first = status(
        3,
        Ok(&policy),
        vec![target_with(passing())],
        &Value::Null,
        now(),
    );
    let later = now() + jiff::SignedDuration::from_secs(60);
    let second = status(3, Ok(&policy), vec![target_with(passing())], &first, later);
    assert_eq!(first, second);
}

#[track_caller]
fn check_ready(drills: &[Option<DrillOutcome>], expected: (&str, &str), message: &str) {
    let mut policy = parsed();
    policy.policy.drill = Some(DrillTerms {
        schedule: "0 9 * * *".to_owned(),
        time_zone: "UTC".to_owned(),
    });
    let targets = drills.iter().map(|outcome| Target {
        drills: Some(outcome.map(|outcome| Drilled {
            at: now(),
            outcome,
            detail: "seen".to_owned(),
        })),
        ..target_with(passing())
    });
    let status = status(3, Ok(&policy), targets.collect(), &Value::Null, now());
    let condition = &status["conditions"][3];
    assert_eq!(condition["type"], "RollbackReady");
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!(expected.0), &json!(expected.1))
    );
    let text = condition["message"].as_str().expect("text");
    assert!(text.contains(message), "{text:?} does not say {message:?}");
}

#[test]
fn a_policy_is_ready_only_when_every_target_is() {
    let (ready, held) = (
        Some(DrillOutcome::Ready),
        Some(DrillOutcome::Held(Hold::NoTarget)),
    );
    check_ready(&[ready, ready], ("True", "Ready"), "every target");
    check_ready(&[ready, None], ("Unknown", "NeverDrilled"), "checkout");
    check_ready(
        &[None, held, ready],
        ("False", "NoTarget"),
        "checkout: NoTarget at",
    );
    check_ready(&[], ("Unknown", "NeverDrilled"), "not drilled yet");
}

#[test]
fn a_policy_without_drills_says_nothing_about_them() {
    let policy = parsed();
    let status = status(
        3,
        Ok(&policy),
        vec![target_with(passing())],
        &Value::Null,
        now(),
    );
    assert!(!status.to_string().contains("ollbackReady"), "{status}");
}
