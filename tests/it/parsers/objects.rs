//! Policies and sources that nobody checked: wrong types, wrong sizes, and words that look right.

use astern::api::parse::{self, FieldError, duration};
use jiff::SignedDuration;
use promql_parser::parser::{self, Expr};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

use super::lexer::{Token, tokens};
use super::{config, queries};

/// Problems that are told of one object.
const PROBLEMS: usize = 16;

/// Every key that means something somewhere, and some that do not.
const KEYS: &[&str] = &[
    "metadata",
    "name",
    "namespace",
    "uid",
    "generation",
    "creationTimestamp",
    "spec",
    "mode",
    "targetRefs",
    "group",
    "kind",
    "selector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "metricSource",
    "probation",
    "triggers",
    "errorRate",
    "preset",
    "match",
    "threshold",
    "window",
    "for",
    "minimumRequests",
    "probeFailures",
    "probe",
    "restarts",
    "pods",
    "rolloutStalled",
    "latency",
    "unavailable",
    "promql",
    "alert",
    "custom",
    "total",
    "errors",
    "query",
    "above",
    "below",
    "worseThanBefore",
    "factor",
    "atLeast",
    "approval",
    "required",
    "timeout",
    "onTimeout",
    "pauseRollout",
    "rollback",
    "deadline",
    "recovery",
    "url",
    "headers",
    "tenant",
    "auth",
    "labels",
    "status",
    "",
    "é",
    "\u{0}",
];
const WORDS: &[&str] = &[
    "",
    "Automatic",
    "Observe",
    "checkout",
    "5%",
    "0%",
    "1e2%",
    "-5%",
    "NaN%",
    "10m",
    "0s",
    "-1s",
    "99999h",
    "1d",
    "١m",
    "http://a:9090",
    "http://a@b",
    "In",
    "Exists",
    "a=\"b\"",
    "a=\"b\"}",
    "x{pod=~\"$pods\"}",
    "up",
    "}",
    "2026-01-01T00:00:00Z",
    "9999-99-99T99:99:99Z",
    "\u{0}",
    "\u{202e}",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        5 => select(WORDS).prop_map(Value::from),
        1 => ".{0,8}".prop_map(Value::from),
        1 => Just(Value::from("x".repeat(20_000))),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
            4 => prop::collection::btree_map(select(KEYS), inner, 0..8)
                .prop_map(|map| json!(map)),
        ]
    })
}

/// One field of a policy that makes sense, and anything in its place.
fn spoiled() -> impl Strategy<Value = Value> {
    let pointers = [
        "/spec/mode",
        "/spec/probation",
        "/spec/targetRefs",
        "/spec/targetRefs/0/name",
        "/spec/triggers",
        "/spec/triggers/0",
        "/spec/triggers/0/name",
        "/spec/triggers/0/errorRate",
        "/spec/triggers/0/errorRate/match",
        "/spec/triggers/0/errorRate/threshold",
        "/spec/approval",
        "/spec/rollback/recovery/for",
        "/metadata/name",
        "/spec",
    ];
    let changes = prop::collection::vec((select(pointers.to_vec()), value()), 1..3);
    changes.prop_map(|changes| {
        let mut policy = policy();
        for (pointer, value) in changes {
            if let Some(place) = policy.pointer_mut(pointer) {
                *place = value;
            }
        }
        policy
    })
}

fn policy() -> Value {
    json!({
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "1"},
        "spec": {
            "mode": "Automatic",
            "probation": "10m",
            "targetRefs": [{"name": "checkout"}],
            "triggers": [{
                "name": "errors",
                "errorRate": {"threshold": "5%", "window": "1m", "match": "route=\"/pay\""},
            }],
            "approval": {"required": 1},
            "rollback": {"recovery": {"for": "2m"}},
        },
    })
}

fn with(pointer: &str, value: impl Into<Value>) -> Value {
    let mut policy = policy();
    *policy.pointer_mut(pointer).expect("a field of the policy") = value.into();
    policy
}

/// Few problems, each short: they go into status and Events.
fn judged<T>(result: Result<T, Vec<FieldError>>) -> Result<(), TestCaseError> {
    let problems = result.err().unwrap_or_default();
    prop_assert!(problems.len() <= PROBLEMS);
    for problem in problems {
        let shown = problem.to_string();
        prop_assert!(shown.len() < 1_000, "{shown}");
        prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn no_object_panics(object in value()) {
        judged(parse::rollback_policy(&object))?;
        judged(parse::metric_source(&object))?;
        let spec = json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": object});
        judged(parse::rollback_policy(&spec))?;
        judged(parse::metric_source(&spec))?;
    }

    #[test]
    fn no_spoiled_policy_panics(policy in spoiled()) {
        judged(parse::rollback_policy(&policy))?;
    }

    /// The sum is done by hand, in numbers that cannot overflow.
    #[test]
    fn durations_are_sums(parts in prop::collection::vec((0..200_000_u32, select(vec![
        ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1), ("d", 0), ("", 0), ("M", 0),
    ])), 0..6)) {
        let words: Vec<String> = parts.iter().map(|(number, (unit, _))| format!("{number}{unit}")).collect();
        let text = words.concat();
        let good = (1..=4).contains(&parts.len())
            && parts.iter().all(|(number, (_, factor))| *number <= 99_999 && *factor > 0);
        let sum: i64 = parts.iter().map(|(number, (_, factor))| i64::from(*number) * factor).sum();
        let expected = good.then(|| SignedDuration::from_millis(sum));
        prop_assert_eq!(duration::parse(&text).ok(), expected, "{}", text);
    }

    #[test]
    fn no_text_of_a_duration_panics(text in "[-+0-9hmsdµ.e ١]{0,30}|.{0,30}") {
        if let Ok(duration) = duration::parse(&text) {
            prop_assert!(!duration.is_negative());
            let spelled = duration::format(duration);
            prop_assert_eq!(duration::parse(&spelled).ok(), Some(duration), "{}", spelled);
        }
    }

    /// Whole millionths: a parser of floats would be no second opinion.
    #[test]
    fn percentages_are_above_none_and_up_to_all(
        whole in 0..1_200_u32,
        part in prop::option::of("[0-9]{1,5}"),
        sign in select(vec!["", "", "", "+", "-", " "]),
        unit in select(vec!["%", "%", "%", "", "%%", " %", "e1%"]),
    ) {
        let digits = part.clone().map_or_else(String::new, |part| format!(".{part}"));
        let text = format!("{sign}{whole}{digits}{unit}");
        let part = part.unwrap_or_default();
        let millionths = whole * 10_000 + format!("{part:0<4}")[..4].parse::<u32>().expect("digits");
        let good = sign.is_empty() && unit == "%" && part.len() <= 4 && whole <= 999
            && (1..=1_000_000).contains(&millionths);
        let policy = parse::rollback_policy(&with("/spec/triggers/0/errorRate/threshold", text.as_str()));
        prop_assert_eq!(policy.is_ok(), good, "{}", text);
    }

    #[test]
    fn no_text_of_a_percentage_panics(text in "[-+0-9.e%∞]{0,12}|.{0,12}") {
        judged(parse::rollback_policy(&with("/spec/triggers/0/errorRate/threshold", text)))?;
    }

    /// What is let through stays between the braces that it is pasted into.
    #[test]
    fn matchers_stay_between_their_braces(matchers in prop_oneof![
        queries::rubble(),
        prop::collection::vec(("[a-z_]{1,3}|__name__|le", select(vec!["=", "!=", "=~", "!~", "~"]), queries::quoted(queries::text())), 0..4)
            .prop_map(|list| list.into_iter().map(|(name, operator, value)| format!("{name}{operator}{value}")).collect::<Vec<_>>().join(",")),
    ]) {
        if parse::rollback_policy(&with("/spec/triggers/0/errorRate/match", matchers.as_str())).is_err() {
            return Ok(());
        }
        let text = format!("up{{namespace=\"shop\",{matchers}}}");
        let tokens = tokens(&text).ok_or_else(|| TestCaseError::fail(text.clone()))?;
        let closing = tokens.iter().position(|token| *token == Token::Sign('}'));
        prop_assert_eq!(closing, Some(tokens.len() - 1), "{}", &text);
        // It may still hold an escape or an expression that the source refuses.
        if let Ok(tree) = parser::parse(&text) {
            let Expr::VectorSelector(selector) = tree else {
                return Err(TestCaseError::fail(text));
            };
            prop_assert_eq!(selector.name.as_deref(), Some("up"));
            prop_assert!(selector.matchers.or_matchers.is_empty(), "{text}");
            prop_assert_eq!(selector.matchers.find_matchers("__name__").len(), 0, "{}", text);
        }
    }
}

#[test]
fn a_policy_that_makes_sense_is_taken() {
    assert!(parse::rollback_policy(&policy()).is_ok());
}

/// Found by the random objects: the path of a field held a key as it was.
#[test]
fn keys_do_not_bring_control_characters_into_errors() {
    let labels = json!({"spec": {"url": "http://a", "matchLabels": {"\u{1b}[2J\n": "a"}}});
    let problems = parse::metric_source(&labels).expect_err("no name of a label");
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        shown.iter().any(|problem| problem.contains(r"\u{1b}[2J\n")),
        "{shown:?}"
    );
    judged::<()>(Err(problems)).expect("they can be shown");
}
