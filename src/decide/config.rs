//! What a pod template reads from ConfigMaps and Secrets, and what of it is different now.
//!
//! It sees digests, never contents, so that nothing said about config can leak any. Who read them,
//! and which objects may be put back, is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// What kind of object a pod template reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigKind {
    ConfigMap,
    Secret,
}

/// One object that a pod template reads, in the namespace of its workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfigName {
    pub kind: ConfigKind,
    pub name: String,
}

/// What a template asks of one object, all its references taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigUse {
    /// Pods start without it.
    pub optional: bool,
    /// `None`: all of it.
    pub keys: Option<BTreeSet<String>>,
    /// Keys without which no pod starts. Not the same as `keys`: a template may read all keys there
    /// are, and insist on one.
    pub required: BTreeSet<String>,
    /// Mounted whole, not by `subPath`: changes reach running pods.
    pub live: bool,
}

/// What one object held: a short digest per key; never contents.
///
/// The pseudo-key [`WHOLE`] stands for the object as a whole. Where it stands alone, the keys are not
/// known: there were too many, or it is a Secret. An object without any key has no entry at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Contents {
    pub keys: BTreeMap<String, String>,
}

/// Per object that a template refers to: what it held; `None` where it was missing. An object that is
/// not in the map is not known, which is never a change.
pub type Config = BTreeMap<ConfigName, Option<Contents>>;

/// What a template reads, by object.
pub type ConfigUses = BTreeMap<ConfigName, ConfigUse>;

/// Names an object as a whole among its keys. Kubernetes allows no empty key.
pub const WHOLE: &str = "";

/// One object that is not what it was, or that is needed and not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigChange {
    pub name: ConfigName,
    /// Sorted. Empty: the whole object, or it is not known which.
    pub keys: Vec<String>,
    /// Pods need it, and it is not there now.
    pub missing: bool,
}

/// More would bury the rest of an Event, which ends after a thousand characters.
const KEYS_NAMED: usize = 8;

/// How much text a [`Config`] may be. It goes into annotations, of which the API server takes 256 KiB
/// per object in all; 64 objects with names of full length and no keys are 20 KiB.
const TEXT_MAX: usize = 64 * 1024;

/// What an entry costs besides the names in it: 16 digits and punctuation.
const ENTRY_TEXT: usize = 24;

/// Returns what of `then` is different `now`, and what is needed and not there, by name. Only what
/// `uses` names counts, key by key where keys are known on both sides.
#[must_use]
pub fn changed(uses: &ConfigUses, then: &Config, now: &Config) -> Vec<ConfigChange> {
    let mut changes = Vec::new();
    for (name, wanted) in uses {
        let Some(held) = now.get(name) else {
            continue;
        };
        let change = |keys, missing| ConfigChange {
            name: name.clone(),
            keys,
            missing,
        };
        let lacking = lacking(wanted, held.as_ref());
        if let Some(keys) = &lacking {
            changes.push(change(keys.clone(), true));
        }
        let said = lacking.unwrap_or_default();
        let gone = held.is_none() && !wanted.optional;
        let before = then.get(name).filter(|_| !gone);
        if let Some(keys) =
            before.and_then(|held_then| different(wanted, held_then.as_ref(), held.as_ref(), &said))
        {
            changes.push(change(keys, false));
        }
    }
    changes
}

/// Returns whether all that is known on both sides, and used, is the same.
///
/// What is not known on one side is no difference: a right that was granted or taken away between
/// two looks must not turn a revision into another.
#[must_use]
pub fn same(uses: &ConfigUses, then: &Config, now: &Config) -> bool {
    uses.iter().all(|(name, wanted)| {
        let (Some(then), Some(now)) = (then.get(name), now.get(name)) else {
            return true;
        };
        different(wanted, then.as_ref(), now.as_ref(), &[]).is_none()
    })
}

/// Returns the part of `config` that `uses` reads: what a fingerprint is made of. A key that nobody
/// reads may change without being a release.
#[must_use]
pub fn used(uses: &ConfigUses, config: &Config) -> Config {
    let part = |wanted: &ConfigUse, held: &Contents| Contents {
        keys: match &wanted.keys {
            Some(keys) if held.knows_keys() => pick(held, |key| keys.contains(key)),
            Some(_) | None => pick(held, |key| key == WHOLE),
        },
    };
    uses.iter()
        .filter_map(|(name, wanted)| {
            let held = config.get(name)?;
            let held = held.as_ref().map(|held| part(wanted, held));
            Some((name.clone(), held))
        })
        .collect()
}

/// Returns a text that is the same for equal configs only. It is hashed into identities that must be
/// found again by every later version, so its form never changes.
#[must_use]
pub fn fingerprint(config: &Config) -> String {
    let mut text = String::new();
    for (name, held) in config {
        // Writing into a String cannot fail.
        let _ = write!(text, "{}/{:?}", name.kind.as_str(), name.name);
        match held {
            None => text.push_str(" missing"),
            Some(held) => {
                for (key, digest) in &held.keys {
                    let _ = write!(text, " {key:?}={digest:?}");
                }
            }
        }
        text.push('\n');
    }
    text
}

/// Returns `config` cut down to what fits beside other things on an object: from the objects with
/// the most text on, only their digest as a whole is kept. Twice is the same as once.
#[must_use]
pub fn bounded(mut config: Config) -> Config {
    let mut sizes: Vec<(usize, ConfigName)> = config
        .iter()
        .map(|(name, held)| (size(name, held.as_ref()), name.clone()))
        .collect();
    let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
    sizes.sort_by(|left, right| right.0.cmp(&left.0).then_with(|| left.1.cmp(&right.1)));
    for (before, name) in sizes {
        if total <= TEXT_MAX {
            break;
        }
        if let Some(Some(held)) = config.get_mut(&name) {
            held.keys.retain(|key, _| key == WHOLE);
            total -= before - size(&name, Some(held));
        }
    }
    config
}

fn size(name: &ConfigName, held: Option<&Contents>) -> usize {
    let keys = held.into_iter().flat_map(|held| held.keys.keys());
    name.name.len() + ENTRY_TEXT + keys.map(|key| key.len() + ENTRY_TEXT).sum::<usize>()
}

fn pick(held: &Contents, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let entries = held.keys.iter().filter(|(key, _)| wanted(key));
    entries
        .map(|(key, digest)| (key.clone(), digest.clone()))
        .collect()
}

/// Returns the required keys that are not there; empty inside when the object itself is not.
fn lacking(wanted: &ConfigUse, held: Option<&Contents>) -> Option<Vec<String>> {
    let Some(held) = held else {
        return (!wanted.optional).then(Vec::new);
    };
    if !held.knows_keys() {
        return None;
    }
    let lacking: Vec<String> = wanted
        .required
        .iter()
        .filter(|key| !held.keys.contains_key(*key))
        .cloned()
        .collect();
    (!lacking.is_empty()).then_some(lacking)
}

/// Returns the used keys that differ, besides those in `said`; empty inside when the object came or
/// went, or when keys are not known on a side.
fn different(
    wanted: &ConfigUse,
    then: Option<&Contents>,
    now: Option<&Contents>,
    said: &[String],
) -> Option<Vec<String>> {
    let nothing = Contents::default();
    let came_or_went = then.is_some() != now.is_some();
    let (then, now) = (then.unwrap_or(&nothing), now.unwrap_or(&nothing));
    if !(then.knows_keys() && now.knows_keys()) {
        return (then.keys.get(WHOLE) != now.keys.get(WHOLE)).then(Vec::new);
    }
    let all = || {
        let keys = then.keys.keys().chain(now.keys.keys());
        keys.filter(|key| *key != WHOLE).cloned().collect()
    };
    let keys: BTreeSet<String> = wanted.keys.clone().unwrap_or_else(all);
    let mut differing: Vec<String> = keys
        .into_iter()
        .filter(|key| then.keys.get(key) != now.keys.get(key) && !said.contains(key))
        .collect();
    // A mount of all keys is there or not even if the object has none.
    let whole = came_or_went && wanted.keys.is_none();
    if differing.is_empty() && !whole {
        return None;
    }
    if came_or_went {
        differing.clear();
    }
    Some(differing)
}

impl Contents {
    /// Returns whether every key stands here by itself.
    #[must_use]
    pub fn knows_keys(&self) -> bool {
        self.keys.len() != 1 || !self.keys.contains_key(WHOLE)
    }

    /// Returns the digest of the object as a whole; empty for an object without keys.
    #[must_use]
    pub fn whole(&self) -> &str {
        self.keys.get(WHOLE).map_or("", String::as_str)
    }
}

impl ConfigKind {
    /// The spelling of Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

impl ConfigName {
    /// Returns the name of a ConfigMap.
    #[must_use]
    pub fn config_map(name: impl Into<String>) -> Self {
        Self {
            kind: ConfigKind::ConfigMap,
            name: name.into(),
        }
    }

    /// Returns the name of a Secret.
    #[must_use]
    pub fn secret(name: impl Into<String>) -> Self {
        Self {
            kind: ConfigKind::Secret,
            name: name.into(),
        }
    }
}

impl fmt::Display for ConfigName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?}", self.kind.as_str(), self.name)
    }
}

/// Names the object and its keys, the first few of them.
impl fmt::Display for ConfigChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            keys,
            missing,
        } = self;
        match (keys.is_empty(), missing) {
            (true, true) => write!(formatter, "{name} is missing"),
            (true, false) => write!(formatter, "{name} changed"),
            (false, true) => {
                write!(formatter, "{name} lacks ")?;
                write_keys(formatter, keys)
            }
            (false, false) => {
                write!(formatter, "{name} changed in ")?;
                write_keys(formatter, keys)
            }
        }
    }
}

fn write_keys(formatter: &mut fmt::Formatter<'_>, keys: &[String]) -> fmt::Result {
    for (index, key) in keys.iter().take(KEYS_NAMED).enumerate() {
        let before = if index == 0 { "" } else { ", " };
        write!(formatter, "{before}{key:?}")?;
    }
    match keys.len().saturating_sub(KEYS_NAMED) {
        0 => Ok(()),
        more => write!(formatter, " and {more} more"),
    }
}

#[cfg(test)]
mod tests;
