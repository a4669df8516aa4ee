//! What the verbs that change something have in common: who asks, dry runs, waiting.

use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::connection::Connection;
use crate::act::people;
use crate::api::parse::duration;
use crate::port::{Cluster, Kind, ObjectRef, kinds};

/// Kubectl's flag for trying something out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Do it.
    #[default]
    None,
    /// Say what would be sent, and send nothing.
    Client,
    /// Send it, and let the API server say what it would do with it.
    Server,
}

impl DryRun {
    /// Returns what kubectl puts behind "TYPE/name verbed".
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// The flags of a verb that writes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Change {
    /// Say what would happen, and change nothing: none, client or server.
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    pub dry_run: DryRun,
}

/// The flags of a verb that waits until Astern has answered.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Patience {
    /// Wait until Astern has answered.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub wait: bool,

    /// How long to wait at most, such as 30s or 5m.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = limit)]
    pub timeout: SignedDuration,
}

/// Reads a time limit such as `30s`.
///
/// # Errors
///
/// When it is none, or none that anybody waits for.
pub fn limit(text: &str) -> Result<SignedDuration, String> {
    let limit = duration::parse(text).map_err(|problem| problem.to_string())?;
    if limit.is_positive() && limit <= WAIT_MAX {
        Ok(limit)
    } else {
        Err(format!(
            "must be between 1ms and {}, such as 5m",
            duration::format(WAIT_MAX)
        ))
    }
}

/// Nobody keeps a terminal open for longer.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(24);

/// As often the API server is asked while somebody waits.
const PACE: SignedDuration = SignedDuration::from_secs(1);

/// What the annotations of people can hold of a reason.
const REASON_MAX: usize = 256;

/// A cluster, a namespace, and whether anything may change.
pub struct Session {
    /// Reads, and asks who we are.
    pub cluster: Arc<dyn Cluster>,
    /// Writes, or only tries to.
    writer: Arc<dyn Cluster>,
    pub namespace: String,
    pub dry_run: DryRun,
}

impl Session {
    /// Connects. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When there is no usable kubeconfig.
    pub async fn open(connection: &Connection, dry_run: DryRun) -> anyhow::Result<Self> {
        let connected = connection.open().await?;
        let limit = connection.request_timeout.0;
        let port = &connected.port;
        Ok(Self {
            cluster: Arc::new(port.for_a_person(false, limit)),
            writer: Arc::new(port.for_a_person(dry_run == DryRun::Server, limit)),
            namespace: connected.namespace,
            dry_run,
        })
    }

    /// Returns the reference to an object of the session's namespace.
    #[must_use]
    pub fn object(&self, kind: Kind, name: &str) -> ObjectRef {
        let namespace = if kind.namespaced { &self.namespace } else { "" };
        ObjectRef::new(kind, namespace, name)
    }

    /// Reads an object that has to be there.
    ///
    /// # Errors
    ///
    /// When it is not, or cannot be read.
    pub async fn get(&self, object: &ObjectRef) -> anyhow::Result<Value> {
        let found = self.cluster.get(object).await;
        let found = found.with_context(|| format!("cannot read {}", titled(object)))?;
        found.with_context(|| missing(object))
    }

    /// Reads a Deployment of the session's namespace.
    ///
    /// # Errors
    ///
    /// As [`Session::get`].
    pub async fn deployment(&self, name: &str) -> anyhow::Result<Value> {
        self.get(&self.object(kinds::DEPLOYMENTS, name)).await
    }

    /// Returns the name by which the API server knows who types this.
    ///
    /// # Errors
    ///
    /// When it does not tell.
    pub async fn username(&self) -> anyhow::Result<String> {
        let name = people::whoami(self.cluster.as_ref()).await;
        name.context("cannot ask the API server who you are")?
            .filter(|name| !name.is_empty())
            .context("the API server does not say who you are; try: kubectl auth whoami")
    }

    /// Sets or removes an annotation, unless nothing is to be sent.
    ///
    /// # Errors
    ///
    /// When the API server refuses, in its own words.
    pub async fn annotate(
        &self,
        object: &ObjectRef,
        live: &Value,
        mark: (&str, Option<&str>),
    ) -> anyhow::Result<()> {
        self.annotate_all(object, live, &[mark]).await
    }

    /// Does the same to several annotations in one write.
    ///
    /// # Errors
    ///
    /// When the API server refuses, in its own words.
    pub async fn annotate_all(
        &self,
        object: &ObjectRef,
        live: &Value,
        marks: &[(&str, Option<&str>)],
    ) -> anyhow::Result<()> {
        if self.dry_run == DryRun::Client {
            return Ok(());
        }
        let written = people::annotate(self.writer.as_ref(), object, live, marks).await;
        written
            .map(drop)
            .with_context(|| format!("cannot annotate {}", titled(object)))
    }

    /// Returns who writes, where more than reading is asked.
    #[must_use]
    pub fn writer(&self) -> &dyn Cluster {
        self.writer.as_ref()
    }

    /// Asks `answered` again and again until it has an answer, and returns that; `None` when the time
    /// is over.
    ///
    /// # Errors
    ///
    /// What `answered` fails with.
    pub async fn wait<T>(
        &self,
        limit: SignedDuration,
        mut answered: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Option<T>> {
        let end = self.cluster.now().saturating_add(limit);
        let end = end.unwrap_or(Timestamp::MAX);
        loop {
            if let Some(answer) = answered().await? {
                return Ok(Some(answer));
            }
            let now = self.cluster.now();
            if now >= end {
                return Ok(None);
            }
            let next = now.saturating_add(PACE).unwrap_or(Timestamp::MAX);
            self.cluster.sleep_until(next.min(end)).await;
        }
    }
}

/// Returns `TYPE/name` as kubectl prints it.
#[must_use]
pub fn titled(object: &ObjectRef) -> String {
    let kind = object.kind.kind.to_lowercase();
    if object.kind.group.is_empty() {
        format!("{kind}/{}", object.name)
    } else {
        format!("{kind}.{}/{}", object.kind.group, object.name)
    }
}

/// Kubectl's own words for an object that is not there.
fn missing(object: &ObjectRef) -> String {
    let ObjectRef {
        kind,
        namespace,
        name,
    } = object;
    let dot = if kind.group.is_empty() { "" } else { "." };
    let place = if kind.namespaced {
        format!(" in namespace {namespace:?}")
    } else {
        String::new()
    };
    format!(
        "{}{dot}{} {name:?} not found{place}",
        kind.plural, kind.group
    )
}

/// Checks what people give as a reason: annotations have room for a sentence.
///
/// # Errors
///
/// When it is empty, or longer than that.
pub fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say why, in a few words".to_owned());
    }
    if text.chars().count() > REASON_MAX {
        return Err(format!("must be {REASON_MAX} characters at most"));
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_names_them() {
        let deployment = ObjectRef::new(kinds::DEPLOYMENTS, "shop", "checkout");
        assert_eq!(titled(&deployment), "deployment.apps/checkout");
        assert_eq!(
            missing(&deployment),
            "deployments.apps \"checkout\" not found in namespace \"shop\""
        );
        let namespace = ObjectRef::new(kinds::NAMESPACES, "", "shop");
        assert_eq!(titled(&namespace), "namespace/shop");
        assert_eq!(missing(&namespace), "namespaces \"shop\" not found");
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason(" it leaks "), Ok("it leaks".to_owned()));
        assert!(reason(&"x".repeat(256)).is_ok());
        for wrong in ["", "  ", "two\nlines", &"x".repeat(257)] {
            assert!(reason(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_time_limit_has_bounds() {
        assert_eq!(limit("90s"), Ok(SignedDuration::from_secs(90)));
        assert!(limit("24h").is_ok());
        for wrong in ["0s", "25h", "soon", ""] {
            assert!(limit(wrong).is_err(), "{wrong:?}");
        }
    }
}
