//! Immutable copies of ConfigMaps, so that a revision can have back the config that it worked with.
//!
//! A ConfigMap that people or other workloads use is only ever read. Contents pass through from one
//! object to another and into nothing else: no log, no error, no Event.

use serde_json::{Value, json};

use super::{Hands, Written};
use crate::api::config::{
    OwnerRef, Standing, contents, copy, copy_name, owner_references, standing,
};
use crate::api::record::text;
use crate::decide::Contents;
use crate::port::{self, ObjectRef, kinds};

/// Why copies could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process does not lead any more and must not write.
    #[error("leadership was lost")]
    NotLeading,

    /// Another writer was faster. Looking again shows what to do now.
    #[error("config copy {name:?} changed since it was read")]
    Stale { name: String },

    #[error("failed to read config map {name:?}")]
    GetConfigMap {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to write config copy {name:?}")]
    WriteCopy {
        name: String,
        #[source]
        source: port::Error,
    },
}

/// A copy that there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The ConfigMap that a template refers to.
    pub name: String,
    /// What it held when the revision worked: this and nothing else is copied.
    pub contents: Contents,
    /// The records of the revisions that refer to the copy. It lives as long as one of them, so
    /// without any it is never collected.
    pub owners: Vec<OwnerRef>,
}

/// What became of a [`Wanted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The ConfigMap `copy` holds it, and has all its owners. Of a ConfigMap that is a copy already,
    /// that one itself.
    Ready { copy: String },
    /// The ConfigMap holds something else by now, or is gone, and no copy was made in time.
    Lost,
    /// Another program keeps the ConfigMap current. It is never copied.
    Managed,
    /// Another object has the name that the copy should have.
    Taken { copy: String },
}

/// Makes the copies that are `wanted` and not there yet, and gives each the owners that it lacks.
/// Returns what became of each, in the same order, and puts what was written into `written`, also
/// when a later write failed. Twice is the same as once.
///
/// # Errors
///
/// [`Error::Stale`]: look again. Anything else: try again later; the copies made so far stay.
pub async fn ensure_copies(
    hands: &Hands,
    namespace: &str,
    wanted: &[Wanted],
    written: &mut Vec<Written>,
) -> Result<Vec<Copied>, Error> {
    let mut copied = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let desk = Desk {
            hands,
            namespace,
            wanted,
        };
        copied.push(desk.ensure(written).await?);
    }
    Ok(copied)
}

/// Where one copy is made.
struct Desk<'a> {
    hands: &'a Hands,
    namespace: &'a str,
    wanted: &'a Wanted,
}

impl Desk<'_> {
    async fn ensure(&self, written: &mut Vec<Written>) -> Result<Copied, Error> {
        let name = copy_name(&self.wanted.name, &self.wanted.contents);
        if let Some(found) = self.read(&name).await? {
            return self.keep(&name, &found, written).await;
        }
        let Some(original) = self.read(&self.wanted.name).await? else {
            return Ok(Copied::Lost);
        };
        if !self.holds_what_is_wanted(&original) {
            return Ok(Copied::Lost);
        }
        match standing(&original) {
            Standing::Ordinary => self.make(&name, &original, written).await,
            Standing::Managed => Ok(Copied::Managed),
            // The revision runs on a pinned copy: there is nothing to copy, but somebody more to
            // keep it for.
            Standing::Copy { .. } => {
                let name = &self.wanted.name;
                self.keep(name, &original, written).await
            }
        }
    }

    async fn make(
        &self,
        name: &str,
        original: &Value,
        written: &mut Vec<Written>,
    ) -> Result<Copied, Error> {
        self.check_leadership()?;
        let body = copy(original, &self.wanted.owners);
        match self.hands.cluster.create(kinds::CONFIG_MAPS, body).await {
            Ok(object) => {
                written.push((kinds::CONFIG_MAPS, object));
                Ok(ready(name))
            }
            // Another workload with the same config was faster.
            Err(port::Error::AlreadyExists) => match self.read(name).await? {
                Some(found) => self.keep(name, &found, written).await,
                None => Err(stale(name)),
            },
            Err(source) => Err(write_error(name, source)),
        }
    }

    /// Gives the copy `found` the owners that it lacks.
    async fn keep(
        &self,
        name: &str,
        found: &Value,
        written: &mut Vec<Written>,
    ) -> Result<Copied, Error> {
        let ours = matches!(standing(found), Standing::Copy { .. });
        if !ours || !self.holds_what_is_wanted(found) {
            let copy = name.to_owned();
            return Ok(Copied::Taken { copy });
        }
        // Its last owner has gone, and it goes too.
        if found.pointer("/metadata/deletionTimestamp").is_some() {
            return Err(stale(name));
        }
        let Some(patch) = add_owners(found, &self.wanted.owners) else {
            return Ok(ready(name));
        };
        self.check_leadership()?;
        let object = ObjectRef::new(kinds::CONFIG_MAPS, self.namespace, name);
        match self.hands.cluster.json_patch(&object, patch).await {
            Ok(object) => {
                written.push((kinds::CONFIG_MAPS, object));
                Ok(ready(name))
            }
            Err(port::Error::Conflict { .. } | port::Error::NotFound) => Err(stale(name)),
            Err(source) => Err(write_error(name, source)),
        }
    }

    /// A copy made of anything else would be put back as what had worked.
    fn holds_what_is_wanted(&self, object: &Value) -> bool {
        contents(object).whole() == self.wanted.contents.whole()
    }

    /// Never from the cache, which keeps no contents.
    async fn read(&self, name: &str) -> Result<Option<Value>, Error> {
        let object = ObjectRef::new(kinds::CONFIG_MAPS, self.namespace, name);
        let found = self.hands.cluster.get(&object).await;
        found.map_err(|source| Error::GetConfigMap {
            name: name.to_owned(),
            source,
        })
    }

    fn check_leadership(&self) -> Result<(), Error> {
        if (self.hands.leads)() {
            Ok(())
        } else {
            Err(Error::NotLeading)
        }
    }
}

/// Returns the write that adds those of `owners` that `found` lacks; `None` when it lacks none.
fn add_owners(found: &Value, owners: &[OwnerRef]) -> Option<Value> {
    const OWNERS: &str = "/metadata/ownerReferences";
    let known = found.pointer(OWNERS).and_then(Value::as_array);
    let lacking: Vec<OwnerRef> = owners
        .iter()
        .filter(|owner| {
            let mut known = known.into_iter().flatten();
            !known.any(|known| text(known, "/uid") == Some(&owner.uid))
        })
        .cloned()
        .collect();
    if lacking.is_empty() {
        return None;
    }
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": found.pointer("/metadata/uid")}),
        // Answered by 409 where the object has moved on.
        json!({"op": "replace", "path": "/metadata/resourceVersion",
               "value": found.pointer("/metadata/resourceVersion")}),
    ];
    if known.is_none() {
        operations.push(json!({"op": "add", "path": OWNERS, "value": []}));
    }
    for owner in owner_references(&lacking) {
        let end = format!("{OWNERS}/-");
        operations.push(json!({"op": "add", "path": end, "value": owner}));
    }
    Some(Value::Array(operations))
}

fn ready(name: &str) -> Copied {
    Copied::Ready {
        copy: name.to_owned(),
    }
}

fn stale(name: &str) -> Error {
    Error::Stale {
        name: name.to_owned(),
    }
}

fn write_error(name: &str, source: port::Error) -> Error {
    Error::WriteCopy {
        name: name.to_owned(),
        source: without_quotes(source),
    }
}

/// Admission rules and webhooks of others may quote the object that they refuse, and so may the API
/// server where it says which value is invalid. Here that is somebody's config.
fn without_quotes(error: port::Error) -> port::Error {
    const LEFT_OUT: &str = "the reason is left out, because it may quote config";
    let cut = |message: String| match message.split_once(" denied ") {
        Some((who, _)) => format!("{who} denied the request; {LEFT_OUT}"),
        None => message,
    };
    match error {
        port::Error::Invalid { .. } => port::Error::Invalid {
            message: LEFT_OUT.to_owned(),
        },
        port::Error::Forbidden { message } => port::Error::Forbidden {
            message: cut(message),
        },
        port::Error::Unexpected { status, message } => port::Error::Unexpected {
            status,
            message: cut(message),
        },
        port::Error::Unavailable {
            message,
            retry_after,
        } => port::Error::Unavailable {
            message: cut(message),
            retry_after,
        },
        error @ (port::Error::NotFound
        | port::Error::AlreadyExists
        | port::Error::Conflict { .. }) => error,
    }
}

#[cfg(test)]
mod tests;
