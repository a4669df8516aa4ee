//! The breaker of the cluster, where it meets the world: counting, and its place on the Lease.
//!
//! Whoever wants to roll back without asking comes through here, one at a time, so that sixteen looks
//! side by side cannot each take the last place.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Controller, Error};
use crate::act;
use crate::api::names;
use crate::api::record::{annotation, annotation_pointer};
use crate::decide::breaker::trips;
use crate::decide::{Storm, Workload};
use crate::port::kinds;

/// What the Lease says about the breaker.
#[derive(Debug, Default)]
struct Noted {
    resource_version: String,
    has_annotations: bool,
    /// The time at which it opened, and why.
    open: Option<(String, String)>,
    /// A person wants it closed, and quotes the time at which it opened.
    reset: Option<String>,
    /// When it was closed the last time: what was before does not count any more.
    closed: Option<Timestamp>,
}

impl Controller {
    /// Returns why a rollback of `workload` needs people to agree because the breaker is open; opens
    /// it where this one would be too many. The caller holds the gate.
    ///
    /// # Errors
    ///
    /// When the API server gives no answer. The caller tries again later: without an answer nobody may
    /// act unasked.
    pub(super) async fn breaker(
        &self,
        namespace: &str,
        workload: &Workload,
    ) -> Result<Option<String>, Error> {
        let noted = self.noted().await?;
        if let Some((opened, why)) = &noted.open {
            let wanted = noted
                .reset
                .as_deref()
                .and_then(|reset| reset.strip_prefix(opened.as_str()));
            if wanted.is_none_or(|rest| !rest.starts_with(':')) {
                return Ok(Some(why.clone()));
            }
            self.note(&noted, &closing(self.eyes.cluster.now())).await?;
            tracing::warn!(reset = noted.reset, "the breaker was reset");
            self.meter.breaker(false);
            return Ok(None);
        }
        let now = self.eyes.cluster.now();
        let window = now.saturating_sub(self.breaker_terms.window);
        let since = window.unwrap_or(Timestamp::MIN);
        let since = noted.closed.map_or(since, |closed| closed.max(since));
        let (rollbacks, bad) = self.eyes.store.storm(since, &workload.uid);
        let watched = u32::try_from(self.lock_summaries().len()).unwrap_or(u32::MAX);
        let storm = Storm {
            rollbacks,
            bad,
            watched,
        };
        let Some(why) = trips(&self.breaker_terms, &storm) else {
            return Ok(None);
        };
        self.note(&noted, &opening(now, &why)).await?;
        tracing::error!(
            why,
            "the breaker opened: every rollback is proposed from now on"
        );
        self.meter.breaker(true);
        act::announce::breaker_opened(&self.hands, namespace, workload, &why).await;
        Ok(Some(why))
    }

    async fn noted(&self) -> Result<Noted, Error> {
        let lease = self.eyes.cluster.get(&self.lease).await;
        let lease = lease.map_err(|source| Error::Act(act::Error::ReadLease { source }))?;
        let Some(lease) = lease else {
            return Ok(Noted::default());
        };
        let open = annotation(&lease, names::BREAKER).map(|value| {
            let (opened, why) = value.split_once(' ').unwrap_or((value, ""));
            (opened.to_owned(), why.to_owned())
        });
        let version = crate::api::record::text(&lease, "/metadata/resourceVersion");
        Ok(Noted {
            resource_version: version.unwrap_or_default().to_owned(),
            has_annotations: lease.pointer("/metadata/annotations").is_some(),
            open,
            reset: annotation(&lease, names::BREAKER_RESET).map(str::to_owned),
            closed: annotation(&lease, names::BREAKER_CLOSED).and_then(|time| time.parse().ok()),
        })
    }

    /// Writes onto the Lease, if it is still the one that was read. Where there is none, nobody leads
    /// by it, and there is nothing that could be remembered.
    async fn note(&self, noted: &Noted, marks: &[(&str, Option<String>)]) -> Result<(), Error> {
        if noted.resource_version.is_empty() {
            return Ok(());
        }
        let mut operations = vec![json!({
            "op": "replace", "path": "/metadata/resourceVersion", "value": noted.resource_version,
        })];
        if !noted.has_annotations {
            operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        for (key, value) in marks {
            let present = match *key {
                names::BREAKER => noted.open.is_some(),
                names::BREAKER_RESET => noted.reset.is_some(),
                _ => noted.closed.is_some(),
            };
            let path = annotation_pointer(key);
            match value {
                Some(value) => {
                    operations.push(json!({"op": "add", "path": path, "value": value}));
                }
                None if present => operations.push(json!({"op": "remove", "path": path})),
                None => (),
            }
        }
        let written = act::annotate_lease(&self.hands, &self.lease, Value::Array(operations)).await;
        written.map_err(Error::Act)
    }
}

fn opening(now: Timestamp, why: &str) -> [(&'static str, Option<String>); 2] {
    [
        (names::BREAKER, Some(format!("{now} {why}"))),
        (names::BREAKER_RESET, None),
    ]
}

fn closing(now: Timestamp) -> [(&'static str, Option<String>); 3] {
    [
        (names::BREAKER, None),
        (names::BREAKER_RESET, None),
        (names::BREAKER_CLOSED, Some(now.to_string())),
    ]
}

/// The Lease of an operator that nobody has named otherwise.
pub(super) fn usual_lease() -> crate::port::ObjectRef {
    crate::port::ObjectRef::new(kinds::LEASES, "astern-system", "astern")
}
