//! `kubectl astern config`: the copies of ConfigMaps that Astern keeps, and putting one back where people
//! edit it.
//!
//! Astern itself never writes a ConfigMap that others may share. A person who asks may, with the
//! person's own rights. Contents go from one object to the other and nowhere else: only keys are shown.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::output::{self, Cell, Colours, Format};
use super::session::{Change, DryRun, Session, titled};
use crate::api::config::{Standing, contents, standing};
use crate::api::names;
use crate::api::record::{text, time};
use crate::port::{Selection, kinds};

const EXAMPLES: &str = "\
Examples:
  # Which contents of ConfigMaps are kept?
  kubectl astern config list

  # Somebody deleted it: bring it back
  kubectl astern config restore configmap/checkout-config

  # Which keys would change?
  kubectl astern config restore configmap/checkout-config --dry-run=server

  # There are several copies: the one that revision 5 ran with
  kubectl astern config restore configmap/checkout-config --copy checkout-config-astern-1f0c77ab";

/// Shows the copies of ConfigMaps that are kept for rollbacks, and puts one back.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Shows the copies, the newest first.
    List(List),
    /// Brings back a deleted or changed ConfigMap. Needs the right to create or patch it.
    Restore(Box<Restore>),
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Debug, clap::Args)]
struct Restore {
    /// The ConfigMap, as configmap/NAME.
    #[arg(value_name = "configmap/NAME", value_parser = config_map)]
    target: String,

    /// The copy to bring back; needed where there are several that differ from what is there.
    #[arg(long, value_name = "NAME")]
    copy: Option<String>,

    #[command(flatten)]
    change: Change,

    #[command(flatten)]
    connection: Connection,
}

/// Reads the ConfigMap that a command is about, in the spellings that kubectl takes.
fn config_map(text: &str) -> Result<String, String> {
    const KINDS: [&str; 3] = ["configmap", "configmaps", "cm"];
    let name = text
        .split_once('/')
        .filter(|(kind, _)| KINDS.contains(&kind.to_lowercase().as_str()));
    match name {
        Some((_, name)) if !name.is_empty() && !name.contains('/') => Ok(name.to_owned()),
        Some(_) | None => Err("name the ConfigMap as configmap/NAME".to_owned()),
    }
}

/// Does what was asked.
///
/// # Errors
///
/// When the API server cannot be asked, or refuses, or nothing can be brought back.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.verb {
        Verb::List(arguments) => list(arguments).await,
        Verb::Restore(arguments) => restore(arguments).await,
    }
}

/// A copy that is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Copy {
    name: String,
    #[serde(rename = "configMap")]
    of: String,
    created: Option<Timestamp>,
    /// The ControllerRevisions that keep it.
    kept_by: Vec<String>,
    #[serde(skip)]
    object: Value,
}

async fn copies(session: &Session) -> anyhow::Result<Vec<Copy>> {
    let selection = Selection {
        namespace: Some(session.namespace.clone()),
        labels: names::CONFIG_COPY_OF.to_owned(),
    };
    let objects = session.cluster.list(kinds::CONFIG_MAPS, &selection).await;
    let objects = objects.context("cannot list configmaps")?;
    let mut copies: Vec<Copy> = objects.into_iter().filter_map(copy).collect();
    copies.sort_by_key(|copy| (Reverse(copy.created), copy.name.clone()));
    Ok(copies)
}

/// Returns `None` for what only claims to be a copy.
fn copy(object: Value) -> Option<Copy> {
    let Standing::Copy { of } = standing(&object) else {
        return None;
    };
    let owners = object.pointer("/metadata/ownerReferences");
    let owners = owners.and_then(Value::as_array).into_iter().flatten();
    Some(Copy {
        name: text(&object, "/metadata/name")?.to_owned(),
        of,
        created: time(&object, "/metadata/creationTimestamp"),
        kept_by: owners
            .filter_map(|owner| text(owner, "/name").map(str::to_owned))
            .collect(),
        object,
    })
}

async fn list(arguments: &List) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, DryRun::None).await?;
    let copies = copies(&session).await?;
    if let Some(document) = output::document(&copies, arguments.output)? {
        return output::print(&document);
    }
    if copies.is_empty() {
        return output::print("No copy of a ConfigMap is kept.\n");
    }
    let now = session.cluster.now();
    output::print(&table(&copies, now))
}

fn table(copies: &[Copy], now: Timestamp) -> String {
    let rows: Vec<Vec<Cell>> = copies
        .iter()
        .map(|copy| {
            [
                copy.of.clone(),
                copy.name.clone(),
                copy.kept_by.join(","),
                output::age(copy.created, now),
            ]
            .map(Cell::plain)
            .to_vec()
        })
        .collect();
    let titles = ["CONFIGMAP", "COPY", "KEPT BY", "AGE"];
    output::table(&titles, &rows, Colours::none())
}

async fn restore(arguments: &Restore) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, arguments.change.dry_run).await?;
    let object = session.object(kinds::CONFIG_MAPS, &arguments.target);
    let live = session.cluster.get(&object).await;
    let live = live.with_context(|| format!("cannot read {}", titled(&object)))?;
    if let Some(live) = &live {
        check(live, &arguments.target)?;
    }
    let mut copies = copies(&session).await?;
    copies.retain(|copy| copy.of == arguments.target);
    let now = session.cluster.now();
    let Some(chosen) = chosen(&copies, (arguments.copy.as_deref(), live.as_ref()), now)? else {
        return output::print(&format!("{} unchanged\n", titled(&object)));
    };
    if session.dry_run != DryRun::Client {
        let written = if let Some(live) = &live {
            let patch = patch(live, &chosen.object);
            session.writer().json_patch(&object, patch).await
        } else {
            let body = remade(&arguments.target, &chosen.object);
            session.writer().create(kinds::CONFIG_MAPS, body).await
        };
        written.with_context(|| format!("cannot write {}", titled(&object)))?;
    }
    let empty = json!({});
    let keys = keys(live.as_ref().unwrap_or(&empty), &chosen.object);
    output::print(&format!(
        "{} restored from {}{}: {keys}\n",
        titled(&object),
        chosen.name,
        session.dry_run.suffix(),
    ))
}

/// Refuses what would not stay, or cannot be written.
fn check(live: &Value, name: &str) -> anyhow::Result<()> {
    match standing(live) {
        Standing::Copy { of } => {
            anyhow::bail!("{name:?} is a copy itself; name its original, configmap/{of}")
        }
        Standing::Managed => {
            anyhow::bail!("another program keeps {name:?} current, and would undo it")
        }
        Standing::Ordinary => (),
    }
    if live.get("immutable").and_then(Value::as_bool) == Some(true) {
        anyhow::bail!(
            "{name:?} is immutable; delete it first (kubectl delete configmap {name}), and restore it then"
        );
    }
    Ok(())
}

/// Returns the copy to bring back; `None` where what is there holds the same already.
fn chosen<'a>(
    copies: &'a [Copy],
    (wanted, live): (Option<&str>, Option<&Value>),
    now: Timestamp,
) -> anyhow::Result<Option<&'a Copy>> {
    let there = live.map(|live| contents(live).whole().to_owned());
    let differs = |copy: &&Copy| Some(contents(&copy.object).whole()) != there.as_deref();
    if let Some(wanted) = wanted {
        let found = copies.iter().find(|copy| copy.name == wanted);
        let found = found.with_context(|| match copies {
            [] => "no copy of it is kept".to_owned(),
            copies => format!(
                "no copy {wanted:?} is kept; there are:\n{}",
                table(copies, now)
            ),
        })?;
        return Ok(Some(found).filter(differs));
    }
    let others: Vec<&Copy> = copies.iter().filter(differs).collect();
    match others.as_slice() {
        [one] => Ok(Some(one)),
        [] if copies.is_empty() => anyhow::bail!(
            "no copy of it is kept; Astern keeps copies where a RollbackPolicy says config.mode: Restore"
        ),
        [] => Ok(None),
        several => {
            let several: Vec<Copy> = several.iter().map(|copy| (*copy).clone()).collect();
            anyhow::bail!(
                "there are {} copies; choose one with --copy:\n{}",
                several.len(),
                table(&several, now)
            )
        }
    }
}

const FIELDS: [&str; 2] = ["data", "binaryData"];

/// Returns the write that puts the content of `copy` where `live` is, if that is still as it was read.
fn patch(live: &Value, copy: &Value) -> Value {
    let version = live.pointer("/metadata/resourceVersion");
    let mut operations =
        vec![json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version})];
    for field in FIELDS {
        let path = format!("/{field}");
        match (copy.get(field), live.get(field)) {
            (Some(value), _) => {
                operations.push(json!({"op": "add", "path": path, "value": value}));
            }
            (None, Some(_)) => operations.push(json!({"op": "remove", "path": path})),
            (None, None) => (),
        }
    }
    Value::Array(operations)
}

/// Returns the ConfigMap `name` with the content of `copy`. Its labels and annotations went with it.
fn remade(name: &str, copy: &Value) -> Value {
    let mut body = json!({
        "apiVersion": kinds::CONFIG_MAPS.api_version(),
        "kind": kinds::CONFIG_MAPS.kind,
        "metadata": {"name": name, "namespace": text(copy, "/metadata/namespace")},
    });
    for field in FIELDS {
        if let Some(entries) = copy.get(field) {
            body[field] = entries.clone();
        }
    }
    body
}

/// Says which keys change, in words.
fn keys(before: &Value, after: &Value) -> String {
    let entries = |object: &Value| -> Map<String, Value> {
        let maps = FIELDS.map(|field| object.get(field).and_then(Value::as_object).cloned());
        maps.into_iter().flatten().flatten().collect()
    };
    let (before, after) = (entries(before), entries(after));
    let names = |map: &Map<String, Value>, other: &Map<String, Value>| -> BTreeSet<String> {
        let differs = map.iter().filter(|(key, _)| !other.contains_key(*key));
        differs.map(|(key, _)| key.clone()).collect()
    };
    let changed = after
        .iter()
        .filter(|(key, value)| before.get(*key).is_some_and(|before| before != *value));
    let told = [
        ("added", names(&after, &before)),
        ("changed", changed.map(|(key, _)| key.clone()).collect()),
        ("removed", names(&before, &after)),
    ];
    let told = told.iter().filter(|(_, keys)| !keys.is_empty());
    let told: Vec<String> = told
        .map(|(word, keys)| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            format!("{word} {}", keys.join(", "))
        })
        .collect();
    told.join("; ")
}

#[cfg(test)]
mod tests;
