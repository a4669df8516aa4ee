//! Takes the looks that are for people: what is wrong with a revision, and where its traffic leads.
//!
//! When they are taken is said in [`crate::decide`]. Each ends in time, and each leaves an answer, so
//! that nobody asks again and again.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::PoisonError;

use futures::future::{Either, select};
use jiff::SignedDuration;

use super::{Controller, Error, later};
use crate::decide::diagnosis::Finding;
use crate::decide::traffic::{Traffic, Unseen, UnseenCause};
use crate::decide::{Decision, Diagnosed, Effect, Followed, Revision};
use crate::observe::cache::Key;
use crate::observe::diagnosis::{self, diagnose};
use crate::observe::traffic::{self, traffic};
use crate::observe::{Look, Volatile};
use crate::port::kinds;

/// For about ten requests, each of which takes tens of milliseconds, and longer where the API server is
/// busy. The state of an incident is written a little later meanwhile, never its patch.
const DIAGNOSIS_LIMIT: SignedDuration = SignedDuration::from_secs(5);

/// For about six requests. Nothing but the end of an incident waits for it.
const TRAFFIC_LIMIT: SignedDuration = SignedDuration::from_secs(5);

/// Revisions of one workload about which something may be asked in one incident, and one more.
const DIAGNOSED_MAX: usize = 3;

impl Controller {
    /// Carries out `acting`, and beside it looks for what is wrong where `decision` asks for it.
    ///
    /// The look never keeps the writes waiting, and where they fail, it does not keep the next try
    /// waiting either.
    pub(super) async fn beside(
        &self,
        key: &Key,
        decision: &Decision,
        acting: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let wanted = decision.effects.iter().find_map(|effect| match effect {
            Effect::Diagnose {
                revision,
                replica_set,
            } => Some((revision, replica_set.as_str())),
            Effect::RollBack { .. }
            | Effect::RestoreOwnership { .. }
            | Effect::PauseRollout { .. }
            | Effect::ResumeRollout
            | Effect::Unpin
            | Effect::Forget { .. }
            | Effect::Inspect { .. }
            | Effect::Drill { .. }
            | Effect::KeepConfig { .. }
            | Effect::LookAtReconciler
            | Effect::LiftPause { .. }
            | Effect::FollowTraffic { .. }
            | Effect::Decline { .. }
            | Effect::Announce(_) => None,
        });
        let Some((revision, replica_set)) = wanted else {
            return acting.await;
        };
        let looking = pin!(self.diagnose(key, revision, replica_set));
        match select(pin!(acting), looking).await {
            Either::Left((Ok(()), looking)) => looking.await,
            Either::Left((Err(error), _)) => return Err(error),
            Either::Right(((), acting)) => return acting.await,
        }
        Ok(())
    }

    async fn diagnose(&self, key: &Key, revision: &Revision, replica_set: &str) {
        let asked = diagnosis::Asked {
            namespace: &key.namespace,
            deployment: &key.name,
            replica_set: Some(replica_set),
        };
        let looking = diagnose(&*self.eyes.cluster, &asked);
        let findings = self.within(DIAGNOSIS_LIMIT, looking).await;
        let findings = findings.unwrap_or_else(|| vec![not_in_time()]);
        tracing::info!(?key, revision = revision.short(), ?findings, "diagnosed");
        let answer = Diagnosed {
            at: self.eyes.cluster.now(),
            revision: revision.clone(),
            findings,
        };
        self.keep(key, |volatile| {
            let known = &mut volatile.diagnosed;
            known.retain(|known| known.revision != answer.revision);
            known.push(answer);
            if known.len() > DIAGNOSED_MAX {
                known.remove(0);
            }
        });
    }

    /// Looks where the traffic leads, where `decision` asks for it.
    pub(super) async fn follow_traffic(&self, key: &Key, look: &Look, decision: &Decision) {
        for effect in &decision.effects {
            if let Effect::FollowTraffic { from, to } = effect {
                let labels = look.observed.facts.get(from).map(|facts| &facts.labels);
                let traffic = self.traffic(look, labels).await;
                tracing::info!(?key, to = to.short(), ?traffic, "followed the traffic");
                let answer = Followed {
                    at: self.eyes.cluster.now(),
                    to: to.clone(),
                    traffic,
                };
                self.keep(key, |volatile| volatile.followed = Some(answer));
            }
        }
    }

    async fn traffic(&self, look: &Look, bad_labels: Option<&BTreeMap<String, String>>) -> Traffic {
        let Some(restored) = self.eyes.store.replica_set(&look.deployment) else {
            return unanswered("get", "replicasets.apps");
        };
        let asked = traffic::Asked {
            deployment: &look.deployment,
            restored: &restored,
            bad_labels,
        };
        let looking = traffic(&*self.eyes.cluster, &asked);
        let seen = self.within(TRAFFIC_LIMIT, looking).await;
        seen.unwrap_or_else(|| unanswered("list", kinds::SERVICES.plural))
    }

    /// Returns what `work` leads to, or `None` where it takes longer than `limit`.
    async fn within<T>(&self, limit: SignedDuration, work: impl Future<Output = T>) -> Option<T> {
        let cluster = &self.eyes.cluster;
        let end = cluster.sleep_until(later(cluster.now(), limit));
        match select(pin!(work), end).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    fn keep(&self, key: &Key, change: impl FnOnce(&mut Volatile)) {
        let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        change(volatile.entry(key.clone()).or_default());
    }
}

fn not_in_time() -> Finding {
    Finding {
        about: "astern".to_owned(),
        saw: format!("no diagnosis: the API server took longer than {DIAGNOSIS_LIMIT:#}"),
        attempt: "look by hand: kubectl get events, kubectl describe pods".to_owned(),
    }
}

fn unanswered(verb: &'static str, resource: &str) -> Traffic {
    Traffic {
        unseen: vec![Unseen {
            verb,
            resource: resource.to_owned(),
            cause: UnseenCause::NoAnswer,
        }],
        ..Traffic::default()
    }
}
