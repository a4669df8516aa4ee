//! Reading the triggers that look at requests.

use super::super::field::{Field, Problems, cut, ratio};
use super::super::matchers;
use super::queries;
use crate::api::v1alpha1::bounds::{
    AT_LEAST, FACTOR, FOR, LATENCY, MATCHERS_LENGTH, METRIC_LABEL_LENGTH, MINIMUM_REQUESTS,
    PERCENTILE, RATE_WINDOW,
};
use crate::decide::{ErrorRate, LabelNames, Latency, Limit, Preset, Rate, Ratio, Requests, Shape};

const GOOD_THRESHOLD: &str = "\"5%\"";
const DEFAULT_THRESHOLD: Ratio = Ratio(0.05);
const GOOD_MATCHERS: &str = r#"'route="/pay",method!="GET"'"#;
const GOOD_LABELS: &str = "{pod: kubernetes_pod_name}";
const GOOD_TOTAL: &str = r#"'http_requests_total{pod=~"$pods"}'"#;
const GOOD_ERRORS: &str = r#"'http_requests_total{pod=~"$pods",code=~"5.."}'"#;

/// Returns the error rate that a policy without triggers is held to.
pub(super) fn usual_error_rate(empty: &Field<'_>, problems: &Problems) -> ErrorRate {
    let limit = Limit::Threshold {
        threshold: DEFAULT_THRESHOLD,
        sustained: empty.child("for").duration(FOR, problems),
    };
    ErrorRate {
        requests: Requests::Preset(shape(empty, problems)),
        rate: rate(empty, limit, problems),
    }
}

pub(super) fn error_rate(field: &Field<'_>, problems: &Problems) -> ErrorRate {
    let limit = limit(field, problems);
    ErrorRate {
        requests: requests(field, problems),
        rate: rate(field, limit, problems),
    }
}

pub(super) fn latency(field: &Field<'_>, problems: &Problems) -> Latency {
    let threshold = field.child("threshold");
    if !threshold.given() {
        threshold.wrong("is missing", LATENCY.usual, problems);
    }
    let percentile = field.child("percentile").decimal(PERCENTILE, problems);
    Latency {
        shape: shape(field, problems),
        // By whole thousandths, so that 99.9 gives the number that 0.999 is.
        percentile: Ratio((percentile * 1_000.0).round() / 100_000.0),
        threshold: threshold.duration(LATENCY, problems),
        window: field.child("window").duration(RATE_WINDOW, problems),
        sustained: field.child("for").duration(FOR, problems),
        minimum_requests: field
            .child("minimumRequests")
            .count(MINIMUM_REQUESTS, problems),
    }
}

fn rate(field: &Field<'_>, limit: Limit, problems: &Problems) -> Rate {
    Rate {
        limit,
        window: field.child("window").duration(RATE_WINDOW, problems),
        minimum_requests: field
            .child("minimumRequests")
            .count(MINIMUM_REQUESTS, problems),
    }
}

fn limit(field: &Field<'_>, problems: &Problems) -> Limit {
    let threshold = field.child("threshold");
    let before = field.child("worseThanBefore");
    let sustained = field.child("for");
    if !before.given() {
        if !threshold.given() {
            let problem = "is missing, and so is worseThanBefore";
            threshold.wrong(problem, GOOD_THRESHOLD, problems);
        }
        return Limit::Threshold {
            threshold: threshold
                .percentage(GOOD_THRESHOLD, problems)
                .unwrap_or(DEFAULT_THRESHOLD),
            sustained: sustained.duration(FOR, problems),
        };
    }
    threshold.excluded_by("worseThanBefore", problems);
    if sustained.given() {
        let problem =
            "belongs to threshold; worseThanBefore takes the time that the evidence needs";
        sustained.wrong(problem, "no for", problems);
    }
    before.object(r#"{factor: "3", atLeast: "1%"}"#, problems);
    let at_least = before.child("atLeast").percentage(AT_LEAST, problems);
    Limit::WorseThanBefore {
        factor: before.child("factor").decimal(FACTOR, problems),
        at_least: at_least.or_else(|| ratio(AT_LEAST)).unwrap_or(Ratio(0.01)),
    }
}

fn requests(field: &Field<'_>, problems: &Problems) -> Requests {
    let custom = field.child("custom");
    if !custom.given() {
        return Requests::Preset(shape(field, problems));
    }
    for name in ["preset", "match", "labels"] {
        field.child(name).excluded_by("custom", problems);
    }
    custom.object("{total: …, errors: …}", problems);
    let expression =
        |name: &str, good: &str| queries::expression(&custom.child(name), good, problems);
    Requests::Custom {
        total: expression("total", GOOD_TOTAL),
        errors: expression("errors", GOOD_ERRORS),
    }
}

fn shape(field: &Field<'_>, problems: &Problems) -> Shape {
    let presets = Preset::ALL.map(|preset| (preset.name(), preset));
    let more = field.child("match");
    let matchers = more
        .text(MATCHERS_LENGTH, GOOD_MATCHERS, problems)
        .unwrap_or_default();
    if let Some(problem) = matchers::problem(matchers) {
        let problem = format!("{} {problem}", cut(matchers));
        more.wrong(problem, GOOD_MATCHERS, problems);
    }
    let labels = field.child("labels");
    labels.object(GOOD_LABELS, problems);
    Shape {
        preset: field
            .child("preset")
            .one_of(&presets, Preset::Auto, problems),
        matchers: matchers.strip_suffix(',').unwrap_or(matchers).to_owned(),
        labels: LabelNames {
            pod: label_name(&labels.child("pod"), "kubernetes_pod_name", problems),
            namespace: label_name(&labels.child("namespace"), "exported_namespace", problems),
        },
    }
}

/// It is pasted into a selector, so what is no name must not come that far.
fn label_name(field: &Field<'_>, good: &str, problems: &Problems) -> Option<String> {
    let text = field.text(METRIC_LABEL_LENGTH, good, problems)?;
    if !matchers::is_label_name(text) {
        let problem = format!(
            "{} is no name of letters, digits and underscores",
            cut(text)
        );
        field.wrong(problem, good, problems);
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests;
