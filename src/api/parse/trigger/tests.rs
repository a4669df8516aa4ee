//! The list of triggers, and those that look at how pods run.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::rollback_policy;
use super::super::tests::{policy, refused};
use super::KINDS;
use crate::api::v1alpha1::rollback_policy::Trigger as Wire;
use crate::decide::{
    ErrorRate, LabelNames, Limit, Mode, Preset, Probe, ProbeFailures, Rate, Ratio, Requests,
    Restarts, Shape, TriggerKind, Unavailable,
};

/// A spec with one trigger, called first.
pub(super) fn trigger(kind: &str, fields: &Value) -> Value {
    json!({"triggers": [{"name": "first", kind: fields}]})
}

/// Returns what one trigger asks for.
#[track_caller]
pub(super) fn taken(kind: &str, fields: &Value) -> TriggerKind {
    let object = policy(&trigger(kind, fields));
    let parsed = rollback_policy(&object).unwrap_or_else(|errors| panic!("{fields}: {errors:?}"));
    let [trigger] = <[_; 1]>::try_from(parsed.policy.triggers).unwrap();
    assert_eq!(trigger.kind.name(), kind);
    trigger.kind
}

/// Shapes of series that are found by themselves, without anything of the user's.
pub(super) fn any_shape() -> Shape {
    Shape {
        preset: Preset::Auto,
        matchers: String::new(),
        labels: LabelNames::default(),
    }
}

#[test]
fn the_schema_and_the_parser_know_the_same_kinds() {
    assert_eq!(
        KINDS.iter().map(|kind| kind.0).collect::<Vec<_>>(),
        Wire::KINDS
    );
}

#[test]
fn a_policy_of_nothing_guards_pods_rollout_replicas_and_requests() {
    let parsed = rollback_policy(&policy(&json!({}))).unwrap();
    let triggers = parsed.policy.triggers;
    let kinds: Vec<(&str, &TriggerKind)> = triggers
        .iter()
        .map(|trigger| (trigger.name.as_str(), &trigger.kind))
        .collect();
    let restarts = Restarts {
        threshold: 3,
        window: SignedDuration::from_mins(5),
        pods: Ratio(0.2),
    };
    let unavailable = Unavailable {
        below: Ratio(0.5),
        sustained: SignedDuration::from_mins(1),
    };
    let errors = ErrorRate {
        requests: Requests::Preset(any_shape()),
        rate: Rate {
            limit: Limit::Threshold {
                threshold: Ratio(0.05),
                sustained: SignedDuration::from_mins(2),
            },
            window: SignedDuration::from_mins(1),
            minimum_requests: 20,
        },
    };
    assert_eq!(
        kinds,
        [
            ("crashes", &TriggerKind::Restarts(restarts)),
            ("stuck", &TriggerKind::RolloutStalled),
            ("down", &TriggerKind::Unavailable(unavailable)),
            ("server-errors", &TriggerKind::ErrorRate(errors)),
        ]
    );
    assert!(triggers.iter().all(|trigger| trigger.mode.is_none()));
}

#[test]
fn triggers_about_pods_take_what_is_given() {
    let probes = json!({"probe": "Startup", "threshold": 9, "window": "4m"});
    let probes = taken("probeFailures", &probes);
    let expected = ProbeFailures {
        probe: Probe::Startup,
        threshold: 9,
        window: SignedDuration::from_mins(4),
    };
    assert_eq!(probes, TriggerKind::ProbeFailures(expected));

    let restarts = json!({"threshold": 8, "window": "6m", "pods": "12.5%"});
    let restarts = taken("restarts", &restarts);
    let expected = Restarts {
        threshold: 8,
        window: SignedDuration::from_mins(6),
        pods: Ratio(0.125),
    };
    assert_eq!(restarts, TriggerKind::Restarts(expected));

    let unavailable = taken("unavailable", &json!({"below": "100%", "for": "0s"}));
    let expected = Unavailable {
        below: Ratio(1.0),
        sustained: SignedDuration::ZERO,
    };
    assert_eq!(unavailable, TriggerKind::Unavailable(expected));
    taken("rolloutStalled", &json!({}));
}

#[test]
fn a_trigger_may_cap_the_mode() {
    let spec =
        json!({"triggers": [{"name": "stuck", "mode": "RequireApproval", "rolloutStalled": {}}]});
    let parsed = rollback_policy(&policy(&spec)).unwrap();
    assert_eq!(parsed.policy.triggers[0].mode, Some(Mode::RequireApproval));
    let spec = json!({"triggers": [{"name": "stuck", "mode": "Warn", "rolloutStalled": {}}]});
    refused(&spec, "spec.triggers[0].mode", "\"Warn\" is not known");
}

#[test]
fn replicas_are_a_percentage_and_a_time() {
    let path = "spec.triggers[0].unavailable";
    for (fields, field, problem) in [
        (json!({"below": "101%"}), "below", "is no percentage"),
        (json!({"below": "0%"}), "below", "is no percentage"),
        (json!({"below": 3}), "below", "3 is no text"),
        (json!({"for": "25h"}), "for", "not between 0s and 24h"),
    ] {
        let spec = trigger("unavailable", &fields);
        refused(&spec, &format!("{path}.{field}"), problem);
    }
    let spec = trigger("restarts", &json!({"pods": "101%"}));
    refused(&spec, "spec.triggers[0].restarts.pods", "is no percentage");
}

#[test]
fn a_trigger_has_exactly_one_kind() {
    let two = json!({"triggers": [{"name": "both", "restarts": {}, "alert": {}}]});
    refused(
        &two,
        "spec.triggers[0]",
        "more than one kind: restarts, alert",
    );
    let none = json!({"triggers": [{"name": "none", "mode": "Observe"}]});
    refused(&none, "spec.triggers[0]", "has no kind that is known");
    let misspelled = json!({"triggers": [{"name": "none", "errorrate": {}, "memory": {}}]});
    refused(
        &misspelled,
        "spec.triggers[0]",
        "no kind that is known: \"errorrate\", \"memory\" is none",
    );
    refused(
        &json!({"triggers": ["restarts"]}),
        "spec.triggers[0]",
        "is no object",
    );
    for kind in Wire::KINDS {
        let path = format!("spec.triggers[0].{kind}");
        refused(&trigger(kind, &json!(3)), &path, "3 is no object");
    }
}

#[test]
fn triggers_have_names_of_their_own() {
    let twice = json!({"triggers": [
        {"name": "crashes", "restarts": {}},
        {"name": "crashes", "rolloutStalled": {}},
    ]});
    refused(
        &twice,
        "spec.triggers[1].name",
        "is the name of another trigger too",
    );
    for name in [
        "Crashes",
        "crashes,stuck",
        "-crashes",
        "crashes-",
        "crash es",
        "é",
    ] {
        let spec = json!({"triggers": [{"name": name, "restarts": {}}]});
        refused(&spec, "spec.triggers[0].name", "is no name");
    }
    refused(
        &json!({"triggers": [{"restarts": {}}]}),
        "spec.triggers[0].name",
        "is missing",
    );
}

#[test]
fn counts_are_whole_numbers_within_limits() {
    for number in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(10_001),
        json!(u64::MAX),
        json!("3"),
    ] {
        let spec = trigger("restarts", &json!({"threshold": number}));
        refused(
            &spec,
            "spec.triggers[0].restarts.threshold",
            "is no number from 1 to 10000",
        );
    }
    for number in [1, 10_000] {
        taken("restarts", &json!({"threshold": number}));
    }
}
