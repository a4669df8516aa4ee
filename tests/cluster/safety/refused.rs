//! A target that admission does not let through any more.

use anyhow::ensure;
use kube::{
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};

use super::{is_left_alone, settled, the_rollback, until_told};
use crate::{
    objects::{Kind, word},
    stage::{DEPLOYMENT, Stage},
    support::{CRASHING, GOOD, run},
};

const MESSAGE: &str = "images of version 1.0 have a known hole";

#[test]
fn a_refusal_by_admission_ends_the_rollback_and_is_quoted() {
    run(async {
        let stage = settled("refused", "Automatic").await?;
        for object in admission(&stage.namespace) {
            stage.bed.apply(&object.to_string()).await?;
        }
        stage
            .until("admission refuses the old image", async || {
                Ok(is_refused(&stage).await)
            })
            .await?;
        stage.deploy(CRASHING).await?;
        stage.until_states(&["Failed"]).await?;
        let status = &the_rollback(&stage).await?["status"];
        let outcome = word(&status["outcome"]);
        ensure!(outcome.contains(MESSAGE), "{outcome}");
        let note = until_told(&stage, "DryRunRefused").await?;
        ensure!(note.contains(MESSAGE), "{note}");
        is_left_alone(&stage).await?;
        ensure!(stage.image().await? == CRASHING);
        ensure!(stage.states().await? == ["Failed"]);
        Ok(())
    });
}

/// Returns a policy that refuses to change a Deployment to the old image, and what puts it in force.
fn admission(namespace: &str) -> [Value; 2] {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{
                    "apiGroups": ["apps"], "apiVersions": ["v1"],
                    "operations": ["UPDATE"], "resources": ["deployments"]}],
            },
            "matchConditions": [{
                "name": "changed",
                "expression": "object.spec.template != oldObject.spec.template
                    || object.metadata.annotations != oldObject.metadata.annotations"}],
            "validations": [{
                "expression": format!(
                    "object.spec.template.spec.containers.all(it, it.image != '{GOOD}')"),
                "message": MESSAGE}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    });
    [policy, binding]
}

async fn is_refused(stage: &Stage<'_>) -> bool {
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let change = Patch::Merge(json!({"metadata": {"annotations": {"try": "1"}}}));
    let request = Request::new(Kind::Deployments.path(&stage.namespace));
    let request = request
        .patch(DEPLOYMENT, &parameters, &change)
        .expect("it can be written down");
    stage.bed.client().request::<Value>(request).await.is_err()
}
