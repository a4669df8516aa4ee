//! A metric source that scrapes the simulated pods and answers the queries that Astern asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::faults::MetricsFault;
use super::fields::text;
use super::pods::{ContainerRun, Probe, State};
use super::promql::{Expression, Fold, Form, Range, Selector};
use super::world::{Task, World, scrambled};
use crate::port::{ObjectRef, Query, QueryError};

/// Longer than any window that a policy may name in a test.
const RETENTION: SignedDuration = SignedDuration::from_hours(2);

/// A metric that the simulated pods have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `http_requests_total{namespace, pod, code}` of the app itself.
    HttpRequests,
    /// `istio_requests_total{namespace, pod, response_code, …}` of its proxy.
    Istio,
    /// `prober_probe_total{namespace, pod, probe_type, result}` of the kubelet.
    Probes,
}

type Labels = BTreeMap<String, String>;

/// Samples by series, oldest first.
#[derive(Debug, Default)]
pub(super) struct Series(BTreeMap<Labels, VecDeque<(Timestamp, f64)>>);

impl Series {
    fn add(&mut self, labels: Labels, at: Timestamp, value: f64) {
        let samples = self.0.entry(labels).or_default();
        samples.push_back((at, value));
        while samples
            .front()
            .is_some_and(|(first, _)| *first + RETENTION < at)
        {
            samples.pop_front();
        }
    }

    /// Returns the answer to `range` at `time`: left open, right closed, as since Prometheus 3.
    fn matrix(&self, range: &Range, time: Timestamp) -> Vec<Value> {
        let from = time - range.length;
        let mut matrix = Vec::new();
        for (labels, samples) in self.0.iter().filter(|(labels, _)| range.selects(labels)) {
            let values: Vec<Value> = samples
                .iter()
                .filter(|(at, _)| *at > from && *at <= time)
                .map(|(at, value)| json!([seconds(*at), value.to_string()]))
                .collect();
            if !values.is_empty() {
                matrix.push(json!({ "metric": labels, "values": values }));
            }
        }
        matrix
    }
}

/// How far back Prometheus looks for the newest sample of a series.
const LOOKBACK: SignedDuration = SignedDuration::from_mins(5);

impl Series {
    fn answer(&self, form: &Form, time: Timestamp) -> Value {
        match form {
            Form::Range(range) => {
                json!({ "resultType": "matrix", "result": self.matrix(range, time) })
            }
            Form::Group { by, selector } => {
                let groups: BTreeSet<Labels> = self
                    .at(selector, time)
                    .map(|(labels, _)| only(labels, by))
                    .collect();
                let rows = groups.into_iter();
                let rows: Vec<Value> = rows
                    .map(|labels| json!({ "metric": labels, "value": [seconds(time), "1"] }))
                    .collect();
                json!({ "resultType": "vector", "result": rows })
            }
            Form::Subquery {
                expression,
                length,
                step,
            } => {
                let rows = self.subquery(expression, time, *length, *step);
                json!({ "resultType": "matrix", "result": rows })
            }
        }
    }

    /// Returns the newest sample of each series at a time.
    fn at(&self, selector: &Selector, time: Timestamp) -> impl Iterator<Item = (&Labels, f64)> {
        let selected = self.0.iter().filter(|(labels, _)| selector.selects(labels));
        selected.filter_map(move |(labels, samples)| {
            let newest = samples.iter().rev().find(|(at, _)| *at <= time);
            let fresh = newest.filter(|(at, _)| *at + LOOKBACK > time);
            fresh.map(|(_, value)| (labels, *value))
        })
    }

    fn subquery(
        &self,
        expression: &Expression,
        time: Timestamp,
        length: SignedDuration,
        step: SignedDuration,
    ) -> Vec<Value> {
        let step = step.as_secs().max(1);
        let first = (time - length).as_second().div_euclid(step) + 1;
        let last = time.as_second().div_euclid(step);
        let mut rows: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
        for number in first..=last {
            let Ok(at) = Timestamp::from_second(number * step) else {
                continue;
            };
            for (labels, value) in self.folded(expression, at) {
                let row = rows.entry(labels).or_default();
                row.push(json!([seconds(at), value.to_string()]));
            }
        }
        let rows = rows.into_iter();
        rows.map(|(labels, values)| json!({ "metric": labels, "values": values }))
            .collect()
    }

    fn folded(&self, expression: &Expression, at: Timestamp) -> BTreeMap<Labels, f64> {
        let mut folded = BTreeMap::new();
        for (labels, value) in self.at(&expression.selector, at) {
            let Some((fold, by)) = &expression.fold else {
                folded.insert(labels.clone(), value);
                continue;
            };
            let fold = |known: &mut f64| match fold {
                Fold::Sum => *known += value,
                Fold::Min => *known = known.min(value),
                Fold::Max => *known = known.max(value),
            };
            folded
                .entry(only(labels, by))
                .and_modify(fold)
                .or_insert(value);
        }
        folded
    }
}

fn only(labels: &Labels, names: &[String]) -> Labels {
    let wanted = labels.iter().filter(|(name, _)| names.contains(name));
    wanted
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

impl World {
    /// Every target has a moment of its own within the interval, as with the real one.
    pub(super) fn first_scrape(&mut self, pod: &ObjectRef) {
        let name = pod.name.bytes();
        let number = name.fold(0, |sum, byte| scrambled(sum ^ u64::from(byte)));
        let interval = self.settings.scrape_interval;
        let share = i32::try_from(number % 1000).unwrap_or_default();
        self.after(interval * share / 1000, Task::Scrape(pod.clone()));
    }

    pub(super) fn scrape(&mut self, pod: &ObjectRef) {
        let Some(value) = self.store.get(pod) else {
            return;
        };
        self.count_pod(pod, &value);
        let Some(run) = self.runs.get(pod) else {
            return;
        };
        let mut samples = Vec::new();
        for (at, container) in run.containers.iter().enumerate() {
            let spec = &value["spec"]["containers"][at];
            let serves = matches!(container.state, State::Running { .. });
            for family in &self.settings.families {
                match family {
                    Family::HttpRequests if serves => requests(container, "code", &mut samples),
                    Family::Istio if serves => requests(container, "response_code", &mut samples),
                    Family::Probes => probes(container, spec, &mut samples),
                    Family::HttpRequests | Family::Istio => {}
                }
            }
        }
        let uid = text(&value, "/metadata/uid");
        for (mut labels, count) in samples {
            labels.insert("namespace".to_owned(), pod.namespace.clone());
            if labels.contains_key("reporter") {
                labels.insert(
                    "destination_workload_namespace".to_owned(),
                    pod.namespace.clone(),
                );
            }
            labels.insert("pod".to_owned(), pod.name.clone());
            if labels.contains_key("probe_type") {
                labels.insert("pod_uid".to_owned(), uid.to_owned());
            }
            self.series.add(labels, self.now, count);
        }
        let interval = self.settings.scrape_interval;
        self.after(interval, Task::Scrape(pod.clone()));
    }

    /// Counts what the containers of `pod` did up to now.
    pub(super) fn count_pod(&mut self, pod: &ObjectRef, value: &Value) {
        let Some(run) = self.runs.get_mut(pod) else {
            return;
        };
        for (at, container) in run.containers.iter_mut().enumerate() {
            let images = &self.settings.images;
            let behaviour = images.get(&container.image).cloned().unwrap_or_default();
            let probe = Probe::of(&value["spec"]["containers"][at]);
            container.count(&behaviour, &probe, self.now);
        }
    }

    /// Answers `query` as the source would, less the time that it takes.
    pub(super) fn answer(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let parameter = |name: &str| {
            let found = query.form.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.as_str())
        };
        let form = parameter("query").and_then(Form::parse);
        let form = form.ok_or(QueryError::Status(400))?;
        let time = match parameter("time") {
            Some(time) => parsed_time(time).ok_or(QueryError::Status(400))?,
            None => self.now,
        };
        let mut answer = json!({
            "status": "success",
            "data": self.series.answer(&form, time),
        });
        match &self.faults.metrics {
            MetricsFault::None | MetricsFault::Slow(_) => {}
            MetricsFault::Down => return Err(QueryError::Unreachable),
            MetricsFault::Status(status) => return Err(QueryError::Status(*status)),
            MetricsFault::TooLarge => return Err(QueryError::TooLarge(query.bytes_max)),
            MetricsFault::Garbage => return Ok(b"<html>It works!</html>".to_vec()),
            MetricsFault::Failing => {
                answer = json!({
                    "status": "error", "errorType": "execution", "error": "simulated failure",
                });
            }
            MetricsFault::Empty => answer["data"]["result"] = json!([]),
            MetricsFault::NotANumber => spoil(&mut answer),
            MetricsFault::Warning => answer["warnings"] = json!(["partial answer"]),
        }
        let body = answer.to_string().into_bytes();
        if body.len() > query.bytes_max {
            return Err(QueryError::TooLarge(query.bytes_max));
        }
        Ok(body)
    }
}

fn requests(container: &ContainerRun, code: &str, samples: &mut Vec<(Labels, f64)>) {
    let counters = &container.counters;
    let errors = counters.errors.floor();
    let metric = if code == "code" {
        "http_requests_total"
    } else {
        "istio_requests_total"
    };
    // A series begins with the first request of its kind.
    for (answered, count) in [("200", counters.requests.floor() - errors), ("500", errors)] {
        if count > 0.0 {
            let mut labels = labels(&[("__name__", metric), (code, answered)]);
            if code == "response_code" {
                labels.insert("reporter".to_owned(), "destination".to_owned());
                labels.insert("request_protocol".to_owned(), "http".to_owned());
            }
            samples.push((labels, count));
        }
    }
}

fn probes(container: &ContainerRun, spec: &Value, samples: &mut Vec<(Labels, f64)>) {
    if spec.get("livenessProbe").is_none() && container.counters.liveness_failed < 1.0 {
        return;
    }
    for (result, count) in [
        ("successful", container.counters.liveness_passed.floor()),
        ("failed", container.counters.liveness_failed.floor()),
    ] {
        if count > 0.0 {
            let labels = labels(&[
                ("__name__", "prober_probe_total"),
                ("probe_type", "Liveness"),
                ("result", result),
                ("container", &container.name),
            ]);
            samples.push((labels, count));
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn spoil(answer: &mut Value) {
    let Some(Value::Array(series)) = answer.pointer_mut("/data/result") else {
        return;
    };
    let values = series
        .iter_mut()
        .filter_map(|one| one.get_mut("values")?.as_array_mut());
    for sample in values.flatten() {
        sample[1] = "NaN".into();
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

/// Prometheus takes seconds, whole or not, and RFC 3339.
fn parsed_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
        return Timestamp::UNIX_EPOCH.checked_add(since).ok();
    }
    text.parse().ok()
}
