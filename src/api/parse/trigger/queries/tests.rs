//! Queries and alerts. Each case changes one thing of a trigger that is fine.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::super::super::tests::refused;
use super::super::tests::{taken, trigger};
use crate::decide::{Alert, Bound, PromQl, TriggerKind};

#[track_caller]
fn promql(fields: &Value) -> PromQl {
    let TriggerKind::PromQl(promql) = taken("promql", fields) else {
        panic!("{fields}");
    };
    promql
}

#[track_caller]
fn refused_query(fields: &Value, field: &str, problem: &str) {
    let path = format!("spec.triggers[0].promql.{field}");
    refused(&trigger("promql", fields), &path, problem);
}

#[track_caller]
fn refused_alert(fields: &Value, field: &str, problem: &str) {
    let path = format!("spec.triggers[0].alert.{field}");
    refused(&trigger("alert", fields), &path, problem);
}

#[test]
fn a_query_has_a_bound() {
    let query = "max by (pod) (pending{pod=~\"$pods\"})";
    let expected = PromQl {
        query: query.to_owned(),
        bound: Bound::Above(10.0),
        sustained: SignedDuration::from_mins(2),
    };
    assert_eq!(promql(&json!({"query": query, "above": "10"})), expected);
    let expected = PromQl {
        bound: Bound::Below(-0.5),
        sustained: SignedDuration::from_secs(90),
        ..expected
    };
    let fields = json!({"query": query, "below": "-0.5", "for": "90s"});
    assert_eq!(promql(&fields), expected);
}

#[test]
fn a_query_without_exactly_one_bound_is_refused() {
    let neither = json!({"query": "up"});
    refused_query(&neither, "above", "is missing, and so is below");
    let both = json!({"query": "up", "above": "1", "below": "2"});
    refused_query(&both, "below", "excludes above");
}

#[test]
fn bounds_are_written_in_digits() {
    for (text, number) in [
        ("0", 0.0),
        ("-0", 0.0),
        ("0.000000001", 1e-9),
        ("999999999999999", 999_999_999_999_999.0),
        ("-999999999999999.999999999", -1e15),
        ("1000000000", 1e9),
    ] {
        let Bound::Above(above) = promql(&json!({"query": "up", "above": text})).bound else {
            panic!("{text}");
        };
        assert!((above - number).abs() < 1e-12, "{text}");
    }
    for text in [
        "1000000000000000",
        "0.0000000001",
        "1e3",
        "inf",
        "-inf",
        "NaN",
        "+1",
        "--1",
        "-",
        "1.",
        ".5",
        "-.5",
        "1,5",
        "0x10",
        "10%",
        "",
        "1 ",
    ] {
        let above = json!({"query": "up", "above": text});
        refused_query(&above, "above", "is not a number of at most 15 digits");
        let below = json!({"query": "up", "below": text});
        refused_query(&below, "below", "is not a number of at most 15 digits");
    }
    let number = json!({"query": "up", "above": 10});
    refused_query(&number, "above", "10 is no text");
}

#[test]
fn queries_are_bounded_texts() {
    for (query, problem) in [
        (json!(null), "is missing"),
        (json!(""), "is empty"),
        (json!(1), "1 is no text"),
        (json!("u".repeat(4097)), "more than 4096 characters"),
    ] {
        refused_query(&json!({"query": query, "above": "1"}), "query", problem);
    }
    promql(&json!({"query": "u".repeat(4096), "above": "1"}));
    let fields = json!({"query": "up", "above": "1", "for": "25h"});
    refused_query(&fields, "for", "not between 0s and 24h");
}

#[test]
fn what_is_no_query_is_refused_before_it_is_asked() {
    for (query, problem) in [
        ("sum(", "is not understood"),
        ("up{pod=\"$node\"}", "$pods is the only one"),
        ("up[5m]", "and must give an instant vector or a scalar"),
        ("up) or (secrets", "is not understood"),
    ] {
        refused_query(&json!({"query": query, "above": "1"}), "query", problem);
        let custom = json!({"total": "up", "errors": query});
        let fields = json!({"custom": custom, "threshold": "5%"});
        let path = "spec.triggers[0].errorRate.custom.errors";
        refused(&trigger("errorRate", &fields), path, problem);
    }
}

#[test]
fn an_alert_is_named_by_its_labels() {
    let fields = json!({"matchLabels": {"alertname": "CheckoutDown", "severity": "page"}});
    let mut expected = Alert {
        labels: BTreeMap::from([
            ("alertname".to_owned(), "CheckoutDown".to_owned()),
            ("severity".to_owned(), "page".to_owned()),
        ]),
        sustained: SignedDuration::ZERO,
    };
    let alert = taken("alert", &fields);
    assert_eq!(alert, TriggerKind::Alert(expected.clone()));
    expected.labels.remove("alertname");
    expected.sustained = SignedDuration::from_mins(3);
    let alert = taken(
        "alert",
        &json!({"matchLabels": {"severity": "page"}, "for": "3m"}),
    );
    assert_eq!(alert, TriggerKind::Alert(expected));
}

#[test]
fn an_alert_without_a_label_of_its_own_is_refused() {
    for fields in [
        json!({}),
        json!({"matchLabels": {}}),
        json!({"matchLabels": null}),
    ] {
        refused_alert(&fields, "matchLabels", "names no label");
    }
    let list = json!({"matchLabels": ["CheckoutDown"]});
    refused_alert(&list, "matchLabels", "is no object");
    for (name, value, problem) in [
        ("namespace", json!("pay"), "is set already"),
        ("alertstate", json!("pending"), "is set already"),
        ("__name__", json!("up"), "is set already"),
        ("alert-name", json!("a"), "is no name of a label"),
        ("1", json!("a"), "is no name of a label"),
        ("severity", json!(""), "is empty"),
        ("severity", json!(null), "null is no text"),
        ("severity", json!(1), "1 is no text"),
        (
            "severity",
            json!("p".repeat(257)),
            "more than 256 characters",
        ),
    ] {
        let fields = json!({"matchLabels": {name: value}});
        refused_alert(&fields, &format!("matchLabels.{name}"), problem);
    }
    taken(
        "alert",
        &json!({"matchLabels": {"severity": "p".repeat(256)}}),
    );
}

#[test]
fn a_key_that_breaks_lines_does_not_break_the_message() {
    let fields = json!({"matchLabels": {"a\n\u{0}\u{202e}": "b"}});
    let path = "matchLabels.a\\n\\0\\u{202e}";
    refused_alert(&fields, path, "is no name of a label");
}

#[test]
fn an_alert_has_at_most_sixteen_labels() {
    let labels = |count: u8| -> Map<String, Value> {
        (0..count)
            .map(|index| (format!("label{index}"), json!("value")))
            .collect()
    };
    taken("alert", &json!({"matchLabels": labels(16)}));
    let problem = "has 17 entries, 16 are allowed";
    refused_alert(&json!({"matchLabels": labels(17)}), "matchLabels", problem);
}
