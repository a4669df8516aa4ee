//! `kubectl astern approve` and `reject`: a person's answer to a proposal.
//!
//! Writes the annotation that the proposal asks for, with the code and the name filled in. The API
//! server checks that the name is the writer's own.

use anyhow::Context as _;
use serde_json::Value;

use super::connection::Connection;
use super::output;
use super::session::{self, Change, DryRun, Patience, Session, titled};
use crate::api::names;
use crate::api::record::text;
use crate::api::render::COMPLETE;
use crate::decide::State;
use crate::port::{ObjectRef, kinds};

const EXAMPLES: &str = "\
Examples:
  # What awaits an answer?
  kubectl get rollbacks -l astern.dev/awaiting-approval=true

  # Yes, go back
  kubectl astern approve checkout-3efda223-5eed0007-1

  # In an emergency, alone; needs the verb break-glass
  kubectl astern approve checkout-3efda223-5eed0007-1 --break-glass --reason 'nobody else answers'

  # No, the new revision goes on
  kubectl astern reject checkout-3efda223-5eed0007-1";

/// The flags of an approval.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Approving {
    #[command(flatten)]
    arguments: Arguments,

    /// Approve for everybody who was to be asked. It is told loudly.
    #[arg(long, requires = "reason")]
    break_glass: bool,

    /// Why, with --break-glass.
    #[arg(long, requires = "break_glass", value_parser = session::reason)]
    reason: Option<String>,
}

/// The flags of both answers.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The proposal, as NAME or rollback/NAME.
    #[arg(value_name = "ROLLBACK")]
    rollback: String,

    #[command(flatten)]
    change: Change,

    #[command(flatten)]
    patience: Patience,

    #[command(flatten)]
    connection: Connection,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Approve,
    /// Yes, alone.
    BreakGlass,
    Reject,
}

impl Answer {
    const fn key(self) -> &'static str {
        match self {
            Self::Approve => names::APPROVE,
            Self::BreakGlass => names::BREAK_GLASS,
            Self::Reject => names::REJECT,
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::BreakGlass => "approved alone",
            Self::Reject => "rejected",
        }
    }
}

/// Answers, and waits until Astern has taken it in.
///
/// # Errors
///
/// When nothing awaits an answer, the API server refuses, or nobody takes it in.
pub async fn run(arguments: &Arguments, answer: Answer) -> anyhow::Result<()> {
    give(arguments, answer, &[]).await
}

/// Approves as [`run`] does, or alone.
///
/// # Errors
///
/// Those of [`run`].
pub async fn approve(approving: &Approving) -> anyhow::Result<()> {
    let reason = approving.reason.as_deref();
    let reason = reason.filter(|_| approving.break_glass);
    let answer = if reason.is_some() {
        Answer::BreakGlass
    } else {
        Answer::Approve
    };
    let beside = [(names::BREAK_GLASS_REASON, reason)];
    let beside = &beside[..usize::from(reason.is_some())];
    give(&approving.arguments, answer, beside).await
}

/// Writes the annotation of `answer`, and those `beside` it.
async fn give(
    arguments: &Arguments,
    answer: Answer,
    beside: &[(&str, Option<&str>)],
) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection, arguments.change.dry_run).await?;
    let object = session.object(kinds::ROLLBACKS, &name(&arguments.rollback)?);
    let live = with_code(&session, &object, &arguments.patience).await?;
    let code = text(&live, "/status/code").context("the proposal has no code")?;
    let username = session.username().await?;
    let value = format!("{}/{code}:{username}", object.name);
    let marks = [&[(answer.key(), Some(value.as_str()))], beside].concat();
    session.annotate_all(&object, &live, &marks).await?;
    let suffix = session.dry_run.suffix();
    let now = if arguments.patience.wait && session.dry_run == DryRun::None {
        taken_in(&session, &object, (answer, &username), &arguments.patience).await?
    } else {
        String::new()
    };
    output::print(&format!(
        "{} {}{suffix}{now}\n",
        titled(&object),
        answer.done()
    ))
}

/// Returns the name in `NAME` or `rollback/NAME`.
fn name(text: &str) -> anyhow::Result<String> {
    const KINDS: [&str; 4] = ["rollback", "rollbacks", "rbk", "rollbacks.astern.dev"];
    let name = match text.split_once('/') {
        Some((kind, name)) if KINDS.contains(&kind.to_lowercase().as_str()) => name,
        None => text,
        Some((kind, _)) => anyhow::bail!("{kind:?} is no Rollback; use rollback/NAME"),
    };
    if name.is_empty() || name.contains('/') {
        anyhow::bail!("{text:?} is no name of a Rollback; use rollback/NAME");
    }
    Ok(name.to_owned())
}

/// Reads the proposal, and waits for its code, which follows some seconds later.
async fn with_code(
    session: &Session,
    object: &ObjectRef,
    patience: &Patience,
) -> anyhow::Result<Value> {
    let read = async || {
        let live = session.get(object).await?;
        if let Some(state) = state(&live)
            && state != State::AwaitingApproval
        {
            anyhow::bail!(
                "{} awaits no approval: it is {}",
                titled(object),
                state.name()
            );
        }
        Ok(text(&live, "/status/code").is_some().then_some(live))
    };
    let found = if patience.wait {
        session.wait(patience.timeout, read).await?
    } else {
        read().await?
    };
    found.with_context(|| {
        format!(
            "{} has no code yet, without which no answer counts; describe it to see what it waits for",
            titled(object)
        )
    })
}

/// Returns where a Rollback stands.
pub(super) fn state(rollback: &Value) -> Option<State> {
    let reason = text(complete(rollback)?, "/reason")?;
    State::ALL.into_iter().find(|state| state.name() == reason)
}

/// Returns the condition that sums a Rollback up.
pub(super) fn complete(rollback: &Value) -> Option<&Value> {
    let conditions = rollback.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some(COMPLETE))
}

async fn taken_in(
    session: &Session,
    object: &ObjectRef,
    (answer, username): (Answer, &str),
    patience: &Patience,
) -> anyhow::Result<String> {
    let seen = session.wait(patience.timeout, async || {
        Ok(outcome(&session.get(object).await?, answer, username))
    });
    let seen = seen.await?;
    seen.with_context(|| {
        format!(
            "written, but Astern has not taken it in within {:#}; see that the operator runs, and that you are a person: answers of ServiceAccounts do not count",
            patience.timeout
        )
    })
}

/// Returns what became of the answer, once Astern has seen it.
fn outcome(rollback: &Value, answer: Answer, username: &str) -> Option<String> {
    let state = state(rollback)?;
    let approvals = rollback.pointer("/status/approvals");
    let approvals = approvals
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mine = approvals
        .iter()
        .any(|approval| text(approval, "/username") == Some(username));
    let counted = match answer {
        Answer::Approve | Answer::BreakGlass => mine,
        Answer::Reject => state == State::Rejected,
    };
    if state != State::AwaitingApproval {
        let why = if counted {
            ""
        } else {
            ", and not by your answer"
        };
        return Some(format!("; it is {} now{why}", state.name()));
    }
    let needed = rollback
        .pointer("/status/terms/approvals")
        .and_then(Value::as_u64);
    counted.then(|| format!("; {} of {} approvals", approvals.len(), needed.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollback_is_named_with_or_without_its_kind() {
        for text in ["checkout-1", "rollback/checkout-1", "rbk/checkout-1"] {
            assert_eq!(name(text).expect(text), "checkout-1");
        }
        for text in ["", "rollback/", "deployment/checkout", "rollback/a/b"] {
            let error = name(text).expect_err(text).to_string();
            assert!(error.contains("rollback/NAME"), "{error}");
        }
    }

    fn rollback(state: &str, approvals: &[&str]) -> Value {
        let approvals: Vec<Value> = approvals
            .iter()
            .map(|name| json!({"username": name, "time": "2026-11-23T05:00:00Z"}))
            .collect();
        json!({"status": {"approvals": approvals, "terms": {"approvals": 2},
            "conditions": [{"type": "Complete", "reason": state}]}})
    }

    #[track_caller]
    fn check(rollback: &Value, answer: Answer, expected: Option<&str>) {
        let found = outcome(rollback, answer, "alice");
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn an_answer_counts_when_astern_says_so() {
        use Answer::{Approve, Reject};
        let awaiting = "AwaitingApproval";
        check(&rollback(awaiting, &[]), Approve, None);
        check(&rollback(awaiting, &["bob"]), Approve, None);
        check(
            &rollback(awaiting, &["alice"]),
            Approve,
            Some("; 1 of 2 approvals"),
        );
        check(
            &rollback("RollingBack", &["bob", "alice"]),
            Approve,
            Some("; it is RollingBack now"),
        );
        check(&rollback(awaiting, &["alice"]), Reject, None);
        check(
            &rollback("Rejected", &[]),
            Reject,
            Some("; it is Rejected now"),
        );
        check(
            &rollback("Superseded", &[]),
            Approve,
            Some("; it is Superseded now, and not by your answer"),
        );
    }
}
