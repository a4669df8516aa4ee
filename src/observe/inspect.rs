//! The costly looks: what a rollback would meet, read at the API server when one is wanted.
//!
//! What may not be read, or does not exist, is not known; it never keeps a rollback from being decided.

use jiff::Timestamp;
use serde_json::Value;

use super::config::secrets;
use super::workload::Deployment;
use super::{Error, Eyes};
use crate::api::record::answers::suspension;
use crate::api::record::revision::RevisionRecord;
use crate::api::record::text;
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
    let (suspensions, pods, secrets) = futures::future::try_join3(
        suspensions(eyes, &deployment.namespace),
        pods(eyes, deployment),
        secrets(
            eyes.cluster.as_ref(),
            &deployment.namespace,
            uses,
            eyes.secrets,
        ),
    )
    .await
    .map_err(failed)?;
    Ok(Inspection {
        at,
        from: from.clone(),
        to: to.clone(),
        suspensions,
        other_controller: None,
        image_unavailable: pods.iter().find_map(|pod| not_pulled(pod, images)),
        secrets,
        ..Inspection::default()
    })
}

/// Reads the kill switches of the namespace and of the cluster.
async fn suspensions(eyes: &Eyes, namespace: &str) -> Result<Vec<Suspension>, port::Error> {
    let mut found = Vec::new();
    let own = eyes.namespace.as_str();
    for (name, place) in [
        (namespace, format!("the namespace {namespace}")),
        (own, "the cluster".to_owned()),
    ] {
        let object = ObjectRef::new(kinds::NAMESPACES, "", name);
        let namespace = match eyes.cluster.get(&object).await {
            Ok(namespace) => namespace,
            Err(port::Error::Forbidden { .. }) => None,
            Err(error) => return Err(error),
        };
        found.extend(namespace.and_then(|namespace| suspension(&namespace, &place)));
    }
    Ok(found)
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
