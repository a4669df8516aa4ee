//! Config that goes back with a revision: what a template is with copies, and making the copies.

use std::collections::BTreeMap;

use serde_json::Value;

use super::copies::{Wanted, ensure_copies};
use super::{Error, Hands, Scene};
use crate::api::config::{self, OwnerRef};
use crate::api::template;
use crate::decide::restoring::renamed;
use crate::decide::{Config, ConfigKind, Policy, Revision};

/// Returns what `to` is once it reads the copies in `repoint`; `config` is what it ran with.
///
/// # Errors
///
/// When its record cannot be read. The caller tries again later.
pub async fn with_copies(
    hands: &Hands,
    scene: &Scene<'_>,
    to: &Revision,
    repoint: &BTreeMap<String, String>,
    config: Option<&Config>,
) -> Result<Revision, Error> {
    let recorded = scene.recorded(hands, to).await?;
    let repointed = config::repointed(&recorded.template, repoint);
    let config = config
        .map(|config| renamed(config, repoint))
        .unwrap_or_default();
    let digest = template::config_digest(&repointed, &config);
    Ok(template::with_config(
        &template::revision(&repointed),
        digest.as_deref(),
    ))
}

/// Copies the ConfigMaps that `revision` reads, those that still hold what it runs with. Returns what
/// was written.
///
/// # Errors
///
/// When the API server gives no answer, or somebody was faster. The caller tries again later; the
/// copies made so far stay.
pub async fn keep_config(
    hands: &Hands,
    scene: &Scene<'_>,
    revision: &Revision,
    policy: &Policy,
) -> Result<Vec<Value>, Error> {
    let Some(record) = scene.revisions.get(revision) else {
        return Ok(Vec::new());
    };
    let owner = OwnerRef {
        name: record.name.clone(),
        uid: record.uid.clone(),
    };
    let held = record.memory.config.iter();
    let wanted: Vec<Wanted> = held
        .filter(|(name, _)| name.kind == ConfigKind::ConfigMap)
        .filter(|(name, _)| !policy.config.exclude.contains(&name.name))
        .filter_map(|(name, held)| {
            Some(Wanted {
                name: name.name.clone(),
                contents: held.clone()?,
                owners: vec![owner.clone()],
            })
        })
        .collect();
    let mut written = Vec::new();
    let copied = ensure_copies(hands, scene.namespace, &wanted, &mut written).await;
    copied.map_err(|source| Error::KeepConfig {
        name: scene.name(),
        source,
    })?;
    Ok(written.into_iter().map(|(_, object)| object).collect())
}
