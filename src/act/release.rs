//! Ends every pause of ours, for when Astern goes.
//!
//! A rollout or a GitOps tool that nobody comes back for would stand still for ever. What people have
//! paused has no mark of ours, and stays.

use serde_json::Value;

use super::{patches, pauses};
use crate::api::names;
use crate::api::record::{annotation, pause, text};
use crate::port::{self, Cluster, Kind, ObjectRef, Selection, kinds};

/// What became of the pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Writes that lifted something.
    pub lifted: usize,
    /// What went wrong, for people. Nothing of it keeps the others from being lifted.
    pub problems: Vec<String>,
}

/// Lifts every pause of ours on Deployments of `namespaces`, all if empty, and on Applications of
/// `applications`. One that cannot be lifted keeps no other from it.
pub async fn release(
    cluster: &dyn Cluster,
    namespaces: &[String],
    applications: &[String],
) -> Released {
    let mut released = Released::default();
    let everywhere = vec![None];
    let places = if namespaces.is_empty() {
        everywhere
    } else {
        namespaces.iter().cloned().map(Some).collect()
    };
    for place in places {
        let found = listed(cluster, kinds::DEPLOYMENTS, place, &mut released).await;
        for live in found.iter().filter(|live| is_ours(live)) {
            lift(cluster, (kinds::DEPLOYMENTS, live), &mut released).await;
        }
    }
    for place in applications {
        let place = Some(place.clone());
        let found = listed(cluster, kinds::APPLICATIONS, place, &mut released).await;
        for live in found.iter().filter(|live| !pause::marks(live).is_empty()) {
            lift(cluster, (kinds::APPLICATIONS, live), &mut released).await;
        }
    }
    released
}

fn is_ours(live: &Value) -> bool {
    annotation(live, names::PAUSED_BY).is_some() || pause::mark(live).is_some()
}

async fn listed(
    cluster: &dyn Cluster,
    kind: Kind,
    namespace: Option<String>,
    released: &mut Released,
) -> Vec<Value> {
    let labels = String::new();
    match cluster.list(kind, &Selection { namespace, labels }).await {
        Ok(found) => found,
        // A kind that is not served has no pauses.
        Err(port::Error::NotFound) => Vec::new(),
        Err(error) => {
            let problem = format!("cannot list {}: {error}", kind.plural);
            released.problems.push(problem);
            Vec::new()
        }
    }
}

/// Somebody may be faster now and then; more often than this, and something is wrong.
const TRIES: usize = 5;

/// Each write lifts one pause, and the next is found on what it returned.
async fn lift(cluster: &dyn Cluster, (kind, live): (Kind, &Value), released: &mut Released) {
    let part = |path| text(live, path).unwrap_or_default();
    let object = ObjectRef::new(kind, part("/metadata/namespace"), part("/metadata/name"));
    let mut failures = 0;
    let mut live = Some(live.clone());
    while let Some(patch) = live.as_ref().and_then(|live| next(kind, live)) {
        match cluster.json_patch(&object, patch).await {
            Ok(written) => {
                released.lifted += 1;
                live = Some(written);
                continue;
            }
            Err(port::Error::NotFound) => return,
            Err(error) => {
                failures += 1;
                if failures >= TRIES {
                    let problem = format!(
                        "cannot lift the pause of {} {}/{}: {error}",
                        kind.kind, object.namespace, object.name
                    );
                    released.problems.push(problem);
                    return;
                }
            }
        }
        // The guards may have failed because somebody changed it: look again.
        live = cluster.get(&object).await.ok().flatten();
    }
}

/// Returns the next write that lifts a pause of ours on `live`.
fn next(kind: Kind, live: &Value) -> Option<Value> {
    if kind == kinds::APPLICATIONS {
        let marks = pause::marks(live);
        let mark = marks.first()?;
        return pauses::resume_application(live, &mark.rollback);
    }
    if annotation(live, names::PAUSED_BY).is_some() {
        return Some(patches::resume(live));
    }
    pauses::lift(live)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::port::simulated::{Settings, SimulatedCluster};

    fn deployment(name: &str, annotations: &Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": "shop", "name": name, "annotations": annotations},
            "spec": {"paused": true, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "app", "image": "app:v1"}]}}},
        })
    }

    fn application() -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"namespace": "argocd", "name": "shop", "annotations": {
                names::GITOPS_PAUSED_BY: "shop/one-1@main shop/two-1@main",
                names::GITOPS_ENABLED_BEFORE: "absent"}},
            "spec": {"syncPolicy": {"automated": {"enabled": false}}},
        })
    }

    #[tokio::test]
    async fn our_pauses_end_and_those_of_people_stay() {
        let cluster = SimulatedCluster::new(Settings::default());
        let flux = "kustomize.toolkit.fluxcd.io/reconcile";
        for (name, annotations) in [
            (
                "ours",
                json!({names::PAUSED_BY: "ours-1", names::GITOPS_PAUSED_BY: "ours-1@main", flux: "disabled"}),
            ),
            ("theirs", json!({flux: "disabled"})),
        ] {
            let made = cluster.create(kinds::DEPLOYMENTS, deployment(name, &annotations));
            made.await.expect("created");
        }
        let made = cluster.create(kinds::APPLICATIONS, application()).await;
        made.expect("created");

        let released = release(&cluster, &["shop".to_owned()], &["argocd".to_owned()]).await;
        assert_eq!(
            released,
            Released {
                lifted: 4,
                problems: Vec::new()
            }
        );
        let get = async |kind, namespace, name| {
            let object = ObjectRef::new(kind, namespace, name);
            cluster
                .get(&object)
                .await
                .expect("an answer")
                .expect("there")
        };
        let ours = get(kinds::DEPLOYMENTS, "shop", "ours").await;
        assert_ne!(ours.pointer("/spec/paused"), Some(&json!(true)));
        assert!(
            !is_ours(&ours) && annotation(&ours, flux).is_none(),
            "{ours}"
        );
        let theirs = get(kinds::DEPLOYMENTS, "shop", "theirs").await;
        assert_eq!(theirs.pointer("/spec/paused"), Some(&json!(true)));
        assert_eq!(annotation(&theirs, flux), Some("disabled"));
        let application = get(kinds::APPLICATIONS, "argocd", "shop").await;
        assert_eq!(
            application.pointer("/spec/syncPolicy/automated"),
            Some(&json!({}))
        );

        let again = release(&cluster, &[], &["argocd".to_owned()]).await;
        assert_eq!(again, Released::default());
    }
}
