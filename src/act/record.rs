//! Makes memory durable: one write per object that differs.
//!
//! It comes before every effect, so that an operator that stops in between is followed by one that
//! knows what was meant.

use serde_json::{Value, json};

use super::{Error, Hands, Scene, Written};
use crate::api::config;
use crate::api::record::revision::{self, RevisionRecord};
use crate::api::record::rollback::{self, Both, Known, RollbackRecord};
use crate::api::record::{label_pointer, text};
use crate::api::{names, template};
use crate::decide::{Incident, Memory, Revision, RevisionMemory};
use crate::port::{self, ObjectRef, kinds};

/// Writes what `after` remembers and the records do not say yet. Returns what was written, also when
/// a later write failed.
///
/// # Errors
///
/// [`Error::Changed`] and [`Error::Stale`]: look again. Anything else: try again later.
pub async fn record(
    hands: &Hands,
    scene: &Scene<'_>,
    after: &Memory,
    written: &mut Vec<Written>,
) -> Result<(), Error> {
    for (revision, memory) in &after.revisions {
        let object = match scene.revisions.get(revision) {
            Some(record) => update_revision(hands, scene, record, memory).await?,
            None => match (&memory.restored_from, &after.incident) {
                (Some(source), Some(incident)) => {
                    create_restored(hands, scene, (source, memory), incident).await?
                }
                (Some(_), None) | (None, _) => {
                    create_revision(hands, scene, revision, memory).await?
                }
            },
        };
        written.extend(object.map(|object| (kinds::CONTROLLER_REVISIONS, object)));
    }
    if let Some(incident) = &after.incident {
        let object = write_incident(hands, scene, incident).await?;
        written.extend(object.map(|object| (kinds::ROLLBACKS, object)));
    }
    Ok(())
}

/// Deletes the record of `revision`, if it is still the one that was observed.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later.
pub async fn forget(hands: &Hands, scene: &Scene<'_>, revision: &Revision) -> Result<(), Error> {
    let Some(record) = scene.revisions.get(revision) else {
        return Ok(());
    };
    hands.check_leadership()?;
    let object = ObjectRef::new(kinds::CONTROLLER_REVISIONS, scene.namespace, &record.name);
    let deleted = hands.cluster.delete(&object, &record.uid).await;
    deleted.map_err(|source| Error::WriteRevision {
        name: record.name.clone(),
        source,
    })
}

async fn create_revision(
    hands: &Hands,
    scene: &Scene<'_>,
    revision: &Revision,
    memory: &RevisionMemory,
) -> Result<Option<Value>, Error> {
    let live = scene.live(hands).await?;
    let current = live.pointer("/spec/template").map(template::revision);
    if current.as_ref() != Some(scene.template) || *revision != scene.workload.template {
        return Err(Error::Changed { name: scene.name() });
    }
    let body = revision::new(&live, scene.workload, memory);
    create(hands, body).await
}

/// Records the revision that `source` is with copies of its config, before it runs.
async fn create_restored(
    hands: &Hands,
    scene: &Scene<'_>,
    (source, memory): (&Revision, &RevisionMemory),
    incident: &Incident,
) -> Result<Option<Value>, Error> {
    let mut recorded = scene.recorded(hands, source).await?;
    recorded.template = config::repointed(&recorded.template, &incident.repoint);
    let place = (Some(scene.namespace), scene.workload);
    let body = revision::of_template(&recorded, place, memory);
    create(hands, body).await
}

async fn create(hands: &Hands, body: Value) -> Result<Option<Value>, Error> {
    hands.check_leadership()?;
    let name = text(&body, "/metadata/name").unwrap_or_default().to_owned();
    match hands
        .cluster
        .create(kinds::CONTROLLER_REVISIONS, body)
        .await
    {
        Ok(object) => Ok(Some(object)),
        // The name says which template it is, so it is there already and the watch is behind.
        Err(port::Error::AlreadyExists) => Err(Error::Stale { name }),
        Err(source) => Err(Error::WriteRevision { name, source }),
    }
}

async fn update_revision(
    hands: &Hands,
    scene: &Scene<'_>,
    record: &RevisionRecord,
    memory: &RevisionMemory,
) -> Result<Option<Value>, Error> {
    let mut operations = revision::changes(&record.memory, memory);
    if operations.is_empty() {
        return Ok(None);
    }
    operations.insert(0, expect_version(&record.resource_version));
    hands.check_leadership()?;
    let object = ObjectRef::new(kinds::CONTROLLER_REVISIONS, scene.namespace, &record.name);
    let name = record.name.clone();
    match hands.cluster.json_patch(&object, operations.into()).await {
        Ok(object) => Ok(Some(object)),
        Err(port::Error::Conflict { .. } | port::Error::NotFound) => Err(Error::Stale { name }),
        Err(source) => Err(Error::WriteRevision { name, source }),
    }
}

/// Answered by 409 where the object has moved on.
fn expect_version(resource_version: &str) -> Value {
    json!({"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version})
}

async fn write_incident(
    hands: &Hands,
    scene: &Scene<'_>,
    incident: &Incident,
) -> Result<Option<Value>, Error> {
    let name = incident.name(scene.workload);
    if let Some(open) = scene.open.filter(|open| open.name == name) {
        if open.incident.as_ref() == Some(incident) {
            return Ok(None);
        }
        return write_status(hands, scene, incident, open).await.map(Some);
    }
    if let Some(request) = scene.requests.iter().find(|request| request.name == name) {
        let claimed = claim(hands, scene, incident, request).await?;
        return write_status(hands, scene, incident, &claimed)
            .await
            .map(Some);
    }
    let created = create_rollback(hands, scene, incident, &name).await?;
    write_status(hands, scene, incident, &created)
        .await
        .map(Some)
}

/// Puts our labels on a record that a person created.
async fn claim(
    hands: &Hands,
    scene: &Scene<'_>,
    incident: &Incident,
    request: &RollbackRecord,
) -> Result<RollbackRecord, Error> {
    hands.check_leadership()?;
    let object = ObjectRef::new(kinds::ROLLBACKS, scene.namespace, &request.name);
    let patch = rollback::claim(request, scene.workload, incident);
    let written = hands.cluster.json_patch(&object, patch).await;
    let written = written.map_err(|source| rollback_error(&request.name, source))?;
    rollback::read(&written).ok_or_else(|| Error::Stale {
        name: request.name.clone(),
    })
}

/// Ends a request that is not carried out, and says why on its record.
///
/// # Errors
///
/// [`Error::Stale`]: look again. Anything else: try again later.
pub async fn decline(
    hands: &Hands,
    request: &RollbackRecord,
    outcome: &str,
) -> Result<Written, Error> {
    let status = rollback::declined(request, outcome, hands.cluster.now());
    let written = put_status(hands, request, status).await?;
    Ok((kinds::ROLLBACKS, written))
}

async fn create_rollback(
    hands: &Hands,
    scene: &Scene<'_>,
    incident: &Incident,
    name: &str,
) -> Result<RollbackRecord, Error> {
    hands.check_leadership()?;
    let body = rollback::new(scene.namespace, scene.workload, incident);
    let failed = |source| Error::WriteRollback {
        name: name.to_owned(),
        source,
    };
    let stale = || Error::Stale {
        name: name.to_owned(),
    };
    let object = match hands.cluster.create(kinds::ROLLBACKS, body).await {
        Ok(object) => object,
        // We stopped between the record and its status the last time, or the watch is behind.
        Err(port::Error::AlreadyExists) => {
            let object = ObjectRef::new(kinds::ROLLBACKS, scene.namespace, name);
            let found = hands.cluster.get(&object).await.map_err(failed)?;
            found.ok_or_else(stale)?
        }
        Err(source) => return Err(failed(source)),
    };
    rollback::read(&object)
        .filter(|record| record.deployment_uid == scene.workload.uid && record.incident.is_none())
        .ok_or_else(stale)
}

async fn write_status(
    hands: &Hands,
    scene: &Scene<'_>,
    incident: &Incident,
    record: &RollbackRecord,
) -> Result<Value, Error> {
    let both = Both {
        namespace: scene.namespace.to_owned(),
        from: known(scene, &incident.from),
        to: known(scene, &incident.to),
    };
    let now = hands.cluster.now();
    let status = rollback::status(incident, scene.workload, &both, &record.status, now);
    put_status(hands, record, status).await
}

/// Replaces the status of a Rollback that is still the one that was read.
async fn put_status(hands: &Hands, record: &RollbackRecord, status: Value) -> Result<Value, Error> {
    hands.check_leadership()?;
    let object = ObjectRef::new(kinds::ROLLBACKS, &record.namespace, &record.name);
    let written = hands
        .cluster
        .status(&object, &record.resource_version, status)
        .await;
    written.map_err(|source| rollback_error(&record.name, source))
}

fn rollback_error(name: &str, source: port::Error) -> Error {
    let name = name.to_owned();
    match source {
        port::Error::Conflict { .. } | port::Error::NotFound => Error::Stale { name },
        port::Error::AlreadyExists
        | port::Error::Invalid { .. }
        | port::Error::Forbidden { .. }
        | port::Error::Unavailable { .. }
        | port::Error::Unexpected { .. } => Error::WriteRollback { name, source },
    }
}

fn known(scene: &Scene<'_>, revision: &Revision) -> Known {
    scene
        .revisions
        .get(revision)
        .map_or_else(Known::default, |record| Known {
            number: Some(record.memory.number),
            images: record.images.clone(),
        })
}

/// Takes the label off a Rollback that does not await approval any more. A write of its own: the
/// status of a custom resource carries no labels. It comes after the status, because without the
/// label nobody checks who approves.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later.
pub async fn tidy(hands: &Hands, record: &RollbackRecord) -> Result<Written, Error> {
    hands.check_leadership()?;
    let object = ObjectRef::new(kinds::ROLLBACKS, &record.namespace, &record.name);
    let pointer = label_pointer(names::AWAITING_APPROVAL);
    let patch = json!([
        expect_version(&record.resource_version),
        {"op": "remove", "path": pointer},
    ]);
    let written = hands.cluster.json_patch(&object, patch).await;
    written
        .map(|object| (kinds::ROLLBACKS, object))
        .map_err(|source| rollback_error(&record.name, source))
}

/// Ends the incident of a Deployment that is gone.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later.
pub async fn close_orphan(
    hands: &Hands,
    record: &RollbackRecord,
    status: Value,
) -> Result<Written, Error> {
    let written = put_status(hands, record, status).await?;
    Ok((kinds::ROLLBACKS, written))
}

/// Writes the status of a policy.
///
/// # Errors
///
/// When it could not be written. The caller tries again with the next change.
pub async fn policy_status(
    hands: &Hands,
    policy: &ObjectRef,
    resource_version: &str,
    status: Value,
) -> Result<Written, Error> {
    hands.check_leadership()?;
    let written = hands.cluster.status(policy, resource_version, status).await;
    match written {
        Ok(object) => Ok((kinds::ROLLBACK_POLICIES, object)),
        Err(source) => Err(Error::WritePolicyStatus {
            name: policy.name.clone(),
            source,
        }),
    }
}
