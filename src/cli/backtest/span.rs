//! Stretches of time, and how people spell them on a command line.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::api::parse::duration;

/// From a time until another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Span {
    /// Returns its length, never less than nothing.
    #[must_use]
    pub fn length(&self) -> SignedDuration {
        self.until
            .duration_since(self.from)
            .max(SignedDuration::ZERO)
    }

    /// Returns whether `at` is in it: after its beginning, and not after its end.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        at > self.from && at <= self.until
    }

    /// Returns it cut into pieces of at most `piece`, oldest first.
    #[must_use]
    pub fn pieces(&self, piece: SignedDuration) -> Vec<Self> {
        let mut pieces = Vec::new();
        let mut from = self.from;
        while from < self.until {
            let until = later(from, piece).min(self.until);
            pieces.push(Self { from, until });
            from = until;
        }
        pieces
    }

    /// Returns its two halves, or `None` when it is not longer than `least`.
    #[must_use]
    pub fn halves(&self, least: SignedDuration) -> Option<[Self; 2]> {
        if self.length() <= least {
            return None;
        }
        let middle = later(self.from, self.length() / 2);
        Some([
            Self {
                from: self.from,
                until: middle,
            },
            Self {
                from: middle,
                until: self.until,
            },
        ])
    }
}

/// Returns the time `by` after `time`, or the last one that can be named.
#[must_use]
pub fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Returns the time `by` before `time`, or the first one that can be named.
#[must_use]
pub fn earlier(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// A length of time as people write it, days included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub SignedDuration);

/// A year: more than any Prometheus that answers in reasonable time keeps.
const DAYS_MAX: i64 = 366;

/// Reads `30d`, `12h` or `1d12h`.
///
/// # Errors
///
/// Says what a good value is.
pub fn length(text: &str) -> Result<Length, String> {
    let problem = || format!("{text:?} is no length of time; write 30d, 12h or 1d12h");
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) => (days.parse::<u16>().map_err(|_| problem())?, rest),
        None => (0, text),
    };
    let rest = if rest.is_empty() && text.ends_with('d') {
        SignedDuration::ZERO
    } else {
        duration::parse(rest).map_err(|_| problem())?
    };
    let length = SignedDuration::from_hours(24 * i64::from(days)) + rest;
    if length < SignedDuration::from_mins(1) {
        return Err(format!(
            "{text:?} is shorter than a minute; write 30d or 12h"
        ));
    }
    if length > SignedDuration::from_hours(24 * DAYS_MAX) {
        return Err(format!(
            "{text:?} is longer than {DAYS_MAX}d; write 30d or 12h"
        ));
    }
    Ok(Length(length))
}

/// A length of time for people: two units at most, days included.
#[derive(Clone, Copy, Debug)]
pub struct Spelled(pub SignedDuration);

impl fmt::Display for Spelled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs().max(0);
        let units = [
            (seconds / 86_400, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
        ];
        let Some(first) = units.iter().position(|(count, _)| *count > 0) else {
            return write!(formatter, "0s");
        };
        for (count, unit) in units
            .iter()
            .skip(first)
            .take(2)
            .filter(|(count, _)| *count > 0)
        {
            write!(formatter, "{count}{unit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, until: i64) -> Span {
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        Span {
            from: at(from),
            until: at(until),
        }
    }

    #[test]
    fn lengths_may_have_days() {
        for (text, hours) in [("30d", 720), ("12h", 12), ("1d12h", 36), ("0d90m", 1)] {
            let minutes = if text == "0d90m" { 90 } else { hours * 60 };
            let expected = Length(SignedDuration::from_mins(minutes));
            assert_eq!(length(text), Ok(expected), "{text}");
        }
        for text in [
            "", "d", "30", "30 d", "-1d", "1d1d", "367d", "99999d", "0d", "59s", "1w",
        ] {
            let problem = length(text).expect_err(text);
            assert!(problem.contains("12h"), "{text}: {problem}");
        }
    }

    #[test]
    fn pieces_cover_a_span_without_gap_or_overlap() {
        let pieces = span(0, 250).pieces(SignedDuration::from_secs(100));
        assert_eq!(pieces, [span(0, 100), span(100, 200), span(200, 250)]);
        assert_eq!(span(5, 5).pieces(SignedDuration::from_secs(1)), []);
        let least = SignedDuration::from_secs(10);
        assert_eq!(span(0, 20).halves(least), Some([span(0, 10), span(10, 20)]));
        assert_eq!(span(0, 10).halves(least), None);
    }

    #[test]
    fn a_span_is_open_at_its_beginning_like_a_range_of_promql() {
        let span = span(10, 20);
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let held: Vec<i64> = (9..22).filter(|second| span.holds(at(*second))).collect();
        assert_eq!(held, (11..=20).collect::<Vec<_>>());
    }

    #[test]
    fn people_read_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (42, "42s"),
            (102, "1m42s"),
            (3600, "1h"),
            (11_520, "3h12m"),
            (86_400 * 3 + 7_200 + 59, "3d2h"),
            (86_400 + 59, "1d"),
        ] {
            assert_eq!(
                Spelled(SignedDuration::from_secs(seconds)).to_string(),
                text
            );
        }
    }
}
