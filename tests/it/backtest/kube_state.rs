//! A backtest of what kube-state-metrics recorded of a Deployment that is gone.

use std::sync::Arc;

use astern::api::parse;
use astern::cli::backtest::report::{Report, Verdict};
use astern::cli::backtest::span::Span;
use astern::port::{Outside, Query, QueryError};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{NAMESPACE, matrix, replay, seconds};

/// One of its two good pods is replaced by this one, which never stays.
const BAD: &str = "checkout-c5-ccccc";
const GOOD: [&str; 2] = ["checkout-b4-bbbbb", "checkout-b4-ddddd"];

/// Minutes after the beginning at which the bad release came.
const RELEASE: i64 = 60;

fn beginning() -> Timestamp {
    "2026-11-02T10:00:00Z".parse().expect("a time")
}

/// Asks a kube-state-metrics that was scraped every half minute.
struct Recorded;

#[async_trait]
impl Outside for Recorded {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let text = &query.form[0].1;
        let until: Timestamp = query.form[1].1.parse().expect("a time");
        let range = text.rsplit_once('[').expect("a range").1;
        let range = range.trim_end_matches(']');
        let length = seconds(range.split_once(':').map_or(range, |(length, _)| length));
        let of = |labels: Value, value: &dyn Fn(i64) -> Option<f64>| {
            let first = until.as_second() - length + 1;
            let times = (first..=until.as_second()).filter(|at| at % 30 == 0);
            let values = times.filter_map(|at| {
                let minute = (at - beginning().as_second()).div_euclid(60);
                Some(json!([at, value(minute)?.to_string()]))
            });
            json!({"metric": labels, "values": values.collect::<Vec<_>>()})
        };
        let rows = if text.contains("kube_replicaset_spec_replicas") {
            vec![
                of(json!({"replicaset": "checkout-b4"}), &|_| Some(2.0)),
                of(json!({"replicaset": "checkout-c5"}), &|minute| {
                    (minute >= RELEASE).then_some(1.0)
                }),
            ]
        } else if text.contains("kube_deployment_spec_replicas") {
            let named = |name: &str| json!({"__name__": name});
            vec![
                of(named("kube_deployment_spec_replicas"), &|_| Some(2.0)),
                of(named("kube_deployment_status_replicas_available"), &|_| {
                    Some(2.0)
                }),
            ]
        } else if text.contains("kube_pod_created") {
            pods(&of)
        } else {
            Vec::new()
        };
        Ok(matrix(&rows.into()))
    }
}

/// Returns a series with these labels, by its value at each minute.
type Of<'a> = &'a dyn Fn(Value, &dyn Fn(i64) -> Option<f64>) -> Value;

fn pods(of: Of<'_>) -> Vec<Value> {
    let labels = |name: &str, pod: &str| json!({"__name__": name, "pod": pod, "container": "app"});
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
    let created = |minute: i64| (beginning().as_second() + minute * 60) as f64;
    let after = |minute: i64| (minute >= RELEASE).then_some(());
    let mut rows = Vec::new();
    for pod in GOOD {
        rows.push(of(labels("kube_pod_created", pod), &|_| Some(created(-99))));
        rows.push(of(labels("kube_pod_status_ready", pod), &|_| Some(1.0)));
        rows.push(of(
            labels("kube_pod_container_status_restarts_total", pod),
            &|_| Some(0.0),
        ));
    }
    let mut ended = labels("kube_pod_container_status_last_terminated_reason", BAD);
    ended["reason"] = "OOMKilled".into();
    rows.extend([
        of(labels("kube_pod_created", BAD), &|minute| {
            after(minute).map(|()| created(RELEASE))
        }),
        of(labels("kube_pod_status_ready", BAD), &|minute| {
            after(minute).map(|()| 0.0)
        }),
        // Once a minute.
        of(
            labels("kube_pod_container_status_restarts_total", BAD),
            &|minute| {
                #[expect(clippy::cast_precision_loss, reason = "a few restarts")]
                let count = (minute - RELEASE) as f64;
                after(minute).map(|()| count)
            },
        ),
        of(ended, &|minute| (minute > RELEASE).then_some(1.0)),
    ]);
    rows
}

async fn report() -> Report {
    let policy = json!({
        "metadata": {"name": "careful", "namespace": NAMESPACE},
        "spec": {"mode": "Automatic", "probation": "5m", "triggers": [
            {"name": "crashes", "restarts": {"threshold": 3, "window": "5m", "pods": "20%"}},
            {"name": "stuck", "rolloutStalled": {}},
            {"name": "down", "unavailable": {"below": "50%"}},
        ]},
    });
    let parsed = parse::rollback_policy(&policy).expect("a policy");
    let range = Span {
        from: beginning(),
        until: beginning() + SignedDuration::from_mins(120),
    };
    let report = replay(None, Arc::new(Recorded), parsed, range).await;
    report.expect("a report")
}

#[tokio::test]
async fn what_kubernetes_said_then_is_judged_where_kube_state_metrics_kept_it() {
    let report = report().await;
    let [good, bad] = &report.releases[..] else {
        panic!("{report:#?}");
    };
    assert_eq!((good.release.as_str(), good.verdict), ("b4", Verdict::Good));
    assert_eq!(
        (bad.release.as_str(), bad.verdict),
        ("c5", Verdict::WouldRollBack)
    );
    let [step] = &bad.steps[..] else {
        panic!("{bad:#?}");
    };
    assert_eq!(
        (step.trigger.as_str(), step.to.as_deref()),
        ("crashes", Some("b4"))
    );
    assert!(step.evidence.contains("OOMKilled"), "{step:?}");
    // The third restart is seen three minutes after the release.
    assert!((180..=240).contains(&step.after_seconds), "{step:?}");
    assert!(report.not_replayed.is_empty(), "{:?}", report.not_replayed);
    let said = |trigger: &str| bad.triggers[trigger].passing;
    assert!(said("down") > 0, "{bad:#?}");
    assert!(report.history[0].contains("kube-state-metrics"));
}
