//! What a Rollback says besides what was done, on the simulated cluster.

use std::sync::Arc;

use astern::port::simulated::SimulatedCluster;
use astern::port::{ObjectRef, kinds};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::operator::{
    ERRING, FAILING_PROBES, GOOD, NAME, NAMESPACE, Operator, apply_policy, approve, cluster,
    deployment, own_writes, rollbacks, states, until, until_good, until_states,
};

fn service(cluster: &SimulatedCluster, selector: &Value) {
    let body = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {"selector": selector},
    });
    cluster.put(kinds::SERVICES, body).expect("a service");
}

async fn settle(cluster: &SimulatedCluster) {
    apply_policy(cluster, "Automatic");
    service(cluster, &json!({"app": NAME}));
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    until_good(cluster, GOOD).await;
}

fn status(cluster: &SimulatedCluster) -> Value {
    rollbacks(cluster).remove(0).2
}

#[tokio::test(start_paused = true)]
async fn a_rollback_says_what_the_release_cost_by_no_more_writes() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster).await;
    cluster.run_for(SignedDuration::from_secs(10)).await;
    let before = own_writes(&cluster).len();
    cluster
        .set_image(NAMESPACE, NAME, ERRING)
        .expect("deployed");
    until_states(&cluster, &["Recovered"]).await;
    let status = status(&cluster);
    let impact = &status["impact"];
    let (failed, total) = (&impact["failedRequests"], &impact["totalRequests"]);
    assert!(
        failed.as_u64() > Some(0) && failed.as_u64() < total.as_u64(),
        "{impact}"
    );
    for side in ["from", "to"] {
        let name = status[side]["replicaSet"].as_str().expect("a name");
        assert_eq!(
            format!("{NAME}-{}", status[side]["hash"].as_str().expect("a hash")),
            name
        );
    }
    let message = status["conditions"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(message.contains("requests failed between"), "{message}");
    let writes = &own_writes(&cluster)[before..];
    let first = writes
        .iter()
        .position(|write| write.kind == kinds::ROLLBACKS);
    let writes = &writes[first.expect("a Rollback")..];
    assert!(writes.len() <= 8, "{writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_proposal_says_what_is_wrong_with_the_pods() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster).await;
    cluster
        .set_image(NAMESPACE, NAME, FAILING_PROBES)
        .expect("deployed");
    until(&cluster, "it asks with its code", 180, |cluster| {
        let found = rollbacks(cluster);
        found
            .iter()
            .any(|(_, _, status)| status["code"].is_string())
    })
    .await;
    let diagnosis = status(&cluster)["diagnosis"].clone();
    let first = diagnosis[0]["about"].as_str().unwrap_or_default();
    assert!(first.starts_with("pod/checkout-"), "{diagnosis}");
    approve(&cluster).await;
    until_states(&cluster, &["Recovered"]).await;
    assert_eq!(status(&cluster)["diagnosis"], diagnosis);
}

#[tokio::test(start_paused = true)]
async fn recovery_waits_for_a_service_that_was_turned_to_the_bad_release() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster).await;
    let turn = |version: Option<&str>| {
        let object = ObjectRef::new(kinds::SERVICES, NAMESPACE, NAME);
        let mut selector = json!({"app": NAME});
        if let Some(version) = version {
            selector["version"] = version.into();
        }
        let change = |service: &mut Value| service["spec"]["selector"] = selector;
        cluster.edit(&object, change).expect("edited");
    };
    cluster
        .edit(&deployment(), |object| {
            let template = &mut object["spec"]["template"];
            template["metadata"]["labels"]["version"] = "v2".into();
            template["spec"]["containers"][0]["image"] = ERRING.into();
        })
        .expect("deployed");
    turn(Some("v2"));
    until_states(&cluster, &["Verifying"]).await;
    cluster.run_for(SignedDuration::from_secs(90)).await;
    assert_eq!(states(&cluster), ["Verifying"]);
    turn(None);
    until_states(&cluster, &["Recovered"]).await;
    assert_eq!(status(&cluster).get("traffic"), Some(&json!([])));
}

#[tokio::test(start_paused = true)]
async fn traffic_that_never_arrives_fails_and_names_the_service() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster).await;
    cluster
        .edit(&deployment(), |object| {
            let template = &mut object["spec"]["template"];
            template["metadata"]["labels"]["version"] = "v2".into();
            template["spec"]["containers"][0]["image"] = ERRING.into();
        })
        .expect("deployed");
    let object = ObjectRef::new(kinds::SERVICES, NAMESPACE, NAME);
    cluster
        .edit(&object, |service| {
            service["spec"]["selector"]["version"] = "v2".into();
        })
        .expect("edited");
    until(&cluster, "it fails", 500, |cluster| {
        states(cluster) == ["Failed"]
    })
    .await;
    let outcome = status(&cluster)["outcome"].clone();
    let outcome = outcome.as_str().unwrap_or_default();
    assert!(outcome.contains("asks for version=v2"), "{outcome}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_the_cluster_does_not_serve_hold_nothing_up() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    cluster.serve(kinds::ENDPOINT_SLICES, false);
    settle(&cluster).await;
    cluster
        .set_image(NAMESPACE, NAME, ERRING)
        .expect("deployed");
    until_states(&cluster, &["Recovered"]).await;
    let status = status(&cluster);
    let told = status["traffic"][0].as_str().unwrap_or_default();
    assert!(told.contains("endpointslices"), "{status}");
    let outcome = status["outcome"].as_str().unwrap_or_default();
    assert!(outcome.contains(told), "{outcome}");
}
