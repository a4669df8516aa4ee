//! `kubectl astern drill`: could we go back right now? And with `--live`: how long does it take, there
//! and back?
//!
//! A live drill is two rollbacks that a person asks for: the same holds, approvals and record apply.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::connection::Connection;
use super::output::{self, Cell, Colours};
use super::revisions::{self, Known};
use super::rollback::follow;
use super::session::{self, DryRun, Session, titled};
use super::target;
use crate::act::people::{self, Asking};
use crate::api::record::{text, time};
use crate::decide::{State, Verdict};
use crate::port::{ObjectRef, kinds};

const EXAMPLES: &str = "\
Examples:
  # Could we go back right now? Nothing is changed
  kubectl astern drill deployment/checkout

  # Really go back and forth, and measure both
  kubectl astern drill deployment/checkout --live

  # To a certain revision
  kubectl astern drill deployment/checkout --live --to 5";

/// Tries whether a rollback would work.
///
/// Astern looks at everything that it looks at before a rollback, and says what it would do. With --live
/// it goes back, verifies the recovery, comes back to the revision that runs now, verifies that too, and
/// prints how long both took. Users are served by the older revision meanwhile. Neither revision is
/// taken for a bad one.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The Deployment, as deployment/NAME.
    #[arg(required = true, num_args = 1..=2, value_name = "deployment/NAME")]
    target: Vec<String>,

    /// Really go back and forth.
    #[arg(long)]
    live: bool,

    /// The revision to go back to, by its number or the beginning of its digest; the newest other one that
    /// is known to have worked if not given.
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,

    /// How long each way may take at most, such as 30s or 5m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = session::limit)]
    timeout: SignedDuration,

    #[command(flatten)]
    connection: Connection,
}

/// Drills.
///
/// # Errors
///
/// When it cannot be asked for, or a way does not end well. What is left to do is said.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, DryRun::None).await?;
    let deployment = target::deployment(&arguments.target)?;
    let live = session.deployment(&deployment).await?;
    let known = revisions::of(&session, &live).await?;
    let username = session.username().await?;
    let course = Course {
        session: &session,
        deployment: &deployment,
        username: &username,
        limit: arguments.timeout,
    };
    if !arguments.live {
        let to = arguments.to.as_deref();
        let to = to.map(|to| revisions::resolve(&known, to)).transpose()?;
        let (_, state) = course.go(to, Way::Look).await?;
        anyhow::ensure!(state == State::Observed, "a rollback would not work");
        return output::print("A rollback would work.\n");
    }
    let Ends { runs, back } = ends(&known, arguments.to.as_deref())?;
    let (gone, state) = course.go(Some(back), Way::Back).await?;
    if !is_written(&gone) {
        anyhow::bail!("nothing was changed: the drill ended as {}", state.name());
    }
    // Whatever came of it: what ran before is where a drill ends.
    let (come, last) = course.go(Some(runs), Way::Forth).await.with_context(|| {
        format!(
            "the way forth is not done; deploy revision {} again, or: kubectl astern rollback deployment/{deployment} --to {} --reason 'end the drill'",
            runs.record.memory.number, runs.record.memory.number
        )
    })?;
    output::print(&table(&[(Way::Back, &gone), (Way::Forth, &come)]))?;
    anyhow::ensure!(
        (state, last) == (State::Recovered, State::Recovered),
        "the way back ended as {}, the way forth as {}",
        state.name(),
        last.name()
    );
    Ok(())
}

/// Between which revisions the drill goes.
#[derive(Debug)]
struct Ends<'a> {
    runs: &'a Known,
    back: &'a Known,
}

fn ends<'a>(known: &'a [Known], to: Option<&str>) -> anyhow::Result<Ends<'a>> {
    let runs = known.iter().find(|known| known.runs);
    let runs = runs.context(
        "Astern has not recorded the revision that runs; see that a RollbackPolicy covers the Deployment",
    )?;
    let works = |known: &Known| known.record.memory.verdict == Verdict::Good;
    let number = runs.record.memory.number;
    anyhow::ensure!(
        works(runs),
        "revision {number}, which runs, is not known to work yet; drill when its probation is over"
    );
    let back = match to {
        Some(wanted) => revisions::resolve(known, wanted)?,
        None => known
            .iter()
            .find(|known| !known.runs && works(known))
            .context(
                "there is no other revision that is known to have worked, so there is nothing to go back to",
            )?,
    };
    anyhow::ensure!(!back.runs, "revision {number} runs already");
    anyhow::ensure!(
        works(back),
        "revision {} is not known to have worked; a drill would serve it to users",
        back.record.memory.number
    );
    Ok(Ends { runs, back })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Look,
    Back,
    Forth,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Back => "back",
            Self::Forth => "forth",
        }
    }
}

struct Course<'a> {
    session: &'a Session,
    deployment: &'a str,
    username: &'a str,
    limit: SignedDuration,
}

impl Course<'_> {
    /// Asks for one way, follows it to its end, and returns its record.
    async fn go(&self, to: Option<&Known>, way: Way) -> anyhow::Result<(Value, State)> {
        let asking = Asking {
            namespace: &self.session.namespace,
            deployment: self.deployment,
            to: to.map(|to| to.record.revision.0.as_str()),
            reason: &format!("drill, {}", way.name()),
            requested_by: self.username,
            dry_run: way == Way::Look,
            drill: way != Way::Look,
        };
        let created = people::ask_for_rollback(self.session.writer(), &asking).await;
        let created = created.context("cannot create a rollback")?;
        let name = text(&created, "/metadata/name").context("the API server gave it no name")?;
        let object: ObjectRef = self.session.object(kinds::ROLLBACKS, name);
        output::print(&format!("{} created ({})\n", titled(&object), way.name()))?;
        let state = follow(self.session, &object, self.limit).await?;
        Ok((self.session.get(&object).await?, state))
    }
}

/// Whether the template was written: only then there is a way forth.
fn is_written(rollback: &Value) -> bool {
    at(rollback, "patchedTime").is_some()
}

fn at(rollback: &Value, moment: &str) -> Option<Timestamp> {
    time(rollback, &format!("/status/timings/{moment}"))
}

fn table(ways: &[(Way, &Value)]) -> String {
    let rows: Vec<Vec<Cell>> = ways.iter().map(|(way, record)| row(*way, record)).collect();
    let titles = [
        "WAY",
        "FROM",
        "TO",
        "UNTIL PATCHED",
        "UNTIL VERIFIED",
        "STATE",
    ];
    output::table(&titles, &rows, Colours::none())
}

fn row(way: Way, record: &Value) -> Vec<Cell> {
    let begin = at(record, "proposedTime");
    let until = |moment| match (begin, at(record, moment)) {
        (Some(begin), Some(end)) => {
            let milliseconds = end.duration_since(begin).as_millis();
            #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
            let seconds = milliseconds as f64 / 1000.0;
            format!("{seconds:.1}s")
        }
        (Some(_), None) | (None, _) => "-".to_owned(),
    };
    let revision = |side| {
        let number = record.pointer(&format!("/status/{side}/revision"));
        number.map_or_else(|| "-".to_owned(), Value::to_string)
    };
    let state = super::answer::state(record).map_or("-", State::name);
    [
        way.name().to_owned(),
        revision("from"),
        revision("to"),
        until("patchedTime"),
        until("endedTime"),
        state.to_owned(),
    ]
    .map(Cell::plain)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::record::revision;
    use crate::api::{names, template};

    fn known(number: i64, verdict: &str, runs: bool) -> Known {
        let template = json!({"spec": {"containers": [{"image": format!("v{number}")}]}});
        let object = json!({
            "metadata": {"name": format!("checkout-{number}"), "namespace": "shop", "resourceVersion": "1",
                "labels": {names::DEPLOYMENT_UID: "5eed0007", names::VERDICT: verdict},
                "annotations": {names::NUMBER: number.to_string(), names::SINCE: "2026-11-23T05:00:00Z",
                    names::DIGEST: template::revision(&template).0},
                "ownerReferences": [{"kind": "Deployment", "name": "checkout",
                    "uid": "5eed0007", "controller": true}]},
            "data": {"template": template},
        });
        let record = revision::read(&object).expect("a record");
        Known { record, runs }
    }

    #[track_caller]
    fn check(known: &[Known], to: Option<&str>, expected: Result<i64, &str>) {
        match (ends(known, to), expected) {
            (Ok(ends), Ok(number)) => assert_eq!(ends.back.record.memory.number, number),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_drill_goes_between_revisions_that_work() {
        let (old, bad, now) = (
            known(5, "Good", false),
            known(7, "Bad", false),
            known(9, "Good", true),
        );
        let all = [now.clone(), bad.clone(), old];
        check(&all, None, Ok(5));
        check(&all, Some("5"), Ok(5));
        check(&all, Some("7"), Err("not known to have worked"));
        check(&all, Some("9"), Err("runs already"));
        check(&[now, bad], None, Err("nothing to go back to"));
        check(&[known(9, "Unproven", true)], None, Err("probation"));
        check(&[], None, Err("RollbackPolicy"));
    }

    #[test]
    fn both_ways_are_measured() {
        let record = json!({"status": {
            "from": {"revision": 9}, "to": {"revision": 5},
            "timings": {"proposedTime": "2026-11-23T05:00:00Z",
                "patchedTime": "2026-11-23T05:00:00.25Z", "endedTime": "2026-11-23T05:00:42Z"},
            "conditions": [{"type": "Complete", "reason": "Recovered", "status": "True"}],
        }});
        assert!(is_written(&record));
        assert!(!is_written(&json!({"status": {"timings": {}}})));
        assert_eq!(
            table(&[(Way::Back, &record)]),
            "WAY    FROM   TO   UNTIL PATCHED   UNTIL VERIFIED   STATE\n\
             back   9      5    0.2s            42.0s            Recovered\n"
        );
    }
}
