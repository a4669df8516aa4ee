//! Schedules in the words of cron, in a time zone by name.
//!
//! The time zones are those of the build. A time that daylight saving time skips is taken when the clock
//! goes on; one that comes twice is taken the first time.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// When something comes round.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a text is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASchedule {
    #[error(
        "is not made of five fields as in cron: minute, hour, day of the month, month, day of the week"
    )]
    Fields,
    #[error("names days that no year has, so it would never come round")]
    Never,
    #[error("is no name of a time zone of the IANA database")]
    TimeZone,
}

impl Schedule {
    /// Returns the schedule that `text` describes, by the clocks of `zone`.
    ///
    /// # Errors
    ///
    /// [`NotASchedule::TimeZone`] is about `zone`, the others are about `text`. The caller tells the user.
    pub fn parse(text: &str, zone: &str) -> Result<Self, NotASchedule> {
        let cron = parsed(text)?;
        let zone = TimeZone::get(zone).map_err(|_| NotASchedule::TimeZone)?;
        Ok(Self { cron, zone })
    }

    /// Returns the last time at or before `now`.
    #[must_use]
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        let found = self.cron.find_previous_occurrence(&now, true).ok()?;
        Some(whole(found.timestamp()))
    }

    /// Returns the first time after `now`.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        // Exclusive: a second later, the clock may have skipped what is searched.
        let now = whole(now).to_zoned(self.zone.clone());
        let found = self.cron.find_next_occurrence(&now, false).ok()?;
        Some(whole(found.timestamp()))
    }
}

fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The parser knows more than cron does; what people have never seen they do not mean.
fn parsed(text: &str) -> Result<Cron, NotASchedule> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [_, _, day, month, weekday] = fields[..] else {
        return Err(NotASchedule::Fields);
    };
    if !fields.iter().all(|field| is_plain(field)) {
        return Err(NotASchedule::Fields);
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let parse = |text: &str| parser.parse(text).map_err(|_| NotASchedule::Fields);
    let cron = parse(text)?;
    // The search for a day that never comes would take most of a second, at every look.
    let days = parse(&format!("0 0 {day} {month} {weekday}"))?;
    if comes(&days) {
        Ok(cron)
    } else {
        Err(NotASchedule::Never)
    }
}

/// Numbers, ranges, steps, lists, and names of months and weekdays, which have three letters.
fn is_plain(field: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"*/,-".contains(&byte);
    let mut words = field
        .split(|letter: char| !letter.is_ascii_alphabetic())
        .filter(|word| !word.is_empty());
    field.bytes().all(known) && words.all(|word| word.len() == 3)
}

/// Whether any day of a leap year fits; each month has every day of the week.
fn comes(days: &Cron) -> bool {
    let leap_year = date(2024, 1, 1).series(1.day()).take(366);
    leap_year.into_iter().any(|day| {
        let midnight = day.to_zoned(TimeZone::UTC);
        midnight.is_ok_and(|midnight| days.is_time_matching(&midnight).unwrap_or(false))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[track_caller]
    fn check(schedule: &str, zone: &str, now: &str, (latest, next): (&str, &str)) {
        let schedule = Schedule::parse(schedule, zone).expect("a schedule");
        assert_eq!(schedule.latest(at(now)), Some(at(latest)));
        assert_eq!(schedule.next(at(now)), Some(at(next)));
    }

    #[test]
    fn the_latest_and_the_next_time_are_by_the_clocks_of_the_zone() {
        let monday = ("2026-11-23T01:00:00Z", "2026-11-24T01:00:00Z");
        check(
            "0 9 * * MON-FRI",
            "Asia/Shanghai",
            "2026-11-23T12:00:00Z",
            monday,
        );
        // The scheduled second itself is the latest time, a part of a second before it is not.
        check("0 9 * * *", "Asia/Shanghai", "2026-11-23T01:00:00Z", monday);
        let before = ("2026-11-22T01:00:00Z", "2026-11-23T01:00:00Z");
        check(
            "0 9 * * *",
            "Asia/Shanghai",
            "2026-11-23T00:59:59.9Z",
            before,
        );
        let leap = ("2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z");
        check("0 0 29 2 *", "UTC", "2026-11-23T12:00:00Z", leap);
    }

    #[test]
    fn a_time_that_the_clock_skips_comes_once_all_the_same() {
        // 2026-03-29, 02:00 in Berlin is followed by 03:00, at 01:00 UTC.
        let (day_before, skipped) = ("2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z");
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:59:59Z",
            (day_before, skipped),
        );
        let day_after = "2026-03-30T00:30:00Z";
        for now in [skipped, "2026-03-29T01:30:00Z"] {
            check("30 2 * * *", "Europe/Berlin", now, (skipped, day_after));
        }
    }

    #[test]
    fn a_time_that_comes_twice_is_taken_the_first_time() {
        // 2026-10-25, 03:00 in Berlin is followed by 02:00, at 01:00 UTC.
        let first = "2026-10-25T00:30:00Z";
        let (day_before, day_after) = ("2026-10-24T00:30:00Z", "2026-10-26T01:30:00Z");
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:29:00Z",
            (day_before, first),
        );
        for now in [
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:29:00Z",
            "2026-10-25T01:31:00Z",
        ] {
            check("30 2 * * *", "Europe/Berlin", now, (first, day_after));
        }
    }

    #[test]
    fn what_cron_does_not_know_is_no_schedule() {
        for text in [
            "",
            "daily",
            "@daily",
            "0 9 * *",
            "0 0 9 * * *",
            "0 9 * * * 2027",
            "61 * * * *",
            "0 9 L * *",
            "0 9 15W * *",
            "0 9 * * 5#2",
            "0 9 ? * *",
            "0 9 1 * +MON",
            "a b c d e",
        ] {
            let parsed = Schedule::parse(text, "UTC").map(drop);
            assert_eq!(parsed, Err(NotASchedule::Fields), "{text:?}");
        }
        for text in ["0 0 30 2 *", "0 0 31 2,4,6 *"] {
            let parsed = Schedule::parse(text, "UTC").map(drop);
            assert_eq!(parsed, Err(NotASchedule::Never), "{text:?}");
        }
        let parsed = Schedule::parse("0 9 * * *", "Mars/Olympus").map(drop);
        assert_eq!(parsed, Err(NotASchedule::TimeZone));
    }
}
