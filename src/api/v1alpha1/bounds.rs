//! Limits and patterns of the API, shared by the schema and the parser so that they cannot differ.
//!
//! Which field a limit belongs to is said where the field is defined and where it is parsed.

pub mod source;

use jiff::SignedDuration;
use kube::core::Rule;

use crate::api::parse::duration;
use crate::decide::{diagnosis, found};

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
/// Of a diagnosis: as many as are taken, and characters of each text.
pub const FINDINGS: usize = diagnosis::FINDINGS_MAX;
pub const FINDING_LENGTH: usize = diagnosis::TEXT_MAX;
pub const TRAFFIC_LINES: usize = found::TRAFFIC_LINES_MAX;
pub const TRAFFIC_LINE_LENGTH: usize = found::TRAFFIC_LINE_MAX;

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
/// Histograms of requests end between 10 seconds and a few minutes. The usual value is an example:
/// what is too slow, only the user knows.
pub const LATENCY: Span = Span {
    least: SignedDuration::from_millis(1),
    most: SignedDuration::from_secs(600),
    usual: "800ms",
};
pub const PROBE_WINDOW: Span = Span::new(1, DAY, "2m");
pub const RESTART_WINDOW: Span = Span::new(1, DAY, "5m");
/// Zero: the first look counts.
pub const FOR: Span = Span::new(0, DAY, "2m");
/// Half of the replicas are gone: worth less patience than a rate, but more than one reschedule.
pub const UNAVAILABLE_FOR: Span = Span::new(0, DAY, "1m");
/// An alert has waited already, for the time in its own rule.
pub const ALERT_FOR: Span = Span::new(0, DAY, "0s");
pub const APPROVAL_TIMEOUT: Span = Span::new(1, 7 * DAY, "30m");
pub const DEADLINE: Span = Span::new(1, DAY, "10m");
pub const BUDGET_PER: Span = Span::new(60, 30 * DAY, "24h");
/// A week: long enough for the fix, short enough that nobody meets it by surprise months later.
pub const QUARANTINE: Span = Span::new(60, 90 * DAY, "168h");
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
pub const BUDGET_COUNT: Count = count(1, 1_000, 3);
/// Names of objects that `config.exclude` takes.
pub const EXCLUDED: u32 = 64;
/// `ServiceAccounts` that `approval.serviceAccounts` takes, their characters and their form: names of
/// a namespace and of an object.
pub const SERVICE_ACCOUNTS: u32 = 16;
pub const SERVICE_ACCOUNT_LENGTH: u32 = 63 + 1 + 253;
pub const SERVICE_ACCOUNT_PATTERN: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
/// Characters of a schedule: five fields, each with a list.
pub const SCHEDULE_LENGTH: u32 = 256;
/// Characters of the name of a time zone; the longest one has 32.
pub const TIME_ZONE_LENGTH: u32 = 64;

/// A number with a point, written as text because such numbers do not survive every tool between an
/// editor and the API server.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// Digits before the point, at most.
    pub whole: usize,
    /// Digits after the point, at most.
    pub part: usize,
    pub signed: bool,
    pub least: f64,
    pub most: f64,
    /// What the field takes, in words.
    pub words: &'static str,
    pub usual: &'static str,
}

impl Decimal {
    #[must_use]
    pub fn pattern(self) -> String {
        let Self {
            whole,
            part,
            signed,
            ..
        } = self;
        let sign = if signed { "-?" } else { "" };
        format!("^{sign}[0-9]{{1,{whole}}}([.][0-9]{{1,{part}}})?$")
    }

    /// Returns the characters of the longest number: sign, digits and point.
    #[must_use]
    pub const fn length(self) -> usize {
        self.signed as usize + self.whole + 1 + self.part
    }

    /// Returns the rule that the API server applies to the field.
    #[must_use]
    pub fn rule(self) -> Rule {
        let Self {
            least,
            most,
            words,
            usual,
            ..
        } = self;
        let pattern = self.pattern();
        // A double in CEL needs its point, which `{:?}` keeps.
        let rule = format!(
            "self.matches('{pattern}') && double(self) >= {least:?} && double(self) <= {most:?}"
        );
        let message = format!("must be {words}, such as {usual:?}");
        Rule::new(rule).message(message.as_str())
    }
}

/// `worseThanBefore.factor`. The least is the first number above 1 that can be written.
pub const FACTOR: Decimal = Decimal {
    whole: 4,
    part: 4,
    signed: false,
    least: 1.0001,
    most: 1_000.0,
    words: "a number above 1 and up to 1000",
    usual: "3",
};
/// `latency.percentile`. Below the median it is no longer about slow requests; above 99.999 no pod
/// has enough of them.
pub const PERCENTILE: Decimal = Decimal {
    whole: 2,
    part: 3,
    signed: false,
    least: 50.0,
    most: 99.999,
    words: "a number from 50 to 99.999",
    usual: "99",
};
/// `promql.above` and `promql.below`. Fifteen digits are what a double holds exactly.
pub const VALUE: Decimal = Decimal {
    whole: 15,
    part: 9,
    signed: true,
    least: -1e15,
    most: 1e15,
    words: "a number of at most 15 digits before and 9 after the point",
    usual: "10",
};

/// Characters of a query of the user's own, as bounded as the time it may take.
pub const QUERY_LENGTH: u32 = 4096;
/// Labels that an alert must have.
pub const ALERT_LABELS: u32 = 16;
/// Characters of the value of such a label.
pub const ALERT_VALUE_LENGTH: u32 = 256;
/// Labels of an alert that are not the user's to choose.
pub const ALERT_RESERVED: [&str; 3] = ["__name__", "alertstate", "namespace"];
/// What names of labels look like in Prometheus.
pub const METRIC_LABEL_PATTERN: &str = "^[a-zA-Z_][a-zA-Z0-9_]*$";
pub const METRIC_LABEL_LENGTH: u32 = 128;

/// The default of `metricSource`.
pub const METRIC_SOURCE: &str = "default";
/// The default of `restarts.pods`.
pub const PODS: &str = "20%";
/// The default of `unavailable.below`.
pub const BELOW: &str = "50%";
/// The default of `worseThanBefore.atLeast`.
pub const AT_LEAST: &str = "1%";
