//! One person approves for everybody, in an emergency.

use anyhow::ensure;
use serde_json::{Value, json};

use super::{change_policy, kubectl, settled, the_rollback, until_told};
use crate::{
    objects::word,
    stage::Stage,
    support::{CRASHING, run},
};

const ADMIN: &str = "astern-testbed-admin";
const REASON: &str = "astern.dev/break-glass-reason=nobody else answers";

#[test]
fn in_an_emergency_one_person_with_the_right_and_a_reason_is_enough() {
    run(async {
        let stage = settled("alone", "RequireApproval").await?;
        change_policy(&stage, json!({"approval": {"required": 2}})).await?;
        let bind = ["create", "rolebinding", "approver", "--user=bob"];
        kubectl(
            &stage,
            &[&bind[..], &["--clusterrole=astern-approver"]].concat(),
        )
        .await?;
        stage.deploy(CRASHING).await?;
        let (name, code) = proposal(&stage).await?;
        let answer = |who: &str| format!("astern.dev/break-glass={name}/{code}:{who}");

        let annotate = ["annotate", "rollback", &name];
        let bob = answer("bob");
        let said = refused(
            &stage,
            &[&annotate[..], &[&bob, REASON, "--as=bob"]].concat(),
        )
        .await?;
        ensure!(said.contains("--clusterrole=astern-break-glass"), "{said}");
        let alice = answer("alice");
        let forged = [&annotate[..], &[&alice, REASON]].concat();
        let said = refused(&stage, &forged).await?;
        ensure!(
            said.contains("nobody can answer for somebody else"),
            "{said}"
        );
        let admin = answer(ADMIN);
        let said = refused(&stage, &[&annotate[..], &[&admin]].concat()).await?;
        ensure!(said.contains("needs a reason"), "{said}");

        kubectl(&stage, &[&annotate[..], &[&admin, REASON]].concat()).await?;
        stage.until_states(&["Recovered"]).await?;
        let told = until_told(&stage, "GlassBroken").await?;
        ensure!(
            told.contains("nobody else answers") && told.contains(ADMIN),
            "{told}"
        );
        let approvals = the_rollback(&stage).await?["status"]["approvals"].clone();
        ensure!(approvals[0]["username"] == ADMIN, "{approvals}");
        ensure!(
            approvals[0]["breakGlass"] == "nobody else answers",
            "{approvals}"
        );
        Ok(())
    });
}

/// Returns the name of the Rollback that awaits approval, and what to quote.
async fn proposal(stage: &Stage<'_>) -> anyhow::Result<(String, String)> {
    stage.until_states(&["AwaitingApproval"]).await?;
    let mut rollback = Value::Null;
    stage
        .until("the code is told", async || {
            rollback = the_rollback(stage).await?;
            Ok(rollback["status"]["code"].is_string())
        })
        .await?;
    Ok((
        word(&rollback["metadata"]["name"]),
        word(&rollback["status"]["code"]),
    ))
}

/// Runs kubectl, which must fail, and returns what it says.
async fn refused(stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<String> {
    let arguments = [arguments, &["--namespace", &stage.namespace]].concat();
    let bed = stage.bed;
    let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
    ensure!(!output.status.success(), "{arguments:?} went through");
    Ok(output.stderr)
}
