//! The costly looks: what a rollback would meet, read at the API server when one is wanted.
//!
//! What may not be read, or does not exist, is not known; it never keeps a rollback from being decided.

use jiff::Timestamp;
use serde_json::Value;

use super::config::secrets;
use super::gitops::rollouts::{self, claimants};
use super::gitops::{self, state::read_state};
use super::workload::Deployment;
use super::{Error, Eyes};
use crate::api::record::answers::suspension;
use crate::api::record::pause;
use crate::api::record::revision::RevisionRecord;
use crate::api::record::text;
use crate::decide::gitops::{Reconciler, Seen};
use crate::decide::{ConfigUses, Inspection, Revision, Suspension};
use crate::port::{self, ObjectRef, Selection, kinds};

/// Looks at what going from `from` to `to`, which `target` records, would meet.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later; nothing was changed.
pub async fn inspect(
    eyes: &Eyes,
    deployment: &Deployment,
    (from, to): (&Revision, &Revision),
    target: Option<&RevisionRecord>,
) -> Result<Inspection, Error> {
    let none = ConfigUses::new();
    let images = target.map(|record| record.images.as_slice());
    let images = images.unwrap_or_default();
    let uses = target.map_or(&none, |record| &record.facts.uses);
    let failed = |source| Error::Inspect {
        name: deployment.name.clone(),
        source,
    };
    let at: Timestamp = eyes.cluster.now();
    let cluster = eyes.cluster.as_ref();
    let namespace = &deployment.namespace;
    // Side by side: a rollback waits for them.
    let around = async {
        let (suspensions, pods, secrets) = futures::future::try_join3(
            suspensions(eyes, namespace),
            pods(eyes, deployment),
            secrets(cluster, namespace, uses, eyes.secrets),
        )
        .await
        .map_err(failed)?;
        Ok((suspensions, pods, secrets))
    };
    let deployers = async {
        let live = live(eyes, deployment).await.map_err(failed)?;
        let reconciler = match &live {
            Some(live) => reconciler(eyes, live).await,
            None => Ok(None),
        };
        Ok((
            live,
            reconciler.map_err(|source| unknown(deployment, source))?,
        ))
    };
    let claimants = async {
        let found = claimants(cluster, namespace).await;
        found.map_err(|source| unknown(deployment, source))
    };
    let (around, (live, reconciler), claimants) =
        futures::future::try_join3(around, deployers, claimants).await?;
    let (suspensions, pods, secrets) = around;
    let other_controller =
        live.and_then(|live| rollouts::other_controller(&live).or_else(|| claimants.of(&live)));
    let may_pause_applications = reconciler
        .as_ref()
        .is_some_and(|reconciler| eyes.pause_applications.contains(&reconciler.namespace));
    Ok(Inspection {
        at,
        from: from.clone(),
        to: to.clone(),
        suspensions,
        other_controller,
        reconciler,
        may_pause_applications,
        image_unavailable: pods.iter().find_map(|pod| not_pulled(pod, images)),
        secrets,
        ..Inspection::default()
    })
}

/// Looks at who deploys `deployment` now, while it asks for `current`.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later; nothing was changed.
pub async fn look_at_reconciler(
    eyes: &Eyes,
    deployment: &Deployment,
    current: &Revision,
) -> Result<Seen, Error> {
    let at = eyes.cluster.now();
    let live = live(eyes, deployment).await;
    let live = live.map_err(|source| Error::GetDeployment {
        name: deployment.name.clone(),
        source,
    })?;
    Ok(Seen {
        at,
        template: current.clone(),
        kept_from: live.as_ref().and_then(pause::mark),
        reconciler: match &live {
            Some(live) => reconciler(eyes, live)
                .await
                .map_err(|source| unknown(deployment, source))?,
            None => None,
        },
    })
}

/// Who wrote to it is not in what the watches bring.
async fn live(eyes: &Eyes, deployment: &Deployment) -> Result<Option<Value>, port::Error> {
    let object = ObjectRef::new(kinds::DEPLOYMENTS, &deployment.namespace, &deployment.name);
    eyes.cluster.get(&object).await
}

fn unknown(deployment: &Deployment, source: gitops::Error) -> Error {
    Error::FindReconciler {
        name: deployment.name.clone(),
        source,
    }
}

async fn reconciler(eyes: &Eyes, live: &Value) -> Result<Option<Reconciler>, gitops::Error> {
    let Some(owner) = gitops::owner(live, &eyes.argo_cd_namespace) else {
        return Ok(None);
    };
    let state = read_state(eyes.cluster.as_ref(), &owner, live).await?;
    Ok(Some(Reconciler { state, ..owner }))
}

/// Reads the kill switches of the namespace and of the cluster.
async fn suspensions(eyes: &Eyes, namespace: &str) -> Result<Vec<Suspension>, port::Error> {
    let place = format!("the namespace {namespace}");
    let (there, everywhere) = futures::future::try_join(
        switch(eyes, namespace, &place),
        switch(eyes, &eyes.namespace, "the cluster"),
    )
    .await?;
    Ok(there.into_iter().chain(everywhere).collect())
}

async fn switch(
    eyes: &Eyes,
    namespace: &str,
    place: &str,
) -> Result<Option<Suspension>, port::Error> {
    let object = ObjectRef::new(kinds::NAMESPACES, "", namespace);
    match eyes.cluster.get(&object).await {
        Ok(namespace) => Ok(namespace.and_then(|namespace| suspension(&namespace, place))),
        Err(port::Error::Forbidden { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn pods(eyes: &Eyes, deployment: &Deployment) -> Result<Vec<Value>, port::Error> {
    let selection = Selection {
        namespace: Some(deployment.namespace.clone()),
        labels: deployment.selector.clone(),
    };
    eyes.cluster.list(kinds::PODS, &selection).await
}

/// What the kubelet says of an image that it cannot get. `ImageInspectError` and its like are the
/// node's trouble.
const NOT_PULLED: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"];

/// Says which of `images` a pod waits for in vain.
fn not_pulled(pod: &Value, images: &[String]) -> Option<String> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .iter()
        .filter_map(|path| pod.pointer(path)?.as_array())
        .flatten()
        .find_map(|container| {
            let image = text(container, "/image")?;
            let reason = text(container, "/state/waiting/reason")?;
            let wanted = images.iter().any(|wanted| wanted == image);
            (wanted && NOT_PULLED.contains(&reason))
                .then(|| format!("a pod cannot pull {image} ({reason})"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(image: &str, reason: &str, unavailable: bool) {
        let pod = json!({"status": {"containerStatuses": [
            {"image": "shop/log:v1", "state": {"running": {}}},
            {"image": image, "state": {"waiting": {"reason": reason}}},
        ]}});
        let images = ["shop/app:v1".to_owned(), "shop/log:v1".to_owned()];
        assert_eq!(not_pulled(&pod, &images).is_some(), unavailable);
    }

    #[test]
    fn an_image_of_the_target_that_no_pod_can_pull_is_told() {
        check("shop/app:v1", "ImagePullBackOff", true);
        check("shop/app:v1", "ErrImagePull", true);
        check("shop/app:v1", "CrashLoopBackOff", false);
        check("shop/app:v2", "ImagePullBackOff", false);
    }
}
