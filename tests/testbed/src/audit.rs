//! What somebody wrote to the API server, by its own record or by what passed a proxy.
//!
//! A dry run and a question such as a `SelfSubjectAccessReview` are sent like writes, and are none.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

use crate::fault_proxy::Seen;

const VERBS: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// One request to change something.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// As in a Role: `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// As in a Role: `deployments`, or `rollbacks/status`.
    pub resource: String,
    pub namespace: String,
    /// Empty where the server chose it, or for a collection.
    pub name: String,
    /// Null where there was no answer.
    pub code: Option<u16>,
    /// When it was answered; only the API server's record says so.
    pub at: Option<Timestamp>,
    /// What was sent, as far as the API server recorded it.
    pub body: Value,
}

impl Write {
    /// Says whether the API server took it.
    #[must_use]
    pub fn was_taken(&self) -> bool {
        self.code.is_some_and(|code| (200..300).contains(&code))
    }
}

/// Reads the writes of a user in all namespaces from the record of a bed with
/// [`audit`](crate::bed::Options::audit), in order of time.
///
/// A write comes into the record a moment after its answer, so wait for what shall be there.
///
/// # Errors
///
/// When there is no record: the bed was started without one.
pub fn recorded(log: &Path, user: &str) -> anyhow::Result<Vec<Write>> {
    let text = fs::read_to_string(log)
        .with_context(|| format!("no record of requests in {}", log.display()))?;
    // The last line may be half there.
    let requests = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = requests.filter(|request| request["user"]["username"] == user);
    Ok(own.filter_map(|request| of_record(&request)).collect())
}

/// Returns the writes among the requests that passed a proxy.
#[must_use]
pub fn passed(requests: &[Seen]) -> Vec<Write> {
    requests.iter().filter_map(of_request).collect()
}

fn of_record(request: &Value) -> Option<Write> {
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str);
    let verb = text("/verb").filter(|verb| VERBS.contains(verb))?;
    let query = text("/requestURI").and_then(|path| path.split_once('?'));
    let resource = text("/objectRef/resource")?;
    if is_no_write(resource, query.map(|(_, query)| query)) {
        return None;
    }
    let resource = match text("/objectRef/subresource") {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    };
    let owned = |pointer: &str| text(pointer).unwrap_or_default().to_owned();
    let code = request.pointer("/responseStatus/code");
    Some(Write {
        verb: verb.to_owned(),
        resource,
        namespace: owned("/objectRef/namespace"),
        name: owned("/objectRef/name"),
        code: code
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok()),
        at: text("/stageTimestamp").and_then(|at| at.parse().ok()),
        body: request["requestObject"].clone(),
    })
}

fn of_request(seen: &Seen) -> Option<Write> {
    let (path, query) = match seen.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (seen.path.as_str(), None),
    };
    let mut words = path.split('/').filter(|word| !word.is_empty());
    // `/api/v1`, or `/apis/group/version`.
    let prefix = if words.next()? == "api" { 1 } else { 2 };
    let mut words = words.skip(prefix).peekable();
    let mut namespace = "";
    let mut resource = words.next()?;
    if resource == "namespaces" {
        let name = words.next().unwrap_or_default();
        // Otherwise it is about the Namespace itself.
        if let Some(within) = words.next() {
            (namespace, resource) = (name, within);
        }
    }
    if is_no_write(resource, query) {
        return None;
    }
    let name = words.next().unwrap_or_default();
    let verb = match seen.method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if name.is_empty() && resource != "namespaces" => "deletecollection",
        "DELETE" => "delete",
        _ => return None,
    };
    let resource = match words.next() {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    };
    Some(Write {
        verb: verb.to_owned(),
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        code: seen.status,
        at: None,
        body: Value::Null,
    })
}

fn is_no_write(resource: &str, query: Option<&str>) -> bool {
    let mut parameters = query.into_iter().flat_map(|query| query.split('&'));
    resource.ends_with("reviews") || parameters.any(|parameter| parameter.starts_with("dryRun="))
}

/// How often what was written, of what the API server took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(String, String), usize>);

impl Tally {
    /// Counts the writes that were taken.
    #[must_use]
    pub fn of(writes: &[Write]) -> Self {
        let mut counts = BTreeMap::new();
        for write in writes.iter().filter(|write| write.was_taken()) {
            let key = (write.resource.clone(), write.verb.clone());
            *counts.entry(key).or_default() += 1;
        }
        Self(counts)
    }

    /// Returns how often a resource was written, its subresources included.
    #[must_use]
    pub fn on(&self, resource: &str) -> usize {
        let own = self
            .0
            .iter()
            .filter(|((written, _), _)| is_of(written, resource));
        own.map(|(_, count)| count).sum()
    }

    /// Returns how often anything was written but these resources, such as `leases` and `events`.
    #[must_use]
    pub fn besides(&self, resources: &[&str]) -> usize {
        let others = self
            .0
            .iter()
            .filter(|((written, _), _)| !resources.iter().any(|resource| is_of(written, resource)));
        others.map(|(_, count)| count).sum()
    }
}

fn is_of(written: &str, resource: &str) -> bool {
    written.split('/').next() == Some(resource)
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((resource, verb), count)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{count} {verb} {resource}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(method: &str, path: &str, status: u16) -> Seen {
        Seen {
            method: method.to_owned(),
            path: path.to_owned(),
            status: Some(status),
        }
    }

    const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/checkout";
    const ROLLBACKS: &str = "/apis/astern.dev/v1alpha1/namespaces/shop/rollbacks";

    #[test]
    fn requests_are_told_apart_by_what_they_change() {
        for (method, path, expected) in [
            (
                "PATCH",
                format!("{DEPLOYMENT}?fieldManager=astern"),
                Some("patch deployments shop/checkout"),
            ),
            ("POST", ROLLBACKS.to_owned(), Some("create rollbacks shop/")),
            (
                "PATCH",
                format!("{ROLLBACKS}/x/status"),
                Some("patch rollbacks/status shop/x"),
            ),
            (
                "DELETE",
                ROLLBACKS.to_owned(),
                Some("deletecollection rollbacks shop/"),
            ),
            (
                "PUT",
                "/api/v1/namespaces/shop".to_owned(),
                Some("update namespaces /"),
            ),
            (
                "DELETE",
                "/api/v1/nodes/node-1".to_owned(),
                Some("delete nodes /node-1"),
            ),
            ("GET", DEPLOYMENT.to_owned(), None),
            ("PATCH", format!("{DEPLOYMENT}?x=1&dryRun=All"), None),
            (
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
                None,
            ),
        ] {
            let writes = passed(&[seen(method, &path, 200)]);
            let told = writes.first().map(|write| {
                let Write {
                    verb,
                    resource,
                    namespace,
                    name,
                    ..
                } = write;
                format!("{verb} {resource} {namespace}/{name}")
            });
            assert_eq!(told.as_deref(), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_record_says_the_same_as_a_proxy() {
        let record = |verb: &str, uri: &str, subresource: Option<&str>| {
            of_record(&json!({
                "verb": verb, "requestURI": uri, "user": {"username": "astern"},
                "objectRef": {"resource": "deployments", "namespace": "shop", "name": "checkout",
                              "subresource": subresource},
                "responseStatus": {"code": 200},
            }))
        };
        let by_proxy = passed(&[seen("PATCH", DEPLOYMENT, 200)]);
        assert_eq!(record("patch", DEPLOYMENT, None), by_proxy.first().cloned());
        let scale = format!("{DEPLOYMENT}/scale");
        let by_proxy = passed(&[seen("PUT", &scale, 200)]);
        let by_record = record("update", &scale, Some("scale"));
        assert_eq!(by_record, by_proxy.first().cloned());
        assert_eq!(record("get", DEPLOYMENT, None), None);
        let dry_run = format!("{DEPLOYMENT}?dryRun=All");
        assert_eq!(record("patch", &dry_run, None), None);
    }

    #[test]
    fn only_what_was_taken_counts() {
        let lease = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/astern";
        let writes = passed(&[
            seen("PATCH", DEPLOYMENT, 200),
            seen("PATCH", DEPLOYMENT, 422),
            seen("PATCH", DEPLOYMENT, 200),
            seen("POST", ROLLBACKS, 201),
            seen("PATCH", &format!("{ROLLBACKS}/x/status"), 200),
            seen("PUT", lease, 200),
        ]);
        let tally = Tally::of(&writes);
        assert_eq!(tally.on("deployments"), 2);
        assert_eq!(tally.on("rollbacks"), 2);
        assert_eq!(tally.besides(&["leases", "events"]), 4);
        assert_eq!(
            tally.to_string(),
            "2 patch deployments, 1 update leases, 1 create rollbacks, 1 patch rollbacks/status"
        );
    }
}
