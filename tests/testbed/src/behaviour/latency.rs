//! How long requests take: always the same, or spread as real response times are.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::behaviour::units;

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874;

/// Steps of the additive recurrence that covers the unit square evenly: the powers of the inverse of
/// the plastic number (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018).
const STEPS: (f64, f64) = (0.754_877_666_246_693, 0.569_840_290_998_053);

/// Response times by their median and their 99th percentile, log-normal between and beyond.
///
/// In scenario files `20ms`, or `{p50: 20ms, p99: 800ms}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

impl Latency {
    /// Returns the response time of the request of this number.
    ///
    /// Not by chance: any hundred requests in a row show the distribution, as with errors.
    #[must_use]
    pub fn of(&self, number: u32) -> Duration {
        if self.p50 == self.p99 {
            return self.p50;
        }
        let number = f64::from(number) + 1.0;
        // Box and Muller make a normal deviate of two uniform ones.
        let (first, second) = (
            (number * STEPS.0).fract().max(f64::MIN_POSITIVE),
            (number * STEPS.1).fract(),
        );
        let deviate = (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos();
        let spread = (self.p99.as_secs_f64() / self.p50.as_secs_f64()).ln() / NORMAL_P99;
        // Three and a half deviations: one request in 4,000 would be slower, by any amount.
        self.p50.mul_f64((spread * deviate.min(3.5)).exp())
    }
}

impl From<Duration> for Latency {
    fn from(always: Duration) -> Self {
        Self {
            p50: always,
            p99: always,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Always(String),
    Spread(Spread),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spread {
    #[serde(deserialize_with = "units::duration")]
    p50: Duration,
    #[serde(deserialize_with = "units::duration")]
    p99: Duration,
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let wrong = || {
            D::Error::custom(
                "latency is neither a duration such as \"20ms\" nor two such as \
                 {p50: 20ms, p99: 800ms}, the first above zero and not the longer one",
            )
        };
        match Written::deserialize(input).map_err(|_| wrong())? {
            Written::Always(text) => units::parse_duration(&text)
                .map(Self::from)
                .map_err(D::Error::custom),
            Written::Spread(Spread { p50, p99 }) if !p50.is_zero() && p50 <= p99 => {
                Ok(Self { p50, p99 })
            }
            Written::Spread(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Latency, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn one_duration_is_every_response_time() {
        let latency = read("20ms").unwrap();
        assert!((0..50).all(|number| latency.of(number) == Duration::from_millis(20)));
    }

    #[test]
    fn a_hundred_requests_show_median_and_tail() {
        let latency = read("{p50: 20ms, p99: 800ms}").unwrap();
        for first in [0, 1000] {
            let slower = |limit: u64| {
                let limit = Duration::from_millis(limit);
                (first..first + 100)
                    .filter(|number| latency.of(*number) > limit)
                    .count()
            };
            assert!((45..=55).contains(&slower(20)), "{}", slower(20));
            assert!((0..=3).contains(&slower(800)), "{}", slower(800));
            assert!(slower(400) >= 1, "{}", slower(400));
        }
    }

    #[test]
    fn a_median_above_the_tail_is_refused() {
        for text in [
            "{p50: 2s, p99: 1s}",
            "{p50: 0s, p99: 1s}",
            "{p50: 1s}",
            "fast",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("20ms") || error.contains("500ms"), "{error}");
        }
    }
}
