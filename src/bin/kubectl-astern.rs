//! The kubectl plugin.

use std::process::ExitCode;

use astern::cli;

fn main() -> ExitCode {
    cli::run()
}
