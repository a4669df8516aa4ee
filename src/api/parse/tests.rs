//! One base policy that is fine; each case changes one thing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Targets, metric_source, rollback_policy};
use crate::decide::{
    ErrorRate, Limit, Mode, OnTimeout, Preset, Probe, Ratio, Requests, Shape, TriggerKind,
};
use jiff::SignedDuration;

fn policy(spec: &Value) -> Value {
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
fn refused(spec: &Value, field: &str, problem: &str) {
    let errors = rollback_policy(&policy(spec)).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].field, field);
    assert!(errors[0].problem.contains(problem), "{:?}", errors[0]);
    assert!(!errors[0].good_value.is_empty());
}

fn trigger(kind: &str, fields: &Value) -> Value {
    json!({"triggers": [{"name": "first", kind: fields}]})
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

    let names: Vec<&str> = policy.triggers.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["crashes", "stuck", "server-errors"]);
    let TriggerKind::Restarts(restarts) = &policy.triggers[0].kind else {
        panic!("{:?}", policy.triggers[0]);
    };
    assert_eq!((restarts.threshold, restarts.pods), (3, Ratio(0.2)));
    assert_eq!(restarts.window, SignedDuration::from_mins(5));
    assert_eq!(policy.triggers[1].kind, TriggerKind::RolloutStalled);
    let TriggerKind::ErrorRate(rate) = &policy.triggers[2].kind else {
        panic!("{:?}", policy.triggers[2]);
    };
    let shape = shape(rate);
    assert_eq!(shape.preset, Preset::HttpRequests);
    assert_eq!(shape.matchers, "");
    let rate = &rate.rate;
    let limit = Limit::Threshold {
        threshold: Ratio(0.05),
        sustained: SignedDuration::from_mins(2),
    };
    assert_eq!((rate.limit, rate.minimum_requests), (limit, 20));
    assert_eq!(rate.window, SignedDuration::from_mins(1));
}

fn shape(rate: &ErrorRate) -> &Shape {
    match &rate.requests {
        Requests::Preset(shape) => shape,
        Requests::Custom { .. } => panic!("{rate:?}"),
    }
}

#[test]
fn what_is_given_is_taken() {
    let spec = json!({
        "targetRefs": [{"name": "checkout"}, {"group": "apps", "kind": "Deployment", "name": "cart"}],
        "mode": "Automatic",
        "probation": "1h",
        "metricSource": "tenant-a",
        "triggers": [
            {"name": "errors", "mode": "RequireApproval", "errorRate": {
                "preset": "Istio", "match": "request_protocol=\"http\",", "threshold": "0.1%",
                "window": "30s", "for": "0s", "minimumRequests": 7,
            }},
            {"name": "probes", "probeFailures": {"probe": "Startup", "threshold": 9, "window": "4m"}},
            {"name": "crashes", "restarts": {"threshold": 8, "window": "6m", "pods": "12.5%"}},
        ],
        "approval": {"required": 2, "timeout": "45m", "onTimeout": "Release"},
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
    assert_eq!(policy.triggers[0].mode, Some(Mode::RequireApproval));
    let TriggerKind::ErrorRate(rate) = &policy.triggers[0].kind else {
        panic!("{:?}", policy.triggers[0]);
    };
    let shape = shape(rate);
    assert_eq!(shape.preset, Preset::Istio);
    assert_eq!(shape.matchers, "request_protocol=\"http\"");
    let rate = &rate.rate;
    let limit = Limit::Threshold {
        threshold: Ratio(0.001),
        sustained: SignedDuration::ZERO,
    };
    assert_eq!((rate.limit, rate.minimum_requests), (limit, 7));
    assert_eq!(rate.window, SignedDuration::from_secs(30));
    let TriggerKind::ProbeFailures(probes) = &policy.triggers[1].kind else {
        panic!("{:?}", policy.triggers[1]);
    };
    assert_eq!((probes.probe, probes.threshold), (Probe::Startup, 9));
    assert_eq!(probes.window, SignedDuration::from_mins(4));
    let TriggerKind::Restarts(restarts) = &policy.triggers[2].kind else {
        panic!("{:?}", policy.triggers[2]);
    };
    assert_eq!((restarts.threshold, restarts.pods), (8, Ratio(0.125)));
    assert_eq!(restarts.window, SignedDuration::from_mins(6));
    assert_eq!(policy.approval.required, 2);
    assert_eq!(policy.approval.timeout, SignedDuration::from_mins(45));
    assert_eq!(policy.approval.on_timeout, OnTimeout::Release);
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
fn thresholds_are_percentages_of_a_whole() {
    for text in [
        "500%",
        "0%",
        "0.0000%",
        "5",
        "-5%",
        "+5%",
        "1e400%",
        "1e1%",
        "NaN%",
        "inf%",
        "%",
        "",
        " 5%",
        "5 %",
        "100.0001%",
        ".5%",
        "5.%",
        "0.00001%",
        "0005%",
    ] {
        let spec = trigger("errorRate", &json!({"threshold": text}));
        refused(
            &spec,
            "spec.triggers[0].errorRate.threshold",
            "is no percentage above 0%",
        );
    }
    for (text, ratio) in [
        ("100%", 1.0),
        ("0.0001%", 0.000_001),
        ("007%", 0.07),
        ("2.5%", 0.025),
    ] {
        let spec = trigger("errorRate", &json!({"threshold": text}));
        let parsed = rollback_policy(&policy(&spec)).unwrap();
        let TriggerKind::ErrorRate(rate) = &parsed.policy.triggers[0].kind else {
            panic!("{:?}", parsed.policy.triggers);
        };
        let Limit::Threshold { threshold, .. } = rate.rate.limit else {
            panic!("{rate:?}");
        };
        assert!((threshold.0 - ratio).abs() < 1e-12, "{text}");
    }
    let path = "spec.triggers[0].errorRate.threshold";
    refused(&trigger("errorRate", &json!({})), path, "is missing");
    refused(
        &trigger("errorRate", &json!({"threshold": 5})),
        path,
        "5 is no text",
    );
    let spec = trigger("restarts", &json!({"pods": "101%"}));
    refused(&spec, "spec.triggers[0].restarts.pods", "is no percentage");
}

#[test]
fn a_trigger_has_exactly_one_kind() {
    let two = json!({"triggers": [{"name": "both", "restarts": {}, "rolloutStalled": {}}]});
    refused(&two, "spec.triggers[0]", "more than one kind");
    refused(
        &json!({"triggers": [{"name": "none"}]}),
        "spec.triggers[0]",
        "no kind that is known",
    );
    refused(
        &json!({"triggers": ["restarts"]}),
        "spec.triggers[0]",
        "is no object",
    );
    refused(
        &trigger("restarts", &json!(3)),
        "spec.triggers[0].restarts",
        "3 is no object",
    );
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
    refused(
        &json!({"approval": {"required": 17}}),
        "spec.approval.required",
        "from 1 to 16",
    );
}

#[test]
fn unknown_words_are_refused_by_name() {
    refused(&json!({"mode": "Off"}), "spec.mode", "\"Off\" is not known");
    refused(&json!({"mode": false}), "spec.mode", "false is no text");
    refused(&json!({"mode": "automatic"}), "spec.mode", "is not known");
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
        let spec = json!({"spec": {"triggers": [{"name": "a", "errorRate": spec.clone()}], "selector": spec}});
        if let Err(errors) = rollback_policy(&spec) {
            prop_assert!(errors.iter().all(|error| error.to_string().len() < 1_000));
        }
    }
}
