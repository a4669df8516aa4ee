//! `kubectl astern`: the command line, with the manners of kubectl.
//!
//! One file per verb. Only errors and progress go to stderr; what was asked for goes to stdout, also
//! when that is nothing. The exit code is 0 when the question was answered, whatever the answer is,
//! and 1 when it could not be.

pub mod backtest;
pub mod connection;
pub mod output;
pub mod progress;
pub mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    match answer(arguments.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Version => output::print(&format!("kubectl-astern {}\n", env!("CARGO_PKG_VERSION"))),
        Verb::Backtest(arguments) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(backtest::run(&arguments))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Arguments::command().debug_assert();
    }
}
