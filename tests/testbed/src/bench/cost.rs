//! What the operator costs when hundreds of workloads are judged at once.
//!
//! Control plane, Prometheus and operator are real, and so are the objects; the pods are idle, and
//! their metrics come from a generator. Prometheus is asked through a proxy that counts.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Figures, Progress, Promise, fleet, fleet::Fleet, requests::Requests};
use crate::{
    bed::{Bed, Options},
    behaviour::{Behaviour, Images, Program},
    demo::operator,
    fault_proxy::{FaultProxy, Passage},
    generator::{Rates, SeriesGenerator},
    node::{Nodes, NodesOptions},
    prometheus::{Discovery, Prometheus},
    usage::{self, Processor},
};

const IMAGE: &str = "registry.example/idle:v1";
const NODES: u16 = 10;

/// The kube-controller-manager needs two minutes for 5,000 pods on two processors.
const PODS: Duration = Duration::from_secs(600);
/// Two scrapes of everything, on a machine that is busy.
const DATA: Duration = Duration::from_secs(120);
const GUARDING: Duration = Duration::from_secs(300);
/// What is written when the last policy has its data is not part of a steady state.
const SETTLE: Duration = Duration::from_secs(30);
/// All of it, with room to spare.
const WHOLE: Duration = Duration::from_secs(25 * 60);

/// What to measure.
#[derive(Clone, Debug)]
pub struct CostOptions {
    /// The program to measure; the one beside this program if there is none.
    pub operator: Option<PathBuf>,
    pub workloads: usize,
    pub pods_each: usize,
    pub namespaces: usize,
    pub scrape_interval: Duration,
    /// How often the operator may ask for a metric; half a scrape interval if not given.
    pub tick: Option<Duration>,
    /// How long to measure.
    pub span: Duration,
    /// Requests per second and pod that the metrics tell of.
    pub requests_per_second: f64,
    /// Leaves logs and data behind.
    pub keep: bool,
}

/// Returns what is promised of 500 workloads with ten pods each.
#[must_use]
pub fn promises() -> [Promise; 2] {
    let most = |figure, most, unit| Promise { figure, most, unit };
    [
        most("operator_cores_500", 0.05, "cores"),
        most("requests_per_tick_max", 1.0, "requests"),
    ]
}

/// Sets everything up, measures, and returns the figures.
///
/// # Errors
///
/// When an option is out of bounds, something does not start, or a phase takes too long.
pub async fn measure(options: &CostOptions) -> anyhow::Result<Figures> {
    let fleet = options.fleet()?;
    let program = operator(options.operator.as_deref())?;
    let progress = Progress::start();
    progress.say("starts a control plane and Prometheus");
    let bed = Bed::start(Options {
        label: "bench-cost".to_owned(),
        prometheus: true,
        scrape_interval: options.scrape_interval,
        discovery: Discovery::File,
        keep_directory: options.keep,
        ..Options::default()
    })
    .await?;
    let bench = Bench {
        bed: &bed,
        fleet,
        progress,
        prometheus: bed.prometheus().context("no Prometheus")?,
        proxy: FaultProxy::before_prometheus(&bed).await?,
    };
    let nodes = Nodes::start(bed.client(), bench.nodes(program)).await?;
    let measured = tokio::time::timeout(WHOLE, bench.run(&nodes, options)).await;
    nodes.stop().await;
    bed.stop().await?;
    measured.with_context(|| format!("not done after {} minutes", WHOLE.as_secs() / 60))?
}

impl CostOptions {
    fn fleet(&self) -> anyhow::Result<Fleet> {
        let pods = self.workloads.saturating_mul(self.pods_each);
        // A bed has addresses for 60,000 pods, and two processors feel long before that.
        ensure!(
            (1..=20_000).contains(&pods),
            "{} workloads with {} pods each are {pods} pods, which is not between 1 and 20000",
            self.workloads,
            self.pods_each
        );
        ensure!(
            (1..=self.workloads).contains(&self.namespaces),
            "{} namespaces are not between 1 and the number of workloads",
            self.namespaces
        );
        let seconds = self.span.as_secs();
        ensure!(
            (10..=600).contains(&seconds),
            "{seconds} seconds are not between 10 and 600"
        );
        Ok(Fleet {
            workloads: self.workloads,
            pods_each: self.pods_each,
            namespaces: self.namespaces,
        })
    }

    /// Requests for one metric that are closer together than the first belong to one tick, and than
    /// the second to one scrape. Both are shorter by a third of a tick, which leaves room for a tick
    /// that is late and one that is early after it.
    fn windows(&self) -> (Duration, Duration) {
        let tick = self.tick.unwrap_or(self.scrape_interval / 2);
        let slack = tick / 3;
        (
            tick.saturating_sub(slack),
            self.scrape_interval.saturating_sub(slack),
        )
    }
}

struct Bench<'a> {
    bed: &'a Bed,
    fleet: Fleet,
    progress: Progress,
    prometheus: &'a Prometheus,
    proxy: FaultProxy,
}

impl Bench<'_> {
    fn nodes(&self, operator: PathBuf) -> NodesOptions {
        let listen = (
            "ASTERN_LISTEN_ADDRESS".to_owned(),
            "$(POD_IP):8080".to_owned(),
        );
        let astern = Behaviour {
            program: Some(Program {
                path: operator,
                arguments: Vec::new(),
                environment: [listen].into(),
            }),
            ..Behaviour::default()
        };
        // One workspace, one version.
        let name = format!("ghcr.io/astern-dev/astern:{}", env!("CARGO_PKG_VERSION"));
        NodesOptions {
            nodes: NODES,
            images: Images::new([(name, astern), (IMAGE.to_owned(), Behaviour::default())]),
            backoff_factor: 1.0,
            log_directory: self.bed.directory().join("pods"),
            api_server: self.bed.api_server().to_owned(),
            ca_pem: self.bed.ca_pem().to_owned(),
        }
    }

    async fn run(&self, nodes: &Nodes, options: &CostOptions) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let began = self.progress.seconds();
        self.start_pods(nodes).await?;
        figures.set("pods_started_s", self.progress.seconds() - began);
        let generator = self.serve_metrics(nodes, options).await?;
        let began = self.progress.seconds();
        self.install().await?;
        let guarding = async || fleet::guarding(&self.bed.client()).await;
        let all = (self.fleet.workloads, GUARDING);
        let what = "policies are guarding: every trigger has data";
        if let Err(error) = self.progress.until(what, all, guarding).await {
            return Err(error.context(log_tail(nodes)));
        }
        figures.set("guarding_s", self.progress.seconds() - began);
        sleep(SETTLE).await;
        self.watch(nodes, options, &mut figures).await?;
        drop(generator);

        let guarding = fleet::guarding(&self.bed.client()).await?;
        let incidents = fleet::incidents(&self.bed.client()).await?;
        ensure!(
            guarding == self.fleet.workloads && incidents == 0,
            "what was measured was no steady state: {guarding} policies are guarding at the end, \
             and there are {incidents} incidents"
        );
        Ok(figures)
    }

    async fn start_pods(&self, nodes: &Nodes) -> anyhow::Result<()> {
        for namespace in self.fleet.namespaces() {
            self.bed.apply(&namespace.to_string()).await?;
        }
        self.fleet.deploy(&self.bed.client(), IMAGE).await?;
        let deployed = format!("{} Deployments are created", self.fleet.workloads);
        self.progress.say(&deployed);
        let ready = async || Ok(names(nodes).len());
        let all = (self.fleet.pods(), PODS);
        self.progress.until("pods are ready", all, ready).await
    }

    async fn serve_metrics(
        &self,
        nodes: &Nodes,
        options: &CostOptions,
    ) -> anyhow::Result<SeriesGenerator> {
        let rates = Rates {
            requests_per_second: options.requests_per_second,
            errors: 0.001,
            errors_of: std::collections::BTreeMap::new(),
            seed: 1,
        };
        let generator = SeriesGenerator::start(self.bed.free_port()?, rates).await?;
        generator.publish(names(nodes), &self.prometheus.targets_file())?;
        let scraped = async || {
            let twice = "count(count_over_time(http_requests_total{code=\"200\"}[5m]) > 1)";
            let answer = self.prometheus.query(twice).await?;
            let count = answer.pointer("/result/0/value/1").and_then(Value::as_str);
            Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
        };
        let all = (self.fleet.pods(), DATA);
        let what = "pods are scraped twice";
        self.progress.until(what, all, scraped).await?;
        Ok(generator)
    }

    /// Installs the operator as users do, and the policies after it.
    async fn install(&self) -> anyhow::Result<()> {
        let file =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/install.yaml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        self.bed.apply(&text).await?;
        let source = json!({
            "apiVersion": "astern.dev/v1alpha1", "kind": "MetricSource",
            "metadata": {"name": "default"}, "spec": {"url": self.proxy.url()},
        });
        self.bed.apply(&source.to_string()).await?;
        self.fleet.guard(&self.bed.client()).await?;
        self.progress
            .say("the operator and its policies are installed");
        Ok(())
    }

    async fn watch(
        &self,
        nodes: &Nodes,
        options: &CostOptions,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let process = operator_process(nodes).context("the operator does not run")?;
        let prometheus = self.prometheus.process_id().await;
        let prometheus = Processor::of(prometheus.context("Prometheus does not run")?)?;
        let processor = Processor::of(process)?;
        self.proxy.meter();
        let began = Instant::now();
        while began.elapsed() < options.span {
            let left = options.span.saturating_sub(began.elapsed());
            sleep(left.min(super::TELL_AGAIN)).await;
            let cores = processor.cores().context("the operator has ended")?;
            self.progress.say(&format!(
                "the operator takes {cores:.4} cores, Prometheus {:.4}",
                prometheus.cores()?
            ));
        }
        let seconds = began.elapsed().as_secs_f64();
        let passages = self.proxy.passages();
        ensure!(
            operator_process(nodes) == Some(process),
            "the operator was restarted meanwhile"
        );
        let memory = usage::memory(process)?;
        let cores = format!("operator_cores_{}", self.fleet.workloads);
        figures.set(&cores, processor.cores()?);
        figures.set("operator_resident_mib", mebibytes(memory.resident_bytes));
        figures.set("operator_peak_mib", mebibytes(memory.peak_bytes));
        figures.set("prometheus_cores", prometheus.cores()?);
        figures.set("workloads", count(self.fleet.workloads));
        figures.set("pods", count(self.fleet.pods()));
        figures.set("measured_s", seconds);
        self.ask(&passages, options, (figures, seconds));
        Ok(())
    }

    fn ask(
        &self,
        passages: &[Passage],
        options: &CostOptions,
        (figures, seconds): (&mut Figures, f64),
    ) {
        let requests = Requests::of(passages);
        for (metric, number) in requests.counts() {
            self.progress
                .say(&format!("{number} requests for {metric} in {seconds:.0} s"));
        }
        let (window, scrape) = options.windows();
        let ticks = count(requests.ticks(window).max(1));
        let most = count(requests.most_within(window));
        figures.set("requests_per_tick_max", most);
        let most = count(requests.most_within(scrape));
        figures.set("requests_per_scrape_max", most);
        figures.set("requests_per_s", count(requests.count()) / seconds);
        figures.set("tick_s", seconds / ticks);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        figures.set("bytes_per_tick", requests.bytes as f64 / ticks);
    }
}

/// The pods of the fleet that are ready, by namespace and name.
fn names(nodes: &Nodes) -> Vec<(String, String)> {
    let pods = nodes.pods().into_iter();
    pods.filter(|pod| pod.ready && Fleet::has(&pod.namespace))
        .map(|pod| (pod.namespace, pod.name))
        .collect()
}

fn log_tail(nodes: &Nodes) -> String {
    let pods = nodes.pods();
    let pod = pods.iter().find(|pod| pod.namespace == "astern-system");
    let log = pod.map(|pod| nodes.log_of(&pod.namespace, &pod.name, "astern"));
    let text = log
        .and_then(|log| std::fs::read_to_string(log).ok())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(10)..].join("\n");
    format!("the end of the operator's log:\n{tail}")
}

fn operator_process(nodes: &Nodes) -> Option<u32> {
    let pods = nodes.pods();
    let pod = pods.iter().find(|pod| pod.namespace == "astern-system")?;
    nodes.pid_of(&pod.namespace, &pod.name)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "no process has four petabytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> CostOptions {
        CostOptions {
            operator: None,
            workloads: 500,
            pods_each: 10,
            namespaces: 25,
            scrape_interval: Duration::from_secs(15),
            tick: None,
            span: Duration::from_secs(120),
            requests_per_second: 1.0,
            keep: false,
        }
    }

    #[track_caller]
    fn check(options: &CostOptions, named: &str) {
        let error = options.fleet().unwrap_err().to_string();
        assert!(error.contains(named), "{named:?} is not in {error:?}");
    }

    #[test]
    fn a_tick_may_be_late_by_a_third() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(options().windows(), (seconds(5.0), seconds(12.5)));
        let tick = Some(seconds(15.0));
        let windows = CostOptions { tick, ..options() }.windows();
        assert_eq!(windows, (seconds(10.0), seconds(10.0)));
    }

    #[test]
    fn a_fleet_that_no_bed_holds_is_refused() {
        assert_eq!(options().fleet().unwrap().pods(), 5000);
        let base = options();
        check(
            &CostOptions {
                pods_each: 41,
                ..base.clone()
            },
            "20500 pods",
        );
        check(
            &CostOptions {
                workloads: 0,
                ..base.clone()
            },
            "0 pods",
        );
        check(
            &CostOptions {
                namespaces: 501,
                ..base.clone()
            },
            "501 namespaces",
        );
        let span = Duration::from_secs(9);
        check(&CostOptions { span, ..base }, "9 seconds");
    }
}
