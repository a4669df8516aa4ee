//! What the process knows of the GitOps reconciler of a workload.

use std::sync::PoisonError;

use super::{Controller, Error};
use crate::act::{self, pauses};
use crate::observe::Look;
use crate::observe::cache::Key;
use crate::observe::inspect::look_at_reconciler;

impl Controller {
    /// Looks at the reconciler alone, and keeps what was seen for the next decision.
    pub(super) async fn look_at_reconciler(&self, key: &Key, look: &Look) -> Result<(), Error> {
        // With the config that it runs with, as `decide` names it.
        let current = &look.observed.workload.template;
        let seen = look_at_reconciler(&self.eyes, &look.deployment, current).await;
        let seen = seen.map_err(Error::Observe)?;
        let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        volatile.entry(key.clone()).or_default().reconciler = Some(seen);
        Ok(())
    }

    /// That an Application cannot be switched off is a fact to decide on, at the next look.
    pub(super) fn told_pause(&self, key: &Key, result: &Result<(), Error>) {
        let told = matches!(
            result,
            Err(Error::Act(act::Error::Pause(
                pauses::Error::NotSupported { .. }
            )))
        );
        if told {
            let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
            let volatile = volatile.entry(key.clone()).or_default();
            volatile.cannot_pause = true;
            volatile.inspections.clear();
        }
    }
}
