//! A value that changes now and then, as samples of it tell.

use jiff::Timestamp;

/// A value from each time on, until the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes<T>(Vec<(Timestamp, T)>);

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone + PartialEq> Changes<T> {
    /// Returns the changes in `samples`, whatever their order. Of two at one time one holds.
    #[must_use]
    pub fn of(samples: impl IntoIterator<Item = (Timestamp, T)>) -> Self {
        let mut samples: Vec<(Timestamp, T)> = samples.into_iter().collect();
        samples.sort_by_key(|(at, _)| *at);
        samples.dedup_by(|next, first| next.1 == first.1 || next.0 == first.0);
        Self(samples)
    }

    /// Returns the value that held at `now`; `None` before the first sample.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<&T> {
        self.until(now).last().map(|(_, value)| value)
    }

    /// Returns since when the value that held at `now` has held.
    #[must_use]
    pub fn since(&self, now: Timestamp) -> Option<Timestamp> {
        self.until(now).last().map(|(at, _)| *at)
    }

    /// Returns the changes up to `now`.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> &[(Timestamp, T)] {
        let end = self.0.partition_point(|(at, _)| *at <= now);
        self.0.get(..end).unwrap_or_default()
    }

    /// Returns whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    #[test]
    fn only_changes_are_kept_and_each_holds_until_the_next() {
        let changes = Changes::of([
            (at(30), 5),
            (at(10), 4),
            (at(20), 4),
            (at(40), 5),
            (at(40), 5),
        ]);
        assert_eq!(changes.until(at(99)), [(at(10), 4), (at(30), 5)]);
        assert_eq!(changes.at(at(9)), None);
        assert_eq!(changes.at(at(10)), Some(&4));
        assert_eq!(changes.at(at(29)), Some(&4));
        assert_eq!(changes.since(at(35)), Some(at(30)));
        assert!(Changes::<u32>::default().is_empty());
    }
}
