//! Costly looks at the objects of one namespace, each of which may be refused: what is not granted or
//! not served is noted, and the rest is read all the same.
//!
//! What the objects say is not said here.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::decide::traffic::{Unseen, UnseenCause};
use crate::port::{Cluster, Error, Kind, ObjectRef, Selection};

/// Of one kind. More than a namespace has; the rest is left out.
const OBJECTS_MAX: usize = 2_000;

/// Objects of one namespace.
pub(super) struct Looks<'a> {
    cluster: &'a dyn Cluster,
    namespace: &'a str,
    unseen: BTreeMap<(String, &'static str), UnseenCause>,
}

impl<'a> Looks<'a> {
    #[must_use]
    pub(super) fn new(cluster: &'a dyn Cluster, namespace: &'a str) -> Self {
        Self {
            cluster,
            namespace,
            unseen: BTreeMap::new(),
        }
    }

    /// Returns the objects of `kind` whose labels `labels` select; none where they cannot be seen.
    pub(super) async fn list(&mut self, kind: Kind, labels: &str) -> Vec<Value> {
        self.list_some(kind, labels, "").await
    }

    /// As [`Looks::list`], for objects of which a field selector spares the most.
    pub(super) async fn list_where(&mut self, kind: Kind, fields: &str) -> Vec<Value> {
        self.list_some(kind, "", fields).await
    }

    async fn list_some(&mut self, kind: Kind, labels: &str, fields: &str) -> Vec<Value> {
        let selection = Selection {
            namespace: Some(self.namespace.to_owned()),
            labels: labels.to_owned(),
        };
        let listed = self
            .cluster
            .list_some(kind, &selection, fields, OBJECTS_MAX)
            .await;
        self.seen((kind, "list"), listed).unwrap_or_default()
    }

    /// As [`Looks::list`], for a kind that is an add-on of the cluster: that it is not served or not
    /// granted is no news.
    pub(super) async fn list_if_served(&mut self, kind: Kind) -> Vec<Value> {
        let before = self.unseen.clone();
        let objects = self.list(kind, "").await;
        self.unseen = before;
        objects
    }

    /// Returns one object: `Ok(None)` when there is none, `Err` when it cannot be seen.
    pub(super) async fn get(
        &mut self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<Value>, UnseenCause> {
        let object = ObjectRef::new(kind, self.namespace, name);
        let answer = self.cluster.get(&object).await;
        let cause = answer.as_ref().err().map(cause);
        match (self.seen((kind, "get"), answer), cause) {
            (Some(found), _) => Ok(found),
            (None, cause) => Err(cause.unwrap_or(UnseenCause::NoAnswer)),
        }
    }

    fn seen<T>(&mut self, asked: (Kind, &'static str), answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                let (kind, verb) = asked;
                self.unseen.insert((resource(kind), verb), cause(&error));
                None
            }
        }
    }

    /// Returns what could not be looked at.
    #[must_use]
    pub(super) fn unseen(self) -> Vec<Unseen> {
        let unseen = self.unseen.into_iter();
        unseen
            .map(|((resource, verb), cause)| Unseen {
                verb,
                resource,
                cause,
            })
            .collect()
    }
}

fn cause(error: &Error) -> UnseenCause {
    match error {
        Error::NotFound => UnseenCause::NotServed,
        Error::Forbidden { .. } => UnseenCause::Forbidden,
        Error::AlreadyExists
        | Error::Conflict { .. }
        | Error::Invalid { .. }
        | Error::Unavailable { .. }
        | Error::Unexpected { .. } => UnseenCause::NoAnswer,
    }
}

/// Returns the name that RBAC and kubectl know a kind by.
fn resource(kind: Kind) -> String {
    if kind.group.is_empty() {
        kind.plural.to_owned()
    } else {
        format!("{}.{}", kind.plural, kind.group)
    }
}

/// Returns the elements of the list at `path`; none where there is no list.
pub(super) fn each<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = object.pointer(path).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// Returns the strings of a map.
pub(super) fn strings(map: Option<&Value>) -> BTreeMap<String, String> {
    let map = map.and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Returns whether a selector of equalities selects what carries `labels`. An empty one selects nothing,
/// as that of a Service does.
pub(super) fn is_selected_by(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    let carries = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    !selector.is_empty() && selector.iter().all(carries)
}

/// Returns whether a `LabelSelector` of an API object selects what carries `labels`. An empty one
/// selects everything; what is not understood selects nothing.
pub(super) fn is_selected_by_object(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let equal = strings(selector.get("matchLabels"));
    let equal = equal
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    equal && each(selector, "/matchExpressions").all(|expression| meets(expression, labels))
}

fn meets(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let field = |name: &str| expression.get(name).and_then(Value::as_str);
    let label = labels.get(field("key").unwrap_or_default());
    let is_listed = || {
        let mut values = each(expression, "/values").filter_map(Value::as_str);
        label.is_some_and(|label| values.any(|value| value == label))
    };
    match field("operator") {
        Some("In") => is_listed(),
        Some("NotIn") => !is_listed(),
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels() -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app".to_owned(), "checkout".to_owned()),
            ("tier".to_owned(), "web".to_owned()),
        ])
    }

    #[track_caller]
    fn check(selector: &Value, expected: bool) {
        assert_eq!(
            is_selected_by_object(selector, &labels()),
            expected,
            "{selector}"
        );
    }

    #[test]
    fn every_operator_of_a_label_selector_selects_and_leaves_out() {
        let one = |key: &str, operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
        check(&json!({}), true);
        check(&json!({ "matchLabels": { "app": "checkout" } }), true);
        check(&json!({ "matchLabels": { "app": "cart" } }), false);
        check(&one("tier", "In", &["db", "web"]), true);
        check(&one("tier", "In", &["db"]), false);
        check(&one("zone", "In", &["db"]), false);
        check(&one("tier", "NotIn", &["db"]), true);
        check(&one("zone", "NotIn", &["db"]), true);
        check(&one("tier", "NotIn", &["web"]), false);
        check(&one("tier", "Exists", &[]), true);
        check(&one("zone", "Exists", &[]), false);
        check(&one("zone", "DoesNotExist", &[]), true);
        check(&one("tier", "DoesNotExist", &[]), false);
        check(&one("tier", "Like", &["web"]), false);
    }

    #[test]
    fn a_service_without_a_selector_selects_nothing() {
        assert!(!is_selected_by(&BTreeMap::new(), &labels()));
        assert!(is_selected_by(&labels(), &labels()));
    }
}
