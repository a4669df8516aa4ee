//! What a simulated application counts, and the page on which Prometheus reads it.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use axum::http::{Method, StatusCode};

use crate::{behaviour::Metrics, node::state::Pod};

/// Upper bounds in milliseconds: the default buckets of the client libraries.
const BUCKETS: [u32; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// What the counters of a sidecar say about where they were counted.
#[derive(Debug)]
pub(crate) struct Labels {
    workload: String,
    namespace: String,
}

impl Labels {
    pub(crate) fn of(pod: &Pod) -> Self {
        let owner = pod
            .manifest
            .metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.name.as_str());
        let hash = pod
            .manifest
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get("pod-template-hash"));
        // A ReplicaSet of a Deployment is named by the Deployment and the hash of the template.
        let workload = match (owner, hash) {
            (Some(owner), Some(hash)) => owner
                .strip_suffix(hash.as_str())
                .and_then(|name| name.strip_suffix('-'))
                .unwrap_or(owner),
            (Some(owner), None) => owner,
            (None, _) => &pod.name,
        };
        Self {
            workload: workload.to_owned(),
            namespace: pod.namespace.clone(),
        }
    }
}

/// Requests since the start of the container.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    answered: BTreeMap<(u16, String), Answers>,
    /// The share of an error that has built up since the last one.
    error_due: f64,
}

#[derive(Debug, Default)]
struct Answers {
    count: u64,
    seconds: f64,
    buckets: [u64; BUCKETS.len()],
}

impl Measures {
    /// Decides how a request is answered, and counts it.
    ///
    /// Errors are spread evenly instead of by chance, so that a share of 30 % is just that after a
    /// few requests.
    pub(crate) fn record(
        &mut self,
        method: &Method,
        error_rate: f64,
        latency: Duration,
    ) -> StatusCode {
        self.error_due += error_rate;
        let status = if self.error_due >= 1.0 - 1e-9 {
            self.error_due -= 1.0;
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        let answers = self
            .answered
            .entry((status.as_u16(), method.to_string()))
            .or_default();
        answers.count += 1;
        answers.seconds += latency.as_secs_f64();
        for (bucket, limit) in answers.buckets.iter_mut().zip(BUCKETS) {
            if latency <= Duration::from_millis(limit.into()) {
                *bucket += 1;
            }
        }
        status
    }

    /// Returns the page in the text format of Prometheus.
    pub(crate) fn page(&self, shape: Metrics, labels: &Labels) -> String {
        let mut page = String::new();
        match shape {
            Metrics::HTTPRequests => {
                let label =
                    |code: u16, method: &str| format!("code=\"{code}\",method=\"{method}\"");
                let names = ("http_requests_total", "http_request_duration_seconds");
                self.write(&mut page, names, 1.0, label);
            }
            Metrics::Istio => {
                let label = |code: u16, _: &str| {
                    format!(
                        "response_code=\"{code}\",reporter=\"destination\",\
                         destination_workload=\"{}\",destination_workload_namespace=\"{}\",\
                         request_protocol=\"http\"",
                        labels.workload, labels.namespace
                    )
                };
                let names = (
                    "istio_requests_total",
                    "istio_request_duration_milliseconds",
                );
                self.write(&mut page, names, 1000.0, label);
            }
            Metrics::None => {}
        }
        page
    }

    fn write(
        &self,
        page: &mut String,
        (counter, histogram): (&str, &str),
        units_per_second: f64,
        label: impl Fn(u16, &str) -> String,
    ) {
        let mut lines = format!("# TYPE {counter} counter\n");
        let mut histogram_lines = format!("# TYPE {histogram} histogram\n");
        for ((code, method), answers) in &self.answered {
            let labels = label(*code, method);
            let count = answers.count;
            let written = (|| {
                writeln!(lines, "{counter}{{{labels}}} {count}")?;
                for (bucket, limit) in answers.buckets.iter().zip(BUCKETS) {
                    let limit = f64::from(limit) / 1000.0 * units_per_second;
                    writeln!(
                        histogram_lines,
                        "{histogram}_bucket{{{labels},le=\"{limit}\"}} {bucket}"
                    )?;
                }
                writeln!(
                    histogram_lines,
                    "{histogram}_bucket{{{labels},le=\"+Inf\"}} {count}"
                )?;
                let sum = answers.seconds * units_per_second;
                writeln!(histogram_lines, "{histogram}_sum{{{labels}}} {sum}")?;
                writeln!(histogram_lines, "{histogram}_count{{{labels}}} {count}")
            })();
            written.expect("writing to a string cannot fail");
        }
        page.push_str(&lines);
        page.push_str(&histogram_lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(error_rate: f64, requests: u32) -> Measures {
        let mut measures = Measures::default();
        for _ in 0..requests {
            measures.record(&Method::GET, error_rate, Duration::from_millis(7));
        }
        measures
    }

    fn labels() -> Labels {
        Labels {
            workload: "checkout".to_owned(),
            namespace: "shop".to_owned(),
        }
    }

    #[track_caller]
    fn check(measures: &Measures, shape: Metrics, line: &str) {
        let page = measures.page(shape, &labels());
        assert!(
            page.lines().any(|written| written == line),
            "no {line} in\n{page}"
        );
    }

    #[test]
    fn errors_are_spread_evenly() {
        let measures = measured(0.3, 10);
        check(
            &measures,
            Metrics::HTTPRequests,
            "http_requests_total{code=\"500\",method=\"GET\"} 3",
        );
        check(
            &measures,
            Metrics::HTTPRequests,
            "http_requests_total{code=\"200\",method=\"GET\"} 7",
        );
    }

    #[test]
    fn buckets_hold_all_that_was_faster() {
        let measures = measured(0.0, 4);
        for (limit, count) in [("0.005", 0), ("0.01", 4), ("+Inf", 4)] {
            let name = "http_request_duration_seconds_bucket";
            let line = format!("{name}{{code=\"200\",method=\"GET\",le=\"{limit}\"}} {count}");
            check(&measures, Metrics::HTTPRequests, &line);
        }
    }

    #[test]
    fn a_sidecar_names_the_workload() {
        check(
            &measured(1.0, 2),
            Metrics::Istio,
            "istio_requests_total{response_code=\"500\",reporter=\"destination\",\
             destination_workload=\"checkout\",destination_workload_namespace=\"shop\",\
             request_protocol=\"http\"} 2",
        );
    }
}
