//! People and pipelines ask for a rollback by creating a short record.

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::try_join;

use super::{approve, change_policy, create, settled};
use crate::{
    objects::{Kind, state, word},
    stage::{DEPLOYMENT, Stage},
    support::{FIXED, GOOD, run},
};

#[test]
fn whoever_asks_gets_what_was_asked_or_is_told_why_not() {
    run(async {
        try_join!(asked_again_and_again(), asked_while_another_is_open())?;
        Ok(())
    });
}

async fn asked_again_and_again() -> anyhow::Result<()> {
    let stage = with_two_good_ones("RequireApproval").await?;
    let number = |image: &str| {
        let image = image.to_owned();
        let stage = &stage;
        async move { revision(stage, &image).await }
    };
    let (good, _) = number(GOOD).await?;
    let (fixed, digest) = number(FIXED).await?;
    ensure!((good, fixed) == (1, 2), "{good}, {fixed}");

    let observed = asked(&stage, "rehearsal", json!({"dryRun": true})).await?;
    ensure!(state(&observed) == "Observed", "{observed}");
    ensure!(observed["status"]["to"]["images"] == json!([GOOD]));
    let unknown = asked(&stage, "unknown", json!({"to": "no-such"})).await?;
    is_declined(&unknown, "no revision \"no-such\" is recorded")?;
    let nobody = json!({"deployment": {"name": "nobody"}});
    let nobody = asked(&stage, "nobody", nobody).await?;
    is_declined(&nobody, "there is no Deployment \"nobody\"")?;
    let current = asked(&stage, "current", json!({"to": "2"})).await?;
    is_declined(&current, "is the one that runs")?;
    let writes = stage.writes_to_deployment();
    ensure!(writes.is_empty(), "{writes:?}");

    // Nobody else has to agree where the policy does not say so.
    change_policy(&stage, json!({"mode": "Observe"})).await?;
    let plain = asked(&stage, "plain", json!({})).await?;
    is_complete(&stage, &plain, (FIXED, GOOD)).await?;

    // A word about the revision that was left, so that it may be gone back to: it is in quarantine.
    let mark = format!("{}/Good:alice: it was not its fault", &digest[..8]);
    super::annotate(&stage, "astern.dev/mark", json!(mark)).await?;
    stage.until_verdict(FIXED, "Good").await?;
    let by_digest = asked(&stage, "by-digest", json!({"to": digest[..12]})).await?;
    is_complete(&stage, &by_digest, (GOOD, FIXED)).await?;

    let (good, digest) = revision(&stage, GOOD).await?;
    let mark = format!("{}/Good:alice: nor its", &digest[..8]);
    super::annotate(&stage, "astern.dev/mark", json!(mark)).await?;
    stage.until_verdict(GOOD, "Good").await?;
    let by_number = asked(&stage, "by-number", json!({"to": good.to_string()})).await?;
    is_complete(&stage, &by_number, (FIXED, GOOD)).await
}

async fn asked_while_another_is_open() -> anyhow::Result<()> {
    let stage = with_two_good_ones("RequireApproval").await?;
    ask(&stage, "first", json!({})).await?;
    stage.until_states(&["AwaitingApproval"]).await?;
    let second = asked(&stage, "second", json!({})).await?;
    is_declined(
        &second,
        "another rollback of this Deployment is open, first",
    )?;
    let first = stage.get(Kind::Rollbacks, "first").await?;
    ensure!(state(&first) == "AwaitingApproval", "{first}");
    // The label by which admission finds it, though a person made it.
    let labels = &first["metadata"]["labels"];
    ensure!(labels["astern.dev/awaiting-approval"] == "true", "{first}");

    approve(&stage, "first").await?;
    stage
        .until("the first is carried out", async || {
            let first = stage.get(Kind::Rollbacks, "first").await?;
            Ok(state(&first) == "Recovered")
        })
        .await?;
    let first = stage.get(Kind::Rollbacks, "first").await?;
    is_complete(&stage, &first, (FIXED, GOOD)).await
}

async fn with_two_good_ones(mode: &str) -> anyhow::Result<Stage<'static>> {
    let stage = settled("asked", mode).await?;
    stage.deploy(FIXED).await?;
    stage.until_verdict(FIXED, "Good").await?;
    Ok(stage)
}

/// Creates a short record, as `kubectl create` does.
async fn ask(stage: &Stage<'_>, name: &str, more: Value) -> anyhow::Result<()> {
    let mut spec = json!({"deployment": {"name": DEPLOYMENT}, "reason": "customers complain"});
    let more = more.as_object().cloned().unwrap_or_default();
    for (key, value) in more {
        spec[key] = value;
    }
    let ask = json!({
        "apiVersion": "astern.dev/v1alpha1", "kind": "Rollback",
        "metadata": {"name": name}, "spec": spec,
    });
    create(stage, Kind::Rollbacks, &ask).await
}

/// Does so, and waits for the end.
async fn asked(stage: &Stage<'_>, name: &str, more: Value) -> anyhow::Result<Value> {
    ask(stage, name, more).await?;
    let mut found = Value::Null;
    stage
        .until(&format!("{name} is answered"), async || {
            found = stage.get(Kind::Rollbacks, name).await?;
            let open = ["", "AwaitingApproval", "RollingBack", "Verifying"];
            Ok(!open.contains(&state(&found).as_str()))
        })
        .await?;
    Ok(found)
}

fn is_declined(rollback: &Value, why: &str) -> anyhow::Result<()> {
    let status = &rollback["status"];
    ensure!(state(rollback) == "Failed", "{status}");
    ensure!(word(&status["outcome"]).contains(why), "{status}");
    ensure!(status["timings"]["endedTime"].is_string(), "{status}");
    Ok(())
}

async fn is_complete(
    stage: &Stage<'_>,
    rollback: &Value,
    (from, to): (&str, &str),
) -> anyhow::Result<()> {
    let status = &rollback["status"];
    ensure!(state(rollback) == "Recovered", "{status}");
    ensure!(status["requested"] == true, "{status}");
    ensure!(status["trigger"].is_null(), "{status}");
    ensure!(status["from"]["images"] == json!([from]), "{status}");
    ensure!(status["to"]["images"] == json!([to]), "{status}");
    for time in ["proposedTime", "decidedTime", "patchedTime", "endedTime"] {
        ensure!(status["timings"][time].is_string(), "{time}: {status}");
    }
    let evidence = word(&status["evidence"]["summary"]);
    ensure!(evidence.contains("customers complain"), "{evidence}");
    let live = stage.live().await?;
    ensure!(stage.image().await? == to, "{live}");
    let mark = &live["metadata"]["annotations"]["astern.dev/rolled-back-by"];
    ensure!(*mark == rollback["metadata"]["name"], "{mark}");
    // Who went back has said something about the revision that was left.
    let left = stage.verdicts().await?;
    let withdrawn = (from.to_owned(), "Withdrawn".to_owned());
    ensure!(left.contains(&withdrawn), "{left:?}");
    Ok(())
}

/// Returns the revision number of what runs an image, and its digest.
async fn revision(stage: &Stage<'_>, image: &str) -> anyhow::Result<(i64, String)> {
    let revisions = stage.list(Kind::Revisions).await?;
    let found = revisions
        .iter()
        .find(|revision| crate::objects::image_of(revision) == image);
    let annotations = &found.unwrap_or(&Value::Null)["metadata"]["annotations"];
    let number = word(&annotations["astern.dev/revision"]).parse()?;
    Ok((number, word(&annotations["astern.dev/digest"])))
}
