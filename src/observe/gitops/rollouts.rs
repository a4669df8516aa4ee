//! Controllers that roll out, and go back, by themselves: Argo Rollouts, Flagger, Kruise Rollouts.
//!
//! Two of them leave no mark of their own on a Deployment that they claim, so the claims are asked for.

use serde_json::Value;

use super::{Error, is_of, managed_fields};
use crate::api::names;
use crate::api::record::{annotation, controller, label, text};
use crate::port::{self, Cluster, Kind, Selection, kinds};

const ARGO: &str = "Argo Rollouts";
const FLAGGER: &str = "Flagger";
const KRUISE: &str = "Kruise Rollouts";

/// Names the controller that rolls `deployment` out, by what the Deployment itself carries.
#[must_use]
pub fn other_controller(deployment: &Value) -> Option<String> {
    owning(deployment).or_else(|| progressing(deployment))
}

/// Flagger owns the primary that it makes; the others own what they make for a canary.
fn owning(deployment: &Value) -> Option<String> {
    let owner = controller(deployment)?;
    let group = text(owner, "/apiVersion")?.split('/').next()?;
    let kind = text(owner, "/kind")?;
    let family = match (group, kind) {
        ("argoproj.io", "Rollout") => ARGO,
        ("flagger.app", "Canary") => FLAGGER,
        ("rollouts.kruise.io", _) => KRUISE,
        _ => return None,
    };
    Some(title(family, kind, text(owner, "/name")?))
}

/// Kruise holds the Deployment paused while it rolls it out, and takes these away at the end.
fn progressing(deployment: &Value) -> Option<String> {
    let rollout = annotation(deployment, names::KRUISE_IN_PROGRESSING).filter(|it| !it.is_empty());
    if let Some(rollout) = rollout {
        let rollout: Option<Value> = serde_json::from_str(rollout).ok();
        let name = rollout.as_ref().and_then(|rollout| {
            let names = ["/rolloutName", "/RolloutName"];
            names.iter().find_map(|path| text(rollout, path))
        });
        return Some(name.map_or_else(|| KRUISE.to_owned(), |name| title(KRUISE, "Rollout", name)));
    }
    let controlled = annotation(deployment, names::KRUISE_CONTROL_INFO).is_some()
        || label(deployment, names::KRUISE_ADVANCED) == Some("true")
        || label(deployment, names::KRUISE_CANARY).is_some();
    controlled.then(|| KRUISE.to_owned())
}

/// What one of them keeps its claims in.
struct Claims {
    family: &'static str,
    kind: Kind,
    /// Where a claim names its workload.
    reference: &'static str,
    /// What another version of it is called.
    before: Option<(Kind, &'static str)>,
    /// Who takes pods away from a claimed Deployment, where that tells something.
    manager: Option<&'static str>,
}

static CLAIMS: [Claims; 3] = [
    Claims {
        family: ARGO,
        kind: kinds::ARGO_ROLLOUTS,
        reference: "/spec/workloadRef",
        before: None,
        manager: Some("rollouts-controller"),
    },
    Claims {
        family: FLAGGER,
        kind: kinds::CANARIES,
        reference: "/spec/targetRef",
        before: None,
        manager: Some("flagger"),
    },
    Claims {
        family: KRUISE,
        kind: kinds::KRUISE_ROLLOUTS,
        reference: "/spec/workloadRef",
        before: Some((kinds::KRUISE_ROLLOUTS_BEFORE, "/spec/objectRef/workloadRef")),
        manager: None,
    },
];

/// The objects of a namespace by which such controllers claim Deployments.
pub struct Claimants([(&'static Claims, &'static str, Listed); 3]);

/// Lists what may claim a Deployment in `namespace`. Where a kind is served in two versions, both are
/// asked for at once: a rollback waits for the answer.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later.
pub async fn claimants(cluster: &dyn Cluster, namespace: &str) -> Result<Claimants, Error> {
    let [argo, flagger, kruise] = &CLAIMS;
    let (argo, flagger, kruise) = futures::future::try_join3(
        listed(cluster, argo, namespace),
        listed(cluster, flagger, namespace),
        listed(cluster, kruise, namespace),
    )
    .await?;
    Ok(Claimants([argo, flagger, kruise]))
}

async fn listed(
    cluster: &dyn Cluster,
    claims: &'static Claims,
    namespace: &str,
) -> Result<(&'static Claims, &'static str, Listed), Error> {
    let now = list(cluster, claims.kind, namespace);
    let Some((kind, reference)) = claims.before else {
        return Ok((claims, claims.reference, now.await?));
    };
    let (now, before) = futures::future::try_join(now, list(cluster, kind, namespace)).await?;
    Ok(match now {
        Listed::NotServed => (claims, reference, before),
        Listed::Objects(_) | Listed::Refused => (claims, claims.reference, now),
    })
}

impl Claimants {
    /// Names the controller whose object claims `deployment`.
    ///
    /// Where a list was refused, a controller that took the Deployment's pods away is taken for one
    /// that claims it; where its kind is not served, there is none.
    #[must_use]
    pub fn of(&self, deployment: &Value) -> Option<String> {
        let mut claims = self.0.iter();
        claims.find_map(|(claims, reference, listed)| claim(claims, reference, listed, deployment))
    }
}

fn claim(claims: &Claims, reference: &str, listed: &Listed, deployment: &Value) -> Option<String> {
    match listed {
        Listed::Objects(objects) => objects
            .iter()
            .find(|object| is_claim(object, reference, deployment))
            .and_then(|object| text(object, "/metadata/name"))
            .map(|name| title(claims.family, claims.kind.kind, name)),
        Listed::NotServed => None,
        Listed::Refused => claims
            .manager
            .filter(|manager| scales(deployment, manager))
            .map(|_| claims.family.to_owned()),
    }
}

enum Listed {
    Objects(Vec<Value>),
    NotServed,
    Refused,
}

async fn list(cluster: &dyn Cluster, kind: Kind, namespace: &str) -> Result<Listed, Error> {
    let selection = Selection {
        namespace: Some(namespace.to_owned()),
        labels: String::new(),
    };
    match cluster.list(kind, &selection).await {
        Ok(objects) => Ok(Listed::Objects(objects)),
        Err(port::Error::NotFound) => Ok(Listed::NotServed),
        Err(port::Error::Forbidden { .. }) => Ok(Listed::Refused),
        Err(source) => Err(Error::ListRollouts { kind, source }),
    }
}

/// Whether `object` claims `deployment`. A Rollout of Kruise that is disabled claims nothing.
fn is_claim(object: &Value, reference: &str, deployment: &Value) -> bool {
    let disabled = object.pointer("/spec/disabled").and_then(Value::as_bool) == Some(true);
    object.pointer(reference).is_some_and(|reference| {
        let group = text(reference, "/apiVersion").and_then(|version| version.split('/').next());
        !disabled
            && group == Some("apps")
            && text(reference, "/kind") == Some("Deployment")
            && text(reference, "/name") == text(deployment, "/metadata/name")
    })
}

fn scales(deployment: &Value, manager: &str) -> bool {
    managed_fields(deployment).iter().any(|entry| {
        is_of(entry, &[manager]) && entry.pointer("/fieldsV1/f:spec/f:replicas").is_some()
    })
}

fn title(family: &str, kind: &str, name: &str) -> String {
    format!("{family}, {kind} {name}")
}

#[cfg(test)]
mod tests;
