//! Objects that make no sense: they are reported, and stop nothing else.

use std::fs;

use anyhow::{Context as _, ensure};
use astern_testbed::bed::Bed;
use serde_json::{Value, json};

use crate::{
    objects::{Kind, condition, word},
    stage::{DEPLOYMENT, Stage},
    support::{ERRING, GOOD, eventually, installed, own_with_nodes, repository, run},
};

/// On a bed of its own, because its kinds have no rules.
#[test]
fn a_policy_that_slips_through_is_reported_and_stops_no_other() {
    run(async {
        let (bed, nodes) = own_with_nodes("hostile").await?;
        install_without_rules(&bed).await?;
        let stage = Stage::set(&bed, "hostile").await?;
        for (index, (spec, _)) in slipped().into_iter().enumerate() {
            let policy = json!({
                "apiVersion": "astern.dev/v1alpha1", "kind": "RollbackPolicy",
                "metadata": {"namespace": stage.namespace, "name": format!("slipped-{index}")},
                "spec": spec,
            });
            bed.apply(&policy.to_string()).await?;
        }
        stage.settle("Automatic", GOOD).await?;
        stage.deploy(ERRING).await?;
        stage.until_states(&["Recovered"]).await?;
        for (index, (spec, field)) in slipped().into_iter().enumerate() {
            let name = format!("slipped-{index}");
            let policy = stage.get(Kind::Policies, &name).await?;
            let accepted = condition(&policy, "Accepted");
            ensure!(accepted["status"] == "False", "{spec}: {policy}");
            ensure!(accepted["reason"] == "Invalid", "{spec}: {accepted}");
            let message = word(&accepted["message"]);
            ensure!(message.contains(field), "{spec}: {message}");
            let guarding = condition(&policy, "Guarding");
            ensure!(guarding["status"] == "False", "{spec}: {guarding}");
        }
        drop(stage);
        nodes.stop().await;
        bed.stop().await
    });
}

/// Specs that the schema would have refused, and the field that the status must name.
fn slipped() -> Vec<(Value, &'static str)> {
    let target = json!([{"name": DEPLOYMENT}]);
    let trigger = |trigger: Value| json!({"targetRefs": target, "triggers": [trigger]});
    vec![
        (json!({"targetRefs": target, "mode": "Sometimes"}), "mode"),
        (json!({"targetRefs": target, "mode": false}), "mode"),
        (
            json!({"targetRefs": target, "probation": "-5m"}),
            "probation",
        ),
        (json!({"targetRefs": target, "triggers": "all"}), "triggers"),
        (json!({"targetRefs": "checkout"}), "targetRefs"),
        (
            trigger(json!({"name": "rate", "errorRate": {"threshold": "500%"}})),
            "triggers[0].errorRate.threshold",
        ),
        (
            trigger(json!({"name": "both", "restarts": {}, "rolloutStalled": {}})),
            "triggers[0]",
        ),
        (
            trigger(json!({"name": "crashes", "restarts": {"threshold": -1}})),
            "triggers[0].restarts.threshold",
        ),
    ]
}

/// Installs everything but what the API server would check about a policy.
async fn install_without_rules(bed: &Bed) -> anyhow::Result<()> {
    let text = fs::read_to_string(repository("deploy/install.yaml"))?;
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let definition = objects
        .iter_mut()
        .find(|object| object["metadata"]["name"] == "rollbackpolicies.astern.dev")
        .context("the kind is not in the manifest")?;
    let version = &mut definition["spec"]["versions"][0];
    version["selectableFields"] = json!([]);
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({"x-kubernetes-preserve-unknown-fields": true});
    for object in &objects {
        bed.apply(&object.to_string()).await?;
    }
    Ok(())
}

#[test]
fn nonsense_in_our_annotations_stops_nothing() {
    run(async {
        let stage = Stage::set(installed().await?, "nonsense").await?;
        let mut deployment = stage.deployment(GOOD);
        let nonsense = json!({
            "team": "shop",
            "astern.dev/approve": "::/:/:",
            "astern.dev/reject": "x".repeat(100_000),
            "astern.dev/paused-by": "../\u{202e}nobody",
            "astern.dev/rolled-back-by": "",
            "astern.dev/enabled": "perhaps",
        });
        deployment["metadata"]["annotations"] = nonsense;
        let mut neighbour = stage.deployment(GOOD);
        neighbour["metadata"] = json!({
            "namespace": stage.namespace, "name": "neighbour",
            "annotations": {"astern.dev/policy": "../no such policy"},
        });
        let labels = json!({"app": "neighbour"});
        neighbour["spec"]["selector"]["matchLabels"] = labels.clone();
        neighbour["spec"]["template"]["metadata"]["labels"] = labels;
        stage.bed.apply(&neighbour.to_string()).await?;
        stage.settle_with("Automatic", &deployment).await?;
        let live = stage.live().await?;
        let annotations = &live["metadata"]["annotations"];
        ensure!(annotations["team"] == "shop", "{annotations}");
        ensure!(live["spec"]["paused"].is_null(), "{live}");

        stage.deploy(ERRING).await?;
        stage.until_states(&["Recovered"]).await?;
        ensure!(stage.image().await? == GOOD);
        eventually("somebody tells that the policy is missing", async || {
            let arguments = ["get", "events", "-n", &stage.namespace, "-o", "json"];
            let bed = stage.bed;
            let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
            let events: Value = serde_json::from_str(&output.stdout)?;
            let events = events["items"].as_array().cloned().unwrap_or_default();
            Ok(events.iter().any(|event| {
                event["involvedObject"]["name"] == "neighbour"
                    && word(&event["message"]).contains("no such policy")
            }))
        })
        .await
    });
}
