//! The Services that select a Deployment's pods, and the routes that lead to them, for shapes that are
//! counted in front of the pods.
//!
//! Read where such a shape is wanted, once a minute at most per namespace, and not watched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::buffer::{Owner, Subject};
use super::presets::Identity;
use crate::api::record::text;
use crate::port::{self, Cluster, Kind, Selection, kinds};

/// Services change with the set-up of an app, not with its releases.
const FRESH: SignedDuration = SignedDuration::from_secs(60);
/// No workload of it was judged for that long.
const FORGET_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Of one namespace. More than any has; the rest is left out.
const OBJECTS_MAX: usize = 2_000;

/// A Service, as far as names of metrics are made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    name: String,
    selector: BTreeMap<String, String>,
    /// Numbers and names.
    ports: Vec<String>,
}

/// One rule of an `HTTPRoute`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// `<route>/rule/<number>`.
    name: String,
    services: Vec<String>,
}

/// A route of an `IngressRoute` that leads to one Service: Traefik makes a service of its own of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnService {
    /// As Traefik calls it, one way or the other.
    names: [String; 2],
    service: String,
}

/// What leads to the pods of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    services: Vec<Service>,
    rules: Vec<Rule>,
    own_services: Vec<OwnService>,
}

impl Paths {
    fn read(services: &[Value], routes: &[Value], ingress_routes: &[Value]) -> Self {
        let all = |objects: &[Value]| objects.len().min(OBJECTS_MAX);
        Self {
            services: services[..all(services)]
                .iter()
                .filter_map(service)
                .collect(),
            rules: routes[..all(routes)].iter().flat_map(rules).collect(),
            own_services: ingress_routes[..all(ingress_routes)]
                .iter()
                .flat_map(own_services)
                .collect(),
        }
    }

    /// Returns what a shape counts about the pods of a Deployment that carry `labels`.
    #[must_use]
    pub fn owners(
        &self,
        identity: Identity,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Vec<Owner> {
        let services: Vec<&Service> = self
            .services
            .iter()
            .filter(|service| service.selects(labels))
            .collect();
        let here = |subject| (namespace.to_owned(), subject);
        match identity {
            Identity::Pod { .. } | Identity::Istio { .. } => Vec::new(),
            Identity::Service { .. } | Identity::ContourCluster => services
                .iter()
                .map(|service| here(Subject::Service(service.name.clone())))
                .collect(),
            Identity::Traefik { .. } => self
                .traefik_services(&services, namespace)
                .map(|name| (String::new(), Subject::TraefikService(name)))
                .collect(),
            Identity::EnvoyGatewayCluster => self
                .rules
                .iter()
                .filter(|rule| {
                    let mut names = services.iter().map(|service| &service.name);
                    names.any(|name| rule.services.contains(name))
                })
                .map(|rule| here(Subject::Route(rule.name.clone())))
                .collect(),
        }
    }
}

impl Paths {
    /// Returns what Traefik may call these Services, and the routes that lead to one of them.
    fn traefik_services<'a>(
        &'a self,
        services: &'a [&Service],
        namespace: &'a str,
    ) -> impl Iterator<Item = String> + 'a {
        let of_ports = services.iter().flat_map(move |service| {
            let ports = service.ports.iter();
            ports.flat_map(move |port| {
                let name = [namespace, &service.name, port];
                // The second with `safeNaming`.
                [normalized(&name.join("-")), name.join("_")]
            })
        });
        let of_routes = self.own_services.iter().filter(move |own| {
            let mut names = services.iter().map(|service| &service.name);
            names.any(|name| *name == own.service)
        });
        of_ports.chain(of_routes.flat_map(|own| own.names.clone()))
    }
}

impl Service {
    /// A Service without a selector selects nothing.
    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let wanted = &self.selector;
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    }
}

fn service(object: &Value) -> Option<Service> {
    let selector = object.pointer("/spec/selector").and_then(Value::as_object);
    let ports = object.pointer("/spec/ports").and_then(Value::as_array);
    Some(Service {
        name: text(object, "/metadata/name")?.to_owned(),
        selector: selector
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        ports: ports
            .into_iter()
            .flatten()
            .flat_map(|port| {
                let number = port.get("port").and_then(Value::as_u64);
                let name = port.get("name").and_then(Value::as_str);
                number
                    .map(|number| number.to_string())
                    .into_iter()
                    .chain(name.map(str::to_owned))
            })
            .collect(),
    })
}

fn rules(object: &Value) -> Vec<Rule> {
    let Some(route) = text(object, "/metadata/name") else {
        return Vec::new();
    };
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    let rules = object.pointer("/spec/rules").and_then(Value::as_array);
    rules
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(number, rule)| Rule {
            name: format!("{route}/rule/{number}"),
            services: backends(rule, namespace),
        })
        .collect()
}

/// Names what Traefik makes of the routes of an `IngressRoute`. Several Services under one route keep
/// names of their own, and what is no Service has none.
fn own_services(object: &Value) -> Vec<OwnService> {
    let (Some(namespace), Some(name)) = (
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name"),
    ) else {
        return Vec::new();
    };
    let routes = object.pointer("/spec/routes").and_then(Value::as_array);
    let named = |(number, route): (usize, &Value)| {
        let [only] = route.get("services")?.as_array()?.as_slice() else {
            return None;
        };
        let field = |name: &str| only.get(name).and_then(Value::as_str);
        let here = field("kind").is_none_or(|kind| kind == "Service")
            && field("namespace").is_none_or(|other| other == namespace);
        let service = field("name").filter(|_| here)?.to_owned();
        let rule = route.get("match")?.as_str()?;
        Some(OwnService {
            names: [
                normalized(&format!("{namespace}-{name}-{}", digest_of_rule(rule))),
                format!("{namespace}_{name}_{number}"),
            ],
            service,
        })
    };
    routes
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(named)
        .collect()
}

/// The first ten bytes of its SHA-256, in hexadecimal digits.
fn digest_of_rule(rule: &str) -> String {
    let mut digest = format!("{:x}", Sha256::digest(rule));
    digest.truncate(20);
    digest
}

/// Traefik makes one dash of whatever is neither a letter nor a digit.
fn normalized(name: &str) -> String {
    let parts = name.split(|character: char| !character.is_alphanumeric());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// Names the Services of the route's own namespace that a rule leads to.
fn backends(rule: &Value, namespace: &str) -> Vec<String> {
    let references = rule.get("backendRefs").and_then(Value::as_array);
    references
        .into_iter()
        .flatten()
        .filter(|reference| {
            let field = |name: &str| reference.get(name).and_then(Value::as_str);
            field("kind").is_none_or(|kind| kind == "Service")
                && field("namespace").is_none_or(|other| other == namespace)
        })
        .filter_map(|reference| Some(reference.get("name")?.as_str()?.to_owned()))
        .collect()
}

/// What is known of all namespaces.
#[derive(Debug, Default)]
pub struct Services {
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    at: Timestamp,
    paths: Result<Arc<Paths>, String>,
}

impl Services {
    /// Returns what leads to the pods of `namespace`, read at most a minute ago.
    ///
    /// # Errors
    ///
    /// Why it cannot be read. The caller treats that as data.
    pub async fn paths(
        &self,
        cluster: &dyn Cluster,
        namespace: &str,
    ) -> Result<Arc<Paths>, String> {
        let now = cluster.now();
        if let Some(paths) = self.known(namespace, now) {
            return paths;
        }
        let paths = read(cluster, namespace).await.map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| now.duration_since(known.at) <= FORGET_AFTER);
        let entry = Known {
            at: now,
            paths: paths.clone(),
        };
        known.insert(namespace.to_owned(), entry);
        paths
    }

    fn known(&self, namespace: &str, now: Timestamp) -> Option<Result<Arc<Paths>, String>> {
        // A panic elsewhere leaves the map whole: every change is one insertion.
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(namespace)?;
        (now.duration_since(known.at) < FRESH).then(|| known.paths.clone())
    }
}

async fn read(cluster: &dyn Cluster, namespace: &str) -> Result<Paths, String> {
    let services = list(cluster, kinds::SERVICES, namespace)
        .await
        .map_err(|error| format!("the Services of the namespace cannot be listed: {error}"))?;
    let routes = list_if_served(cluster, kinds::HTTP_ROUTES, namespace).await?;
    let ingress_routes = list_if_served(cluster, kinds::INGRESS_ROUTES, namespace).await?;
    Ok(Paths::read(&services, &routes, &ingress_routes))
}

async fn list_if_served(
    cluster: &dyn Cluster,
    kind: Kind,
    namespace: &str,
) -> Result<Vec<Value>, String> {
    match list(cluster, kind, namespace).await {
        Ok(objects) => Ok(objects),
        // The kind is not served, or not granted: then nothing is joined by it.
        Err(port::Error::NotFound | port::Error::Forbidden { .. }) => Ok(Vec::new()),
        Err(error) => Err(format!(
            "the {}s of the namespace cannot be listed: {error}",
            kind.kind
        )),
    }
}

async fn list(
    cluster: &dyn Cluster,
    kind: Kind,
    namespace: &str,
) -> Result<Vec<Value>, port::Error> {
    let selection = Selection {
        namespace: Some(namespace.to_owned()),
        labels: String::new(),
    };
    cluster.list(kind, &selection).await
}

#[cfg(test)]
mod tests;
