//! Applies manifests the way a deploy tool does, in an order that works.

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::{
    api::core::v1::ServiceAccount,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    discovery::{self, Scope},
    runtime::{conditions, wait::await_condition},
};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

const MANAGER: &str = "astern-testbed";
/// How long the API server may take to serve a new kind, or a namespace to be usable.
const SETTLE: Duration = Duration::from_secs(60);

/// Applies every document of `yaml`, kinds before their objects and namespaces before what is in them.
pub(super) async fn apply(client: &Client, yaml: &str) -> anyhow::Result<()> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).context("the manifest is no YAML; correct it")?;
    let mut objects = Vec::new();
    for document in documents {
        flatten(document, &mut objects);
    }
    // Stable, so within a rank the author's order holds.
    objects.sort_by_key(|object| match object["kind"].as_str() {
        Some("CustomResourceDefinition") => 0,
        Some("Namespace") => 1,
        _ => 2,
    });
    for object in &objects {
        apply_one(client, object).await?;
    }
    Ok(())
}

/// Takes lists apart and leaves out empty documents.
fn flatten(mut document: Value, objects: &mut Vec<Value>) {
    if document.is_null() {
        return;
    }
    let list = document["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if list => {
            for item in items {
                flatten(item, objects);
            }
        }
        _ => objects.push(document),
    }
}

async fn apply_one(client: &Client, object: &Value) -> anyhow::Result<()> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let Some(name) = object["metadata"]["name"].as_str() else {
        bail!("an object of kind {kind:?} has no name; give it one");
    };
    let (resource, scope) = resource(client, object).await?;
    let api: Api<DynamicObject> = match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object["metadata"]["namespace"].as_str();
            Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), &resource)
        }
    };
    let parameters = PatchParams::apply(MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(object))
        .await
        .with_context(|| format!("the API server refused {kind} {name:?}"))?;
    match kind {
        "CustomResourceDefinition" => established(client, name).await,
        "Namespace" => usable(client, name).await,
        _ => Ok(()),
    }
}

/// Finds how a kind is called in paths, and waits for kinds that were defined just now.
async fn resource(client: &Client, object: &Value) -> anyhow::Result<(ApiResource, Scope)> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let wanted = GroupVersionKind::gvk(group, version, kind);
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match discovery::pinned_kind(client, &wanted).await {
            Ok((resource, capabilities)) => return Ok((resource, capabilities.scope)),
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(100)).await,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("the API server knows no {kind} of {api_version:?}"));
            }
        }
    }
}

async fn established(client: &Client, name: &str) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let wait = await_condition(api, name, conditions::is_crd_established());
    timeout(SETTLE, wait)
        .await
        .with_context(|| format!("the kind {name:?} is not established in time"))?
        .with_context(|| format!("cannot watch the kind {name:?}"))?;
    Ok(())
}

/// Waits for the account without which no pod can be made in a namespace.
pub(super) async fn usable(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let end = Instant::now() + SETTLE;
    loop {
        if let Ok(Some(_)) = api.get_opt("default").await {
            return Ok(());
        }
        if Instant::now() > end {
            bail!(
                "namespace {namespace:?} has no default service account after {} seconds; look at \
                 the log of kube-controller-manager",
                SETTLE.as_secs(),
            );
        }
        sleep(Duration::from_millis(25)).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::flatten;

    #[test]
    fn lists_are_taken_apart_and_empty_documents_left_out() {
        let mut objects = Vec::new();
        flatten(Value::Null, &mut objects);
        flatten(json!({"kind": "Service", "items": 1}), &mut objects);
        let list = json!({"kind": "List", "items": [{"kind": "Pod"}, {"kind": "Node"}]});
        flatten(list, &mut objects);
        let kinds: Vec<_> = objects.iter().map(|object| &object["kind"]).collect();
        assert_eq!(kinds, ["Service", "Pod", "Node"]);
    }
}
