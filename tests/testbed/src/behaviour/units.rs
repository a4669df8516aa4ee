//! Durations and percentages as people write them in scenario files.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// Reads `500ms`, `3s`, `1m`, or a sum of such parts from the largest to the smallest.
///
/// # Errors
///
/// When the text is anything else; the message says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as \"500ms\", \"3s\" or \"1m30s\"");
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let letters = tail
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        total = unit
            .checked_mul(number)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(total)
}

/// Reads `30%` as 0.3.
///
/// # Errors
///
/// When the text is no number between 0 and 100 followed by a percent sign.
pub fn parse_percentage(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|number| (0.0..=100.0).contains(number))
        .map(|number| number / 100.0)
        .ok_or_else(|| format!("{text:?} is not a percentage between \"0%\" and \"100%\""))
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    parse_duration(&text).map_err(D::Error::custom)
}

pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Duration>, D::Error> {
    duration(input).map(Some)
}

pub(crate) fn percentage<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    let text = String::deserialize(input)?;
    parse_percentage(&text).map_err(D::Error::custom)
}

pub(crate) fn optional_percentage<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<f64>, D::Error> {
    percentage(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn durations_need_a_unit() {
        for text in ["", "5", "s", "5d", "-5s", "1.5s", "99999999999s"] {
            assert!(parse_duration(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn percentages_stay_within_the_whole() {
        assert_eq!(parse_percentage("30%"), Ok(0.3));
        assert_eq!(parse_percentage("100%"), Ok(1.0));
        for text in ["30", "101%", "-1%", "NaN%", "%"] {
            assert!(parse_percentage(text).is_err(), "{text:?} was taken");
        }
    }
}
