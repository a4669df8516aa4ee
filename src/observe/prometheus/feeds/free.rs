//! Queries of people's own, each for one workload.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::namespace::{FORGET_AFTER, TICK_SLOW};
use super::{Pace, too_many};
use crate::decide::{Bound, Unknown, ValueAt};
use crate::observe::prometheus::selector::STEP;

/// Between two requests. A query is the user's own, and may be a costly one.
const TICK: SignedDuration = SignedDuration::from_secs(5);
/// Distinct queries of one source, custom counters included. At a tick each that is forty a second,
/// which is what one Prometheus answers beside its other work.
pub(super) const FREE_MAX: usize = 200;
/// Values in one answer, so that a long `for` does not ask for more than anybody looks at.
const VALUES_MAX: i32 = 120;

/// Which query, whose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FreeKey {
    /// Name of the `MetricSource`.
    pub source: String,
    pub tenant: Option<String>,
    pub namespace: String,
    pub workload: String,
    pub trigger: String,
}

/// A query with everything filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeQuery {
    /// Kept within the namespace and with the names of the pods already.
    pub text: String,
    pub range: SignedDuration,
    pub step: SignedDuration,
    /// Which values are the worst.
    pub bound: Bound,
}

impl FreeQuery {
    /// Returns the query for values over `range`.
    #[must_use]
    pub fn new(text: String, bound: Bound, range: SignedDuration) -> Self {
        let step = (range / VALUES_MAX).max(STEP);
        Self {
            text,
            range,
            // Whole seconds, rounded up.
            step: SignedDuration::from_secs(step.as_secs() + i64::from(step.subsec_nanos() > 0)),
            bound,
        }
    }
}

#[derive(Debug)]
struct Free {
    query: FreeQuery,
    pace: Pace,
    wanted: Timestamp,
    asked: Option<Timestamp>,
    asking: bool,
    /// The query that was answered, and the answer.
    answer: Option<(String, Result<Vec<ValueAt>, Unknown>)>,
}

impl Free {
    fn due(&self) -> Option<Timestamp> {
        let tick = match self.pace {
            Pace::Fast => TICK,
            Pace::Slow => TICK_SLOW,
        };
        self.asked.map(|asked| asked + tick)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct FreeQueries(HashMap<FreeKey, Free>);

impl FreeQueries {
    /// Returns the newest answer, and whether there is something to ask now.
    pub(super) fn wanted(
        &mut self,
        key: &FreeKey,
        query: FreeQuery,
        pace: Pace,
        now: Timestamp,
    ) -> (Result<Vec<ValueAt>, Unknown>, bool) {
        let Some(known) = self.0.get_mut(key) else {
            if self.count(&key.source) >= FREE_MAX {
                return (Err(too_many()), false);
            }
            let free = Free {
                query,
                pace,
                wanted: now,
                asked: None,
                asking: false,
                answer: None,
            };
            self.0.insert(key.clone(), free);
            return (Err(Unknown::NoData), true);
        };
        known.wanted = now;
        known.pace = pace;
        known.query = query;
        let answer = known.answer.as_ref();
        let answer = answer.map_or(Err(Unknown::NoData), |(_, answer)| answer.clone());
        (answer, false)
    }

    pub(super) fn count(&self, source: &str) -> usize {
        self.0.keys().filter(|key| key.source == source).count()
    }

    pub(super) fn tidy(&mut self, now: Timestamp) {
        self.0
            .retain(|_, free| free.asking || now.duration_since(free.wanted) <= FORGET_AFTER);
    }

    /// Returns when there is something to ask.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.0.values().filter(|free| !free.asking);
        waiting.map(|free| free.due().unwrap_or(now)).min()
    }

    /// Returns the keys of what is due now, those first that have waited longest.
    pub(super) fn ready(&self, now: Timestamp) -> Vec<FreeKey> {
        let mut ready: Vec<(&FreeKey, &Free)> = self
            .0
            .iter()
            .filter(|(_, free)| !free.asking && free.due().is_none_or(|due| due <= now))
            .collect();
        ready.sort_by_key(|(key, free)| (free.asked, *key));
        ready.into_iter().map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn start(&mut self, key: &FreeKey, now: Timestamp) -> Option<FreeQuery> {
        let free = self.0.get_mut(key)?;
        free.asking = true;
        free.asked = Some(now);
        Some(free.query.clone())
    }

    /// Takes in an answer. Returns whether it is news.
    pub(super) fn take_in(
        &mut self,
        key: &FreeKey,
        query: &FreeQuery,
        answer: Result<Vec<ValueAt>, Unknown>,
    ) -> bool {
        let Some(free) = self.0.get_mut(key) else {
            return false;
        };
        free.asking = false;
        let answer = Some((query.text.clone(), answer));
        let news = free.answer != answer;
        free.answer = answer;
        news
    }
}
