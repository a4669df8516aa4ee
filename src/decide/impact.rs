//! What a bad revision cost: how many requests failed, from when until when.
//!
//! Counted from the same samples that triggers judge, and never more than they show. Nothing is
//! estimated: what a pod counted after its last scrape, or before a reset that no scrape saw, is
//! missing, and [`Impact::at_least`] says so. Whether it was bad is not said here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::detectors::increases::{Increase, Scraping};
use super::detectors::scrape_interval;
use super::{Counted, Counters, Evidence, PodCounters, Sample, Trigger, TriggerKind};

/// What was counted of a revision's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impact {
    pub failed: u64,
    pub total: u64,
    /// The last scrape before the first failure was counted: no failure that was counted is older.
    /// The beginning of what was counted where nothing failed.
    pub from: Timestamp,
    /// The scrape that counted the last failure. The end of what was counted where nothing failed.
    pub until: Timestamp,
    /// There may have been more: a counter was reset, a pod was not scraped to the end, or it had
    /// counted before it was first scraped.
    pub at_least: bool,
    /// The series do not tell revisions apart, so requests of others are among them.
    pub all_revisions: bool,
}

/// A pod is scraped once an interval; one lost scrape is a late one, two are a gap.
const GAP_SCRAPES: i32 = 2;

/// Prometheus' own default, until two samples tell the real one.
const SCRAPE_INTERVAL_UNKNOWN: SignedDuration = SignedDuration::from_secs(60);

/// Returns what the current revision cost between `since`, when it became current, and `until`;
/// `None` where nothing was counted.
#[must_use]
pub fn impact(counters: &Counters, since: Timestamp, until: Timestamp) -> Option<Impact> {
    of_pods(counters, &counters.new, since, until)
}

/// Returns what the revision of `replica_set` cost, which is not the current one any more: between
/// `since`, when it became current, and `until`. `None` where nothing was counted.
///
/// Its last pods serve for a while after the rollback's patch, so this counts more than a look at
/// the time of the patch did, as long as the pods are remembered.
#[must_use]
pub fn impact_of_replaced(
    counters: &Counters,
    replica_set: &str,
    since: Timestamp,
    until: Timestamp,
) -> Option<Impact> {
    let is_its = |pod: &&PodCounters| counters.before_and_after || is_pod_of(&pod.pod, replica_set);
    let pods: Vec<PodCounters> = counters.old.iter().filter(is_its).cloned().collect();
    of_pods(counters, &pods, since, until)
}

/// Returns what `triggers` saw of one revision's requests, by `count`: [`impact`], or
/// [`impact_of_replaced`] with its name.
///
/// Only error rates count requests that failed: a slow request was answered, and a probe is none.
#[must_use]
pub fn by_triggers(
    triggers: &[Trigger],
    evidence: &BTreeMap<String, Evidence>,
    count: impl Fn(&Counters) -> Option<Impact>,
) -> Option<Impact> {
    let counters = triggers.iter().filter_map(|trigger| {
        let counts_requests = matches!(trigger.kind, TriggerKind::ErrorRate(_));
        let Evidence::Counters(counters) = evidence.get(&trigger.name)? else {
            return None;
        };
        counts_requests.then_some(counters)
    });
    largest(counters.filter_map(count))
}

/// Returns the one with the most failures, and of those the one with the most requests; the later of
/// equals, which is the newer look.
///
/// Triggers that count the same requests see each of them once, and so do two looks at one incident.
/// To add them up would count it twice.
#[must_use]
pub fn largest(impacts: impl IntoIterator<Item = Impact>) -> Option<Impact> {
    impacts
        .into_iter()
        .max_by_key(|impact| (impact.failed, impact.total))
}

fn of_pods(
    counters: &Counters,
    pods: &[PodCounters],
    since: Timestamp,
    until: Timestamp,
) -> Option<Impact> {
    let all = || counters.new.iter().chain(&counters.old);
    let firsts = all().filter_map(|pod| pod.samples.first());
    let interval = scrape_interval(pods).unwrap_or(SCRAPE_INTERVAL_UNKNOWN);
    let tally = Tally {
        scraping: Scraping {
            interval,
            seen_since: firsts.map(|sample| sample.at).min()?,
            newborns: !counters.before_and_after,
        },
        gap: interval * GAP_SCRAPES,
        all_revisions: counters.before_and_after,
        since,
        until,
    };
    let parts = pods.iter().filter_map(|pod| tally.of(&finite(pod)));
    parts.reduce(Part::plus)?.impact(counters.before_and_after)
}

/// A value that is not a number says nothing, and makes nothing of every sum that it is part of.
fn finite(pod: &PodCounters) -> Cow<'_, PodCounters> {
    let usable = |sample: &Sample| sample.is_finite() && sample.failed >= 0.0;
    if pod.samples.iter().all(usable) {
        return Cow::Borrowed(pod);
    }
    let mut pod = pod.clone();
    pod.samples.retain(usable);
    Cow::Owned(pod)
}

/// How to count.
struct Tally {
    scraping: Scraping,
    gap: SignedDuration,
    all_revisions: bool,
    since: Timestamp,
    until: Timestamp,
}

/// What some pods counted. Times in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Part {
    counted: Counted,
    span: (i64, i64),
    failing: Option<(i64, i64)>,
    at_least: bool,
}

impl Tally {
    fn of(&self, pod: &PodCounters) -> Option<Part> {
        let within: Vec<&Sample> = pod
            .samples
            .iter()
            .filter(|sample| sample.at > self.since && sample.at <= self.until)
            .collect();
        let last = within.last()?.at;
        let increases = self.scraping.increases(pod, self.since);
        let mut sum: Option<Part> = None;
        for increase in increases.filter(|increase| self.wanted(increase)) {
            let part = Part::of(&increase);
            sum = Some(sum.map_or(part, |sum| sum.plus(part)));
        }
        let mut sum = sum?;
        let ended = self.until.duration_since(last) > self.gap;
        sum.at_least = ended || self.begins_late(pod, sum.span.0) || has_reset(&within);
        Some(sum)
    }

    /// Of series that count all revisions, what reaches over the release is left out: nobody can tell
    /// how much of it came before.
    fn wanted(&self, increase: &Increase) -> bool {
        let since = self.since.as_millisecond();
        increase.to <= self.until.as_millisecond()
            && (!self.all_revisions || increase.from >= since)
    }

    /// Whether something was counted after `since` that no increase holds.
    fn begins_late(&self, pod: &PodCounters, from: i64) -> bool {
        let Some(first) = pod.samples.first() else {
            return false;
        };
        let begins_with_first = from == first.at.as_millisecond();
        (begins_with_first && first.total > 0.0 && first.at > self.since)
            || (self.all_revisions && from > self.since.as_millisecond())
    }
}

fn has_reset(samples: &[&Sample]) -> bool {
    let fell = |pair: &[&Sample]| match pair {
        [before, after] => after.total < before.total || after.failed < before.failed,
        _ => false,
    };
    samples.windows(2).any(fell)
}

impl Part {
    fn of(increase: &Increase) -> Self {
        let span = (increase.from, increase.to);
        Self {
            counted: increase.counted,
            span,
            failing: (increase.counted.failed > 0.0).then_some(span),
            at_least: false,
        }
    }

    fn plus(self, other: Self) -> Self {
        let both = |left: (i64, i64), right: (i64, i64)| (left.0.min(right.0), left.1.max(right.1));
        let failing = match (self.failing, other.failing) {
            (Some(left), Some(right)) => Some(both(left, right)),
            (left, right) => left.or(right),
        };
        Self {
            counted: self.counted.plus(other.counted),
            span: both(self.span, other.span),
            failing,
            at_least: self.at_least || other.at_least,
        }
    }

    fn impact(self, all_revisions: bool) -> Option<Impact> {
        let (from, until) = self.failing.unwrap_or(self.span);
        let total = whole(self.counted.total);
        Some(Impact {
            failed: whole(self.counted.failed).min(total),
            total,
            from: Timestamp::from_millisecond(from).ok()?,
            until: Timestamp::from_millisecond(until).ok()?,
            at_least: self.at_least,
            all_revisions,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "finite and not negative; a count beyond 2^64 stays there"
)]
fn whole(count: f64) -> u64 {
    count.max(0.0).round() as u64
}

/// A ReplicaSet names its pods by its own name, a dash, and letters or digits.
fn is_pod_of(pod: &str, replica_set: &str) -> bool {
    let rest = pod
        .strip_prefix(replica_set)
        .and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('-'))
}

impl fmt::Display for Impact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            failed,
            total,
            from,
            until,
            at_least,
            all_revisions,
        } = self;
        if *at_least {
            write!(formatter, "at least ")?;
        }
        write!(
            formatter,
            "{failed} of {total} requests failed between {from:.0} and {until:.0}"
        )?;
        if *all_revisions {
            write!(formatter, ", all revisions counted together")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
