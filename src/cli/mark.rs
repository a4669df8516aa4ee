//! `kubectl astern mark`: what a person knows about a revision.
//!
//! Writes the annotation that can be typed by hand as well; Astern takes it in.

use clap::ValueEnum as _;
use jiff::SignedDuration;
use serde_json::Value;

use super::connection::Connection;
use super::revisions::{self, Known};
use super::session::{self, Change, DryRun, Patience, Session, titled};
use super::{output, target};
use crate::api::names;
use crate::decide::MarkWord;
use crate::port::kinds;

const EXAMPLES: &str = "\
Examples:
  # Revision 7 works: Astern may go back to it
  kubectl astern mark deployment/checkout Good --revision 7 --reason 'served all of last week'

  # Nobody should run this one again, whatever the metrics say
  kubectl astern mark deployment/checkout Withdrawn --revision 3efda223 --reason 'loses orders'

  # What would be written?
  kubectl astern mark deployment/checkout Bad --revision 8 --reason 'leaks' --dry-run=client";

/// Says what is known about a revision: Good, Bad or Withdrawn.
///
/// Good makes it one to go back to. Bad and Withdrawn take that away, and put it in quarantine as the
/// policy says. Needs the right to annotate the Deployment.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The Deployment, as deployment/NAME, and the word: Good, Bad or Withdrawn.
    #[arg(required = true, num_args = 2..=3, value_name = "deployment/NAME WORD")]
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

/// What a person may call a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Word {
    Good,
    Bad,
    Withdrawn,
}

/// Writes the mark, and waits until Astern has taken it in.
///
/// # Errors
///
/// When there is no such revision, the API server refuses, or nobody takes it in.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (word, deployment) = spoken(&arguments.target)?;
    let session = Session::open(&arguments.connection, arguments.change.dry_run).await?;
    let saying = Saying {
        deployment: target::deployment(deployment)?,
        revision: &arguments.revision,
        word,
        reason: &arguments.reason,
    };
    let said = say(&session, &saying).await?;
    said.taken_in(&session, &arguments.patience).await?;
    output::print(&format!(
        "{} marked: revision {} is {}{}\n",
        titled(&session.object(kinds::DEPLOYMENTS, &saying.deployment)),
        said.number,
        word.name(),
        session.dry_run.suffix()
    ))
}

fn spoken(words: &[String]) -> anyhow::Result<(MarkWord, &[String])> {
    let Some((last, deployment)) = words.split_last() else {
        anyhow::bail!("name a Deployment and a word, as deployment/NAME Good");
    };
    let word = Word::from_str(last, false).map_err(|_| {
        anyhow::anyhow!("{last:?} is no word for a revision; use Good, Bad or Withdrawn")
    })?;
    let word = match word {
        Word::Good => MarkWord::Good,
        Word::Bad => MarkWord::Bad,
        Word::Withdrawn => MarkWord::Withdrawn,
    };
    Ok((word, deployment))
}

/// What is to be said about a revision.
pub struct Saying<'a> {
    pub deployment: String,
    pub revision: &'a str,
    pub word: MarkWord,
    pub reason: &'a str,
}

/// What was written about a revision.
pub struct Said {
    deployment: String,
    /// The `ControllerRevision` that remembers it.
    record: String,
    value: String,
    pub number: i64,
}

/// Writes what `saying` says onto the Deployment.
///
/// # Errors
///
/// When there is no such revision, or the API server refuses.
pub async fn say(session: &Session, saying: &Saying<'_>) -> anyhow::Result<Said> {
    let live = session.deployment(&saying.deployment).await?;
    let known = revisions::of(session, &live).await?;
    let one = revisions::resolve(&known, saying.revision)?;
    let username = session.username().await?;
    let prefix = revisions::prefix(&known, one);
    let value = value(one, (prefix, saying), &username, &now(session))?;
    let object = session.object(kinds::DEPLOYMENTS, &saying.deployment);
    session
        .annotate(&object, &live, (names::MARK, Some(&value)))
        .await?;
    Ok(Said {
        deployment: saying.deployment.clone(),
        record: one.record.name.clone(),
        value,
        number: one.record.memory.number,
    })
}

fn now(session: &Session) -> String {
    session
        .cluster
        .now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Returns the annotation. The same words count once, so who says them again says when.
fn value(
    one: &Known,
    (prefix, saying): (&str, &Saying<'_>),
    username: &str,
    now: &str,
) -> anyhow::Result<String> {
    if username.contains(": ") {
        anyhow::bail!("the username {username:?} cannot stand in a mark; write as somebody else");
    }
    let word = saying.word.name();
    let value = format!("{prefix}/{word}:{username}: {}", saying.reason);
    Ok(if one.record.memory.mark.as_ref() == Some(&value) {
        format!("{value} (again at {now})")
    } else {
        value
    })
}

impl Said {
    /// Waits until Astern has written it down, where that was asked and something was written.
    ///
    /// # Errors
    ///
    /// When it does not within the time.
    pub async fn taken_in(&self, session: &Session, patience: &Patience) -> anyhow::Result<()> {
        if !patience.wait || session.dry_run != DryRun::None {
            return Ok(());
        }
        let object = session.object(kinds::CONTROLLER_REVISIONS, &self.record);
        let answer = session.wait(patience.timeout, async || {
            let record = session.get(&object).await?;
            Ok(self.stands_on(&record).then_some(()))
        });
        match answer.await? {
            Some(()) => Ok(()),
            None => Err(self.late(patience.timeout)),
        }
    }

    fn stands_on(&self, record: &Value) -> bool {
        crate::api::record::annotation(record, names::MARK) == Some(self.value.as_str())
    }

    fn late(&self, limit: SignedDuration) -> anyhow::Error {
        anyhow::anyhow!(
            "written, but Astern has not taken it in within {limit:#}; see that the operator runs and that a RollbackPolicy covers deployment {:?}",
            self.deployment
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<MarkWord, &str>) {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let found = spoken(&words).map(|(word, _)| word);
        match expected {
            Ok(word) => assert_eq!(found.expect(text), word),
            Err(part) => {
                let error = found.expect_err(text).to_string();
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn the_last_word_is_the_verdict() {
        check("deployment/checkout Good", Ok(MarkWord::Good));
        check("deployment checkout Withdrawn", Ok(MarkWord::Withdrawn));
        check("deployment/checkout Bad", Ok(MarkWord::Bad));
        check("deployment/checkout good", Err("Good, Bad or Withdrawn"));
        check("deployment/checkout Lifted", Err("Good, Bad or Withdrawn"));
        check("", Err("deployment/NAME"));
    }
}
