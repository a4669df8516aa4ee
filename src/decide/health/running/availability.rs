//! Too few replicas are available, for long enough, and not because nodes went away or the rollout has
//! only begun.

use jiff::Timestamp;

use super::Standing;
use crate::decide::{
    Availability, Measurement, Observed, Ratio, Reading, Unavailable, Unknown, Workload,
};

pub(in crate::decide::health) fn unavailable(
    observed: &Observed,
    rule: &Unavailable,
    now: Timestamp,
) -> Reading {
    let workload = &observed.workload;
    let level = Level {
        below: rule.below,
        standing: Standing::of(observed, now),
    };
    let Some(newest) = workload.availability.last().copied() else {
        return Reading::Unknown(Unknown::NoPods);
    };
    if workload.replicas == 0 {
        return Reading::Unknown(Unknown::NoPods);
    }
    let measurement = Measurement::Available {
        available: newest.available,
        replicas: level.of(workload.replicas),
        below: rule.below,
    };
    let Some(low) = Low::of(&workload.availability, &level) else {
        return Reading::Passing(measurement);
    };
    let measurement = Box::new(measurement);
    let undisturbed = Availability {
        available: newest.available.saturating_add(workload.disrupted),
        ..newest
    };
    if !level.is_missed(&undisturbed) {
        return Reading::Unknown(Unknown::Disrupted { measurement });
    }
    if let Some(unknown) = never_stood(observed, &level, &low) {
        return Reading::Unknown(unknown);
    }
    // New pods that a scaling asks for get the time that those of a rollout get.
    let needed = if low.by_demand {
        rule.sustained.max(workload.progress_deadline)
    } else {
        rule.sustained
    };
    let lasted = now.duration_since(low.since);
    if lasted < needed {
        return Reading::Unknown(Unknown::NotLongEnough {
            measurement,
            lasted,
            needed,
        });
    }
    Reading::Breached(*measurement)
}

/// Says why the revision is not to blame for a level that it never had; `None` where it had it.
fn never_stood(observed: &Observed, level: &Level, low: &Low) -> Option<Unknown> {
    let workload = &observed.workload;
    let since = level.standing.since;
    if level.standing.completed {
        return None;
    }
    if low.fell && low.since > since {
        // Old pods held the level. Where the strategy takes them away before new ones are there, that
        // they are gone says nothing about the new.
        return level
            .is_left_by_strategy(workload)
            .then_some(Unknown::RolloutInProgress);
    }
    let seen_before = workload
        .availability
        .first()
        .is_some_and(|first| first.at <= since);
    let inherited = seen_before && observed.memory.revisions.len() > 1;
    Some(if inherited {
        Unknown::BadBefore {
            measurement: Box::new(Measurement::Available {
                available: low.available,
                replicas: level.of(workload.replicas),
                below: level.below,
            }),
        }
    } else {
        Unknown::RolloutInProgress
    })
}

/// How many replicas there should be at least.
struct Level {
    below: Ratio,
    standing: Standing,
}

impl Level {
    /// Of the replicas at the start of the rollout, or of fewer where they were scaled down since. One
    /// that started with none is measured by what it has now.
    fn of(&self, replicas: u32) -> u32 {
        match self.standing.replicas {
            Some(at_start) if at_start > 0 => replicas.min(at_start),
            Some(_) | None => replicas,
        }
    }

    fn is_missed(&self, seen: &Availability) -> bool {
        f64::from(seen.available) < self.below.0 * f64::from(self.of(seen.replicas))
    }

    fn is_left_by_strategy(&self, workload: &Workload) -> bool {
        self.is_missed(&Availability {
            at: Timestamp::MIN,
            available: workload.kept_available,
            replicas: workload.replicas,
        })
    }
}

/// The time since which the level has been missed without a break.
struct Low {
    since: Timestamp,
    available: u32,
    /// It was seen to be held before.
    fell: bool,
    /// No pod went away: more were asked for.
    by_demand: bool,
}

impl Low {
    fn of(seen: &[Availability], level: &Level) -> Option<Self> {
        let low = seen
            .iter()
            .rev()
            .take_while(|seen| level.is_missed(seen))
            .count();
        let first = seen.len() - low;
        let (since, before) = (seen.get(first)?, first.checked_sub(1));
        let before = before.and_then(|before| seen.get(before));
        Some(Self {
            since: since.at,
            available: since.available,
            fell: before.is_some(),
            by_demand: before.is_some_and(|before| before.available <= since.available),
        })
    }
}

#[cfg(test)]
mod tests;
