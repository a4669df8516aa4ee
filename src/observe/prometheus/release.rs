//! From streams to counters of a revision: of its own pods, or of what came before and after a release
//! where a shape does not tell revisions apart.

use jiff::Timestamp;

use super::buffer::{Buffer, Column, Owner, Stream};
use crate::decide::{PodCounters, Sample};

/// Returns the requests of a stream, as they were counted.
#[must_use]
pub fn requests(stream: &Stream) -> Vec<Sample> {
    let column = |column| stream.column(column);
    let (succeeded, failed, total) = (
        column(Column::Succeeded),
        column(Column::Failed),
        column(Column::Total),
    );
    let value = |column: Option<&[f64]>, at: usize| column.map_or(0.0, |values| values[at]);
    let samples = stream.times().iter().enumerate().map(|(at, time)| {
        let failed = value(failed, at);
        let total = total.map_or_else(|| value(succeeded, at) + failed, |total| total[at]);
        let time = Timestamp::from_millisecond(*time).ok()?;
        Some(Sample {
            at: time,
            total,
            failed,
        })
    });
    samples.flatten().collect()
}

/// A pod by its name, with when it was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub born: Timestamp,
}

/// Where to look, and how to read what is there.
pub struct Streams<'a, E> {
    pub buffer: &'a Buffer,
    pub one_target: bool,
    pub read: &'a dyn Fn(&Stream) -> Result<Vec<Sample>, E>,
}

impl<E> Streams<'_, E> {
    /// Returns the counters of pods whose owner is found by `owner`. A name in a label proves nothing
    /// by itself, so only names that the API server knows are looked for.
    ///
    /// # Errors
    ///
    /// What `read` says of the first stream that it cannot read.
    pub fn by_pod(
        &self,
        pods: &[Named],
        owner: &dyn Fn(&str) -> Owner,
    ) -> Result<Vec<PodCounters>, E> {
        let mut found = Vec::new();
        for pod in pods {
            for stream in self.buffer.about(&owner(&pod.name), self.one_target) {
                found.push(PodCounters {
                    pod: pod.name.clone(),
                    born: pod.born,
                    samples: self.samples(stream)?,
                });
            }
        }
        Ok(found)
    }

    /// Returns the counters before and after `release` of everything about `owners`, old ones first.
    /// `seen` says since when it has been asked for.
    ///
    /// # Errors
    ///
    /// What `read` says of the first stream that it cannot read.
    pub fn by_time(
        &self,
        owners: &[Owner],
        release: Timestamp,
        seen: Timestamp,
    ) -> Result<(Vec<PodCounters>, Vec<PodCounters>), E> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for owner in owners {
            for stream in self.buffer.about(owner, self.one_target) {
                let samples = self.samples(stream)?;
                old.extend(before(&samples, release));
                new.extend(after(&samples, release, seen));
            }
        }
        Ok((old, new))
    }

    /// A number that is none says something about now, and is a hole in what was before.
    fn samples(&self, stream: &Stream) -> Result<Vec<Sample>, E> {
        let mut samples = (self.read)(stream)?;
        let newest = samples.last().map(|sample| sample.at);
        samples.retain(|sample| sample.is_finite() || Some(sample.at) == newest);
        Ok(samples)
    }
}

/// A name that no pod has.
const EVERYTHING: &str = "(all revisions)";

/// What was counted up to the release, as if by one pod that was born at the first sample.
fn before(samples: &[Sample], release: Timestamp) -> Option<PodCounters> {
    let end = samples.partition_point(|sample| sample.at <= release);
    let first = samples[..end].first()?;
    Some(PodCounters {
        pod: EVERYTHING.to_owned(),
        born: first.at,
        samples: since(first, &samples[..end]),
    })
}

/// What was counted since the release, as if by one pod that was born with it.
///
/// The last sample before the release is where it begins. A target that has none was there already and
/// not looked at, unless everything since before the release has been asked for: then it is new.
fn after(samples: &[Sample], release: Timestamp, seen: Timestamp) -> Option<PodCounters> {
    let start = samples.partition_point(|sample| sample.at <= release);
    let nothing = Sample {
        at: release,
        total: 0.0,
        failed: 0.0,
    };
    let first = match start.checked_sub(1) {
        Some(last) => &samples[last],
        None if seen < release => &nothing,
        None => samples.first()?,
    };
    let later = &samples[start..];
    later.first()?;
    Some(PodCounters {
        pod: EVERYTHING.to_owned(),
        born: release,
        samples: since(first, later),
    })
}

/// Returns what was counted from `first` on, with the resets of the counter taken out.
fn since(first: &Sample, samples: &[Sample]) -> Vec<Sample> {
    let (mut total, mut failed) = (0.0, 0.0);
    let mut previous = first;
    let mut counted = Vec::with_capacity(samples.len());
    for sample in samples {
        let reset = sample.total < previous.total || sample.failed < previous.failed;
        let (total_before, failed_before) = if reset {
            (0.0, 0.0)
        } else {
            (previous.total, previous.failed)
        };
        total += sample.total - total_before;
        failed += sample.failed - failed_before;
        counted.push(Sample {
            at: sample.at,
            total,
            failed,
        });
        previous = sample;
    }
    counted
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
    }

    fn samples(list: &[(i64, f64, f64)]) -> Vec<Sample> {
        let list = list.iter();
        list.map(|(second, total, failed)| Sample {
            at: at(*second),
            total: *total,
            failed: *failed,
        })
        .collect()
    }

    const TRAFFIC: &[(i64, f64, f64)] = &[
        (-20, 1000.0, 10.0),
        (-10, 1100.0, 11.0),
        (0, 1200.0, 12.0),
        (10, 1300.0, 40.0),
        (20, 50.0, 5.0),
    ];

    #[test]
    fn a_release_cuts_the_counters_in_two() {
        let old = before(&samples(TRAFFIC), at(5)).expect("old");
        assert_eq!(old.born, at(-20));
        assert_eq!(
            old.samples,
            samples(&[(-20, 0.0, 0.0), (-10, 100.0, 1.0), (0, 200.0, 2.0)])
        );
        let new = after(&samples(TRAFFIC), at(5), at(-100)).expect("new");
        assert_eq!(new.born, at(5));
        assert_eq!(
            new.samples,
            samples(&[(10, 100.0, 28.0), (20, 150.0, 33.0)])
        );
    }

    #[test]
    fn a_sample_at_the_release_is_of_before_it() {
        let old = before(&samples(TRAFFIC), at(0)).expect("old");
        assert_eq!(old.samples.len(), 3);
    }

    #[test]
    fn a_target_that_is_new_counts_from_zero_and_one_that_was_not_looked_at_does_not() {
        let late = &samples(&TRAFFIC[3..]);
        let new = after(late, at(5), at(-100)).expect("new");
        assert_eq!(new.samples[0], samples(&[(10, 1300.0, 40.0)])[0]);
        let new = after(late, at(5), at(5)).expect("new");
        assert_eq!(new.samples[0], samples(&[(10, 0.0, 0.0)])[0]);
    }

    #[test]
    fn nothing_before_or_after_the_release_is_nothing() {
        assert_eq!(before(&samples(TRAFFIC), at(-30)), None);
        assert_eq!(after(&samples(TRAFFIC), at(20), at(-100)), None);
        assert_eq!(after(&[], at(20), at(-100)), None);
    }
}
