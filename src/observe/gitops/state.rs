//! What a reconciler was told to do, read from its own object.
//!
//! An object that is not there, or must not be read, is not known; so is one that says that the
//! Deployment is not its own, as with the same name in another cluster.

use jiff::SignedDuration;
use serde_json::Value;

use super::{Error, managed_fields, tracking_application};
use crate::api::names;
use crate::api::record::pause::marks;
use crate::api::record::{annotation, label, text};
use crate::decide::gitops::{Reconciler, ReconcilerState, Tool, VALUES};
use crate::port::{self, Cluster, Kind, ObjectRef, kinds};

/// Argo CD's own default between a change and its correction. Only its installation knows another.
const SELF_HEAL: SignedDuration = SignedDuration::from_secs(5);

/// A revision goes into an annotation, one for each source; a commit has 40 digits, so this is enough
/// for a dozen.
const REVISION_MAX: usize = 1024;

/// Reads what `owner` was told to do with `deployment`.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later; 403 and 404 are `Ok(None)`.
pub async fn read_state(
    cluster: &dyn Cluster,
    owner: &Reconciler,
    deployment: &Value,
) -> Result<Option<ReconcilerState>, Error> {
    Ok(match owner.tool {
        Tool::FluxKustomization => {
            let object = get(cluster, kinds::KUSTOMIZATIONS, owner).await?;
            object.and_then(|object| kustomization(&object, deployment))
        }
        Tool::FluxHelmRelease => {
            let object = match get(cluster, kinds::HELM_RELEASES, owner).await? {
                None => get(cluster, kinds::HELM_RELEASES_BEFORE, owner).await?,
                found => found,
            };
            object.map(|object| helm_release(&object, deployment))
        }
        Tool::ArgoCd => {
            let object = get(cluster, kinds::APPLICATIONS, owner).await?;
            object.and_then(|object| application(&object, deployment))
        }
        Tool::Helm | Tool::Operator => None,
    })
}

async fn get(
    cluster: &dyn Cluster,
    kind: Kind,
    owner: &Reconciler,
) -> Result<Option<Value>, Error> {
    let object = ObjectRef::new(kind, &owner.namespace, &owner.name);
    match cluster.get(&object).await {
        Ok(found) => Ok(found),
        Err(port::Error::NotFound | port::Error::Forbidden { .. }) => Ok(None),
        Err(source) => Err(Error::GetReconciler {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            source,
        }),
    }
}

/// Returns what Flux's Kustomization in `object` does to `deployment`; `None` where its inventory does
/// not know the Deployment.
#[must_use]
pub fn kustomization(object: &Value, deployment: &Value) -> Option<ReconcilerState> {
    let entries = list(object, "/status/inventory/entries");
    let id = format!(
        "{}_{}_apps_Deployment",
        text(deployment, "/metadata/namespace")?,
        text(deployment, "/metadata/name")?
    );
    let knows = entries
        .iter()
        .any(|entry| text(entry, "/id") == Some(id.as_str()));
    let suspended = is_true(object, "/spec/suspend");
    let ignored = ignored_by_flux(list(object, "/spec/ignore"), deployment);
    let state = ReconcilerState {
        corrects_drift: !suspended && !ignored,
        follows_git: !suspended,
        every: text(object, "/spec/interval").and_then(go_duration),
        revision: text(object, "/status/lastAttemptedRevision").and_then(revision),
        suspended,
        held_by: Vec::new(),
        managed_by_set: false,
    };
    (knows || entries.is_empty()).then_some(state)
}

/// Returns what Flux's `HelmRelease` in `object` does to `deployment`.
#[must_use]
pub fn helm_release(object: &Value, deployment: &Value) -> ReconcilerState {
    let suspended = is_true(object, "/spec/suspend");
    let corrects = text(object, "/spec/driftDetection/mode") == Some("enabled");
    let ignored = ignored_by_flux(list(object, "/spec/driftDetection/ignore"), deployment);
    // A new image usually comes with new values for the same chart.
    let chart = text(object, "/status/lastAttemptedRevision");
    let values = text(object, "/status/lastAttemptedConfigDigest");
    let revision = match (chart, values) {
        (Some(chart), Some(values)) => revision(&format!("{chart}{VALUES}{values}")),
        (Some(chart), None) => revision(chart),
        (None, _) => None,
    };
    ReconcilerState {
        corrects_drift: !suspended && corrects && !ignored,
        follows_git: !suspended,
        every: text(object, "/spec/interval").and_then(go_duration),
        revision,
        suspended,
        held_by: Vec::new(),
        managed_by_set: false,
    }
}

/// Returns what Argo CD's Application in `object` does to `deployment`; `None` where its resources do
/// not hold the Deployment.
///
/// `managedFieldsManagers` is not taken for an exception, even if it names us: what we write goes back
/// to whoever deployed it, and is compared again from then on.
#[must_use]
pub fn application(object: &Value, deployment: &Value) -> Option<ReconcilerState> {
    let resources = list(object, "/status/resources");
    let knows = resources
        .iter()
        .any(|resource| is_argo_resource(resource, deployment));
    let automated = object.pointer("/spec/syncPolicy/automated");
    // What we switched off for another rollback comes on again when that one needs it no more.
    let ours = !marks(object).is_empty();
    let follows_git = automated.is_some_and(|automated| {
        let off = automated.get("enabled").and_then(Value::as_bool) == Some(false);
        automated.is_object() && (!off || ours)
    });
    let heals = is_true(object, "/spec/syncPolicy/automated/selfHeal");
    let suspended = annotation(object, names::ARGOCD_SKIP_RECONCILE) == Some("true");
    let ignored = list(object, "/spec/ignoreDifferences")
        .iter()
        .any(|rule| is_ignored_by_argo(rule, deployment));
    let corrects_drift = follows_git && heals && !suspended && !ignored;
    let state = ReconcilerState {
        corrects_drift,
        follows_git: follows_git && !suspended,
        every: corrects_drift.then_some(SELF_HEAL),
        revision: argo_revision(object),
        suspended,
        held_by: held_by(object, deployment),
        managed_by_set: is_made_by_another(object),
    };
    (knows || resources.is_empty()).then_some(state)
}

/// Returns the Rollbacks beside `deployment` that hold the Application in `object` switched off.
fn held_by(object: &Value, deployment: &Value) -> Vec<String> {
    let namespace = text(deployment, "/metadata/namespace").unwrap_or_default();
    let off = object
        .pointer("/spec/syncPolicy/automated/enabled")
        .and_then(Value::as_bool)
        == Some(false);
    let marks = marks(object).into_iter().filter(|_| off);
    marks
        .filter_map(|mark| {
            let (place, rollback) = mark.rollback.split_once('/')?;
            (place == namespace).then(|| rollback.to_owned())
        })
        .collect()
}

fn is_argo_resource(resource: &Value, deployment: &Value) -> bool {
    text(resource, "/group") == Some("apps")
        && text(resource, "/kind") == Some("Deployment")
        && text(resource, "/namespace") == text(deployment, "/metadata/namespace")
        && text(resource, "/name") == text(deployment, "/metadata/name")
}

/// The revisions of several sources stand in a list instead.
fn argo_revision(object: &Value) -> Option<String> {
    let sources: Vec<&str> = list(object, "/status/sync/revisions")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if sources.is_empty() {
        revision(text(object, "/status/sync/revision")?)
    } else {
        revision(&sources.join(","))
    }
}

/// Whether something puts this Application back as it wants it: an `ApplicationSet`, an Application of
/// applications, or Flux.
fn is_made_by_another(object: &Value) -> bool {
    let owned = list(object, "/metadata/ownerReferences")
        .iter()
        .any(|owner| text(owner, "/kind") == Some("ApplicationSet"));
    let tracked = annotation(object, names::ARGOCD_TRACKING_ID)
        .is_some_and(|id| tracking_application(id, "argoproj.io", "Application", object).is_some());
    let applied = managed_fields(object)
        .iter()
        .any(|entry| super::is_of(entry, &["argocd-controller"]) && owns_spec(entry));
    let labels = [
        names::FLUX_KUSTOMIZATION_NAME,
        names::FLUX_HELM_RELEASE_NAME,
        names::ARGOCD_INSTANCE,
    ];
    owned || tracked || applied || labels.iter().any(|key| label(object, key).is_some())
}

/// Argo CD's controller also writes operations and status to every Application.
fn owns_spec(entry: &Value) -> bool {
    text(entry, "/subresource").is_none() && entry.pointer("/fieldsV1/f:spec").is_some()
}

fn is_ignored_by_argo(rule: &Value, deployment: &Value) -> bool {
    let fits = |path: &str, own: Option<&str>| match text(rule, path) {
        None | Some("" | "*") => true,
        wanted => wanted == own,
    };
    let applies = text(rule, "/kind").is_some()
        && fits("/group", Some("apps"))
        && fits("/kind", Some("Deployment"))
        && fits("/namespace", text(deployment, "/metadata/namespace"))
        && fits("/name", text(deployment, "/metadata/name"));
    let paths = ["/jsonPointers", "/jqPathExpressions"];
    let whole = paths.iter().any(|path| {
        let paths = list(rule, path).iter().filter_map(Value::as_str);
        paths.map(str::trim).any(is_whole_template)
    });
    applies && whole
}

/// A rule whose target cannot be weighed here is no rule: it may not be meant for this Deployment.
fn ignored_by_flux(rules: &[Value], deployment: &Value) -> bool {
    rules.iter().any(|rule| {
        let fits = |path: &str, own: Option<&str>| match text(rule, path) {
            None | Some("" | ".*") => true,
            wanted => wanted == own,
        };
        let applies = fits("/target/group", Some("apps"))
            && fits("/target/version", Some("v1"))
            && fits("/target/kind", Some("Deployment"))
            && fits("/target/namespace", text(deployment, "/metadata/namespace"))
            && fits("/target/name", text(deployment, "/metadata/name"))
            && fits("/target/labelSelector", None)
            && fits("/target/annotationSelector", None);
        let mut paths = list(rule, "/paths").iter().filter_map(Value::as_str);
        applies && paths.any(is_whole_template)
    })
}

/// Whether a pointer or a jq path covers every change of the template. One that covers a part of it
/// leaves the rest to be corrected.
fn is_whole_template(path: &str) -> bool {
    matches!(
        path,
        "" | "/spec" | "/spec/template" | "." | ".spec" | ".spec.template"
    )
}

fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    let list = object.pointer(path).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn is_true(object: &Value, path: &str) -> bool {
    object.pointer(path).and_then(Value::as_bool) == Some(true)
}

/// Returns `text` if it can stand in a mark of ours.
fn revision(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= REVISION_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// Returns what Go writes as a duration: `1h0m0s`, `1.5h`. Our own durations know no fractions.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    let spelled = SignedDuration::try_from_secs_f64(seconds).ok()?;
    (!text.is_empty()).then_some(spelled)
}

#[cfg(test)]
mod tests;
