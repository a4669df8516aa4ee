//! The identity of a program that runs as a pod: a token of its service account, and a kubeconfig.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::node::{Simulation, state::Pod};

/// A container that runs longer gets a new token when it starts again.
const LIFETIME_SECONDS: i64 = 24 * 60 * 60;

/// Asks for a token bound to the pod, and writes it and a kubeconfig that names it.
///
/// # Errors
///
/// When the API server refuses the token, as for a service account that does not exist.
pub(crate) async fn write(
    simulation: &Simulation,
    pod: &Pod,
    directory: &Path,
) -> anyhow::Result<PathBuf> {
    let account = match pod.manifest.spec.service_account_name.as_str() {
        "" => "default",
        account => account,
    };
    let token = request(simulation, pod, account).await?;
    let token_file = directory.join("token");
    write_private(&token_file, &token)?;
    let authority_file = directory.join("ca.crt");
    write_private(&authority_file, &simulation.ca_pem)?;

    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": {
            "server": simulation.api_server,
            "certificate-authority": authority_file,
        }}],
        "users": [{"name": account, "user": {"tokenFile": token_file}}],
        "contexts": [{"name": "pod", "context": {
            "cluster": "testbed",
            "user": account,
            "namespace": pod.namespace,
        }}],
        "current-context": "pod",
    });
    let path = directory.join("kubeconfig");
    // JSON is YAML, too.
    write_private(&path, &kubeconfig.to_string())?;
    Ok(path)
}

async fn request(simulation: &Simulation, pod: &Pod, account: &str) -> anyhow::Result<String> {
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: None,
            expiration_seconds: Some(LIFETIME_SECONDS),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name.clone()),
                uid: Some(pod.uid.clone()),
            }),
        }),
        ..TokenRequest::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(simulation.client.clone(), &pod.namespace);
    let answer = api
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .with_context(|| format!("failed to get a token for service account {account:?}"))?;
    answer
        .status
        .and_then(|status| status.token)
        .context("the API server sent no token")
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}
