//! One feed: what is wanted of one shape, what is known of it, and what to ask next.
//!
//! Pure but for the times that it is given. A namespace that is new is asked for as far back as its
//! release needs; after that only what is new is, together with all the others.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::namespace::{FORGET_AFTER, Namespace, TICK_SLOW, earlier};
use super::plan::{Outcome, Plan, Purpose};
use crate::decide::Unknown;
use crate::observe::prometheus::buffer::Buffer;
use crate::observe::prometheus::series::{Metric, Series};

/// Between two requests for the same series until the scrape interval is known.
const TICK_UNKNOWN: SignedDuration = SignedDuration::from_secs(2);
/// A fifth of a scrape interval, within these: pods are scraped at moments of their own, and a sample
/// is to be used when it is there, not half an interval later.
const TICK_MIN: SignedDuration = SignedDuration::from_secs(1);
const TICK_MAX: SignedDuration = SignedDuration::from_secs(10);
/// Above so many pods in one feed an answer is megabytes, and half a scrape interval has to do: of the
/// processor, 5,000 pods took 0.08 cores at a fifth (`make bench-judging`).
const MANY: usize = 1_000;
/// No judgement rests on samples that are older; what a pod counted before is in its counters.
pub const HISTORY_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Samples kept of one stream: an hour at five seconds.
const SAMPLES_MAX: usize = 720;
/// What was asked for already and is asked for again, since samples appear only when the scrape is
/// over, and by remote write later still.
const OVERLAP_MIN: SignedDuration = SignedDuration::from_secs(30);
const OVERLAP_UNKNOWN: SignedDuration = SignedDuration::from_secs(60);
/// Of the names in one request. Longer ones are split, for the sake of proxies in between.
const NAMES_LENGTH_MAX: usize = 8_000;
/// Namespaces in one request for everything back to their releases: with ten pods of three series
/// each, and an hour of samples, that is ten megabytes.
const BACKFILL_MAX: usize = 64;
/// How often something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Once a minute.
    Slow,
    /// Several times within a scrape interval.
    Fast,
}

/// What a workload needs of a feed.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    pub namespace: &'a str,
    /// The oldest samples that matter.
    pub from: Timestamp,
    pub pace: Pace,
    /// For a histogram: in its unit.
    pub threshold: Option<f64>,
}

/// What is known of one shape.
#[derive(Debug)]
pub(super) struct Feed {
    namespaces: HashMap<String, Namespace>,
    pub(super) buffer: Buffer,
    pub(super) asking: bool,
    pub(super) interval: Option<SignedDuration>,
    /// The clock of this process at the last answer.
    answered: Option<Timestamp>,
    cleaned: Option<Timestamp>,
    last: Purpose,
    backfill_max: usize,
    increment_max: usize,
    history_max: SignedDuration,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            namespaces: HashMap::new(),
            buffer: Buffer::default(),
            asking: false,
            interval: None,
            answered: None,
            cleaned: None,
            last: Purpose::Increment,
            backfill_max: BACKFILL_MAX,
            increment_max: usize::MAX,
            history_max: HISTORY_MAX,
        }
    }
}

impl Feed {
    /// Keeps samples of `namespace` coming. Returns whether something has to be asked for now.
    pub(super) fn want(&mut self, need: Need<'_>, now: Timestamp) -> bool {
        let namespace = need.namespace;
        let from = need.from.max(earlier(now, HISTORY_MAX));
        if !self.namespaces.contains_key(namespace) {
            self.namespaces
                .insert(namespace.to_owned(), Namespace::new(from, now));
        }
        // A history that was halved because it was too large is not asked for again and again.
        let again = self.history_max == HISTORY_MAX;
        let known = self.namespaces.get_mut(namespace);
        known.is_some_and(|known| known.want(need, from, again, now))
    }

    /// Says whether everything that `namespace` needs was asked for with success.
    ///
    /// # Errors
    ///
    /// Why not, which is data for the caller.
    pub(super) fn covers(&self, namespace: &str) -> Result<Timestamp, Unknown> {
        let known = self.namespaces.get(namespace).ok_or(Unknown::NoData)?;
        if let Some(problem) = &known.problem {
            return Err(problem.clone());
        }
        let (_, until) = known.covered.ok_or(Unknown::NoData)?;
        Ok(until)
    }

    /// Forgets what nobody has wanted for a while. Returns whether anything is left.
    pub(super) fn tidy(&mut self, now: Timestamp) -> bool {
        let before = self.namespaces.len();
        self.namespaces
            .retain(|_, known| now.duration_since(known.wanted) <= FORGET_AFTER);
        if self.namespaces.len() < before {
            let left = &self.namespaces;
            self.buffer
                .forget_namespaces(&|name| !name.is_empty() && !left.contains_key(name));
        }
        !self.namespaces.is_empty() || self.asking
    }

    /// Returns when there is something to ask.
    pub(super) fn due(&self, now: Timestamp) -> Timestamp {
        let namespaces = self.namespaces.values();
        let due = namespaces.map(|known| known.due(self.tick(), now)).min();
        due.unwrap_or(now + TICK_SLOW)
    }

    /// Returns what to ask now.
    pub(super) fn plan(&mut self, series: &Series, now: Timestamp) -> Option<Plan> {
        let plan = self.plan_edges(series, now).or_else(|| match self.last {
            // New ones and known ones take turns, so that neither waits for the other.
            Purpose::Backfill => self.plan_increment(now).or_else(|| self.plan_backfill(now)),
            Purpose::Increment | Purpose::Edges => {
                self.plan_backfill(now).or_else(|| self.plan_increment(now))
            }
        })?;
        self.last = plan.purpose;
        self.asking = true;
        for name in &plan.namespaces {
            if let Some(known) = self.namespaces.get_mut(name) {
                known.asked = Some(now);
                if plan.purpose == Purpose::Edges {
                    known.edges_asked = Some(now);
                }
            }
        }
        Some(plan)
    }

    fn plan_edges(&self, series: &Series, now: Timestamp) -> Option<Plan> {
        if !matches!(series.metric, Metric::Latency(_)) {
            return None;
        }
        let names = self.named(|known| known.needs_edges(now), usize::MAX);
        self.planned(Purpose::Edges, names, SignedDuration::ZERO)
    }

    fn plan_backfill(&self, now: Timestamp) -> Option<Plan> {
        let tick = self.tick();
        let names = self.named(
            |known| known.covered.is_none() && known.due(tick, now) <= now,
            self.backfill_max,
        );
        let oldest = names.iter().filter_map(|name| self.namespaces.get(name));
        let from = oldest.map(|known| known.from).min()?;
        let range = now.duration_since(from).clamp(TICK_SLOW, self.history_max);
        self.planned(Purpose::Backfill, names, range)
    }

    fn plan_increment(&self, now: Timestamp) -> Option<Plan> {
        let tick = self.tick();
        if self.due(now) > now {
            return None;
        }
        // What is due soon comes along, so that all of them keep in step.
        let soon = now + tick / 2;
        let names = self.named(
            |known| known.covered.is_some() && known.due(tick, now) <= soon,
            self.increment_max,
        );
        let covered = names.iter().filter_map(|name| self.namespaces.get(name));
        let until = covered
            .filter_map(|known| known.covered)
            .map(|(_, until)| until)
            .min()?;
        let range = (now.duration_since(until) + self.overlap()).clamp(TICK_MIN, HISTORY_MAX);
        self.planned(Purpose::Increment, names, range)
    }

    fn planned(
        &self,
        purpose: Purpose,
        namespaces: Vec<String>,
        range: SignedDuration,
    ) -> Option<Plan> {
        if namespaces.is_empty() {
            return None;
        }
        let known: Vec<&Namespace> = namespaces
            .iter()
            .filter_map(|name| self.namespaces.get(name))
            .collect();
        Some(Plan {
            purpose,
            range,
            edges: known
                .iter()
                .flat_map(|known| known.needed_edges())
                .collect(),
            thresholds: known
                .iter()
                .flat_map(|known| &known.thresholds)
                .copied()
                .collect(),
            namespaces,
        })
    }

    /// Returns the names of the namespaces that `fits`, those first that have waited longest, no more
    /// than `most` and than go into one request.
    fn named(&self, fits: impl Fn(&Namespace) -> bool, most: usize) -> Vec<String> {
        let mut fitting: Vec<(&String, &Namespace)> = self
            .namespaces
            .iter()
            .filter(|(_, known)| fits(known))
            .collect();
        fitting.sort_by_key(|(name, known)| (known.asked, *name));
        let mut length = 0;
        let mut names: Vec<String> = fitting
            .into_iter()
            .take(most)
            .take_while(|(name, _)| {
                length += name.len() + 1;
                length <= NAMES_LENGTH_MAX
            })
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names
    }

    pub(super) fn tick(&self) -> SignedDuration {
        let parts = if self.buffer.len() > MANY { 2 } else { 5 };
        self.interval.map_or(TICK_UNKNOWN, |interval| {
            (interval / parts).clamp(TICK_MIN, TICK_MAX)
        })
    }

    fn overlap(&self) -> SignedDuration {
        self.interval
            .map_or(OVERLAP_UNKNOWN, |interval| (interval * 2).max(OVERLAP_MIN))
    }

    /// Takes in what came back for a plan that was made `at` that time. Returns the namespaces about
    /// which there is news.
    pub(super) fn take_in(&mut self, plan: &Plan, at: Timestamp, outcome: Outcome) -> Vec<String> {
        self.asking = false;
        match outcome {
            Outcome::Edges(mut found) => {
                let everywhere = found.remove("");
                for name in &plan.namespaces {
                    let edges = found.remove(name).or_else(|| everywhere.clone());
                    if let Some(known) = self.namespaces.get_mut(name) {
                        known.found_edges(edges.unwrap_or_default());
                    }
                }
                Vec::new()
            }
            Outcome::Samples(buffer) => {
                self.grow(plan.purpose);
                self.take_in_samples(plan, at, buffer)
            }
            Outcome::Failed { cause, too_large } => {
                if too_large {
                    self.shrink(plan);
                }
                let mut news = Vec::new();
                for name in &plan.namespaces {
                    if let Some(known) = self.namespaces.get_mut(name) {
                        let same = known.problem.as_ref().map(Unknown::name) == Some(cause.name());
                        known.problem = Some(cause.clone());
                        news.extend((!same).then(|| name.clone()));
                    }
                }
                news
            }
        }
    }

    fn take_in_samples(&mut self, plan: &Plan, at: Timestamp, buffer: Buffer) -> Vec<String> {
        let mut news = BTreeSet::new();
        for name in &plan.namespaces {
            let Some(known) = self.namespaces.get_mut(name) else {
                continue;
            };
            let changed = known.problem.take().is_some() || known.covered.is_none();
            if changed {
                news.insert(name.clone());
            }
            let from = match (plan.purpose, known.covered) {
                (Purpose::Increment | Purpose::Edges, Some((from, _))) => from,
                _ => earlier(at, plan.range),
            };
            // A threshold may have come while the answer was on its way.
            let whole = known
                .thresholds
                .iter()
                .all(|one| plan.thresholds.contains(one));
            known.covered = whole.then_some((from, at));
        }
        self.answered = Some(at);
        let mut everywhere = false;
        self.buffer.merge(buffer, |(namespace, _)| {
            everywhere |= namespace.is_empty();
            news.insert(namespace.clone());
        });
        if everywhere {
            news.extend(plan.namespaces.iter().cloned());
        }
        let gap = self.buffer.gap().map(SignedDuration::from_millis);
        self.interval = gap.or(self.interval);
        self.clean(at);
        news.retain(|name| self.namespaces.contains_key(name));
        news.into_iter().collect()
    }

    /// Old samples go once a minute; their times are the source's, so there is some room for clocks
    /// that differ.
    fn clean(&mut self, now: Timestamp) {
        let due = self
            .cleaned
            .is_none_or(|cleaned| now.duration_since(cleaned) >= TICK_SLOW);
        if due {
            self.cleaned = Some(now);
            let horizon = earlier(now, HISTORY_MAX + TICK_SLOW * 5).as_millisecond();
            self.buffer.forget(horizon, SAMPLES_MAX);
        }
    }

    fn shrink(&mut self, plan: &Plan) {
        let asked = plan.namespaces.len();
        match plan.purpose {
            Purpose::Backfill if asked > 1 => self.backfill_max = asked / 2,
            Purpose::Backfill => self.history_max = (self.history_max / 2).max(TICK_SLOW),
            Purpose::Increment => self.increment_max = (asked / 2).max(1),
            Purpose::Edges => {}
        }
    }

    fn grow(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Backfill => {
                let more = self.backfill_max + self.backfill_max / 8 + 1;
                self.backfill_max = more.min(BACKFILL_MAX);
            }
            Purpose::Increment if self.increment_max < usize::MAX => {
                self.increment_max = self
                    .increment_max
                    .saturating_add(self.increment_max / 64 + 1);
            }
            Purpose::Increment | Purpose::Edges => {}
        }
    }
}

#[cfg(test)]
mod tests;
