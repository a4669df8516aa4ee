//! The kubectl plugin.

use astern::cli;

fn main() {
    cli::run();
}
