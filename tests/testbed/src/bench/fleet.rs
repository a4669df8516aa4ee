//! Hundreds of Deployments, each with a policy of its own.

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::{Value, json};

/// Objects that are being created at once.
const CREATES: usize = 16;

/// How large the fleet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fleet {
    pub(super) workloads: usize,
    pub(super) pods_each: usize,
    pub(super) namespaces: usize,
}

const NAMESPACE: &str = "team-";

impl Fleet {
    pub(super) fn pods(self) -> usize {
        self.workloads * self.pods_each
    }

    /// Says whether a namespace is one of the fleet's.
    pub(super) fn has(namespace: &str) -> bool {
        namespace.starts_with(NAMESPACE)
    }

    pub(super) fn namespaces(self) -> impl Iterator<Item = Value> {
        (0..self.namespaces).map(|number| {
            let name = format!("{NAMESPACE}{number}");
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        })
    }

    /// Creates every Deployment. Its pods listen nowhere and are probed by nobody.
    pub(super) async fn deploy(self, client: &Client, image: &str) -> anyhow::Result<()> {
        let deployment = |workload: usize| {
            let (namespace, name) = self.place(workload);
            let labels = json!({"app": name});
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "replicas": self.pods_each,
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [{"name": "app", "image": image}]},
                    },
                },
            })
        };
        create(client, (0..self.workloads).map(deployment)).await
    }

    /// Creates a policy for every Deployment: what a policy without triggers has, spelled out, and a
    /// probation that outlasts every benchmark.
    pub(super) async fn guard(self, client: &Client) -> anyhow::Result<()> {
        let policy = |workload: usize| {
            let (namespace, name) = self.place(workload);
            json!({
                "apiVersion": "astern.dev/v1alpha1", "kind": "RollbackPolicy",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "targetRefs": [{"name": name}],
                    "mode": "Automatic",
                    "probation": "6h",
                    "triggers": [
                        {
                            "name": "server-errors",
                            "errorRate": {"preset": "HTTPRequests", "threshold": "5%", "for": "2m"},
                        },
                        {"name": "crashes", "restarts": {}},
                        {"name": "stuck", "rolloutStalled": {}},
                    ],
                },
            })
        };
        create(client, (0..self.workloads).map(policy)).await
    }

    fn place(self, workload: usize) -> (String, String) {
        let namespace = workload % self.namespaces;
        (format!("{NAMESPACE}{namespace}"), format!("app-{workload}"))
    }
}

/// Returns how many policies say that every trigger has data.
pub(super) async fn guarding(client: &Client) -> anyhow::Result<usize> {
    let policies = list(client, "RollbackPolicy").await?;
    let guards = |policy: &&DynamicObject| {
        let conditions = policy.data.pointer("/status/conditions");
        let conditions = conditions.and_then(Value::as_array);
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Guarding" && condition["status"] == "True")
    };
    Ok(policies.iter().filter(guards).count())
}

/// Returns how many incidents there are.
pub(super) async fn incidents(client: &Client) -> anyhow::Result<usize> {
    Ok(list(client, "Rollback").await?.len())
}

async fn list(client: &Client, kind: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let kind = GroupVersionKind::gvk("astern.dev", "v1alpha1", kind);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    Ok(api.list(&ListParams::default()).await?.items)
}

async fn create(client: &Client, objects: impl Iterator<Item = Value>) -> anyhow::Result<()> {
    futures::stream::iter(objects)
        .map(async |object| {
            let object: DynamicObject = serde_json::from_value(object)?;
            let types = object.types.clone().unwrap_or_default();
            let kind = GroupVersionKind::try_from(types)?;
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let resource = ApiResource::from_gvk(&kind);
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &namespace, &resource);
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(CREATES)
        .try_collect()
        .await
}
