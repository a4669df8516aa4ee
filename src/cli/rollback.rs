//! `kubectl astern rollback`: asks Astern to go back, and follows what it does.
//!
//! Creates the short Rollback that can be created by hand as well. The same holds, approvals and
//! record apply as where Astern found the fault itself.

use anyhow::Context as _;
use jiff::SignedDuration;
use serde_json::Value;

use super::answer::{complete, state};
use super::connection::Connection;
use super::session::{self, Change, DryRun, Session, titled};
use super::{output, revisions, target};
use crate::act::people::{self, Asking};
use crate::api::record::text;
use crate::decide::State;
use crate::port::{ObjectRef, kinds};

const EXAMPLES: &str = "\
Examples:
  # Back to the newest revision that is known to have worked
  kubectl astern rollback deployment/checkout --reason 'customers cannot pay'

  # Back to revision 5
  kubectl astern rollback deployment/checkout --to 5 --reason 'the new prices are wrong'

  # Could we? Astern looks at everything that it looks at before a rollback, and does nothing
  kubectl astern rollback deployment/checkout --reason 'before the sale' --dry-run=server

  # From a pipeline that does not stay
  kubectl astern rollback deployment/checkout --reason 'smoke test failed' --wait=false";

/// Goes back to a revision that is known to have worked.
///
/// Creates a Rollback, and follows it to its end. Ends with an error where the rollback does. With
/// --dry-run=server Astern itself says what it would do; the record of that stays.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The Deployment, as deployment/NAME.
    #[arg(required = true, num_args = 1..=2, value_name = "deployment/NAME")]
    target: Vec<String>,

    /// The revision, by its number or the beginning of its digest; the newest that is known to have
    /// worked if not given.
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,

    /// Why, for people.
    #[arg(long, value_parser = session::reason)]
    reason: String,

    #[command(flatten)]
    change: Change,

    /// Follow it to its end.
    #[arg(
        long,
        action = clap::ArgAction::Set,
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    wait: bool,

    /// How long to follow it at most, such as 30s or 5m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = session::limit)]
    timeout: SignedDuration,

    #[command(flatten)]
    connection: Connection,
}

/// Asks, and follows.
///
/// # Errors
///
/// When it cannot be asked, or does not end well.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The server's dry run is Astern's own, so that the request has to be stored.
    let session = Session::open(&arguments.connection, DryRun::None).await?;
    let dry_run = arguments.change.dry_run;
    let deployment = target::deployment(&arguments.target)?;
    let live = session.deployment(&deployment).await?;
    let known = revisions::of(&session, &live).await?;
    let to = match &arguments.to {
        Some(wanted) => Some(revisions::resolve(&known, wanted)?),
        None => None,
    };
    let username = session.username().await?;
    let asking = Asking {
        namespace: &session.namespace,
        deployment: &deployment,
        to: to.map(|known| known.record.revision.0.as_str()),
        reason: &arguments.reason,
        requested_by: &username,
        dry_run: dry_run == DryRun::Server,
        drill: false,
    };
    if dry_run == DryRun::Client {
        return output::print(&format!(
            "rollback.astern.dev of deployment/{deployment} created{}\n",
            dry_run.suffix()
        ));
    }
    let created = people::ask_for_rollback(session.writer(), &asking).await;
    let created = created.context("cannot create a rollback")?;
    let name = text(&created, "/metadata/name").context("the API server gave it no name")?;
    let object = session.object(kinds::ROLLBACKS, name);
    let suffix = dry_run.suffix();
    output::print(&format!("{} created{suffix}\n", titled(&object)))?;
    if !arguments.wait {
        return Ok(());
    }
    judged(follow(&session, &object, arguments.timeout).await?)
}

/// Prints each change of a Rollback, until it is over.
///
/// # Errors
///
/// When it is not over in time, or cannot be read.
pub async fn follow(
    session: &Session,
    object: &ObjectRef,
    limit: SignedDuration,
) -> anyhow::Result<State> {
    let mut told = String::new();
    let end = session.wait(limit, async || {
        let rollback = session.get(object).await?;
        let news = news(&rollback);
        if !news.is_empty() && news != told {
            output::print(&news)?;
            told = news;
        }
        Ok(state(&rollback).filter(|state| !state.is_open()))
    });
    match end.await? {
        Some(state) => Ok(state),
        None if told.is_empty() => anyhow::bail!(
            "Astern has not answered within {limit:#}; see that the operator runs and works in this namespace"
        ),
        None => anyhow::bail!(
            "not over within {limit:#}; look again: kubectl -n {} describe rollback {}",
            object.namespace,
            object.name
        ),
    }
}

/// Returns where it stands, as a line; empty while nobody has answered.
fn news(rollback: &Value) -> String {
    let Some(complete) = complete(rollback) else {
        return String::new();
    };
    let part = |path| text(complete, path).unwrap_or_default();
    format!("{} - {}\n", part("/reason"), part("/message"))
}

fn judged(state: State) -> anyhow::Result<()> {
    match state {
        State::Observed | State::Recovered => Ok(()),
        State::AwaitingApproval
        | State::RollingBack
        | State::Verifying
        | State::NotRecovered
        | State::Rejected
        | State::Released
        | State::Superseded
        | State::Failed => anyhow::bail!("the rollback ended as {}", state.name()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_rollback_that_worked_ends_well() {
        for state in State::ALL {
            let good = matches!(state, State::Recovered | State::Observed);
            assert_eq!(judged(state).is_ok(), good, "{state:?}");
        }
    }

    #[test]
    fn each_state_is_told_in_a_line() {
        let rollback = json!({"status": {"conditions": [
            {"type": "Complete", "reason": "RollingBack", "message": "going back"}]}});
        assert_eq!(news(&rollback), "RollingBack - going back\n");
        assert_eq!(news(&json!({"status": {}})), "");
    }
}
