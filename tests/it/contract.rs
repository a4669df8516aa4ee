//! The simulated cluster keeps the contract of the port.

#[path = "../contract/checks.rs"]
mod checks;

use astern::port::simulated::{Settings, SimulatedCluster};

#[tokio::test(start_paused = true)]
async fn simulated_cluster_keeps_the_contract() {
    let cluster = SimulatedCluster::new(Settings::default());
    cluster.serve(checks::GHOSTS, false);
    checks::check_all(&cluster, "contract").await;
}
