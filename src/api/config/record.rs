//! What config held, as it is remembered on objects.

use serde_json::{Map, Value, json};

use crate::decide::config::bounded;
use crate::decide::{Config, ConfigKind, ConfigName, Contents};

const GROUPS: [(ConfigKind, &str); 2] = [
    (ConfigKind::ConfigMap, "configMaps"),
    (ConfigKind::Secret, "secrets"),
];

/// Returns `config` as JSON: digests by key, by name, by kind; null where an object was missing.
/// Bounded to 64 KiB, beyond which large objects keep no digests of their keys.
#[must_use]
pub fn write(config: &Config) -> Value {
    let config = bounded(config.clone());
    let mut groups = Map::new();
    for (kind, group) in GROUPS {
        let objects: Map<String, Value> = config
            .iter()
            .filter(|(name, _)| name.kind == kind)
            .map(|(name, held)| {
                let held = held.as_ref().map(|held| &held.keys);
                (name.name.clone(), json!(held))
            })
            .collect();
        if !objects.is_empty() {
            groups.insert(group.to_owned(), Value::Object(objects));
        }
    }
    Value::Object(groups)
}

/// Returns the config that `value` remembers, or `None` when it remembers none. An object that makes
/// no sense is not known.
#[must_use]
pub fn read(value: &Value) -> Option<Config> {
    let groups = value.as_object()?;
    let mut config = Config::new();
    for (kind, group) in GROUPS {
        let objects = groups.get(group).and_then(Value::as_object);
        for (name, held) in objects.into_iter().flatten() {
            let name = ConfigName {
                kind,
                name: name.clone(),
            };
            if held.is_null() {
                config.insert(name, None);
            } else if let Some(held) = contents(held) {
                config.insert(name, Some(held));
            }
        }
    }
    Some(config)
}

fn contents(held: &Value) -> Option<Contents> {
    let entries = held.as_object()?.iter();
    let keys = entries.map(|(key, digest)| Some((key.clone(), digest.as_str()?.to_owned())));
    Some(Contents {
        keys: keys.collect::<Option<_>>()?,
    })
}

/// Returns `config` as the value of an annotation.
#[must_use]
pub fn to_text(config: &Config) -> String {
    write(config).to_string()
}

/// Returns the config in the value of an annotation; `None` when it makes no sense.
#[must_use]
pub fn from_text(text: &str) -> Option<Config> {
    read(&serde_json::from_str(text).ok()?)
}
