//! Prints what the node simulator costs for a number of idle pods.

use std::time::Duration;

use astern_testbed::{
    bed::{Bed, Options},
    load::measure_idle_pods,
};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Prints what the node simulator costs for a number of idle pods")]
struct Arguments {
    #[arg(long, default_value_t = 5000)]
    pods: usize,
    /// Gives every pod a liveness and a readiness probe, each every 10 seconds.
    #[arg(long)]
    probes: bool,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let bed = Bed::start(Options {
        label: "load".to_owned(),
        ..Options::default()
    })
    .await?;
    let span = Duration::from_secs(arguments.seconds);
    let idle = measure_idle_pods(&bed, arguments.pods, arguments.probes, span).await?;
    println!(
        "{} idle pods: {:.3} cores, {} MiB, started in {:.0} s",
        idle.pods,
        idle.cores,
        idle.memory_bytes >> 20,
        idle.started_in.as_secs_f64()
    );
    bed.stop().await
}
