//! What the operator wrote to a Deployment, by the API server's own record.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use crate::audit;

/// What a write was for, by the fields that it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Template,
    Ownership,
    Pause,
    Resume,
    /// It changed something that is nobody's but the user's.
    Foreign,
}

/// One write that the API server took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) at: Timestamp,
    pub(crate) purpose: Purpose,
}

/// Returns the writes of a user to one Deployment, in order of time.
///
/// # Errors
///
/// When there is no record: the bed was started without one.
pub(super) fn writes(
    log: &Path,
    user: &str,
    (namespace, deployment): (&str, &str),
) -> anyhow::Result<Vec<Write>> {
    let own = audit::recorded(log, user)?.into_iter().filter(|write| {
        // Subresources, such as the scale, too.
        write.resource.split('/').next() == Some("deployments")
            && (&*write.namespace, &*write.name) == (namespace, deployment)
            && write.was_taken()
    });
    let writes = own.filter_map(|write| {
        let at = write.at?;
        let purpose = purpose(&write.body);
        Some(Write { at, purpose })
    });
    Ok(writes.collect())
}

/// Tells a JSON Patch by what it changes. Anything but the fields that a rollback may touch is
/// foreign, such as `replicas` or other people's annotations.
fn purpose(patch: &Value) -> Purpose {
    const MARKS: [&str; 3] = [
        "/metadata/annotations/astern.dev~1rolled-back-by",
        "/metadata/annotations/astern.dev~1paused-by",
        "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
    ];
    let Some(operations) = patch.as_array() else {
        return Purpose::Foreign;
    };
    let changes: Vec<(&str, &str)> = operations
        .iter()
        .filter_map(|operation| Some((operation["op"].as_str()?, operation["path"].as_str()?)))
        .filter(|(operation, _)| *operation != "test")
        .collect();
    let known = |path: &str| {
        MARKS.contains(&path)
            || matches!(
                path,
                "/spec/template"
                    | "/spec/paused"
                    | "/metadata/managedFields"
                    | "/metadata/resourceVersion"
                    | "/metadata/annotations"
            )
    };
    let changes_at = |wanted: &str| changes.iter().find(|(_, path)| *path == wanted);
    if !changes.iter().all(|(_, path)| known(path)) {
        Purpose::Foreign
    } else if changes_at("/spec/template").is_some() {
        Purpose::Template
    } else if changes_at("/metadata/managedFields").is_some() {
        Purpose::Ownership
    } else if matches!(changes_at("/spec/paused"), Some(("add", _))) {
        Purpose::Pause
    } else {
        Purpose::Resume
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(operations: &[(&str, &str)], expected: Purpose) {
        let operations: Vec<Value> = operations
            .iter()
            .map(|(operation, path)| json!({"op": operation, "path": path}))
            .collect();
        assert_eq!(purpose(&Value::from(operations)), expected);
    }

    #[test]
    fn a_write_is_told_by_what_it_changes() {
        let mark = "/metadata/annotations/astern.dev~1rolled-back-by";
        check(
            &[
                ("test", "/spec/replicas"),
                ("replace", "/spec/template"),
                ("add", mark),
            ],
            Purpose::Template,
        );
        check(
            &[("replace", "/metadata/managedFields")],
            Purpose::Ownership,
        );
        check(&[("add", "/spec/paused")], Purpose::Pause);
        check(&[("remove", "/spec/paused")], Purpose::Resume);
    }

    #[test]
    fn what_belongs_to_others_is_foreign() {
        check(
            &[("replace", "/spec/template"), ("replace", "/spec/replicas")],
            Purpose::Foreign,
        );
        check(&[("add", "/metadata/annotations/team")], Purpose::Foreign);
        assert_eq!(purpose(&json!({"spec": {}})), Purpose::Foreign);
    }
}
