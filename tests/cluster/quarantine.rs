//! Whether a bad revision can be deployed again by accident, and whether anything else is in the way.

use anyhow::{Context as _, ensure};
use astern_testbed::bed::{Bed, Output};
use serde_json::{Value, json};

use crate::support::{ERRING, FIXED, GOOD, eventually, install, installed, namespace, own, run};

const DEPLOYMENT: &str = "checkout";
/// Another one with the same template.
const NEIGHBOUR: &str = "payments";
const RECORD: &str = "checkout-of-the-bad-one";
const OPERATOR: &str = "--as=system:serviceaccount:astern-system:astern";

/// A namespace whose Deployment was gone back from its second revision.
struct Story<'a> {
    bed: &'a Bed,
    namespace: String,
}

impl<'a> Story<'a> {
    async fn begin(bed: &'a Bed) -> anyhow::Result<Self> {
        let namespace = namespace(bed, "quarantine").await?;
        let story = Self { bed, namespace };
        for (number, image) in [(1, GOOD), (2, ERRING)] {
            story.apply(DEPLOYMENT, image, &[]).await?;
            story.until_revision(number).await?;
        }
        let bad = story.live().await?;
        story.apply(DEPLOYMENT, GOOD, &[]).await?;
        story.until_revision(3).await?;
        bed.apply(&record(&bad).to_string()).await?;
        story.enforce("Deny").await?;
        Ok(story)
    }

    async fn kubectl(&self, words: &[&str], input: Option<&str>) -> anyhow::Result<Output> {
        let words = [&["-n", &self.namespace], words].concat();
        self.bed.kubectl(self.bed.kubeconfig(), &words, input).await
    }

    async fn succeed(&self, words: &[&str]) -> anyhow::Result<Output> {
        let output = self.kubectl(words, None).await?;
        ensure!(output.status.success(), "{words:?}: {}", output.stderr);
        Ok(output)
    }

    async fn live(&self) -> anyhow::Result<Value> {
        let output = self
            .succeed(&["get", "deployment", DEPLOYMENT, "-o", "json"])
            .await?;
        Ok(serde_json::from_str(&output.stdout)?)
    }

    async fn until_revision(&self, number: u32) -> anyhow::Result<()> {
        eventually("the Deployment controller has seen it", async || {
            let live = self.live().await?;
            let revision = &live["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
            Ok(revision == &json!(number.to_string()))
        })
        .await
    }

    /// Applies a manifest as kubectl does.
    async fn applied(&self, name: &str, image: &str, flags: &[&str]) -> anyhow::Result<Output> {
        let manifest = deployment(name, image).to_string();
        let words = [&["apply", "-f", "-"], flags].concat();
        self.kubectl(&words, Some(&manifest)).await
    }

    async fn apply(&self, name: &str, image: &str, flags: &[&str]) -> anyhow::Result<()> {
        let output = self.applied(name, image, flags).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        Ok(())
    }

    /// Labels the record as Astern would, and waits until the API server knows.
    async fn enforce(&self, action: &str) -> anyhow::Result<()> {
        let label = format!("astern.dev/quarantine-enforcement={action}");
        let words = ["label", "--overwrite", "controllerrevision", RECORD, &label];
        self.succeed(&words).await?;
        eventually("the quarantine is in force", async || {
            let output = self
                .applied(DEPLOYMENT, ERRING, &["--dry-run=server"])
                .await?;
            let told = output.stderr.contains("is in quarantine");
            Ok(told && output.status.success() == (action == "Warn"))
        })
        .await
    }

    /// Checks what the API server says against a command.
    async fn refused(&self, words: &[&str]) -> anyhow::Result<()> {
        let output = self.kubectl(words, None).await?;
        says_why(words, &output)
    }
}

fn says_why(words: &[&str], output: &Output) -> anyhow::Result<()> {
    ensure!(
        !output.status.success(),
        "{words:?} passed: {}",
        output.stdout
    );
    for part in [
        "revision 2 (",
        "quarantine lift deployment/checkout --revision 2 --reason",
        "label controllerrevision checkout-of-the-bad-one astern.dev/quarantine-",
    ] {
        ensure!(output.stderr.contains(part), "{words:?}: {}", output.stderr);
    }
    Ok(())
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            // The same for both, so that their templates can be equal.
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    })
}

/// Returns the record of what `bad` runs, as Astern keeps it.
fn record(bad: &Value) -> Value {
    let metadata = &bad["metadata"];
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "namespace": metadata["namespace"], "name": RECORD,
            "labels": {"astern.dev/quarantine": "true"},
            "annotations": {
                "astern.dev/revision": "2", "astern.dev/digest": "0a1b2c3d4e5f",
                "astern.dev/convicted-at": "2026-11-23T05:00:00Z",
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"],
                "uid": metadata["uid"], "controller": true, "blockOwnerDeletion": false,
            }],
        },
        "revision": 2,
        "data": {"template": bad["spec"]["template"]},
    })
}

#[test]
fn a_bad_revision_is_refused_however_it_comes_back_and_nothing_else_is() {
    run(async {
        let story = Story::begin(installed().await?).await?;
        let bad = format!("app={ERRING}");
        says_why(&["apply"], &story.applied(DEPLOYMENT, ERRING, &[]).await?)?;
        let server_side = ["--server-side", "--force-conflicts"];
        let output = story.applied(DEPLOYMENT, ERRING, &server_side).await?;
        says_why(&server_side, &output)?;
        story
            .refused(&["set", "image", "deployment/checkout", &bad])
            .await?;
        story
            .refused(&["rollout", "undo", "deployment/checkout", "--to-revision=2"])
            .await?;

        let dry_run = "--dry-run=server";
        for words in [
            &["scale", "deployment/checkout", "--replicas=3"][..],
            &["annotate", "deployment/checkout", "team=shop"],
            &["set", "env", "deployment/checkout", "FIX=1"],
            &["rollout", "restart", "deployment/checkout"],
            // People may have agreed that it is still the better one.
            &[
                "set",
                "image",
                "deployment/checkout",
                &bad,
                dry_run,
                OPERATOR,
            ],
        ] {
            story.succeed(words).await?;
        }
        // A fix with the same image, and the same template on another Deployment.
        story
            .succeed(&["set", "image", "deployment/checkout", &bad])
            .await?;
        story.apply(NEIGHBOUR, FIXED, &[]).await?;
        story.apply(NEIGHBOUR, ERRING, &[]).await
    });
}

#[test]
fn a_warning_warns_and_what_is_lifted_passes_in_silence() {
    run(async {
        let story = Story::begin(installed().await?).await?;
        story.enforce("Warn").await?;
        let output = story.applied(DEPLOYMENT, ERRING, &[]).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        ensure!(output.stderr.contains("Warning:"), "{}", output.stderr);
        ensure!(
            output.stderr.contains("quarantine lift"),
            "{}",
            output.stderr
        );
        // It runs now, and can be scaled without a word.
        let scaled = story
            .succeed(&["scale", "deployment/checkout", "--replicas=2"])
            .await?;
        ensure!(scaled.stderr.is_empty(), "{}", scaled.stderr);

        story.apply(DEPLOYMENT, GOOD, &[]).await?;
        let labels = [
            "astern.dev/quarantine-",
            "astern.dev/quarantine-enforcement-",
        ];
        let words = [&["label", "controllerrevision", RECORD][..], &labels].concat();
        story.succeed(&words).await?;
        eventually("nothing is said against it", async || {
            let output = story
                .applied(DEPLOYMENT, ERRING, &["--dry-run=server"])
                .await?;
            Ok(output.status.success() && output.stderr.is_empty())
        })
        .await
    });
}

/// On a bed of its own: everybody's kinds are taken away.
#[test]
fn with_the_kinds_deleted_everybody_can_deploy_and_lift() {
    run(async {
        let bed = own("quarantine-kinds").await?;
        install(&bed).await?;
        let story = Story::begin(&bed).await?;
        let kinds = ["rollbackpolicies", "rollbacks", "metricsources"];
        let kinds = kinds.map(|kind| format!("{kind}.astern.dev"));
        let mut words = vec!["delete", "crd"];
        words.extend(kinds.iter().map(String::as_str));
        story.succeed(&words).await?;
        story.apply(DEPLOYMENT, FIXED, &[]).await?;
        story.apply(NEIGHBOUR, ERRING, &[]).await?;
        let output = story.kubectl(
            &[
                "label",
                "controllerrevision",
                RECORD,
                "astern.dev/quarantine-",
            ],
            None,
        );
        ensure!(output.await?.status.success(), "the way out without Astern");
        eventually("the bad one passes as well", async || {
            let output = story.applied(DEPLOYMENT, ERRING, &[]).await?;
            Ok(output.status.success())
        })
        .await
        .context("without Astern nobody lifts it but people")?;
        drop(story);
        bed.stop().await
    });
}
