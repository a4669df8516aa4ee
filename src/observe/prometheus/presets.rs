//! The shapes of metrics that are known by name.

use std::collections::BTreeMap;

use crate::decide::{Preset, Probe};

/// Which counters to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    Requests(Preset),
    Probes(Probe),
}

/// Counters of one shape from one source: what one request asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Name of the `MetricSource`.
    pub source: String,
    pub metric: Metric,
    /// More matchers of the policy; empty for none.
    pub matchers: String,
}

/// What one series counts, by its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed,
    /// Neither: the kubelet could not tell.
    Neither,
}

/// The labels under which the usual client libraries put the status code.
const CODE_LABELS: [&str; 3] = ["code", "status", "status_code"];

impl Series {
    /// Returns the selector for the pods of `namespaces`, with which a range is asked for.
    #[must_use]
    pub fn selector<'a>(&self, namespaces: impl Iterator<Item = &'a str>) -> String {
        let namespaces: Vec<String> = namespaces.map(quoted_regex).collect();
        let (name, own) = match self.metric {
            Metric::Requests(Preset::HttpRequests) => ("http_requests_total", String::new()),
            // The destination's report is about this pod, whoever called it.
            Metric::Requests(Preset::Istio) => (
                "istio_requests_total",
                ",reporter=\"destination\"".to_owned(),
            ),
            Metric::Requests(_) => ("absent_metric", String::new()),
            Metric::Probes(probe) => (
                "prober_probe_total",
                format!(",probe_type=\"{}\"", probe.name()),
            ),
        };
        let separator = if self.matchers.is_empty() { "" } else { "," };
        format!(
            "{name}{{namespace=~\"{}\"{own}{separator}{}}}",
            namespaces.join("|"),
            self.matchers
        )
    }

    /// Returns what a series with these labels counts.
    #[must_use]
    pub fn outcome(&self, labels: &BTreeMap<String, String>) -> Outcome {
        let label = |name: &str| labels.get(name).map(String::as_str);
        match self.metric {
            Metric::Requests(Preset::HttpRequests) => {
                by_code(CODE_LABELS.iter().find_map(|name| label(name)))
            }
            Metric::Requests(Preset::Istio) => by_code(label("response_code")),
            Metric::Requests(_) => Outcome::Neither,
            Metric::Probes(_) => match label("result") {
                Some("successful") => Outcome::Succeeded,
                Some("failed") => Outcome::Failed,
                Some(_) | None => Outcome::Neither,
            },
        }
    }
}

fn by_code(code: Option<&str>) -> Outcome {
    if code.is_some_and(|code| code.starts_with('5')) {
        Outcome::Failed
    } else {
        Outcome::Succeeded
    }
}

/// Names of namespaces hold nothing special, but nothing that comes from an object goes unescaped
/// into a query.
fn quoted_regex(name: &str) -> String {
    name.chars()
        .flat_map(|character| {
            let plain = character.is_ascii_alphanumeric() || character == '-' || character == '_';
            let escape = if plain { "" } else { "\\\\" };
            escape.chars().chain([character])
        })
        .filter(|character| *character != '"' && *character != '\n')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metric: Metric, matchers: &str) -> Series {
        Series {
            source: "default".to_owned(),
            metric,
            matchers: matchers.to_owned(),
        }
    }

    #[track_caller]
    fn check(metric: Metric, matchers: &str, expected: &str) {
        let selector = series(metric, matchers).selector(["shop", "pay-ments"].into_iter());
        assert_eq!(selector, expected);
    }

    #[test]
    fn one_selector_serves_all_namespaces() {
        check(
            Metric::Requests(Preset::HttpRequests),
            "",
            r#"http_requests_total{namespace=~"shop|pay-ments"}"#,
        );
        check(
            Metric::Requests(Preset::Istio),
            r#"request_protocol="http""#,
            r#"istio_requests_total{namespace=~"shop|pay-ments",reporter="destination",request_protocol="http"}"#,
        );
        check(
            Metric::Probes(Probe::Liveness),
            "",
            r#"prober_probe_total{namespace=~"shop|pay-ments",probe_type="Liveness"}"#,
        );
    }

    #[test]
    fn nothing_breaks_out_of_the_selector() {
        assert_eq!(quoted_regex("a.b"), r"a\\.b");
        assert_eq!(quoted_regex("a\"} or b{"), r"a\\\\}\\ or\\ b\\{");
    }

    #[track_caller]
    fn check_outcome(metric: Metric, label: &str, value: &str, expected: Outcome) {
        let labels = BTreeMap::from([(label.to_owned(), value.to_owned())]);
        assert_eq!(series(metric, "").outcome(&labels), expected);
    }

    #[test]
    fn failures_are_told_by_the_labels_of_each_shape() {
        let http = Metric::Requests(Preset::HttpRequests);
        for label in CODE_LABELS {
            check_outcome(http, label, "503", Outcome::Failed);
            check_outcome(http, label, "5xx", Outcome::Failed);
            check_outcome(http, label, "404", Outcome::Succeeded);
        }
        let istio = Metric::Requests(Preset::Istio);
        check_outcome(istio, "response_code", "500", Outcome::Failed);
        check_outcome(istio, "code", "500", Outcome::Succeeded);
        let probes = Metric::Probes(Probe::Liveness);
        check_outcome(probes, "result", "failed", Outcome::Failed);
        check_outcome(probes, "result", "successful", Outcome::Succeeded);
        check_outcome(probes, "result", "unknown", Outcome::Neither);
    }
}
