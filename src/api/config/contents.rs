//! What an object held, as digests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::api::record::{self, text};
use crate::decide::Contents;
use crate::decide::config::WHOLE;

/// Of an object with more keys only the whole is remembered: nobody reads a list of more, and every
/// revision carries it.
const KEYS_MAX: usize = 64;

/// Returns what the ConfigMap `object` holds.
#[must_use]
pub fn contents(object: &Value) -> Contents {
    let mut keys = BTreeMap::new();
    // A key stands in one of the two.
    for field in ["data", "binaryData"] {
        let entries = object.get(field).and_then(Value::as_object);
        for (key, value) in entries.into_iter().flatten() {
            let digest = match value.as_str() {
                Some(value) => short_digest(&[field, value]),
                None => short_digest(&[field, &value.to_string()]),
            };
            keys.insert(key.clone(), digest);
        }
    }
    if keys.is_empty() {
        return Contents::default();
    }
    let parts: Vec<&str> = keys
        .iter()
        .flat_map(|(key, digest)| [key.as_str(), digest.as_str()])
        .collect();
    let whole = short_digest(&parts);
    if keys.len() > KEYS_MAX {
        keys.clear();
    }
    keys.insert(WHOLE.to_owned(), whole);
    Contents { keys }
}

/// Returns what stands for the content of the Secret `object`: its UID, and when somebody last wrote
/// its data. Looks at nothing but metadata, so `data` may have been dropped before.
#[must_use]
pub fn secret_contents(object: &Value) -> Contents {
    let uid = text(object, "/metadata/uid").unwrap_or_default();
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let newest = entries
        .into_iter()
        .flatten()
        .filter(|entry| {
            ["/fieldsV1/f:data", "/fieldsV1/f:stringData"]
                .iter()
                .any(|path| entry.pointer(path).is_some())
        })
        .filter_map(|entry| record::time(entry, "/time"))
        .max();
    let since = match newest {
        Some(time) => short_digest(&["written", uid, &time.to_string()]),
        // Moves with every write, that of a label too: too often is better than too seldom.
        None => short_digest(&[
            "version",
            uid,
            text(object, "/metadata/resourceVersion").unwrap_or_default(),
        ]),
    };
    Contents {
        keys: BTreeMap::from([(WHOLE.to_owned(), since)]),
    }
}

/// Returns the first 16 hexadecimal digits of the SHA-256 over `parts`, each ended by a zero byte.
pub(super) fn short_digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut digits = String::with_capacity(16);
    for byte in hash.finalize().iter().take(8) {
        // Writing into a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
