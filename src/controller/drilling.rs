//! What only drills look at, and how many workloads are ready to be rolled back.

use std::sync::{Arc, PoisonError};

use super::{Controller, Error, Summary};
use crate::act::rights;
use crate::api::parse::ParsedPolicy;
use crate::decide::{ConfigMode, Decision, Memory, Mode, Rehearsal, Revision, drill};
use crate::observe;
use crate::observe::cache::Key;
use crate::observe::drills::{no_approver, source_problem};

impl Controller {
    /// Gives a policy that says nothing of drills those of the cluster.
    pub(super) fn with_drills(&self, policy: Arc<ParsedPolicy>) -> Arc<ParsedPolicy> {
        if policy.policy.drill.is_some()
            || self.drills.is_none()
            || policy.policy.mode == Mode::Disabled
        {
            return policy;
        }
        let mut policy = ParsedPolicy::clone(&policy);
        policy.policy.drill.clone_from(&self.drills);
        Arc::new(policy)
    }

    /// Takes the looks that only drills take; none depends on the target. The inspection comes after them,
    /// since a slow metric source would let it go stale.
    ///
    /// # Errors
    ///
    /// When the API server gives no answer. The drill is tried again.
    pub(super) async fn rehearse(
        &self,
        key: &Key,
        policy: &ParsedPolicy,
    ) -> Result<Rehearsal, Error> {
        if let Some(known) = self.rehearsed(key) {
            return Ok(known);
        }
        let namespace = &key.namespace;
        let terms = &policy.policy;
        let copies = terms.config.mode == ConfigMode::Restore;
        // What only observes writes no template, and needs nobody's consent.
        let missing_rights = if terms.mode > Mode::Observe {
            let missing = rights::missing(&self.hands, namespace, copies).await;
            missing.map_err(Error::Act)?
        } else {
            Vec::new()
        };
        let source = source_problem(&self.eyes, self.outside.as_ref(), policy, namespace).await;
        let no_approver = no_approver(&self.eyes, terms.mode, namespace).await;
        let no_approver = no_approver.map_err(|source| {
            Error::Observe(observe::Error::Inspect {
                name: key.name.clone(),
                source,
            })
        })?;
        Ok(Rehearsal {
            missing_rights,
            source,
            no_approver,
        })
    }

    /// Returns what the same drill saw when it looked at another target.
    fn rehearsed(&self, key: &Key) -> Option<Rehearsal> {
        let now = self.eyes.cluster.now();
        let volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = volatile.get(key)?.inspections.iter();
        let fresh = known.find(|known| known.rehearsal.is_some() && known.is_fresh(now));
        fresh?.rehearsal.clone()
    }

    /// Adds them to the inspection of `to`.
    pub(super) fn add_rehearsal(&self, key: &Key, to: &Revision, rehearsal: Rehearsal) {
        let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut volatile.entry(key.clone()).or_default().inspections;
        if let Some(inspection) = known.iter_mut().find(|known| known.to == *to) {
            inspection.rehearsal = Some(rehearsal);
        }
    }

    /// Counts a drill that was just written down.
    pub(super) fn count_drill(&self, before: &Memory, decision: &Decision) {
        let done = drill::last(&decision.memory);
        if let Some(done) = done.filter(|_| done != drill::last(before)) {
            tracing::info!(
                outcome = done.outcome.name(),
                detail = done.detail,
                "drilled"
            );
            self.meter.drilled(done.outcome.name());
        }
    }

    /// Keeps count of the workloads by the outcome of their last drill.
    pub(super) fn count_ready(&self, before: Option<&Summary>, after: Option<&Summary>) {
        let outcome = |summary: Option<&Summary>| {
            let drills = summary?.target.drills.as_ref()?;
            Some(
                drills
                    .as_ref()
                    .map_or(NEVER, |drilled| drilled.outcome.name()),
            )
        };
        let (before, after) = (outcome(before), outcome(after));
        if before != after {
            self.meter.ready(before, after);
        }
    }
}

/// Instead of an outcome, until the first drill.
const NEVER: &str = "NeverDrilled";
