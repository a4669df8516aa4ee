//! How many pods each replica set of a Deployment may have: the arithmetic of a rolling update.

use serde_json::Value;

use super::deployments::{DESIRED, Deployment, MAXIMUM, ReplicaSet, Revisions, set_annotation};
use super::fields::{number, set, text};
use super::server::Part;
use super::world::World;

/// What a Deployment says about the number of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) replicas: i64,
    pub(super) surge: i64,
    pub(super) unavailable: i64,
    pub(super) recreate: bool,
}

impl Limits {
    pub(super) fn of(deployment: &Value) -> Self {
        let replicas = number(deployment, "/spec/replicas");
        if text(deployment, "/spec/strategy/type") == "Recreate" {
            return Self {
                replicas,
                surge: 0,
                unavailable: replicas,
                recreate: true,
            };
        }
        let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
        let surge = share(&rolling["maxSurge"], replicas, true);
        let unavailable = share(&rolling["maxUnavailable"], replicas, false);
        Self {
            replicas,
            surge,
            // Both zero would never move.
            unavailable: if surge == 0 && unavailable == 0 {
                1
            } else {
                unavailable.min(replicas)
            },
            recreate: false,
        }
    }

    fn minimum_available(&self) -> i64 {
        self.replicas - self.unavailable
    }

    /// Returns how many pods the current replica set may have now that it has `current`.
    pub(super) fn new_replicas(&self, old: &[ReplicaSet], current: i64) -> i64 {
        if self.recreate {
            return self.replicas;
        }
        let total = old.iter().map(ReplicaSet::replicas).sum::<i64>() + current;
        let room = self.replicas + self.surge - total;
        current + room.min(self.replicas - current).max(0)
    }

    /// Says whether somebody scaled the Deployment since its replica sets were last written.
    pub(super) fn were_changed_since(&self, sets: &[ReplicaSet]) -> bool {
        sets.iter().filter(|set| set.replicas() > 0).any(|set| {
            match set.annotation(DESIRED).parse::<i64>() {
                Ok(desired) => desired != self.replicas,
                Err(_) => false,
            }
        })
    }

    /// Writes on a replica set what it was scaled by.
    pub(super) fn annotate(&self, set: &mut Value) {
        set_annotation(set, DESIRED, &self.replicas.to_string());
        set_annotation(set, MAXIMUM, &(self.replicas + self.surge).to_string());
    }
}

/// Resolves a number or a percentage of `replicas`.
fn share(value: &Value, replicas: i64, round_up: bool) -> i64 {
    if let Some(count) = value.as_i64() {
        return count.max(0);
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
    let percent: i64 = percent.and_then(|text| text.parse().ok()).unwrap_or(25);
    let hundredths = replicas * percent;
    if round_up {
        (hundredths + 99) / 100
    } else {
        hundredths / 100
    }
}

impl World {
    /// Moves pods from the old replica sets to the current one, one step.
    pub(super) fn roll(&mut self, deployment: &Deployment, revisions: &Revisions) {
        if deployment.limits.recreate {
            for set in &revisions.old {
                self.set_replicas(deployment, set, 0);
            }
        }
        let Some(new) = &revisions.new else {
            return;
        };
        let target = if new.replicas() > deployment.limits.replicas {
            deployment.limits.replicas
        } else {
            deployment
                .limits
                .new_replicas(&revisions.old, new.replicas())
        };
        if self.set_replicas(deployment, new, target) {
            return;
        }
        if !self.scale_down_old(deployment, new, &revisions.old) && is_complete(deployment) {
            self.clean_up(deployment, &revisions.old);
        }
    }

    fn scale_down_old(
        &mut self,
        deployment: &Deployment,
        new: &ReplicaSet,
        old: &[ReplicaSet],
    ) -> bool {
        let minimum = deployment.limits.minimum_available();
        let sets = || old.iter().chain([new]);
        let total: i64 = sets().map(ReplicaSet::replicas).sum();
        let missing = new.replicas() - new.available();
        let mut removable = total - minimum - missing;
        if removable <= 0 {
            return false;
        }
        // First those that serve nobody.
        let mut sizes: Vec<i64> = old.iter().map(ReplicaSet::replicas).collect();
        for (set, size) in old.iter().zip(&mut sizes) {
            let unhealthy = (*size - set.available()).clamp(0, removable);
            *size -= unhealthy;
            removable -= unhealthy;
        }
        let available: i64 = sets().map(ReplicaSet::available).sum();
        let mut spare = (available - minimum).max(0);
        for size in &mut sizes {
            let step = spare.min(*size);
            *size -= step;
            spare -= step;
        }
        let mut scaled = false;
        for (set, size) in old.iter().zip(sizes) {
            scaled |= set.replicas() > 0 && self.set_replicas(deployment, set, size);
        }
        scaled
    }

    /// Follows a change of `replicas` in the middle of a rollout, or while paused.
    pub(super) fn scale_in_proportion(&mut self, deployment: &Deployment, revisions: &Revisions) {
        let limits = &deployment.limits;
        let active: Vec<&ReplicaSet> = revisions.all().filter(|set| set.replicas() > 0).collect();
        if active.len() <= 1 {
            let only = active.first().copied().or(revisions.new.as_ref());
            if let Some(set) = only {
                self.set_replicas(deployment, set, limits.replicas);
            }
            return;
        }
        let allowed = match limits.replicas {
            0 => 0,
            replicas => replicas + limits.surge,
        };
        let total: i64 = active.iter().map(|set| set.replicas()).sum();
        let mut left = allowed - total;
        let mut sizes: Vec<i64> = Vec::new();
        for set in &active {
            let size = set.replicas();
            let before: i64 = set.annotation(MAXIMUM).parse().unwrap_or(allowed).max(1);
            let wish = (2 * size * allowed + before) / (2 * before) - size;
            let change = wish.clamp(left.min(0), left.max(0));
            left -= change;
            sizes.push(size + change);
        }
        // Rounding leaves a rest, which goes to the newest.
        if let Some(size) = sizes.last_mut() {
            *size = (*size + left).max(0);
        }
        for (set, size) in active.into_iter().zip(sizes) {
            self.set_replicas(deployment, set, size);
        }
    }

    fn set_replicas(
        &mut self,
        deployment: &Deployment,
        replica_set: &ReplicaSet,
        size: i64,
    ) -> bool {
        let mut value = Value::clone(&replica_set.value);
        set(&mut value, &["spec", "replicas"], size);
        if size > 0 || replica_set.replicas() > 0 {
            deployment.limits.annotate(&mut value);
        }
        let changed = value != *replica_set.value;
        if changed {
            self.controller_write(&replica_set.object, value, Part::Main);
        }
        changed
    }
}

/// Says whether the status shows every pod of the newest template, and no other.
pub(super) fn is_complete(deployment: &Deployment) -> bool {
    let status = |field: &str| number(&deployment.value, &format!("/status/{field}"));
    let replicas = deployment.limits.replicas;
    status("updatedReplicas") == replicas
        && status("replicas") == replicas
        && status("availableReplicas") == replicas
        && status("observedGeneration") >= number(&deployment.value, "/metadata/generation")
}
