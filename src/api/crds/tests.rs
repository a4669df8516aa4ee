//! The API server refuses a definition that breaks these rules, and says so only when it is installed.

use serde_json::{Map, Value, json};

use super::definitions;
use crate::api::parse;
use crate::api::v1alpha1::RollbackPolicySpec;
use crate::api::v1alpha1::rollback_policy::Trigger;

/// Keywords that a structural schema may hold outside `allOf`, `anyOf`, `oneOf` and `not`.
const KEYWORDS: &[&str] = &[
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "additionalProperties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];

/// What the API server knows; it warns about others.
const FORMATS: &[&str] = &["date-time", "int32", "int64"];

/// Calls `check` with every schema and its path.
fn walk(schema: &Value, path: &str, check: &mut dyn FnMut(&Map<String, Value>, &str)) {
    let schema = schema
        .as_object()
        .unwrap_or_else(|| panic!("{path}: a schema must be an object"));
    check(schema, path);
    if let Some(properties) = schema.get("properties") {
        for (name, property) in properties.as_object().unwrap() {
            walk(property, &format!("{path}.{name}"), check);
        }
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), check);
    }
    if let Some(values) = schema.get("additionalProperties") {
        walk(values, &format!("{path}{{}}"), check);
    }
}

fn every_schema(mut check: impl FnMut(&Map<String, Value>, &str)) {
    let definitions = definitions();
    assert_eq!(definitions.len(), 3);
    for definition in definitions {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let parts = schema["properties"].as_object().unwrap();
        for (part, schema) in parts {
            walk(schema, &format!("{kind}.{part}"), &mut check);
        }
    }
}

fn kind_of<'a>(schema: &'a Map<String, Value>, path: &str) -> &'a str {
    schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{path}: no type"))
}

#[test]
fn schemas_are_structural() {
    every_schema(|schema, path| {
        for keyword in schema.keys() {
            assert!(KEYWORDS.contains(&keyword.as_str()), "{path}: {keyword}");
        }
        let both = schema.contains_key("properties") && schema.contains_key("additionalProperties");
        assert!(!both, "{path}: properties and additionalProperties");
        match kind_of(schema, path) {
            "array" => assert!(schema["items"].is_object(), "{path}: items"),
            "object" | "string" | "integer" | "boolean" => {}
            other => panic!("{path}: {other}"),
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str) {
            assert!(FORMATS.contains(&format), "{path}: format {format}");
        }
    });
}

/// Rules are charged for the largest object that the schema allows, so nothing may be unbounded.
#[test]
fn everything_is_bounded() {
    every_schema(|schema, path| {
        let bounded = match kind_of(schema, path) {
            "array" => schema.contains_key("maxItems"),
            "string" => schema.contains_key("maxLength") || schema.contains_key("enum"),
            "integer" => schema.contains_key("minimum"),
            "object" => {
                !schema.contains_key("additionalProperties") || schema.contains_key("maxProperties")
            }
            _ => true,
        };
        assert!(bounded, "{path} has no limit");
    });
}

#[test]
fn every_field_is_described() {
    every_schema(|schema, path| {
        let inner = path.ends_with("[]") || path.ends_with("{}");
        let described = schema
            .get("description")
            .and_then(Value::as_str)
            .is_some_and(|text| text.ends_with('.'));
        assert!(inner || described, "{path} has no description");
    });
}

/// `enum` would have to list null too, and a null would no longer be replaced by the default.
#[test]
fn nothing_may_be_null() {
    every_schema(|schema, path| {
        assert!(!schema.contains_key("nullable"), "{path}");
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            assert!(values.iter().all(Value::is_string), "{path}: {values:?}");
        }
    });
}

/// An object that is missing must become the same as one that is empty.
#[test]
fn defaults_of_objects_equal_the_defaults_of_their_fields() {
    every_schema(|schema, path| {
        let (Some(default), Some(properties)) = (schema.get("default"), schema.get("properties"))
        else {
            return;
        };
        for (name, property) in properties.as_object().unwrap() {
            assert_eq!(
                default.get(name),
                property.get("default"),
                "{path}.{name}: default of the object and of the field"
            );
        }
    });
}

/// Fills in defaults as the API server does: where a field is missing or null, and within what it
/// has filled in.
fn fill(value: &mut Value, schema: &Value) {
    if let Some(items) = value.as_array_mut() {
        for item in items {
            fill(item, &schema["items"]);
        }
        return;
    }
    let (Some(map), Some(properties)) = (value.as_object_mut(), schema["properties"].as_object())
    else {
        return;
    };
    for (name, property) in properties {
        let missing = map.get(name).is_none_or(Value::is_null);
        if let Some(default) = property.get("default").filter(|_| missing) {
            map.insert(name.clone(), default.clone());
        }
        if let Some(value) = map.get_mut(name) {
            fill(value, property);
        }
    }
}

/// Every way to write a trigger with as little as possible.
fn bare_triggers() -> Vec<Value> {
    let custom = json!({"total": "t", "errors": "e"});
    vec![
        json!({"errorRate": {"threshold": "5%"}}),
        json!({"errorRate": {"worseThanBefore": {}}}),
        json!({"errorRate": {"custom": custom, "threshold": "5%"}}),
        json!({"errorRate": {"custom": custom, "worseThanBefore": {}}}),
        json!({"errorRate": {"threshold": "5%", "labels": {}}}),
        json!({"latency": {"threshold": "1s"}}),
        json!({"probeFailures": {}}),
        json!({"restarts": {}}),
        json!({"rolloutStalled": {}}),
        json!({"unavailable": {}}),
        json!({"promql": {"query": "up", "above": "1"}}),
        json!({"promql": {"query": "up", "below": "1"}}),
        json!({"alert": {"matchLabels": {"alertname": "Down"}}}),
    ]
}

/// A default that the schema fills in must neither differ from the parser's, nor exclude what the
/// user has written.
#[test]
fn the_schema_and_the_parser_have_the_same_defaults() {
    let definition = &definitions()[0];
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let schema = &schema["properties"]["spec"];
    let mut specs = vec![
        json!({}),
        json!({"approval": {}, "rollback": {"recovery": {}}}),
    ];
    for (index, mut trigger) in bare_triggers().into_iter().enumerate() {
        trigger["name"] = json!(format!("t{index}"));
        specs.push(json!({"triggers": [trigger]}));
    }
    for kind in Trigger::KINDS {
        let shown = |spec: &Value| spec["triggers"][0].get(kind).is_some();
        assert!(specs.iter().any(shown), "{kind} is in no bare trigger");
    }
    let parsed = |spec: &Value| parse::rollback_policy(&json!({"spec": spec}));
    for bare in specs {
        let mut filled = bare.clone();
        fill(&mut filled, schema);
        let by_parser = parsed(&bare);
        assert!(by_parser.is_ok(), "{bare}: {by_parser:?}");
        assert_eq!(parsed(&filled), by_parser, "{filled}");
        // The types that write objects have defaults too.
        let typed: RollbackPolicySpec = serde_json::from_value(bare.clone()).unwrap();
        let typed = serde_json::to_value(typed).unwrap();
        assert_eq!(parsed(&typed), by_parser, "{typed}");
        assert_eq!(typed, filled);
    }
}

#[test]
fn lists_of_objects_are_merged_by_key() {
    every_schema(|schema, path| {
        if kind_of(schema, path) != "array" || schema["items"]["type"] != "object" {
            return;
        }
        let list = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
        match list {
            Some("map") => {
                for key in schema["x-kubernetes-list-map-keys"].as_array().unwrap() {
                    let item = &schema["items"];
                    let required = item["required"].as_array().unwrap().contains(key);
                    let defaulted = item["properties"][key.as_str().unwrap()]
                        .get("default")
                        .is_some();
                    assert!(required || defaulted, "{path}: key {key} may be missing");
                }
            }
            Some("atomic") => {}
            _ => panic!("{path}: no list type"),
        }
    });
}

/// A message may not hold a line break, and a rule without one prints only itself.
#[test]
fn every_rule_has_a_message() {
    every_schema(|schema, path| {
        let Some(rules) = schema.get("x-kubernetes-validations") else {
            return;
        };
        for rule in rules.as_array().unwrap() {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(
                !message.is_empty() && !message.contains('\n'),
                "{path}: {rule}"
            );
        }
    });
}

#[test]
fn spec_is_required_and_what_has_a_status_has_the_subresource() {
    for definition in definitions() {
        let version = &definition["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        assert_eq!(schema["required"], serde_json::json!(["spec"]));
        let status = schema["properties"]["status"].is_object();
        assert_eq!(version["subresources"]["status"].is_object(), status);
        assert_eq!(
            definition["spec"]["names"]["categories"],
            serde_json::json!(["astern"])
        );
    }
}
