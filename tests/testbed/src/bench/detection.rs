//! How long a bad release is out before the operator decides to take it back.
//!
//! Many workloads get one at the same time. Each has clients that send their requests to the pods of
//! the new release alone, at a fixed rate, beside those of the old release: what is said of ten
//! requests a second is meant of the new pods. The time runs from the first bad answer that a client
//! of the new release got to the decision as the operator recorded it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{Figures, Progress, Promise};
use crate::{
    bed::{Bed, Options},
    clock::now,
    demo::{self, Incident, Release},
    scenario::{Director, Scenario},
    traffic::Traffic,
};

const GOOD: &str = "v1";
const BAD: &str = "v2";
const IMAGE: &str = "registry.example/app";

/// Workloads that share a namespace.
const PER_NAMESPACE: usize = 5;

/// Two minutes of start-up, a minute until pods count as available, probation, and two scrapes.
const PROVEN: Duration = Duration::from_secs(300);
/// What a decision may take beyond the trigger's `for`: the start of the pods, scrapes, and a
/// machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a release that was decided about is looked at on, for the record.
const AFTERMATH: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Clone, Debug)]
pub struct DetectionOptions {
    /// The program to measure; the one beside this program if there is none.
    pub operator: Option<PathBuf>,
    pub workloads: usize,
    /// The trigger's `for`.
    pub sustained: Duration,
    /// Leaves logs and data behind.
    pub keep: bool,
}

/// Returns what is promised of 20 workloads at once.
#[must_use]
pub fn promises() -> [Promise; 3] {
    let most = |figure, most, unit| Promise { figure, most, unit };
    [
        most("testbed_detect_median_s", 10.0, "s"),
        most("testbed_detect_worst_s", 20.0, "s"),
        most("testbed_detect_missed", 0.0, "workloads"),
    ]
}

/// Sets everything up, deploys the bad release everywhere, and returns the figures.
///
/// # Errors
///
/// When an option is out of bounds, something does not start, or the good release is not known to be
/// good in time.
pub async fn measure(options: &DetectionOptions) -> anyhow::Result<Figures> {
    let workloads = options.workloads;
    // Each sends 40 requests a second, on a connection each, and two processors serve them all.
    ensure!(
        (1..=50).contains(&workloads),
        "{workloads} workloads are not between 1 and 50"
    );
    ensure!(
        options.sustained <= Duration::from_secs(600),
        "a `for` above ten minutes is not measured"
    );
    let operator = demo::operator(options.operator.as_deref())?;
    let progress = Progress::start();
    progress.say("starts a control plane and Prometheus");
    // Only the scrape interval is of interest here, and it depends on no variable.
    let interval = Workload::of(0)
        .scenario((&operator, "http://127.0.0.1:9090"), options.sustained)?
        .scrape_interval;
    let bed = Bed::start(Options {
        label: "bench-detection".to_owned(),
        prometheus: true,
        scrape_interval: interval,
        keep_directory: options.keep,
        ..Options::default()
    })
    .await?;
    let url = bed.prometheus().context("no Prometheus")?.url().to_owned();
    let scenario = scenario((&operator, &url), options)?;
    let director = Director::start(&bed, &scenario).await?;
    let bench = Bench {
        bed: &bed,
        director: &director,
        workloads: (0..workloads).map(Workload::of).collect(),
        progress,
    };
    let measured = bench.run(options).await;
    director.stop().await;
    bed.stop().await?;
    measured
}

/// One of the workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Workload {
    namespace: String,
    name: String,
}

impl Workload {
    fn of(number: usize) -> Self {
        Self {
            namespace: format!("shop-{}", number / PER_NAMESPACE),
            name: format!("app-{number}"),
        }
    }

    fn scenario(
        &self,
        (operator, prometheus): (&Path, &str),
        sustained: Duration,
    ) -> anyhow::Result<Scenario> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/bench-detection.yaml");
        let mut variables = demo::variables(operator, prometheus);
        let own = [
            ("NAMESPACE", self.namespace.clone()),
            ("WORKLOAD", self.name.clone()),
            ("FOR", format!("{}s", sustained.as_secs())),
        ];
        variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Scenario::read(&file, &variables)
    }
}

/// Puts the scenarios of all workloads together.
fn scenario(parts: (&Path, &str), options: &DetectionOptions) -> anyhow::Result<Scenario> {
    let mut whole = Workload::of(0).scenario(parts, options.sustained)?;
    for number in 1..options.workloads {
        let other = Workload::of(number).scenario(parts, options.sustained)?;
        whole.traffic.extend(other.traffic);
        for object in other.objects {
            // What they share.
            if !whole.objects.contains(&object) {
                whole.objects.push(object);
            }
        }
    }
    Ok(whole)
}

struct Bench<'a> {
    bed: &'a Bed,
    director: &'a Director<'a>,
    workloads: Vec<Workload>,
    progress: Progress,
}

impl Bench<'_> {
    async fn run(&self, options: &DetectionOptions) -> anyhow::Result<Figures> {
        let client = self.bed.client();
        let all = self.workloads.len();
        self.progress.say(&format!("{all} workloads are applied"));
        self.progress
            .until("releases are known to be good", (all, PROVEN), async || {
                proven(&client).await
            })
            .await?;
        let deployed = now();
        self.deploy(&client).await?;
        self.progress.say("the bad release is deployed everywhere");
        let limit = options.sustained + PATIENCE;
        let decided = self
            .progress
            .until("releases are decided about", (all, limit), async || {
                let incidents = self.incidents(deployed).await?;
                Ok(incidents.len())
            })
            .await;
        // What was not decided about is a figure, too.
        if let Err(error) = decided {
            self.progress.say(&format!("{error:#}"));
        }
        sleep(AFTERMATH).await;
        let incidents = self.incidents(deployed).await?;
        self.tell(&incidents);
        Ok(self.figures(&incidents, options))
    }

    /// Changes every Deployment as a deploy tool does, all within a moment.
    async fn deploy(&self, client: &Client) -> anyhow::Result<()> {
        let release = json!({"spec": {"template": {
            "metadata": {"labels": {"release": BAD}},
            "spec": {"containers": [{"name": "app", "image": format!("{IMAGE}:{BAD}")}]},
        }}});
        let parameters = PatchParams {
            field_manager: Some("kubectl-set".to_owned()),
            ..PatchParams::default()
        };
        futures::stream::iter(&self.workloads)
            .map(async |workload| {
                let api: Api<Deployment> = Api::namespaced(client.clone(), &workload.namespace);
                api.patch(&workload.name, &parameters, &Patch::Strategic(&release))
                    .await
                    .with_context(|| format!("failed to deploy {:?}", workload.name))?;
                anyhow::Ok(())
            })
            .buffer_unordered(self.workloads.len())
            .try_collect()
            .await
    }

    /// Returns the first decision about the bad release of each workload that there is one of.
    async fn incidents(&self, deployed: Timestamp) -> anyhow::Result<BTreeMap<&str, Incident>> {
        let release = Release {
            tag: BAD.to_owned(),
            from: deployed,
            to: Timestamp::MAX,
        };
        let mut incidents = BTreeMap::new();
        for workload in &self.workloads {
            let of = (workload.namespace.as_str(), workload.name.as_str());
            let rollbacks = demo::rollbacks(self.bed.client(), of).await?;
            let Some(rollback) = rollbacks.first() else {
                continue;
            };
            let traffic = self.traffic(workload, BAD);
            let incident = demo::incident(rollback, &release, traffic, &[]);
            if incident.first_bad_to_decision_s.is_some() {
                incidents.insert(workload.name.as_str(), incident);
            }
        }
        Ok(incidents)
    }

    fn traffic(&self, workload: &Workload, release: &str) -> Option<&Traffic> {
        let service = format!("{}-{release}", workload.name);
        let mut all = self.director.traffic().iter();
        all.find(|(load, _)| load.service == service && load.namespace == workload.namespace)
            .map(|(_, traffic)| traffic.as_ref())
    }

    fn tell(&self, incidents: &BTreeMap<&str, Incident>) {
        for workload in &self.workloads {
            let line = match incidents.get(workload.name.as_str()) {
                Some(incident) => format!(
                    "{:.1} s from the first bad answer to the decision, {:.1} s from the \
                     deployment; {} ({})",
                    incident.first_bad_to_decision_s.unwrap_or_default(),
                    incident.deploy_to_decision_s.unwrap_or_default(),
                    incident.evidence,
                    incident.state
                ),
                None => "no decision".to_owned(),
            };
            self.progress.say(&format!("{:<8} {line}", workload.name));
        }
    }

    fn figures(&self, incidents: &BTreeMap<&str, Incident>, options: &DetectionOptions) -> Figures {
        let mut times: Vec<f64> = incidents
            .values()
            .filter_map(|incident| incident.first_bad_to_decision_s)
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let mut figures = Figures::default();
        for (name, time) in [
            ("testbed_detect_best_s", times.first().copied()),
            ("testbed_detect_median_s", median(&times)),
            ("testbed_detect_worst_s", times.last().copied()),
        ] {
            if let Some(time) = time {
                figures.set(name, time);
            }
        }
        figures.set("testbed_detect_workloads", count(self.workloads.len()));
        let missed = self.workloads.len() - incidents.len();
        figures.set("testbed_detect_missed", count(missed));
        figures.set("testbed_detect_for_s", options.sustained.as_secs_f64());
        let (requests, seconds) = self.load_on_new_pods();
        figures.set("testbed_detect_new_pods_rps", requests / seconds.max(1.0));
        // An old release that fails too would be another measurement.
        let failed: u64 = self
            .workloads
            .iter()
            .filter_map(|workload| self.traffic(workload, GOOD))
            .map(|traffic| traffic.snapshot(..).failed)
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        figures.set("testbed_detect_old_pods_failed", failed as f64);
        figures
    }

    /// Returns how many requests the new pods of a workload answered in how many seconds, on
    /// average.
    fn load_on_new_pods(&self) -> (f64, f64) {
        let seconds: Vec<_> = self
            .workloads
            .iter()
            .filter_map(|workload| self.traffic(workload, BAD))
            .map(|traffic| traffic.by_second(..))
            .collect();
        let workloads = count(seconds.len()).max(1.0);
        let requests: u64 = seconds.iter().flatten().map(|second| second.total).sum();
        let spans: usize = seconds.iter().map(Vec::len).sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let requests = requests as f64;
        (requests / workloads, count(spans) / workloads)
    }
}

/// Returns how many workloads have a release that was judged on real data and found good.
async fn proven(client: &Client) -> anyhow::Result<usize> {
    let api: Api<ControllerRevision> = Api::all(client.clone());
    let good = ListParams::default().labels("astern.dev/verdict=Good,astern.dev/proof=Full");
    // A server that is busy with the installation is asked again.
    let Ok(Ok(found)) = timeout(Duration::from_secs(5), api.list(&good)).await else {
        return Ok(0);
    };
    Ok(found.items.len())
}

/// The mean of the two in the middle where there are two.
fn median(sorted: &[f64]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let (lower, upper) = (sorted.get(last / 2)?, sorted.get(last.div_ceil(2))?);
    Some(f64::midpoint(*lower, *upper))
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn every_workload_has_clients_of_both_releases_and_all_share_one_source() {
        let options = DetectionOptions {
            operator: None,
            workloads: 7,
            sustained: Duration::from_secs(120),
            keep: false,
        };
        let parts = (Path::new("/bin/astern"), "http://127.0.0.1:1");
        let scenario = scenario(parts, &options).unwrap();
        let kinds = |kind: &str| {
            let objects = scenario.objects.iter();
            objects.filter(|object| object["kind"] == kind).count()
        };
        assert_eq!(
            (
                kinds("MetricSource"),
                kinds("Namespace"),
                kinds("Deployment")
            ),
            (1, 2, 7)
        );
        let loads: Vec<_> = scenario
            .traffic
            .iter()
            .map(|load| (load.namespace.as_str(), load.service.as_str()))
            .collect();
        assert_eq!(loads.len(), 14);
        assert!(loads.contains(&("shop-1", "app-6-v2")), "{loads:?}");
        let policy = scenario
            .objects
            .iter()
            .find(|object| object["kind"] == "RollbackPolicy")
            .unwrap();
        let sustained = &policy["spec"]["triggers"][0]["errorRate"]["for"];
        assert_eq!(*sustained, json!("120s"));
    }
}
