//! What was recorded around one release, and what of it an operator would have seen at a moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::history::{Release, set_of};
use super::kube_state::KubeState;
use super::replay::Subject;
use super::series::is_pod_of;
use super::span::{earlier, later};
use crate::decide::{
    Attention, Counters, Evidence, Observed, Sample, Trigger, TriggerKind, Unknown, ValueAt,
};
use crate::observe::evidence::join::{Join, Unwatched};
use crate::observe::evidence::wanted;
use crate::observe::prometheus::buffer::{Buffer, Owner, Stream, Subject as About};
use crate::observe::prometheus::feeds::HISTORY_MAX;
use crate::observe::prometheus::histogram::slower_than;
use crate::observe::prometheus::presets::SpecId;
use crate::observe::prometheus::release::{Named, requests};

/// Prometheus' own default, until two samples tell the real one.
const INTERVAL_UNKNOWN: SignedDuration = SignedDuration::from_secs(60);

/// A pod is scraped once an interval, and two scrapes may be lost before it counts as gone.
const GONE_AFTER_SCRAPES: i32 = 3;

/// What a source answered about one trigger.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// Requests in a shape that is known by name.
    Shape {
        id: SpecId,
        /// For a histogram, in its unit: slower ones are bad.
        slower: Option<f64>,
        buffer: Buffer,
    },
    /// Requests by two expressions.
    Custom(Buffer),
    Probes(Buffer),
    Alert(Buffer),
    /// The worst values of a query, and how much of them is looked at.
    Values {
        values: Vec<ValueAt>,
        range: SignedDuration,
    },
    Missing(Unknown),
}

/// What was recorded around one release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Between two scrapes.
    pub interval: SignedDuration,
    pub kube: KubeState,
    /// By trigger.
    recorded: BTreeMap<String, Recorded>,
    /// When each pod of the Deployment was scraped.
    scrapes: BTreeMap<String, Vec<Timestamp>>,
    begins: Option<Timestamp>,
}

/// Who looks, and when.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub subject: &'a Subject,
    pub release: &'a Release,
    /// With everything but the evidence.
    pub observed: &'a Observed,
    pub attention: Attention,
    pub now: Timestamp,
}

impl Recording {
    /// Puts together what was recorded of `subject` since `begins`.
    #[must_use]
    pub fn new(
        recorded: BTreeMap<String, Recorded>,
        kube: KubeState,
        subject: &Subject,
        begins: Timestamp,
    ) -> Self {
        let buffers = recorded.values().filter_map(Recorded::buffer);
        let own = |(_, about): &Owner| match about {
            About::Pod(pod) => is_pod_of(&subject.name, pod),
            About::Workload(_)
            | About::Service(_)
            | About::TraefikService(_)
            | About::Route(_)
            | About::All => true,
        };
        let streams: Vec<(&Owner, &Stream)> = buffers
            .flat_map(Buffer::streams)
            .filter(|(owner, _)| own(owner))
            .collect();
        let mut scrapes: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
        for ((_, about), stream) in &streams {
            let About::Pod(pod) = about else { continue };
            let times = stream.times().iter().copied();
            let times = times.filter_map(|at| Timestamp::from_millisecond(at).ok());
            scrapes.entry(pod.clone()).or_default().extend(times);
        }
        let interval = interval(streams.into_iter().map(|(_, stream)| stream));
        let in_order = |(pod, times): (String, BTreeSet<Timestamp>)| {
            (pod, times.into_iter().collect::<Vec<_>>())
        };
        Self {
            interval: interval.unwrap_or(INTERVAL_UNKNOWN),
            kube,
            scrapes: scrapes.into_iter().map(in_order).collect(),
            recorded,
            begins: Some(begins),
        }
    }

    /// Returns the shapes that triggers were found in.
    pub fn shapes(&self) -> impl Iterator<Item = (&String, SpecId)> {
        let recorded = self.recorded.iter();
        recorded.filter_map(|(trigger, recorded)| match recorded {
            Recorded::Shape { id, .. } => Some((trigger, *id)),
            Recorded::Custom(_)
            | Recorded::Probes(_)
            | Recorded::Alert(_)
            | Recorded::Values { .. }
            | Recorded::Missing(_) => None,
        })
    }

    /// Returns what a source would have said at a moment about each of `triggers`.
    #[must_use]
    pub fn evidence(&self, triggers: &[Trigger], moment: Moment<'_>) -> BTreeMap<String, Evidence> {
        let Moment { observed, now, .. } = moment;
        let is_close = moment.attention == Attention::Close;
        let new: Vec<Named> = observed
            .pods
            .iter()
            .map(|pod| Named {
                name: pod.name.clone(),
                born: pod.born,
            })
            .collect();
        let old = if is_close {
            self.named(|pod| !moment.release.owns(pod))
        } else {
            Vec::new()
        };
        let current = observed.workload.current.as_ref();
        let join = Join {
            new: &new,
            old: &old,
            unwatched: current.filter(|_| !is_close).map(|current| Unwatched {
                replica_set: &moment.release.set,
                created: current.created,
            }),
            ..moment.subject.join(wanted::release(observed, now))
        };
        let look = Look {
            join,
            release: is_close.then_some(join.release),
            now,
        };
        let of_trigger = |trigger: &Trigger| {
            let recorded = self.recorded.get(&trigger.name)?;
            let evidence = look.evidence(recorded, trigger);
            let evidence = evidence.unwrap_or_else(Evidence::Missing);
            Some((trigger.name.clone(), evidence))
        };
        triggers.iter().filter_map(of_trigger).collect()
    }

    /// Returns all that `trigger` counted of failed requests, with nothing cut off; `None` where it
    /// counts none, or there is nothing.
    #[must_use]
    pub fn whole(
        &self,
        trigger: &Trigger,
        subject: &Subject,
        release: &Release,
    ) -> Option<Counters> {
        if !matches!(trigger.kind, TriggerKind::ErrorRate(_)) {
            return None;
        }
        let recorded = self.recorded.get(&trigger.name)?;
        let (new, old) = (
            self.named(|pod| release.owns(pod)),
            self.named(|pod| !release.owns(pod)),
        );
        let join = Join {
            new: &new,
            old: &old,
            ..subject.join(release.from)
        };
        let seen = self.begins.unwrap_or(Timestamp::MIN);
        let counters = match recorded {
            Recorded::Shape { id, buffer, .. } => {
                join.counters(id.spec(), buffer, seen, &|stream| Ok(requests(stream)))
            }
            Recorded::Custom(buffer) => join.custom(buffer, seen),
            Recorded::Probes(_)
            | Recorded::Alert(_)
            | Recorded::Values { .. }
            | Recorded::Missing(_) => return None,
        };
        counters
            .ok()
            .filter(|counters| !counters.new.is_empty() || !counters.old.is_empty())
    }

    /// Returns the pods that had been scraped lately at `now`, and since when they are known.
    #[must_use]
    pub fn scraped(&self, now: Timestamp) -> BTreeMap<&str, Timestamp> {
        let lately = earlier(now, self.interval * GONE_AFTER_SCRAPES);
        let seen = self.scrapes.iter().filter(|(_, times)| {
            let end = times.partition_point(|at| *at <= now);
            times[..end].last().is_some_and(|last| *last > lately)
        });
        seen.map(|(pod, times)| (pod.as_str(), self.born(pod, times)))
            .collect()
    }

    /// Returns whether only pods of `release` were left, as far as anybody counted them.
    #[must_use]
    pub fn only(&self, release: &Release, now: Timestamp) -> Option<bool> {
        if self.scrapes.is_empty() {
            return None;
        }
        let scraped = self.scraped(now);
        let all_own = scraped
            .keys()
            .all(|pod| set_of(pod) == Some(release.set.as_str()));
        Some(all_own && !scraped.is_empty())
    }

    fn named(&self, owns: impl Fn(&str) -> bool) -> Vec<Named> {
        let pods = self.scrapes.iter().filter(|(pod, _)| owns(pod));
        pods.map(|(pod, times)| Named {
            name: pod.clone(),
            born: self.born(pod, times),
        })
        .collect()
    }

    /// Without kube-state-metrics a pod was born one scrape before its first sample, unless that is
    /// where the recording begins: then it is older.
    fn born(&self, pod: &str, scrapes: &[Timestamp]) -> Timestamp {
        if let Some(born) = self.kube.born(pod) {
            return born;
        }
        let first = scrapes.first().copied().unwrap_or(Timestamp::MIN);
        let cut = self
            .begins
            .is_some_and(|begins| first <= later(begins, self.interval * 2));
        if cut {
            earlier(first, HISTORY_MAX)
        } else {
            earlier(first, self.interval)
        }
    }
}

/// One look at what was recorded.
struct Look<'a> {
    join: Join<'a>,
    /// While it is judged closely.
    release: Option<Timestamp>,
    now: Timestamp,
}

impl Look<'_> {
    fn evidence(&self, recorded: &Recorded, trigger: &Trigger) -> Result<Evidence, Unknown> {
        let Self { join, now, .. } = self;
        let oldest = wanted::oldest(wanted::window(trigger), self.release, *now);
        let seen = oldest.max(earlier(*now, HISTORY_MAX));
        Ok(match recorded {
            Recorded::Shape { id, slower, buffer } => {
                let read = |stream: &Stream| read(stream, *id, *slower);
                let buffer = self.held(buffer);
                Evidence::Counters(join.counters(id.spec(), &buffer, seen, &read)?)
            }
            Recorded::Custom(buffer) => Evidence::Counters(join.custom(&self.held(buffer), seen)?),
            Recorded::Probes(buffer) => Evidence::Counters(join.probes(&self.held(buffer))?),
            Recorded::Alert(buffer) => Evidence::Firing(join.firing(&self.held(buffer), *now)),
            Recorded::Values { values, range } => {
                let start = earlier(*now, *range);
                let first = values.partition_point(|value| value.at <= start);
                let end = values.partition_point(|value| value.at <= *now);
                let seen = values.get(first..end).unwrap_or_default();
                if seen.is_empty() {
                    return Err(Unknown::EmptyAnswer);
                }
                Evidence::Values(seen.to_vec())
            }
            Recorded::Missing(unknown) => return Err(unknown.clone()),
        })
    }

    /// What the operator would have held: it forgets what is older.
    fn held(&self, buffer: &Buffer) -> Buffer {
        let from = earlier(self.now, HISTORY_MAX).as_millisecond();
        buffer.between(from, self.now.as_millisecond())
    }
}

fn read(stream: &Stream, id: SpecId, slower: Option<f64>) -> Result<Vec<Sample>, Unknown> {
    match (slower, id.spec().latency) {
        (Some(threshold), Some(histogram)) => slower_than(stream, threshold, histogram.unit),
        (Some(_), None) | (None, _) => Ok(requests(stream)),
    }
}

impl Recorded {
    fn buffer(&self) -> Option<&Buffer> {
        match self {
            Self::Shape { buffer, .. } | Self::Custom(buffer) | Self::Probes(buffer) => {
                Some(buffer)
            }
            Self::Alert(_) | Self::Values { .. } | Self::Missing(_) => None,
        }
    }
}

/// The usual gap between two scrapes. Not the smallest: a Prometheus that starts anew scrapes early.
fn interval<'a>(streams: impl Iterator<Item = &'a Stream>) -> Option<SignedDuration> {
    let mut gaps: Vec<i64> = Vec::new();
    for stream in streams {
        let times = stream.times();
        let next = times.iter().skip(1);
        gaps.extend(times.iter().zip(next).map(|(first, next)| next - first));
    }
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2)
        .copied()
        .map(SignedDuration::from_millis)
}

#[cfg(test)]
mod tests;
