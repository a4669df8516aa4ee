//! Which revision was current when.
//!
//! Kubernetes keeps ReplicaSets, with the time of their creation and the numbers that they have had. It
//! does not keep when an older one became current again, so that is read from how many pods each
//! ReplicaSet had, as far as anybody recorded it. Pure: who asks stands elsewhere.

mod turns;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::span::{Span, later};
use crate::api::record::{annotation, controller, text, time};
use crate::api::{names, template};
use crate::decide::Revision;

/// A ReplicaSet of the Deployment, as Kubernetes has it now.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    pub name: String,
    pub created: Timestamp,
    /// The revision number that it has now, or had last.
    pub number: i64,
    /// Those that it had before, oldest first.
    pub numbers_before: Vec<i64>,
    pub revision: Revision,
    pub images: Vec<String>,
}

impl ReplicaSet {
    /// Reads `object`; `None` unless it is a ReplicaSet that the Deployment with `uid` owns.
    #[must_use]
    pub fn read(object: &Value, uid: &str) -> Option<Self> {
        if controller(object)?.get("uid")?.as_str()? != uid {
            return None;
        }
        let before = annotation(object, names::DEPLOYMENT_REVISION_HISTORY).unwrap_or_default();
        let pod = object.pointer("/spec/template")?;
        Some(Self {
            name: text(object, "/metadata/name")?.to_owned(),
            created: time(object, "/metadata/creationTimestamp")?,
            number: annotation(object, names::DEPLOYMENT_REVISION)?
                .parse()
                .ok()?,
            numbers_before: before
                .split(',')
                .filter_map(|number| number.trim().parse().ok())
                .collect(),
            revision: template::revision(pod),
            images: template::images(pod),
        })
    }
}

/// What is known about the Deployment now. Nothing, where nobody asked the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub sets: BTreeMap<String, ReplicaSet>,
    /// When revisions became current, as an operator has recorded it.
    pub recorded: Vec<(Revision, Timestamp)>,
    /// When the newest rollout last made progress, as the Deployment's own status says.
    pub progressed: Option<Timestamp>,
}

/// How many pods each ReplicaSet had.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// By time, then by ReplicaSet; those without pods are left out.
    pub pods: BTreeMap<Timestamp, BTreeMap<String, u32>>,
    /// Between two times.
    pub step: SignedDuration,
}

/// What a time rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dated {
    /// The creation of the ReplicaSet.
    Created,
    /// What an operator recorded.
    Recorded,
    /// The number of pods, good to a step of the question.
    Pods,
    /// The end of the rollout, as the Deployment says.
    Progressed,
    /// It was current already when the range begins.
    Beginning,
}

impl Dated {
    /// The spelling in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Recorded => "Recorded",
            Self::Pods => "Pods",
            Self::Progressed => "Progressed",
            Self::Beginning => "Beginning",
        }
    }
}

/// A time for which one ReplicaSet was the current one.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The name of the ReplicaSet.
    pub set: String,
    pub revision: Revision,
    /// The Deployment's revision number, where Kubernetes still knows it.
    pub number: Option<i64>,
    pub images: Vec<String>,
    pub created: Option<Timestamp>,
    pub from: Timestamp,
    pub dated: Dated,
    /// When the next one became current; `None` while none has.
    pub until: Option<Timestamp>,
    /// When only its own pods were left.
    pub rolled_out: Option<Timestamp>,
}

impl Release {
    /// Returns how people call it: its revision number, else the part of the name that Kubernetes
    /// makes up.
    #[must_use]
    pub fn title(&self) -> String {
        self.number.map_or_else(
            || self.set.rsplit('-').next().unwrap_or_default().to_owned(),
            |number| number.to_string(),
        )
    }

    /// Returns whether a pod is one of its own, by the name that Kubernetes gives.
    #[must_use]
    pub fn owns(&self, pod: &str) -> bool {
        set_of(pod) == Some(self.set.as_str())
    }

    /// Returns when it ended, or the end of `span` while it has not.
    #[must_use]
    pub fn end(&self, span: Span) -> Timestamp {
        self.until.unwrap_or(span.until).min(span.until)
    }
}

/// Returns the ReplicaSet that a pod's name says it belongs to.
#[must_use]
pub fn set_of(pod: &str) -> Option<&str> {
    pod.rsplit_once('-').map(|(set, _)| set)
}

/// Returns the releases in `span`, oldest first; the first one may have been current before.
#[must_use]
pub fn releases(known: &Known, activity: &Activity, span: Span) -> Vec<Release> {
    let mut turns = turns::of(known, activity, span);
    turns.retain(|turn| turn.at <= span.until);
    let ends: Vec<Option<Timestamp>> = turns.iter().skip(1).map(|next| Some(next.at)).collect();
    let mut numbers = Numbers::of(known, &turns);
    let mut releases: Vec<Release> = Vec::new();
    for (turn, until) in turns.into_iter().zip(ends.into_iter().chain([None])) {
        let set = known.sets.get(&turn.set);
        releases.push(Release {
            revision: set.map_or_else(
                || Revision(format!("replicaset/{}", turn.set)),
                |set| set.revision.clone(),
            ),
            number: numbers.next(&turn.set),
            images: set.map(|set| set.images.clone()).unwrap_or_default(),
            created: set.map(|set| set.created),
            from: turn.at,
            dated: turn.dated,
            until,
            rolled_out: rolled_out(activity, &turn, until),
            set: turn.set,
        });
    }
    releases
}

/// Returns when no other ReplicaSet had pods any more.
fn rolled_out(
    activity: &Activity,
    turn: &turns::Turn,
    until: Option<Timestamp>,
) -> Option<Timestamp> {
    let end = until.unwrap_or(Timestamp::MAX);
    // A step later at the earliest: what was counted before may be old by that much.
    let start = match turn.dated {
        Dated::Beginning => turn.at,
        Dated::Created | Dated::Recorded | Dated::Pods | Dated::Progressed => {
            later(turn.at, activity.step)
        }
    };
    activity
        .pods
        .range(start..)
        .take_while(|(at, _)| **at < end)
        .find(|(_, pods)| pods.len() == 1 && pods.contains_key(&turn.set))
        .map(|(at, _)| *at)
}

/// Numbers of ReplicaSets, given to their turns from the newest back.
struct Numbers(BTreeMap<String, Vec<Option<i64>>>);

impl Numbers {
    fn of(known: &Known, turns: &[turns::Turn]) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for turn in turns {
            *counts.entry(&turn.set).or_default() += 1;
        }
        let of_set = |(name, count): (&str, usize)| {
            let set = known.sets.get(name);
            let all = set.into_iter().flat_map(|set| {
                let before = set.numbers_before.iter().rev();
                std::iter::once(set.number).chain(before.copied())
            });
            // Newest first, so that the oldest turn is the last, which `pop` takes first.
            let numbers = all.map(Some).chain(std::iter::repeat(None)).take(count);
            (name.to_owned(), numbers.collect())
        };
        Self(counts.into_iter().map(of_set).collect())
    }

    fn next(&mut self, set: &str) -> Option<i64> {
        self.0.get_mut(set)?.pop()?
    }
}

#[cfg(test)]
mod tests;
