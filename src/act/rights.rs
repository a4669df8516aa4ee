//! Asks the API server whether Astern may write what a rollback writes. Nothing is stored by asking.

use serde_json::{Value, json};

use super::{Error, Hands};
use crate::port::{self, Kind, kinds};

/// What a rollback writes, whatever the policy says.
const ALWAYS: [(&str, Kind, Option<&str>); 5] = [
    ("patch", kinds::DEPLOYMENTS, None),
    ("create", kinds::CONTROLLER_REVISIONS, None),
    ("patch", kinds::CONTROLLER_REVISIONS, None),
    ("create", kinds::ROLLBACKS, None),
    ("patch", kinds::ROLLBACKS, Some("status")),
];

/// What it writes where config goes back too.
const COPIES: [(&str, Kind, Option<&str>); 2] = [
    ("create", kinds::CONFIG_MAPS, None),
    ("patch", kinds::CONFIG_MAPS, None),
];

/// Returns what a rollback in `namespace` writes and Astern may not, such as `patch deployments`;
/// `copies` where it would copy config.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later; nothing was changed.
pub async fn missing(hands: &Hands, namespace: &str, copies: bool) -> Result<Vec<String>, Error> {
    let copies = COPIES.iter().filter(|_| copies);
    let mut missing = Vec::new();
    for (verb, kind, subresource) in ALWAYS.iter().chain(copies) {
        let body = review(namespace, verb, *kind, *subresource);
        let answer = hands.cluster.create(kinds::ACCESS_REVIEWS, body).await;
        let allowed = match answer {
            Ok(answer) => answer.pointer("/status/allowed") == Some(&Value::Bool(true)),
            // Everybody may ask about themselves; where an admin took that away, nothing is known.
            Err(port::Error::Forbidden { .. }) => true,
            Err(source) => return Err(Error::ReviewAccess { source }),
        };
        if !allowed {
            let slash = subresource.map(|name| format!("/{name}"));
            let slash = slash.unwrap_or_default();
            missing.push(format!("{verb} {}{slash}", kind.plural));
        }
    }
    Ok(missing)
}

fn review(namespace: &str, verb: &str, kind: Kind, subresource: Option<&str>) -> Value {
    json!({
        "apiVersion": kinds::ACCESS_REVIEWS.api_version(),
        "kind": kinds::ACCESS_REVIEWS.kind,
        "spec": {"resourceAttributes": {
            "namespace": namespace,
            "verb": verb,
            "group": kind.group,
            "resource": kind.plural,
            "subresource": subresource.unwrap_or_default(),
        }},
    })
}
