//! What ConfigMaps and Secrets hold now, as digests.
//!
//! Of ConfigMaps the watch keeps digests only. Secrets are never watched: where an administrator
//! grants the right, their metadata is read one at a time and the rest is dropped unread.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::cache::{Cache, Key};
use crate::api::config::{self, Standing};
use crate::decide::config::bounded;
use crate::decide::{Config, ConfigKind, ConfigName, ConfigUses, Contents};
use crate::port::{Cluster, Error, ObjectRef, WatchEvent, kinds};

/// How many Secrets are read at once for one workload: enough that a template with ten takes two
/// round trips, and few enough beside everything else that asks the API server.
const SECRETS_AT_ONCE: usize = 5;

/// What is kept of one ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    pub contents: Contents,
    pub standing: Standing,
    pub resource_version: String,
    /// UIDs of the objects that keep it alive.
    pub owners: BTreeSet<String>,
}

/// What the watch on ConfigMaps has seen, and which Deployments read them.
#[derive(Debug)]
pub struct ConfigStore {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    config_maps: Cache<Arc<ConfigMap>>,
    readers: Readers,
}

/// Which Deployments read which ConfigMaps, there or not.
#[derive(Debug, Default)]
struct Readers {
    /// By ConfigMap.
    of: HashMap<Key, BTreeSet<Key>>,
    /// By Deployment, to forget it by.
    by: HashMap<Key, BTreeSet<Key>>,
}

impl Default for ConfigStore {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                config_maps: Cache::new(|object| Some(Arc::new(cut_down(object)))),
                readers: Readers::default(),
            }),
        }
    }
}

fn cut_down(object: &Value) -> ConfigMap {
    let version = object.pointer("/metadata/resourceVersion");
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let owners = owners.into_iter().flatten();
    ConfigMap {
        owners: owners
            .filter_map(|owner| owner.get("uid")?.as_str().map(str::to_owned))
            .collect(),
        contents: config::contents(object),
        standing: config::standing(object),
        resource_version: version
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    }
}

impl ConfigStore {
    /// Says how many watches will follow ConfigMaps.
    pub fn expect_parts(&self, parts: usize) {
        self.lock().config_maps.expect_parts(parts);
    }

    /// Takes in one event of the watch number `part`. Returns the Deployments that read a ConfigMap
    /// whose content changed, or that came or went. Most writes to ConfigMaps change nothing in them.
    pub fn handle(&self, part: usize, event: &WatchEvent) -> Vec<Key> {
        let mut inner = self.lock();
        let Inner {
            config_maps,
            readers,
        } = &mut *inner;
        let before = match event {
            WatchEvent::Applied(object) => {
                Key::of(object).and_then(|key| config_maps.get(&key).cloned())
            }
            WatchEvent::Restarted | WatchEvent::Complete | WatchEvent::Deleted(_) => None,
        };
        let changed = config_maps.handle(part, event);
        let held = |known: Option<&Arc<ConfigMap>>| known.map(|known| known.contents.clone());
        let concerned: BTreeSet<Key> = changed
            .iter()
            .filter(|key| before.is_none() || held(before.as_ref()) != held(config_maps.get(key)))
            .filter_map(|key| readers.of.get(key))
            .flatten()
            .cloned()
            .collect();
        concerned.into_iter().collect()
    }

    /// Takes in what a write returned, so that the next look sees it before the watch does.
    pub fn wrote(&self, object: &Value) {
        self.lock().config_maps.apply(None, object);
    }

    /// Returns whether everything has been listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock().config_maps.is_complete()
    }

    /// Returns what is known of the ConfigMap under `key`.
    #[must_use]
    pub fn config_map(&self, key: &Key) -> Option<Arc<ConfigMap>> {
        self.lock().config_maps.get(key).cloned()
    }

    /// Returns what the ConfigMaps that `uses` names hold; `None` while the watch has not told of
    /// all. Secrets are not in it.
    #[must_use]
    pub fn config_of(&self, namespace: &str, uses: &ConfigUses) -> Option<Config> {
        let inner = self.lock();
        if !inner.config_maps.is_complete() {
            return None;
        }
        let names = uses
            .keys()
            .filter(|name| name.kind == ConfigKind::ConfigMap);
        let config = names
            .map(|name| {
                let known = inner.config_maps.get(&Key::new(namespace, &name.name));
                (name.clone(), known.map(|known| known.contents.clone()))
            })
            .collect();
        Some(bounded(config))
    }

    /// Remembers what the template of `deployment` reads, in place of what was remembered before.
    /// With no `uses`, forgets the Deployment.
    pub fn reads(&self, deployment: &Key, uses: &ConfigUses) {
        let names = uses
            .keys()
            .filter(|name| name.kind == ConfigKind::ConfigMap);
        let config_maps: BTreeSet<Key> = names
            .map(|name| Key::new(&deployment.namespace, &name.name))
            .collect();
        self.lock().readers.set(deployment, config_maps);
    }

    /// Returns the Deployments whose templates read the ConfigMap under `key`.
    #[must_use]
    pub fn readers_of(&self, key: &Key) -> Vec<Key> {
        let inner = self.lock();
        let readers = inner.readers.of.get(key).into_iter().flatten();
        readers.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the maps whole: every change is one insertion or removal.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    fn set(&mut self, deployment: &Key, config_maps: BTreeSet<Key>) {
        if self.by.get(deployment) == Some(&config_maps) {
            return;
        }
        for key in self.by.remove(deployment).into_iter().flatten() {
            if let Some(readers) = self.of.get_mut(&key) {
                readers.remove(deployment);
                if readers.is_empty() {
                    self.of.remove(&key);
                }
            }
        }
        for key in &config_maps {
            let readers = self.of.entry(key.clone()).or_default();
            readers.insert(deployment.clone());
        }
        if !config_maps.is_empty() {
            self.by.insert(deployment.clone(), config_maps);
        }
    }
}

/// Whether an administrator has granted the right to read Secrets that templates refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    Granted,
    NotGranted,
}

/// Returns what stands for the content of the Secrets that `uses` names, as they are now. Those that
/// may not be read are not in it, so not known; without the right, nobody is asked.
///
/// # Errors
///
/// When the API server gives no answer. What the Secrets hold is not known; the caller tries again
/// with the next look.
pub async fn secrets(
    cluster: &dyn Cluster,
    namespace: &str,
    uses: &ConfigUses,
    right: Secrets,
) -> Result<Config, Error> {
    let wanted: Vec<&ConfigName> = match right {
        Secrets::Granted => uses
            .keys()
            .filter(|name| name.kind == ConfigKind::Secret)
            .collect(),
        Secrets::NotGranted => Vec::new(),
    };
    let mut config = Config::new();
    for some in wanted.chunks(SECRETS_AT_ONCE) {
        let mut asked = Vec::with_capacity(some.len());
        for name in some {
            asked.push(secret(cluster, namespace, name));
        }
        for answer in futures::future::try_join_all(asked).await? {
            config.extend(answer);
        }
    }
    Ok(config)
}

async fn secret(
    cluster: &dyn Cluster,
    namespace: &str,
    name: &ConfigName,
) -> Result<Option<(ConfigName, Option<Contents>)>, Error> {
    let object = ObjectRef::new(kinds::SECRETS, namespace, &name.name);
    match cluster.get(&object).await {
        Ok(found) => {
            let found = found.map(without_data);
            Ok(Some((
                name.clone(),
                found.as_ref().map(config::secret_contents),
            )))
        }
        // RBAC may name some Secrets and not others.
        Err(Error::Forbidden { .. }) => Ok(None),
        Err(
            error @ (Error::NotFound
            | Error::AlreadyExists
            | Error::Conflict { .. }
            | Error::Invalid { .. }
            | Error::Unavailable { .. }
            | Error::Unexpected { .. }),
        ) => Err(error),
    }
}

/// Nothing below this line ever holds a credential of an app.
fn without_data(mut secret: Value) -> Value {
    if let Some(fields) = secret.as_object_mut() {
        fields.retain(|field, _| field == "metadata");
    }
    // kubectl apply keeps what it applied, data included.
    if let Some(metadata) = secret.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| ["uid", "resourceVersion", "managedFields"].contains(&&**field));
    }
    secret
}

#[cfg(test)]
mod tests;
