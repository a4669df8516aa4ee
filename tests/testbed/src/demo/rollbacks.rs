//! The incidents of one Deployment, as the operator recorded them.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

/// Returns the Rollbacks of a Deployment (namespace and name) in the order of their proposals; none
/// where the kind is not served.
///
/// # Errors
///
/// When an answer is no JSON, which would be a bug of the API server.
pub(crate) async fn rollbacks(
    client: Client,
    (namespace, deployment): (&str, &str),
) -> anyhow::Result<Vec<Value>> {
    let kind = GroupVersionKind::gvk("astern.dev", "v1alpha1", "Rollback");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    // A scenario may go without Astern.
    let Ok(found) = api.list(&ListParams::default()).await else {
        return Ok(Vec::new());
    };
    let mut rollbacks: Vec<Value> = found
        .items
        .into_iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()?;
    rollbacks.retain(|rollback| rollback["spec"]["deployment"]["name"] == *deployment);
    let proposed = |rollback: &Value| {
        let time = rollback.pointer("/status/timings/proposedTime");
        time.and_then(Value::as_str).map(str::to_owned)
    };
    rollbacks.sort_by_key(proposed);
    Ok(rollbacks)
}
