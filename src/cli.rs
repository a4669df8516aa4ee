//! `kubectl astern`: one verb so far.

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
    /// Prints the version of the plugin.
    Version,
}

/// Does what the command line asks for.
pub fn run() {
    match Arguments::parse().verb {
        Verb::Version => println!("kubectl-astern {}", env!("CARGO_PKG_VERSION")),
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
