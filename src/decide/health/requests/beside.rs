//! Lays what new pods counted beside what old pods counted in the same time.
//!
//! Pods are scraped each in its own phase. So a new pod's scrape is compared with what the old pods
//! counted between the same two moments, in even parts of their own scrapes: in an outage that hits
//! everybody, an old scrape that reaches over its beginning then says rather too much than too little.
//! And it is compared only with old pods that were scraped since: one that was not cannot show yet
//! what the new one shows.

use jiff::Timestamp;

use super::Case;
use crate::decide::detectors::increases::{Increase, Scraping, milliseconds};
use crate::decide::sequential::{Caps, Pair, Worse};
use crate::decide::{Counted, PodCounters};

/// What lies this many scrapes apart says nothing about a time in between.
const HOLE_SCRAPES: f64 = 2.5;

/// Both revisions, scrape by scrape.
#[derive(Debug)]
pub(super) struct Arms {
    /// Of all pods, in order of their ends; with the number of the pod.
    new: Vec<(usize, Increase)>,
    /// Pod by pod, those that have any.
    new_pods: Vec<Vec<Increase>>,
    old_pods: Vec<Vec<Increase>>,
    /// Milliseconds.
    interval: i64,
    hole: f64,
    /// Whether the first scrape alone may convict, so that an outage that began with the release must
    /// not seem half as bad on old pods.
    first_convicts: bool,
}

impl Arms {
    #[must_use]
    pub(super) fn of(case: &Case<'_>, scraping: &Scraping, first_convicts: bool) -> Self {
        let pods = |pods: &[PodCounters]| -> Vec<Vec<Increase>> {
            let all = pods.iter();
            let all = all.map(|pod| scraping.increases(pod, Timestamp::MIN).collect());
            all.filter(|increases: &Vec<_>| !increases.is_empty())
                .collect()
        };
        let new_pods = pods(&case.counters.new);
        let mut new: Vec<(usize, Increase)> = Vec::new();
        for (pod, increases) in new_pods.iter().enumerate() {
            new.extend(increases.iter().map(|increase| (pod, *increase)));
        }
        new.sort_unstable_by_key(|(_, increase)| increase.to);
        let interval = milliseconds(case.interval).max(1);
        Self {
            new,
            new_pods,
            old_pods: pods(&case.counters.old),
            interval,
            #[expect(clippy::cast_precision_loss, reason = "a scrape interval")]
            hole: interval as f64 * HOLE_SCRAPES,
            first_convicts,
        }
    }

    /// Gathers the evidence of all scrapes that ran beside old pods.
    #[must_use]
    pub(super) fn compared(&self, factor: f64, caps: Caps) -> Worse {
        let mut worse = Worse::than(factor, caps);
        let mut pairs = Vec::with_capacity(8);
        for scrape in self.scrapes(&self.new) {
            pairs.clear();
            pairs.extend(scrape.iter().filter_map(|(pod, new)| self.pair(*pod, new)));
            worse.scrape(&pairs);
        }
        worse
    }

    /// As [`Arms::compared`]; and the scrapes after the last old pod was gone are compared with what
    /// the revision before had counted, each up to `cap`.
    #[must_use]
    pub(super) fn compared_or_before(
        &self,
        factor: f64,
        caps: Caps,
        before: Counted,
        cap: f64,
    ) -> Worse {
        let mut worse = self.compared(factor, caps);
        let scrapes = self.scrapes(self.without_old()).map(|scrape| {
            let all = scrape.iter().map(|(_, increase)| increase.counted);
            all.fold(Counted::default(), Counted::plus)
        });
        worse.scrapes_after(before, cap, scrapes);
        worse
    }

    /// What all old pods that were seen have counted.
    #[must_use]
    pub(super) fn old_counted(&self) -> Counted {
        let all = self
            .old_pods
            .iter()
            .flatten()
            .map(|increase| increase.counted);
        all.fold(Counted::default(), Counted::plus)
    }

    /// Whether any old pod is still there, or only late.
    #[must_use]
    pub(super) fn old_pods_run(&self) -> bool {
        !self.old_pods.is_empty() && self.without_old().is_empty()
    }

    /// What began after the last old pod was gone; nothing while one is only late.
    fn without_old(&self) -> &[(usize, Increase)] {
        let ends = self
            .old_pods
            .iter()
            .filter_map(|increases| increases.last());
        let Some(end) = ends.map(|increase| increase.to).max() else {
            return &self.new;
        };
        let newest = self.new.iter().map(|(_, increase)| increase.to).max();
        let newest = newest.unwrap_or(end);
        if distance(end, newest) <= self.hole {
            return &[];
        }
        // From the last that reaches over it on: they are in order of their ends, not of their beginnings.
        let after = self
            .new
            .iter()
            .rposition(|(_, increase)| increase.from < end);
        &self.new[after.map_or(0, |last| last + 1)..]
    }

    /// Cuts into scrapes, in each of which every pod ends once.
    fn scrapes<'a>(
        &self,
        new: &'a [(usize, Increase)],
    ) -> impl Iterator<Item = &'a [(usize, Increase)]> {
        let interval = self.interval;
        new.chunk_by(move |(_, left), (_, right)| {
            left.to.div_euclid(interval) == right.to.div_euclid(interval)
        })
    }

    /// Compares a new pod's scrape with its share of what old pods counted in that time: the scrapes of
    /// the other new pods in the same time get theirs.
    fn pair(&self, pod: usize, new: &Increase) -> Option<Pair> {
        let (from, to) = (new.from, new.to);
        let covered = self
            .old_pods
            .iter()
            .filter(|old| self.covers(old, from, to));
        let is_first = self.first_convicts && to - from < self.interval;
        let old = covered.map(|old| {
            if is_first {
                counted_since_birth(old, from, to)
            } else {
                counted_within(old, from, to)
            }
        });
        let old = old.fold(Counted::default(), Counted::plus);
        let all = self.new_pods.iter();
        let all: f64 = all.map(|pod| counted_within(pod, from, to).total).sum();
        (old.total > 0.0 && all > 0.0).then(|| Pair {
            pod,
            new: new.counted,
            old: old.times(new.counted.total / all),
        })
    }

    /// Whether the scrapes of a pod reach over both moments, and tell times around them apart.
    fn covers(&self, pod: &[Increase], from: i64, to: i64) -> bool {
        let ends = pod.last().is_some_and(|last| last.to >= to);
        let first = pod.partition_point(|increase| increase.to <= from);
        let begins = pod.get(first).is_some_and(|first| first.from <= from);
        let overlapping = pod[first..].iter();
        let mut overlapping = overlapping.take_while(|increase| increase.from < to);
        let reaches_out = |increase: &Increase| increase.from < from || increase.to > to;
        let is_hole = |increase: &Increase| distance(increase.from, increase.to) > self.hole;
        ends && begins && !overlapping.any(|increase| reaches_out(increase) && is_hole(increase))
    }
}

/// What a pod counted between two moments, in even parts of its scrapes.
fn counted_within(pod: &[Increase], from: i64, to: i64) -> Counted {
    let first = pod.partition_point(|increase| increase.to <= from);
    let overlapping = pod[first..].iter();
    overlapping
        .take_while(|increase| increase.from < to)
        .map(|increase| {
            let within = distance(increase.from.max(from), increase.to.min(to));
            increase
                .counted
                .times(within / distance(increase.from, increase.to))
        })
        .fold(Counted::default(), Counted::plus)
}

/// As [`counted_within`], for a pod whose first scrape is shorter than those of `pod`: what failed in
/// the one that its birth falls into, failed after its birth.
///
/// In even parts an outage that began with the release would seem half as bad on old pods. That errs
/// on the safe side.
fn counted_since_birth(pod: &[Increase], birth: i64, to: i64) -> Counted {
    let even = counted_within(pod, birth, to);
    let into = pod.partition_point(|increase| increase.to <= birth);
    let failed_into = pod.get(into).map_or(0.0, |into| {
        let even = counted_within(std::slice::from_ref(into), birth, to);
        into.counted.failed.min(even.total) - even.failed
    });
    Counted {
        failed: even.failed + failed_into,
        ..even
    }
}

/// Milliseconds.
#[expect(clippy::cast_precision_loss, reason = "less than 2^53 milliseconds")]
fn distance(from: i64, to: i64) -> f64 {
    to.saturating_sub(from) as f64
}
