//! Error rates and latencies. Each case changes one thing of a trigger that is fine.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::super::tests::refused;
use super::super::tests::{any_shape, taken, trigger};
use crate::api::v1alpha1::rollback_policy::Preset as Wire;
use crate::decide::{
    ErrorRate, LabelNames, Latency, Limit, Preset, Rate, Ratio, Requests, Shape, TriggerKind,
};

#[track_caller]
fn error_rate(fields: &Value) -> ErrorRate {
    let TriggerKind::ErrorRate(rate) = taken("errorRate", fields) else {
        panic!("{fields}");
    };
    rate
}

#[track_caller]
fn latency(fields: &Value) -> Latency {
    let TriggerKind::Latency(latency) = taken("latency", fields) else {
        panic!("{fields}");
    };
    latency
}

#[track_caller]
fn refused_rate(fields: &Value, field: &str, problem: &str) {
    let path = format!("spec.triggers[0].errorRate.{field}");
    refused(&trigger("errorRate", fields), &path, problem);
}

#[track_caller]
fn refused_latency(fields: &Value, field: &str, problem: &str) {
    let path = format!("spec.triggers[0].latency.{field}");
    refused(&trigger("latency", fields), &path, problem);
}

#[test]
fn a_threshold_is_enough_for_an_error_rate() {
    let limit = Limit::Threshold {
        threshold: Ratio(0.02),
        sustained: SignedDuration::from_mins(2),
    };
    let expected = ErrorRate {
        requests: Requests::Preset(any_shape()),
        rate: Rate {
            limit,
            window: SignedDuration::from_mins(1),
            minimum_requests: 20,
        },
    };
    assert_eq!(error_rate(&json!({"threshold": "2%"})), expected);
}

#[test]
fn an_error_rate_takes_what_is_given() {
    let fields = json!({
        "preset": "Istio", "match": "request_protocol=\"http\",",
        "labels": {"pod": "kubernetes_pod_name", "namespace": "exported_namespace"},
        "threshold": "0.1%", "window": "30s", "for": "0s", "minimumRequests": 7,
    });
    let shape = Shape {
        preset: Preset::Istio,
        matchers: "request_protocol=\"http\"".to_owned(),
        labels: LabelNames {
            pod: Some("kubernetes_pod_name".to_owned()),
            namespace: Some("exported_namespace".to_owned()),
        },
    };
    let rate = Rate {
        limit: Limit::Threshold {
            threshold: Ratio(0.001),
            sustained: SignedDuration::ZERO,
        },
        window: SignedDuration::from_secs(30),
        minimum_requests: 7,
    };
    let requests = Requests::Preset(shape);
    assert_eq!(error_rate(&fields), ErrorRate { requests, rate });
}

#[test]
fn every_preset_is_known_to_the_schema_and_the_parser() {
    for preset in Preset::ALL {
        let name = json!(preset.name());
        serde_json::from_value::<Wire>(name.clone()).unwrap();
        let rate = error_rate(&json!({"preset": name, "threshold": "5%"}));
        let shape = Shape {
            preset,
            ..any_shape()
        };
        assert_eq!(rate.requests, Requests::Preset(shape.clone()));
        let latency = latency(&json!({"preset": name, "threshold": "1s"}));
        assert_eq!(latency.shape, shape);
    }
    let unknown = json!({"preset": "istio", "threshold": "5%"});
    refused_rate(&unknown, "preset", "\"istio\" is not known");
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
        let problem = "is no percentage above 0%";
        refused_rate(&json!({"threshold": text}), "threshold", problem);
    }
    for (text, ratio) in [
        ("100%", 1.0),
        ("0.0001%", 0.000_001),
        ("007%", 0.07),
        ("2.5%", 0.025),
    ] {
        let Limit::Threshold { threshold, .. } = error_rate(&json!({"threshold": text})).rate.limit
        else {
            panic!("{text}");
        };
        assert!((threshold.0 - ratio).abs() < 1e-12, "{text}");
    }
    refused_rate(&json!({"threshold": 5}), "threshold", "5 is no text");
}

#[test]
fn an_error_rate_has_one_limit() {
    let neither = "is missing, and so is worseThanBefore";
    refused_rate(&json!({}), "threshold", neither);
    let both = json!({"threshold": "5%", "worseThanBefore": {}});
    refused_rate(&both, "threshold", "excludes worseThanBefore");
    let with_time = json!({"worseThanBefore": {}, "for": "2m"});
    refused_rate(&with_time, "for", "belongs to threshold");
}

#[test]
fn the_revision_before_is_a_limit() {
    let limit = |fields: &Value| error_rate(&json!({"worseThanBefore": fields})).rate.limit;
    let usual = Limit::WorseThanBefore {
        factor: 3.0,
        at_least: Ratio(0.01),
    };
    assert_eq!(limit(&json!({})), usual);
    let given = Limit::WorseThanBefore {
        factor: 2.5,
        at_least: Ratio(0.005),
    };
    assert_eq!(limit(&json!({"factor": "2.5", "atLeast": "0.5%"})), given);
    for (text, number) in [("1.0001", 1.0001), ("1000", 1_000.0), ("0003.0000", 3.0)] {
        let Limit::WorseThanBefore { factor, .. } = limit(&json!({"factor": text})) else {
            panic!("{text}");
        };
        assert!((factor - number).abs() < 1e-12, "{text}");
    }
    for text in [
        "1",
        "1.0000",
        "0",
        "1000.0001",
        "1001",
        "-3",
        "+3",
        "1e2",
        "inf",
        "NaN",
        "",
        "3.",
        ".3",
        "3.00001",
        "00003",
        " 3",
        "3x",
        "3.1.1",
        "３",
    ] {
        let fields = json!({"worseThanBefore": {"factor": text}});
        let problem = "";
        refused_rate(&fields, "worseThanBefore.factor", problem);
    }
    for (fields, field, problem) in [
        (json!({"factor": 3}), ".factor", "3 is no text"),
        (
            json!({"factor": "3.00000000"}),
            ".factor",
            "more than 9 characters",
        ),
        (
            json!({"factor": "1"}),
            ".factor",
            "is not a number above 1 and up to 1000",
        ),
        (json!({"atLeast": "0%"}), ".atLeast", "is no percentage"),
        (json!("3"), "", "is no object"),
    ] {
        let fields = json!({"worseThanBefore": fields});
        refused_rate(&fields, &format!("worseThanBefore{field}"), problem);
    }
}

#[test]
fn counters_of_the_users_own_replace_a_preset() {
    let custom = json!({"total": "t{pod=~\"$pods\"}", "errors": "e{pod=~\"$pods\"}"});
    let rate = error_rate(&json!({"custom": custom, "worseThanBefore": {}}));
    let expected = Requests::Custom {
        total: "t{pod=~\"$pods\"}".to_owned(),
        errors: "e{pod=~\"$pods\"}".to_owned(),
    };
    assert_eq!(rate.requests, expected);
    for (field, value) in [
        ("preset", json!("Auto")),
        ("match", json!("a=\"b\"")),
        ("labels", json!({})),
    ] {
        let fields = json!({"custom": custom, "threshold": "5%", field: value});
        refused_rate(&fields, field, "excludes custom");
    }
    for (custom, field, problem) in [
        (json!({"total": "t"}), ".errors", "is missing"),
        (json!({"errors": "e"}), ".total", "is missing"),
        (json!({"total": "", "errors": "e"}), ".total", "is empty"),
        (json!({"total": 1, "errors": "e"}), ".total", "1 is no text"),
        (
            json!({"total": "t", "errors": "e".repeat(4097)}),
            ".errors",
            "more than 4096 characters",
        ),
    ] {
        let fields = json!({"custom": custom, "threshold": "5%"});
        refused_rate(&fields, &format!("custom{field}"), problem);
    }
    let long = json!({"total": "t", "errors": "e".repeat(4096)});
    error_rate(&json!({"custom": long, "threshold": "5%"}));
}

#[test]
fn nothing_but_matchers_and_names_gets_into_a_selector() {
    let fields = |name: &str, value: Value| json!({"threshold": "1s", name: value});
    let open = "a=\"b\"} or up{";
    refused_latency(&fields("match", json!(open)), "match", "lacks a comma");
    for text in ["", "1a", "a-b", "a b", "a\"", "a}", "é", "a.b"] {
        let labels = fields("labels", json!({"pod": text}));
        refused_latency(&labels, "labels.pod", "is no name of letters");
        let labels = fields("labels", json!({"namespace": text}));
        refused_latency(&labels, "labels.namespace", "is no name of letters");
    }
    let long = json!({"pod": "a".repeat(129)});
    refused_latency(&fields("labels", long), "labels.pod", "more than 128");
    latency(&fields("labels", json!({"pod": "a".repeat(128)})));
    refused_latency(&fields("labels", json!([])), "labels", "is no object");
}

#[test]
fn a_threshold_is_enough_for_a_latency() {
    let expected = Latency {
        shape: any_shape(),
        percentile: Ratio(0.99),
        threshold: SignedDuration::from_millis(800),
        window: SignedDuration::from_mins(1),
        sustained: SignedDuration::from_mins(2),
        minimum_requests: 20,
    };
    assert_eq!(latency(&json!({"threshold": "800ms"})), expected);
    let given = latency(&json!({
        "preset": "Linkerd", "match": "direction=\"inbound\"", "labels": {"pod": "p"},
        "percentile": "99.9", "threshold": "1s500ms", "window": "3m", "for": "4m",
        "minimumRequests": 50,
    }));
    let expected = Latency {
        shape: Shape {
            preset: Preset::Linkerd,
            matchers: "direction=\"inbound\"".to_owned(),
            labels: LabelNames {
                pod: Some("p".to_owned()),
                namespace: None,
            },
        },
        percentile: Ratio(0.999),
        threshold: SignedDuration::from_millis(1_500),
        window: SignedDuration::from_mins(3),
        sustained: SignedDuration::from_mins(4),
        minimum_requests: 50,
    };
    assert_eq!(given, expected);
}

#[test]
fn latencies_are_held_against_their_limits() {
    for (fields, field, problem) in [
        (json!({}), "threshold", "is missing"),
        (
            json!({"threshold": "0ms"}),
            "threshold",
            "not between 1ms and 10m",
        ),
        (
            json!({"threshold": "10m1ms"}),
            "threshold",
            "not between 1ms and 10m",
        ),
        (json!({"threshold": "800"}), "threshold", "is no duration"),
        (json!({"threshold": 0.8}), "threshold", "0.8 is no text"),
        (
            json!({"threshold": "1s", "minimumRequests": 0}),
            "minimumRequests",
            "is no number",
        ),
        (
            json!({"threshold": "1s", "window": "0s"}),
            "window",
            "not between 1s",
        ),
        (
            json!({"threshold": "1s", "for": "25h"}),
            "for",
            "not between 0s",
        ),
    ] {
        refused_latency(&fields, field, problem);
    }
    for threshold in ["1ms", "10m"] {
        latency(&json!({"threshold": threshold}));
    }
    for percentile in ["50", "99.999", "95", "99.90"] {
        latency(&json!({"threshold": "1s", "percentile": percentile}));
    }
    for percentile in [
        "49.999", "99.9990", "100", "0", "5", "99,9", "9e1", "-99", "p99", "99%", "inf", "",
    ] {
        let fields = json!({"threshold": "1s", "percentile": percentile});
        refused_latency(&fields, "percentile", "");
    }
    let number = json!({"threshold": "1s", "percentile": 99.9});
    refused_latency(&number, "percentile", "99.9 is no text");
}
