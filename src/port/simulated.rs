//! A cluster in memory, with a clock of its own: API server, controllers, kubelets, Prometheus.
//!
//! It follows tokio's clock. Under a paused clock an hour passes as fast as it can be computed, and a
//! run with the same [`Settings`] repeats itself exactly. Time moves only while somebody looks or
//! waits: there is no task and no thread behind it.
//!
//! It knows what Astern relies on, held to reality by the contract tests that run here and on a real
//! API server. It does not know RBAC, admission, schemas of custom resources, server-side apply or
//! scheduling, and namespaces need not exist.

mod behaviour;
mod crashing;
mod deployments;
mod endpoints;
mod faults;
mod fields;
mod nodes;
mod ownership;
mod pods;
mod progress;
mod prometheus;
mod promql;
mod replica_sets;
mod rights;
mod rollout;
mod rules;
mod selector;
mod server;
mod store;
mod user;
mod watching;
mod world;
mod writes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::kube::FIELD_MANAGER;
use super::{
    Cluster, Error, Kind, ObjectRef, Outside, Query, QueryError, Selection, WatchEvent, kinds,
};
use selector::Selector;
use server::Part;
use world::World;

pub use behaviour::Behaviour;
pub use crashing::{Crash, CrashingPort};
pub use faults::{ApiFault, ApiRule, MetricsFault};
pub use prometheus::Family;
pub use writes::{Verb, Write};

/// When every simulated cluster begins: 2026-01-05, 10:00 UTC, a Monday.
pub const BEGINNING: Timestamp = Timestamp::constant(1_767_607_200, 0);

/// How long a caller waits for an answer that never comes, as on a real cluster.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// What a simulated cluster is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Chooses UIDs, names of pods and moments of scrapes.
    pub seed: u64,
    /// What images do; those that are not here do the default.
    pub images: BTreeMap<String, Behaviour>,
    /// Until a controller acts on a change.
    pub controller_lag: SignedDuration,
    /// Of every call to the API server or the metric source. Gives others a chance in between.
    pub latency: SignedDuration,
    pub scrape_interval: SignedDuration,
    /// Which metrics there are.
    pub families: Vec<Family>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            images: BTreeMap::new(),
            controller_lag: SignedDuration::from_millis(100),
            latency: SignedDuration::from_millis(2),
            scrape_interval: SignedDuration::from_secs(5),
            families: vec![Family::HttpRequests, Family::Probes],
        }
    }
}

/// A handle on the simulated cluster; clones are handles on the same one.
#[derive(Clone)]
pub struct SimulatedCluster {
    shared: Arc<Shared>,
    manager: Arc<str>,
}

struct Shared {
    world: Mutex<World>,
    started: Instant,
    /// Wakes the watches after every change.
    changed: watch::Sender<()>,
    latency: Duration,
}

impl SimulatedCluster {
    /// Returns an empty cluster at [`BEGINNING`]. What is written through it is written by Astern.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            latency: settings.latency.unsigned_abs(),
            world: Mutex::new(World::new(settings, BEGINNING)),
            started: Instant::now(),
            changed: watch::Sender::new(()),
        };
        Self {
            shared: Arc::new(shared),
            manager: FIELD_MANAGER.into(),
        }
    }

    /// Returns a handle whose writes are those of `manager`. Faults meet only Astern.
    #[must_use]
    pub fn acting_as(&self, manager: &str) -> Self {
        Self {
            shared: self.shared.clone(),
            manager: manager.into(),
        }
    }

    /// Returns the world as it is now.
    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked while it held the lock fails anyway; the others may go on.
        let world = self.shared.world.lock();
        let mut world = world.unwrap_or_else(PoisonError::into_inner);
        world.advance(self.now());
        world
    }

    /// Carries `work` out on the world as it is now, and wakes the watches.
    fn change<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let result = work(&mut self.world());
        self.shared.changed.send_replace(());
        result
    }

    /// Takes the time of a call, and meets the fault that waits for it.
    async fn meet(&self, verb: Verb, kind: Kind) -> Result<Met, Error> {
        tokio::time::sleep(self.shared.latency).await;
        if &*self.manager != FIELD_MANAGER {
            return Ok(Met::Nothing);
        }
        let fault = self.world().faults.meeting(verb, kind);
        match fault {
            None => Ok(Met::Nothing),
            Some(ApiFault::AnswerLost) => Ok(Met::LosesTheAnswer),
            Some(ApiFault::Refused(error)) => Err(error),
            Some(ApiFault::RequestLost) => Err(lost()),
            Some(ApiFault::Hangs) => {
                tokio::time::sleep(CALL_LIMIT).await;
                Err(lost())
            }
        }
    }

    /// Carries a write out and notes it.
    async fn write(&self, request: Request<'_>) -> Result<Value, Error> {
        let met = self.meet(request.verb, request.object.kind).await?;
        let outcome = self.change(|world| {
            let outcome = request.carry_out(world, &self.manager);
            let object = match &outcome {
                Ok(stored) => reference(request.object.kind, stored),
                Err(_) => request.object.clone(),
            };
            let write = Write {
                at: world.now,
                manager: self.manager.to_string(),
                verb: request.verb,
                kind: request.object.kind,
                object: if object.name.is_empty() {
                    request.object.clone()
                } else {
                    object
                },
                body: request.body.clone(),
                outcome: outcome.as_ref().map(drop).map_err(Clone::clone),
            };
            world.writes.push(write);
            outcome
        });
        match met {
            Met::Nothing => outcome.map(|stored| Value::clone(&stored)),
            Met::LosesTheAnswer => Err(lost()),
        }
    }
}

enum Met {
    Nothing,
    LosesTheAnswer,
}

/// A write on its way to the API server.
struct Request<'a> {
    verb: Verb,
    object: &'a ObjectRef,
    body: &'a Value,
}

impl Request<'_> {
    fn carry_out(&self, world: &mut World, manager: &str) -> Result<Arc<Value>, Error> {
        let Self { verb, object, body } = self;
        match verb {
            Verb::Create => world.create(object.kind, Value::clone(body), manager),
            Verb::JsonPatch => world.patch(object, body, Part::Main, manager),
            Verb::Status => world.patch(object, body, Part::Status, manager),
            Verb::Replace => {
                world.require_served(object.kind)?;
                if fields::text(body, "/metadata/resourceVersion").is_empty() {
                    let message = "metadata.resourceVersion: must be specified for an update";
                    return Err(Error::Invalid {
                        message: message.to_owned(),
                    });
                }
                world.update(object, Value::clone(body), Part::Main, manager)
            }
            Verb::Delete => {
                world.delete(object, body.as_str().unwrap_or_default());
                Ok(Arc::default())
            }
            Verb::Get | Verb::List | Verb::DryRun => Ok(Arc::default()),
        }
    }
}

#[async_trait]
impl Cluster for SimulatedCluster {
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error> {
        let met = self.meet(Verb::Get, object.kind).await?;
        let found = self.object(object);
        match met {
            Met::Nothing => Ok(found),
            Met::LosesTheAnswer => Err(lost()),
        }
    }

    async fn list(&self, kind: Kind, selection: &Selection) -> Result<Vec<Value>, Error> {
        let met = self.meet(Verb::List, kind).await?;
        let selector = Selector::parse(&selection.labels)?;
        let world = self.world();
        world.require_served(kind)?;
        let found = world
            .store
            .of_kind(kind, selection.namespace.as_deref())
            .filter(|(_, value)| selector.selects(value))
            .map(|(_, value)| Value::clone(value))
            .collect();
        match met {
            Met::Nothing => Ok(found),
            Met::LosesTheAnswer => Err(lost()),
        }
    }

    fn watch(&self, kind: Kind, selection: Selection) -> BoxStream<'static, WatchEvent> {
        watching::watch(self.clone(), kind, selection)
    }

    async fn create(&self, kind: Kind, body: Value) -> Result<Value, Error> {
        if kind == kinds::ACCESS_REVIEWS {
            return self.review(body).await;
        }
        let object = reference(kind, &body);
        let request = Request {
            verb: Verb::Create,
            object: &object,
            body: &body,
        };
        self.write(request).await
    }

    async fn json_patch(&self, object: &ObjectRef, operations: Value) -> Result<Value, Error> {
        let request = Request {
            verb: Verb::JsonPatch,
            object,
            body: &operations,
        };
        self.write(request).await
    }

    async fn dry_run(&self, object: &ObjectRef, operations: Value) -> Result<(), Error> {
        let met = self.meet(Verb::DryRun, object.kind).await?;
        let outcome = self.world().try_patch(object, &operations);
        match met {
            Met::Nothing => outcome,
            Met::LosesTheAnswer => Err(lost()),
        }
    }

    async fn status(
        &self,
        object: &ObjectRef,
        resource_version: &str,
        status: Value,
    ) -> Result<Value, Error> {
        let body = json!([
            { "op": "replace", "path": "/metadata/resourceVersion", "value": resource_version },
            { "op": "add", "path": "/status", "value": status },
        ]);
        let request = Request {
            verb: Verb::Status,
            object,
            body: &body,
        };
        self.write(request).await
    }

    async fn replace(&self, object: &ObjectRef, body: Value) -> Result<Value, Error> {
        let request = Request {
            verb: Verb::Replace,
            object,
            body: &body,
        };
        self.write(request).await
    }

    async fn delete(&self, object: &ObjectRef, uid: &str) -> Result<(), Error> {
        let request = Request {
            verb: Verb::Delete,
            object,
            body: &uid.into(),
        };
        self.write(request).await.map(drop)
    }

    fn now(&self) -> Timestamp {
        let elapsed = self.shared.started.elapsed();
        BEGINNING + SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX)
    }

    async fn sleep_until(&self, until: Timestamp) {
        let wait = until.duration_since(BEGINNING);
        if wait > SignedDuration::ZERO {
            tokio::time::sleep_until(self.shared.started + wait.unsigned_abs()).await;
        }
        // Whoever only sleeps moves the world too.
        drop(self.world());
    }
}

#[async_trait]
impl Outside for SimulatedCluster {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let wait = {
            let world = self.world();
            if let MetricsFault::Slow(wait) = world.faults.metrics {
                wait
            } else {
                world.settings.latency
            }
        };
        if wait >= query.timeout {
            tokio::time::sleep(query.timeout.unsigned_abs()).await;
            return Err(QueryError::Timeout(query.timeout));
        }
        tokio::time::sleep(wait.unsigned_abs()).await;
        self.world().answer(query)
    }
}

/// Returns the reference that `value` has by its own metadata.
fn reference(kind: Kind, value: &Value) -> ObjectRef {
    let namespace = fields::text(value, "/metadata/namespace");
    ObjectRef::new(kind, namespace, fields::text(value, "/metadata/name"))
}

fn lost() -> Error {
    Error::Unavailable {
        message: "connection lost".to_owned(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
