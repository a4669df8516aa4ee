//! The tools that people deploy with, each as they call it.

use std::fs;

use anyhow::ensure;
use astern_testbed::bed::Output;
use serde_json::{Value, json};

use crate::stage::{DEPLOYMENT, Stage};

/// Helm's name for what it has deployed.
const RELEASE: &str = "shop";

/// How a release is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ClientSide,
    ServerSide,
    /// The bad one by `kubectl set image`, the others by `kubectl apply`.
    SetImage,
    /// `helm upgrade` of Helm 4, which applies on the server's side.
    Helm4,
    /// `helm upgrade` of Helm 3, which compares with the manifest in its own release Secret.
    Helm3,
}

impl Way {
    /// Deploys a manifest of the Deployment.
    pub(crate) async fn deploy(self, stage: &Stage<'_>, manifest: &Value) -> anyhow::Result<()> {
        let text = manifest.to_string();
        match self {
            Self::ClientSide | Self::SetImage => {
                kubectl(stage, &["apply", "-f", "-"], Some(&text)).await
            }
            Self::ServerSide => {
                kubectl(stage, &["apply", "--server-side", "-f", "-"], Some(&text)).await
            }
            Self::Helm4 | Self::Helm3 => {
                let chart = chart(stage, &text)?;
                self.helm(stage, &["upgrade", "--install", RELEASE, &chart])
                    .await
            }
        }
    }

    /// Deploys nothing but another image where the tool can, and the manifest where it cannot.
    pub(crate) async fn deploy_image(
        self,
        stage: &Stage<'_>,
        image: &str,
        manifest: &Value,
    ) -> anyhow::Result<()> {
        if self != Self::SetImage {
            return self.deploy(stage, manifest).await;
        }
        let image = format!("app={image}");
        kubectl(
            stage,
            &["set", "image", "deployment", DEPLOYMENT, &image],
            None,
        )
        .await
    }

    /// Goes back to the release before, in Helm's record and in the cluster.
    pub(crate) async fn helm_rollback(self, stage: &Stage<'_>) -> anyhow::Result<()> {
        self.helm(stage, &["rollback", RELEASE]).await
    }

    async fn helm(self, stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<()> {
        let bed = stage.bed;
        let arguments = [arguments, &["--namespace", &stage.namespace]].concat();
        let output = if self == Self::Helm3 {
            bed.helm_3(bed.kubeconfig(), &arguments).await?
        } else {
            bed.helm(bed.kubeconfig(), &arguments).await?
        };
        succeeded(&arguments, &output)
    }
}

async fn kubectl(stage: &Stage<'_>, arguments: &[&str], input: Option<&str>) -> anyhow::Result<()> {
    let arguments = [arguments, &["--namespace", &stage.namespace]].concat();
    let bed = stage.bed;
    let output = bed.kubectl(bed.kubeconfig(), &arguments, input).await?;
    succeeded(&arguments, &output)
}

/// A warning counts as a failure: people would see it at every deploy after a rollback.
fn succeeded(arguments: &[&str], output: &Output) -> anyhow::Result<()> {
    ensure!(output.status.success(), "{arguments:?}: {}", output.stderr);
    ensure!(output.stderr.is_empty(), "{arguments:?}: {}", output.stderr);
    Ok(())
}

/// Writes the chart of the stage with `manifest` as its one template, and returns where it is.
fn chart(stage: &Stage<'_>, manifest: &str) -> anyhow::Result<String> {
    let directory = stage.bed.directory().join("charts").join(&stage.namespace);
    fs::create_dir_all(directory.join("templates"))?;
    let about = json!({"apiVersion": "v2", "name": RELEASE, "version": "1.0.0"});
    fs::write(directory.join("Chart.yaml"), about.to_string())?;
    fs::write(directory.join("templates/deployment.yaml"), manifest)?;
    Ok(directory.to_string_lossy().into_owned())
}
