//! The operator as a process of its own, with the rights that the chart gives it.

use std::path::Path;

use anyhow::ensure;
use astern_testbed::{
    bed::{Bed, Process, Program},
    fault_proxy::FaultProxy,
};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use crate::support::repository;

/// The operator of a stage, which can be killed and started again.
pub(crate) struct Operator {
    program: Program,
    home: String,
    process: Mutex<Option<Process>>,
}

impl Operator {
    /// Gives an account in `home` its rights in `namespace`, and prepares an operator that reaches the
    /// API server through `proxy`. It does not run yet.
    pub(crate) async fn prepare(
        bed: &Bed,
        (home, namespace): (&str, &str),
        proxy: &FaultProxy,
    ) -> anyhow::Result<Self> {
        let rights = if home == namespace {
            rights(bed).await?.replace(PLACEHOLDER, namespace)
        } else {
            granted(bed, home, namespace).await?
        };
        bed.apply(&rights).await?;
        Ok(Self {
            program: program(bed, (home, namespace), proxy).await?,
            home: home.to_owned(),
            process: Mutex::default(),
        })
    }

    /// Returns the namespace that it lives in.
    pub(crate) fn home(&self) -> &str {
        &self.home
    }

    /// Adds flags to those that every operator has.
    pub(crate) fn with(mut self, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        self.program.arguments.extend(flags);
        self
    }

    /// Returns the file with what it writes about itself.
    pub(crate) fn log(&self) -> &Path {
        &self.program.log
    }

    /// Starts the operator. One that runs goes on.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        if process.is_none() {
            *process = Some(Process::start(&self.program).await?);
        }
        Ok(())
    }

    /// Returns the resident memory in bytes.
    pub(crate) async fn memory_bytes(&self) -> Option<u64> {
        self.process.lock().await.as_ref()?.memory_bytes()
    }

    /// Kills the operator as `kill -9` does, and waits until it is gone.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.lock().await.take() {
            process.kill().await?;
        }
        Ok(())
    }
}

/// Stands for the namespace, and the release, in what the chart renders.
const PLACEHOLDER: &str = "the-namespace";

/// Returns what the chart grants to an operator that works in its own namespace alone.
async fn rights(bed: &Bed) -> anyhow::Result<&'static String> {
    static RIGHTS: OnceCell<String> = OnceCell::const_new();
    RIGHTS
        .get_or_try_init(|| granted(bed, PLACEHOLDER, PLACEHOLDER))
        .await
}

/// Returns what the chart grants to an operator in `home` that works in `namespaces`, which are
/// separated by commas.
pub(crate) async fn granted(bed: &Bed, home: &str, namespaces: &str) -> anyhow::Result<String> {
    let chart = repository("charts/astern").to_string_lossy().into_owned();
    let namespaces = format!("namespaces={{{namespaces}}}");
    let arguments = [
        "template",
        home,
        &chart,
        "--namespace",
        home,
        "--set",
        &namespaces,
        "--set",
        "rbac.approverRole=false",
        "--show-only",
        "templates/serviceaccount.yaml",
        "--show-only",
        "templates/rbac.yaml",
    ];
    let output = bed.helm(bed.kubeconfig(), &arguments).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    Ok(output.stdout)
}

async fn program(
    bed: &Bed,
    (home, namespace): (&str, &str),
    proxy: &FaultProxy,
) -> anyhow::Result<Program> {
    let account = format!("{home}-astern");
    let kubeconfig = bed
        .service_account_kubeconfig_at(home, &account, proxy.url())
        .await?;
    let arguments = [
        format!("--namespace={home}"),
        format!("--watch-namespaces={namespace}"),
        format!("--listen-address={}", bed.free_port()?),
        format!("--lease-name={account}"),
        // A container that is restarted keeps the name of its pod.
        "--identity=astern-0".to_owned(),
        "--log-level=astern=debug".to_owned(),
    ];
    let kubeconfig = kubeconfig.to_string_lossy().into_owned();
    Ok(Program {
        name: format!("astern of {namespace}"),
        path: env!("CARGO_BIN_EXE_astern").into(),
        arguments: arguments.into(),
        environment: vec![("KUBECONFIG".to_owned(), kubeconfig)],
        working_directory: bed.directory().to_owned(),
        log: bed.directory().join(format!("astern-{namespace}.log")),
    })
}

/// Does what the chart does last when it is uninstalled from `namespace`: the same arguments, and with
/// the same rights.
pub(crate) async fn release_as_the_chart_does(bed: &Bed, namespace: &str) -> anyhow::Result<()> {
    let chart = repository("charts/astern").to_string_lossy().into_owned();
    let namespaces = format!("namespaces={{{namespace}}}");
    let arguments = ["template", namespace, &chart, "--namespace", namespace];
    let arguments = [
        &arguments[..],
        &[
            "--set",
            &namespaces,
            "--show-only",
            "templates/release.yaml",
        ],
    ]
    .concat();
    let output = bed.helm(bed.kubeconfig(), &arguments).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&output.stdout)?;
    let (jobs, rights): (Vec<Value>, Vec<Value>) = objects
        .into_iter()
        .partition(|object| object["kind"] == "Job");
    for object in &rights {
        bed.apply(&object.to_string()).await?;
    }
    let pod = &jobs[0]["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().unwrap_or_default();
    let kubeconfig = bed.service_account_kubeconfig(namespace, account).await?;
    let arguments: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone())?;
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_astern"))
        .args(&arguments)
        .env("KUBECONFIG", kubeconfig)
        .kill_on_drop(true)
        .output()
        .await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    Ok(())
}
