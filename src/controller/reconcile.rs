//! One look at one workload: observe, decide, record, act, say when to look again.

use std::sync::PoisonError;

use jiff::SignedDuration;

use super::policies::{REPORT_ACTING_AFTER, without_policy};
use super::{Controller, Error, Summary, Work};
use crate::act::{self, Scene, Written};
use crate::api::parse::ParsedPolicy;
use crate::api::record::rollback::{self, Both};
use crate::api::render::policy::Target;
use crate::decide::restoring::restoration;
use crate::decide::{
    Announcement, Attention, ConfigUses, Decision, Effect, Policy, Reason, Revision, State,
    Verdict, decide, drill, gone,
};
use crate::observe::attachment::{Attachment, attachment};
use crate::observe::cache::Key;
use crate::observe::inspect::inspect;
use crate::observe::{Look, Volatile, observe};
use crate::port::kinds;

impl Controller {
    /// Observes, decides, records, acts. Returns when to look again.
    ///
    /// # Errors
    ///
    /// When the API server can be neither read nor written, or was faster.
    /// [`Controller::after_failure`] decides what follows.
    pub(super) async fn reconcile(&self, key: &Key) -> Result<Option<SignedDuration>, Error> {
        self.close_orphans(key).await?;
        let Some((policy_key, policy)) = self.governing(key).await else {
            self.forget(key);
            return Ok(None);
        };
        let policy = self.with_drills(policy);
        let volatile = self.volatile(key);
        let look = observe(&self.eyes, key, &policy, &volatile, (self.fresh_code)()).await;
        let Some(mut look) = look.map_err(Error::Observe)? else {
            return Ok(None);
        };
        let judging = look.observed.attention(&policy.policy) == Attention::Close;
        self.pods.want(self, &key.namespace, judging);

        let now = self.eyes.cluster.now();
        let mut decision = decide(&look.observed, &policy.policy, now);
        let mut gate = None;
        if acts_unasked(&look, &decision) {
            gate = Some(self.gate.lock().await);
            let workload = &look.observed.workload;
            if let Some(why) = self.breaker(&key.namespace, workload).await? {
                look.observed.breaker = Some(why);
                decision = decide(&look.observed, &policy.policy, now);
            }
        }
        tracing::debug!(?key, observed = ?look.observed, ?decision, "decided");
        self.meter.decided(decision.reason.name());

        self.remember(
            key,
            Volatile {
                passing_since: decision.passing_since,
                refusal: None,
                config: look.observed.config.clone().zip(look.observed.config_since),
                ..volatile
            },
        );
        let acting = self.act(key, &look, &policy.policy, &decision);
        let result = self.beside(key, &decision, acting).await;
        drop(gate);
        self.summarize(key, &policy_key, &look, &decision);
        self.told_refusal(key, &result);
        self.told_pause(key, &result);
        result?;
        self.count_drill(&look.observed.memory, &decision);
        for effect in &decision.effects {
            if let Effect::Inspect { from, to } = effect {
                self.inspect(key, &look, &policy.policy, (from, to)).await?;
            }
            if *effect == Effect::LookAtReconciler {
                self.look_at_reconciler(key, &look).await?;
            }
            if let Effect::Drill { from, to } = effect {
                let rehearsal = self.rehearse(key, &policy).await?;
                self.inspect(key, &look, &policy.policy, (from, to)).await?;
                self.add_rehearsal(key, to, rehearsal);
            }
        }
        self.follow_traffic(key, &look, &decision).await;
        Ok(decision.look_again)
    }

    /// Takes the costly looks, and keeps what they tell for the next decision.
    async fn inspect(
        &self,
        key: &Key,
        look: &Look,
        policy: &Policy,
        way: (&Revision, &Revision),
    ) -> Result<(), Error> {
        let target = look.remembered.revisions.get(way.1).map(AsRef::as_ref);
        let scene = scene(key, look);
        let (inspection, refused) = futures::join!(
            inspect(&self.eyes, &look.deployment, way, target),
            act::rehearse(&self.hands, &scene, way),
        );
        let mut inspection = inspection.map_err(Error::Observe)?;
        inspection.refused = refused.map_err(Error::Act)?;
        inspection.repoint =
            restoration(&look.observed, policy, way.1, &inspection.secrets).repoint;
        if !inspection.repoint.is_empty() {
            let config = target.map(|record| &record.memory.config);
            let restored =
                act::with_copies(&self.hands, &scene, way.1, &inspection.repoint, config);
            inspection.restored = Some(restored.await.map_err(Error::Act)?);
        }
        let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        let volatile = volatile.entry(key.clone()).or_default();
        inspection.may_pause_applications &= !volatile.cannot_pause;
        let known = &mut volatile.inspections;
        known.retain(|known| known.to != inspection.to);
        known.push(inspection);
        if known.len() > INSPECTIONS_MAX {
            known.remove(0);
        }
        Ok(())
    }

    /// Records before acting: after a crash in between, the next look finishes the work.
    async fn act(
        &self,
        key: &Key,
        look: &Look,
        policy: &Policy,
        decision: &Decision,
    ) -> Result<(), Error> {
        let mut written = Vec::new();
        let result = self
            .write((key, policy), look, decision, &mut written)
            .await;
        // What was written is seen at once, also where a later write failed.
        for (kind, object) in &written {
            self.eyes.store.wrote(*kind, object);
        }
        result.map_err(Error::Act)
    }

    async fn write(
        &self,
        (key, policy): (&Key, &Policy),
        look: &Look,
        decision: &Decision,
        written: &mut Vec<Written>,
    ) -> Result<(), act::Error> {
        let scene = scene(key, look);
        act::record::record(&self.hands, &scene, &decision.memory, written).await?;
        self.note_change_of_state(key, look, decision);
        // Events name the record by its UID, which a new one has only now.
        let recorded = written
            .iter()
            .rev()
            .find(|(kind, _)| *kind == kinds::ROLLBACKS)
            .and_then(|(_, object)| rollback::read(object));
        let scene = Scene {
            open: recorded.as_ref().or(scene.open),
            ..scene
        };
        let incident = decision.memory.incident.as_ref();
        for effect in &decision.effects {
            if let Effect::KeepConfig { revision } = effect {
                let kept = act::keep_config(&self.hands, &scene, revision, policy).await?;
                for object in &kept {
                    self.eyes.config.wrote(object);
                }
                continue;
            }
            let done = act::carry_out(&self.hands, &scene, effect, incident).await?;
            if !effect.is_look() && !matches!(effect, Effect::Announce(_)) {
                tracing::info!(?key, ?effect, "carried out");
            }
            written.extend(done);
        }
        for record in &look.remembered.untidy {
            written.push(act::record::tidy(&self.hands, record).await?);
        }
        Ok(())
    }

    fn note_change_of_state(&self, key: &Key, look: &Look, decision: &Decision) {
        let before = look.observed.memory.incident.as_ref().map(|i| i.state);
        let Some(incident) = &decision.memory.incident else {
            return;
        };
        if before == Some(incident.state) {
            return;
        }
        self.meter.reached(incident.state.name());
        tracing::info!(
            ?key,
            rollback = incident.name(&look.observed.workload),
            state = incident.state.name(),
            from = incident.from.short(),
            to = incident.to.short(),
            trigger = incident.trigger,
            evidence = incident.evidence,
            "the incident changed its state"
        );
    }

    /// Returns the policy that holds. An incident that is open is brought to its end even where the
    /// policy has gone meanwhile.
    async fn governing(&self, key: &Key) -> Option<(Key, std::sync::Arc<ParsedPolicy>)> {
        let deployment = self.eyes.store.deployment(key)?;
        let policies = self.eyes.store.policies_in(&key.namespace);
        match attachment(&deployment, &policies) {
            Attachment::Policy(policy_key, policy) => return Some((policy_key, policy)),
            Attachment::Missing(name) => {
                let workload = deployment.workload(None);
                act::announce::missing_policy(&self.hands, &key.namespace, &workload, &name).await;
            }
            Attachment::OptedOut => {
                let workload = deployment.workload(None);
                act::announce::opted_out(&self.hands, &key.namespace, &workload).await;
            }
            Attachment::Nothing => (),
        }
        let remembered = self.eyes.store.remembered(&deployment);
        let unfinished = remembered.open.is_some()
            || !remembered.requests.is_empty()
            || deployment.is_paused_by_us();
        unfinished.then(|| (key.clone(), std::sync::Arc::new(without_policy(key))))
    }

    /// Ends the incidents of Deployments that are gone, or were made anew under the same name.
    async fn close_orphans(&self, key: &Key) -> Result<(), Error> {
        let uid = self.eyes.store.deployment(key).map(|d| d.uid.clone());
        if uid.is_none() {
            for request in self.eyes.store.requests_for(key) {
                let outcome = format!("there is no Deployment {:?} in this namespace", key.name);
                let written = act::record::decline(&self.hands, &request, &outcome).await;
                let (kind, object) = written.map_err(Error::Act)?;
                self.eyes.store.wrote(kind, &object);
            }
        }
        let orphans = self.eyes.store.orphaned_incidents(key, uid.as_deref());
        for record in orphans {
            let Some(incident) = &record.incident else {
                continue;
            };
            let now = self.eyes.cluster.now();
            let closed = gone(incident, now);
            let both = Both {
                namespace: key.namespace.clone(),
                ..Both::default()
            };
            let workload = record.workload();
            let status = rollback::status(&closed, &workload, &both, &record.status, now);
            let written = act::record::close_orphan(&self.hands, &record, status).await;
            let (kind, object) = written.map_err(Error::Act)?;
            self.eyes.store.wrote(kind, &object);
        }
        Ok(())
    }

    fn summarize(&self, key: &Key, policy: &Key, look: &Look, decision: &Decision) {
        let workload = &look.observed.workload;
        let memory = decision.memory.revisions.get(&workload.template);
        let last_rollback = decision
            .memory
            .incident
            .as_ref()
            .map(|incident| incident.name(workload))
            .or_else(|| look.remembered.last.clone());
        let target = Target {
            name: workload.name.clone(),
            revision: workload.template.clone(),
            verdict: memory.map(|memory| memory.verdict),
            proof: memory.and_then(|memory| memory.proof),
            reason: decision.reason.clone(),
            held: decision.effects.iter().find_map(|effect| {
                if let Effect::Announce(Announcement::Held(held)) = effect {
                    Some(held.clone())
                } else {
                    None
                }
            }),
            readings: decision.readings.clone(),
            passed: memory
                .map(|memory| memory.passed.iter().cloned().collect())
                .unwrap_or_default(),
            judging: memory.is_none_or(|memory| memory.verdict != Verdict::Good),
            last_rollback,
            drills: look
                .observed
                .drills
                .map(|_| drill::last(&decision.memory).cloned()),
        };
        let summary = Summary {
            policy: policy.clone(),
            target,
        };
        let mut summaries = self.lock_summaries();
        let known = summaries.get(key).map(|known| &known.policy);
        if known == Some(policy) && self.changes_soon(decision) {
            drop(summaries);
            self.report_later(policy);
            return;
        }
        let before = summaries.insert(key.clone(), summary);
        self.count_ready(before.as_ref(), summaries.get(key));
        drop(summaries);
        self.report_soon(policy);
    }

    /// Whether the next look is due at once, or a rollback has just begun: its Rollback says how it goes
    /// on, and readings come and go while pods do.
    fn changes_soon(&self, decision: &Decision) -> bool {
        let acting = matches!(
            decision.reason,
            Reason::Incident(State::RollingBack | State::Verifying)
        );
        let incident = decision.memory.incident.as_ref().filter(|_| acting);
        let began = incident.and_then(|incident| incident.timings.decided);
        let now = self.eyes.cluster.now();
        decision.look_again == Some(SignedDuration::ZERO)
            || began.is_some_and(|began| now.duration_since(began) < REPORT_ACTING_AFTER)
    }

    fn forget(&self, key: &Key) {
        let gone = self.lock_summaries().remove(key);
        if let Some(summary) = gone {
            self.count_ready(Some(&summary), None);
            self.report_soon(&summary.policy);
        }
        self.volatile
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.eyes.config.reads(key, &ConfigUses::new());
        if self.eyes.store.deployment(key).is_none() {
            self.eyes.store.forget(key);
            self.lock_failures().remove(&Work::Workload(key.clone()));
        }
    }

    fn volatile(&self, key: &Key) -> Volatile {
        let volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        volatile.get(key).cloned().unwrap_or_default()
    }

    fn remember(&self, key: &Key, new: Volatile) {
        let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        volatile.insert(key.clone(), new);
    }

    /// A refusal is a fact to decide on, at the next look.
    fn told_refusal(&self, key: &Key, result: &Result<(), Error>) {
        if let Err(Error::Act(act::Error::Refused { message, .. })) = result {
            let refusal = Some(message.clone());
            let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
            volatile.entry(key.clone()).or_default().refusal = refusal;
        }
    }
}

/// More candidates than a plan looks at.
const INSPECTIONS_MAX: usize = 8;

fn scene<'a>(key: &'a Key, look: &'a Look) -> Scene<'a> {
    Scene {
        namespace: &key.namespace,
        workload: &look.observed.workload,
        revisions: &look.remembered.revisions,
        open: look.remembered.open.as_deref(),
        template: &look.deployment.template,
        requests: &look.remembered.requests,
    }
}

/// Whether this decision is the one to roll back without anybody's consent.
fn acts_unasked(look: &Look, decision: &Decision) -> bool {
    let before = look.observed.memory.incident.as_ref().map(|i| i.state);
    decision.memory.incident.as_ref().is_some_and(|incident| {
        incident.state == State::RollingBack
            && before != Some(State::RollingBack)
            && incident.was_decided_unasked()
    })
}
