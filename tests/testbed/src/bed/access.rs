//! Who talks to the API server, and how they prove it.

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use anyhow::Context as _;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{
    Bed,
    certificates::Authority,
    directory::Directory,
    kubeconfig::{Credentials, kubeconfig},
};

const TOKEN_SECONDS: i64 = 24 * 3600;

/// Somebody who talks to the API server.
#[derive(Clone)]
pub struct User {
    pub kubeconfig: PathBuf,
    pub client: Client,
}

impl Bed {
    /// Makes a person, known to the API server by a client certificate, in at most two groups.
    ///
    /// # Errors
    ///
    /// When there are more groups, or the disk is full; correct the call.
    pub async fn user(&self, name: &str, groups: &[&str]) -> anyhow::Result<User> {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        let kubeconfig = write_user(
            (&self.directory, &self.authority),
            self.api_server(),
            &format!("users/{number}"),
            (name, groups),
        )?;
        let client = client(&kubeconfig).await?;
        Ok(User { kubeconfig, client })
    }

    /// Writes a kubeconfig with a token of a service account.
    ///
    /// # Errors
    ///
    /// When the account does not exist; apply it first.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<PathBuf> {
        self.service_account_kubeconfig_at(namespace, name, self.api_server())
            .await
    }

    /// Does the same for a client that reaches the API server by another URL, such as a proxy's.
    ///
    /// # Errors
    ///
    /// When the account does not exist; apply it first.
    pub async fn service_account_kubeconfig_at(
        &self,
        namespace: &str,
        name: &str,
        server: &str,
    ) -> anyhow::Result<PathBuf> {
        let token = self.service_account_token(namespace, name).await?;
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        let file = self
            .directory
            .write(&format!("users/{number}.token"), &token)?;
        let text = kubeconfig(server, &self.ca_file(), &Credentials::TokenFile(&file));
        self.directory
            .write(&format!("users/{number}.kubeconfig"), &text)
    }

    /// Returns a token of a service account that is good for a day.
    ///
    /// # Errors
    ///
    /// When the account does not exist; apply it first.
    pub async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for service account {namespace}/{name}"))?;
        answer
            .status
            .and_then(|status| status.token)
            .context("the API server sent no token")
    }
}

/// Makes a client of a kubeconfig, deaf to proxies in the environment: a bed is on this machine.
///
/// # Errors
///
/// When the file cannot be read or is no kubeconfig.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let mut config =
        kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Client::try_from(config).with_context(|| format!("no client for {}", kubeconfig.display()))
}

/// Writes certificate, key and kubeconfig of a user (name and groups) under `stem`.
pub(super) fn write_user(
    (directory, authority): (&Directory, &Authority),
    server: &str,
    stem: &str,
    (name, groups): (&str, &[&str]),
) -> anyhow::Result<PathBuf> {
    let identity = authority.client(name, groups)?;
    let certificate = directory.write(&format!("{stem}.crt"), &identity.certificate_pem)?;
    let key = directory.write(&format!("{stem}.key"), &identity.key_pem)?;
    let credentials = Credentials::Certificate {
        certificate: &certificate,
        key: &key,
    };
    let authority = directory.path().join("pki/ca.crt");
    let text = kubeconfig(server, &authority, &credentials);
    directory.write(&format!("{stem}.kubeconfig"), &text)
}
