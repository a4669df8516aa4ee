//! A real API server, reached through kube, keeps the contract of the port.

#[path = "../contract/checks.rs"]
mod checks;

use astern::port::kube::KubePort;
use astern::port::{Cluster as _, Error, Kind, ObjectRef, Selection};
use astern_testbed::bed::{Bed, Options};
use jiff::SignedDuration;
use serde_json::{Value, json};

const NAMESPACES: Kind = Kind::cluster_wide("", "v1", "Namespace", "namespaces");
const DEFINITIONS: Kind = Kind::cluster_wide(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
);

#[tokio::test(flavor = "multi_thread")]
async fn real_api_server_keeps_the_contract() {
    let options = Options {
        label: "contract".to_owned(),
        ..Options::default()
    };
    let bed = Bed::start(options).await.unwrap();
    let config = kube::Config::from_custom_kubeconfig(
        kube::config::Kubeconfig::read_from(bed.kubeconfig()).unwrap(),
        &kube::config::KubeConfigOptions::default(),
    )
    .await
    .unwrap();
    let port = KubePort::with_config(config).unwrap();
    port.create(DEFINITIONS, definition()).await.unwrap();
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": "contract" },
    });
    port.create(NAMESPACES, namespace).await.unwrap();
    served(&port, checks::PROBES).await;
    checks::check_all(&port, "contract").await;
    bed.stop().await.unwrap();
}

/// Returns the definition that announces [`checks::PROBES`].
fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "probes.contract.example.com" },
        "spec": {
            "group": checks::PROBES.group,
            "scope": "Namespaced",
            "names": { "kind": checks::PROBES.kind, "plural": checks::PROBES.plural },
            "versions": [{
                "name": checks::PROBES.version,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                } },
            }],
        },
    })
}

/// Waits until the API server serves what a definition announced.
async fn served(port: &KubePort, kind: Kind) {
    let end = port.now() + SignedDuration::from_secs(30);
    while port.list(kind, &Selection::default()).await == Err(Error::NotFound) {
        assert!(port.now() < end, "{} is never served", kind.kind);
        port.sleep_until(port.now() + SignedDuration::from_millis(200))
            .await;
    }
    let absent = ObjectRef::new(kind, "contract", "absent");
    assert_eq!(port.get(&absent).await, Ok(None));
}
