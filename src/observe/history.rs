//! What the looks at one Deployment tell together: how many pods were available when, and when its
//! rollout last made progress.
//!
//! It lives in the process only. Losing it costs time, never a verdict: what was not seen is not held
//! against a revision.

use jiff::Timestamp;

use super::workload::{Counts, Deployment};
use crate::decide::{Availability, Revision};

/// Pods that come and go make two entries each; more than this many within the time that a trigger
/// looks back would be one every second. 24 bytes each, and only changes are kept.
const AVAILABILITY_KEPT: usize = 128;

/// The past of one Deployment, as far as it was seen.
#[derive(Clone, Debug)]
pub struct History {
    pub availability: Vec<Availability>,
    pub progressed: Timestamp,
    uid: String,
    template: Revision,
    counts: Counts,
}

impl History {
    /// Begins with the first look at `deployment`.
    #[must_use]
    pub fn begin(deployment: &Deployment, now: Timestamp) -> Self {
        let mut history = Self {
            availability: Vec::new(),
            progressed: deployment.progressed().unwrap_or(now),
            uid: deployment.uid.clone(),
            template: deployment.template.clone(),
            counts: deployment.counts(),
        };
        history.note_availability(now);
        history
    }

    /// Whether this is the past of `deployment`, and not of one that was made anew under its name.
    #[must_use]
    pub fn is_of(&self, deployment: &Deployment) -> bool {
        self.uid == deployment.uid
    }

    /// Takes in how `deployment` is now.
    pub fn note(&mut self, deployment: &Deployment, now: Timestamp) {
        let before = std::mem::replace(&mut self.counts, deployment.counts());
        let begun_anew = self.template != deployment.template;
        if begun_anew {
            self.template.clone_from(&deployment.template);
        }
        let asleep = before.asked_for == 0;
        // Kubernetes too gives a rollout that was resumed its whole time.
        if begun_anew || asleep || deployment.is_paused_by_person() || self.counts.moved_on(before)
        {
            self.progressed = now;
        }
        if let Some(progressed) = deployment.progressed() {
            self.progressed = self.progressed.max(progressed);
        }
        self.note_availability(now);
    }

    fn note_availability(&mut self, now: Timestamp) {
        let Counts {
            available,
            asked_for: replicas,
            ..
        } = self.counts;
        let newest = self.availability.last();
        if newest.is_some_and(|it| (it.available, it.replicas) == (available, replicas)) {
            return;
        }
        self.availability.push(Availability {
            at: now,
            available,
            replicas,
        });
        if self.availability.len() > AVAILABILITY_KEPT {
            self.availability.remove(0);
        }
    }
}

#[cfg(test)]
mod tests;
