//! Releases that cannot run, and pods that cannot help it, on the simulated cluster.

use std::sync::Arc;

use astern::port::simulated::{Behaviour, SimulatedCluster};
use astern::port::{Cluster as _, ObjectRef, kinds};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::operator::{
    GOOD, NAME, NAMESPACE, Operator, apply_policy, approve, cluster, deployment, image, rollbacks,
    states, until, until_good, until_states,
};

const NEW: &str = "registry.example/checkout:v2.0.0";

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn edit_policy(cluster: &SimulatedCluster, edit: impl FnOnce(&mut Value)) {
    let policy = ObjectRef::new(kinds::ROLLBACK_POLICIES, NAMESPACE, "checkout-policy");
    cluster.edit(&policy, edit).expect("edited");
}

/// A good release, under a policy that looks at nothing but what runs; then a new one that does `behaviour`.
async fn released(behaviour: Behaviour) -> (SimulatedCluster, Operator) {
    let cluster = cluster();
    let operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, "Automatic");
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    until_good(&cluster, GOOD).await;
    edit_policy(&cluster, |policy| {
        policy["spec"]["probation"] = json!("30m");
        policy["spec"]["triggers"] = json!([
            {"name": "crashes", "restarts": {}},
            {"name": "stuck", "rolloutStalled": {}},
            {"name": "down", "unavailable": {"below": "80%", "for": "30s"}},
        ]);
    });
    cluster.set_behaviour(NEW, behaviour);
    cluster.set_image(NAMESPACE, NAME, NEW).expect("deployed");
    (cluster, operator)
}

/// Returns the evidence, once the good release is back.
async fn taken_back(cluster: &SimulatedCluster, trigger: &str) -> String {
    until_states(cluster, &["Recovered"]).await;
    taken_back_by(cluster, trigger)
}

fn taken_back_by(cluster: &SimulatedCluster, trigger: &str) -> String {
    assert_eq!(image(cluster), GOOD);
    let rollbacks = rollbacks(cluster).into_iter();
    let mut own = rollbacks.filter(|(_, _, status)| status["trigger"] == trigger);
    let (_, _, status) = own.next().expect("a Rollback of the trigger");
    let evidence = status["evidence"]["summary"].as_str();
    evidence.expect("evidence").to_owned()
}

async fn until_rolled_out(cluster: &SimulatedCluster) {
    until(cluster, "it is rolled out", 60, |cluster| {
        let live = cluster.object(&deployment()).expect("the Deployment");
        let status = &live["status"];
        status["observedGeneration"] == live["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "availableReplicas"]
                .iter()
                .all(|count| status[count] == 4)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_is_taken_back_within_a_minute_and_a_half() {
    let (cluster, _operator) = released(Behaviour::missing()).await;
    let start = cluster.now();
    until(&cluster, "it goes back", 100, |cluster| {
        image(cluster) == GOOD
    })
    .await;
    assert!(cluster.now().duration_since(start) >= seconds(60));
    let evidence = taken_back(&cluster, "stuck").await;
    assert!(
        evidence.contains("cannot start, ErrImagePull"),
        "{evidence}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_config_that_is_not_there_is_named() {
    let (cluster, _operator) = released(Behaviour::misconfigured()).await;
    let evidence = taken_back(&cluster, "stuck").await;
    assert!(
        evidence.contains("CreateContainerConfigError"),
        "{evidence}"
    );
    assert!(
        evidence.contains("check the ConfigMaps and Secrets"),
        "{evidence}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_oom_kill_is_named_as_such() {
    let (cluster, _operator) = released(Behaviour::out_of_memory(seconds(1))).await;
    let evidence = taken_back(&cluster, "crashes").await;
    assert!(
        evidence.ends_with(": OOMKilled (exit code 137)"),
        "{evidence}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_refuses_new_pods_is_named() {
    let (cluster, _operator) = released(Behaviour::default()).await;
    until_rolled_out(&cluster).await;
    cluster.set_image(NAMESPACE, NAME, GOOD).expect("deployed");
    until_rolled_out(&cluster).await;
    // With a pod less the new ones would have room.
    cluster
        .edit(&deployment(), |live| {
            live["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 1, "maxUnavailable": 0});
        })
        .expect("edited");
    cluster.set_quota(NAMESPACE, Some(4));
    cluster
        .set_image(NAMESPACE, NAME, "registry.example/checkout:v3.0.0")
        .expect("deployed");
    // The way back by hand is on record too.
    until_states(&cluster, &["Recovered", "Recovered"]).await;
    let evidence = taken_back_by(&cluster, "stuck");
    assert!(evidence.contains("exceeded quota: team"), "{evidence}");
}

#[tokio::test(start_paused = true)]
async fn lost_nodes_and_drains_are_not_held_against_a_release() {
    let (cluster, _operator) = released(Behaviour::default()).await;
    until_rolled_out(&cluster).await;
    cluster.run_for(seconds(40)).await;
    for node in ["node-0", "node-1"] {
        cluster.set_node_ready(node, false).expect("lost");
    }
    cluster.run_for(seconds(600)).await;
    assert_eq!(states(&cluster), Vec::<String>::new());
    for node in ["node-0", "node-1"] {
        cluster.set_node_ready(node, true).expect("back");
    }
    until_rolled_out(&cluster).await;
    cluster.set_behaviour(
        NEW,
        Behaviour {
            starts_after: seconds(120),
            ..Behaviour::default()
        },
    );
    cluster.run_for(seconds(400)).await;
    for pod in cluster.objects(kinds::PODS, NAMESPACE).iter().take(2) {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        cluster.evict(NAMESPACE, name).expect("evicted");
    }
    cluster.run_for(seconds(300)).await;
    assert_eq!(
        states(&cluster),
        Vec::<String>::new(),
        "{:?}",
        rollbacks(&cluster)
    );
    assert_eq!(image(&cluster), NEW);
}

/// The other side of the test above: the same outage, and no node to blame.
#[tokio::test(start_paused = true)]
async fn pods_that_stop_serving_on_good_nodes_are_held_against_it() {
    let (cluster, _operator) = released(Behaviour::default()).await;
    until_rolled_out(&cluster).await;
    cluster.run_for(seconds(40)).await;
    cluster.set_behaviour(NEW, Behaviour::never_ready());
    let evidence = taken_back(&cluster, "down").await;
    assert!(
        evidence.starts_with("0 of 4 replicas are available"),
        "{evidence}"
    );
}

/// Kubernetes reports no deadline while paused, and what is there cannot start all the same.
#[tokio::test(start_paused = true)]
async fn our_own_pause_does_not_hide_what_was_seen() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, "RequireApproval");
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    until_good(&cluster, GOOD).await;
    edit_policy(&cluster, |policy| {
        policy["spec"]["approval"] = json!({"timeout": "24h"});
    });
    cluster.set_behaviour(NEW, Behaviour::missing());
    cluster.set_image(NAMESPACE, NAME, NEW).expect("deployed");
    until_states(&cluster, &["AwaitingApproval"]).await;
    until(&cluster, "it is paused", 30, |cluster| {
        let live = cluster.object(&deployment()).expect("the Deployment");
        live["spec"]["paused"] == true
    })
    .await;
    cluster.run_for(seconds(3600)).await;
    assert_eq!(states(&cluster), ["AwaitingApproval"]);
    let policy = ObjectRef::new(kinds::ROLLBACK_POLICIES, NAMESPACE, "checkout-policy");
    let status = cluster.object(&policy).expect("the policy")["status"].to_string();
    assert!(status.contains("Breached"), "{status}");
    approve(&cluster).await;
    taken_back(&cluster, "stuck").await;
}
