//! The registry of the test bed: every image with its behaviour, changeable while it runs.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::behaviour::Behaviour;

/// Every image by name. Clones share one registry.
#[derive(Clone, Debug)]
pub struct Images {
    known: Arc<Mutex<HashMap<String, watch::Sender<Arc<Behaviour>>>>>,
    unlisted: Arc<Behaviour>,
}

impl Images {
    /// Fills a registry. An image that is not listed cannot be pulled, so a mistyped name shows.
    #[must_use]
    pub fn new(listed: impl IntoIterator<Item = (String, Behaviour)>) -> Self {
        Self::with_unlisted(listed, Behaviour::missing())
    }

    /// Fills a registry in which all other images behave as `unlisted`.
    #[must_use]
    pub fn with_unlisted(
        listed: impl IntoIterator<Item = (String, Behaviour)>,
        unlisted: Behaviour,
    ) -> Self {
        let known = listed
            .into_iter()
            .map(|(image, behaviour)| (image, watch::Sender::new(Arc::new(behaviour))))
            .collect();
        Self {
            known: Arc::new(Mutex::new(known)),
            unlisted: Arc::new(unlisted),
        }
    }

    /// Changes what an image does, in running containers too.
    pub fn set(&self, image: &str, behaviour: Behaviour) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(image.to_owned())
            .or_insert_with(|| watch::Sender::new(Arc::clone(&self.unlisted)))
            .send_replace(Arc::new(behaviour));
    }

    /// Returns the behaviour of an image and all its later changes.
    pub(crate) fn follow(&self, image: &str) -> watch::Receiver<Arc<Behaviour>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = known.get(image) {
            return sender.subscribe();
        }
        // An image named by digest is the listed image that has this digest.
        let same_digest = known.iter().find(|(name, _)| image_id(name) == image);
        if let Some((_, sender)) = same_digest {
            return sender.subscribe();
        }
        known
            .entry(image.to_owned())
            .or_insert_with(|| watch::Sender::new(Arc::clone(&self.unlisted)))
            .subscribe()
    }
}

/// Returns the identity that a node reports for an image: its repository and a digest of its name.
#[must_use]
pub fn image_id(image: &str) -> String {
    if image.contains('@') {
        return image.to_owned();
    }
    // A colon before the last slash belongs to the registry's port.
    let repository = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        Some(_) | None => image,
    };
    let mut id = format!("{repository}@sha256:");
    for byte in Sha256::digest(image.as_bytes()) {
        write!(id, "{byte:02x}").expect("writing to a string cannot fail");
    }
    id
}

/// Says whether a name is a reference to an image, as container runtimes read it:
/// `[registry[:port]/]repository[:tag][@digest]`, the repository in lower case.
pub(crate) fn is_reference(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        Some(_) | None => (name, None),
    };
    let path = match repository.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
        Some(_) | None => repository,
    };
    let component = |text: &str| {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        text.starts_with(plain)
            && text.ends_with(plain)
            && text
                .chars()
                .all(|letter| plain(letter) || "._-".contains(letter))
    };
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    path.split('/').all(component)
        && tag.is_none_or(|tag| {
            (1..=128).contains(&tag.len())
                && tag.starts_with(word)
                && tag
                    .chars()
                    .all(|letter| word(letter) || ".-".contains(letter))
        })
        && digest.is_none_or(|digest| digest.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Pull;

    #[test]
    fn a_tag_is_cut_and_a_port_is_kept() {
        let id = image_id("registry.example:5000/shop/checkout:v1");
        assert!(
            id.starts_with("registry.example:5000/shop/checkout@sha256:"),
            "{id}"
        );
        let id = image_id("registry.example:5000/shop/checkout");
        assert!(
            id.starts_with("registry.example:5000/shop/checkout@sha256:"),
            "{id}"
        );
    }

    #[test]
    fn an_image_by_digest_behaves_like_the_same_image_by_tag() {
        let slow = Behaviour {
            error_rate: 0.5,
            ..Behaviour::default()
        };
        let images = Images::new([("shop/checkout:v2".to_owned(), slow.clone())]);
        let by_digest = images.follow(&image_id("shop/checkout:v2"));
        assert_eq!(**by_digest.borrow(), slow);
    }

    #[test]
    fn an_unlisted_image_cannot_be_pulled_until_it_is_set() {
        let images = Images::new([]);
        let mut follower = images.follow("shop/cart:v1");
        assert_eq!(follower.borrow_and_update().pull, Pull::Fails);
        images.set("shop/cart:v1", Behaviour::default());
        assert_eq!(follower.borrow_and_update().pull, Pull::Succeeds);
    }

    #[test]
    fn only_references_name_images() {
        for image in [
            "nginx",
            "localhost/shop:v1",
            "Registry.Example:5000/shop/check-out_2:V1.0",
            "shop/checkout:v1@sha256:abc",
            &image_id("shop/checkout:v1"),
        ] {
            assert!(is_reference(image), "{image}");
        }
        for image in [
            "",
            "shop/Checkout:v1",
            "shop/checkout:",
            "shop//checkout",
            "shop/checkout:v1:v2",
            "shop/check out",
            "shop/checkout-:v1",
            "shop/checkout@abc",
        ] {
            assert!(!is_reference(image), "{image}");
        }
    }
}
