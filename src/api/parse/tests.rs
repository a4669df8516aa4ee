//! One base policy that is fine; each case changes one thing.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Targets, metric_source, rollback_policy};
use crate::api::v1alpha1::rollback_policy::Trigger;
use crate::decide::{Mode, OnTimeout};

pub(super) fn policy(spec: &Value) -> Value {
    json!({
        "apiVersion": "astern.dev/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {
            "name": "checkout-policy",
            "namespace": "shop",
            "uid": "0b9d3a52-aaaa",
            "generation": 3,
            "creationTimestamp": "2025-06-01T10:00:00Z",
        },
        "spec": spec,
    })
}

/// The field, and a part of what is said about it.
#[track_caller]
pub(super) fn refused(spec: &Value, field: &str, problem: &str) {
    let errors = rollback_policy(&policy(spec)).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].field, field);
    assert!(errors[0].problem.contains(problem), "{:?}", errors[0]);
    assert!(!errors[0].good_value.is_empty());
}

#[test]
fn a_policy_of_nothing_guards_something() {
    let parsed = rollback_policy(&policy(&json!({}))).unwrap();
    assert_eq!(
        (
            parsed.namespace.as_str(),
            parsed.name.as_str(),
            parsed.uid.as_str()
        ),
        ("shop", "checkout-policy", "0b9d3a52-aaaa")
    );
    assert_eq!(parsed.generation, 3);
    assert_eq!(parsed.created.to_string(), "2025-06-01T10:00:00Z");
    assert_eq!(parsed.targets, Targets::ByAnnotation);
    assert_eq!(parsed.metric_source, "default");
    let policy = parsed.policy;
    assert_eq!(policy.name, "checkout-policy");
    assert_eq!(policy.mode, Mode::Observe);
    assert_eq!(policy.probation, SignedDuration::from_mins(15));
    assert_eq!(policy.approval.required, 1);
    assert_eq!(policy.approval.timeout, SignedDuration::from_mins(30));
    assert_eq!(policy.approval.on_timeout, OnTimeout::Escalate);
    assert!(!policy.pause_rollout);
    assert_eq!(policy.rollback.deadline, SignedDuration::from_mins(10));
    assert_eq!(policy.rollback.recovery, SignedDuration::from_mins(2));
    assert_eq!(policy.after_probation, Mode::Observe);
    assert!(!policy.triggers.is_empty());
}

#[test]
fn what_is_given_is_taken() {
    let spec = json!({
        "targetRefs": [{"name": "checkout"}, {"group": "apps", "kind": "Deployment", "name": "cart"}],
        "mode": "Automatic",
        "probation": "1h",
        "metricSource": "tenant-a",
        "afterProbation": "RequireApproval",
        "approval": {
            "required": 2, "timeout": "45m", "onTimeout": "Release",
            "serviceAccounts": ["ci/release-bot"],
        },
        "pauseRollout": true,
        "rollback": {"deadline": "20m", "recovery": {"for": "90s"}},
    });
    let parsed = rollback_policy(&policy(&spec)).unwrap();
    assert_eq!(
        parsed.targets,
        Targets::Names(vec!["checkout".to_owned(), "cart".to_owned()])
    );
    assert_eq!(parsed.metric_source, "tenant-a");
    let policy = parsed.policy;
    assert_eq!(policy.mode, Mode::Automatic);
    assert_eq!(policy.probation, SignedDuration::from_hours(1));
    assert_eq!(policy.after_probation, Mode::RequireApproval);
    assert_eq!(policy.approval.required, 2);
    assert_eq!(policy.approval.timeout, SignedDuration::from_mins(45));
    assert_eq!(policy.approval.on_timeout, OnTimeout::Release);
    assert_eq!(policy.approval.service_accounts, ["ci/release-bot"]);
    assert!(policy.pause_rollout);
    assert_eq!(policy.rollback.deadline, SignedDuration::from_mins(20));
    assert_eq!(policy.rollback.recovery, SignedDuration::from_secs(90));
}

#[test]
fn a_selector_selects() {
    let spec = json!({"selector": {"matchLabels": {"team": "shop"}}});
    let Targets::Selector(selector) = rollback_policy(&policy(&spec)).unwrap().targets else {
        panic!("no selector");
    };
    let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    assert!(selector.matches(&labels));
    assert!(!selector.matches(&BTreeMap::new()));
}

#[test]
fn null_is_the_same_as_missing() {
    let spec = json!({"mode": null, "triggers": null, "approval": null, "probation": null});
    assert_eq!(
        rollback_policy(&policy(&spec)),
        rollback_policy(&policy(&json!({})))
    );
}

#[test]
fn durations_are_held_against_their_limits() {
    refused(
        &json!({"probation": "-5m"}),
        "spec.probation",
        "\"-5m\" is no duration",
    );
    refused(
        &json!({"probation": "1d"}),
        "spec.probation",
        "is no duration",
    );
    refused(
        &json!({"probation": 900}),
        "spec.probation",
        "900 is no text",
    );
    refused(
        &json!({"probation": "0s"}),
        "spec.probation",
        "not between 1s and 168h",
    );
    refused(
        &json!({"probation": "169h"}),
        "spec.probation",
        "not between 1s and 168h",
    );
    refused(
        &json!({"probation": "99999999999999999999999h"}),
        "spec.probation",
        "is no duration",
    );
    refused(
        &json!({"approval": {"timeout": "169h"}}),
        "spec.approval.timeout",
        "not between",
    );
    refused(
        &json!({"rollback": {"deadline": "25h"}}),
        "spec.rollback.deadline",
        "not between",
    );
    refused(
        &json!({"rollback": {"recovery": {"for": "10m"}}}),
        "spec.rollback.recovery.for",
        "not shorter than the deadline of 10m",
    );
}

#[test]
fn unknown_words_are_refused_by_name() {
    refused(&json!({"mode": "Off"}), "spec.mode", "\"Off\" is not known");
    refused(&json!({"mode": false}), "spec.mode", "false is no text");
    refused(&json!({"mode": "automatic"}), "spec.mode", "is not known");
    refused(
        &json!({"afterProbation": "Never"}),
        "spec.afterProbation",
        "\"Never\" is not known",
    );
    refused(
        &json!({"approval": {"required": 17}}),
        "spec.approval.required",
        "from 1 to 16",
    );
    refused(
        &json!({"approval": {"onTimeout": "Wait"}}),
        "spec.approval.onTimeout",
        "is not known",
    );
    refused(
        &json!({"pauseRollout": "yes"}),
        "spec.pauseRollout",
        "neither true nor false",
    );
    let spec = json!({"targetRefs": [{"kind": "StatefulSet", "name": "db"}]});
    refused(
        &spec,
        "spec.targetRefs[0].kind",
        "\"StatefulSet\" is not known",
    );
}

#[test]
fn targets_are_named_or_selected() {
    let both = json!({"targetRefs": [{"name": "checkout"}], "selector": {}});
    refused(&both, "spec.selector", "excludes targetRefs");
    refused(
        &json!({"targetRefs": [{}]}),
        "spec.targetRefs[0].name",
        "is missing",
    );
    for name in ["../secrets", "a/b", "Checkout", "", "a b"] {
        let spec = json!({"targetRefs": [{"name": name}]});
        refused(&spec, "spec.targetRefs[0].name", "is no name of an object");
    }
}

#[test]
fn a_megabyte_makes_a_short_message() {
    let huge = "x".repeat(1_000_000);
    for spec in [
        json!({"mode": huge}),
        json!({"probation": huge}),
        json!({"metricSource": huge}),
        json!({"triggers": huge}),
        json!({"triggers": [{"name": huge, "restarts": {}}]}),
        json!({"triggers": vec![json!({"name": "a", "restarts": {}}); 200]}),
        json!({"triggers": [{"name": "a", huge.as_str(): {}, (huge.clone() + "y"): {}}]}),
        json!({"triggers": [{"name": "a", "errorRate": {
            "custom": {"total": huge, "errors": huge}, "worseThanBefore": {"factor": huge, "atLeast": huge},
        }}]}),
        json!({"triggers": [{"name": "a", "latency": {
            "preset": huge, "percentile": huge, "threshold": huge, "labels": {"pod": huge, "namespace": huge},
        }}]}),
        json!({"triggers": [{"name": "a", "promql": {"query": huge, "above": huge}}]}),
        json!({"triggers": [{"name": "a", "alert": {"matchLabels": {huge.as_str(): "a", "b": huge}}}]}),
        json!({"targetRefs": vec![json!({"name": huge}); 200]}),
        json!({"selector": {"matchLabels": {huge.as_str(): huge}}}),
        json!({"selector": {"matchExpressions": vec![json!({"key": huge}); 200]}}),
    ] {
        let errors = rollback_policy(&policy(&spec)).unwrap_err();
        let text: usize = errors.iter().map(|error| error.to_string().len()).sum();
        assert!(text < 4_000, "{text} characters");
    }
}

#[test]
fn every_problem_is_told() {
    let spec = json!({"mode": "Off", "probation": "soon", "rollback": {"deadline": "1x"}});
    let errors = rollback_policy(&policy(&spec)).unwrap_err();
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        fields,
        ["spec.mode", "spec.probation", "spec.rollback.deadline"]
    );
    assert_eq!(
        errors[1].to_string(),
        "spec.probation: \"soon\" is no duration; a good value is 15m"
    );
}

#[test]
fn a_policy_without_spec_is_refused() {
    let errors = rollback_policy(&json!({"metadata": {"name": "empty"}})).unwrap_err();
    assert_eq!(errors[0].field, "spec");
    for nonsense in [json!(null), json!([]), json!("text"), json!({"spec": []})] {
        rollback_policy(&nonsense).unwrap_err();
        metric_source(&nonsense).unwrap_err();
    }
}

#[test]
fn a_policy_that_is_nowhere_yet_is_the_youngest() {
    let parsed = rollback_policy(&json!({"spec": {}})).unwrap();
    assert_eq!(parsed.created, jiff::Timestamp::MAX);
}

#[test]
fn a_metric_source_has_an_address() {
    let source = |spec: Value| json!({"metadata": {"name": "default"}, "spec": spec});
    let parsed = metric_source(&source(json!({"url": "http://prometheus:9090"}))).unwrap();
    assert_eq!(parsed.name, "default");
    assert_eq!(parsed.url, "http://prometheus:9090");
    assert_eq!(parsed.timeout, SignedDuration::from_secs(10));
    for (spec, field) in [
        (json!({}), "spec.url"),
        (json!({"url": ""}), "spec.url"),
        (json!({"url": "prometheus:9090"}), "spec.url"),
        (json!({"url": "http://admin:secret@prometheus"}), "spec.url"),
        (
            json!({"url": "http://prometheus", "timeout": "61s"}),
            "spec.timeout",
        ),
        (
            json!({"url": "http://prometheus", "timeout": "0s"}),
            "spec.timeout",
        ),
    ] {
        let errors = metric_source(&source(spec)).unwrap_err();
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, field));
    }
}

/// Any JSON, with the words of the API as keys so that it gets past the first branch.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,20}",
        "[0-9]{1,25}(h|m|s|ms|d|%)?",
        "(Automatic|Istio|In|apps|Deployment|5%|1m)",
        "-?[0-9]{1,20}[.]?[0-9]{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        "(spec|metadata|name|mode|triggers|errorRate|threshold|restarts|window|for)",
        "(targetRefs|selector|matchLabels|matchExpressions|key|operator|values|match)",
        "(approval|required|timeout|rollback|recovery|deadline|pauseRollout|url|probeFailures)",
        "(latency|promql|alert|unavailable|custom|total|errors|worseThanBefore|factor|atLeast)",
        "(labels|pod|namespace|percentile|query|above|below|afterProbation|alertname)",
    ];
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_panics(spec in any_json()) {
        for object in [spec.clone(), json!({"spec": spec.clone()}), json!({"spec": {"triggers": [spec.clone()]}})] {
            let _ = rollback_policy(&object);
            let _ = metric_source(&object);
        }
        let triggers: Vec<Value> = Trigger::KINDS
            .iter()
            .map(|kind| json!({"name": "a", *kind: spec.clone()}))
            .collect();
        let spec = json!({"spec": {"triggers": triggers, "selector": spec}});
        if let Err(errors) = rollback_policy(&spec) {
            prop_assert!(errors.iter().all(|error| error.to_string().len() < 1_000));
        }
    }
}

#[test]
fn a_drill_is_five_fields_of_cron_in_a_time_zone_that_exists() {
    let drill = |drill: Value| json!({"drill": drill});
    let parsed = rollback_policy(&policy(&drill(json!({"schedule": "0 9 * * MON-FRI"})))).unwrap();
    let terms = parsed.policy.drill.unwrap();
    assert_eq!(
        (terms.schedule.as_str(), terms.time_zone.as_str()),
        ("0 9 * * MON-FRI", "UTC")
    );
    for (given, field, problem) in [
        (json!({}), "spec.drill.schedule", "is missing"),
        (
            json!({"schedule": "0 0 9 * * *"}),
            "spec.drill.schedule",
            "five fields",
        ),
        (
            json!({"schedule": "@daily"}),
            "spec.drill.schedule",
            "five fields",
        ),
        (
            json!({"schedule": "0 0 30 2 *"}),
            "spec.drill.schedule",
            "never come round",
        ),
        (
            json!({"schedule": "0 9 * * *", "timeZone": "Mars/Olympus"}),
            "spec.drill.timeZone",
            "no name of a time zone",
        ),
        (json!("0 9 * * *"), "spec.drill", "is no object"),
    ] {
        refused(&drill(given), field, problem);
    }
}
