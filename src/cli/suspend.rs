//! `kubectl astern suspend` and `resume`: the kill switch of a Deployment or a namespace.
//!
//! While it is on, nothing is written to the workloads, whoever agrees; judging goes on.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::connection::Connection;
use super::session::{self, Change, Session, titled};
use super::{output, target};
use crate::api::names;
use crate::api::parse::duration;
use crate::api::record::annotation;
use crate::port::{ObjectRef, kinds};

const SUSPEND_EXAMPLES: &str = "\
Examples:
  # No rollbacks of this Deployment for two hours
  kubectl astern suspend deployment/checkout --for 2h --reason 'load test'

  # None in the whole namespace
  kubectl astern suspend --namespace-wide -n shop --for 8h --reason 'move to another database'";

const RESUME_EXAMPLES: &str = "\
Examples:
  # Astern may act on this Deployment again
  kubectl astern resume deployment/checkout

  # In the whole namespace
  kubectl astern resume --namespace-wide -n shop";

/// What the switch is on.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// The Deployment, as deployment/NAME.
    #[arg(
        num_args = 1..=2,
        value_name = "deployment/NAME",
        required_unless_present = "namespace_wide"
    )]
    target: Vec<String>,

    /// All Deployments of the namespace.
    #[arg(long, conflicts_with = "target")]
    namespace_wide: bool,
}

/// Keeps Astern from acting, for a time.
///
/// Releases are judged as before, and what is wrong is told, but nothing is rolled back, whoever
/// approves. Needs the right to annotate the Deployment, or the Namespace.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SUSPEND_EXAMPLES)]
pub struct Suspend {
    #[command(flatten)]
    place: Place,

    /// How long, such as 2h.
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: SignedDuration,

    /// Why, for people.
    #[arg(long, value_parser = session::reason)]
    reason: String,

    #[command(flatten)]
    change: Change,

    #[command(flatten)]
    connection: Connection,
}

/// Lets Astern act again, before the time is over.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = RESUME_EXAMPLES)]
pub struct Resume {
    #[command(flatten)]
    place: Place,

    /// Why, for people; it is shown and not kept.
    #[arg(long, value_parser = session::reason)]
    reason: Option<String>,

    #[command(flatten)]
    change: Change,

    #[command(flatten)]
    connection: Connection,
}

/// A month. Who wants longer opts out.
const LENGTH_MAX: SignedDuration = SignedDuration::from_hours(31 * 24);

fn length(text: &str) -> Result<SignedDuration, String> {
    let length = duration::parse(text).map_err(|problem| problem.to_string())?;
    if length >= SignedDuration::from_secs(1) && length <= LENGTH_MAX {
        Ok(length)
    } else {
        Err(format!(
            "must be between 1s and {}, such as 2h; to opt out for good, annotate with {}=false",
            duration::format(LENGTH_MAX),
            names::ENABLED
        ))
    }
}

impl Place {
    async fn read(&self, session: &Session) -> anyhow::Result<(ObjectRef, Value)> {
        let object = if self.namespace_wide {
            session.object(kinds::NAMESPACES, &session.namespace)
        } else {
            let name = target::deployment(&self.target)?;
            session.object(kinds::DEPLOYMENTS, &name)
        };
        let live = session.get(&object).await?;
        Ok((object, live))
    }
}

/// Switches it on.
///
/// # Errors
///
/// When the object cannot be read, or not be annotated.
pub async fn suspend(arguments: &Suspend) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, arguments.change.dry_run).await?;
    let (object, live) = arguments.place.read(&session).await?;
    let username = session.username().await?;
    let until = until(session.cluster.now(), arguments.length);
    let value = format!("{until} {} ({username})", arguments.reason);
    session
        .annotate(&object, &live, (names::SUSPEND, Some(&value)))
        .await?;
    output::print(&format!(
        "{} suspended until {until}{}\n",
        titled(&object),
        session.dry_run.suffix()
    ))
}

fn until(now: Timestamp, length: SignedDuration) -> String {
    let until = now.saturating_add(length).unwrap_or(Timestamp::MAX);
    until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Switches it off.
///
/// # Errors
///
/// When the object cannot be read, or not be annotated.
pub async fn resume(arguments: &Resume) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, arguments.change.dry_run).await?;
    let (object, live) = arguments.place.read(&session).await?;
    if annotation(&live, names::SUSPEND).is_none() {
        return output::print(&format!("{} is not suspended\n", titled(&object)));
    }
    session
        .annotate(&object, &live, (names::SUSPEND, None))
        .await?;
    let why = arguments.reason.as_deref();
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    output::print(&format!(
        "{} resumed{}{why}\n",
        titled(&object),
        session.dry_run.suffix()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::record::answers::suspension;

    #[test]
    fn the_switch_goes_off_by_itself_within_a_month() {
        assert_eq!(length("2h"), Ok(SignedDuration::from_hours(2)));
        assert!(length("744h").is_ok());
        for wrong in ["745h", "0s", "500ms", "forever", ""] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn astern_reads_what_is_written() {
        let now: Timestamp = "2026-11-23T05:00:00.75Z".parse().expect("a time");
        let value = format!(
            "{} load test (alice)",
            until(now, SignedDuration::from_hours(2))
        );
        let live = json!({"metadata": {"annotations": {names::SUSPEND: value}}});
        let suspension = suspension(&live, "here").expect("it holds");
        let end = "2026-11-23T07:00:00Z".parse().ok();
        assert_eq!(
            (suspension.until, suspension.reason.as_str()),
            (end, "load test (alice)")
        );
    }
}
