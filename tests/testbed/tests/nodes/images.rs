//! The images that a node keeps.

use astern_testbed::{bed::Bed, behaviour::Behaviour, node::Nodes};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};
use serde_json::json;

use super::{
    config::{apply, restart},
    eventually, rolled_out,
};

pub(super) async fn an_image_that_a_node_has_outlives_the_registry(
    bed: &Bed,
    nodes: &Nodes,
) -> anyhow::Result<()> {
    let (name, image) = ("withdrawn", "shop/withdrawn:v1");
    let here = json!({"nodeSelector": {"kubernetes.io/hostname": "node-2"}});
    apply(bed, name, image, &here).await?;
    rolled_out(bed, name).await?;
    nodes.set_image(image, Behaviour::missing());
    restart(bed, name).await?;
    rolled_out(bed, name).await
}

pub(super) async fn nodes_tell_which_images_they_have(bed: &Bed) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(bed.client());
    eventually("shop/checkout:v2 on a node", async || {
        let nodes = api.list(&ListParams::default()).await?.items;
        let images = nodes
            .into_iter()
            .filter_map(|node| node.status?.images)
            .flatten();
        let names: Vec<_> = images.filter_map(|image| image.names).flatten().collect();
        let listed = |image: &str| names.iter().any(|name| name == image);
        Ok(listed("shop/checkout:v2").then_some(()))
    })
    .await
}
