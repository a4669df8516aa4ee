//! `make demo`: a scenario with the operator in it, where a person can watch.
//!
//! The scenario says what happens; this shows it, and measures whether the operator kept its
//! promises. What is measured comes from clients and from the API server, not from the operator.

mod audit;
mod clients;
mod console;
mod rollbacks;
mod story;
mod summary;
mod watching;
mod workload;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

pub(crate) use self::{
    rollbacks::rollbacks,
    summary::{Incident, Release, incident},
};

use anyhow::{Context as _, ensure};
use tokio::time::Instant;

use self::{
    console::{Console, Mood, Speaker},
    story::Story,
    summary::Summary,
    workload::Workload,
};
use crate::{
    bed::{Bed, Options},
    scenario::Scenario,
    tools::Tool,
};

const ENDS: &str = "\nends everything";

/// What the demo was asked for.
#[derive(Clone, Debug, Default)]
pub struct DemoOptions {
    /// The usual one if there is none.
    pub scenario: Option<PathBuf>,
    /// The program to show; the one beside this program if there is none.
    pub operator: Option<PathBuf>,
    /// Keeps everything running at the end.
    pub keep: bool,
    /// Writes lines that stay, without colours, even to a terminal.
    pub plain: bool,
}

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every promise was kept.
    Kept,
    /// At least one was not.
    Broken,
    /// Somebody asked to end it.
    Interrupted,
}

/// Shows the scenario. Whatever way it ends, nothing of it is left running.
///
/// # Errors
///
/// When something does not start, or a step does not happen; the message says what was seen.
pub async fn run(
    options: &DemoOptions,
    asked_to_end: impl Future<Output = ()>,
) -> anyhow::Result<Ending> {
    let console = Console::new(options.plain);
    let operator = operator(options.operator.as_deref())?;
    let began = Instant::now();
    tokio::pin!(asked_to_end);
    // What an earlier run wrote must not pass for this one's.
    fs::remove_file(summary_file()).ok();
    console.say(
        Speaker::Bed,
        Mood::Quiet,
        "starts etcd, kube-apiserver, kube-controller-manager, kube-scheduler and Prometheus",
    );
    // Read twice: what comes before the bed is what the bed is made of.
    let scenario = read(options, &operator, "http://127.0.0.1:9090")?;
    let start = Bed::start(Options {
        label: scenario.name.clone(),
        prometheus: true,
        scrape_interval: scenario.scrape_interval,
        audit: true,
        ..Options::default()
    });
    let bed = tokio::select! {
        bed = start => bed?,
        () = &mut asked_to_end => {
            console.text(Mood::Quiet, ENDS);
            return Ok(Ending::Interrupted);
        }
    };
    let url = bed
        .prometheus()
        .map(|prometheus| prometheus.url().to_owned());
    let scenario = read(options, &operator, &url.unwrap_or_default())?;
    let resized = {
        let console = console.clone();
        tokio::spawn(async move { follow_window(&console).await })
    };
    let mut story = Story::new(&bed, &scenario, console.clone(), began);
    let outcome = tokio::select! {
        outcome = story.tell() => outcome,
        () = &mut asked_to_end => {
            story.fall_silent().await;
            console.text(Mood::Quiet, ENDS);
            story.end().await;
            bed.stop().await?;
            return Ok(Ending::Interrupted);
        }
    };
    if !options.keep || outcome.is_err() {
        story.fall_silent().await;
    }
    let ending = outcome.and_then(|summary| report(&console, &summary));
    if ending.is_err() {
        story.explain();
    }
    if options.keep && ending.is_ok() {
        console.text(Mood::Plain, &look_around(&bed, &scenario));
        asked_to_end.await;
        story.fall_silent().await;
        console.text(Mood::Quiet, ENDS);
    }
    resized.abort();
    story.end().await;
    bed.stop().await?;
    ending
}

/// Returns the operator that was asked for, or else the one beside this program.
pub(crate) fn operator(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match asked {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .context("cannot find this program")?
            .with_file_name("astern"),
    };
    ensure!(
        path.is_file(),
        "there is no operator at {}; build it with `cargo build --bin astern`, or name it with \
         --operator",
        path.display()
    );
    fs::canonicalize(&path).with_context(|| format!("cannot open {}", path.display()))
}

fn read(options: &DemoOptions, operator: &Path, prometheus: &str) -> anyhow::Result<Scenario> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/demo.yaml");
    let variables = variables(operator, prometheus);
    Scenario::read(options.scenario.as_ref().unwrap_or(&usual), &variables)
}

/// Returns what scenarios with the operator in them do not know by themselves.
pub(crate) fn variables(operator: &Path, prometheus: &str) -> BTreeMap<String, String> {
    [
        ("ASTERN_BINARY", operator.display().to_string()),
        // One workspace, one version.
        ("ASTERN_VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        ("PROMETHEUS_URL", prometheus.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Shows and writes the summary.
fn report(console: &Console, summary: &Summary) -> anyhow::Result<Ending> {
    console.title("summary");
    for incident in &summary.incidents {
        console.text(Mood::Plain, &format!("{}\n", incident.lines().join("\n")));
    }
    let memory = summary
        .operator_memory_mib
        .map_or_else(String::new, |memory| {
            format!("; the operator took {memory:.1} MiB at most")
        });
    console.text(
        Mood::Plain,
        &format!(
            "{} requests, {} failed; {:.0} s in all{memory}",
            summary.requests, summary.failed_requests, summary.seconds
        ),
    );
    let file = summary_file();
    let text = serde_json::to_string_pretty(summary)?;
    file.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&file, format!("{text}\n")))
        .with_context(|| format!("cannot write {}", file.display()))?;
    console.text(Mood::Quiet, "The same in numbers: target/demo/summary.json");
    if summary.broken.is_empty() {
        console.text(Mood::Good, "Every promise was kept.");
        return Ok(Ending::Kept);
    }
    for line in &summary.broken {
        console.text(Mood::Bad, &format!("NOT KEPT  {line}"));
    }
    Ok(Ending::Broken)
}

fn summary_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/demo/summary.json")
}

fn look_around(bed: &Bed, scenario: &Scenario) -> String {
    let (namespace, deployment) = Workload::of(scenario)
        .map(|workload| (workload.namespace, workload.name))
        .unwrap_or_default();
    let kubectl = bed.tools().path(Tool::Kubectl).display();
    let prometheus = bed.prometheus().map_or("", |prometheus| prometheus.url());
    format!(
        "\nEverything keeps running. In another terminal:\n\n  \
         export KUBECONFIG={}\n  \
         alias kubectl={kubectl}\n  \
         kubectl get rollbackpolicies,rollbacks -A      # or, shorter: get rbp,rbk\n  \
         kubectl -n {namespace} describe rollbacks\n  \
         kubectl -n {namespace} describe deployment {deployment}\n  \
         kubectl -n {namespace} get controllerrevisions -L astern.dev/verdict,astern.dev/proof\n\n\
         Prometheus answers at {prometheus}, logs are in {}.\n\
         Ctrl-C ends everything and leaves nothing behind.",
        bed.kubeconfig().display(),
        bed.directory().display()
    )
}

async fn follow_window(console: &Console) {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut changes) = signal(SignalKind::window_change()) else {
        return;
    };
    while changes.recv().await.is_some() {
        console.resized();
    }
}
