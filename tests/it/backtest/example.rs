//! The example in the docs is what a run prints. `UPDATE=1` rewrites it.

use astern::api::parse;
use astern::cli::backtest::print;
use astern::cli::output::Colours;
use astern::port::Cluster;
use astern::port::simulated::{Behaviour, SimulatedCluster};
use serde_json::json;

use super::{ERRING, GOOD, HICCUP, NAME, NAMESPACE, archived, last, pass, settings};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backtest.md");

/// A good release, one that fails for three minutes and never again, and one that fails until somebody
/// has found it.
async fn story() -> SimulatedCluster {
    let cluster = SimulatedCluster::new(settings());
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    pass(&cluster, 20).await;
    cluster.set_behaviour(HICCUP, Behaviour::default());
    cluster
        .set_image(NAMESPACE, NAME, HICCUP)
        .expect("deployed");
    pass(&cluster, 5).await;
    cluster.set_behaviour(HICCUP, Behaviour::erring(0.3));
    pass(&cluster, 3).await;
    cluster.set_behaviour(HICCUP, Behaviour::default());
    pass(&cluster, 62).await;
    cluster
        .set_image(NAMESPACE, NAME, ERRING)
        .expect("deployed");
    pass(&cluster, 18).await;
    cluster.set_image(NAMESPACE, NAME, GOOD).expect("deployed");
    pass(&cluster, 10).await;
    cluster
}

async fn printed() -> String {
    let cluster = story().await;
    let policy = json!({
        "metadata": {"name": "checkout", "namespace": NAMESPACE},
        "spec": {"mode": "Automatic", "triggers": [
            {"name": "server-errors", "errorRate": {"preset": "Auto", "threshold": "5%", "for": "2m"}},
            {"name": "crashes", "restarts": {}},
        ]},
    });
    let until = cluster.now();
    let parsed = parse::rollback_policy(&policy).expect("a policy");
    let report = archived(&cluster, parsed, last(118, until)).await;
    let report = report.expect("a report");
    print::text(&report, false, Colours::none())
}

#[tokio::test(start_paused = true)]
async fn the_example_in_the_docs_is_what_a_run_prints() {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (before, rest) = page.split_once("```text\n").expect("an example");
    let (_, after) = rest.split_once("```\n").expect("its end");
    let fresh = format!("{before}```text\n{}```\n{after}", printed().await);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(PAGE, &fresh).expect("the page");
        return;
    }
    assert!(page == fresh, "{fresh}\nrun UPDATE=1 cargo test --test it");
}
