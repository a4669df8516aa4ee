//! What clients saw, request by request.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Bound, RangeBounds},
    time::Duration,
};

use jiff::Timestamp;

/// Older answers are forgotten: at 60 requests a second these last for more than four hours.
const LONGEST: usize = 1_000_000;

/// One request as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the answer, or its failure, arrived.
    pub at: Timestamp,
    pub latency: Duration,
    /// The status code, or why there is none.
    pub outcome: Result<u16, String>,
}

impl Answer {
    /// Says whether a client would call it a failure: no answer, or one of the server's errors.
    #[must_use]
    pub fn failed(&self) -> bool {
        match self.outcome {
            Ok(status) => status >= 500,
            Err(_) => true,
        }
    }

    fn cause(&self) -> String {
        match &self.outcome {
            Ok(status) => format!("status {status}"),
            Err(cause) => cause.clone(),
        }
    }
}

/// What clients saw in a range of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub total: u64,
    pub failed: u64,
    /// Nothing without requests.
    pub success_rate: Option<f64>,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
    pub first_bad: Option<Timestamp>,
    pub last_bad: Option<Timestamp>,
    /// How often each cause of a failure was seen.
    pub causes: BTreeMap<String, u64>,
}

/// What clients saw in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    pub at: Timestamp,
    pub total: u64,
    pub failed: u64,
}

/// The latest answers, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Record(VecDeque<Answer>);

impl Record {
    pub(crate) fn add(&mut self, answer: Answer) {
        if self.0.len() == LONGEST {
            self.0.pop_front();
        }
        self.0.push_back(answer);
    }

    pub(crate) fn summary(&self, range: &impl RangeBounds<Timestamp>) -> Seen {
        let mut seen = Seen::default();
        let mut latencies = Vec::new();
        for answer in self.within(range) {
            seen.total += 1;
            latencies.push(answer.latency);
            if answer.failed() {
                seen.failed += 1;
                seen.first_bad.get_or_insert(answer.at);
                seen.last_bad = Some(answer.at);
                *seen.causes.entry(answer.cause()).or_default() += 1;
            }
        }
        latencies.sort_unstable();
        seen.success_rate = share(seen.total - seen.failed, seen.total);
        seen.p50 = percentile(&latencies, 50);
        seen.p99 = percentile(&latencies, 99);
        seen
    }

    pub(crate) fn by_second(&self, range: &impl RangeBounds<Timestamp>) -> Vec<Second> {
        let mut seconds: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for answer in self.within(range) {
            let (total, failed) = seconds.entry(answer.at.as_second()).or_default();
            *total += 1;
            *failed += u64::from(answer.failed());
        }
        seconds
            .into_iter()
            .filter_map(|(second, (total, failed))| {
                let at = Timestamp::from_second(second).ok()?;
                Some(Second { at, total, failed })
            })
            .collect()
    }

    /// Finds the start by bisection: a live display asks for the last seconds of a long run.
    fn within<'a>(
        &'a self,
        range: &'a impl RangeBounds<Timestamp>,
    ) -> impl Iterator<Item = &'a Answer> {
        // Answers of the same moment may be out of order by as much as a task switch takes.
        let slack = Duration::from_secs(1);
        let start = match range.start_bound() {
            Bound::Included(start) | Bound::Excluded(start) => {
                let early = *start - slack;
                self.0.partition_point(|answer| answer.at < early)
            }
            Bound::Unbounded => 0,
        };
        self.0
            .range(start..)
            .filter(|answer| range.contains(&answer.at))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of requests stay far below 2^52"
)]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Returns the smallest latency that this percentage of requests did not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    /// One answer a second; those of seconds 2 and 4 failed.
    fn record() -> Record {
        let mut record = Record::default();
        for (second, outcome) in [
            (1, Ok(200)),
            (2, Ok(503)),
            (3, Ok(404)),
            (4, Err("refused".to_owned())),
            (5, Ok(200)),
        ] {
            record.add(Answer {
                at: at(second),
                latency: Duration::from_millis(second.unsigned_abs() * 10),
                outcome,
            });
        }
        record
    }

    #[test]
    fn failures_are_server_errors_and_missing_answers() {
        let seen = record().summary(&..);
        assert_eq!((seen.total, seen.failed), (5, 2));
        assert_eq!(seen.success_rate, Some(0.6));
        assert_eq!((seen.first_bad, seen.last_bad), (Some(at(2)), Some(at(4))));
        let causes: Vec<_> = seen.causes.keys().map(String::as_str).collect();
        assert_eq!(causes, ["refused", "status 503"]);
    }

    #[test]
    fn a_range_leaves_out_its_end() {
        let seen = record().summary(&(at(2)..at(4)));
        assert_eq!((seen.total, seen.failed), (2, 1));
    }

    #[test]
    fn no_requests_have_no_rate() {
        let seen = record().summary(&(at(6)..));
        assert_eq!(seen, Seen::default());
    }

    #[test]
    fn percentiles_are_latencies_that_occurred() {
        let seen = record().summary(&..);
        assert_eq!(seen.p50, Some(Duration::from_millis(30)));
        assert_eq!(seen.p99, Some(Duration::from_millis(50)));
    }

    #[test]
    fn seconds_come_in_order() {
        let seconds = record().by_second(&(at(3)..=at(4)));
        let failed: Vec<_> = seconds.iter().map(|second| second.failed).collect();
        assert_eq!(failed, [0, 1]);
    }
}
