//! What a watch has seen, by name.
//!
//! A cache may lag behind or, after a change of API server, jump back. It is for finding work and
//! for reading; whatever is written is guarded by the API server itself.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::api::record::text;
use crate::port::WatchEvent;

/// Namespace and name of an object; the namespace is empty for cluster-wide kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    /// Returns the key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Returns the key of `object`; `None` when it has no name.
    #[must_use]
    pub fn of(object: &Value) -> Option<Self> {
        let namespace = text(object, "/metadata/namespace").unwrap_or_default();
        Some(Self::new(namespace, text(object, "/metadata/name")?))
    }
}

/// All objects of one kind, as `T`.
#[derive(Debug)]
pub struct Cache<T> {
    read: fn(&Value) -> Option<T>,
    items: HashMap<Key, Item<T>>,
    /// How many watches fill this cache: one, or one per namespace.
    parts: usize,
    /// What each watch that lists anew has brought so far.
    listing: HashMap<usize, HashSet<Key>>,
    /// The watches that have listed everything once.
    complete: HashSet<usize>,
}

#[derive(Debug)]
struct Item<T> {
    resource_version: u64,
    /// The watch that brought it; `None` while only a write of ours did.
    part: Option<usize>,
    value: T,
}

impl<T> Cache<T> {
    /// Returns an empty cache that keeps of each object what `read` makes of it. Objects that it
    /// makes nothing of are left out.
    #[must_use]
    pub fn new(read: fn(&Value) -> Option<T>) -> Self {
        Self {
            read,
            items: HashMap::new(),
            parts: 1,
            listing: HashMap::new(),
            complete: HashSet::new(),
        }
    }

    /// Says how many watches will fill the cache.
    pub fn expect_parts(&mut self, parts: usize) {
        self.parts = parts;
    }

    /// Takes in one event of the watch number `part`. Returns the keys whose objects changed, came
    /// or went.
    pub fn handle(&mut self, part: usize, event: &WatchEvent) -> Vec<Key> {
        match event {
            WatchEvent::Restarted => {
                self.listing.insert(part, HashSet::new());
                Vec::new()
            }
            WatchEvent::Applied(object) => self.apply(Some(part), object).into_iter().collect(),
            WatchEvent::Complete => self.finish_listing(part),
            WatchEvent::Deleted(object) => {
                let gone = Key::of(object).filter(|key| self.items.remove(key).is_some());
                gone.into_iter().collect()
            }
        }
    }

    /// Takes in an object that a watch (`part`) or a write returned, unless a newer one is known.
    pub fn apply(&mut self, part: Option<usize>, object: &Value) -> Option<Key> {
        let key = Key::of(object)?;
        if let Some(listed) = part.and_then(|part| self.listing.get_mut(&part)) {
            listed.insert(key.clone());
        }
        let resource_version = version(object);
        if let Some(known) = self.items.get_mut(&key) {
            known.part = part.or(known.part);
            if known.resource_version >= resource_version {
                return None;
            }
        }
        match (self.read)(object) {
            Some(value) => {
                let item = Item {
                    resource_version,
                    part,
                    value,
                };
                self.items.insert(key.clone(), item);
                Some(key)
            }
            None => self.items.remove(&key).map(|_| key),
        }
    }

    fn finish_listing(&mut self, part: usize) -> Vec<Key> {
        self.complete.insert(part);
        let Some(listed) = self.listing.remove(&part) else {
            return Vec::new();
        };
        let gone: Vec<Key> = self
            .items
            .iter()
            .filter(|(key, item)| item.part == Some(part) && !listed.contains(key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.items.remove(key);
        }
        gone
    }

    /// Returns whether everything has been listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.len() >= self.parts
    }

    /// Returns what is known under `key`.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&T> {
        self.items.get(key).map(|item| &item.value)
    }

    /// Returns all that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.items.iter().map(|(key, item)| (key, &item.value))
    }
}

/// Resource versions of one kind are comparable numbers (Kubernetes 1.35, and in fact before). One
/// that is none is taken as newer than anything.
fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion")
        .and_then(|version| version.parse().ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: u32, value: &str) -> Value {
        json!({"metadata": {"namespace": "shop", "name": name,
            "resourceVersion": version.to_string()}, "value": value})
    }

    fn cache() -> Cache<String> {
        Cache::new(|object| Some(object.get("value")?.as_str()?.to_owned()))
    }

    fn get(cache: &Cache<String>, name: &str) -> Option<String> {
        cache.get(&Key::new("shop", name)).cloned()
    }

    #[test]
    fn the_newest_version_stays() {
        let mut cache = cache();
        cache.apply(Some(0), &object("a", 7, "new"));
        assert_eq!(cache.apply(Some(0), &object("a", 6, "old")), None);
        assert_eq!(cache.apply(Some(0), &object("a", 7, "same")), None);
        assert_eq!(get(&cache, "a").as_deref(), Some("new"));
    }

    #[test]
    fn what_a_new_list_does_not_hold_is_gone() {
        let mut cache = cache();
        cache.apply(Some(0), &object("a", 1, "x"));
        cache.apply(Some(0), &object("b", 2, "y"));
        cache.handle(0, &WatchEvent::Restarted);
        cache.handle(0, &WatchEvent::Applied(object("a", 1, "x")));
        assert!(!cache.is_complete());
        let gone = cache.handle(0, &WatchEvent::Complete);
        assert_eq!(gone, [Key::new("shop", "b")]);
        assert!(cache.is_complete());
        assert_eq!(get(&cache, "a").as_deref(), Some("x"));
    }

    #[test]
    fn each_watch_lists_for_itself() {
        let mut cache = cache();
        cache.expect_parts(2);
        cache.apply(Some(0), &object("a", 1, "x"));
        cache.apply(Some(1), &object("b", 2, "y"));
        cache.handle(0, &WatchEvent::Restarted);
        assert_eq!(
            cache.handle(0, &WatchEvent::Complete),
            [Key::new("shop", "a")]
        );
        assert!(!cache.is_complete());
        cache.handle(1, &WatchEvent::Complete);
        assert!(cache.is_complete());
        assert_eq!(get(&cache, "b").as_deref(), Some("y"));
    }

    #[test]
    fn what_turns_into_nonsense_is_left_out() {
        let mut cache = cache();
        cache.apply(Some(0), &object("a", 1, "x"));
        let nonsense =
            json!({"metadata": {"namespace": "shop", "name": "a", "resourceVersion": "2"}});
        assert!(cache.apply(Some(0), &nonsense).is_some());
        assert_eq!(get(&cache, "a"), None);
        assert_eq!(cache.apply(Some(0), &Value::Null), None);
    }
}
