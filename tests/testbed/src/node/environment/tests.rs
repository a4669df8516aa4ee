use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::*;
use crate::node::{network::PodAddress, state::pod_at};

#[track_caller]
fn check(text: &str, expanded: &str) {
    let environment = Environment(BTreeMap::from([("PORT".to_owned(), "8080".to_owned())]));
    assert_eq!(environment.expand(text), expanded);
}

#[test]
fn known_names_are_replaced() {
    check("http://localhost:$(PORT)/", "http://localhost:8080/");
    check("$(PORT)$(PORT)", "80808080");
}

#[test]
fn everything_else_stays() {
    check("$(HOST):$(PORT)", "$(HOST):8080");
    check("$PORT costs $5 $(PORT", "$PORT costs $5 $(PORT");
}

#[test]
fn two_dollars_are_one() {
    check("$$(PORT)", "$(PORT)");
}

/// A `ConfigMap` "limits" and a Secret "tokens".
fn found() -> Found {
    let contents = |pairs: &[(&str, &str)]| Contents {
        text: pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        binary: BTreeSet::from(["picture".to_owned()]),
    };
    Found::from([
        (
            Name::ConfigMap("limits".to_owned()),
            contents(&[("requests", "7"), ("timeout", "2s")]),
        ),
        (
            Name::Secret("tokens".to_owned()),
            contents(&[("requests", "secret")]),
        ),
    ])
}

/// Resolves a container and returns what it has beside the pod's own.
fn resolved(container: &Value) -> Result<Vec<(String, String)>, String> {
    let pod = pod_at(
        PodAddress(Ipv4Addr::new(10, 240, 0, 16)),
        json!({"metadata": {}, "spec": {"containers": [container]}}),
    );
    let environment = Environment::of(&pod, pod.container(0), &found())?;
    let own = environment.0.into_iter();
    Ok(own
        .filter(|(name, _)| !name.starts_with("POD_") && name != "NODE_NAME")
        .collect())
}

#[track_caller]
fn check_resolved(container: &Value, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(resolved(container), Ok(expected));
}

fn variable(kind: &str, name: &str, key: &str, optional: bool) -> Value {
    json!({"name": "LIMIT", "valueFrom":
        {kind: {"name": name, "key": key, "optional": optional}}})
}

#[test]
fn a_variable_takes_its_value_from_a_key() {
    let from_map = variable("configMapKeyRef", "limits", "requests", false);
    check_resolved(&json!({"env": [from_map]}), &[("LIMIT", "7")]);
    let from_secret = variable("secretKeyRef", "tokens", "requests", false);
    check_resolved(&json!({"env": [from_secret]}), &[("LIMIT", "secret")]);
}

#[test]
fn all_keys_become_variables_and_one_of_its_own_name_wins() {
    check_resolved(
        &json!({
            "envFrom": [{"prefix": "SHOP_", "configMapRef": {"name": "limits"}},
                        {"configMapRef": {"name": "limits"}}],
            "env": [{"name": "timeout", "value": "$(requests)s"}],
        }),
        &[
            ("SHOP_requests", "7"),
            ("SHOP_timeout", "2s"),
            ("requests", "7"),
            ("timeout", "7s"),
        ],
    );
}

#[test]
fn what_is_optional_is_left_out_where_it_is_missing() {
    let no_object = variable("configMapKeyRef", "absent", "requests", true);
    let no_key = variable("configMapKeyRef", "limits", "absent", true);
    let all = json!({"secretRef": {"name": "absent", "optional": true}});
    check_resolved(&json!({"env": [no_object, no_key], "envFrom": [all]}), &[]);
}

#[test]
fn a_missing_object_and_a_missing_key_are_told_apart() {
    for (kind, name, key, message) in [
        (
            "configMapKeyRef",
            "absent",
            "requests",
            "configmap \"absent\" not found",
        ),
        (
            "secretKeyRef",
            "absent",
            "requests",
            "secret \"absent\" not found",
        ),
        (
            "configMapKeyRef",
            "limits",
            "absent",
            "couldn't find key absent in ConfigMap shop/limits",
        ),
        // It could be mounted, but is no text.
        (
            "configMapKeyRef",
            "limits",
            "picture",
            "couldn't find key picture in ConfigMap shop/limits",
        ),
    ] {
        let container = json!({"env": [variable(kind, name, key, false)]});
        assert_eq!(resolved(&container), Err(message.to_owned()));
    }
    let all = json!({"envFrom": [{"configMapRef": {"name": "absent"}}]});
    assert_eq!(
        resolved(&all),
        Err("configmap \"absent\" not found".to_owned())
    );
}

#[test]
fn only_what_is_referred_to_is_read() {
    let container: Container = serde_json::from_value(json!({
        "env": [variable("configMapKeyRef", "limits", "a", true), {"name": "C", "value": "c"}],
        "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "limits"}}],
    }))
    .unwrap();
    let expected = [
        Name::ConfigMap("limits".to_owned()),
        Name::Secret("all".to_owned()),
    ];
    assert_eq!(referred(&container), BTreeSet::from(expected));
}
