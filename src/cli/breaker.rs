//! `kubectl astern breaker`: whether everything has to be approved, and ending that.
//!
//! The breaker lives on Astern's Lease. A reset takes effect with the next rollback that Astern wants.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::connection::Connection;
use super::output::{self, Format};
use super::session::{self, Change, DryRun, Session};
use crate::api::names;
use crate::api::record::annotation;
use crate::port::{ObjectRef, kinds};

const EXAMPLES: &str = "\
Examples:
  # Does Astern act by itself, or has too much gone bad at once?
  kubectl astern breaker status

  # The cause is found: let Astern act by itself again
  kubectl astern breaker reset --reason 'the message broker is back'";

/// Shows and resets the breaker of the cluster.
///
/// It opens when many Deployments go bad at once; every rollback has to be approved then, until
/// somebody resets it. Resetting needs the right to patch Astern's Lease.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Says whether the breaker is open, since when and why.
    Status(Box<Status>),
    /// Closes the breaker.
    Reset(Box<Reset>),
}

#[derive(Clone, Debug, clap::Args)]
struct Status {
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,

    #[command(flatten)]
    lease: Lease,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Debug, clap::Args)]
struct Reset {
    /// Why, for people.
    #[arg(long, value_parser = session::reason)]
    reason: String,

    #[command(flatten)]
    lease: Lease,

    #[command(flatten)]
    change: Change,

    #[command(flatten)]
    connection: Connection,
}

/// Where Astern's Lease is.
#[derive(Clone, Debug, clap::Args)]
struct Lease {
    /// Namespace that Astern runs in.
    #[arg(long, value_name = "NAMESPACE", default_value = "astern-system")]
    astern_namespace: String,

    /// Name of Astern's Lease, which is that of the Helm release.
    #[arg(long, value_name = "NAME", default_value = "astern")]
    lease_name: String,
}

/// Does what was asked.
///
/// # Errors
///
/// When the Lease cannot be read, or not be written.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.verb {
        Verb::Status(arguments) => status(arguments).await,
        Verb::Reset(arguments) => reset(arguments).await,
    }
}

impl Lease {
    fn object(&self) -> ObjectRef {
        ObjectRef::new(kinds::LEASES, &self.astern_namespace, &self.lease_name)
    }
}

/// What the Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Breaker {
    open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Who wants it closed, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<String>,
    /// When it was closed the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<String>,
}

fn read(lease: &Value) -> Breaker {
    let closed = annotation(lease, names::BREAKER_CLOSED).map(str::to_owned);
    let Some(value) = annotation(lease, names::BREAKER) else {
        return Breaker {
            closed,
            ..Breaker::default()
        };
    };
    let (since, why) = value.split_once(' ').unwrap_or((value, ""));
    let reset = annotation(lease, names::BREAKER_RESET)
        .and_then(|reset| reset.strip_prefix(since)?.strip_prefix(':'));
    Breaker {
        open: true,
        since: Some(since.to_owned()),
        why: Some(why.to_owned()),
        reset: reset.map(str::to_owned),
        closed,
    }
}

async fn status(arguments: &Status) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, DryRun::None).await?;
    let lease = session.get(&arguments.lease.object()).await?;
    let breaker = read(&lease);
    let document = output::document(&breaker, arguments.output)?;
    output::print(&document.unwrap_or_else(|| printed(&breaker, session.cluster.now())))
}

fn printed(breaker: &Breaker, now: Timestamp) -> String {
    let ago = |time: &Option<String>| {
        let time = time.as_deref().and_then(|time| time.parse().ok());
        output::age(time, now)
    };
    if !breaker.open {
        return match &breaker.closed {
            Some(_) => format!(
                "The breaker is closed; it was reset {} ago.\n",
                ago(&breaker.closed)
            ),
            None => "The breaker is closed.\n".to_owned(),
        };
    }
    let why = breaker.why.as_deref().unwrap_or_default();
    let since = ago(&breaker.since);
    match &breaker.reset {
        Some(reset) => format!(
            "The breaker opened {since} ago: {why}\nIt closes with the next rollback that Astern wants; reset by {reset}\n"
        ),
        None => format!(
            "The breaker opened {since} ago: {why}\nEvery rollback has to be approved. Look for what the workloads share; then: kubectl astern breaker reset --reason WHY\n"
        ),
    }
}

async fn reset(arguments: &Reset) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, arguments.change.dry_run).await?;
    let object = arguments.lease.object();
    let lease = session.get(&object).await?;
    let Some(since) = read(&lease).since else {
        return output::print("The breaker is closed.\n");
    };
    let username = session.username().await?;
    let value = format!("{since}:{username}: {}", arguments.reason);
    session
        .annotate(&object, &lease, (names::BREAKER_RESET, Some(&value)))
        .await?;
    let suffix = session.dry_run.suffix();
    output::print(&format!("breaker reset{suffix}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(annotations: &Value, expected: &[&str]) {
        let lease = json!({"metadata": {"annotations": annotations}});
        let now = "2026-11-23T08:00:00Z".parse().expect("a time");
        let text = printed(&read(&lease), now);
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[test]
    fn the_state_of_the_breaker_is_told_with_what_to_do() {
        let opened = "2026-11-23T05:00:00.5Z";
        let open = format!("{opened} 11 automatic rollbacks within 10m");
        check(&json!({}), &["is closed."]);
        check(
            &json!({names::BREAKER_CLOSED: "2026-11-23T07:00:00Z"}),
            &["is closed", "60m ago"],
        );
        check(
            &json!({names::BREAKER: open}),
            &["179m ago", "11 automatic", "breaker reset --reason"],
        );
        let reset = format!("{opened}:alice: it was the broker");
        check(
            &json!({names::BREAKER: open, names::BREAKER_RESET: reset}),
            &["closes with the next", "alice: it was the broker"],
        );
        // An answer to an earlier opening changes nothing.
        check(
            &json!({names::BREAKER: open, names::BREAKER_RESET: "2026-11-22T05:00:00Z:alice: then"}),
            &["has to be approved"],
        );
    }
}
