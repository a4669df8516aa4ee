//! Writes to the world through the port, and is the only place that does; decides nothing.
//!
//! [`record`] makes memory durable, [`carry_out`] does what was decided, [`announce`] tells people.
//! Every write is guarded by the API server itself, so that a view that lags behind, or a second
//! operator that woke up late, cannot do harm.

pub mod announce;
mod config;
pub mod copies;
pub mod ownership;
pub mod patches;
pub mod pauses;
pub mod people;
mod reconciled;
pub mod record;
mod rehearsal;
pub mod release;
pub mod rights;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::api::record::revision::{self as revision_record, Recorded, RevisionRecord};
use crate::api::record::rollback::RollbackRecord;
use crate::api::template;
use crate::decide::{Announcement, Effect, Incident, Revision, Workload};
use crate::port::{self, Cluster, Kind, ObjectRef, kinds};

pub use self::config::{keep_config, with_copies};
pub use self::rehearsal::rehearse;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another writer was faster. Looking again shows what to do now.
    #[error("deployment {name:?} changed since it was observed")]
    Changed { name: String },

    /// The cache is behind what the API server has. The watch will bring it.
    #[error("the record of {name:?} is newer than what was observed")]
    Stale { name: String },

    /// This process does not lead any more and must not write.
    #[error("leadership was lost")]
    NotLeading,

    /// The record of the revision to go back to is gone or not what it was.
    #[error("no record of revision {revision:?} of deployment {name:?}")]
    MissingRecord { name: String, revision: String },

    /// The API server will not take the rollback, however often it is tried.
    #[error("the API server refused to patch deployment {name:?}: {message}")]
    Refused { name: String, message: String },

    #[error("failed to copy the config of deployment {name:?}")]
    KeepConfig {
        name: String,
        #[source]
        source: copies::Error,
    },
    #[error("failed to switch the automated sync of an argo cd application")]
    Pause(#[source] pauses::Error),
    #[error("failed to read the lease")]
    ReadLease {
        #[source]
        source: port::Error,
    },
    #[error("failed to write onto the lease")]
    WriteLease {
        #[source]
        source: port::Error,
    },
    #[error("failed to ask what Astern may write")]
    ReviewAccess {
        #[source]
        source: port::Error,
    },
    #[error("failed to read deployment {name:?}")]
    GetDeployment {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to patch deployment {name:?}")]
    PatchDeployment {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to read controller revision {name:?}")]
    GetRevision {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to write controller revision {name:?}")]
    WriteRevision {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to write rollback {name:?}")]
    WriteRollback {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to write the status of rollback policy {name:?}")]
    WritePolicyStatus {
        name: String,
        #[source]
        source: port::Error,
    },
}

/// What writing needs, for the whole process.
pub struct Hands {
    pub cluster: Arc<dyn Cluster>,
    /// Asked right before every write: whether this process leads.
    pub leads: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Names this process in Events.
    pub instance: String,
    /// Events that this process has sent already.
    pub announced: Mutex<HashSet<String>>,
}

/// The workload that is written about, as it was observed.
pub struct Scene<'a> {
    pub namespace: &'a str,
    pub workload: &'a Workload,
    pub revisions: &'a BTreeMap<Revision, Arc<RevisionRecord>>,
    pub open: Option<&'a RollbackRecord>,
    /// The digest of the template that was observed, without config.
    pub template: &'a Revision,
    /// Records by which people and pipelines ask for a rollback.
    pub requests: &'a [Arc<RollbackRecord>],
}

/// An object as the API server returned it from a write.
pub type Written = (Kind, Value);

impl Hands {
    fn check_leadership(&self) -> Result<(), Error> {
        if (self.leads)() {
            Ok(())
        } else {
            Err(Error::NotLeading)
        }
    }
}

impl Scene<'_> {
    fn deployment(&self) -> ObjectRef {
        ObjectRef::new(kinds::DEPLOYMENTS, self.namespace, &self.workload.name)
    }

    fn name(&self) -> String {
        self.workload.name.clone()
    }

    /// Reads the Deployment as it is now, if it is still the one that was observed.
    async fn live(&self, hands: &Hands) -> Result<Value, Error> {
        let live = hands
            .cluster
            .get(&self.deployment())
            .await
            .map_err(|source| Error::GetDeployment {
                name: self.name(),
                source,
            })?;
        live.filter(|live| {
            live.pointer("/metadata/uid") == Some(&self.workload.uid.as_str().into())
        })
        .ok_or_else(|| Error::Changed { name: self.name() })
    }

    /// Reads the Deployment as it is now and what is recorded of `revision`, side by side: every
    /// moment before a rollback costs requests.
    async fn live_and_recorded(
        &self,
        hands: &Hands,
        revision: &Revision,
    ) -> Result<(Value, Recorded), Error> {
        futures::future::try_join(self.live(hands), self.recorded(hands, revision)).await
    }

    /// Reads what is recorded of `revision`, and checks that it is that revision.
    async fn recorded(&self, hands: &Hands, revision: &Revision) -> Result<Recorded, Error> {
        let missing = || Error::MissingRecord {
            name: self.name(),
            revision: revision.short().to_owned(),
        };
        let record = self.revisions.get(revision).ok_or_else(missing)?;
        let object = ObjectRef::new(kinds::CONTROLLER_REVISIONS, self.namespace, &record.name);
        let object = hands
            .cluster
            .get(&object)
            .await
            .map_err(|source| Error::GetRevision {
                name: record.name.clone(),
                source,
            })?;
        object
            .and_then(|object| revision_record::recorded(&object, &self.workload.uid, revision))
            .ok_or_else(missing)
    }
}

/// Carries out one effect that writes to the Deployment. Returns what was written.
///
/// # Errors
///
/// [`Error::Changed`]: look again at once. [`Error::Refused`]: trying again cannot help.
/// Anything else: try again later; whether the write happened will be seen.
pub async fn carry_out(
    hands: &Hands,
    scene: &Scene<'_>,
    effect: &Effect,
    incident: Option<&Incident>,
) -> Result<Option<Written>, Error> {
    let rollback = incident.map(|incident| incident.name(scene.workload));
    let written = match effect {
        Effect::RollBack { from, to, pause } => {
            reconciled::roll_back(hands, scene, (from, to), pause.as_ref(), incident).await?
        }
        Effect::LiftPause {
            rollback,
            application,
        } => {
            let lifted = reconciled::lift(hands, scene, rollback, application.as_ref()).await?;
            return Ok(lifted.map(|written| (kinds::DEPLOYMENTS, written)));
        }
        Effect::RestoreOwnership { to } => {
            let (live, target) = scene.live_and_recorded(hands, to).await?;
            check_template(scene, &live, to)?;
            commit(hands, scene, &live, ownership::restore(&live, &target)).await?
        }
        Effect::PauseRollout { from } => {
            let live = scene.live(hands).await?;
            check_template(scene, &live, from)?;
            let patch = patches::pause(&live, &rollback.unwrap_or_default());
            commit(hands, scene, &live, patch).await?
        }
        Effect::ResumeRollout => {
            let live = scene.live(hands).await?;
            commit(hands, scene, &live, patches::resume(&live)).await?
        }
        Effect::Unpin => {
            let live = scene.live(hands).await?;
            match patches::unpin(&live) {
                Some(patch) => commit(hands, scene, &live, patch).await?,
                None => return Ok(None),
            }
        }
        Effect::Forget { revision } => {
            record::forget(hands, scene, revision).await?;
            return Ok(None);
        }
        Effect::Decline { request, outcome } => {
            let asked = scene.requests.iter();
            return match asked.into_iter().find(|record| record.name == *request) {
                Some(record) => record::decline(hands, record, outcome).await.map(Some),
                None => Ok(None),
            };
        }
        // The controller does these: looks, and writes to other objects.
        Effect::Inspect { .. }
        | Effect::Drill { .. }
        | Effect::Diagnose { .. }
        | Effect::FollowTraffic { .. }
        | Effect::LookAtReconciler
        | Effect::KeepConfig { .. } => return Ok(None),
        Effect::Announce(announcement) => {
            tell(hands, scene, announcement, incident).await;
            return Ok(None);
        }
    };
    Ok(Some((kinds::DEPLOYMENTS, written)))
}

async fn tell(
    hands: &Hands,
    scene: &Scene<'_>,
    announcement: &Announcement,
    incident: Option<&Incident>,
) {
    announce::announce(hands, scene, announcement, incident).await;
}

/// Config is no part of what the Deployment itself says.
fn check_template(scene: &Scene<'_>, live: &Value, expected: &Revision) -> Result<(), Error> {
    let template = live.pointer("/spec/template");
    let recorded = scene.revisions.get(expected);
    let expected = recorded.map_or(scene.template, |record| &record.template);
    if template.is_some_and(|template| template::revision(template) == *expected) {
        Ok(())
    } else {
        Err(Error::Changed { name: scene.name() })
    }
}

/// Writes annotations onto the Lease, guarded by the `operations` themselves.
///
/// # Errors
///
/// [`Error::Stale`]: the Lease has moved on, look again. Anything else: try again later.
pub async fn annotate_lease(
    hands: &Hands,
    lease: &ObjectRef,
    operations: Value,
) -> Result<(), Error> {
    hands.check_leadership()?;
    match hands.cluster.json_patch(lease, operations).await {
        Ok(_) => Ok(()),
        Err(port::Error::Conflict { .. } | port::Error::NotFound) => Err(Error::Stale {
            name: lease.name.clone(),
        }),
        Err(source) => Err(Error::WriteLease { source }),
    }
}

/// Sends the patch, right after asking whether we still lead.
///
/// A failed `test` and a refusal by the schema or by admission look alike, so the Deployment is read
/// again: if nothing moved, nothing will.
async fn commit(
    hands: &Hands,
    scene: &Scene<'_>,
    live: &Value,
    patch: Value,
) -> Result<Value, Error> {
    hands.check_leadership()?;
    let name = scene.name();
    match hands.cluster.json_patch(&scene.deployment(), patch).await {
        Ok(written) => Ok(written),
        Err(port::Error::Conflict { .. } | port::Error::NotFound) => Err(Error::Changed { name }),
        Err(
            source @ (port::Error::Invalid { .. }
            | port::Error::Forbidden { .. }
            | port::Error::Unexpected {
                status: 400..=499, ..
            }),
        ) => {
            let now = scene.live(hands).await?;
            if moved(live, &now) {
                return Err(Error::Changed { name });
            }
            let message = source.to_string();
            Err(Error::Refused { name, message })
        }
        Err(
            source @ (port::Error::AlreadyExists
            | port::Error::Unavailable { .. }
            | port::Error::Unexpected { .. }),
        ) => Err(Error::PatchDeployment { name, source }),
    }
}

/// Whether anything that our patches test is different now.
fn moved(before: &Value, now: &Value) -> bool {
    [
        "/metadata/uid",
        "/metadata/annotations",
        "/spec/template",
        "/spec/paused",
    ]
    .iter()
    .any(|path| before.pointer(path) != now.pointer(path))
}
