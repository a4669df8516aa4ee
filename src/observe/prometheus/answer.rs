//! Reads what a metric source answered, row by row, without building a tree of it.
//!
//! What a row means is said by the [`Sink`] that takes it. No part of a body ever goes into an error:
//! it may be anything that the address leads to.

mod visit;

use std::borrow::Cow;

use serde::de::DeserializeSeed as _;

use crate::decide::Unknown;

/// One answer may hold this many series: 5,000 pods with forty combinations of other labels each.
/// More is a selector that went wrong.
pub const SERIES_MAX: usize = 200_000;
/// Samples of one series in one answer: an hour, the longest range, of a scrape a second.
pub const SAMPLES_MAX: usize = 4_000;
/// Labels of one series that are looked at; Prometheus itself is seldom allowed more than 64.
const LABELS_MAX: usize = 32;
/// Buckets of one native histogram. Instrumentation stops at 160.
const BUCKETS_MAX: usize = 2_000;

/// The labels of a series that somebody asked to keep.
#[derive(Clone, Debug, Default)]
pub struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Labels<'_> {
    /// Returns the value of a label. An empty one is the same as none, as in `PromQL`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Labels<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self(
            pairs
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

/// Milliseconds since 1970, which is what Prometheus keeps.
pub type Millisecond = i64;

/// One series of an answer. Its times are in order and differ from each other.
#[derive(Clone, Debug, Default)]
pub struct Row<'a> {
    pub labels: Labels<'a>,
    pub values: Vec<(Millisecond, f64)>,
    pub histograms: Vec<(Millisecond, NativeHistogram)>,
}

/// One sample of a native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeHistogram {
    pub count: f64,
    pub buckets: Vec<NativeBucket>,
}

/// One bucket that holds something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NativeBucket {
    pub lower: f64,
    pub upper: f64,
    /// In this bucket alone.
    pub count: f64,
}

/// Takes the rows of an answer.
pub trait Sink {
    /// Says which labels it looks at. The others are skipped.
    fn keeps(&self, label: &str) -> bool;

    /// Takes one row.
    ///
    /// # Errors
    ///
    /// Why the whole answer is of no use, in words of our own.
    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str>;
}

/// Reads `body` into `sink`.
///
/// # Errors
///
/// Why it says nothing. The caller treats the error as data, and forgets what `sink` has taken.
pub fn read(body: &[u8], accept_partial: bool, sink: &mut dyn Sink) -> Result<(), Unknown> {
    let mut problem = None;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = visit::Body {
        sink,
        problem: &mut problem,
    };
    let head = seed
        .deserialize(&mut deserializer)
        .ok()
        .filter(|_| deserializer.end().is_ok());
    let Some(head) = head else {
        return Err(not_understood(problem.unwrap_or("not the JSON of a query")));
    };
    if !head.success {
        return Err(not_understood("it reports an error"));
    }
    if head.warned && !accept_partial {
        return Err(Unknown::Incomplete);
    }
    if !head.has_result {
        return Err(not_understood("it has no data"));
    }
    Ok(())
}

fn not_understood(cause: &str) -> Unknown {
    Unknown::NotUnderstood {
        cause: cause.to_owned(),
    }
}

/// Prometheus keeps milliseconds and sends seconds as a float.
fn millisecond(seconds: f64) -> Option<Millisecond> {
    const YEAR_9999: f64 = 253_402_300_799.0;
    if !(0.0..YEAR_9999).contains(&seconds) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be within range"
    )]
    let milliseconds = (seconds * 1000.0).round() as i64;
    Some(milliseconds)
}

#[cfg(test)]
mod tests;
