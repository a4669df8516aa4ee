//! A Kubernetes control plane of one's own, with its users.
//!
//! A bed has its own directory, address, certificate authority and processes, and shares nothing
//! with another one on the same machine. It has no nodes: pods stay pending until something plays
//! kubelet for them.

mod access;
mod address;
mod certificates;
mod commands;
mod control_plane;
pub(crate) mod directory;
mod kubeconfig;
mod manifests;
mod process;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::AtomicUsize,
    time::Duration,
};

use kube::Client;

pub(crate) use self::certificates::Authority;
use self::{
    access::write_user,
    address::Address,
    control_plane::{ControlPlane, Site},
    directory::Directory,
};
pub use self::{
    access::{User, client},
    certificates::Identity,
    commands::Output,
    process::{Process, Program},
};
use crate::{
    prometheus::{Discovery, Prometheus},
    tools::Tools,
};

/// The file with one line of JSON per request, when [`Options::audit`] is set.
const AUDIT_LOG: &str = "audit.log";

/// How a bed shall be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Part of the directory's name, so that people can tell beds apart.
    pub label: String,
    /// Whether Prometheus runs too.
    pub prometheus: bool,
    /// How often Prometheus asks the pods.
    pub scrape_interval: Duration,
    /// Where Prometheus finds what to ask.
    pub discovery: Discovery,
    /// Whether the directory with logs and data stays after the end.
    pub keep_directory: bool,
    /// Whether the API server records every request.
    pub audit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            label: "bed".to_owned(),
            prometheus: false,
            scrape_interval: Duration::from_secs(5),
            discovery: Discovery::Kubernetes,
            keep_directory: false,
            audit: false,
        }
    }
}

/// A running control plane. Dropping it kills it; [`stop`](Self::stop) waits until it is gone.
pub struct Bed {
    client: Client,
    admin: PathBuf,
    users: AtomicUsize,
    tools: Tools,
    // Fields are dropped in this order: programs before what they use.
    prometheus: Option<Prometheus>,
    control_plane: ControlPlane,
    authority: Authority,
    address: Address,
    directory: Directory,
}

impl Bed {
    /// Starts a bed and waits until it can be used.
    ///
    /// # Errors
    ///
    /// When a tool is missing or a part does not start. The message says what to do, or shows the
    /// end of the log; nothing is left running.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        // Two TLS providers in one process panic at first use; an earlier choice is as good.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let tools = Tools::ready().await?;
        let directory = Directory::create(&options.label, options.keep_directory)?;
        let address = Address::claim()?;
        let authority = Authority::create()?;
        let control_plane = ControlPlane::start(&Site {
            tools: &tools,
            directory: &directory,
            address: &address,
            authority: &authority,
            audit: options.audit,
        })
        .await?;
        let admin = write_user(
            (&directory, &authority),
            &control_plane.server,
            "admin",
            ("astern-testbed-admin", &["system:masters"]),
        )?;
        let client = client(&admin).await?;
        manifests::usable(&client, "default").await?;
        let mut bed = Self {
            client,
            admin,
            users: AtomicUsize::new(0),
            tools,
            prometheus: None,
            control_plane,
            authority,
            address,
            directory,
        };
        if options.prometheus {
            bed.prometheus =
                Some(Prometheus::start(&bed, options.scrape_interval, options.discovery).await?);
        }
        Ok(bed)
    }

    /// Returns a client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns the kubeconfig that belongs to [`client`](Self::client).
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// Returns the directory with the logs and data of all parts.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the URL of the API server.
    #[must_use]
    pub fn api_server(&self) -> &str {
        &self.control_plane.server
    }

    /// Returns the certificate that proves every server of this bed.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// Returns the file with [`ca_pem`](Self::ca_pem).
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("pki/ca.crt")
    }

    /// Returns where the programs are.
    #[must_use]
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Returns Prometheus, if this bed was asked to have it.
    #[must_use]
    pub fn prometheus(&self) -> Option<&Prometheus> {
        self.prometheus.as_ref()
    }

    /// Returns the file with one line of JSON per request to the API server.
    ///
    /// It exists when [`Options::audit`] was set.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.directory.path().join(AUDIT_LOG)
    }

    /// Returns the loopback address that belongs to this bed alone.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.address.ip()
    }

    /// Returns an address that nothing listens on, for a server that belongs to this bed.
    ///
    /// # Errors
    ///
    /// When the machine has no port left; stop what uses them.
    pub fn free_port(&self) -> anyhow::Result<SocketAddr> {
        self.address.free_port()
    }

    /// Issues a certificate for a server on [`ip`](Self::ip).
    ///
    /// # Errors
    ///
    /// When the machine has no randomness, which ends the test.
    pub fn server_identity(&self, name: &str) -> anyhow::Result<Identity> {
        self.authority.server(name, self.address.ip())
    }

    /// Applies manifests on the server's side, and waits until kinds and namespaces are usable.
    ///
    /// # Errors
    ///
    /// When the text is no YAML or the API server refuses an object; what came before is applied.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        manifests::apply(&self.client, yaml).await
    }

    /// Returns the resident memory of each part in bytes.
    #[must_use]
    pub fn memory(&self) -> Vec<(String, u64)> {
        let plane = &self.control_plane;
        [
            &plane.etcd,
            &plane.api_server,
            &plane.controller_manager,
            &plane.scheduler,
        ]
        .into_iter()
        .filter_map(|part| Some((part.name().to_owned(), part.memory_bytes()?)))
        .collect()
    }

    /// Ends everything and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When a process does not die. Its directory is left for the next bed to remove.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(prometheus) = &self.prometheus {
            prometheus.stop().await?;
        }
        self.control_plane.stop().await
    }
}
