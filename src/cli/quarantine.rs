//! `kubectl astern quarantine`: which revisions should not be deployed again, and letting them go.

use std::cmp::Reverse;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;

use super::connection::Connection;
use super::mark::{Saying, say};
use super::output::{Cell, Colours, Format};
use super::session::{self, Change, DryRun, Patience, Session, titled};
use super::{output, target};
use crate::api::names;
use crate::api::record::revision;
use crate::decide::MarkWord;
use crate::port::{Selection, kinds};

const EXAMPLES: &str = "\
Examples:
  # What is in quarantine in this namespace?
  kubectl astern quarantine list

  # In all namespaces
  kubectl astern quarantine list -A

  # The cause is gone, so revision 8 may be deployed again
  kubectl astern quarantine lift deployment/checkout --revision 8 --reason 'the database has the index now'";

/// Shows the revisions that should not be deployed again, and lifts that.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Shows what is in quarantine, and what admission does about it.
    List(List),
    /// Ends the quarantine of a revision. Needs the right to annotate the Deployment.
    Lift(Box<Lift>),
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    /// All namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// How to print it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Debug, clap::Args)]
struct Lift {
    /// The Deployment, as deployment/NAME.
    #[arg(required = true, num_args = 1..=2, value_name = "deployment/NAME")]
    target: Vec<String>,

    /// The revision, by its number or the beginning of its digest.
    #[arg(long, value_name = "REVISION")]
    revision: String,

    /// Why, for people.
    #[arg(long, value_parser = session::reason)]
    reason: String,

    #[command(flatten)]
    change: Change,

    #[command(flatten)]
    patience: Patience,

    #[command(flatten)]
    connection: Connection,
}

/// Does what was asked.
///
/// # Errors
///
/// When the API server cannot be asked, or refuses.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.verb {
        Verb::List(arguments) => list(arguments).await,
        Verb::Lift(arguments) => lift(arguments).await,
    }
}

async fn lift(arguments: &Lift) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, arguments.change.dry_run).await?;
    let saying = Saying {
        deployment: target::deployment(&arguments.target)?,
        revision: &arguments.revision,
        word: MarkWord::Lifted,
        reason: &arguments.reason,
    };
    let said = say(&session, &saying).await?;
    said.taken_in(&session, &arguments.patience).await?;
    output::print(&format!(
        "{} quarantine of revision {} lifted{}\n",
        titled(&session.object(kinds::DEPLOYMENTS, &saying.deployment)),
        said.number,
        session.dry_run.suffix()
    ))
}

/// A revision in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    deployment: String,
    revision: i64,
    digest: String,
    verdict: &'static str,
    enforcement: &'static str,
    since: Option<Timestamp>,
    images: Vec<String>,
}

async fn list(arguments: &List) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, DryRun::None).await?;
    let selection = Selection {
        namespace: (!arguments.all_namespaces).then(|| session.namespace.clone()),
        labels: format!("{}=true", names::QUARANTINE),
    };
    let objects = session
        .cluster
        .list(kinds::CONTROLLER_REVISIONS, &selection);
    let objects = objects.await.context("cannot list controllerrevisions")?;
    let mut rows: Vec<Row> = objects.iter().filter_map(row).collect();
    rows.sort_by_key(|row| {
        let place = (row.namespace.clone(), row.deployment.clone());
        (place, Reverse(row.revision))
    });
    let document = output::document(&rows, arguments.output)?;
    let text = document.unwrap_or_else(|| {
        let wide = arguments.output == Format::Wide;
        printed(
            &rows,
            (arguments.all_namespaces, wide),
            session.cluster.now(),
        )
    });
    output::print(&text)
}

fn row(object: &serde_json::Value) -> Option<Row> {
    let record = revision::read(object)?;
    Some(Row {
        enforcement: record.memory.quarantine?.name(),
        namespace: record.namespace,
        deployment: record.deployment,
        revision: record.memory.number,
        digest: record.revision.0,
        verdict: revision::verdict_name(record.memory.verdict),
        since: record.memory.convicted,
        images: record.images,
    })
}

fn printed(rows: &[Row], (all, wide): (bool, bool), now: Timestamp) -> String {
    if rows.is_empty() {
        return "No revision is in quarantine.\n".to_owned();
    }
    let mut titles = vec!["DEPLOYMENT", "REVISION", "DIGEST", "VERDICT", "ENFORCEMENT"];
    if all {
        titles.insert(0, "NAMESPACE");
    }
    if wide {
        titles.push("IMAGES");
    }
    titles.push("AGE");
    let cells = |row: &Row| {
        let short = row.digest.get(..8).unwrap_or(&row.digest);
        let mut cells = vec![
            row.deployment.clone(),
            row.revision.to_string(),
            short.to_owned(),
            row.verdict.to_owned(),
            row.enforcement.to_owned(),
        ];
        if all {
            cells.insert(0, row.namespace.clone());
        }
        if wide {
            cells.push(row.images.join(","));
        }
        cells.push(output::age(row.since, now));
        cells.into_iter().map(Cell::plain).collect()
    };
    let rows: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
    output::table(&titles, &rows, Colours::none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_is_refused_since_when() {
        let row = Row {
            namespace: "shop".to_owned(),
            deployment: "checkout".to_owned(),
            revision: 8,
            digest: "0a1b2c3d4e5f".to_owned(),
            verdict: "Bad",
            enforcement: "Deny",
            since: Some("2026-11-23T05:00:00Z".parse().expect("a time")),
            images: vec!["checkout:v8".to_owned()],
        };
        let now = "2026-11-23T08:00:00Z".parse().expect("a time");
        let rows = [row];
        assert_eq!(
            printed(&rows, (true, false), now),
            "NAMESPACE   DEPLOYMENT   REVISION   DIGEST     VERDICT   ENFORCEMENT   AGE\n\
             shop        checkout     8          0a1b2c3d   Bad       Deny          3h\n"
        );
        assert!(printed(&rows, (false, true), now).contains("checkout:v8"));
        assert_eq!(
            printed(&[], (false, false), now),
            "No revision is in quarantine.\n"
        );
    }
}
