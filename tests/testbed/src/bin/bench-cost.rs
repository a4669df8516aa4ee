//! Measures what the operator costs when hundreds of workloads are judged at once.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use astern_testbed::{
    behaviour::parse_duration,
    bench::{
        self,
        cost::{self, CostOptions},
    },
};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures what the operator costs when hundreds of workloads are judged at once")]
struct Arguments {
    /// The operator, built with --release; the program `astern` beside this one if not given.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Deployments, each with a RollbackPolicy.
    #[arg(long, default_value_t = 500)]
    workloads: usize,
    /// Pods of each.
    #[arg(long, default_value_t = 10)]
    pods: usize,
    #[arg(long, default_value_t = 25)]
    namespaces: usize,
    #[arg(long, default_value = "15s", value_parser = parse_duration)]
    scrape_interval: Duration,
    /// How often the operator may ask for a metric; half a scrape interval if not given.
    #[arg(long, value_parser = parse_duration)]
    tick: Option<Duration>,
    /// How long to measure.
    #[arg(long, default_value = "120s", value_parser = parse_duration)]
    span: Duration,
    /// Requests per second and pod that the metrics tell of.
    #[arg(long, default_value_t = 1.0)]
    requests_per_second: f64,
    /// Where the figures go; target/bench/cost.json if not given.
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
    let options = CostOptions {
        operator: arguments.operator,
        workloads: arguments.workloads,
        pods_each: arguments.pods,
        namespaces: arguments.namespaces,
        scrape_interval: arguments.scrape_interval,
        tick: arguments.tick,
        span: arguments.span,
        requests_per_second: arguments.requests_per_second,
        keep: arguments.keep,
    };
    let measured = cost::measure(&options);
    let output = arguments
        .output
        .unwrap_or_else(|| bench::usual_output("cost"));
    Box::pin(bench::run(
        measured,
        &cost::promises(),
        (&output, arguments.check),
    ))
    .await
}
