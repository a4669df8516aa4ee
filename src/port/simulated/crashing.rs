//! A port that dies at a chosen write, so that every point between two writes can be tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::port::{
    Cluster, Error, Kind, ObjectRef, Outside, Query, QueryError, Selection, WatchEvent,
};

/// Where the process dies. Writes are counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    Never,
    /// The write never reaches the API server.
    Before(usize),
    /// The write is carried out, and nobody hears of it.
    After(usize),
}

/// Passes every call on to `P` until the crash. From then on no call returns, as for a process that
/// is gone: drop the future that runs on it and start another on a port of its own.
pub struct CrashingPort<P> {
    port: Arc<P>,
    crash: Crash,
    writes: AtomicUsize,
    crashed: watch::Sender<bool>,
}

impl<P> CrashingPort<P> {
    /// Returns a port on `port` that dies at `crash`.
    #[must_use]
    pub fn new(port: Arc<P>, crash: Crash) -> Self {
        Self {
            port,
            crash,
            writes: AtomicUsize::new(0),
            crashed: watch::Sender::new(false),
        }
    }

    /// Returns how many writes were begun.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Returns once the port has died.
    pub async fn crashed(&self) {
        let mut crashed = self.crashed.subscribe();
        // The sender cannot be gone: it belongs to `self`.
        drop(crashed.wait_for(|crashed| *crashed).await);
    }

    /// Says whether the port has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *self.crashed.borrow()
    }

    async fn read<T>(&self, call: impl Future<Output = T> + Send) -> T {
        self.while_alive().await;
        let answer = call.await;
        // Another task's write may have killed the process meanwhile.
        self.while_alive().await;
        answer
    }

    async fn write<T>(&self, call: impl Future<Output = T> + Send) -> T {
        self.while_alive().await;
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if self.crash == Crash::Before(number) {
            self.die().await;
        }
        let answer = call.await;
        if self.crash == Crash::After(number) {
            self.die().await;
        }
        self.while_alive().await;
        answer
    }

    async fn while_alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    async fn die(&self) {
        self.crashed.send_replace(true);
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl<P: Cluster> Cluster for CrashingPort<P> {
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error> {
        self.read(self.port.get(object)).await
    }

    async fn list(&self, kind: Kind, selection: &Selection) -> Result<Vec<Value>, Error> {
        self.read(self.port.list(kind, selection)).await
    }

    fn watch(&self, kind: Kind, selection: Selection) -> BoxStream<'static, WatchEvent> {
        let mut crashed = self.crashed.subscribe();
        let death = async move {
            drop(crashed.wait_for(|crashed| *crashed).await);
        };
        let events = self.port.watch(kind, selection).take_until(death);
        // A watch of the living never ends, so that of the dead is silent.
        events.chain(futures::stream::pending()).boxed()
    }

    async fn create(&self, kind: Kind, body: Value) -> Result<Value, Error> {
        self.write(self.port.create(kind, body)).await
    }

    async fn json_patch(&self, object: &ObjectRef, operations: Value) -> Result<Value, Error> {
        self.write(self.port.json_patch(object, operations)).await
    }

    async fn dry_run(&self, object: &ObjectRef, operations: Value) -> Result<(), Error> {
        self.read(self.port.dry_run(object, operations)).await
    }

    async fn status(
        &self,
        object: &ObjectRef,
        resource_version: &str,
        status: Value,
    ) -> Result<Value, Error> {
        self.write(self.port.status(object, resource_version, status))
            .await
    }

    async fn replace(&self, object: &ObjectRef, body: Value) -> Result<Value, Error> {
        self.write(self.port.replace(object, body)).await
    }

    async fn delete(&self, object: &ObjectRef, uid: &str) -> Result<(), Error> {
        self.write(self.port.delete(object, uid)).await
    }

    fn now(&self) -> Timestamp {
        self.port.now()
    }

    async fn sleep_until(&self, until: Timestamp) {
        self.read(self.port.sleep_until(until)).await;
    }
}

#[async_trait]
impl<P: Outside> Outside for CrashingPort<P> {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        self.read(self.port.query(query)).await
    }
}
