//! The custom resource definitions as YAML: what is in `crds/`.

use kube::CustomResourceExt;
use serde_json::Value;

use super::v1alpha1::{MetricSource, Rollback, RollbackPolicy};

/// The first line of every generated file.
const HEADER: &str =
    "# Generated from src/api/v1alpha1; `UPDATE=1 cargo test --test it` rewrites it.\n";

/// Returns every definition with the name of its file.
///
/// # Errors
///
/// When a definition cannot be written as YAML, which is a mistake in the types.
pub fn all() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    definitions()
        .into_iter()
        .map(|definition| {
            let plural = definition.pointer("/spec/names/plural");
            let name = plural.and_then(Value::as_str).unwrap_or_default();
            let yaml = serde_saphyr::to_string(&definition)?;
            Ok((format!("{name}.yaml"), format!("{HEADER}{yaml}")))
        })
        .collect()
}

/// Returns every definition as the API server takes it.
#[must_use]
pub fn definitions() -> Vec<Value> {
    let definitions = [RollbackPolicy::crd(), Rollback::crd(), MetricSource::crd()];
    definitions
        .iter()
        .filter_map(|definition| serde_json::to_value(definition).ok())
        .map(tidy)
        .collect()
}

/// Removes what only says that a field may be null. Without it the API server drops a null and puts
/// the default in its place, so that `mode:` with nothing behind it means the default mode.
///
/// Limits are floats in the types of Kubernetes; people read whole numbers.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, value)| !(key == "nullable" && value.is_boolean()))
            .map(|(key, value)| (key, tidy(value)))
            .collect(),
        Value::Array(items) => items
            .into_iter()
            .filter(|item| !item.is_null())
            .map(tidy)
            .collect(),
        Value::Number(number) => whole(&number).map_or(Value::Number(number), Value::from),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

fn whole(number: &serde_json::Number) -> Option<i64> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    format!("{float:.0}").parse().ok()
}

#[cfg(test)]
mod tests;
