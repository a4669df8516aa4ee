//! Puts the figures of the benchmarks of judging into one file, and says whether all promises are kept.

use std::path::PathBuf;
use std::process::ExitCode;

use astern_testbed::bench::{self, Figures, Promise, cost, detection};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Puts the figures of the benchmarks of judging into one file")]
struct Arguments {
    /// Where the figures go; target/bench/judging.json if not given.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// What the simulated rollouts must show. `docs/judging.md` says what each figure means.
fn quality() -> [Promise; 4] {
    let most = |figure, most, unit| Promise { figure, most, unit };
    [
        most("false_rollbacks_max", 0.0, "rollbacks"),
        most("median_delay_10rps_50pct_s", 15.0, "s"),
        most("cells_slower_than_peers", 0.0, "cells"),
        most("bound_ratio_max", 1.5, "times the bound"),
    ]
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut figures = Figures::default();
    for name in ["judging-quality", "cost", "detection"] {
        figures.take_in(Figures::read(&bench::usual_output(name))?);
    }
    let promises: Vec<Promise> = quality()
        .into_iter()
        .chain(cost::promises())
        .chain(detection::promises())
        .collect();
    let output = arguments
        .output
        .unwrap_or_else(|| bench::usual_output("judging"));
    let kept = bench::report(&figures, &promises, &output)?;
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
