use serde_json::json;

use super::*;
use crate::port::simulated::{ApiFault, ApiRule, Settings, SimulatedCluster, Verb};

fn deployment() -> Value {
    json!({"metadata": {"namespace": "shop", "name": "checkout"}})
}

async fn claimed_by(cluster: &dyn Cluster, deployment: &Value) -> Result<Option<String>, Error> {
    let claimants = claimants(cluster, "shop").await?;
    Ok(claimants.of(deployment))
}

fn owned(version: &str, kind: &str) -> Value {
    json!([{"apiVersion": version, "kind": kind, "name": "release", "controller": true}])
}

#[track_caller]
fn check(path: &str, value: Value, expected: Option<&str>) {
    let mut object = deployment();
    object["metadata"][path] = value;
    assert_eq!(other_controller(&object).as_deref(), expected, "{object}");
}

#[test]
fn an_owner_that_rolls_out_is_found() {
    let owners = "ownerReferences";
    let primary = owned("flagger.app/v1beta1", "Canary");
    check(owners, primary, Some("Flagger, Canary release"));
    let rollout = owned("argoproj.io/v1alpha1", "Rollout");
    check(owners, rollout, Some("Argo Rollouts, Rollout release"));
    let batch = owned("rollouts.kruise.io/v1beta1", "BatchRelease");
    check(owners, batch, Some("Kruise Rollouts, BatchRelease release"));
    check(owners, owned("example.com/v1", "Rollout"), None);
    check(owners, owned("argoproj.io/v1alpha1", "Workflow"), None);
}

#[test]
fn kruise_is_found_while_it_rolls_out() {
    let progressing = |value: &str| json!({"rollouts.kruise.io/in-progressing": value});
    for (value, expected) in [
        (r#"{"rolloutName":"slow"}"#, "Kruise Rollouts, Rollout slow"),
        (r#"{"RolloutName":"slow"}"#, "Kruise Rollouts, Rollout slow"),
        ("true", "Kruise Rollouts"),
        ("not JSON", "Kruise Rollouts"),
    ] {
        check("annotations", progressing(value), Some(expected));
    }
    check("annotations", progressing(""), None);
    let controlled = json!({"batchrelease.rollouts.kruise.io/control-info": "{}"});
    check("annotations", controlled, Some("Kruise Rollouts"));
    let key = "rollouts.kruise.io/controlled-by-advanced-deployment-controller";
    check("labels", json!({key: "true"}), Some("Kruise Rollouts"));
    check("labels", json!({key: "false"}), None);
    let canary = json!({"rollouts.kruise.io/canary-deployment": "checkout"});
    check("labels", canary, Some("Kruise Rollouts"));
    // Kruise leaves this one on every Deployment that it ever rolled out.
    let stayed = json!({"rollouts.kruise.io/workload-type": "deployment"});
    check("labels", stayed, None);
}

/// Two of them scale what they claim, and that stays in the managed fields when the claim is gone.
#[test]
fn who_scaled_it_once_says_nothing_by_itself() {
    for manager in ["rollouts-controller", "flagger"] {
        check("managedFields", json!([scaled_by(manager)]), None);
    }
}

fn scaled_by(manager: &str) -> Value {
    json!({"manager": manager, "operation": "Update",
        "fieldsV1": {"f:spec": {"f:replicas": {}}}})
}

fn claim_of(kind: Kind, path: &str, name: &str, target: &str) -> Value {
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": target});
    let mut spec = reference;
    for part in path.rsplit('/').filter(|part| !part.is_empty()) {
        spec = json!({part: spec});
    }
    let mut object = spec;
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    object["metadata"] = json!({"namespace": "shop", "name": name});
    object
}

fn cluster_with(kind: Kind, object: Value) -> SimulatedCluster {
    let cluster = SimulatedCluster::new(Settings::default());
    cluster.put(kind, object).expect("it is taken");
    cluster
}

#[tokio::test(start_paused = true)]
async fn every_claim_on_a_deployment_is_found() {
    for (kind, path, expected) in [
        (
            kinds::ARGO_ROLLOUTS,
            "/spec/workloadRef",
            "Argo Rollouts, Rollout slow",
        ),
        (kinds::CANARIES, "/spec/targetRef", "Flagger, Canary slow"),
        (
            kinds::KRUISE_ROLLOUTS,
            "/spec/workloadRef",
            "Kruise Rollouts, Rollout slow",
        ),
    ] {
        let cluster = cluster_with(kind, claim_of(kind, path, "slow", "checkout"));
        let found = claimed_by(&cluster, &deployment()).await.expect("answers");
        assert_eq!(found.as_deref(), Some(expected));

        let cluster = cluster_with(kind, claim_of(kind, path, "slow", "other"));
        let found = claimed_by(&cluster, &deployment()).await.expect("answers");
        assert_eq!(found, None, "it claims another");

        let mut elsewhere = claim_of(kind, path, "slow", "checkout");
        elsewhere["metadata"]["namespace"] = json!("other");
        let cluster = cluster_with(kind, elsewhere);
        let found = claimed_by(&cluster, &deployment()).await.expect("answers");
        assert_eq!(found, None, "it lives elsewhere");

        let mut daemon_set = claim_of(kind, path, "slow", "checkout");
        *daemon_set
            .pointer_mut(&format!("{path}/kind"))
            .expect("a reference") = json!("DaemonSet");
        let cluster = cluster_with(kind, daemon_set);
        let found = claimed_by(&cluster, &deployment()).await.expect("answers");
        assert_eq!(found, None, "it claims another kind");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_rollout_of_kruise_claims_nothing() {
    let kind = kinds::KRUISE_ROLLOUTS;
    let mut disabled = claim_of(kind, "/spec/workloadRef", "slow", "checkout");
    disabled["spec"]["disabled"] = json!(true);
    let cluster = cluster_with(kind, disabled);
    let found = claimed_by(&cluster, &deployment()).await.expect("answers");
    assert_eq!(found, None);
}

#[tokio::test(start_paused = true)]
async fn the_older_version_of_kruise_is_asked_where_the_newer_is_not_served() {
    let kind = kinds::KRUISE_ROLLOUTS_BEFORE;
    let claim = claim_of(kind, "/spec/objectRef/workloadRef", "slow", "checkout");
    let cluster = cluster_with(kind, claim);
    cluster.serve(kinds::KRUISE_ROLLOUTS, false);
    let found = claimed_by(&cluster, &deployment()).await.expect("answers");
    assert_eq!(found.as_deref(), Some("Kruise Rollouts, Rollout slow"));
}

fn scaled() -> Value {
    let mut object = deployment();
    object["metadata"]["managedFields"] = json!([scaled_by("flagger")]);
    object
}

#[tokio::test(start_paused = true)]
async fn who_scaled_it_counts_where_claims_may_not_be_read() {
    let refused = || {
        ApiFault::Refused(port::Error::Forbidden {
            message: "no".to_owned(),
        })
    };
    let cluster = SimulatedCluster::new(Settings::default());
    let found = claimed_by(&cluster, &scaled()).await.expect("answers");
    assert_eq!(found, None, "nothing claims it");

    cluster.serve(kinds::CANARIES, false);
    let found = claimed_by(&cluster, &scaled()).await.expect("answers");
    assert_eq!(found, None, "there is no Flagger");

    cluster.serve(kinds::CANARIES, true);
    cluster.break_api(ApiRule::next(Verb::List, kinds::CANARIES, refused()));
    let found = claimed_by(&cluster, &scaled()).await.expect("answers");
    assert_eq!(found.as_deref(), Some("Flagger"));

    cluster.break_api(ApiRule::next(Verb::List, kinds::CANARIES, refused()));
    let found = claimed_by(&cluster, &deployment()).await.expect("answers");
    assert_eq!(found, None, "nothing speaks for it");
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_an_error_and_not_a_claim() {
    for kind in [
        kinds::ARGO_ROLLOUTS,
        kinds::CANARIES,
        kinds::KRUISE_ROLLOUTS,
    ] {
        let cluster = SimulatedCluster::new(Settings::default());
        cluster.break_api(ApiRule::next(Verb::List, kind, ApiFault::RequestLost));
        let found = claimed_by(&cluster, &deployment()).await;
        assert!(matches!(found, Err(Error::ListRollouts { .. })), "{kind:?}");
    }
}
