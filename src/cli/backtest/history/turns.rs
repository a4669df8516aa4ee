//! From counts of pods and times of creation to who became current when.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Activity, Dated, Known};
use crate::cli::backtest::span::{Span, earlier, later};

/// A ReplicaSet became current.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    pub(super) set: String,
    pub(super) at: Timestamp,
    pub(super) dated: Dated,
}

/// Counts may miss this many steps in a row without meaning that the pods were gone: a scrape that
/// failed, a restart of what counts them.
const MISSES: usize = 3;

/// The counts lag behind by a scrape and a step; a stamp of Kubernetes that is at most this much
/// older is of the same event, and exact.
const LAG: SignedDuration = SignedDuration::from_mins(3);

/// Returns the turns in order of time, never the same ReplicaSet twice in a row.
pub(super) fn of(known: &Known, activity: &Activity, span: Span) -> Vec<Turn> {
    let mut turns: Vec<Turn> = counted(known, activity)
        .into_iter()
        .map(|turn| exact(known, turn))
        .collect();
    add_created(known, span, &mut turns);
    add_recorded(known, span, &mut turns);
    turns.sort_by_key(|turn| turn.at);
    turns.dedup_by(|next, first| next.set == first.set);
    add_newest(known, &mut turns);
    mark_beginning(known, span, &mut turns);
    turns
}

/// What is remembered of a ReplicaSet while its pods are counted.
struct Seen {
    step: usize,
    pods: u32,
    /// When it last had more pods than before.
    grew: Timestamp,
}

/// A ReplicaSet becomes current when it gets pods without having had any; or when the current one has
/// none left and it has: then somebody went back before the rollout was over.
fn counted(known: &Known, activity: &Activity) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    for (step, (at, pods)) in activity.pods.iter().enumerate() {
        let current = turns.last().map(|turn| turn.set.clone());
        let started = pods
            .keys()
            .map(String::as_str)
            .filter(|set| {
                let last = seen.get(set);
                last.is_none_or(|last| step - last.step > MISSES)
            })
            .filter(|set| current.as_deref() != Some(*set))
            .max_by_key(|set| {
                let created = known.sets.get(*set).map(|set| set.created);
                (created, pods.get(*set))
            });
        for (set, count) in pods {
            let last = seen.get(set.as_str());
            let grew = match last {
                Some(last) if last.pods >= *count => last.grew,
                Some(_) | None => *at,
            };
            let now = Seen {
                step,
                pods: *count,
                grew,
            };
            seen.insert(set, now);
        }
        let vanished = current.as_deref().is_some_and(|current| {
            let last = seen.get(current);
            last.is_none_or(|last| step - last.step > MISSES)
        });
        let turn = match started {
            Some(set) => Some((set, *at)),
            None if vanished => {
                let largest = pods.iter().max_by_key(|(_, count)| **count);
                largest
                    .map(|(set, _)| (set.as_str(), seen.get(set.as_str()).map_or(*at, |s| s.grew)))
            }
            None => None,
        };
        let Some((set, at)) = turn else { continue };
        // Never before the turn that it follows.
        let after = turns
            .last()
            .map_or(at, |last| at.max(later(last.at, activity.step)));
        turns.push(Turn {
            set: set.to_owned(),
            at: after,
            dated: Dated::Pods,
        });
    }
    turns
}

/// Takes a stamp of the same event where there is one.
fn exact(known: &Known, turn: Turn) -> Turn {
    let near = |stamp: &Timestamp| *stamp <= turn.at && *stamp >= earlier(turn.at, LAG);
    let Some(set) = known.sets.get(&turn.set) else {
        return turn;
    };
    if near(&set.created) {
        return Turn {
            at: set.created,
            dated: Dated::Created,
            ..turn
        };
    }
    let recorded = known
        .recorded
        .iter()
        .find_map(|(revision, stamp)| (*revision == set.revision && near(stamp)).then_some(*stamp));
    match recorded {
        Some(at) => Turn {
            at,
            dated: Dated::Recorded,
            ..turn
        },
        None => turn,
    }
}

/// One that was created and never counted had no pods that were scraped, or nobody counts.
fn add_created(known: &Known, span: Span, turns: &mut Vec<Turn>) {
    for set in known.sets.values() {
        let counted = turns.iter().any(|turn| turn.set == set.name);
        if span.holds(set.created) && !counted {
            turns.push(Turn {
                set: set.name.clone(),
                at: set.created,
                dated: Dated::Created,
            });
        }
    }
    let before = known.sets.values().filter(|set| set.created <= span.from);
    let newest = before.max_by_key(|set| set.created);
    // Where something was counted at the beginning, that says better who was current.
    let begun = turns.iter().any(|turn| turn.at <= later(span.from, LAG));
    if let Some(set) = newest
        && !begun
    {
        turns.push(Turn {
            set: set.name.clone(),
            at: span.from,
            dated: Dated::Beginning,
        });
    }
}

/// An operator records when it saw a revision become current, after the fact by a moment.
fn add_recorded(known: &Known, span: Span, turns: &mut Vec<Turn>) {
    for (revision, at) in &known.recorded {
        let Some(set) = known.sets.values().find(|set| set.revision == *revision) else {
            continue;
        };
        let near = |turn: &Turn| turn.set == set.name && turn.at.duration_since(*at).abs() <= LAG;
        if span.holds(*at) && !turns.iter().any(near) {
            turns.push(Turn {
                set: set.name.clone(),
                at: *at,
                dated: Dated::Recorded,
            });
        }
    }
}

/// The highest number is current now. Where nothing else says since when, the Deployment's own status
/// says when it last made progress.
fn add_newest(known: &Known, turns: &mut Vec<Turn>) {
    let newest = known.sets.values().max_by_key(|set| set.number);
    let (Some(newest), Some(last)) = (newest, turns.last()) else {
        return;
    };
    let Some(at) = known.progressed.filter(|at| *at > last.at) else {
        return;
    };
    if newest.name != last.set {
        turns.push(Turn {
            set: newest.name.clone(),
            at,
            dated: Dated::Progressed,
        });
    }
}

/// What was created long before it was first counted was current before the range, or before the
/// source began to keep anything.
fn mark_beginning(known: &Known, span: Span, turns: &mut [Turn]) {
    let Some(first) = turns.first_mut() else {
        return;
    };
    let at_start = first.at <= later(span.from, LAG);
    let created = known.sets.get(&first.set).map(|set| set.created);
    let older = created.is_some_and(|created| created < earlier(first.at, LAG));
    if first.dated == Dated::Pods && (older || (created.is_none() && at_start)) {
        first.dated = Dated::Beginning;
    }
}
