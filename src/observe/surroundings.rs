//! What is known around one Deployment without asking anybody: its templates, and its config.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::cache::Key;
use super::store::Remembered;
use super::workload::Deployment;
use super::{Eyes, Volatile};
use crate::api::config::{Standing, copy_name};
use crate::api::record::revision::RevisionRecord;
use crate::decide::{Config, ConfigKind, ConfigMode, ConfigUses, Facts, Policy, Revision};

pub(super) fn facts(
    deployment: &Deployment,
    template: Revision,
    remembered: &Remembered,
) -> BTreeMap<Revision, Facts> {
    let recorded = remembered.revisions.iter();
    let recorded = recorded.map(|(revision, record)| (revision.clone(), record.facts.clone()));
    let own = deployment.template_facts().clone();
    recorded.chain([(template, own)]).collect()
}

/// Returns what the config holds that any revision of `deployment` reads; `None`: not known, or the
/// policy does not care.
pub(super) fn config_now(
    eyes: &Eyes,
    deployment: &Deployment,
    remembered: &Remembered,
    policy: &Policy,
) -> Option<Config> {
    let key = Key::new(&deployment.namespace, &deployment.name);
    if policy.config.mode == ConfigMode::Ignore {
        eyes.config.reads(&key, &ConfigUses::new());
        return None;
    }
    let records = remembered.revisions.values();
    let uses: ConfigUses = records
        .map(|record| &record.facts.uses)
        .chain([&deployment.template_facts().uses])
        .flatten()
        .filter(|(name, _)| !policy.config.exclude.contains(&name.name))
        .map(|(name, wanted)| (name.clone(), wanted.clone()))
        .collect();
    eyes.config.reads(&key, &uses);
    let mut config = eyes.config.config_of(&deployment.namespace, &uses)?;
    config.retain(|name, _| {
        let known = eyes
            .config
            .config_map(&Key::new(&deployment.namespace, &name.name));
        known.is_none_or(|known| known.standing != Standing::Managed)
    });
    Some(config)
}

pub(super) fn config_since(
    config: Option<&Config>,
    volatile: &Volatile,
    now: Timestamp,
) -> Option<Timestamp> {
    let config = config?;
    let seen = volatile.config.as_ref();
    let since = seen
        .filter(|(seen, _)| seen == config)
        .map(|(_, since)| *since);
    Some(since.unwrap_or(now))
}

/// Returns, per revision, the copies of its ConfigMaps that exist and that its record keeps alive.
pub(super) fn copies(
    eyes: &Eyes,
    namespace: &str,
    remembered: &Remembered,
) -> BTreeMap<Revision, BTreeMap<String, String>> {
    let of_record = |record: &RevisionRecord| {
        let config = record.memory.config.iter();
        let held = config.filter_map(|(name, held)| Some((name, held.as_ref()?)));
        held.filter(|(name, _)| name.kind == ConfigKind::ConfigMap)
            .filter_map(|(name, held)| {
                let pinned = eyes.config.config_map(&Key::new(namespace, &name.name));
                let is_copy = pinned.is_some_and(|it| matches!(it.standing, Standing::Copy { .. }));
                let copy = if is_copy {
                    name.name.clone()
                } else {
                    copy_name(&name.name, held)
                };
                let found = eyes.config.config_map(&Key::new(namespace, &copy))?;
                let kept = matches!(found.standing, Standing::Copy { .. })
                    && found.owners.contains(&record.uid);
                kept.then(|| (name.name.clone(), copy))
            })
            .collect()
    };
    let records = remembered.revisions.iter();
    records
        .map(|(revision, record)| (revision.clone(), of_record(record)))
        .collect()
}
