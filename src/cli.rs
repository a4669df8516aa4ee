//! `kubectl astern`: the command line, with the manners of kubectl.
//!
//! One file per verb. Only errors and progress go to stderr; what was asked for goes to stdout, also
//! when that is nothing. The exit code is 0 when what was asked for is done, whatever the answer is,
//! and 1 when it is not. `check` ends with 1 also when it has found something, as `kubectl diff` does.

pub mod answer;
pub mod backtest;
pub mod breaker;
pub mod check;
pub mod config;
pub mod connection;
pub mod drill;
pub mod history;
pub mod mark;
pub mod output;
pub mod progress;
pub mod quarantine;
pub mod revisions;
pub mod rollback;
pub mod session;
pub mod suspend;
pub mod target;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::answer::Answer;

/// Looks after rollbacks from the command line.
#[derive(Debug, Parser)]
#[command(name = "kubectl astern", bin_name = "kubectl astern", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Backtest(Box<backtest::Arguments>),
    History(Box<history::Arguments>),
    Rollback(Box<rollback::Arguments>),
    /// Approves a proposed rollback. Needs the verb `approve` on it.
    Approve(Box<answer::Approving>),
    /// Rejects a proposed rollback: the new revision goes on. Needs the verb `approve` on it.
    Reject(Box<answer::Arguments>),
    Mark(Box<mark::Arguments>),
    Quarantine(Box<quarantine::Arguments>),
    Suspend(Box<suspend::Suspend>),
    Resume(Box<suspend::Resume>),
    Breaker(Box<breaker::Arguments>),
    Config(Box<config::Arguments>),
    Drill(Box<drill::Arguments>),
    Check(Box<check::Arguments>),
    /// Prints the version of the plugin.
    Version,
}

/// Does what the command line asks for, and says how that went.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            // Nobody is left to be told when the terminal is gone.
            drop(problem.print());
            // Kubectl ends with 1 where clap would with 2; help that was asked for is no error.
            return if problem.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match carry_out(&arguments.verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the command line with all its verbs, for pages that are generated from it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

fn carry_out(verb: &Verb) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(done(verb))
}

async fn done(verb: &Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Version => output::print(&format!("kubectl-astern {}\n", env!("CARGO_PKG_VERSION"))),
        Verb::Backtest(arguments) => backtest::run(arguments).await,
        Verb::History(arguments) => history::run(arguments).await,
        Verb::Rollback(arguments) => rollback::run(arguments).await,
        Verb::Approve(approving) => answer::approve(approving).await,
        Verb::Reject(arguments) => answer::run(arguments, Answer::Reject).await,
        Verb::Mark(arguments) => mark::run(arguments).await,
        Verb::Quarantine(arguments) => quarantine::run(arguments).await,
        Verb::Suspend(arguments) => suspend::suspend(arguments).await,
        Verb::Resume(arguments) => suspend::resume(arguments).await,
        Verb::Breaker(arguments) => breaker::run(arguments).await,
        Verb::Config(arguments) => config::run(arguments).await,
        Verb::Drill(arguments) => drill::run(arguments).await,
        Verb::Check(arguments) => return check::run(arguments).await,
    }
    .map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        command().debug_assert();
    }
}
