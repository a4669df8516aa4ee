//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler of one bed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{
    address::Address,
    certificates::{Authority, token_keys},
    directory::Directory,
    kubeconfig::{Credentials, kubeconfig},
    process::{Process, Program},
};
use crate::tools::{Tool, Tools};

/// How long a busy machine may take. On an idle one the API server needs four seconds.
const READY: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
const SERVICE_RANGE: &str = "10.96.0.0/12";

/// What every part needs to start.
pub(super) struct Site<'a> {
    pub(super) tools: &'a Tools,
    pub(super) directory: &'a Directory,
    pub(super) address: &'a Address,
    pub(super) authority: &'a Authority,
    /// Whether the API server keeps a record of all requests.
    pub(super) audit: bool,
}

/// The running parts. Killed when dropped.
#[derive(Debug)]
pub(super) struct ControlPlane {
    pub(super) server: String,
    pub(super) scheduler: Process,
    pub(super) controller_manager: Process,
    pub(super) api_server: Process,
    pub(super) etcd: Process,
}

/// Files and addresses that the parts share.
struct Plan {
    etcd: SocketAddr,
    etcd_peer: SocketAddr,
    api_server: SocketAddr,
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    token_key: PathBuf,
    token_public_key: PathBuf,
}

impl ControlPlane {
    /// Starts everything and waits until it is ready.
    pub(super) async fn start(site: &Site<'_>) -> anyhow::Result<Self> {
        let plan = Plan::make(site)?;
        let mut etcd = site.start(Tool::Etcd, plan.etcd_arguments(site)).await?;
        let mut api_server = site
            .start(Tool::ApiServer, plan.api_server_arguments(site)?)
            .await?;
        let server = format!("https://{}", plan.api_server);
        {
            let mut parts = [&mut etcd, &mut api_server];
            wait_ready(&format!("{server}/readyz"), site.authority, &mut parts).await?;
        }
        let controllers = site.address.free_port()?;
        let arguments = plan.controller_manager_arguments(site, &server, controllers)?;
        let mut controller_manager = site.start(Tool::ControllerManager, arguments).await?;
        let scheduling = site.address.free_port()?;
        let arguments = plan.scheduler_arguments(site, &server, scheduling)?;
        let mut scheduler = site.start(Tool::Scheduler, arguments).await?;
        for (address, part) in [
            (controllers, &mut controller_manager),
            (scheduling, &mut scheduler),
        ] {
            let url = format!("https://{address}/healthz");
            wait_ready(&url, site.authority, &mut [part]).await?;
        }
        Ok(Self {
            server,
            scheduler,
            controller_manager,
            api_server,
            etcd,
        })
    }

    /// Kills everything, and waits until it is gone.
    ///
    /// Nothing needs to be saved, and an API server that is asked politely takes seconds, or for
    /// ever when its etcd went first.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        for part in [
            &mut self.scheduler,
            &mut self.controller_manager,
            &mut self.api_server,
            &mut self.etcd,
        ] {
            part.kill().await?;
        }
        Ok(())
    }
}

impl Site<'_> {
    async fn start(&self, tool: Tool, arguments: Vec<String>) -> anyhow::Result<Process> {
        let name = tool.program();
        Process::start(&Program {
            name: name.to_owned(),
            path: self.tools.path(tool).to_owned(),
            arguments,
            environment: Vec::new(),
            working_directory: self.directory.path().to_owned(),
            log: self.directory.path().join(format!("{name}.log")),
        })
        .await
    }

    /// Writes a kubeconfig for a part of the control plane, which is a user like any other.
    fn kubeconfig(&self, name: &str, user: &str, server: &str) -> anyhow::Result<PathBuf> {
        let identity = self.authority.client(user, &[])?;
        let certificate = format!("pki/{name}.crt");
        let key = format!("pki/{name}.key");
        let certificate = self
            .directory
            .write(&certificate, &identity.certificate_pem)?;
        let key = self.directory.write(&key, &identity.key_pem)?;
        let credentials = Credentials::Certificate {
            certificate: &certificate,
            key: &key,
        };
        let authority = self.directory.path().join("pki/ca.crt");
        let text = kubeconfig(server, &authority, &credentials);
        self.directory.write(&format!("{name}.kubeconfig"), &text)
    }
}

impl Plan {
    fn make(site: &Site<'_>) -> anyhow::Result<Self> {
        let directory = site.directory;
        let identity = site.authority.server("control-plane", site.address.ip())?;
        let (token_key, token_public_key) = token_keys()?;
        Ok(Self {
            etcd: site.address.free_port()?,
            etcd_peer: site.address.free_port()?,
            api_server: site.address.free_port()?,
            authority: directory.write("pki/ca.crt", site.authority.certificate_pem())?,
            certificate: directory.write("pki/server.crt", &identity.certificate_pem)?,
            key: directory.write("pki/server.key", &identity.key_pem)?,
            token_key: directory.write("pki/tokens.key", &token_key)?,
            token_public_key: directory.write("pki/tokens.pub", &token_public_key)?,
        })
    }

    fn etcd_arguments(&self, site: &Site<'_>) -> Vec<String> {
        let client = format!("https://{}", self.etcd);
        let peer = format!("http://{}", self.etcd_peer);
        flags([
            ("name", "bed".into()),
            ("data-dir", path(&site.directory.path().join("etcd"))),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("bed={peer}")),
            ("client-cert-auth", "true".into()),
            ("trusted-ca-file", path(&self.authority)),
            ("cert-file", path(&self.certificate)),
            ("key-file", path(&self.key)),
            // The data need not survive a power cut, and a bed must not wait for the disk.
            ("unsafe-no-fsync", "true".into()),
            ("quota-backend-bytes", "4294967296".into()),
            ("log-level", "warn".into()),
        ])
    }

    fn api_server_arguments(&self, site: &Site<'_>) -> anyhow::Result<Vec<String>> {
        let mut arguments = flags([
            ("etcd-servers", format!("https://{}", self.etcd)),
            ("etcd-cafile", path(&self.authority)),
            ("etcd-certfile", path(&self.certificate)),
            ("etcd-keyfile", path(&self.key)),
            ("bind-address", self.api_server.ip().to_string()),
            ("secure-port", self.api_server.port().to_string()),
            ("advertise-address", site.address.advertised().to_string()),
            ("client-ca-file", path(&self.authority)),
            ("tls-cert-file", path(&self.certificate)),
            ("tls-private-key-file", path(&self.key)),
            ("authorization-mode", "Node,RBAC".into()),
            ("allow-privileged", "true".into()),
            ("service-cluster-ip-range", SERVICE_RANGE.into()),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc".into(),
            ),
            ("service-account-key-file", path(&self.token_public_key)),
            ("service-account-signing-key-file", path(&self.token_key)),
            ("profiling", "false".into()),
        ]);
        if site.audit {
            arguments.extend(audit_flags(site.directory)?);
        }
        Ok(arguments)
    }

    fn controller_manager_arguments(
        &self,
        site: &Site<'_>,
        server: &str,
        address: SocketAddr,
    ) -> anyhow::Result<Vec<String>> {
        let name = Tool::ControllerManager.program();
        let user = "system:kube-controller-manager";
        let kubeconfig = path(&site.kubeconfig(name, user, server)?);
        Ok(flags([
            ("kubeconfig", kubeconfig.clone()),
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig),
            ("bind-address", address.ip().to_string()),
            ("secure-port", address.port().to_string()),
            ("tls-cert-file", path(&self.certificate)),
            ("tls-private-key-file", path(&self.key)),
            ("leader-elect", "false".into()),
            // Each controller under its own name, as in a real cluster: policies look at it.
            ("use-service-account-credentials", "true".into()),
            ("service-account-private-key-file", path(&self.token_key)),
            ("root-ca-file", path(&self.authority)),
            ("kube-api-qps", "200".into()),
            ("kube-api-burst", "400".into()),
            ("concurrent-deployment-syncs", "20".into()),
            ("concurrent-replicaset-syncs", "20".into()),
            ("profiling", "false".into()),
        ]))
    }

    fn scheduler_arguments(
        &self,
        site: &Site<'_>,
        server: &str,
        address: SocketAddr,
    ) -> anyhow::Result<Vec<String>> {
        let name = Tool::Scheduler.program();
        let kubeconfig = path(&site.kubeconfig(name, "system:kube-scheduler", server)?);
        let configuration = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": false},
            "clientConnection": {"kubeconfig": kubeconfig, "qps": 200, "burst": 400},
            "enableProfiling": false,
        });
        let configuration = site
            .directory
            .write("scheduler.yaml", &configuration.to_string())?;
        Ok(flags([
            ("config", path(&configuration)),
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig),
            ("bind-address", address.ip().to_string()),
            ("secure-port", address.port().to_string()),
            ("tls-cert-file", path(&self.certificate)),
            ("tls-private-key-file", path(&self.key)),
        ]))
    }
}

/// Makes the API server write one line of JSON per answered request.
fn audit_flags(directory: &Directory) -> anyhow::Result<Vec<String>> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        // What was written to a Deployment, too; nothing else is anybody's question so far.
        "rules": [
            {"level": "Request", "verbs": ["create", "update", "patch"],
             "resources": [{"group": "apps", "resources": ["deployments"]}]},
            {"level": "Metadata"},
        ],
    });
    let policy = directory.write("audit-policy.yaml", &policy.to_string())?;
    let log = directory.path().join(super::AUDIT_LOG);
    Ok(flags([
        ("audit-policy-file", path(&policy)),
        ("audit-log-path", path(&log)),
    ]))
}

/// Waits until `url` answers with a certificate of `authority`, which only our own servers have.
pub(super) async fn wait_ready(
    url: &str,
    authority: &Authority,
    parts: &mut [&mut Process],
) -> anyhow::Result<()> {
    let root = reqwest::Certificate::from_pem(authority.certificate_pem().as_bytes())?;
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .context("cannot make a client for the bed")?;
    let end = Instant::now() + READY;
    loop {
        let answer = timeout(Duration::from_secs(5), client.get(url).send()).await;
        if matches!(answer, Ok(Ok(response)) if response.status().is_success()) {
            return Ok(());
        }
        for part in &mut *parts {
            if let Some(status) = part.exited() {
                bail!(
                    "{:?} ended at its start with {status}; the end of its log:\n{}",
                    part.name(),
                    part.log_tail(),
                );
            }
        }
        if Instant::now() > end {
            let tails: Vec<String> = parts
                .iter()
                .map(|part| format!("{:?}:\n{}", part.name(), part.log_tail()))
                .collect();
            bail!(
                "{url} is not ready after {} seconds; the ends of the logs:\n{}",
                READY.as_secs(),
                tails.join("\n"),
            );
        }
        sleep(POLL).await;
    }
}

fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
