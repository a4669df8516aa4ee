//! What people say about revisions in an annotation.

use anyhow::ensure;
use serde_json::{Value, json};

use super::{annotate, change_policy, settled, until_told};
use crate::{
    objects::{Kind, image_of, word},
    stage::Stage,
    support::{FIXED, run},
};

const MARK: &str = "astern.dev/mark";

#[test]
fn what_people_say_about_a_revision_is_taken_in_once() {
    run(async {
        let stage = settled("marks", "Automatic").await?;
        change_policy(&stage, json!({"probation": "1h"})).await?;
        stage.deploy(FIXED).await?;
        stage.until_verdict(FIXED, "Unproven").await?;
        let revision = recorded(&stage).await?;
        let digest = word(&revision["metadata"]["annotations"]["astern.dev/digest"]);
        let mark = |word: &str, reason: &str| format!("{}/{word}:alice: {reason}", &digest[..8]);

        annotate(&stage, MARK, json!(mark("Good", "it serves"))).await?;
        stage.until_verdict(FIXED, "Good").await?;
        let labels = recorded(&stage).await?["metadata"]["labels"].take();
        ensure!(labels["astern.dev/proof"] == "Vouched", "{labels}");
        let note = until_told(&stage, "RevisionMarked").await?;
        ensure!(
            note.contains("alice") && note.contains("it serves"),
            "{note}"
        );

        annotate(&stage, MARK, json!(mark("Bad", "it loses orders"))).await?;
        stage.until_verdict(FIXED, "Bad").await?;
        is_in_quarantine(&stage, true).await?;
        annotate(&stage, MARK, json!(mark("Lifted", "repaired by hand"))).await?;
        is_in_quarantine(&stage, false).await?;
        stage.heartbeats(3).await?;
        is_in_quarantine(&stage, false).await?;

        for nonsense in ["nonsense", "00000000/Good:alice: no such revision"] {
            annotate(&stage, MARK, json!(nonsense)).await?;
            stage
                .until("nonsense is told", async || {
                    let notes = super::told(&stage, "MarkNotUnderstood").await?;
                    Ok(notes.iter().any(|note| note.contains(nonsense)))
                })
                .await?;
        }
        super::is_left_alone(&stage).await
    });
}

async fn is_in_quarantine(stage: &Stage<'_>, expected: bool) -> anyhow::Result<()> {
    let what = format!("in quarantine: {expected}");
    stage
        .until(&what, async || {
            let labels = recorded(stage).await?["metadata"]["labels"].take();
            Ok((labels["astern.dev/quarantine"] == "true") == expected)
        })
        .await
}

/// Returns what is recorded of the second release.
async fn recorded(stage: &Stage<'_>) -> anyhow::Result<Value> {
    let mut revisions = stage.list(Kind::Revisions).await?;
    revisions.retain(|revision| image_of(revision) == FIXED);
    ensure!(revisions.len() == 1, "{revisions:?}");
    Ok(revisions.remove(0))
}
