//! Who deploys a Deployment, by what it carries: labels, tracking ids, managed fields, owners.
//!
//! [`state`] reads what that reconciler was told to do, [`rollouts`] finds controllers that roll out
//! themselves. Markers get copied from object to object, so one counts only if it names the Deployment
//! itself, or if the tool that writes it has written to the Deployment. Give it a live object: watches
//! strip the managed fields, and without them a marker is taken at its word.

pub mod rollouts;
pub mod state;

use serde_json::Value;

use crate::api::names;
use crate::api::record::{annotation, controller, label, text};
use crate::decide::gitops::{Reconciler, Tool};
use crate::port::{self, Kind};

/// Why something that was asked about could not be read. Not there and not allowed is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {kind} {name:?}")]
    GetReconciler {
        kind: String,
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to list {:?} of {:?}", kind.plural, kind.group)]
    ListRollouts {
        kind: Kind,
        #[source]
        source: port::Error,
    },
}

/// Under these names the tools write, unless their operators were built anew.
const KUSTOMIZE_CONTROLLER: &[&str] = &["kustomize-controller"];
const HELM_CONTROLLER: &[&str] = &["helm-controller"];
/// The second since Argo CD 2.5.
const ARGOCD: &[&str] = &["argocd-application-controller", "argocd-controller"];

/// Returns who deploys `deployment`. Its state is not read yet.
///
/// `argocd_namespace` is where Argo CD itself runs; Applications elsewhere name their namespace.
#[must_use]
pub fn owner(deployment: &Value, argocd_namespace: &str) -> Option<Reconciler> {
    // An operator hands the labels of its own object down to what it makes.
    operator(deployment)
        .or_else(|| kustomization(deployment))
        .or_else(|| helm_release(deployment))
        .or_else(|| application(deployment, argocd_namespace))
        .or_else(|| helm(deployment))
}

/// Returns whether Flux or Argo CD deploys `deployment`, as far as labels and annotations tell. The same
/// for what a watch brings and for a live object, or what rests on it would change to and fro.
#[must_use]
pub fn is_reconciled(deployment: &Value) -> bool {
    let labels = [
        names::FLUX_KUSTOMIZATION_NAME,
        names::FLUX_HELM_RELEASE_NAME,
        names::ARGOCD_INSTANCE,
    ];
    let tracked = annotation(deployment, names::ARGOCD_TRACKING_ID)
        .is_some_and(|id| tracking_application(id, "apps", "Deployment", deployment).is_some());
    tracked || labels.iter().any(|key| label(deployment, key).is_some())
}

fn operator(deployment: &Value) -> Option<Reconciler> {
    let owner = controller(deployment)?;
    Some(Reconciler {
        tool: Tool::Operator,
        // The owner may have no namespace.
        namespace: String::new(),
        name: text(owner, "/name")?.to_owned(),
        kind: text(owner, "/kind")?.to_owned(),
        state: None,
        paused: false,
    })
}

fn kustomization(deployment: &Value) -> Option<Reconciler> {
    let name = label(deployment, names::FLUX_KUSTOMIZATION_NAME)?;
    let namespace = label(deployment, names::FLUX_KUSTOMIZATION_NAMESPACE)?;
    let tool = Tool::FluxKustomization;
    let found = Reconciler {
        tool,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: "Kustomization".to_owned(),
        state: None,
        paused: is_paused(deployment, tool) || is_left_alone(deployment),
    };
    written_by(deployment, KUSTOMIZE_CONTROLLER).then_some(found)
}

/// Flux reads this one in Git, so it counts only where it came from there.
fn is_left_alone(deployment: &Value) -> bool {
    let asked = annotation(deployment, names::FLUX_APPLY).unwrap_or_default();
    let alone = ["IfNotPresent", "Ignore"]
        .iter()
        .any(|value| asked.eq_ignore_ascii_case(value));
    let own = |entry: &Value| {
        let annotations = entry.pointer("/fieldsV1/f:metadata/f:annotations");
        let key = format!("f:{}", names::FLUX_APPLY);
        is_of(entry, KUSTOMIZE_CONTROLLER) && annotations.is_some_and(|own| own.get(key).is_some())
    };
    alone && managed_fields(deployment).iter().any(own)
}

fn helm_release(deployment: &Value) -> Option<Reconciler> {
    let name = label(deployment, names::FLUX_HELM_RELEASE_NAME)?;
    let namespace = label(deployment, names::FLUX_HELM_RELEASE_NAMESPACE)?;
    let tool = Tool::FluxHelmRelease;
    let found = Reconciler {
        tool,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: "HelmRelease".to_owned(),
        state: None,
        paused: is_paused(deployment, tool),
    };
    written_by(deployment, HELM_CONTROLLER).then_some(found)
}

/// Flux takes its marks as labels too, in any case.
fn is_paused(deployment: &Value, tool: Tool) -> bool {
    tool.pause_annotation().is_some_and(|(key, value)| {
        [annotation(deployment, key), label(deployment, key)]
            .into_iter()
            .flatten()
            .any(|found| found.eq_ignore_ascii_case(value))
    })
}

fn application(deployment: &Value, argocd_namespace: &str) -> Option<Reconciler> {
    let tracked = annotation(deployment, names::ARGOCD_TRACKING_ID);
    let application = match tracked {
        Some(id) => tracking_application(id, "apps", "Deployment", deployment)?,
        None => labelled_application(deployment)?,
    };
    // Outside its own namespace Argo CD calls an Application `<namespace>_<name>`; names of objects
    // hold no underscore.
    let (namespace, name) = application
        .split_once('_')
        .unwrap_or((argocd_namespace, application));
    Some(Reconciler {
        tool: Tool::ArgoCd,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: "Application".to_owned(),
        state: None,
        paused: false,
    })
}

/// Returns the application in a tracking id, if it is the id of `object` itself.
pub(super) fn tracking_application<'a>(
    id: &'a str,
    group: &str,
    kind: &str,
    object: &Value,
) -> Option<&'a str> {
    let mut parts = id.splitn(3, ':');
    let application = parts.next().filter(|name| !name.is_empty())?;
    let type_of = parts.next()?.split_once('/')?;
    let identity = parts.next()?.split_once('/')?;
    let own = (
        text(object, "/metadata/namespace")?,
        text(object, "/metadata/name")?,
    );
    (type_of == (group, kind) && identity == own).then_some(application)
}

/// The recommended label belongs to everybody: it needs a witness.
fn labelled_application(deployment: &Value) -> Option<&str> {
    let keys = [names::ARGOCD_INSTANCE, names::INSTANCE];
    let name = keys.iter().find_map(|key| label(deployment, key))?;
    let entries = managed_fields(deployment);
    let witnessed = annotation(deployment, names::ARGOCD_INSTALLATION_ID).is_some()
        || entries.iter().any(|entry| is_of(entry, ARGOCD));
    witnessed.then_some(name)
}

fn helm(deployment: &Value) -> Option<Reconciler> {
    let name = annotation(deployment, names::HELM_RELEASE_NAME)?;
    let namespace = annotation(deployment, names::HELM_RELEASE_NAMESPACE)?;
    Some(Reconciler {
        tool: Tool::Helm,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: "Helm release".to_owned(),
        state: None,
        paused: false,
    })
}

fn managed_fields(object: &Value) -> &[Value] {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries.map_or(&[], Vec::as_slice)
}

fn is_of(entry: &Value, managers: &[&str]) -> bool {
    text(entry, "/manager").is_some_and(|manager| managers.contains(&manager))
}

/// Whether one of `managers` has written to `deployment`, as far as it tells who has.
fn written_by(deployment: &Value, managers: &[&str]) -> bool {
    let entries = managed_fields(deployment);
    entries.is_empty() || entries.iter().any(|entry| is_of(entry, managers))
}

#[cfg(test)]
mod tests;
