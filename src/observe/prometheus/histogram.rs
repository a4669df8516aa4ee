//! How many requests took at most some time, by histograms, as `histogram_quantile` sees them.
//!
//! Within a bucket of a classic histogram, or of a native one with buckets of its own choice, requests
//! are taken to be spread evenly; within an exponential bucket, evenly over the logarithm. That is
//! what Prometheus does, so that our share of slow requests and its percentile agree.

use std::collections::BTreeSet;

use super::answer::{Millisecond, NativeBucket, NativeHistogram};
use super::buffer::{Bound, Column, Stream};
use super::presets::Unit;
use crate::decide::{Sample, Unknown};
use jiff::{SignedDuration, Timestamp};

/// Edges closer than this, relatively, are the same edge spelled differently.
const SAME: f64 = 1e-9;

/// Returns a duration in the unit of a histogram.
#[must_use]
pub fn in_unit(duration: SignedDuration, unit: Unit) -> f64 {
    match unit {
        Unit::Seconds => duration.as_secs_f64(),
        Unit::Milliseconds => duration.as_secs_f64() * 1000.0,
    }
}

/// Where a threshold lies among the edges of buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// On an edge.
    On(f64),
    /// Between two edges, this share of the way up. The lower one may be zero, which has no bucket.
    Between { lower: f64, upper: f64, share: f64 },
    /// Above the highest finite edge.
    Above { highest: f64 },
}

/// Finds `threshold` among `edges`, which are in order.
#[must_use]
pub fn place(threshold: f64, edges: &[f64]) -> Place {
    let mut lower = 0.0;
    for edge in edges.iter().copied().filter(|edge| edge.is_finite()) {
        if (edge - threshold).abs() <= SAME * threshold.abs() {
            return Place::On(edge);
        }
        if edge > threshold {
            let share = (threshold - lower) / (edge - lower);
            return Place::Between {
                lower,
                upper: edge,
                share,
            };
        }
        lower = edge;
    }
    Place::Above { highest: lower }
}

/// Returns the edges that are needed to know how many requests took at most `threshold`.
#[must_use]
pub fn needed(threshold: f64, edges: &[f64]) -> Vec<f64> {
    let mut needed = match place(threshold, edges) {
        Place::On(edge) => vec![edge],
        Place::Between { lower, upper, .. } => vec![lower, upper],
        // So that it can be said which thresholds would do.
        Place::Above { highest } => vec![highest],
    };
    needed.push(f64::INFINITY);
    needed
}

/// Returns those of `edges`, as the source spells them, that are needed for any of `thresholds`.
pub fn needed_edges(
    thresholds: impl Iterator<Item = f64>,
    edges: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut numbers: Vec<f64> = edges.iter().filter_map(|edge| edge.parse().ok()).collect();
    numbers.sort_by(f64::total_cmp);
    let needed: Vec<f64> = thresholds
        .flat_map(|threshold| needed(threshold, &numbers))
        .collect();
    let is_needed = |edge: &&String| {
        edge.parse::<f64>()
            .is_ok_and(|edge| needed.iter().any(|needed| needed.total_cmp(&edge).is_eq()))
    };
    edges.iter().filter(is_needed).cloned().collect()
}

/// Returns the requests of a stream of buckets; failed are those that took longer than `threshold`.
///
/// # Errors
///
/// When the histogram is too coarse to say; the cause names the largest threshold that would do.
pub fn slower_than(stream: &Stream, threshold: f64, unit: Unit) -> Result<Vec<Sample>, Unknown> {
    let column = |edge: f64| stream.column(Column::AtMost(Bound(edge)));
    let Some(totals) = column(f64::INFINITY) else {
        return Ok(Vec::new());
    };
    let within: Box<dyn Fn(usize) -> f64> = match place(threshold, &stream.bounds()) {
        Place::On(edge) => {
            let values = column(edge).unwrap_or(totals);
            Box::new(move |at| values[at])
        }
        Place::Between {
            lower,
            upper,
            share,
        } => {
            let below = column(lower);
            let values = column(upper).unwrap_or(totals);
            Box::new(move |at| {
                let below = below.map_or(0.0, |below| below[at]);
                below + share * (values[at] - below)
            })
        }
        Place::Above { highest } => return Err(too_coarse(highest, unit)),
    };
    let samples = stream.times().iter().enumerate().map(|(at, time)| {
        let total = totals[at];
        Some(Sample {
            at: Timestamp::from_millisecond(*time).ok()?,
            total,
            failed: (total - within(at)).max(0.0),
        })
    });
    Ok(samples.flatten().collect())
}

fn too_coarse(highest: f64, unit: Unit) -> Unknown {
    let unit = match unit {
        Unit::Seconds => "s",
        Unit::Milliseconds => "ms",
    };
    Unknown::NotUnderstood {
        cause: format!(
            "the threshold is above the largest finite bucket of the histogram; use at most {highest}{unit}, or give the app larger buckets"
        ),
    }
}

/// Returns how much each sample of a native histogram counted in all.
#[must_use]
pub fn counts(histograms: &[(Millisecond, NativeHistogram)]) -> Vec<(Millisecond, f64)> {
    let samples = histograms.iter();
    samples
        .map(|(at, histogram)| (*at, histogram.count))
        .collect()
}

/// Returns how many requests of each sample took at most `threshold`.
#[must_use]
pub fn native_within(
    histograms: &[(Millisecond, NativeHistogram)],
    threshold: f64,
) -> Vec<(Millisecond, f64)> {
    let samples = histograms.iter();
    samples
        .map(|(at, histogram)| (*at, within(histogram, threshold)))
        .collect()
}

fn within(histogram: &NativeHistogram, threshold: f64) -> f64 {
    let exponential = is_exponential(&histogram.buckets);
    let buckets = histogram.buckets.iter();
    buckets
        .map(|bucket| bucket.count * share_within(bucket, threshold, exponential))
        .sum()
}

/// The JSON does not say how the buckets were chosen, but exponential ones show it: those above zero
/// are all the same number of times as high as they begin, and that number is 2 to a power of 2.
fn is_exponential(buckets: &[NativeBucket]) -> bool {
    let mut ratios = buckets
        .iter()
        .filter(|bucket| bucket.lower > 0.0)
        .map(|bucket| bucket.upper / bucket.lower);
    let Some(first) = ratios.next() else {
        return false;
    };
    let power = first.log2().log2();
    let known = (-8.5..=4.5).contains(&power) && (power - power.round()).abs() < 1e-6;
    known && ratios.all(|ratio| (ratio - first).abs() <= SAME * first)
}

fn share_within(bucket: &NativeBucket, threshold: f64, exponential: bool) -> f64 {
    if threshold >= bucket.upper {
        return 1.0;
    }
    if threshold <= bucket.lower {
        return 0.0;
    }
    // The bucket around zero, as far as times go, is the one from zero up: none is negative.
    let lower = bucket.lower.max(0.0);
    if exponential && lower > 0.0 {
        (threshold / lower).log2() / (bucket.upper / lower).log2()
    } else if bucket.upper.is_finite() {
        (threshold - lower) / (bucket.upper - lower)
    } else {
        // Nothing is known about where in it.
        0.0
    }
}

#[cfg(test)]
mod tests;
