//! The images that each node has: they start without the registry, and the node says which.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::behaviour::image_id;

/// As many as kubelet reports by default; of more it leaves the smallest out.
const REPORTED: usize = 50;

/// A simulated image has no size. This is one that people would not wonder about.
const SIZE_BYTES: u64 = 48_000_000;

/// The images on all nodes, by node, in the order in which they were pulled.
#[derive(Debug, Default)]
pub(crate) struct Pulled(Mutex<HashMap<String, OnNode>>);

#[derive(Debug, Default)]
struct OnNode {
    images: Vec<String>,
    /// How many of them the Node object has been told about.
    told: usize,
}

impl Pulled {
    pub(crate) fn has(&self, node: &str, image: &str) -> bool {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes
            .get(node)
            .is_some_and(|on_node| on_node.images.iter().any(|known| known == image))
    }

    pub(crate) fn add(&self, node: &str, image: &str) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let images = &mut nodes.entry(node.to_owned()).or_default().images;
        if !images.iter().any(|known| known == image) {
            images.push(image.to_owned());
        }
    }

    /// Returns how many images a node has, and the newest of them as its status lists them, if
    /// there are more than it was told about.
    pub(crate) fn news(&self, node: &str) -> Option<(usize, Value)> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let on_node = nodes.get(node)?;
        let count = on_node.images.len();
        (count > on_node.told).then(|| (count, listed(&on_node.images)))
    }

    /// Notes that a node's status lists its first `count` images.
    pub(crate) fn told(&self, node: &str, count: usize) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.entry(node.to_owned()).or_default().told = count;
    }
}

fn listed(images: &[String]) -> Value {
    let newest = images.iter().rev().take(REPORTED);
    newest
        .map(|image| {
            let id = image_id(image);
            let names = if id == *image {
                vec![id]
            } else {
                vec![id, image.clone()]
            };
            json!({"names": names, "sizeBytes": SIZE_BYTES})
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tells_of_each_image_once() {
        let pulled = Pulled::default();
        assert_eq!(pulled.news("node-1"), None);
        pulled.add("node-1", "shop/checkout:v1");
        pulled.add("node-1", "shop/checkout:v1");
        let (count, images) = pulled.news("node-1").unwrap();
        let names = json!([image_id("shop/checkout:v1"), "shop/checkout:v1"]);
        assert_eq!((count, &images[0]["names"]), (1, &names));
        assert_eq!(pulled.news("node-2"), None);

        // One came between the look and the report about it.
        pulled.add("node-1", "shop/checkout:v2");
        pulled.told("node-1", count);
        let (count, images) = pulled.news("node-1").unwrap();
        assert_eq!((count, images.as_array().map(Vec::len)), (2, Some(2)));
        pulled.told("node-1", count);
        assert_eq!(pulled.news("node-1"), None);
    }

    #[test]
    fn the_newest_images_are_listed() {
        let pulled = Pulled::default();
        for number in 0..60 {
            pulled.add("node-1", &format!("shop/checkout:v{number}"));
        }
        let (count, images) = pulled.news("node-1").unwrap();
        let images = images.as_array().unwrap();
        assert_eq!((count, images.len()), (60, 50));
        assert_eq!(images[0]["names"][1], "shop/checkout:v59");
    }
}
