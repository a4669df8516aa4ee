//! All that the watches have seen.

mod remembered;
mod running;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use self::running::Running;
use super::cache::{Cache, Key};
use super::workload::Deployment;
use crate::api::parse::{self, FieldError, MetricSource, ParsedPolicy};
use crate::api::record::revision::{self, RevisionRecord};
use crate::api::record::rollback::{self, RollbackRecord};
use crate::api::record::text;
use crate::port::{Kind, WatchEvent, kinds};

pub use self::remembered::Remembered;

/// A policy as it was read, usable or not.
#[derive(Debug)]
pub struct PolicyObject {
    pub resource_version: String,
    pub generation: i64,
    pub status: Value,
    pub parsed: Result<Arc<ParsedPolicy>, Vec<FieldError>>,
}

/// A metric source as it was read, usable or not.
pub type Source = Result<Arc<MetricSource>, String>;

/// The process's view of the cluster.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    deployments: Cache<Arc<Deployment>>,
    policies: Cache<Arc<PolicyObject>>,
    sources: Cache<Source>,
    rollbacks: Cache<Arc<RollbackRecord>>,
    revisions: Cache<Arc<RevisionRecord>>,
    running: Running,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                deployments: Cache::new(|object| Deployment::read(object).map(Arc::new)),
                policies: Cache::new(|object| Some(Arc::new(policy(object)))),
                sources: Cache::new(|object| Some(source(object))),
                rollbacks: Cache::new(|object| rollback::read(object).map(Arc::new)),
                revisions: Cache::new(|object| revision::read(object).map(Arc::new)),
                running: Running::default(),
            }),
        }
    }
}

impl Store {
    /// Says how many watches will follow `kind`.
    pub fn expect_parts(&self, kind: Kind, parts: usize) {
        let mut inner = self.lock();
        match kind {
            kinds::DEPLOYMENTS => inner.deployments.expect_parts(parts),
            kinds::ROLLBACK_POLICIES => inner.policies.expect_parts(parts),
            kinds::METRIC_SOURCES => inner.sources.expect_parts(parts),
            kinds::ROLLBACKS => inner.rollbacks.expect_parts(parts),
            kinds::CONTROLLER_REVISIONS => inner.revisions.expect_parts(parts),
            _ => (),
        }
    }

    /// Takes in one event of the watch number `part` on `kind`. Returns the keys whose objects
    /// changed.
    pub fn handle(&self, kind: Kind, part: usize, event: &WatchEvent, now: Timestamp) -> Vec<Key> {
        let mut inner = self.lock();
        let Inner {
            deployments,
            running,
            ..
        } = &mut *inner;
        match kind {
            kinds::DEPLOYMENTS => {
                let changed = deployments.handle(part, event);
                for key in &changed {
                    running.deployment_changed(key, deployments.get(key), now);
                }
                changed
            }
            kinds::ROLLBACK_POLICIES => inner.policies.handle(part, event),
            kinds::METRIC_SOURCES => inner.sources.handle(part, event),
            kinds::ROLLBACKS => inner.rollbacks.handle(part, event),
            kinds::CONTROLLER_REVISIONS => inner.revisions.handle(part, event),
            _ => Vec::new(),
        }
    }

    /// Takes in what a write returned, so that the next look sees it before the watch does.
    pub fn wrote(&self, kind: Kind, object: &Value) {
        let mut inner = self.lock();
        match kind {
            kinds::DEPLOYMENTS => inner.deployments.apply(None, object),
            kinds::ROLLBACK_POLICIES => inner.policies.apply(None, object),
            kinds::ROLLBACKS => inner.rollbacks.apply(None, object),
            kinds::CONTROLLER_REVISIONS => inner.revisions.apply(None, object),
            _ => None,
        };
    }

    /// Returns whether everything that decisions rest on has been listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let inner = self.lock();
        inner.deployments.is_complete()
            && inner.policies.is_complete()
            && inner.sources.is_complete()
            && inner.rollbacks.is_complete()
            && inner.revisions.is_complete()
    }

    /// Returns the Deployment under `key`.
    #[must_use]
    pub fn deployment(&self, key: &Key) -> Option<Arc<Deployment>> {
        self.lock().deployments.get(key).cloned()
    }

    /// Returns the names of all Deployments in `namespace`.
    #[must_use]
    pub fn deployments_in(&self, namespace: &str) -> Vec<Key> {
        let inner = self.lock();
        let keys = inner.deployments.iter().map(|(key, _)| key);
        keys.filter(|key| key.namespace == namespace)
            .cloned()
            .collect()
    }

    /// Returns the keys of all Deployments.
    #[must_use]
    pub fn deployment_keys(&self) -> Vec<Key> {
        let inner = self.lock();
        inner
            .deployments
            .iter()
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Returns the keys of all policies.
    #[must_use]
    pub fn policy_keys(&self) -> Vec<Key> {
        let inner = self.lock();
        inner.policies.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Returns all policies of `namespace`.
    #[must_use]
    pub fn policies_in(&self, namespace: &str) -> Vec<(Key, Arc<PolicyObject>)> {
        let inner = self.lock();
        let policies = inner.policies.iter();
        policies
            .filter(|(key, _)| key.namespace == namespace)
            .map(|(key, policy)| (key.clone(), Arc::clone(policy)))
            .collect()
    }

    /// Returns the policy under `key`.
    #[must_use]
    pub fn policy(&self, key: &Key) -> Option<Arc<PolicyObject>> {
        self.lock().policies.get(key).cloned()
    }

    /// Returns the metric source `name`.
    ///
    /// # Errors
    ///
    /// Why it cannot be used. The caller treats that as data.
    pub fn source(&self, name: &str) -> Source {
        let inner = self.lock();
        inner
            .sources
            .get(&Key::new("", name))
            .cloned()
            .unwrap_or_else(|| Err(format!("there is no MetricSource {name:?}")))
    }

    /// Returns the name of the Deployment that the Rollback under `key` is about.
    #[must_use]
    pub fn deployment_of_rollback(&self, key: &Key) -> Option<Key> {
        let inner = self.lock();
        let record = inner.rollbacks.get(key)?;
        Some(Key::new(&record.namespace, &record.deployment))
    }

    /// Returns the name of the Deployment that the revision under `key` belongs to.
    #[must_use]
    pub fn deployment_of_revision(&self, key: &Key) -> Option<Key> {
        let inner = self.lock();
        let record = inner.revisions.get(key)?;
        Some(Key::new(&record.namespace, &record.deployment))
    }

    /// Returns all that is remembered about `deployment`.
    #[must_use]
    pub fn remembered(&self, deployment: &Deployment) -> Remembered {
        let uid = deployment.uid.as_str();
        let inner = self.lock();
        let revisions = inner.revisions.iter();
        let revisions: Vec<Arc<RevisionRecord>> = revisions
            .filter(|(_, record)| record.deployment_uid == uid)
            .map(|(_, record)| Arc::clone(record))
            .collect();
        let rollbacks = inner.rollbacks.iter();
        let rollbacks: Vec<Arc<RollbackRecord>> = rollbacks
            .filter(|(_, record)| {
                let asks = record.request.is_some()
                    && record.deployment == deployment.name
                    && record.namespace == deployment.namespace;
                record.deployment_uid == uid || asks
            })
            .map(|(_, record)| Arc::clone(record))
            .collect();
        Remembered::new(revisions, &rollbacks)
    }

    /// Returns how many rollbacks nobody was asked for since `since`, and how many workloads went bad,
    /// the one with `uid` included.
    #[must_use]
    pub fn storm(&self, since: Timestamp, uid: &str) -> (u32, u32) {
        let inner = self.lock();
        let mut unasked: u32 = 0;
        let mut bad: BTreeSet<&str> = BTreeSet::from([uid]);
        for (_, record) in inner.rollbacks.iter() {
            let Some(incident) = &record.incident else {
                continue;
            };
            let by_trigger = !incident.trigger.is_empty();
            if by_trigger && incident.timings.proposed >= since {
                bad.insert(&record.deployment_uid);
            }
            let decided = incident
                .timings
                .decided
                .is_some_and(|decided| decided >= since);
            if decided && incident.was_decided_unasked() {
                unasked = unasked.saturating_add(1);
            }
        }
        (unasked, u32::try_from(bad.len()).unwrap_or(u32::MAX))
    }

    /// Returns what is asked for the Deployment under `key`, which may not exist.
    #[must_use]
    pub fn requests_for(&self, key: &Key) -> Vec<Arc<RollbackRecord>> {
        let inner = self.lock();
        let rollbacks = inner.rollbacks.iter();
        rollbacks
            .filter(|(_, record)| {
                record.request.is_some()
                    && record.namespace == key.namespace
                    && record.deployment == key.name
            })
            .map(|(_, record)| Arc::clone(record))
            .collect()
    }

    /// Returns the open incidents of Deployments that are gone, or were made anew.
    #[must_use]
    pub fn orphaned_incidents(&self, key: &Key, uid: Option<&str>) -> Vec<Arc<RollbackRecord>> {
        let inner = self.lock();
        let rollbacks = inner.rollbacks.iter();
        rollbacks
            .filter(|(_, record)| {
                record.namespace == key.namespace
                    && record.deployment == key.name
                    && Some(record.deployment_uid.as_str()) != uid
                    && record.incident.as_ref().is_some_and(|i| i.state.is_open())
            })
            .map(|(_, record)| Arc::clone(record))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the caches whole: every change is one insertion or removal.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn policy(object: &Value) -> PolicyObject {
    PolicyObject {
        resource_version: text(object, "/metadata/resourceVersion")
            .unwrap_or_default()
            .to_owned(),
        generation: object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        status: object.get("status").cloned().unwrap_or(Value::Null),
        parsed: parse::rollback_policy(object).map(Arc::new),
    }
}

fn source(object: &Value) -> Source {
    match parse::metric_source(object) {
        Ok(source) => Ok(Arc::new(source)),
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(format!(
                "the MetricSource is not usable: {}",
                errors.join("; ")
            ))
        }
    }
}
