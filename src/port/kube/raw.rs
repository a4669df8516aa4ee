//! Objects as the API server sent them, in the shape that kube's watcher asks for.

use std::borrow::Cow;

use kube::core::{DynamicResourceScope, ObjectMeta, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::port::Kind;

/// One object as JSON, less its `managedFields`.
///
/// The watcher wants typed metadata to follow the resource version. It gets a copy of these few
/// fields, read leniently: metadata that kube cannot decode would stop the watch of all objects.
#[derive(Clone, Debug)]
pub(super) struct RawObject {
    pub(super) value: Value,
    metadata: ObjectMeta,
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        let text = |key: &str| value["metadata"][key].as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { value, metadata })
    }
}

impl Resource for RawObject {
    type DynamicType = Kind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &Kind) -> Cow<'_, str> {
        kind.kind.into()
    }

    fn group(kind: &Kind) -> Cow<'_, str> {
        kind.group.into()
    }

    fn version(kind: &Kind) -> Cow<'_, str> {
        kind.version.into()
    }

    fn plural(kind: &Kind) -> Cow<'_, str> {
        kind.plural.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Names the kind inside the object: the items of a list come without it, those of a GET with it.
pub(super) fn with_type(mut object: Value, kind: Kind) -> Value {
    if let Value::Object(fields) = &mut object {
        name_kind(fields, kind);
    }
    object
}

fn name_kind(fields: &mut Map<String, Value>, kind: Kind) {
    fields
        .entry("apiVersion")
        .or_insert_with(|| kind.api_version().into());
    fields.entry("kind").or_insert_with(|| kind.kind.into());
}
