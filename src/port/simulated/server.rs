//! The API server's writes: every check between a request and the store.

use std::sync::Arc;

use json_patch::{AddOperation, PatchOperation};
use serde_json::{Value, json};

use super::fields::{default, items, remove, set, stamp, text};
use super::ownership::{self, Writer};
use super::rules;
use super::world::{Task, World};
use crate::port::{Error, Kind, ObjectRef, kinds};

/// Which part of an object a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Status,
}

impl World {
    /// Creates `body` and returns what was stored.
    pub(super) fn create(
        &mut self,
        kind: Kind,
        mut body: Value,
        manager: &str,
    ) -> Result<Arc<Value>, Error> {
        self.require_served(kind)?;
        if !text(&body, "/metadata/resourceVersion").is_empty() {
            // The real one answers 500 too, though sending it again cannot help.
            return Err(Error::Unavailable {
                message: "resourceVersion should not be set on objects to be created".to_owned(),
                retry_after: None,
            });
        }
        let object = self.named(kind, &mut body)?;
        if self.store.get(&object).is_some() {
            return Err(Error::AlreadyExists);
        }
        let uid = self.new_uid();
        set(&mut body, &["metadata", "uid"], uid);
        set(
            &mut body,
            &["metadata", "creationTimestamp"],
            stamp(self.now),
        );
        default(&mut body, &["apiVersion"], kind.api_version());
        default(&mut body, &["kind"], kind.kind);
        for field in ["generation", "resourceVersion", "deletionTimestamp"] {
            remove(&mut body, &["metadata", field]);
        }
        if rules::has_status(kind) {
            remove(&mut body, &["status"]);
        }
        rules::fill_in(kind, &mut body);
        rules::validate(kind, None, &body)?;
        // From nothing to something: kinds that count generations begin to.
        if rules::moves_generation(kind, &json!({}), &body) {
            set(&mut body, &["metadata", "generation"], 1);
        }
        self.own(&object, &json!({}), &mut body, (Part::Main, manager));
        let stored = self.store.put(&object, body);
        self.after_change(&object, Some(&stored));
        // An owner that does not exist, or no longer, is no owner.
        if !items(&stored, "/metadata/ownerReferences").is_empty() {
            self.soon(Task::CollectGarbage);
        }
        Ok(stored)
    }

    fn named(&mut self, kind: Kind, body: &mut Value) -> Result<ObjectRef, Error> {
        let prefix = text(body, "/metadata/generateName").to_owned();
        if text(body, "/metadata/name").is_empty() && !prefix.is_empty() {
            let name = format!("{prefix}{}", self.random_word());
            set(body, &["metadata", "name"], name);
        }
        let name = text(body, "/metadata/name");
        let namespace = text(body, "/metadata/namespace");
        if name.is_empty() {
            return Err(Error::Invalid {
                message: "metadata.name: Required value: name or generateName is required"
                    .to_owned(),
            });
        }
        if kind.namespaced && namespace.is_empty() {
            return Err(Error::NotFound);
        }
        Ok(ObjectRef::new(kind, namespace, name))
    }

    /// Replaces `part` of `object` by that of `new`, and returns what was stored.
    pub(super) fn update(
        &mut self,
        object: &ObjectRef,
        new: Value,
        part: Part,
        manager: &str,
    ) -> Result<Arc<Value>, Error> {
        let old = self.store.get(object).ok_or(Error::NotFound)?;
        let mut new = checked(object, &old, new, part)?;
        if part == Part::Main && rules::moves_generation(object.kind, &old, &new) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            set(&mut new, &["metadata", "generation"], generation);
        }
        self.own(object, &old, &mut new, (part, manager));
        let version = old["metadata"]["resourceVersion"].clone();
        set(&mut new, &["metadata", "resourceVersion"], version);
        // Nothing is stored, and no watcher told, when nothing changes.
        if new == *old {
            return Ok(old);
        }
        let stored = self.store.put(object, new);
        let doomed = !text(&stored, "/metadata/deletionTimestamp").is_empty();
        if doomed && items(&stored, "/metadata/finalizers").is_empty() && !is_pod(object) {
            self.drop_object(object);
        } else {
            self.after_change(object, Some(&stored));
        }
        Ok(stored)
    }

    /// Applies JSON Patch `operations` to `part` of `object`.
    pub(super) fn patch(
        &mut self,
        object: &ObjectRef,
        operations: &Value,
        part: Part,
        manager: &str,
    ) -> Result<Arc<Value>, Error> {
        self.require_served(object.kind)?;
        let old = self.store.get(object).ok_or(Error::NotFound)?;
        let patched = patched(&old, operations)?;
        self.update(object, patched, part, manager)
    }

    /// Checks whether JSON Patch `operations` on `object` would be taken, and changes nothing.
    pub(super) fn try_patch(&self, object: &ObjectRef, operations: &Value) -> Result<(), Error> {
        self.require_served(object.kind)?;
        let old = self.store.get(object).ok_or(Error::NotFound)?;
        checked(object, &old, patched(&old, operations)?, Part::Main).map(drop)
    }

    /// Deletes `object` if it has `uid`.
    pub(super) fn delete(&mut self, object: &ObjectRef, uid: &str) {
        let Some(old) = self.store.get(object) else {
            return;
        };
        if text(&old, "/metadata/uid") != uid {
            return;
        }
        let waits = is_pod(object) || !items(&old, "/metadata/finalizers").is_empty();
        if !waits {
            self.drop_object(object);
            return;
        }
        if text(&old, "/metadata/deletionTimestamp").is_empty() {
            let mut doomed = Value::clone(&old);
            set(
                &mut doomed,
                &["metadata", "deletionTimestamp"],
                stamp(self.now),
            );
            let stored = self.store.put(object, doomed);
            self.after_change(object, Some(&stored));
        }
    }

    /// Removes `object` for good.
    pub(super) fn drop_object(&mut self, object: &ObjectRef) {
        let last = self.store.get(object);
        self.store.remove(object);
        self.after_change(object, None);
        if let Some(last) = last {
            self.after_removal(object, &last);
        }
    }

    fn own(&self, object: &ObjectRef, old: &Value, new: &mut Value, by: (Part, &str)) {
        // The only kind whose ownership anyone asks for.
        if object.kind == kinds::DEPLOYMENTS {
            let writer = Writer {
                manager: by.1,
                subresource: (by.0 == Part::Status).then_some("status"),
                now: self.now,
            };
            ownership::record(old, new, &writer);
        }
    }
}

/// Returns what would be stored instead of `old`, if the server takes it.
fn checked(object: &ObjectRef, old: &Value, new: Value, part: Part) -> Result<Value, Error> {
    if part == Part::Status && !rules::has_status(object.kind) {
        return Err(Error::NotFound);
    }
    let stated = text(&new, "/metadata/resourceVersion");
    if !stated.is_empty() && stated != text(old, "/metadata/resourceVersion") {
        return Err(conflict(object));
    }
    let mut new = match part {
        Part::Main => with_old_status(object.kind, old, new),
        Part::Status => only_status(object.kind, old, &new),
    };
    rules::keep_system_fields(old, &mut new);
    rules::fill_in(object.kind, &mut new);
    rules::validate(object.kind, Some(old), &new)?;
    Ok(new)
}

fn is_pod(object: &ObjectRef) -> bool {
    object.kind == kinds::PODS
}

fn with_old_status(kind: Kind, old: &Value, mut new: Value) -> Value {
    if rules::has_status(kind) {
        match old.get("status") {
            Some(status) => set(&mut new, &["status"], status.clone()),
            None => remove(&mut new, &["status"]),
        }
    }
    new
}

fn only_status(kind: Kind, old: &Value, new: &Value) -> Value {
    let mut kept = old.clone();
    let paths = rules::kept_by_status_writes(kind);
    for path in [&["status"][..]].iter().chain(paths) {
        let found = path.iter().try_fold(new, |at, key| at.get(*key));
        match found {
            Some(value) => set(&mut kept, path, value.clone()),
            None => remove(&mut kept, path),
        }
    }
    kept
}

/// Applies the operations one after the other, as the API server's own library does.
fn patched(old: &Value, operations: &Value) -> Result<Value, Error> {
    let refused = || Error::Invalid {
        // Opaque, and the same for a failed test and an operation that does not fit.
        message: "the server rejected our request due to an error in our request".to_owned(),
    };
    let patch: json_patch::Patch =
        serde_json::from_value(operations.clone()).map_err(|error| Error::Invalid {
            message: format!("not a JSON Patch: {error}"),
        })?;
    let mut object = old.clone();
    for operation in patch.0 {
        let Some(operation) = as_the_server_reads(operation, &object) else {
            continue;
        };
        json_patch::patch(&mut object, &[operation]).map_err(|_| refused())?;
    }
    Ok(object)
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// The API server is more lenient than the standard in two places.
fn as_the_server_reads(operation: PatchOperation, object: &Value) -> Option<PatchOperation> {
    let absent = |path: &str| object.pointer(path).is_none();
    match operation {
        // Testing for null asks whether the field is absent; what it would stand in must be there.
        PatchOperation::Test(test)
            if test.value.is_null()
                && absent(test.path.as_str())
                && parent(test.path.as_str()).is_some_and(|parent| !absent(parent)) =>
        {
            None
        }
        // Replacing what a map does not have adds it.
        PatchOperation::Replace(replace) if absent(replace.path.as_str()) => {
            Some(PatchOperation::Add(AddOperation {
                path: replace.path,
                value: replace.value,
            }))
        }
        PatchOperation::Add(_)
        | PatchOperation::Remove(_)
        | PatchOperation::Replace(_)
        | PatchOperation::Move(_)
        | PatchOperation::Copy(_)
        | PatchOperation::Test(_) => Some(operation),
    }
}

fn conflict(object: &ObjectRef) -> Error {
    let group = match object.kind.group {
        "" => String::new(),
        group => format!(".{group}"),
    };
    Error::Conflict {
        message: format!(
            "Operation cannot be fulfilled on {}{group} {:?}: the object has been modified; please \
             apply your changes to the latest version and try again",
            object.kind.plural, object.name
        ),
    }
}
