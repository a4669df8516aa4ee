//! Leader election on a Lease, after the algorithm of client-go.
//!
//! A holder that cannot renew stops acting before anybody else may begin: by its own clock, which
//! is never compared with another's. A candidate waits until it has itself seen the Lease unchanged
//! for its whole duration. A writer that wakes up late is harmless all the same, because every
//! patch is guarded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::record::text;
use crate::port::{Cluster, Error, ObjectRef, kinds};

/// How long others wait after the last renewal they saw. client-go's usual value.
const DURATION: SignedDuration = SignedDuration::from_secs(15);
/// A holder that has not renewed for this long stops acting; the rest up to [`DURATION`] is for
/// requests that are under way (a request takes at most its time limit of a few seconds).
const RENEW_DEADLINE: SignedDuration = SignedDuration::from_secs(10);
/// Between two tries. One write each: this is all that is written in steady state.
const RETRY: SignedDuration = SignedDuration::from_secs(2);

/// Which Lease, and who we are.
#[derive(Clone, Debug)]
pub struct Terms {
    pub namespace: String,
    pub name: String,
    pub identity: String,
}

/// The election, as far as this process has seen it.
pub struct Election {
    terms: Terms,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When we last renewed, by our own clock, taken before the request was sent.
    renewed: Option<Timestamp>,
    /// The Lease as it was last seen to change, and when we saw it.
    seen: Option<(String, Timestamp)>,
    now: Option<Arc<dyn Cluster>>,
}

impl Election {
    /// Returns an election in which nothing has happened.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            state: Mutex::default(),
        }
    }

    /// Returns whether this process may write now.
    #[must_use]
    pub fn leads(&self) -> bool {
        let state = self.lock();
        let Some((renewed, clock)) = state.renewed.zip(state.now.as_ref()) else {
            return false;
        };
        clock.now().duration_since(renewed) < RENEW_DEADLINE
    }

    /// Takes part for ever; says `on_change(true)` each time it becomes leader.
    pub async fn run(self: Arc<Self>, cluster: Arc<dyn Cluster>, on_change: impl Fn(bool) + Send) {
        self.lock().now = Some(Arc::clone(&cluster));
        let mut led = false;
        loop {
            let started = cluster.now();
            match self.try_once(cluster.as_ref()).await {
                Ok(true) => self.lock().renewed = Some(started),
                Ok(false) => self.lock().renewed = None,
                Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
            }
            let leads = self.leads();
            if leads != led {
                tracing::info!(leads, "leadership changed");
                on_change(leads);
                led = leads;
            }
            cluster.sleep_until(started + RETRY).await;
        }
    }

    /// Takes or renews the Lease. `Ok(false)`: somebody else holds it.
    async fn try_once(&self, cluster: &dyn Cluster) -> Result<bool, Error> {
        let reference = self.reference();
        let now = cluster.now();
        let Some(lease) = cluster.get(&reference).await? else {
            let created = cluster.create(kinds::LEASES, self.lease(None, now)).await;
            return match created {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let holder = text(&lease, "/spec/holderIdentity").unwrap_or_default();
        if holder != self.terms.identity && !holder.is_empty() && !self.ran_out(&lease, now) {
            return Ok(false);
        }
        match cluster
            .replace(&reference, self.lease(Some(&lease), now))
            .await
        {
            Ok(_) => Ok(true),
            // Where it was ours, somebody wrote an annotation onto it: it still is.
            Err(Error::Conflict { .. }) if holder != self.terms.identity => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether we have seen this very Lease, unchanged, for as long as its holder asked for.
    fn ran_out(&self, lease: &Value, now: Timestamp) -> bool {
        let version = text(lease, "/metadata/resourceVersion").unwrap_or_default();
        let asked = lease
            .pointer("/spec/leaseDurationSeconds")
            .and_then(Value::as_i64)
            .map_or(DURATION, SignedDuration::from_secs);
        let mut state = self.lock();
        match &state.seen {
            Some((seen, since)) if seen == version => now.duration_since(*since) >= asked,
            Some(_) | None => {
                state.seen = Some((version.to_owned(), now));
                false
            }
        }
    }

    /// Gives the Lease up, so that the next leader need not wait. Best effort: it runs out anyway.
    pub async fn release(&self, cluster: &dyn Cluster) {
        if !self.leads() {
            return;
        }
        self.lock().renewed = None;
        let reference = self.reference();
        let Ok(Some(mut lease)) = cluster.get(&reference).await else {
            return;
        };
        if text(&lease, "/spec/holderIdentity") != Some(self.terms.identity.as_str()) {
            return;
        }
        lease["spec"]["holderIdentity"] = json!("");
        if let Err(error) = cluster.replace(&reference, lease).await {
            tracing::warn!(%error, "the lease could not be released");
        }
    }

    fn reference(&self) -> ObjectRef {
        ObjectRef::new(kinds::LEASES, &self.terms.namespace, &self.terms.name)
    }

    fn lease(&self, before: Option<&Value>, now: Timestamp) -> Value {
        let stamp = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let mut lease = before.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": kinds::LEASES.api_version(),
                "kind": kinds::LEASES.kind,
                "metadata": {"namespace": self.terms.namespace, "name": self.terms.name},
                "spec": {},
            })
        });
        let spec = &mut lease["spec"];
        let same = spec.get("holderIdentity") == Some(&json!(self.terms.identity));
        if !same {
            spec["holderIdentity"] = json!(self.terms.identity);
            spec["acquireTime"] = json!(stamp);
            let transitions = spec.get("leaseTransitions").and_then(Value::as_i64);
            spec["leaseTransitions"] = json!(transitions.map_or(0, |count| count + 1));
        }
        spec["leaseDurationSeconds"] = json!(DURATION.as_secs());
        spec["renewTime"] = json!(stamp);
        lease
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
