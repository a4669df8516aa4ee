//! Runs observe, decide, act for every workload, one at a time each.
//!
//! Holds no logic of its own: what to do is said in [`crate::decide`]. It knows only whom to look at
//! again, and when. Why this is not `kube::runtime::Controller`: `docs/adr/0003`.

mod breaker;
mod drilling;
mod finding;
mod policies;
mod queue;
mod reconcile;
mod reconciler;
mod watches;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::queue::Queue;
use crate::act::{self, Hands};
use crate::api::render::policy::Target;
use crate::decide::{BreakerTerms, DrillTerms};
use crate::observe::cache::Key;
use crate::observe::{self, Eyes, Volatile};
use crate::port::{ObjectRef, Outside};

/// How many workloads are looked at side by side. Each look may wait for the API server, and the
/// server's own limit per user is ten times this.
const CONCURRENCY_MAX: usize = 16;

/// How long to wait for the ConfigMaps of a large cluster before going on without them.
const CONFIG_PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// Between two failures of one workload: doubled from the first to the last.
const BACK_OFF_FIRST: SignedDuration = SignedDuration::from_millis(500);
const BACK_OFF_LAST: SignedDuration = SignedDuration::from_secs(60);

/// Why a workload could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to observe")]
    Observe(#[source] observe::Error),
    #[error("failed to act")]
    Act(#[source] act::Error),
    #[error("a bug made the look at this workload stop")]
    Panicked,
}

/// What is looked at: a Deployment, or the status of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    Workload(Key),
    Policy(Key),
}

/// What the last look at a workload said, for the status of its policy and for metrics.
#[derive(Clone, Debug)]
pub struct Summary {
    pub policy: Key,
    pub target: Target,
}

/// Counts what the process does, for its metrics.
pub trait Meter: Send + Sync {
    /// A look at a workload led to this reason.
    fn decided(&self, reason: &'static str);
    /// An incident reached this state.
    fn reached(&self, state: &'static str);
    /// A drill ended so.
    fn drilled(&self, outcome: &'static str);
    /// A workload that drills are asked for goes from one outcome of its last drill to another.
    fn ready(&self, before: Option<&'static str>, after: Option<&'static str>);
    /// A look failed.
    fn failed(&self);
    /// The breaker opened or was reset.
    fn breaker(&self, open: bool);
}

/// Everything the loop needs.
pub struct Controller {
    pub eyes: Eyes,
    pub hands: Hands,
    pub outside: Arc<dyn Outside>,
    /// Namespaces to work in; empty for all.
    pub namespaces: Vec<String>,
    pub meter: Arc<dyn Meter>,
    /// When the breaker of the cluster opens.
    pub breaker_terms: BreakerTerms,
    /// The drills of policies that say nothing of them.
    pub drills: Option<DrillTerms>,
    /// Where the breaker is remembered.
    pub lease: ObjectRef,
    /// Makes the codes that approvals quote.
    pub fresh_code: Box<dyn Fn() -> String + Send + Sync>,
    queue: Queue<Work>,
    volatile: Mutex<HashMap<Key, Volatile>>,
    failures: Mutex<HashMap<Work, u32>>,
    summaries: Mutex<HashMap<Key, Summary>>,
    pods: watches::PodWatches,
    /// Held by whoever is about to roll back without asking, until that is on record.
    gate: tokio::sync::Mutex<()>,
}

impl Controller {
    /// Returns a controller that has not looked at anything yet.
    #[must_use]
    pub fn new(
        eyes: Eyes,
        hands: Hands,
        outside: Arc<dyn Outside>,
        meter: Arc<dyn Meter>,
        fresh_code: Box<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        Self {
            eyes,
            hands,
            outside,
            namespaces: Vec::new(),
            meter,
            breaker_terms: BreakerTerms::default(),
            drills: None,
            lease: breaker::usual_lease(),
            fresh_code,
            queue: Queue::default(),
            volatile: Mutex::default(),
            failures: Mutex::default(),
            summaries: Mutex::default(),
            pods: watches::PodWatches::default(),
            gate: tokio::sync::Mutex::default(),
        }
    }

    /// Looks after all workloads until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let _end = EndPodWatches(&self.pods);
        let mut background = JoinSet::new();
        self.start_watches(&mut background);
        let (news, mut arrived) = mpsc::channel(64);
        background.spawn(Arc::clone(&self.eyes.feeds).run(
            Arc::clone(&self.eyes.cluster),
            Arc::clone(&self.outside),
            Arc::clone(&self.eyes.sources),
            news,
        ));
        let started = self.eyes.cluster.now();
        let mut looks: JoinSet<(Work, Option<SignedDuration>)> = JoinSet::new();
        loop {
            let now = self.eyes.cluster.now();
            // Without the right to read ConfigMaps they never come, and everything else still counts.
            let config =
                self.eyes.config.is_complete() || now.duration_since(started) >= CONFIG_PATIENCE;
            let ready = config && self.eyes.store.is_complete() && (self.hands.leads)();
            let room = if ready {
                CONCURRENCY_MAX.saturating_sub(looks.len())
            } else {
                0
            };
            for work in self.queue.take_due(now, room) {
                looks.spawn(Arc::clone(&self).look(work));
            }
            let mut next = self.queue.next_due(now, room > 0);
            if !config {
                next = next.min(later(started, CONFIG_PATIENCE));
            }
            tokio::select! {
                Some(done) = looks.join_next(), if !looks.is_empty() => self.looked(done),
                Some(namespaces) = arrived.recv() => self.metrics_arrived(&namespaces),
                () = self.eyes.cluster.sleep_until(next) => (),
                () = self.queue.changed() => (),
            }
        }
    }

    /// Looks at everything anew. For a process that has just become leader.
    pub fn look_at_all(&self) {
        let now = self.eyes.cluster.now();
        for work in self.known_work() {
            self.queue.add(work, now);
        }
    }

    async fn look(self: Arc<Self>, work: Work) -> (Work, Option<SignedDuration>) {
        let look = std::panic::AssertUnwindSafe(self.look_once(&work)).catch_unwind();
        let result = look.await.unwrap_or(Err(Error::Panicked));
        let again = match result {
            Ok(again) => {
                self.lock_failures().remove(&work);
                again
            }
            Err(error) => Some(self.after_failure(&work, &error)),
        };
        (work, again)
    }

    async fn look_once(&self, work: &Work) -> Result<Option<SignedDuration>, Error> {
        match work {
            Work::Workload(key) => self.reconcile(key).await,
            Work::Policy(key) => self.report(key).await,
        }
    }

    fn looked(&self, done: Result<(Work, Option<SignedDuration>), tokio::task::JoinError>) {
        // A look catches its own panics, so only the end of the process cancels one.
        let Ok((work, again)) = done else { return };
        self.queue.finish(&work);
        if let Some(again) = again {
            let due = later(self.eyes.cluster.now(), again);
            self.queue.add(work, due);
        }
    }

    /// Says when to try again, by what failed.
    fn after_failure(&self, work: &Work, error: &Error) -> SignedDuration {
        match error {
            // Somebody was faster. What they did is there to be seen.
            Error::Act(act::Error::Changed { .. }) => return SignedDuration::ZERO,
            // The watch needs a moment, or the same conflict comes back.
            Error::Act(act::Error::Stale { .. }) => return BACK_OFF_FIRST,
            Error::Act(act::Error::NotLeading) => return SignedDuration::from_secs(1),
            Error::Act(
                act::Error::MissingRecord { .. }
                | act::Error::Refused { .. }
                | act::Error::KeepConfig { .. }
                | act::Error::Pause(_)
                | act::Error::ReadLease { .. }
                | act::Error::WriteLease { .. }
                | act::Error::ReviewAccess { .. }
                | act::Error::GetDeployment { .. }
                | act::Error::PatchDeployment { .. }
                | act::Error::GetRevision { .. }
                | act::Error::WriteRevision { .. }
                | act::Error::WriteRollback { .. }
                | act::Error::WritePolicyStatus { .. },
            )
            | Error::Observe(_)
            | Error::Panicked => (),
        }
        self.meter.failed();
        let mut failures = self.lock_failures();
        let count = failures.entry(work.clone()).or_insert(0);
        *count = count.saturating_add(1);
        let wait = back_off(*count);
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(?work, %error, ?source, failures = *count, ?wait, "trying again later");
        wait
    }

    fn lock_failures(&self) -> std::sync::MutexGuard<'_, HashMap<Work, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_summaries(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Summary>> {
        self.summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the watches on pods when the loop is dropped.
struct EndPodWatches<'a>(&'a watches::PodWatches);

impl Drop for EndPodWatches<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn back_off(failures: u32) -> SignedDuration {
    let doublings = failures.saturating_sub(1).min(7);
    (BACK_OFF_FIRST * (1 << doublings)).min(BACK_OFF_LAST)
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_a_minute() {
        let waits: Vec<_> = (1..=9).map(|n| back_off(n).as_millis()).collect();
        assert_eq!(
            waits,
            [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
        );
    }
}
