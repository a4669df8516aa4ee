//! Trying a rollback without carrying it out.

use super::{Error, Hands, Scene, check_template, moved, patches};
use crate::decide::Revision;
use crate::port;

/// Asks the API server whether it would take the rollback from `from` to `to`, admission included.
/// Returns what it says against it.
///
/// # Errors
///
/// [`Error::Changed`]: look again at once. Anything else: try again later.
pub async fn rehearse(
    hands: &Hands,
    scene: &Scene<'_>,
    (from, to): (&Revision, &Revision),
) -> Result<Option<String>, Error> {
    let (live, target) = scene.live_and_recorded(hands, to).await?;
    check_template(scene, &live, from)?;
    let patch = patches::roll_back(&live, &target, &REHEARSAL);
    match hands.cluster.dry_run(&scene.deployment(), patch).await {
        Ok(()) => Ok(None),
        Err(port::Error::Conflict { .. } | port::Error::NotFound) => {
            Err(Error::Changed { name: scene.name() })
        }
        // A webhook that cannot be asked this way says nothing about the real write.
        Err(source) if source.to_string().contains(NO_DRY_RUN) => Ok(None),
        Err(
            source @ (port::Error::Invalid { .. }
            | port::Error::Forbidden { .. }
            | port::Error::Unexpected {
                status: 400..=499, ..
            }),
        ) => {
            let now = scene.live(hands).await?;
            if moved(&live, &now) {
                return Err(Error::Changed { name: scene.name() });
            }
            Ok(Some(source.to_string()))
        }
        Err(
            source @ (port::Error::AlreadyExists
            | port::Error::Unavailable { .. }
            | port::Error::Unexpected { .. }),
        ) => Err(Error::PatchDeployment {
            name: scene.name(),
            source,
        }),
    }
}

/// Stands where the name of a Rollback would in a patch that is only tried.
const REHEARSAL: patches::Marks<'static> = patches::Marks {
    rollback: "dry-run",
    pinned: None,
};

/// How the API server says that a webhook has side effects (apiserver's
/// `webhookerrors.NewDryRunUnsupportedErr`).
const NO_DRY_RUN: &str = "does not support dry run";
