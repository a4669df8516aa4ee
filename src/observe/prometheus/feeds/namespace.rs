//! What a feed knows about one namespace.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::feed::{Need, Pace};
use crate::decide::Unknown;
use crate::observe::prometheus::histogram;

/// For what is only looked after.
pub(super) const TICK_SLOW: SignedDuration = SignedDuration::from_secs(60);
/// A workload is looked at every 60 seconds at the latest, so this means that nobody wanted it the
/// last two times.
pub(super) const FORGET_AFTER: SignedDuration = SignedDuration::from_secs(150);
/// Buckets of histograms change with a release only.
const EDGES_AGAIN: SignedDuration = SignedDuration::from_secs(300);
/// They appear with the first request.
const EDGES_UNKNOWN_AGAIN: SignedDuration = SignedDuration::from_secs(60);

#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) wanted: Timestamp,
    pub(super) wanted_fast: Option<Timestamp>,
    pub(super) from: Timestamp,
    /// Since when and until when samples have been asked for, without a gap.
    pub(super) covered: Option<(Timestamp, Timestamp)>,
    /// When it was last asked for, with or without success.
    pub(super) asked: Option<Timestamp>,
    pub(super) problem: Option<Unknown>,
    pub(super) thresholds: BTreeSet<u64>,
    /// All edges that the source has.
    pub(super) edges: Option<BTreeSet<String>>,
    pub(super) edges_asked: Option<Timestamp>,
}

impl Namespace {
    /// Returns a namespace of which nothing is known.
    pub(super) fn new(from: Timestamp, now: Timestamp) -> Self {
        Self {
            wanted: now,
            wanted_fast: None,
            from,
            covered: None,
            asked: None,
            problem: None,
            thresholds: BTreeSet::new(),
            edges: None,
            edges_asked: None,
        }
    }

    /// Takes in what a workload needs. Returns whether it has to be asked for at once.
    pub(super) fn want(
        &mut self,
        need: Need<'_>,
        from: Timestamp,
        again: bool,
        now: Timestamp,
    ) -> bool {
        self.wanted = now;
        if need.pace == Pace::Fast {
            self.wanted_fast = Some(now);
        }
        self.from = self.from.min(from);
        let short = self.covered.is_some_and(|(covered, _)| from < covered);
        let new_threshold = need
            .threshold
            .is_some_and(|threshold| self.thresholds.insert(threshold.to_bits()));
        if new_threshold || (short && again) {
            self.covered = None;
            self.asked = None;
        }
        self.covered.is_none() && self.asked.is_none()
    }

    /// Returns when it is to be asked for.
    pub(super) fn due(&self, tick: SignedDuration, now: Timestamp) -> Timestamp {
        let Some(asked) = self.asked else {
            return now;
        };
        let fast = self
            .wanted_fast
            .is_some_and(|wanted| now.duration_since(wanted) <= FORGET_AFTER);
        asked
            + if fast || self.covered.is_none() {
                tick
            } else {
                TICK_SLOW
            }
    }

    /// Takes in which edges the source has.
    pub(super) fn found_edges(&mut self, edges: BTreeSet<String>) {
        if self.edges.as_ref() != Some(&edges) {
            self.edges = Some(edges);
            self.covered = None;
        }
        // The samples come next, at once.
        self.asked = None;
    }

    /// Says whether it is time to ask which buckets there are.
    pub(super) fn needs_edges(&self, now: Timestamp) -> bool {
        let none = self.edges.as_ref().is_none_or(BTreeSet::is_empty);
        let again = if none {
            EDGES_UNKNOWN_AGAIN
        } else {
            EDGES_AGAIN
        };
        self.edges_asked
            .is_none_or(|asked| now.duration_since(asked) >= again)
    }

    /// Returns the edges around the thresholds, as the source spells them.
    pub(super) fn needed_edges(&self) -> BTreeSet<String> {
        let Some(edges) = &self.edges else {
            return BTreeSet::new();
        };
        let thresholds = self.thresholds.iter().map(|bits| f64::from_bits(*bits));
        histogram::needed_edges(thresholds, edges)
    }
}

/// Returns a time before `now`, or the first there is.
pub(super) fn earlier(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_sub(by).unwrap_or(Timestamp::MIN)
}
