//! Where the traffic of a workload leads: its Services, their endpoints, and the routes to them.
//!
//! Read when a recovery is verified, and not watched. Whether it leads to the right place is said in
//! [`crate::decide::traffic`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::looks::{Looks, each, is_selected_by, strings};
use super::workload::{Deployment, ReplicaSet};
use crate::api::record::{controller, text};
use crate::decide::traffic::{Elsewhere, Serving, Traffic};
use crate::port::{Cluster, kinds};

/// Services of one workload that are told of. More than any has.
const SERVICES_MAX: usize = 16;
/// Routes to one Service that are told of.
const ROUTES_MAX: usize = 8;
/// Pods of other revisions that are named for one Service.
const LEFT_MAX: usize = 16;

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub deployment: &'a Deployment,
    /// The one that carries the restored template.
    pub restored: &'a ReplicaSet,
    /// The labels of the pods of the revision that was gone back from, where they are known.
    pub bad_labels: Option<&'a BTreeMap<String, String>>,
}

/// Looks where the traffic of a workload leads, by five lists in its namespace and one more where the
/// cluster knows `HTTPRoutes`.
///
/// Endpoints are read before pods: a pod that is in an endpoint and not among the pods is gone since.
pub async fn traffic(cluster: &dyn Cluster, asked: &Asked<'_>) -> Traffic {
    let selector = &asked.deployment.selector;
    let mut looks = Looks::new(cluster, &asked.deployment.namespace);
    let objects = Objects {
        services: looks.list(kinds::SERVICES, "").await,
        slices: looks.list(kinds::ENDPOINT_SLICES, "").await,
        replica_sets: looks.list(kinds::REPLICA_SETS, selector).await,
        pods: looks.list(kinds::PODS, selector).await,
    };
    let mut traffic = of(asked, &objects);
    if !traffic.elsewhere.is_empty() {
        let ingresses = looks.list(kinds::INGRESSES, "").await;
        let routes = looks.list_if_served(kinds::HTTP_ROUTES).await;
        for one in &mut traffic.elsewhere {
            one.routes = leading_to(&one.service, &ingresses, &routes);
        }
    }
    traffic.unseen = looks.unseen();
    traffic
}

/// Objects of one namespace.
#[derive(Debug, Default)]
struct Objects {
    services: Vec<Value>,
    slices: Vec<Value>,
    replica_sets: Vec<Value>,
    pods: Vec<Value>,
}

fn of(asked: &Asked<'_>, objects: &Objects) -> Traffic {
    let revisions = Revisions::read(asked, objects);
    let mut labels = asked.deployment.pod_labels.clone();
    // The hash, and what admission adds, are only on the pods themselves.
    labels.extend(revisions.labels.clone());
    let wanted = Wanted {
        labels,
        selector: equalities(&asked.deployment.selector),
        bad_labels: asked.bad_labels,
    };
    let endpoints = ready_endpoints(&objects.slices);
    Traffic {
        ready: revisions.ready,
        services: serving(&objects.services, &endpoints, &revisions, &wanted),
        elsewhere: elsewhere(&objects.services, &endpoints, &revisions, &wanted),
        unseen: Vec::new(),
    }
}

/// The pods of a Deployment, by revision.
#[derive(Debug, Default)]
struct Revisions {
    /// Names of pods.
    restored: BTreeSet<String>,
    other: BTreeSet<String>,
    ready: usize,
    /// Of one restored pod.
    labels: BTreeMap<String, String>,
    /// Names of its ReplicaSets but the restored one, each with a dash: so begin the names of its pods.
    other_prefixes: Vec<String>,
}

impl Revisions {
    fn read(asked: &Asked<'_>, objects: &Objects) -> Self {
        let mut others = BTreeSet::new();
        let mut other_prefixes = Vec::new();
        for replica_set in &objects.replica_sets {
            let uid = asked.deployment.owned_replica_set(replica_set);
            if let Some(uid) = uid.filter(|uid| *uid != asked.restored.uid) {
                others.insert(uid);
                let name = text(replica_set, "/metadata/name").unwrap_or_default();
                other_prefixes.push(format!("{name}-"));
            }
        }
        let mut revisions = Self {
            other_prefixes,
            ..Self::default()
        };
        for pod in &objects.pods {
            let Some(name) = text(pod, "/metadata/name") else {
                continue;
            };
            let owner = controller(pod).and_then(|owner| text(owner, "/uid"));
            if owner == Some(asked.restored.uid.as_str()) {
                revisions.labels = strings(pod.pointer("/metadata/labels"));
                revisions.restored.insert(name.to_owned());
                revisions.ready += usize::from(is_ready(pod));
            } else if owner.is_some_and(|owner| others.contains(owner)) {
                revisions.other.insert(name.to_owned());
            }
        }
        revisions
    }

    /// Whether `pod` is of another revision of the Deployment: one that is there, or one that is gone
    /// while an endpoint still names it.
    fn is_other(&self, pod: &str) -> bool {
        let is_gone = |prefix: &String| {
            pod.strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('-'))
        };
        self.other.contains(pod)
            || (!self.restored.contains(pod) && self.other_prefixes.iter().any(is_gone))
    }

    fn are_ours(&self, pods: &BTreeSet<&str>) -> bool {
        pods.iter()
            .all(|pod| self.restored.contains(*pod) || self.is_other(pod))
    }
}

fn is_ready(pod: &Value) -> bool {
    let deleting = pod.pointer("/metadata/deletionTimestamp").is_some();
    let is_ready = |condition: &Value| {
        text(condition, "/type") == Some("Ready") && text(condition, "/status") == Some("True")
    };
    !deleting && each(pod, "/status/conditions").any(is_ready)
}

/// What a Service must select to lead to the restored revision.
struct Wanted<'a> {
    /// Of the restored pods.
    labels: BTreeMap<String, String>,
    /// Those that the Deployment's selector asks for by value.
    selector: BTreeMap<String, String>,
    bad_labels: Option<&'a BTreeMap<String, String>>,
}

/// Reads the equalities of a label selector. Sets say nothing about what a Service should ask for: its
/// selector has equalities alone.
fn equalities(selector: &str) -> BTreeMap<String, String> {
    let parts = selector.split(',');
    let equalities = parts.filter_map(|part| part.split_once('='));
    equalities
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Pods behind each Service, by its name; those that take new connections.
fn ready_endpoints(slices: &[Value]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for slice in slices {
        let label = slice.pointer("/metadata/labels/kubernetes.io~1service-name");
        let Some(service) = label.and_then(Value::as_str) else {
            continue;
        };
        let pods = found.entry(service).or_default();
        pods.extend(each(slice, "/endpoints").filter_map(ready_pod));
    }
    found
}

/// Absent means ready: the API says that consumers should take it so.
fn ready_pod(endpoint: &Value) -> Option<&str> {
    let ready = endpoint.pointer("/conditions/ready");
    let takes = ready.and_then(Value::as_bool) != Some(false);
    let pod = text(endpoint, "/targetRef/kind") == Some("Pod");
    (takes && pod)
        .then(|| text(endpoint, "/targetRef/name"))
        .flatten()
}

/// Returns the Services that select the restored pods, or that lead to any pod of the Deployment.
fn serving(
    services: &[Value],
    endpoints: &BTreeMap<&str, BTreeSet<&str>>,
    revisions: &Revisions,
    wanted: &Wanted<'_>,
) -> Vec<Serving> {
    let nothing = BTreeSet::new();
    let mut found: Vec<Serving> = services
        .iter()
        .filter_map(|service| {
            let name = text(service, "/metadata/name")?;
            let selects = is_selected_by(&selector(service), &wanted.labels);
            let pods = endpoints.get(name).unwrap_or(&nothing);
            let restored = pods.iter().filter(|pod| revisions.restored.contains(**pod));
            let restored = restored.count();
            let left = pods.iter().filter(|pod| revisions.is_other(pod));
            let left: Vec<String> = left.take(LEFT_MAX).map(|pod| (*pod).to_owned()).collect();
            (selects || restored > 0 || !left.is_empty()).then(|| Serving {
                service: name.to_owned(),
                headless: text(service, "/spec/clusterIP") == Some("None"),
                selects,
                restored,
                left,
            })
        })
        .collect();
    // What still leads elsewhere comes first, lest it be cut.
    found.sort_by_key(|serving| (serving.left.is_empty(), serving.service.clone()));
    found.truncate(SERVICES_MAX);
    found
}

/// Returns the Services that were meant for the Deployment, as far as their selectors tell, and miss its
/// restored pods.
///
/// A selector says what pods a Service wants, not whose. It counts as meant for the Deployment when it
/// would select the pods of the bad revision; that is certain. It counts, less certainly, when it asks
/// for every label that the Deployment's own selector asks for, and for more. A Service that leads to
/// pods of anybody else is theirs.
fn elsewhere(
    services: &[Value],
    endpoints: &BTreeMap<&str, BTreeSet<&str>>,
    revisions: &Revisions,
    wanted: &Wanted<'_>,
) -> Vec<Elsewhere> {
    let mut found: Vec<Elsewhere> = services
        .iter()
        .filter_map(|service| {
            let name = text(service, "/metadata/name")?;
            let asks = selector(service);
            let lacks = missing(&asks, &wanted.labels);
            let bad = wanted.bad_labels;
            let selected_bad = bad.is_some_and(|labels| is_selected_by(&asks, labels));
            let selector = &wanted.selector;
            let asks_for_all = !selector.is_empty() && missing(selector, &asks).is_empty();
            let pods = endpoints.get(name);
            let theirs = pods.is_some_and(|pods| !revisions.are_ours(pods));
            let meant = selected_bad || asks_for_all;
            (!lacks.is_empty() && meant && !theirs).then(|| Elsewhere {
                service: name.to_owned(),
                lacks,
                selected_bad,
                routes: Vec::new(),
            })
        })
        .collect();
    found.sort_by_key(|one| (!one.selected_bad, one.service.clone()));
    found.truncate(SERVICES_MAX);
    found
}

fn selector(service: &Value) -> BTreeMap<String, String> {
    strings(service.pointer("/spec/selector"))
}

fn missing(
    asked: &BTreeMap<String, String>,
    there: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let missing = asked
        .iter()
        .filter(|(key, value)| there.get(*key) != Some(value));
    missing
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Returns what leads to `service` from outside, such as `ingress/shop`.
fn leading_to(service: &str, ingresses: &[Value], routes: &[Value]) -> Vec<String> {
    let ingresses = ingresses
        .iter()
        .filter(|ingress| ingress_backends(ingress).any(|name| name == service))
        .filter_map(|ingress| Some(format!("ingress/{}", text(ingress, "/metadata/name")?)));
    let routes = routes
        .iter()
        .filter(|route| route_backends(route).any(|name| name == service))
        .filter_map(|route| Some(format!("httproute/{}", text(route, "/metadata/name")?)));
    ingresses.chain(routes).take(ROUTES_MAX).collect()
}

fn ingress_backends(ingress: &Value) -> impl Iterator<Item = &str> {
    let default = text(ingress, "/spec/defaultBackend/service/name");
    let paths = each(ingress, "/spec/rules").flat_map(|rule| each(rule, "/http/paths"));
    let named = paths.filter_map(|path| text(path, "/backend/service/name"));
    default.into_iter().chain(named)
}

/// Names the Services of the route's own namespace that get a share of its requests.
fn route_backends(route: &Value) -> impl Iterator<Item = &str> {
    let namespace = text(route, "/metadata/namespace");
    let references = each(route, "/spec/rules").flat_map(|rule| each(rule, "/backendRefs"));
    references
        .filter(move |reference| {
            let kind = text(reference, "/kind").unwrap_or("Service");
            let other = text(reference, "/namespace").filter(|other| Some(*other) != namespace);
            let weight = reference.pointer("/weight").and_then(Value::as_i64);
            kind == "Service" && other.is_none() && weight != Some(0)
        })
        .filter_map(|reference| text(reference, "/name"))
}

#[cfg(test)]
mod tests;
