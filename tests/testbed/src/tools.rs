//! The programs that a bed runs: found on `PATH` in a fitting version, or built from Go modules.
//!
//! What was built is kept in the user's cache directory, under a name made of everything that goes
//! into the build, so that two versions of this repository never mix their programs. Nothing is
//! downloaded as a binary.

mod cache;
mod found;
mod go;
mod progress;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use self::cache::Cache;

/// One program that the test bed needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Etcd,
    /// Helm 4.
    Helm,
    /// Helm 3, which deploys in another way and is still what many people have.
    Helm3,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kubectl,
    Prometheus,
}

impl Tool {
    /// Every tool, in the order in which they are looked for.
    pub const ALL: &[Self] = &[
        Self::Etcd,
        Self::Helm,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kubectl,
        Self::Prometheus,
        Self::Helm3,
    ];

    /// What every bed needs. Helm 3, the last, is looked for by the few who ask for it.
    pub const OF_EVERY_BED: &[Self] = if let [of_every_bed @ .., Self::Helm3] = Self::ALL {
        of_every_bed
    } else {
        Self::ALL
    };

    /// Returns the name of the program, of which the cache has one each.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Helm => "helm",
            Self::Helm3 => "helm3",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Prometheus => "prometheus",
        }
    }

    /// Returns the names that the program may have on `PATH`.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let shared = (self == Self::Helm3).then_some("helm");
        std::iter::once(self.program()).chain(shared)
    }

    /// Returns the name that Go gives the program: the last part of its package that is no version.
    fn built_as(self) -> &'static str {
        match self {
            Self::Etcd => "server",
            Self::Helm3 => "helm",
            Self::Helm
            | Self::ApiServer
            | Self::ControllerManager
            | Self::Scheduler
            | Self::Kubectl
            | Self::Prometheus => self.program(),
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Helm3 => "helm.sh/helm/v3/cmd/helm",
            Self::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Scheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Prometheus => "github.com/prometheus/prometheus/cmd/prometheus",
        }
    }

    fn module(self) -> &'static Module {
        match self {
            Self::Prometheus => &PROMETHEUS,
            Self::Helm3 => &HELM_3,
            Self::Etcd
            | Self::Helm
            | Self::ApiServer
            | Self::ControllerManager
            | Self::Scheduler
            | Self::Kubectl => &KUBERNETES,
        }
    }
}

/// A Go module whose `tool` directives name programs of the bed.
#[derive(Debug)]
pub(crate) struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// Without a version the API server calls itself `v0.0.0-master`, which no client can parse.
    linker_flags: &'static str,
    /// On two cores, with nothing in Go's caches.
    first_build_minutes: u32,
}

const KUBERNETES: Module = Module {
    name: "kubernetes",
    go_mod: include_str!("../tools/kubernetes/go.mod"),
    go_sum: include_str!("../tools/kubernetes/go.sum"),
    linker_flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2",
    first_build_minutes: 12,
};

const PROMETHEUS: Module = Module {
    name: "prometheus",
    go_mod: include_str!("../tools/prometheus/go.mod"),
    go_sum: include_str!("../tools/prometheus/go.sum"),
    linker_flags: "-s -w",
    first_build_minutes: 6,
};

/// Apart from Helm 4: both name their program `helm`, and each has its own versions of Kubernetes'
/// libraries.
const HELM_3: Module = Module {
    name: "helm3",
    go_mod: include_str!("../tools/helm3/go.mod"),
    go_sum: include_str!("../tools/helm3/go.sum"),
    linker_flags: "-s -w",
    first_build_minutes: 4,
};

const MODULES: &[&Module] = &[&KUBERNETES, &PROMETHEUS, &HELM_3];

/// Where each program is.
#[derive(Clone, Debug)]
pub struct Tools {
    paths: BTreeMap<Tool, PathBuf>,
}

impl Tools {
    /// Finds what every bed needs, and builds what is neither on `PATH` nor in the cache.
    ///
    /// The first build takes many minutes; what it does is shown on standard error. Two callers at
    /// once build once. It cannot be cancelled: call it before signals are caught, so that Ctrl-C
    /// ends it.
    ///
    /// # Errors
    ///
    /// When a tool is missing and cannot be built. The message says what to install or to free;
    /// show it and stop.
    pub async fn ready() -> anyhow::Result<Self> {
        Self::these(Tool::OF_EVERY_BED).await
    }

    /// Does the same for the tools that the caller names.
    ///
    /// # Errors
    ///
    /// As [`ready`](Self::ready).
    pub async fn these(wanted: &'static [Tool]) -> anyhow::Result<Self> {
        let found = tokio::task::spawn_blocking(|| find_or_build(wanted));
        found.await.context("the search for tools was cancelled")?
    }

    /// Returns the path of one of the tools that were asked for.
    ///
    /// # Panics
    ///
    /// When it was not asked for.
    #[must_use]
    pub fn path(&self, tool: Tool) -> &Path {
        &self.paths[&tool]
    }
}

fn find_or_build(wanted: &[Tool]) -> anyhow::Result<Tools> {
    check_platform(std::env::consts::OS, std::env::consts::ARCH)?;
    let cache = Cache::open()?;
    let mut paths = BTreeMap::new();
    let mut missing = Vec::new();
    for &tool in wanted {
        match found::on_path(tool).or_else(|| cache.built(tool)) {
            Some(path) => {
                paths.insert(tool, path);
            }
            None => missing.push(tool),
        }
    }
    for tool in build_all(&cache, &missing)? {
        let path = cache.built(tool).with_context(|| {
            format!(
                "Go built {:?} without leaving it behind; remove {} and try again",
                tool.program(),
                cache.directory().display(),
            )
        })?;
        paths.insert(tool, path);
    }
    Ok(Tools { paths })
}

/// Builds what is missing, module by module, and returns it.
fn build_all(cache: &Cache, missing: &[Tool]) -> anyhow::Result<Vec<Tool>> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    go::check_toolchain()?;
    let _lock = cache.lock()?;
    let mut work = Vec::new();
    for &module in MODULES {
        // Another process may have built them while this one waited for the lock.
        let tools: Vec<Tool> = missing
            .iter()
            .copied()
            .filter(|tool| tool.module().name == module.name && cache.built(*tool).is_none())
            .collect();
        if !tools.is_empty() {
            work.push((module, tools));
        }
    }
    if !work.is_empty() {
        cache.check_space()?;
    }
    let modules = work.len();
    for (index, (module, tools)) in work.into_iter().enumerate() {
        let label = format!("[{} of {modules}] {}", index + 1, module.name);
        go::build(cache, module, &tools, &label)?;
    }
    Ok(missing.to_vec())
}

fn check_platform(system: &str, machine: &str) -> anyhow::Result<()> {
    if system != "linux" {
        bail!(
            "the test bed runs on Linux only, this is {system:?}: its pods listen on 127.0.0.0/8, \
             which other systems do not route; use a Linux machine or virtual machine"
        );
    }
    if !["x86_64", "aarch64"].contains(&machine) {
        bail!(
            "the test bed runs on x86_64 and aarch64, this is {machine:?}: Kubernetes is tested on \
             no other; use such a machine"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
