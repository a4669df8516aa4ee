//! Which config goes back with a revision, and what speaks against going back without it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::config::changed;
use super::{
    Config, ConfigChange, ConfigKind, ConfigMode, ConfigName, ConfigUses, Effect, Mode, Observed,
    Policy, Revision, RevisionMemory,
};

/// What becomes of the config that a target reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// ConfigMaps that it will read as copies, by the names of the originals.
    pub repoint: BTreeMap<String, String>,
    /// What is different now, and stays so.
    pub changed: Vec<ConfigChange>,
    /// What its pods need, and is not there.
    pub missing: Vec<ConfigChange>,
}

/// Returns what to do about the config that `to` reads; `secrets` is what was seen of its Secrets.
///
/// A ConfigMap goes back where its content changed between the last that `to` ran with and the
/// creation of the revision that is left, or where it is missing. What changed later was not part of
/// the release: somebody may just be mending it.
#[must_use]
pub fn restoration(
    observed: &Observed,
    policy: &Policy,
    to: &Revision,
    secrets: &Config,
) -> Restoration {
    let mut restoration = Restoration::default();
    let memory = &observed.memory.revisions;
    let (Some(facts), Some(known)) = (observed.facts.get(to), memory.get(to)) else {
        return restoration;
    };
    let Some(now) = observed.config.as_ref().filter(|_| looks_at_config(policy)) else {
        return restoration;
    };
    let mut now = now.clone();
    now.extend(secrets.clone());
    let uses = regarded(&facts.uses, policy);
    let left = memory.get(&observed.workload.template);
    for change in changed(&uses, &known.config, &now) {
        let copies = observed.copies.get(to);
        let copy = copies.and_then(|copies| copies.get(&change.name.name));
        let restores =
            policy.config.mode == ConfigMode::Restore && change.name.kind == ConfigKind::ConfigMap;
        match copy.filter(|_| restores) {
            Some(copy) if change.missing || came_with_release(&uses, known, left, &change.name) => {
                restoration
                    .repoint
                    .insert(change.name.name.clone(), copy.clone());
            }
            Some(_) => (),
            None if change.missing => restoration.missing.push(change),
            None => restoration.changed.push(change),
        }
    }
    restoration
}

fn looks_at_config(policy: &Policy) -> bool {
    policy.config.mode > ConfigMode::Ignore && policy.mode > Mode::Disabled
}

fn regarded(uses: &ConfigUses, policy: &Policy) -> ConfigUses {
    let uses = uses.iter();
    uses.filter(|(name, _)| !policy.config.exclude.contains(&name.name))
        .map(|(name, wanted)| (name.clone(), wanted.clone()))
        .collect()
}

/// Whether the object held something else already when the revision that is left was made. Where that
/// one does not read it, nobody knows, and what worked is taken.
fn came_with_release(
    uses: &ConfigUses,
    known: &RevisionMemory,
    left: Option<&RevisionMemory>,
    name: &ConfigName,
) -> bool {
    let Some(left) = left.filter(|left| left.config.contains_key(name)) else {
        return true;
    };
    let own = uses.get(name).map(|wanted| (name.clone(), wanted.clone()));
    let own: ConfigUses = own.into_iter().collect();
    !changed(&own, &known.config, &left.config).is_empty()
}

/// Returns what the config of a revision is called once it reads copies.
#[must_use]
pub fn renamed(config: &Config, repoint: &BTreeMap<String, String>) -> Config {
    let renamed = |name: &ConfigName| match repoint.get(&name.name) {
        Some(copy) if name.kind == ConfigKind::ConfigMap => ConfigName::config_map(copy.clone()),
        Some(_) | None => name.clone(),
    };
    let config = config.iter();
    config
        .map(|(name, held)| (renamed(name), held.clone()))
        .collect()
}

/// Returns the part of what config holds now that the current revision reads.
#[must_use]
pub fn own_config(observed: &Observed) -> Config {
    let facts = observed.facts.get(&observed.workload.template);
    let uses = facts.map(|facts| &facts.uses);
    let config = observed.config.iter().flatten();
    config
        .filter(|(name, _)| uses.is_some_and(|uses| uses.contains_key(*name)))
        .map(|(name, held)| (name.clone(), held.clone()))
        .collect()
}

/// Brings what is remembered of the current revision's config up to date. Returns what changed under
/// its pods.
///
/// Config that is mounted whole reaches running pods. It becomes what the revision runs with once it
/// has been there for a probation: a change that comes seconds before a release belongs to the release.
/// What pods read when they start stays what they started with.
pub fn settle(
    observed: &Observed,
    policy: &Policy,
    memory: &mut RevisionMemory,
    now: Timestamp,
) -> Vec<ConfigChange> {
    let Some(facts) = observed.facts.get(&observed.workload.template) else {
        return Vec::new();
    };
    let Some(config) = observed.config.as_ref().filter(|_| looks_at_config(policy)) else {
        return Vec::new();
    };
    if memory.config.is_empty() {
        memory.config = own_config(observed);
        return Vec::new();
    }
    let mut live = regarded(&facts.uses, policy);
    live.retain(|_, wanted| wanted.live);
    let changes = changed(&live, &memory.config, config);
    let settled = observed.config_since.is_some_and(|since| {
        let due = since.saturating_add(policy.probation);
        due.is_ok_and(|due| now >= due)
    });
    if settled {
        for change in &changes {
            if let Some(held) = config.get(&change.name) {
                memory.config.insert(change.name.clone(), held.clone());
            }
        }
    }
    changes
}

/// Asks for copies of the ConfigMaps that the current revision runs with, where a policy restores them
/// and they still hold that.
#[must_use]
pub fn keep(observed: &Observed, policy: &Policy) -> Option<Effect> {
    let revision = &observed.workload.template;
    let known = observed.memory.revisions.get(revision)?;
    let config = observed.config.as_ref()?;
    if policy.config.mode != ConfigMode::Restore || policy.mode == Mode::Disabled {
        return None;
    }
    let copies = observed.copies.get(revision);
    let lacking = known.config.iter().any(|(name, held)| {
        name.kind == ConfigKind::ConfigMap
            && held.is_some()
            && !policy.config.exclude.contains(&name.name)
            && copies.is_none_or(|copies| !copies.contains_key(&name.name))
            && config.get(name) == Some(held)
    });
    lacking.then(|| Effect::KeepConfig {
        revision: revision.clone(),
    })
}
