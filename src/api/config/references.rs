//! Where a pod template refers to ConfigMaps and Secrets.
//!
//! Not config: credentials for pulling images, and what CSI drivers and other volumes are given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::record::text;
use crate::decide::{ConfigKind, ConfigName, ConfigUse, ConfigUses};

/// How many objects of one template are followed, by kind and name. Templates name a handful; a
/// hostile one must not make every look read thousands.
const OBJECTS_MAX: usize = 64;

/// One place that names an object.
struct Reference<'a> {
    kind: ConfigKind,
    name: &'a str,
    /// JSON pointer to the name, within the template.
    pointer: String,
    optional: bool,
    reads: Reads<'a>,
    required: BTreeSet<&'a str>,
    live: bool,
}

/// Which keys a reference brings into a container.
enum Reads<'a> {
    /// A volume that nobody mounts: the kubelet does not even set it up.
    Nothing,
    All,
    Keys(BTreeSet<&'a str>),
}

/// Returns what `template` reads, by object.
#[must_use]
pub fn uses(template: &Value) -> ConfigUses {
    let mut uses = ConfigUses::new();
    for reference in references(template) {
        let keys = match reference.reads {
            Reads::Nothing => continue,
            Reads::All => None,
            Reads::Keys(keys) => Some(owned(&keys)),
        };
        let name = ConfigName {
            kind: reference.kind,
            name: reference.name.to_owned(),
        };
        let known = uses.entry(name).or_insert_with(|| ConfigUse {
            optional: true,
            keys: Some(BTreeSet::new()),
            ..ConfigUse::default()
        });
        known.optional &= reference.optional;
        known.live |= reference.live;
        known.required.extend(owned(&reference.required));
        known.keys = match (known.keys.take(), keys) {
            (Some(left), Some(right)) => Some(&left | &right),
            (None, _) | (_, None) => None,
        };
    }
    uses.into_iter().take(OBJECTS_MAX).collect()
}

/// Returns `template` with every reference to a ConfigMap in `copies` leading to the copy named
/// there, and nothing else changed.
#[must_use]
pub fn repointed(template: &Value, copies: &BTreeMap<String, String>) -> Value {
    let mut repointed = template.clone();
    for reference in references(template) {
        let copy = copies.get(reference.name);
        if reference.kind == ConfigKind::ConfigMap
            && let Some(copy) = copy
            && let Some(name) = repointed.pointer_mut(&reference.pointer)
        {
            *name = Value::from(copy.as_str());
        }
    }
    repointed
}

fn owned(keys: &BTreeSet<&str>) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn references(template: &Value) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    // Sidecars are init containers that go on running.
    for list in ["initContainers", "containers"] {
        let path = format!("/spec/{list}");
        for (index, container) in items(template, &path).enumerate() {
            found.extend(of_container(container, &format!("{path}/{index}")));
        }
    }
    for (index, volume) in items(template, "/spec/volumes").enumerate() {
        let mounts = Mounts::of(template, text(volume, "/name").unwrap_or_default());
        found.extend(of_volume(
            volume,
            &format!("/spec/volumes/{index}"),
            &mounts,
        ));
    }
    found
}

fn items<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    let list = value.pointer(path).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn of_container<'a>(container: &'a Value, at: &str) -> Vec<Reference<'a>> {
    let mut found = Vec::new();
    for (index, variable) in items(container, "/env").enumerate() {
        for (kind, field) in [
            (ConfigKind::ConfigMap, "configMapKeyRef"),
            (ConfigKind::Secret, "secretKeyRef"),
        ] {
            let path = format!("/valueFrom/{field}");
            let source = variable.pointer(&path);
            let pointer = format!("{at}/env/{index}{path}/name");
            found.extend(source.and_then(|source| variable_from(kind, source, pointer)));
        }
    }
    for (index, variables) in items(container, "/envFrom").enumerate() {
        for (kind, field) in [
            (ConfigKind::ConfigMap, "configMapRef"),
            (ConfigKind::Secret, "secretRef"),
        ] {
            let source = variables.get(field);
            let pointer = format!("{at}/envFrom/{index}/{field}/name");
            found.extend(source.and_then(|source| {
                let reads = Reads::All;
                named(kind, source, pointer, reads)
            }));
        }
    }
    found
}

fn variable_from(kind: ConfigKind, source: &Value, pointer: String) -> Option<Reference<'_>> {
    let key = text(source, "/key")?;
    let reads = Reads::Keys(BTreeSet::from([key]));
    let mut reference = named(kind, source, pointer, reads)?;
    if !reference.optional {
        reference.required.insert(key);
    }
    Some(reference)
}

/// Returns the reference whose name stands in the last field of `pointer`.
fn named<'a>(
    kind: ConfigKind,
    source: &'a Value,
    pointer: String,
    reads: Reads<'a>,
) -> Option<Reference<'a>> {
    let (_, field) = pointer.rsplit_once('/')?;
    let name = source.get(field)?.as_str()?;
    // An empty name is allowed for compatibility and names nothing.
    (!name.is_empty()).then(|| Reference {
        kind,
        name,
        optional: source.get("optional").and_then(Value::as_bool) == Some(true),
        reads,
        required: BTreeSet::new(),
        live: false,
        pointer,
    })
}

fn of_volume<'a>(volume: &'a Value, at: &str, mounts: &Mounts<'a>) -> Vec<Reference<'a>> {
    let mut found = Vec::new();
    let direct = [
        (ConfigKind::ConfigMap, "configMap", "name"),
        (ConfigKind::Secret, "secret", "secretName"),
    ];
    for (kind, field, name) in direct {
        let source = volume.get(field);
        let pointer = format!("{at}/{field}/{name}");
        found.extend(source.and_then(|source| mounted(kind, source, pointer, mounts)));
    }
    for (index, part) in items(volume, "/projected/sources").enumerate() {
        for (kind, field, _) in direct {
            let source = part.get(field);
            let pointer = format!("{at}/projected/sources/{index}/{field}/name");
            found.extend(source.and_then(|source| mounted(kind, source, pointer, mounts)));
        }
    }
    found
}

fn mounted<'a>(
    kind: ConfigKind,
    source: &'a Value,
    pointer: String,
    mounts: &Mounts<'a>,
) -> Option<Reference<'a>> {
    let files: Vec<(&str, &str)> = items(source, "/items")
        .filter_map(|item| Some((text(item, "/key")?, text(item, "/path")?)))
        .collect();
    let mut reference = named(kind, source, pointer, mounts.reads(&files))?;
    // `subPath` is a file of the moment at which the container started.
    reference.live = mounts.whole;
    // The kubelet sets a volume up as a whole, also for a mount of a part.
    if !reference.optional && !matches!(reference.reads, Reads::Nothing) {
        reference.required = files.iter().map(|(key, _)| *key).collect();
    }
    Some(reference)
}

/// How the containers mount one volume.
#[derive(Default)]
struct Mounts<'a> {
    /// Some container sees all files, and their changes.
    whole: bool,
    /// Some container sees a part that is not known before it runs.
    unknown: bool,
    /// The files or directories of which containers see just these.
    parts: Vec<&'a str>,
}

impl<'a> Mounts<'a> {
    fn of(template: &'a Value, volume: &str) -> Self {
        let mut mounts = Self::default();
        let containers = ["/spec/initContainers", "/spec/containers"]
            .into_iter()
            .flat_map(|path| items(template, path));
        for mount in containers.flat_map(|container| items(container, "/volumeMounts")) {
            if text(mount, "/name") != Some(volume) {
                continue;
            }
            let part = text(mount, "/subPath").unwrap_or_default();
            let expression = text(mount, "/subPathExpr").unwrap_or_default();
            if !expression.is_empty() {
                mounts.unknown = true;
            } else if part.is_empty() {
                mounts.whole = true;
            } else {
                let part = part.trim_start_matches("./").trim_end_matches('/');
                mounts.unknown |= part == ".";
                mounts.parts.push(part);
            }
        }
        mounts
    }

    /// Returns what the containers see of a source with these `files`: keys and where they appear.
    /// No files at all: every key under its own name.
    fn reads<'b>(&self, files: &[(&'b str, &str)]) -> Reads<'b>
    where
        'a: 'b,
    {
        if self.whole || self.unknown {
            if files.is_empty() {
                return Reads::All;
            }
            return Reads::Keys(files.iter().map(|(key, _)| *key).collect());
        }
        if self.parts.is_empty() {
            return Reads::Nothing;
        }
        if files.is_empty() {
            return Reads::Keys(self.parts.iter().copied().collect());
        }
        let seen = |path: &str| {
            self.parts.iter().any(|part| {
                path.strip_prefix(part)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let files = files.iter().filter(|(_, path)| seen(path));
        Reads::Keys(files.map(|(key, _)| *key).collect())
    }
}
