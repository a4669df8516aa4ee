//! The examples are what users copy, so they must mean something, and so must those in the docs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that finds no files to look at has failed"
)]

use std::fs;
use std::path::Path;

use astern::api::{crds, parse};
use serde_json::Value;

/// Returns the objects of every example with the name of its file.
fn examples() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        found.extend(objects.into_iter().map(|object| (name.clone(), object)));
    }
    assert!(
        found.len() >= 5,
        "the examples have moved; this test guards nothing"
    );
    found.extend(documented_sources());
    found
}

/// Returns every `MetricSource` in the page about them. What else stands there must be YAML.
fn documented_sources() -> Vec<(String, Value)> {
    let page = "docs/metric-sources.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for block in text.split("\n```yaml\n").skip(1) {
        let (block, _) = block.split_once("\n```\n").unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(block)
            .unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
        let sources = objects
            .into_iter()
            .filter(|object| object["kind"] == "MetricSource");
        found.extend(sources.map(|source| (page.to_owned(), source)));
    }
    assert!(found.len() >= 12, "{page} shows {} sources", found.len());
    found
}

#[test]
fn examples_make_sense() {
    for (name, object) in examples() {
        let problems = match object["kind"].as_str() {
            Some("RollbackPolicy") => parse::rollback_policy(&object).err(),
            Some("MetricSource") => parse::metric_source(&object).err(),
            other => panic!("{name}: what is a {other:?}?"),
        };
        assert_eq!(problems, None, "{name}");
    }
}

/// The parser ignores fields that it does not know, as they may be those of a newer version. In an
/// example such a field is a mistake.
#[test]
fn examples_hold_no_unknown_fields() {
    let definitions = crds::definitions();
    for (name, object) in examples() {
        let definition = definitions
            .iter()
            .find(|definition| definition["spec"]["names"]["kind"] == object["kind"])
            .unwrap_or_else(|| panic!("{name}: unknown kind"));
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        known(
            &object["spec"],
            &schema["properties"]["spec"],
            &format!("{name}: spec"),
        );
    }
}

fn known(value: &Value, schema: &Value, path: &str) {
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        known(item, &schema["items"], &format!("{path}[{index}]"));
    }
    if schema.get("additionalProperties").is_some() {
        return;
    }
    for (key, item) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let schema = schema["properties"].get(key);
        let schema = schema.unwrap_or_else(|| panic!("{path} is not in the schema"));
        known(item, schema, &path);
    }
}

#[test]
fn the_full_example_shows_every_field() {
    let (_, full) = examples()
        .into_iter()
        .find(|(name, _)| name == "full.yaml")
        .unwrap();
    let definition = &crds::definitions()[0];
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let properties = schema["properties"]["spec"]["properties"]
        .as_object()
        .unwrap();
    for field in properties.keys().filter(|field| *field != "selector") {
        assert!(full["spec"].get(field).is_some(), "{field} is missing");
    }
    let triggers = full["spec"]["triggers"].as_array().unwrap();
    let kinds = properties["triggers"]["items"]["properties"]
        .as_object()
        .unwrap();
    for (kind, fields) in kinds
        .iter()
        .filter(|(kind, _)| !["name", "mode"].contains(&kind.as_str()))
    {
        let shown: Vec<&Value> = triggers
            .iter()
            .filter_map(|trigger| trigger.get(kind))
            .collect();
        assert!(!shown.is_empty(), "no trigger shows {kind}");
        // Some fields exclude each other, so it may take more than one trigger to show them all.
        for field in fields["properties"].as_object().into_iter().flatten() {
            assert!(
                shown.iter().any(|trigger| trigger.get(field.0).is_some()),
                "{kind}.{} is missing",
                field.0
            );
        }
    }
}

#[test]
fn the_full_source_shows_every_field() {
    let (_, full) = examples()
        .into_iter()
        .find(|(name, _)| name == "metric-source-full.yaml")
        .unwrap();
    let definitions = crds::definitions();
    let definition = definitions
        .iter()
        .find(|definition| definition["spec"]["names"]["kind"] == "MetricSource")
        .unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let properties = schema["properties"]["spec"]["properties"]
        .as_object()
        .unwrap();
    for (field, schema) in properties {
        let shown = &full["spec"][field];
        assert!(!shown.is_null(), "{field} is missing");
        // Of those that exclude each other, and of ways to the same, one is enough.
        if ["auth", "tls", "tenant"].contains(&field.as_str()) {
            continue;
        }
        for inner in schema["properties"].as_object().into_iter().flatten() {
            assert!(!shown[inner.0].is_null(), "{field}.{} is missing", inner.0);
        }
    }
}
