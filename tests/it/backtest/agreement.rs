//! A backtest decides when the operator did, on what the operator saw.

use std::sync::Arc;

use astern::api::parse;
use astern::api::record::{text, time};
use astern::port::simulated::SimulatedCluster;
use astern::port::{Cluster, kinds};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{ERRING, GOOD, archived, last, pass};
use crate::operator::{self, NAME, NAMESPACE, Operator};

/// A look of the backtest and a tick of the operator may be this far apart: one scrape, and the second to which Kubernetes
/// stamps objects.
const APART: SignedDuration = SignedDuration::from_secs(6);

fn policy(trigger: Value) -> Value {
    let mut triggers = json!([{"name": "errors"}]);
    triggers[0]["errorRate"] = trigger;
    json!({
        "apiVersion": "astern.dev/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"namespace": NAMESPACE, "name": "watched"},
        // It only watches, so the past is the same for both.
        "spec": {"targetRefs": [{"name": NAME}], "mode": "Observe", "probation": "5m",
            "triggers": triggers},
    })
}

/// Returns when the operator recorded the bad release, and its words.
async fn watched(cluster: &SimulatedCluster, policy: &Value) -> (Timestamp, String) {
    cluster
        .put(kinds::ROLLBACK_POLICIES, policy.clone())
        .expect("a policy");
    let operator = Operator::start(Arc::new(cluster.clone()));
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    pass(cluster, 15).await;
    cluster
        .set_image(NAMESPACE, NAME, ERRING)
        .expect("deployed");
    pass(cluster, 12).await;
    drop(operator);
    let rollbacks = cluster.objects(kinds::ROLLBACKS, NAMESPACE);
    assert_eq!(rollbacks.len(), 1, "{rollbacks:#?}");
    let rollback = &rollbacks[0];
    let created = time(rollback, "/metadata/creationTimestamp").expect("a time");
    let seen = text(rollback, "/status/evidence/summary").expect("evidence");
    (created, seen.to_owned())
}

#[track_caller]
fn agree(report: &astern::cli::backtest::report::Report, (at, words): &(Timestamp, String)) {
    let step = report
        .releases
        .last()
        .and_then(|release| release.steps.first());
    let step = step.expect("the bad release is found");
    assert_eq!(step.what, "Observe");
    let apart = step.at.duration_since(*at);
    assert!(apart.abs() <= APART, "{apart}: {words}; {step:#?}");
    // How many requests were seen differs by a scrape, but not whether it was conclusive.
    let is_conclusive = |words: &str| words.contains("conclusively");
    assert_eq!(
        is_conclusive(&step.evidence),
        is_conclusive(words),
        "{step:#?}, {words}"
    );
}

async fn check(trigger: Value) {
    let cluster = operator::cluster();
    let policy = policy(trigger);
    let watched = watched(&cluster, &policy).await;
    let until = cluster.now();
    let parsed = parse::rollback_policy(&policy).expect("a policy");
    let report = archived(&cluster, parsed, last(30, until)).await;
    let report = report.expect("a report");
    agree(&report, &watched);
}

#[tokio::test(start_paused = true)]
async fn a_threshold_for_some_time_is_reached_when_the_operator_saw_it() {
    check(json!({"preset": "HTTPRequests", "threshold": "5%", "for": "10s"})).await;
    check(json!({"preset": "HTTPRequests", "threshold": "5%", "window": "30s", "for": "3m"})).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_worse_than_before_is_so_when_the_operator_saw_it() {
    let worse = json!({"factor": "3", "atLeast": "1%"});
    check(json!({"preset": "HTTPRequests", "worseThanBefore": worse})).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_shape_with_data_is_the_one_that_the_operator_found() {
    check(json!({"preset": "Auto", "threshold": "5%", "for": "1m"})).await;
}
