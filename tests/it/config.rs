//! Config goes back with the code, on the simulated cluster, in virtual time.

use std::sync::Arc;

use astern::api::names;
use astern::port::simulated::{Behaviour, Crash, SimulatedCluster};
use astern::port::{ObjectRef, kinds};
use serde_json::{Value, json};

use crate::operator::{
    ERRING, FIXED, GOOD, Mortal, NAME, NAMESPACE, Operator, apply_policy, cluster, deployment,
    image, mark, rollbacks, states, template_writes, until, until_good, until_states,
};

fn settings() -> ObjectRef {
    ObjectRef::new(kinds::CONFIG_MAPS, NAMESPACE, "settings")
}

fn read(cluster: &SimulatedCluster, object: &ObjectRef) -> Value {
    cluster.object(object).expect("it is there")
}

fn put_settings(cluster: &SimulatedCluster, url: &str) {
    if cluster.object(&settings()).is_some() {
        let edit = |object: &mut Value| object["data"]["url"] = json!(url);
        cluster.edit(&settings(), edit).expect("edited");
        return;
    }
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": NAMESPACE, "name": "settings"},
        "data": {"url": url, "colour": "blue"}});
    cluster.put(kinds::CONFIG_MAPS, body).expect("a ConfigMap");
}

/// A Deployment that reads the ConfigMap when its pods start.
async fn settle(cluster: &SimulatedCluster, mode: &str) {
    put_settings(cluster, "http://one");
    apply_policy(cluster, "Automatic");
    let policy = ObjectRef::new(kinds::ROLLBACK_POLICIES, NAMESPACE, "checkout-policy");
    cluster
        .edit(&policy, |object| {
            object["spec"]["config"] = json!({"mode": mode});
        })
        .expect("edited");
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    cluster
        .edit(&deployment(), |live| {
            live["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
                json!([{"configMapRef": {"name": "settings"}}]);
        })
        .expect("edited");
    until_good(cluster, GOOD).await;
    until(cluster, "what reads the config is good", 180, |cluster| {
        let runs = template(cluster);
        let records = cluster.objects(kinds::CONTROLLER_REVISIONS, NAMESPACE);
        let mut records = records.iter();
        records.any(|record| {
            record["data"]["template"]["spec"] == runs["spec"]
                && record["metadata"]["labels"][names::VERDICT] == "Good"
        })
    })
    .await;
}

fn template(cluster: &SimulatedCluster) -> Value {
    read(cluster, &deployment())["spec"]["template"].clone()
}

fn config_map(cluster: &SimulatedCluster) -> String {
    let reference =
        &template(cluster)["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"];
    reference.as_str().expect("a reference").to_owned()
}

fn check_restored(cluster: &SimulatedCluster) {
    assert_eq!(image(cluster), GOOD);
    let copy = config_map(cluster);
    assert!(copy.starts_with("settings-astern-"), "{copy}");
    let object = ObjectRef::new(kinds::CONFIG_MAPS, NAMESPACE, &copy);
    let object = read(cluster, &object);
    assert_eq!(
        object["data"],
        json!({"url": "http://one", "colour": "blue"})
    );
    assert_eq!(object["immutable"], true);
    // Who shares the original sees no change.
    let shared = read(cluster, &settings());
    assert_eq!(shared["data"]["url"], "http://two");
    assert_eq!(
        mark(cluster, names::CONFIG_PINNED),
        Some(format!("settings={copy}"))
    );
    assert_eq!(template_writes(cluster).len(), 1);
}

fn deploy_bad(cluster: &SimulatedCluster) {
    put_settings(cluster, "http://two");
    cluster
        .set_image(NAMESPACE, NAME, ERRING)
        .expect("deployed");
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_with_changed_config_goes_back_with_its_config() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Restore").await;
    deploy_bad(&cluster);
    until_states(&cluster, &["Recovered"]).await;
    check_restored(&cluster);
    let (_, _, status) = rollbacks(&cluster).remove(0);
    assert_eq!(status["config"]["copies"][0]["name"], "settings");
    let message = status["conditions"][0]["message"].as_str();
    let told = message.expect("a message");
    assert!(told.contains("pinned copy settings-astern-"), "{told}");
    assert!(
        !status.to_string().contains("http://"),
        "no contents: {status}"
    );

    // The copy lives on, and the next release reads the shared one again.
    let pinned = ObjectRef::new(kinds::CONFIG_MAPS, NAMESPACE, config_map(&cluster));
    cluster
        .edit(&deployment(), |live| {
            let container = &mut live["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!(FIXED);
            container["envFrom"][0]["configMapRef"]["name"] = json!("settings");
        })
        .expect("deployed");
    until_good(&cluster, FIXED).await;
    assert!(cluster.object(&pinned).is_some());
    assert_eq!(states(&cluster), ["Recovered"]);
    // It does not run on a copy any more.
    assert_eq!(mark(&cluster, names::CONFIG_PINNED), None);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_brings_bad_config_is_a_release_and_is_taken_back() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Restore").await;
    put_settings(&cluster, "http://two");
    cluster.set_behaviour(GOOD, Behaviour::erring(0.3));
    cluster
        .edit(&deployment(), |live| {
            live["spec"]["template"]["metadata"]["annotations"][names::RESTARTED_AT] =
                json!("2026-11-23T10:00:00Z");
        })
        .expect("restarted");
    until(&cluster, "it goes back", 180, |cluster| {
        config_map(cluster).starts_with("settings-astern-")
    })
    .await;
    cluster.set_behaviour(GOOD, Behaviour::default());
    until_states(&cluster, &["Recovered"]).await;
    check_restored(&cluster);
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_the_same_config_is_no_release() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Check").await;
    let records = || {
        cluster
            .objects(kinds::CONTROLLER_REVISIONS, NAMESPACE)
            .len()
    };
    let before = records();
    cluster
        .edit(&deployment(), |live| {
            live["spec"]["template"]["metadata"]["annotations"][names::RESTARTED_AT] =
                json!("2026-11-23T10:00:00Z");
        })
        .expect("restarted");
    cluster.run_for(jiff::SignedDuration::from_secs(120)).await;
    assert_eq!(records(), before);
    assert_eq!(states(&cluster), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn where_config_is_only_checked_people_are_asked_and_told_what_changed() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Check").await;
    deploy_bad(&cluster);
    until_states(&cluster, &["AwaitingApproval"]).await;
    let (_, _, status) = rollbacks(&cluster).remove(0);
    let cap = status["caps"][0].as_str().expect("a cap");
    assert!(cap.contains("\"settings\" changed in \"url\""), "{cap}");
    assert!(
        !status.to_string().contains("http://"),
        "no contents: {status}"
    );
    crate::operator::approve(&cluster).await;
    until_states(&cluster, &["Recovered"]).await;
    assert_eq!(
        (image(&cluster).as_str(), config_map(&cluster).as_str()),
        (GOOD, "settings")
    );
}

async fn story(crash: Crash) -> usize {
    let cluster = cluster();
    let mortal = Mortal::start(&cluster, crash);
    settle(&cluster, "Restore").await;
    deploy_bad(&cluster);
    until_states(&cluster, &["Recovered"]).await;
    check_restored(&cluster);
    mortal.writes()
}

#[tokio::test(start_paused = true)]
async fn wherever_the_operator_dies_config_goes_back_once() {
    let writes = story(Crash::Never).await;
    assert!(writes > 10, "the story has {writes} writes");
    for write in 1..=writes {
        story(Crash::Before(write)).await;
        story(Crash::After(write)).await;
    }
}
