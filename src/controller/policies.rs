//! The status of a policy: what it guards, and what is missing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Controller, Error, Work, later};
use crate::act;
use crate::api::parse::{ParsedPolicy, Targets};
use crate::api::render::policy::{self, Target};
use crate::decide::gitops::OnRollback;
use crate::decide::{
    ApprovalTerms, Budget, ConfigMode, ConfigTerms, Enforcement, Mode, OnTimeout, Policy,
    QuarantineTerms, RollbackTerms,
};
use crate::observe::cache::Key;
use crate::port::{ObjectRef, kinds};

/// Looks come in bursts, one status serves them all. A reading that comes and goes costs no more
/// than one write in this time.
const REPORT_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A rollback that takes longer than this is told in the status of its policy before it is over. Most
/// take less, and cost one status.
pub(super) const REPORT_ACTING_AFTER: SignedDuration = SignedDuration::from_secs(30);

impl Controller {
    /// Puts a status off that was to be written soon.
    pub(super) fn report_later(&self, policy: &Key) {
        let due = later(self.eyes.cluster.now(), REPORT_ACTING_AFTER);
        self.queue.put_off(&Work::Policy(policy.clone()), due);
    }

    /// Writes the status of a policy a little later, once for many changes.
    pub(super) fn report_soon(&self, policy: &Key) {
        let due = later(self.eyes.cluster.now(), REPORT_AFTER);
        self.queue.add(Work::Policy(policy.clone()), due);
    }

    /// Writes the status of a policy if it differs from what is there.
    ///
    /// # Errors
    ///
    /// When the API server did not take it.
    pub(super) async fn report(&self, key: &Key) -> Result<Option<SignedDuration>, Error> {
        let Some(object) = self.eyes.store.policy(key) else {
            return Ok(None);
        };
        let targets: Vec<Target> = self
            .lock_summaries()
            .values()
            .filter(|summary| summary.policy == *key)
            .map(|summary| summary.target.clone())
            .collect();
        let now = self.eyes.cluster.now();
        let parsed = object.parsed.as_deref().map_err(Vec::as_slice);
        let status = policy::status(object.generation, parsed, targets, &object.status, now);
        if status == object.status {
            return Ok(None);
        }
        let reference = ObjectRef::new(kinds::ROLLBACK_POLICIES, &key.namespace, &key.name);
        let written =
            act::record::policy_status(&self.hands, &reference, &object.resource_version, status)
                .await;
        let (kind, object) = written.map_err(Error::Act)?;
        self.eyes.store.wrote(kind, &object);
        Ok(None)
    }
}

/// What holds for an incident whose policy has gone: its own terms, and nothing new.
pub(super) fn without_policy(key: &Key) -> ParsedPolicy {
    ParsedPolicy {
        namespace: key.namespace.clone(),
        name: String::new(),
        uid: String::new(),
        generation: 0,
        created: Timestamp::MAX,
        targets: Targets::ByAnnotation,
        metric_source: String::new(),
        policy: Policy {
            name: String::new(),
            mode: Mode::Disabled,
            probation: SignedDuration::ZERO,
            triggers: Vec::new(),
            approval: ApprovalTerms {
                required: 1,
                timeout: SignedDuration::ZERO,
                on_timeout: OnTimeout::Escalate,
                service_accounts: Vec::new(),
            },
            pause_rollout: false,
            rollback: RollbackTerms {
                deadline: SignedDuration::ZERO,
                recovery: SignedDuration::ZERO,
            },
            after_probation: Mode::Disabled,
            budget: Budget {
                count: 1,
                per: SignedDuration::ZERO,
            },
            persistent_volumes: Mode::Automatic,
            config: ConfigTerms {
                mode: ConfigMode::Ignore,
                exclude: BTreeSet::new(),
            },
            quarantine: QuarantineTerms {
                lasting: SignedDuration::ZERO,
                enforcement: Enforcement::Disabled,
            },
            on_rollback: OnRollback::Auto,
            drill: None,
        },
    }
}
