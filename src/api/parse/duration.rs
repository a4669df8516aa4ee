//! Durations as GEP-2257 spells them.
//!
//! Not the parser of any library: those take days, months, fractions or signs, each a different set,
//! and one of them panics on large numbers.

use jiff::SignedDuration;

/// Numbers in a duration.
const PARTS: usize = 4;
/// Digits of one number.
const DIGITS: usize = 5;

/// The text does not spell a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as \"90s\" or \"1h30m\"")]
pub struct NotADuration;

/// Returns the duration that `text` spells: one to four numbers of up to five digits, each with its
/// unit `h`, `m`, `s` or `ms`.
///
/// # Errors
///
/// When it spells none. The caller should say which field it stands in.
pub fn parse(text: &str) -> Result<SignedDuration, NotADuration> {
    sum(text).ok_or(NotADuration)
}

fn sum(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut sum = SignedDuration::ZERO;
    for _ in 0..PARTS {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=DIGITS).contains(&digits) {
            return None;
        }
        let (number, unit) = rest.split_at_checked(digits)?;
        let number: i64 = number.parse().ok()?;
        let letters = unit.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = unit.split_at_checked(letters)?;
        let milliseconds = number.checked_mul(milliseconds(unit)?)?;
        sum = sum.checked_add(SignedDuration::from_millis(milliseconds))?;
        if tail.is_empty() {
            return Some(sum);
        }
        rest = tail;
    }
    None
}

fn milliseconds(unit: &str) -> Option<i64> {
    match unit {
        "h" => Some(3_600_000),
        "m" => Some(60_000),
        "s" => Some(1_000),
        "ms" => Some(1),
        _ => None,
    }
}

/// Returns the usual spelling, with each unit at most once. What the API cannot spell is brought
/// to what it can: a part of a millisecond is dropped, a negative duration is `0s`, and hours end at
/// 99999.
#[must_use]
pub fn format(duration: SignedDuration) -> String {
    let milliseconds = u128::try_from(duration.as_millis()).unwrap_or(0);
    let (hours, rest) = (milliseconds / 3_600_000, milliseconds % 3_600_000);
    let parts = [
        (hours.min(99_999), "h"),
        (rest / 60_000, "m"),
        (rest % 60_000 / 1_000, "s"),
        (rest % 1_000, "ms"),
    ];
    let spelled: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if spelled.is_empty() {
        "0s".to_owned()
    } else {
        spelled.concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, milliseconds: Option<i64>) {
        let expected = milliseconds.map(SignedDuration::from_millis);
        assert_eq!(parse(text).ok(), expected, "{text:?}");
    }

    #[test]
    fn durations_are_numbers_with_units() {
        check("15m", Some(900_000));
        check("1h30m", Some(5_400_000));
        check("1h2m3s4ms", Some(3_723_004));
        check("0s", Some(0));
        check("500ms", Some(500));
        check("99999h99999h99999h99999h", Some(4 * 99_999 * 3_600_000));
        check("1s1s", Some(2_000));
    }

    #[test]
    fn what_other_parsers_take_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "-5m",
            "+5m",
            "1d",
            "1w",
            "1M",
            "1.5h",
            "1h0",
            "5 m",
            "5m ",
            "10µs",
            "１m",
            "100000h",
            "1h1m1s1ms1ms",
            "99999999999999999999999h",
            "1e9s",
            "NaN",
            "inf",
            "PT5M",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn what_cannot_be_spelled_is_brought_to_what_can() {
        for (duration, text) in [
            (SignedDuration::from_micros(1_999), "1ms"),
            (SignedDuration::from_micros(999), "0s"),
            (SignedDuration::from_secs(-5), "0s"),
            (SignedDuration::MAX, "99999h30m7s999ms"),
            (SignedDuration::MIN, "0s"),
        ] {
            assert_eq!(format(duration), text);
        }
    }

    proptest! {
        #[test]
        fn a_duration_survives_the_round_trip(milliseconds in 0..99_999 * 3_600_000_i64) {
            let duration = SignedDuration::from_millis(milliseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn whatever_fits_the_pattern_is_a_duration(text in "([0-9]{1,5}(h|m|s|ms)){1,4}") {
            prop_assert!(parse(&text).is_ok());
        }
    }
}
