//! What is stored, and what changed in which order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::fields::set;
use crate::port::{Kind, ObjectRef};

/// The API server remembers changes for a while; who asks for older ones must list anew.
const CHANGES_MAX: usize = 20_000;

/// One change of one object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) object: ObjectRef,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
}

/// All objects by reference, and the last changes.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<ObjectRef, Arc<Value>>,
    version: u64,
    changes: VecDeque<Change>,
    forgotten: usize,
}

impl Store {
    pub(super) fn get(&self, object: &ObjectRef) -> Option<Arc<Value>> {
        self.objects.get(object).cloned()
    }

    /// Stores `value` under a new resource version and returns it with that.
    pub(super) fn put(&mut self, object: &ObjectRef, mut value: Value) -> Arc<Value> {
        self.version += 1;
        let version = self.version.to_string();
        set(&mut value, &["metadata", "resourceVersion"], version);
        let value = Arc::new(value);
        let before = self.objects.insert(object.clone(), value.clone());
        self.remember(object, before, Some(value.clone()));
        value
    }

    /// Removes an object. The watchers see its last state under a new resource version.
    pub(super) fn remove(&mut self, object: &ObjectRef) {
        if let Some(last) = self.objects.remove(object) {
            self.version += 1;
            let mut last = Value::clone(&last);
            let version = self.version.to_string();
            set(&mut last, &["metadata", "resourceVersion"], version);
            self.remember(object, Some(Arc::new(last)), None);
        }
    }

    fn remember(
        &mut self,
        object: &ObjectRef,
        before: Option<Arc<Value>>,
        after: Option<Arc<Value>>,
    ) {
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
            self.forgotten += 1;
        }
        self.changes.push_back(Change {
            object: object.clone(),
            before,
            after,
        });
    }

    /// Returns the objects of `kind`, in one namespace or in all, by namespace and name.
    pub(super) fn of_kind<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a ObjectRef, &'a Arc<Value>)> {
        let first = ObjectRef::new(kind, namespace.unwrap_or_default(), "");
        self.objects.range(first..).take_while(move |(object, _)| {
            object.kind == kind && namespace.is_none_or(|one| one == object.namespace)
        })
    }

    /// Returns the objects of `kind` in `namespace` whose controller has `uid`.
    pub(super) fn controlled(
        &self,
        kind: Kind,
        namespace: &str,
        uid: &str,
    ) -> Vec<(ObjectRef, Arc<Value>)> {
        self.of_kind(kind, Some(namespace))
            .filter(|(_, value)| super::fields::controller_uid(value) == uid)
            .map(|(object, value)| (object.clone(), value.clone()))
            .collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ObjectRef, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Returns how many changes there have been, those that are forgotten included.
    pub(super) fn changes_made(&self) -> usize {
        self.forgotten + self.changes.len()
    }

    /// Returns the change after the first `seen`, or `None` inside if there was none yet. `Err` when
    /// it is forgotten.
    pub(super) fn change_after(&self, seen: usize) -> Result<Option<&Change>, Forgotten> {
        let index = seen.checked_sub(self.forgotten).ok_or(Forgotten)?;
        Ok(self.changes.get(index))
    }
}

/// The change is too long ago, like the API server's 410.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgotten;
