//! What was read so far, kept so that only the newest has to be asked for.
//!
//! A stream is what one target reported about one pod, Service or route under one name. Its columns
//! share their times, because a target is scraped whole.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::answer::Millisecond;

/// Gaps of a stream of which the median is taken: more than a restart of Prometheus spoils, and few
/// enough to follow a change of the scrape interval within minutes.
const GAPS: usize = 8;

/// What a series is about, beside its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Pod(String),
    /// A Deployment behind a waypoint.
    Workload(String),
    Service(String),
    /// As Traefik spells it; the namespace is part of it.
    TraefikService(String),
    /// `<route>/rule/<number>`.
    Route(String),
    /// The namespace itself.
    All,
}

/// A namespace and what is in it. The namespace is empty where the subject holds it.
pub type Owner = (String, Subject);

/// What a column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Succeeded,
    Failed,
    /// Failed ones included.
    Total,
    /// Requests that took at most this long; infinite for all of them.
    AtMost(Bound),
}

/// The upper edge of a bucket, in the unit of its histogram.
#[derive(Clone, Copy, Debug)]
pub struct Bound(pub f64);

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.0.total_cmp(&other.0).is_eq()
    }
}

impl Eq for Bound {}

/// Which of the streams of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Of the name among those that would count the same.
    pub rank: u8,
    /// Of what was scraped, digested.
    pub instance: u64,
    pub job: u64,
}

/// What one target reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub target: Target,
    times: Vec<Millisecond>,
    /// How many series had a sample at that time.
    series: Vec<u32>,
    columns: Vec<(Column, Vec<f64>)>,
}

impl Stream {
    /// Returns a stream without samples.
    #[must_use]
    pub const fn new(target: Target) -> Self {
        Self {
            target,
            times: Vec::new(),
            series: Vec::new(),
            columns: Vec::new(),
        }
    }

    /// Adds a series to a column. All series of one scrape carry the same time, so that sums by time
    /// are sums over the labels that do not matter.
    pub fn add(&mut self, column: Column, values: &[(Millisecond, f64)]) {
        let place = self.place(column);
        let mut hint = 0;
        for (at, value) in values {
            let slot = self.slot(*at, hint);
            hint = slot + 1;
            self.columns[place].1[slot] += value;
            self.series[slot] += 1;
        }
    }

    fn place(&mut self, column: Column) -> usize {
        let known = self.columns.iter().position(|(known, _)| *known == column);
        known.unwrap_or_else(|| {
            self.columns.push((column, vec![0.0; self.times.len()]));
            self.columns.len() - 1
        })
    }

    /// Returns where `at` is, or makes room for it. It is mostly where the last one was not.
    fn slot(&mut self, at: Millisecond, hint: usize) -> usize {
        if self.times.get(hint) == Some(&at) {
            return hint;
        }
        match self.times.binary_search(&at) {
            Ok(slot) => slot,
            Err(slot) => {
                self.times.insert(slot, at);
                self.series.insert(slot, 0);
                for (_, values) in &mut self.columns {
                    values.insert(slot, 0.0);
                }
                slot
            }
        }
    }

    /// Takes in what a later answer says: from its first sample on, it knows better, because it holds
    /// everything since then. Returns whether something newer came.
    fn merge(&mut self, newer: &Self) -> bool {
        let Some(first) = newer.times.first() else {
            return false;
        };
        let before = self.newest();
        let kept = self.times.partition_point(|at| at < first);
        self.times.truncate(kept);
        self.series.truncate(kept);
        for (_, values) in &mut self.columns {
            values.truncate(kept);
        }
        for (column, _) in &newer.columns {
            self.place(*column);
        }
        for (column, values) in &mut self.columns {
            let found = newer.columns.iter().find(|(known, _)| known == column);
            match found {
                Some((_, newer)) => values.extend_from_slice(newer),
                None => values.resize(kept + newer.times.len(), 0.0),
            }
        }
        self.times.extend_from_slice(&newer.times);
        self.series.extend_from_slice(&newer.series);
        self.newest() > before
    }

    /// Forgets what is older than `horizon`, and all but the newest `most`.
    fn forget(&mut self, horizon: Millisecond, most: usize) {
        let old = self.times.partition_point(|at| *at < horizon);
        let old = old.max(self.times.len().saturating_sub(most));
        self.times.drain(..old);
        self.series.drain(..old);
        for (_, values) in &mut self.columns {
            values.drain(..old);
        }
    }

    /// Returns what it would have held at `until`, back to `from`; `None` where that is nothing.
    fn between(&self, from: Millisecond, until: Millisecond) -> Option<Self> {
        let first = self.times.partition_point(|at| *at < from);
        let end = self.times.partition_point(|at| *at <= until);
        let part = first..end;
        if part.is_empty() {
            return None;
        }
        Some(Self {
            target: self.target,
            times: self.times[part.clone()].to_vec(),
            series: self.series[part.clone()].to_vec(),
            columns: self
                .columns
                .iter()
                .map(|(column, values)| (*column, values[part.clone()].to_vec()))
                .collect(),
        })
    }

    /// Returns the time of the newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<Millisecond> {
        self.times.last().copied()
    }

    /// Returns the times whose samples are whole.
    ///
    /// Where samples travel by remote write, the series of one scrape arrive one after the other, and
    /// a sum without one of them looks as if the counter had been reset. So the newest time waits for
    /// the next scrape when it has fewer series than the one before.
    #[must_use]
    pub fn times(&self) -> &[Millisecond] {
        match self.series.as_slice() {
            [.., before, newest] if newest < before => &self.times[..self.times.len() - 1],
            _ => &self.times,
        }
    }

    /// Returns the values of a column at each of its times.
    #[must_use]
    pub fn column(&self, column: Column) -> Option<&[f64]> {
        let found = self.columns.iter().find(|(known, _)| *known == column);
        found.map(|(_, values)| values.as_slice())
    }

    /// Returns the edges of the buckets that are there, lowest first.
    #[must_use]
    pub fn bounds(&self) -> Vec<f64> {
        let mut bounds: Vec<f64> = self
            .columns
            .iter()
            .filter_map(|(column, _)| match column {
                Column::AtMost(bound) => Some(bound.0),
                Column::Succeeded | Column::Failed | Column::Total => None,
            })
            .collect();
        bounds.sort_by(f64::total_cmp);
        bounds
    }

    /// Returns the median of the newest gaps between samples; the lower one of two. A scrape that was
    /// missed, or one that came early because Prometheus was restarted, does not change it.
    #[must_use]
    pub fn gap(&self) -> Option<Millisecond> {
        let newest = self.times.len().saturating_sub(GAPS + 1);
        let mut gaps: Vec<Millisecond> = self.times[newest..]
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect();
        gaps.sort_unstable();
        let median = gaps.len().checked_sub(1)? / 2;
        gaps.get(median).copied()
    }
}

/// All streams of one shape, by what they are about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buffer(HashMap<Owner, Vec<Stream>>);

impl Buffer {
    /// Returns the stream of `target` about `owner`, and makes one where there is none.
    pub fn stream(&mut self, owner: Owner, target: Target) -> &mut Stream {
        let streams = self.0.entry(owner).or_default();
        let place = streams.iter().position(|known| known.target == target);
        let place = place.unwrap_or_else(|| {
            streams.push(Stream::new(target));
            streams.len() - 1
        });
        &mut streams[place]
    }

    /// Takes in a later answer. Calls `news` with each owner about which something newer came.
    pub fn merge(&mut self, newer: Self, mut news: impl FnMut(&Owner)) {
        for (owner, streams) in newer.0 {
            match self.0.entry(owner) {
                Entry::Vacant(vacant) => {
                    news(vacant.key());
                    vacant.insert(streams);
                }
                Entry::Occupied(mut known) => {
                    if merge_streams(known.get_mut(), streams) {
                        news(known.key());
                    }
                }
            }
        }
    }

    /// Forgets samples that are older than `horizon`, all but the newest `most` of each stream, and
    /// what has none left.
    pub fn forget(&mut self, horizon: Millisecond, most: usize) {
        self.0.retain(|_, streams| {
            for stream in streams.iter_mut() {
                stream.forget(horizon, most);
            }
            streams.retain(|stream| !stream.times.is_empty());
            !streams.is_empty()
        });
    }

    /// Forgets everything about these namespaces.
    pub fn forget_namespaces(&mut self, gone: &dyn Fn(&str) -> bool) {
        self.0.retain(|(namespace, _), _| !gone(namespace));
    }

    /// Returns what is known about `owner`: by the best name that has data, each target once.
    #[must_use]
    pub fn about(&self, owner: &Owner, one_target: bool) -> Vec<&Stream> {
        let Some(streams) = self.0.get(owner) else {
            return Vec::new();
        };
        let rank = streams.iter().map(|stream| stream.target.rank).min();
        let mut best: Vec<&Stream> = streams
            .iter()
            .filter(|stream| Some(stream.target.rank) == rank)
            .collect();
        // What two jobs scrape from one address are the same counters; so is a proxy's at two.
        best.sort_by_key(|stream| {
            let instance = if one_target {
                0
            } else {
                stream.target.instance
            };
            (instance, std::cmp::Reverse(stream.newest()), stream.target)
        });
        if one_target {
            best.truncate(1);
        } else {
            best.dedup_by_key(|stream| stream.target.instance);
        }
        best
    }

    /// Returns what it would have held at `until`, of samples that are not older than `from`.
    #[must_use]
    pub fn between(&self, from: Millisecond, until: Millisecond) -> Self {
        let part = |(owner, streams): (&Owner, &Vec<Stream>)| {
            let streams = streams.iter();
            let streams: Vec<Stream> = streams
                .filter_map(|stream| stream.between(from, until))
                .collect();
            (!streams.is_empty()).then(|| (owner.clone(), streams))
        };
        Self(self.0.iter().filter_map(part).collect())
    }

    /// Returns all streams with what they are about.
    pub fn streams(&self) -> impl Iterator<Item = (&Owner, &Stream)> {
        let owners = self.0.iter();
        owners.flat_map(|(owner, streams)| streams.iter().map(move |stream| (owner, stream)))
    }

    /// Returns everything that there is something about.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.0.keys()
    }

    /// Returns the lower quartile of the gaps of all streams: the scrape interval. A few streams that
    /// have samples more often do not change it, and a minority does not wait for slow ones. Of three
    /// it is the one in the middle, of two the lower one.
    #[must_use]
    pub fn gap(&self) -> Option<Millisecond> {
        let streams = self.0.values().flatten();
        let mut gaps: Vec<Millisecond> = streams.filter_map(Stream::gap).collect();
        gaps.sort_unstable();
        let middle = gaps.len().checked_sub(1)? / 2;
        gaps.get((gaps.len() / 4).max(1).min(middle)).copied()
    }

    /// Returns about how many pods, Services or routes there is something.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn merge_streams(known: &mut Vec<Stream>, newer: Vec<Stream>) -> bool {
    let mut news = false;
    for stream in newer {
        if let Some(old) = known.iter_mut().find(|old| old.target == stream.target) {
            news |= old.merge(&stream);
        } else {
            known.push(stream);
            news = true;
        }
    }
    news
}

#[cfg(test)]
mod tests;
