use serde_json::json;

use super::*;
use crate::port::simulated::{ApiFault, ApiRule, Settings, SimulatedCluster, Verb};
use crate::port::{Error, Kind};

const ASKED: Asked<'_> = Asked {
    namespace: "shop",
    deployment: "checkout",
    replica_set: Some("checkout-7d9f"),
};

fn carrier() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "checkout-7d9f", "namespace": "shop"},
        "spec": {"replicas": 0,
            "selector": {"matchLabels": {"app": "checkout", "pod-template-hash": "7d9f"}},
            "template": {"metadata": {"labels": {"app": "checkout", "pod-template-hash": "7d9f"}},
                "spec": {"serviceAccountName": "checkout", "containers": []}}},
    })
}

fn pod(name: &str, waiting: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop",
            "labels": {"app": "checkout", "pod-template-hash": "7d9f"}},
        "spec": {"containers": [{"name": "app", "image": "shop/checkout:2"}]},
        "status": {"containerStatuses": [{"name": "app",
            "state": {"waiting": {"reason": "ErrImagePull", "message": waiting}}}]},
    })
}

fn warning(kind: &str, name: &str, reason: &str, note: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "type": "Warning",
        "metadata": {"name": format!("{name}.{reason}"), "namespace": "shop"},
        "regarding": {"kind": kind, "name": name, "fieldPath": "spec.containers{app}"},
        "reason": reason, "note": note, "eventTime": "2026-11-23T10:00:00.000000Z",
    })
}

#[track_caller]
fn check(objects: &Objects, expected: &[(&str, &str)]) {
    let findings = worst_first(of(&ASKED, objects));
    let found: Vec<(&str, &str)> = findings
        .iter()
        .map(|one| (one.about.as_str(), one.saw.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_same_on_many_pods_is_told_once_and_by_pods_before_events() {
    let objects = Objects {
        carrier: carrier(),
        pods: ["checkout-7d9f-a1", "checkout-7d9f-b2", "checkout-7d9f-c3"]
            .map(|name| pod(name, "manifest unknown"))
            .to_vec(),
        events: vec![warning(
            "Pod",
            "checkout-7d9f-d4",
            "Failed",
            "Failed to pull image \"shop/checkout:2\": not found",
        )],
        ..Objects::default()
    };
    check(
        &objects,
        &[(
            "pod/checkout-7d9f-a1 and 3 more",
            "image shop/checkout:2 is not in its registry: manifest unknown",
        )],
    );
}

#[test]
fn a_refusal_names_what_refused_with_what_is_left_of_it() {
    let mut objects = Objects {
        carrier: carrier(),
        quotas: vec![json!({"metadata": {"name": "compute"},
            "status": {"used": {"pods": "10"}, "hard": {"pods": "10"}}})],
        limit_ranges: vec![json!({"metadata": {"name": "sizes"}})],
        ..Objects::default()
    };
    let refuse = |objects: &mut Objects, message: &str| {
        objects.carrier["status"] = json!({"conditions": [{"type": "ReplicaFailure",
            "status": "True", "reason": "FailedCreate", "message": message}]});
    };
    refuse(
        &mut objects,
        "pods \"x\" is forbidden: exceeded quota: compute, requested: pods=1",
    );
    check(
        &objects,
        &[
            (
                "replicaset/checkout-7d9f",
                "a ResourceQuota lets no pod be made (pods (10 of 10)): pods \"x\" is forbidden: exceeded \
                 quota: compute, requested: pods=1",
            ),
            (
                "resourcequota/compute",
                "nothing is left of pods (10 of 10)",
            ),
        ],
    );
    refuse(
        &mut objects,
        "maximum cpu usage per Container is 1, but limit is 2",
    );
    objects.quotas.clear();
    check(
        &objects,
        &[(
            "replicaset/checkout-7d9f",
            "a LimitRange lets no pod be made (sizes): maximum cpu usage per Container is 1, but limit is \
             2",
        )],
    );
}

/// A pod that runs and is not ready, for this reason.
fn unready(reason: &str) -> Value {
    json!({
        "metadata": {"name": "checkout-7d9f-a1"},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason}],
            "containerStatuses": [{"name": "app", "state": {"running": {}}}]},
    })
}

#[test]
fn a_pod_that_runs_and_is_not_ready_is_told_unless_its_probe_says_why() {
    let mut objects = Objects {
        carrier: carrier(),
        pods: vec![unready("ContainersNotReady")],
        ..Objects::default()
    };
    check(
        &objects,
        &[(
            "pod/checkout-7d9f-a1",
            "its containers run and are not ready",
        )],
    );
    objects.events = vec![warning(
        "Pod",
        "checkout-7d9f-a1",
        "Unhealthy",
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
    )];
    check(
        &objects,
        &[(
            "pod/checkout-7d9f-a1",
            "Readiness probe of container \"app\" failed once: HTTP probe failed with statuscode: 503",
        )],
    );
    objects.events.clear();
    objects.pods = vec![unready("ReadinessGatesNotReady")];
    check(
        &objects,
        &[(
            "pod/checkout-7d9f-a1",
            "its containers are ready, a readiness gate is not",
        )],
    );
}

#[test]
fn the_worst_comes_first_and_all_of_it_is_bounded() {
    let policy = |name: &str| json!({"metadata": {"name": name}, "spec": {"podSelector": {}}});
    let objects = Objects {
        carrier: carrier(),
        pods: vec![pod("checkout-7d9f-a1", "manifest unknown")],
        network_policies: (0..40)
            .map(|number| policy(&format!("np{number}")))
            .collect(),
        ..Objects::default()
    };
    let findings = worst_first(of(&ASKED, &objects));
    assert_eq!(findings.len(), 16);
    assert_eq!(findings[0].about, "pod/checkout-7d9f-a1");
}

fn put(cluster: &SimulatedCluster, kind: Kind, mut body: Value) {
    body["kind"] = json!(kind.kind);
    body["apiVersion"] = json!(kind.api_version());
    body["metadata"]["namespace"] = json!("shop");
    cluster.put(kind, body).expect("stored");
}

/// A revision whose pods are refused, in a cluster that tells it.
fn cluster() -> SimulatedCluster {
    let cluster = SimulatedCluster::new(Settings::default());
    put(&cluster, kinds::REPLICA_SETS, carrier());
    let event = warning(
        "ReplicaSet",
        "checkout-7d9f",
        "FailedCreate",
        "Error creating: exceeded quota: q",
    );
    put(&cluster, kinds::EVENTS, event);
    let policy = json!({"metadata": {"name": "deny"}, "spec": {"podSelector": {}}});
    put(&cluster, kinds::NETWORK_POLICIES, policy);
    cluster
}

fn abouts(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|one| one.about.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_revision_is_diagnosed_at_the_api_server() {
    let cluster = cluster();
    let found = diagnose(&cluster, &ASKED).await;
    let expected = [
        "replicaset/checkout-7d9f",
        "serviceaccount/checkout",
        "networkpolicy/deny",
    ];
    assert_eq!(abouts(&found), expected);
    let account = json!({"metadata": {"name": "checkout"}});
    put(&cluster, kinds::SERVICE_ACCOUNTS, account);
    let found = diagnose(&cluster, &ASKED).await;
    assert_eq!(abouts(&found), [expected[0], expected[2]]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_looked_at_is_named_and_the_rest_is_told_all_the_same() {
    let cluster = cluster();
    let refuse = |verb, kind| {
        let error = Error::Forbidden {
            message: "no".to_owned(),
        };
        cluster.break_api(ApiRule::next(verb, kind, ApiFault::Refused(error)));
    };
    refuse(Verb::List, kinds::EVENTS);
    refuse(Verb::Get, kinds::SERVICE_ACCOUNTS);
    cluster.serve(kinds::HORIZONTAL_POD_AUTOSCALERS, false);
    let found = diagnose(&cluster, &ASKED).await;
    assert_eq!(abouts(&found), ["networkpolicy/deny", "astern", "astern"]);
    let mut saw: Vec<&str> = found[1..].iter().map(|one| one.saw.as_str()).collect();
    saw.sort_unstable();
    assert_eq!(
        saw,
        [
            "not looked at, for want of rights: list events.events.k8s.io, get serviceaccounts",
            "not looked at, the cluster does not serve it: list horizontalpodautoscalers.autoscaling",
        ]
    );
}
