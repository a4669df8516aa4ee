//! Kubeconfig files: as JSON, which is YAML too.

use std::path::Path;

use serde_json::{Value, json};

/// How a client proves who it is.
pub(crate) enum Credentials<'a> {
    Certificate {
        certificate: &'a Path,
        key: &'a Path,
    },
    TokenFile(&'a Path),
}

/// Returns a kubeconfig with one context.
pub(crate) fn kubeconfig(server: &str, authority: &Path, credentials: &Credentials<'_>) -> String {
    let user: Value = match credentials {
        Credentials::Certificate { certificate, key } => {
            json!({"client-certificate": certificate, "client-key": key})
        }
        Credentials::TokenFile(file) => json!({"tokenFile": file}),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "bed",
            "cluster": {"server": server, "certificate-authority": authority},
        }],
        "users": [{"name": "user", "user": user}],
        "contexts": [{
            "name": "bed",
            "context": {"cluster": "bed", "user": "user", "namespace": "default"},
        }],
        "current-context": "bed",
    });
    format!("{config:#}\n")
}
