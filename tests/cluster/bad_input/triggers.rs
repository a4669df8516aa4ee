//! Triggers that make no sense.

use super::{Case, case};

/// One trigger called a.
fn trigger(kind: &str, message: &'static [&'static str]) -> Case {
    case(format!("{{triggers: [{{name: a, {kind}}}]}}"), message)
}

pub(super) fn bad() -> Vec<Case> {
    [
        kinds(),
        error_rates(),
        revisions_before(),
        latencies(),
        pods(),
        queries(),
        alerts(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn kinds() -> Vec<Case> {
    vec![
        trigger(
            "restarts: {}, rolloutStalled: {}",
            &["spec.triggers[0]", "exactly one of errorRate, latency"],
        ),
        trigger("mode: Observe", &["spec.triggers[0]", "exactly one of"]),
        trigger(
            "mode: Warn, restarts: {}",
            &["spec.triggers[0].mode", "\"Observe\""],
        ),
    ]
}

fn error_rates() -> Vec<Case> {
    const RATE: &str = "spec.triggers[0].errorRate";
    vec![
        trigger(
            "errorRate: {}",
            &[RATE, "exactly one of threshold and worseThanBefore"],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", worseThanBefore: {}}",
            &[RATE, "exactly one of threshold and worseThanBefore"],
        ),
        trigger(
            "errorRate: {for: 2m, worseThanBefore: {}}",
            &[RATE, "for belongs to threshold"],
        ),
        trigger(
            "errorRate: {threshold: \"500%\"}",
            &["errorRate.threshold", "such as \"5%\""],
        ),
        trigger(
            "errorRate: {threshold: \"0%\"}",
            &["errorRate.threshold", "above 0%"],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", preset: Nginx}",
            &["errorRate.preset", "\"IngressNginx\""],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", match: 'a=\"b\"} or up{'}",
            &["errorRate.match", "without braces"],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", labels: {pod: 'a-b'}}",
            &["errorRate.labels.pod", "such as \"kubernetes_pod_name\""],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", labels: {namespace: '}'}}",
            &[
                "errorRate.labels.namespace",
                "such as \"exported_namespace\"",
            ],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", preset: Auto, custom: {total: t, errors: e}}",
            &[RATE, "custom excludes preset"],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", custom: {total: t}}",
            &["errorRate.custom.errors", "Required value"],
        ),
        trigger(
            "errorRate: {threshold: \"5%\", custom: {total: t, errors: \"\"}}",
            &["errorRate.custom.errors", "at least 1 char"],
        ),
    ]
}

fn revisions_before() -> Vec<Case> {
    vec![
        trigger(
            "errorRate: {worseThanBefore: {factor: \"1\"}}",
            &[
                "worseThanBefore.factor",
                "above 1 and up to 1000, such as \"3\"",
            ],
        ),
        trigger(
            "errorRate: {worseThanBefore: {factor: \"1e2\"}}",
            &["worseThanBefore.factor", "such as \"3\""],
        ),
        trigger(
            "errorRate: {worseThanBefore: {factor: 3}}",
            &["worseThanBefore.factor", "string"],
        ),
        trigger(
            "errorRate: {worseThanBefore: {atLeast: \"0%\"}}",
            &["worseThanBefore.atLeast", "above 0%"],
        ),
    ]
}

fn latencies() -> Vec<Case> {
    vec![
        trigger("latency: {}", &["latency.threshold", "Required value"]),
        trigger(
            "latency: {threshold: 0ms}",
            &["latency.threshold", "from 1ms to 10m, such as \"800ms\""],
        ),
        trigger(
            "latency: {threshold: 11m}",
            &["latency.threshold", "from 1ms to 10m"],
        ),
        trigger(
            "latency: {threshold: \"0.8s\"}",
            &["latency.threshold", "such as \"800ms\""],
        ),
        trigger(
            "latency: {threshold: 1s, percentile: \"100\"}",
            &["latency.percentile", "from 50 to 99.999, such as \"99\""],
        ),
        trigger(
            "latency: {threshold: 1s, percentile: \"49.9\"}",
            &["latency.percentile", "from 50"],
        ),
        trigger(
            "latency: {threshold: 1s, percentile: 99.9}",
            &["latency.percentile", "string"],
        ),
        trigger(
            "latency: {threshold: 1s, match: \"le\"}",
            &["latency.match", "without braces"],
        ),
    ]
}

fn pods() -> Vec<Case> {
    vec![
        trigger(
            "restarts: {threshold: 0}",
            &[
                "spec.triggers[0].restarts.threshold",
                "greater than or equal to 1",
            ],
        ),
        trigger("restarts: {pods: \"0%\"}", &["restarts.pods", "above 0%"]),
        trigger(
            "unavailable: {below: \"101%\"}",
            &["unavailable.below", "up to 100%"],
        ),
        trigger(
            "unavailable: {for: 25h}",
            &["unavailable.for", "such as \"1m\""],
        ),
        trigger(
            "probeFailures: {probe: Live}",
            &["probeFailures.probe", "\"Liveness\""],
        ),
    ]
}

fn queries() -> Vec<Case> {
    let long = format!("promql: {{query: {}, above: \"1\"}}", "u".repeat(4097));
    vec![
        trigger(
            "promql: {above: \"1\"}",
            &["promql.query", "Required value"],
        ),
        trigger(
            "promql: {query: up}",
            &["promql", "exactly one of above and below"],
        ),
        trigger(
            "promql: {query: up, above: \"1\", below: \"2\"}",
            &["promql", "exactly one of above and below"],
        ),
        trigger(
            "promql: {query: up, above: \"1e3\"}",
            &["promql.above", "such as \"10\""],
        ),
        trigger(
            "promql: {query: up, below: \"NaN\"}",
            &["promql.below", "such as \"10\""],
        ),
        trigger(
            "promql: {query: up, below: 10}",
            &["promql.below", "string"],
        ),
        trigger(&long, &["promql.query", "Too long"]),
    ]
}

fn alerts() -> Vec<Case> {
    let many: Vec<String> = (0..17).map(|index| format!("l{index}: v")).collect();
    let many = many.join(", ");
    let many = format!("alert: {{matchLabels: {{{many}}}}}");
    let long = format!("alert: {{matchLabels: {{a: {}}}}}", "v".repeat(257));
    vec![
        trigger("alert: {}", &["alert.matchLabels", "Required value"]),
        trigger(
            "alert: {matchLabels: {}}",
            &["alert.matchLabels", "at least one label"],
        ),
        trigger(
            "alert: {matchLabels: {namespace: pay}}",
            &[
                "alert.matchLabels",
                "none of __name__, alertstate, namespace",
            ],
        ),
        trigger(
            "alert: {matchLabels: {\"alert-name\": Down}}",
            &["alert.matchLabels", "names of labels, such as alertname"],
        ),
        trigger(
            "alert: {matchLabels: {alertname: \"\"}}",
            &["alert.matchLabels.alertname", "at least 1 char"],
        ),
        trigger(&many, &["alert.matchLabels", "at most 16 items"]),
        trigger(&long, &["alert.matchLabels.a", "Too long"]),
        trigger(
            "alert: {matchLabels: {alertname: Down}, for: -1s}",
            &["alert.for", "such as \"0s\""],
        ),
    ]
}
