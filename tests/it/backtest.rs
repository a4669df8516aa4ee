//! A backtest of what happened on the simulated cluster while no operator was there.

mod agreement;
mod example;
mod kube_state;

use std::collections::BTreeMap;
use std::sync::Arc;

use astern::api::parse::{self, ParsedPolicy};
use astern::cli::backtest::aftermath::Judgement;
use astern::cli::backtest::report::{ReleaseReport, Report, Verdict};
use astern::cli::backtest::source::Source;
use astern::cli::backtest::span::Span;
use astern::cli::backtest::{Question, World, replayed};
use astern::cli::progress::Silent;
use astern::port::simulated::{Behaviour, Settings, SimulatedCluster};
use astern::port::{Access, Cluster, Outside, Query, QueryError};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";
const NAME: &str = "checkout";
const GOOD: &str = "registry.example/checkout:v1.0.0";
const ERRING: &str = "registry.example/checkout:v1.1.0";
const HICCUP: &str = "registry.example/checkout:v1.0.1";

/// A Prometheus that keeps what the simulated one has, and understands one question more that a backtest
/// asks: how many pods each ReplicaSet had. Nobody runs kube-state-metrics.
struct Archive(SimulatedCluster);

#[async_trait]
impl Outside for Archive {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let text = query.form[0].1.clone();
        if text.contains("kube_") {
            return Ok(matrix(&json!([])));
        }
        let Some((_, rest)) = text.split_once("group by (pod) (") else {
            return self.0.query(query).await;
        };
        let (selector, rest) = rest.split_once("), \"replicaset\"").expect("a selector");
        let range = rest.rsplit_once('[').expect("a subquery").1;
        let (length, step) = range.trim_end_matches(']').split_once(':').expect("a step");
        let mut raw = query.clone();
        raw.form[0].1 = format!("{selector}[{length}]");
        let body = self.0.query(&raw).await?;
        let end: Timestamp = query.form[1].1.parse().expect("a time");
        let counts = counts(&body, end, (seconds(length), seconds(step)));
        Ok(matrix(&counts))
    }
}

fn seconds(text: &str) -> i64 {
    text.trim_end_matches('s').parse().expect("seconds")
}

fn matrix(rows: &Value) -> Vec<u8> {
    let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": rows}});
    answer.to_string().into_bytes()
}

/// Pods by ReplicaSet at each multiple of `step`: those that were scraped within the last half minute.
fn counts(body: &[u8], end: Timestamp, (length, step): (i64, i64)) -> Value {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let mut seen: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for row in body["data"]["result"].as_array().expect("rows") {
        let pod = row["metric"]["pod"].as_str().expect("a pod").to_owned();
        let set = pod.rsplit_once('-').expect("a ReplicaSet").0.to_owned();
        let times = row["values"].as_array().expect("values").iter();
        let times = times.map(|value| value[0].as_f64().expect("a time"));
        seen.entry((set, pod)).or_default().extend(times);
    }
    let end = end.as_second();
    let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for at in (end - length..=end).filter(|at| at % step == 0) {
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        for ((set, _), times) in &seen {
            #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
            let now = at as f64;
            if times.iter().any(|time| *time <= now && *time > now - 30.0) {
                *count.entry(set).or_default() += 1;
            }
        }
        for (set, count) in count {
            let values = rows.entry(set.to_owned()).or_default();
            values.push(json!([at, count.to_string()]));
        }
    }
    let rows = rows.into_iter();
    rows.map(|(set, values)| json!({"metric": {"replicaset": set}, "values": values}))
        .collect()
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    for (image, behaviour) in [
        (GOOD, Behaviour::default()),
        (ERRING, Behaviour::erring(0.3)),
        (HICCUP, Behaviour::erring(0.3)),
    ] {
        settings.images.insert(image.to_owned(), behaviour);
    }
    settings
}

async fn pass(cluster: &SimulatedCluster, minutes: i64) {
    let until = cluster.now() + SignedDuration::from_mins(minutes);
    cluster.sleep_until(until).await;
}

/// The last `minutes` before `until`.
fn last(minutes: i64, until: Timestamp) -> Span {
    Span {
        from: until - SignedDuration::from_mins(minutes),
        until,
    }
}

/// Replays `policy` over what a source has recorded, and what a cluster still knows.
async fn replay(
    cluster: Option<Arc<dyn Cluster>>,
    outside: Arc<dyn Outside>,
    policy: ParsedPolicy,
    range: Span,
) -> anyhow::Result<Report> {
    let address = "http://prometheus.example";
    let world = World {
        cluster,
        source: Source::plain(outside, address, Access::default()),
    };
    let question = Question {
        namespace: NAMESPACE.to_owned(),
        deployment: NAME.to_owned(),
        policy,
        range,
        step: None,
        full: false,
    };
    replayed(&world, &question, &mut Silent).await
}

/// Replays over what the simulated Prometheus has.
async fn archived(
    cluster: &SimulatedCluster,
    policy: ParsedPolicy,
    range: Span,
) -> anyhow::Result<Report> {
    let archive = Arc::new(Archive(cluster.clone()));
    replay(Some(Arc::new(cluster.clone())), archive, policy, range).await
}

/// A good release for twenty minutes, one that fails for ten, and the good one again for fifteen.
async fn story() -> SimulatedCluster {
    let cluster = SimulatedCluster::new(settings());
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    pass(&cluster, 20).await;
    cluster
        .set_image(NAMESPACE, NAME, ERRING)
        .expect("deployed");
    pass(&cluster, 10).await;
    cluster.set_image(NAMESPACE, NAME, GOOD).expect("deployed");
    pass(&cluster, 15).await;
    cluster
}

fn policy(mode: &str) -> ParsedPolicy {
    let object = json!({
        "metadata": {"name": "careful", "namespace": NAMESPACE},
        "spec": {"mode": mode, "probation": "3m", "triggers": [
            {"name": "errors", "errorRate": {
                "preset": "HTTPRequests", "threshold": "5%", "window": "30s", "for": "30s"}},
            {"name": "crashes", "restarts": {}},
        ]},
    });
    parse::rollback_policy(&object).expect("a policy")
}

async fn backtest(cluster: &SimulatedCluster, mode: &str, with_cluster: bool) -> Report {
    let known = with_cluster.then(|| Arc::new(cluster.clone()) as Arc<dyn Cluster>);
    let archive = Arc::new(Archive(cluster.clone()));
    let range = last(100, cluster.now());
    let report = replay(known, archive, policy(mode), range).await;
    report.expect("a report")
}

fn verdicts(report: &Report) -> Vec<Verdict> {
    let releases = report.releases.iter();
    releases.map(|release| release.verdict).collect()
}

fn bad(report: &Report) -> &ReleaseReport {
    &report.releases[1]
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_of_the_past_is_found_and_what_it_cost_is_counted() {
    let cluster = story().await;
    let report = backtest(&cluster, "Automatic", true).await;
    let expected = [Verdict::Good, Verdict::WouldRollBack, Verdict::Good];
    assert_eq!(verdicts(&report), expected, "{report:#?}");
    let titles: Vec<&str> = report
        .releases
        .iter()
        .map(|one| one.release.as_str())
        .collect();
    assert_eq!(titles, ["1", "2", "3"]);
    let bad = bad(&report);
    assert_eq!(bad.images, [ERRING]);
    let [step] = &bad.steps[..] else {
        panic!("{bad:#?}");
    };
    assert_eq!((step.what, step.trigger.as_str()), ("RollBack", "errors"));
    assert_eq!(step.to.as_deref(), Some("1"));
    // 30 s of failures, from pods that need some seconds to start and to be scraped.
    assert!((30..=75).contains(&step.after_seconds), "{step:?}");
    assert!(step.evidence.contains("requests failed"), "{step:?}");

    let aftermath = bad.aftermath.as_ref().expect("an aftermath");
    assert_eq!(aftermath.judgement, Judgement::Justified, "{aftermath:?}");
    assert_eq!(aftermath.replaced_by.as_deref(), Some("3"));
    // Four pods answer 20 requests a second each, of which three in ten fail, until ten minutes after
    // the release.
    let seconds_left = 600 - step.after_seconds;
    let expected = u64::try_from(seconds_left * 4 * 20 * 3 / 10).expect("positive");
    let failed = aftermath.failed_requests.expect("counted");
    let margin = expected / 20;
    assert!(
        failed.abs_diff(expected) <= margin,
        "{failed} is not about {expected}"
    );
    assert_eq!(
        aftermath.saved_requests,
        Some(failed),
        "the one before failed never"
    );
    assert_eq!(report.summary.saved_requests, failed);

    let left_out: Vec<&str> = report
        .not_replayed
        .iter()
        .map(|note| note.trigger.as_str())
        .collect();
    assert_eq!(left_out, ["crashes"]);
}

#[tokio::test(start_paused = true)]
async fn pods_in_the_metrics_are_enough_where_the_cluster_is_gone() {
    let cluster = story().await;
    let report = backtest(&cluster, "Automatic", false).await;
    let expected = [Verdict::Good, Verdict::WouldRollBack, Verdict::Good];
    assert_eq!(verdicts(&report)[1..], expected[1..], "{report:#?}");
    assert_eq!(
        bad(&report).aftermath.as_ref().expect("one").judgement,
        Judgement::Justified
    );
}

#[tokio::test(start_paused = true)]
async fn a_mode_is_replayed_as_it_is() {
    let cluster = story().await;
    let report = backtest(&cluster, "Observe", true).await;
    assert_eq!(verdicts(&report)[1], Verdict::WouldObserve, "{report:#?}");
    let report = backtest(&cluster, "RequireApproval", true).await;
    assert_eq!(verdicts(&report)[1], Verdict::WouldAsk, "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_passed_by_itself_while_the_release_stayed_is_a_false_alarm() {
    let cluster = SimulatedCluster::new(settings());
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    pass(&cluster, 20).await;
    cluster
        .set_image(NAMESPACE, NAME, HICCUP)
        .expect("deployed");
    pass(&cluster, 4).await;
    // A dependency comes back, and nobody deploys anything.
    cluster.set_behaviour(HICCUP, Behaviour::default());
    pass(&cluster, 70).await;
    let report = backtest(&cluster, "Automatic", true).await;
    let aftermath = bad(&report).aftermath.as_ref().expect("an aftermath");
    assert_eq!(aftermath.judgement, Judgement::FalseAlarm, "{aftermath:?}");
    assert_eq!(report.summary.false_alarms, 1);
    assert_eq!(report.summary.saved_requests, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_to_replay_is_an_error_that_says_what_is_missing() {
    let cluster = SimulatedCluster::new(settings());
    let range = last(10, cluster.now());
    let error = archived(&cluster, policy("Automatic"), range).await;
    let error = error.expect_err("nothing");
    let error = error.to_string();
    assert!(
        error.contains("checkout") && error.contains("kube-state-metrics"),
        "{error}"
    );
}

fn astern(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-astern"))
        .args(arguments)
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn mistakes_on_the_command_line_are_errors_as_with_kubectl() {
    for (arguments, part) in [
        (
            &["backtest", "-f", "x.yaml", "checkout"][..],
            "deployment/checkout",
        ),
        (
            &["backtest", "-f", "x.yaml", "statefulset/web"],
            "Deployments",
        ),
        (&["backtest", "deployment/checkout"], "--filename"),
        (
            &["backtest", "-f", "x.yaml", "deploy/a", "--since", "1y"],
            "30d",
        ),
        (
            &["backtest", "-f", "x.yaml", "deploy/a", "-o", "xml"],
            "json",
        ),
        (&["backtest", "-f", "x.yaml", "deploy/a"], "--kubeconfig"),
        (
            &[
                "backtest",
                "-f",
                "/nonexistent.yaml",
                "deploy/a",
                "--no-cluster",
                "--prometheus",
                "http://x",
            ],
            "/nonexistent.yaml",
        ),
        (&["frobnicate"], "frobnicate"),
    ] {
        let (code, stdout, stderr) = astern(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains(part),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn help_has_examples_and_is_no_error() {
    let (code, stdout, stderr) = astern(&["backtest", "--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("kubectl astern backtest -f policy.yaml deployment/checkout --since 30d")
    );
    let (code, stdout, _) = astern(&["version"]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("kubectl-astern "), "{stdout}");
}
