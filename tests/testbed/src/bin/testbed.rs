//! Starts a test bed by hand.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use astern_testbed::{
    bed::{Bed, Options},
    demo::{self, DemoOptions, Ending},
    signals::{INTERRUPTED, asked_to_end},
    tools::{Tool, Tools},
};
use clap::{Parser, Subcommand};

/// Real Kubernetes and real Prometheus on this machine, without containers.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Finds or builds every tool and says where it is.
    Tools,
    /// Starts a bed and keeps it until Ctrl-C.
    Up {
        /// Also runs Prometheus.
        #[arg(long)]
        prometheus: bool,
        /// Seconds between two scrapes.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
        scrape_interval_seconds: u64,
        /// Leaves logs and data behind.
        #[arg(long)]
        keep: bool,
    },
    /// Shows bad releases being rolled back.
    Demo {
        /// What happens; the usual story if not given.
        #[arg(long)]
        scenario: Option<PathBuf>,
        /// Keeps everything running at the end, until Ctrl-C.
        #[arg(long)]
        keep: bool,
        /// Writes plain lines even to a terminal.
        #[arg(long)]
        plain: bool,
        /// The operator to show; the program `astern` beside this one if not given.
        #[arg(long)]
        operator: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Verb::Tools => tools().await?,
        Verb::Demo {
            scenario,
            keep,
            plain,
            operator,
        } => {
            let options = DemoOptions {
                scenario,
                operator,
                keep,
                plain,
            };
            return demo(&options).await;
        }
        Verb::Up {
            prometheus,
            scrape_interval_seconds,
            keep,
        } => {
            up(Options {
                label: "up".to_owned(),
                prometheus,
                scrape_interval: Duration::from_secs(scrape_interval_seconds),
                keep_directory: keep,
                ..Options::default()
            })
            .await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn demo(options: &DemoOptions) -> anyhow::Result<ExitCode> {
    // Before signals are caught, so that Ctrl-C ends a long build.
    Tools::ready().await?;
    Ok(match demo::run(options, asked_to_end()?).await {
        Ok(Ending::Kept) => ExitCode::SUCCESS,
        Ok(Ending::Broken) => ExitCode::FAILURE,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    })
}

async fn tools() -> anyhow::Result<()> {
    let tools = Tools::these(Tool::ALL).await?;
    for &tool in Tool::ALL {
        println!("{:24} {}", tool.program(), tools.path(tool).display());
    }
    Ok(())
}

async fn up(options: Options) -> anyhow::Result<()> {
    // Before signals are caught, so that Ctrl-C ends a long build.
    Tools::ready().await?;
    let asked_to_end = asked_to_end()?;
    tokio::pin!(asked_to_end);
    let bed = tokio::select! {
        bed = Bed::start(options) => bed?,
        () = &mut asked_to_end => return Ok(()),
    };
    println!("directory   {}", bed.directory().display());
    println!("kubeconfig  {}", bed.kubeconfig().display());
    println!("api server  {}", bed.api_server());
    if let Some(prometheus) = bed.prometheus() {
        println!("prometheus  {}", prometheus.url());
    }
    println!(
        "\nLook around:  {} --kubeconfig {} get all -A\nEnd:          Ctrl-C",
        bed.tools().path(Tool::Kubectl).display(),
        bed.kubeconfig().display(),
    );
    asked_to_end.await;
    bed.stop().await
}
