//! Runs kubectl and Helm as somebody.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::Context as _;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::Bed;
use crate::tools::{Tool, Tools};

/// What a command said.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Bed {
    /// Runs kubectl as the user of `kubeconfig`, with its caches in this bed.
    ///
    /// # Errors
    ///
    /// When kubectl cannot be started. That it fails is no error: look at the status.
    pub async fn kubectl(
        &self,
        kubeconfig: &Path,
        arguments: &[&str],
        stdin: Option<&str>,
    ) -> anyhow::Result<Output> {
        self.run(Tool::Kubectl, kubeconfig, arguments, stdin).await
    }

    /// Runs Helm as the user of `kubeconfig`, with its caches in this bed.
    ///
    /// # Errors
    ///
    /// When Helm cannot be started. That it fails is no error: look at the status.
    pub async fn helm(&self, kubeconfig: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
        self.run(Tool::Helm, kubeconfig, arguments, None).await
    }

    /// Runs Helm 3 in the same way. The first time ever, it is built.
    ///
    /// # Errors
    ///
    /// When Helm 3 is missing and cannot be built, or cannot be started. That it fails is no error:
    /// look at the status.
    pub async fn helm_3(&self, kubeconfig: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
        self.run(Tool::Helm3, kubeconfig, arguments, None).await
    }

    async fn run(
        &self,
        tool: Tool,
        kubeconfig: &Path,
        arguments: &[&str],
        stdin: Option<&str>,
    ) -> anyhow::Result<Output> {
        let program = match tool {
            Tool::Helm3 => Tools::these(&[Tool::Helm3]).await?.path(tool).to_owned(),
            Tool::Etcd
            | Tool::Helm
            | Tool::ApiServer
            | Tool::ControllerManager
            | Tool::Scheduler
            | Tool::Kubectl
            | Tool::Prometheus => self.tools.path(tool).to_owned(),
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("HOME", self.directory())
            .env("XDG_CACHE_HOME", self.directory().join("cache"))
            .env("XDG_CONFIG_HOME", self.directory().join("config"))
            .env("XDG_DATA_HOME", self.directory().join("data"))
            .env("KUBECACHEDIR", self.directory().join("cache/kube"))
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", tool.program()))?;
        let input = child.stdin.take();
        // At once with reading, or both sides could wait for the other with full pipes.
        let feed = async move {
            if let (Some(mut input), Some(text)) = (input, stdin) {
                // A program that does not read its input closes it, and says itself why.
                drop(input.write_all(text.as_bytes()).await);
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.with_context(|| format!("cannot wait for {}", tool.program()))?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
