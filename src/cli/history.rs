//! `kubectl astern history`: the recorded revisions of a Deployment, and what is known about each.

use jiff::Timestamp;
use serde::Serialize;

use super::connection::Connection;
use super::output::{Cell, Colour, Colours, Format};
use super::revisions::{self, Known};
use super::session::{DryRun, Session};
use super::{output, target};
use crate::api::record::revision;
use crate::decide::{Enforcement, Verdict};

const EXAMPLES: &str = "\
Examples:
  # Which revisions are known to work?
  kubectl astern history deployment/checkout

  # With all images, and the triggers that each has passed
  kubectl astern history deployment/checkout -o wide

  # For a program
  kubectl astern history deployment/checkout -o json";

/// Shows the recorded revisions of a Deployment, and what is known about each.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The Deployment, as deployment/NAME.
    #[arg(required = true, num_args = 1..=2, value_name = "deployment/NAME")]
    target: Vec<String>,

    /// How to print it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,

    /// Print without colours.
    #[arg(long)]
    no_color: bool,

    #[command(flatten)]
    connection: Connection,
}

/// Prints the history.
///
/// # Errors
///
/// When the Deployment or its records cannot be read.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, DryRun::None).await?;
    let name = target::deployment(&arguments.target)?;
    let live = session.deployment(&name).await?;
    let known = revisions::of(&session, &live).await?;
    let rows: Vec<Row> = known.iter().map(row).collect();
    let document = output::document(&rows, arguments.output)?;
    let text = document.unwrap_or_else(|| {
        let colours = Colours::of_stdout(arguments.no_color);
        let wide = arguments.output == Format::Wide;
        printed(&rows, wide, (session.cluster.now(), colours))
    });
    output::print(&text)
}

/// A revision, as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    revision: i64,
    digest: String,
    runs: bool,
    verdict: &'static str,
    proof: Option<&'static str>,
    quarantine: Option<&'static str>,
    since: Timestamp,
    rolled_out: Option<Timestamp>,
    passed: Vec<String>,
    /// The last word of a person about it.
    mark: Option<String>,
    images: Vec<String>,
}

fn row(known: &Known) -> Row {
    let record = &known.record;
    let memory = &record.memory;
    Row {
        revision: memory.number,
        digest: record.revision.0.clone(),
        runs: known.runs,
        verdict: revision::verdict_name(memory.verdict),
        proof: memory.proof.map(revision::proof_name),
        quarantine: memory.quarantine.map(Enforcement::name),
        since: memory.since,
        rolled_out: memory.rolled_out,
        passed: memory.passed.iter().cloned().collect(),
        mark: memory.mark.clone(),
        images: record.images.clone(),
    }
}

const NONE: &str = "<none>";

fn printed(rows: &[Row], wide: bool, (now, colours): (Timestamp, Colours)) -> String {
    if rows.is_empty() {
        return "No revision is recorded; Astern records those of Deployments that a RollbackPolicy covers.\n".to_owned();
    }
    let mut titles = vec![
        "REVISION",
        "DIGEST",
        "RUNS",
        "VERDICT",
        "PROOF",
        "QUARANTINE",
        "IMAGES",
        "AGE",
    ];
    if wide {
        titles.extend(["PASSED", "MARK"]);
    }
    let cells = |row: &Row| {
        let short = row.digest.get(..8).unwrap_or(&row.digest);
        let mut cells: Vec<Cell> = [
            row.revision.to_string(),
            short.to_owned(),
            if row.runs { "yes" } else { "no" }.to_owned(),
            row.verdict.to_owned(),
            row.proof.unwrap_or(NONE).to_owned(),
            row.quarantine.unwrap_or(NONE).to_owned(),
            images(row, wide),
            output::age(Some(row.since), now),
        ]
        .into_iter()
        .map(Cell::plain)
        .collect();
        if let Some(verdict) = cells.get_mut(3) {
            verdict.colour = colour(row.verdict);
        }
        if wide {
            let passed = row.passed.join(",");
            let passed = if passed.is_empty() { NONE } else { &passed };
            cells.push(Cell::plain(passed));
            cells.push(Cell::plain(row.mark.as_deref().unwrap_or(NONE)));
        }
        cells
    };
    let rows: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
    output::table(&titles, &rows, colours)
}

/// The part behind the last slash tells people enough, unless they want it all.
fn images(row: &Row, wide: bool) -> String {
    let shown: Vec<&str> = row
        .images
        .iter()
        .map(|image| match image.rsplit_once('/') {
            Some((_, last)) if !wide => last,
            Some(_) | None => image.as_str(),
        })
        .collect();
    if shown.is_empty() {
        NONE.to_owned()
    } else {
        shown.join(",")
    }
}

fn colour(verdict: &str) -> Colour {
    let is = |known| verdict == revision::verdict_name(known);
    if is(Verdict::Good) {
        Colour::Good
    } else if is(Verdict::Bad) || is(Verdict::Withdrawn) {
        Colour::Bad
    } else {
        Colour::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(revision: i64) -> Row {
        Row {
            revision,
            digest: "0a1b2c3d4e5f".to_owned(),
            runs: true,
            verdict: "Good",
            proof: Some("Full"),
            quarantine: None,
            since: "2026-11-23T05:00:00Z".parse().expect("a time"),
            rolled_out: None,
            passed: vec!["server-errors".to_owned()],
            mark: None,
            images: vec!["registry.example/shop/checkout:v1".to_owned()],
        }
    }

    #[test]
    fn the_table_tells_what_one_can_go_back_to() {
        let bad = Row {
            runs: false,
            verdict: "Bad",
            proof: None,
            quarantine: Some("Deny"),
            images: Vec::new(),
            ..row(8)
        };
        let now = "2026-11-23T08:00:00Z".parse().expect("a time");
        let rows = [bad, row(7)];
        assert_eq!(
            printed(&rows, false, (now, Colours::none())),
            "REVISION   DIGEST     RUNS   VERDICT   PROOF    QUARANTINE   IMAGES        AGE\n\
             8          0a1b2c3d   no     Bad       <none>   Deny         <none>        3h\n\
             7          0a1b2c3d   yes    Good      Full     <none>       checkout:v1   3h\n"
        );
        let wide = printed(&rows, true, (now, Colours::none()));
        assert!(wide.contains("registry.example/shop/checkout:v1"), "{wide}");
        assert!(wide.contains("server-errors"), "{wide}");
        let none = printed(&[], false, (now, Colours::none()));
        assert!(none.contains("RollbackPolicy"), "{none}");
    }
}
