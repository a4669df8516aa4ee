//! Measures the time from the first bad answer of a release to the decision to take it back.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use astern_testbed::{
    behaviour::parse_duration,
    bench::{
        self,
        detection::{self, DetectionOptions},
    },
};
use clap::Parser;

#[derive(Parser)]
#[command(
    about = "Measures the time from the first bad answer of a release to the decision to take it back"
)]
struct Arguments {
    /// The operator, built with --release; the program `astern` beside this one if not given.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Deployments that get the bad release at once.
    #[arg(long, default_value_t = 20)]
    workloads: usize,
    /// The trigger's `for`, in whole seconds.
    #[arg(long = "for", default_value = "2m", value_parser = parse_duration)]
    sustained: Duration,
    /// Where the figures go; target/bench/detection.json if not given.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Fails when a promise is broken.
    #[arg(long)]
    check: bool,
    /// Leaves logs and data behind.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = DetectionOptions {
        operator: arguments.operator,
        workloads: arguments.workloads,
        sustained: arguments.sustained,
        keep: arguments.keep,
    };
    let measured = detection::measure(&options);
    let output = arguments
        .output
        .unwrap_or_else(|| bench::usual_output("detection"));
    Box::pin(bench::run(
        measured,
        &detection::promises(),
        (&output, arguments.check),
    ))
    .await
}
