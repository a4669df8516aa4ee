//! The writes of a rollback and of its end where a GitOps reconciler deploys the Deployment.

use serde_json::Value;

use super::{Error, Hands, Scene, check_template, commit, patches, pauses};
use crate::api::record::pause::PauseMark;
use crate::decide::gitops::Pause;
use crate::decide::{Incident, Revision};

/// Writes the recorded template of `to` over `from`, and keeps the reconciler away by `pause`: one write
/// to the Deployment, and before it one to an Application.
pub(super) async fn roll_back(
    hands: &Hands,
    scene: &Scene<'_>,
    (from, to): (&Revision, &Revision),
    pause: Option<&Pause>,
    incident: Option<&Incident>,
) -> Result<Value, Error> {
    let (mut live, target) = scene.live_and_recorded(hands, to).await?;
    check_template(scene, &live, from)?;
    let rollback = incident.map(|incident| incident.name(scene.workload));
    let met = incident.and_then(|incident| incident.reconciler.as_ref());
    let mark = PauseMark {
        rollback: rollback.unwrap_or_default(),
        revision: met.and_then(|met| met.revision.clone()).unwrap_or_default(),
    };
    if let Some(Pause::Application { namespace, name }) = pause {
        let mark = PauseMark {
            rollback: elsewhere(scene, &mark.rollback),
            ..mark.clone()
        };
        let done = pauses::switch_off(hands, (namespace, name), &mark).await;
        done.map_err(Error::Pause)?;
        live = scene.live(hands).await?;
        check_template(scene, &live, from)?;
    }
    let marks = patches::Marks {
        rollback: &mark.rollback,
        pinned: incident.map(|incident| &incident.repoint),
    };
    let mut patch = patches::roll_back(&live, &target, &marks);
    if let Some(operations) = patch.as_array_mut() {
        match pause {
            Some(Pause::Annotation { key, value }) => {
                operations.extend(pauses::set(&live, (key, value), &mark));
            }
            Some(Pause::Application { .. }) => operations.push(pauses::noted(&mark)),
            None => (),
        }
    }
    commit(hands, scene, &live, patch).await
}

/// Lets the reconciler come back that `rollback` keeps away. Returns the Deployment, if it was written.
pub(super) async fn lift(
    hands: &Hands,
    scene: &Scene<'_>,
    rollback: &str,
    application: Option<&(String, String)>,
) -> Result<Option<Value>, Error> {
    // The mark on the Deployment goes last: it is what remembers the Application.
    if let Some((namespace, name)) = application {
        let ours = elsewhere(scene, rollback);
        let done = pauses::switch_on(hands, (namespace, name), &ours).await;
        done.map_err(Error::Pause)?;
    }
    let live = scene.live(hands).await?;
    match pauses::lift(&live) {
        Some(patch) => commit(hands, scene, &live, patch).await.map(Some),
        None => Ok(None),
    }
}

/// How objects elsewhere name a Rollback.
fn elsewhere(scene: &Scene<'_>, rollback: &str) -> String {
    format!("{}/{rollback}", scene.namespace)
}
