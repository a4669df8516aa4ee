//! What must be seen on the cluster before a scenario goes on.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{behaviour::duration, scenario::substitute};

/// Waits for an object, by name or by labels, for which all checks hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Until {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Waits until there is no such object instead.
    #[serde(default)]
    pub absent: bool,
    /// Keeps values of the object by name, for the steps that follow.
    #[serde(default)]
    pub capture: BTreeMap<String, String>,
    #[serde(default = "one_minute", deserialize_with = "duration")]
    pub timeout: Duration,
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

/// One statement about a value of the object. Without any word but the pointer: that it is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// A JSON pointer in which `key=value` stands for the list element with that field.
    pub pointer: String,
    pub equals: Option<Value>,
    pub not: Option<Value>,
    pub at_least: Option<f64>,
    /// The pointer to another value of the same object that must be equal.
    pub same_as: Option<String>,
    /// There must be no such value.
    #[serde(default)]
    pub absent: bool,
}

impl Until {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.name.is_none() || self.labels.is_empty(),
            "give name or labels, not both"
        );
        ensure!(
            !self.absent || self.capture.is_empty(),
            "capture needs an object, and absent says there is none"
        );
        let of_checks = self
            .checks
            .iter()
            .flat_map(|check| [Some(&check.pointer), check.same_as.as_ref()])
            .flatten();
        for pointer in of_checks.chain(self.capture.values()) {
            if !pointer.starts_with('/') {
                bail!("pointer {pointer:?} does not begin with \"/\"");
            }
        }
        Ok(())
    }

    /// Returns what is captured, or nothing while the condition does not hold.
    ///
    /// # Errors
    ///
    /// When a check refers to something that no earlier step has captured.
    pub fn met(
        &self,
        objects: &[Value],
        captured: &BTreeMap<String, String>,
    ) -> anyhow::Result<Option<BTreeMap<String, String>>> {
        for object in objects {
            let mut holds = true;
            for check in &self.checks {
                holds &= check.holds(object, captured)?;
            }
            let found: Option<BTreeMap<String, String>> = self
                .capture
                .iter()
                .map(|(name, pointer)| Some((name.clone(), text(look_up(object, pointer)?))))
                .collect();
            if let Some(found) = found.filter(|_| holds) {
                return Ok((!self.absent).then_some(found));
            }
        }
        Ok(self.absent.then(BTreeMap::new))
    }

    /// Says in a line what of this was there instead.
    #[must_use]
    pub fn describe_seen(&self, objects: &[Value], captured: &BTreeMap<String, String>) -> String {
        if objects.is_empty() {
            return "no such object".to_owned();
        }
        let seen = objects.iter().map(|object| {
            let name = look_up(object, "/metadata/name").map(text);
            let unlike = self
                .checks
                .iter()
                .filter(|check| !check.holds(object, captured).unwrap_or_default())
                .map(|check| {
                    let found = look_up(object, &check.pointer).unwrap_or(&Value::Null);
                    format!(", {} = {found}", check.pointer)
                });
            format!("{}{}", name.unwrap_or_default(), unlike.collect::<String>())
        });
        seen.collect::<Vec<_>>().join("; ")
    }

    /// Says in a line what is waited for.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut line = self.kind.clone();
        if let Some(name) = &self.name {
            line = format!("{line} {name}");
        }
        for (key, value) in &self.labels {
            line = format!("{line} {key}={value}");
        }
        if self.absent {
            line.push_str(" absent");
        }
        for check in &self.checks {
            line = format!("{line}, {}", check.describe());
        }
        line
    }
}

impl Check {
    fn holds(&self, object: &Value, captured: &BTreeMap<String, String>) -> anyhow::Result<bool> {
        let found = look_up(object, &self.pointer);
        if self.absent {
            return Ok(found.is_none());
        }
        let filled = |wanted: &Value| -> anyhow::Result<Value> {
            match wanted {
                Value::String(text) => substitute(text, captured)
                    .map(Value::String)
                    .with_context(|| format!("check of {:?}", self.pointer)),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => Ok(wanted.clone()),
            }
        };
        if let Some(wanted) = &self.equals
            && !found.is_some_and(|found| filled(wanted).is_ok_and(|wanted| equal(found, &wanted)))
        {
            // An unknown name is an error even while the value is not there.
            filled(wanted)?;
            return Ok(false);
        }
        if let Some(unwanted) = &self.not {
            let unwanted = filled(unwanted)?;
            return Ok(!found.is_some_and(|found| equal(found, &unwanted)));
        }
        if let Some(limit) = self.at_least {
            return Ok(found.and_then(Value::as_f64).unwrap_or(0.0) >= limit);
        }
        if let Some(other) = &self.same_as {
            return Ok(found.is_some() && found == look_up(object, other));
        }
        Ok(found.is_some())
    }

    fn describe(&self) -> String {
        let pointer = &self.pointer;
        if self.absent {
            return format!("{pointer} is not there");
        }
        match (&self.equals, &self.not, self.at_least, &self.same_as) {
            (Some(wanted), ..) => format!("{pointer} = {wanted}"),
            (None, Some(unwanted), ..) => format!("{pointer} is not {unwanted}"),
            (None, None, Some(limit), _) => format!("{pointer} >= {limit}"),
            (None, None, None, Some(other)) => format!("{pointer} = {other}"),
            (None, None, None, None) => format!("{pointer} is there"),
        }
    }
}

/// Finds a value by a JSON pointer in which `key=value` stands for the list element with that field.
#[must_use]
pub fn look_up<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    let mut value = object;
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        value = match value {
            Value::Array(items) => match segment.split_once('=') {
                Some((key, wanted)) => items
                    .iter()
                    .find(|item| item.get(key).is_some_and(|found| text(found) == wanted))?,
                None => items.get(segment.parse::<usize>().ok()?)?,
            },
            Value::Object(fields) => fields.get(&segment)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(value)
}

/// Numbers are equal by value: YAML and the API server may write them differently.
fn equal(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs() < f64::EPSILON,
        _ => found == wanted,
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollback() -> Value {
        json!({
            "metadata": {"name": "checkout-1", "annotations": {"astern.dev/x": "z"}, "generation": 3},
            "status": {
                "code": "4711", "observedGeneration": 3,
                "conditions": [{"type": "Ready"}, {"type": "Complete", "reason": "Recovered"}],
            },
        })
    }

    #[track_caller]
    fn check(check: &str, holds: bool) {
        let check: Check = serde_saphyr::from_str(check).unwrap();
        let captured = BTreeMap::from([("code".to_owned(), "4711".to_owned())]);
        assert_eq!(
            check.holds(&rollback(), &captured).unwrap(),
            holds,
            "{check:?}"
        );
    }

    #[test]
    fn a_list_element_is_found_by_a_field() {
        let pointer = "/status/conditions/type=Complete/reason";
        check(&format!("{{pointer: {pointer}, equals: Recovered}}"), true);
        check(&format!("{{pointer: {pointer}, not: Recovered}}"), false);
        check("{pointer: /status/conditions/type=Stalled}", false);
        check(
            "{pointer: /status/conditions/type=Stalled, absent: true}",
            true,
        );
        check(
            "{pointer: /status/conditions/type=Ready, absent: true}",
            false,
        );
        check(
            "{pointer: /status/conditions/1/type, equals: Complete}",
            true,
        );
    }

    #[test]
    fn what_was_seen_instead_is_told_without_the_rest() {
        let until: Until = serde_saphyr::from_str(
            "{apiVersion: v1, kind: Rollback, checks: [
                {pointer: /status/code, equals: '4712'}, {pointer: /metadata/generation, equals: 3}]}",
        )
        .unwrap();
        let seen = |objects: &[Value]| until.describe_seen(objects, &BTreeMap::new());
        assert_eq!(seen(&[rollback()]), "checkout-1, /status/code = \"4711\"");
        assert_eq!(seen(&[]), "no such object");
    }

    #[test]
    fn a_slash_in_a_key_is_escaped() {
        check(
            "{pointer: /metadata/annotations/astern.dev~1x, equals: z}",
            true,
        );
    }

    #[test]
    fn numbers_are_compared_on_both_sides_of_the_limit() {
        check("{pointer: /metadata/generation, atLeast: 3}", true);
        check("{pointer: /metadata/generation, atLeast: 4}", false);
        check(
            "{pointer: /metadata/generation, sameAs: /status/observedGeneration}",
            true,
        );
        check(
            "{pointer: /metadata/generation, sameAs: /status/code}",
            false,
        );
    }

    #[test]
    fn captured_values_can_be_compared() {
        check("{pointer: /status/code, equals: \"${code}\"}", true);
        check("{pointer: /metadata/name, equals: \"${code}\"}", false);
    }

    #[test]
    fn a_condition_captures_only_when_it_holds() {
        let until: Until = serde_saphyr::from_str(
            "{apiVersion: v1, kind: Rollback, capture: {code: /status/code}, \
             checks: [{pointer: /status/conditions/type=Complete/reason, equals: Recovered}]}",
        )
        .unwrap();
        let none = BTreeMap::new();
        let met = until.met(&[json!({}), rollback()], &none).unwrap();
        assert_eq!(met.unwrap()["code"], "4711");
        assert_eq!(until.met(&[json!({})], &none).unwrap(), None);
    }

    #[test]
    fn absence_is_met_by_no_object() {
        let until: Until =
            serde_saphyr::from_str("{apiVersion: v1, kind: Pod, absent: true}").unwrap();
        let none = BTreeMap::new();
        assert!(until.met(&[], &none).unwrap().is_some());
        assert!(until.met(&[rollback()], &none).unwrap().is_none());
    }
}
