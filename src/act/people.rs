//! Writes that a person makes with `kubectl astern`, with the person's own rights.
//!
//! The operator takes no part in them: it reads what was written, like an annotation typed by hand.

use serde_json::{Value, json};

use crate::api::record::{annotation, annotation_pointer, text};
use crate::port::{self, Cluster, ObjectRef, kinds};

/// Sets annotations of `live`, or removes those without a value, provided that they are still what was
/// read.
///
/// # Errors
///
/// [`port::Error::Invalid`] where somebody was faster, or admission says no. Say what the API server
/// says.
pub async fn annotate(
    cluster: &dyn Cluster,
    object: &ObjectRef,
    live: &Value,
    marks: &[(&str, Option<&str>)],
) -> Result<Value, port::Error> {
    let operations = annotating(live, marks);
    cluster.json_patch(object, operations).await
}

fn annotating(live: &Value, marks: &[(&str, Option<&str>)]) -> Value {
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": live.pointer("/metadata/uid")}),
    ];
    let has_map = live.pointer("/metadata/annotations").is_some();
    if !has_map && marks.iter().any(|(_, value)| value.is_some()) {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    for (key, value) in marks {
        let path = annotation_pointer(key);
        let before = annotation(live, key);
        if has_map {
            // Null equals absent.
            operations.push(json!({"op": "test", "path": path, "value": before}));
        }
        match value {
            Some(value) => operations.push(json!({"op": "add", "path": path, "value": value})),
            None if before.is_some() => operations.push(json!({"op": "remove", "path": path})),
            None => (),
        }
    }
    Value::Array(operations)
}

/// What a person asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asking<'a> {
    pub namespace: &'a str,
    pub deployment: &'a str,
    /// The digest of the revision to go back to.
    pub to: Option<&'a str>,
    pub reason: &'a str,
    pub requested_by: &'a str,
    /// Find out what would be done, and do nothing.
    pub dry_run: bool,
    /// Nothing is wrong with what runs.
    pub drill: bool,
}

/// Creates the Rollback that asks for one, and returns it.
///
/// # Errors
///
/// What the API server says against it.
pub async fn ask_for_rollback(
    cluster: &dyn Cluster,
    asking: &Asking<'_>,
) -> Result<Value, port::Error> {
    cluster.create(kinds::ROLLBACKS, request(asking)).await
}

/// Returns the Rollback that asks for one. Its end is the API server's to choose.
#[must_use]
pub fn request(asking: &Asking<'_>) -> Value {
    let mut spec = json!({
        "deployment": {"name": asking.deployment},
        "reason": asking.reason,
        "requestedBy": asking.requested_by,
    });
    if let Some(to) = asking.to {
        spec["to"] = json!(to);
    }
    if asking.dry_run {
        spec["dryRun"] = json!(true);
    }
    if asking.drill {
        spec["drill"] = json!(true);
    }
    json!({
        "apiVersion": kinds::ROLLBACKS.api_version(),
        "kind": kinds::ROLLBACKS.kind,
        "metadata": {
            "namespace": asking.namespace,
            "generateName": format!("{}-", asking.deployment),
        },
        "spec": spec,
    })
}

/// Returns the name by which the API server knows who asks; `None` where it does not tell.
///
/// # Errors
///
/// When the API server does not answer.
pub async fn whoami(cluster: &dyn Cluster) -> Result<Option<String>, port::Error> {
    let question = json!({
        "apiVersion": kinds::SELF_SUBJECT_REVIEWS.api_version(),
        "kind": kinds::SELF_SUBJECT_REVIEWS.kind,
    });
    let answer = cluster
        .create(kinds::SELF_SUBJECT_REVIEWS, question)
        .await?;
    Ok(text(&answer, "/status/userInfo/username").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "astern.dev/mark";
    const PATH: &str = "/metadata/annotations/astern.dev~1mark";

    #[track_caller]
    fn check(annotations: Option<Value>, value: Option<&str>, expected: &[Value]) {
        let mut live = json!({"metadata": {"uid": "5eed0007"}});
        if let Some(annotations) = annotations {
            live["metadata"]["annotations"] = annotations;
        }
        let operations = annotating(&live, &[(KEY, value)]);
        let operations = operations.as_array().expect("operations");
        assert_eq!(
            operations.first(),
            Some(&json!({"op": "test", "path": "/metadata/uid", "value": "5eed0007"}))
        );
        assert_eq!(operations.get(1..), Some(expected));
    }

    #[test]
    fn one_annotation_changes_if_it_is_still_what_was_read() {
        let unchanged = |value: Value| json!({"op": "test", "path": PATH, "value": value});
        let add = json!({"op": "add", "path": PATH, "value": "new"});
        check(
            None,
            Some("new"),
            &[
                json!({"op": "add", "path": "/metadata/annotations", "value": {}}),
                add.clone(),
            ],
        );
        check(
            Some(json!({"team": "shop"})),
            Some("new"),
            &[unchanged(Value::Null), add.clone()],
        );
        let marked = json!({KEY: "old"});
        check(
            Some(marked.clone()),
            Some("new"),
            &[unchanged(json!("old")), add],
        );
        let remove = json!({"op": "remove", "path": PATH});
        check(Some(marked), None, &[unchanged(json!("old")), remove]);
        check(None, None, &[]);
    }

    #[test]
    fn a_request_says_no_more_than_was_asked() {
        let asking = Asking {
            namespace: "shop",
            deployment: "checkout",
            reason: "it is slow",
            requested_by: "alice",
            ..Asking::default()
        };
        let short = request(&asking);
        assert_eq!(
            short["spec"],
            json!({"deployment": {"name": "checkout"}, "reason": "it is slow", "requestedBy": "alice"})
        );
        let long = request(&Asking {
            to: Some("0a1b"),
            dry_run: true,
            drill: true,
            ..asking
        });
        let spec = &long["spec"];
        assert_eq!(
            (&spec["to"], &spec["dryRun"], &spec["drill"]),
            (&json!("0a1b"), &json!(true), &json!(true))
        );
    }
}
