//! Objects of the API server that are needed again and again, kept for a short time.
//!
//! Read one at a time and never watched, so that the right to list them is not needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::port::{Cluster, Error, ObjectRef};

/// How old what is kept may be. A rotated Secret is in use after this time at the latest, and 32
/// sources cost the API server one request in two seconds.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// The same for an object that was missing, or whose content somebody refused: people are mending it,
/// but a query per second must not become a request per second.
const DOUBTFUL: SignedDuration = SignedDuration::from_secs(5);

/// How long an old value does while the API server gives no answer. An outage of the one must not
/// make us blind for the other; after this time a credential may have been withdrawn.
const STALE: SignedDuration = SignedDuration::from_mins(10);

pub(super) struct Cache<T> {
    most: usize,
    entries: Mutex<HashMap<ObjectRef, Entry<T>>>,
}

struct Entry<T> {
    read: Timestamp,
    /// When the API server last gave no answer about it.
    silent: Option<Timestamp>,
    doubtful: bool,
    /// `None`: there was no such object.
    value: Option<Arc<T>>,
}

impl<T> Cache<T> {
    /// Returns a cache of at most `most` objects.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            entries: Mutex::default(),
        }
    }

    /// Returns what `cut` takes out of `object`; `None` when there is no such object.
    ///
    /// # Errors
    ///
    /// When the API server refuses, or is silent and nothing that is new enough is kept.
    pub(super) async fn get(
        &self,
        cluster: &dyn Cluster,
        object: &ObjectRef,
        cut: fn(&Value) -> T,
    ) -> Result<Option<Arc<T>>, Error> {
        if let (true, kept) = self.kept(object, cluster.now()) {
            return Ok(kept);
        }
        match cluster.get(object).await {
            Ok(found) => {
                let value = found.as_ref().map(cut).map(Arc::new);
                self.keep(object, value.clone(), cluster.now());
                Ok(value)
            }
            Err(error @ Error::Unavailable { .. }) => {
                self.stale(object, cluster.now()).map(Some).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Has the object `name` read again soon.
    pub(super) fn doubt(&self, name: &str) {
        for (object, entry) in self.lock().iter_mut() {
            entry.doubtful |= object.name == name;
        }
    }

    /// Returns whether what is kept of `object` is new enough, and what it is.
    fn kept(&self, object: &ObjectRef, now: Timestamp) -> (bool, Option<Arc<T>>) {
        let entries = self.lock();
        let Some(entry) = entries.get(object) else {
            return (false, None);
        };
        let doubtful = entry.doubtful || entry.value.is_none();
        let limit = if doubtful { DOUBTFUL } else { FRESH };
        let fresh = now.duration_since(entry.read) <= limit;
        // Each attempt may take as long as the API server is given.
        let tried = entry
            .silent
            .is_some_and(|tried| now.duration_since(tried) <= DOUBTFUL);
        let usable = entry.value.is_some() && now.duration_since(entry.read) <= STALE;
        (fresh || tried && usable, entry.value.clone())
    }

    /// Returns what is kept of `object` after the API server gave no answer at `now`.
    fn stale(&self, object: &ObjectRef, now: Timestamp) -> Option<Arc<T>> {
        let mut entries = self.lock();
        let entry = entries.get_mut(object)?;
        entry.silent = Some(now);
        let usable = now.duration_since(entry.read) <= STALE;
        usable.then(|| entry.value.clone()).flatten()
    }

    fn keep(&self, object: &ObjectRef, value: Option<Arc<T>>, now: Timestamp) {
        let mut entries = self.lock();
        if entries.len() >= self.most && !entries.contains_key(object) {
            entries.retain(|_, entry| now.duration_since(entry.read) <= FRESH);
            // All of them in use: it costs requests, not memory.
            if entries.len() >= self.most {
                entries.clear();
            }
        }
        let entry = Entry {
            read: now,
            silent: None,
            doubtful: false,
            value,
        };
        entries.insert(object.clone(), entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef, Entry<T>>> {
        // A panic elsewhere leaves the map whole: every change is one insertion or assignment.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
