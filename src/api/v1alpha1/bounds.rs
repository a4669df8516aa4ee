//! Limits and patterns of the API, shared by the schema and the parser so that they cannot differ.
//!
//! Which field a limit belongs to is said where the field is defined and where it is parsed.

use jiff::SignedDuration;
use kube::core::Rule;

use crate::api::parse::duration;

/// GEP-2257: a strict subset of what Go and Prometheus read.
pub const DURATION_PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// Four numbers of five digits with their units.
pub const DURATION_LENGTH: u32 = 28;
/// At most three digits before and four after the point.
pub const PERCENTAGE_PATTERN: &str = "^[0-9]{1,3}([.][0-9]{1,4})?%$";
pub const PERCENTAGE_LENGTH: u32 = 9;
/// What names of objects look like.
pub const NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
pub const NAME_LENGTH: u32 = 253;
/// What names of triggers look like: they become label values of metrics and parts of annotations.
pub const TRIGGER_NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
pub const TRIGGER_NAME_LENGTH: u32 = 63;
/// Label matchers without braces: `name op "value"`, separated by commas.
pub const MATCHERS_PATTERN: &str = r#"^([a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"([^"\\]|\\.)*"(,|$))*$"#;
pub const MATCHERS_LENGTH: u32 = 512;
/// An address with an optional path, without user, query and fragment.
pub const URL_PATTERN: &str =
    r"^https?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$";
pub const URL_LENGTH: u32 = 1024;

pub const TRIGGERS: u32 = 32;
pub const TARGETS: u32 = 16;
pub const LABELS: u32 = 32;
pub const LABEL_NAME_LENGTH: u32 = 317;
pub const LABEL_VALUE_LENGTH: u32 = 63;

/// Returns the rule for a field that holds a name. A pattern alone would print only itself.
#[must_use]
pub fn name_rule(pattern: &str, usual: &str) -> Rule {
    let message =
        format!("must be a name of lower-case letters, digits and dashes, such as {usual:?}");
    Rule::new(format!("self.matches('{pattern}')")).message(message.as_str())
}

/// The shortest and the longest value of a field that holds a duration, and its default.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub least: SignedDuration,
    pub most: SignedDuration,
    pub usual: &'static str,
}

impl Span {
    const fn new(least: i64, most: i64, usual: &'static str) -> Self {
        Self {
            least: SignedDuration::from_secs(least),
            most: SignedDuration::from_secs(most),
            usual,
        }
    }

    /// Returns the rule that the API server applies to the field.
    ///
    /// The pattern is part of it: without it the text of another error, that of a failed conversion,
    /// would stand where the good value should.
    #[must_use]
    pub fn rule(self) -> Rule {
        let Self { least, most, usual } = self;
        let (least, most) = (duration::format(least), duration::format(most));
        let rule = format!(
            "self.matches('{DURATION_PATTERN}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
        );
        let message = format!("must be a duration from {least} to {most}, such as {usual:?}");
        Rule::new(rule).message(message.as_str())
    }
}

const DAY: i64 = 86_400;

pub const PROBATION: Span = Span::new(1, 7 * DAY, "15m");
pub const RATE_WINDOW: Span = Span::new(1, DAY, "1m");
pub const PROBE_WINDOW: Span = Span::new(1, DAY, "2m");
pub const RESTART_WINDOW: Span = Span::new(1, DAY, "5m");
/// Zero: the first look counts.
pub const FOR: Span = Span::new(0, DAY, "2m");
pub const APPROVAL_TIMEOUT: Span = Span::new(1, 7 * DAY, "30m");
pub const DEADLINE: Span = Span::new(1, DAY, "10m");
/// An answer that takes longer says nothing about now.
pub const QUERY_TIMEOUT: Span = Span::new(1, 60, "10s");

/// The smallest and the largest value of a field that counts something.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    pub least: i32,
    pub most: i32,
    pub usual: i32,
}

const fn count(least: i32, most: i32, usual: i32) -> Count {
    Count { least, most, usual }
}

pub const REQUIRED: Count = count(1, 16, 1);
pub const MINIMUM_REQUESTS: Count = count(1, 1_000_000, 20);
pub const THRESHOLD: Count = count(1, 10_000, 3);

/// The default of `metricSource`.
pub const METRIC_SOURCE: &str = "default";
/// The default of `restarts.pods`.
pub const PODS: &str = "20%";
