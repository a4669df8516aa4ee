//! Which worlds are run, at which loads, how often. The seeds are here, so that a table can be made again.

use crate::peers::Goal;
use crate::rollout::World;
use crate::simulate::Cell;

/// Requests per second that are counted on the new pods.
pub(crate) const LOADS: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];

/// Rollouts of one healthy scenario at one load.
pub(crate) const HEALTHY_ROLLOUTS: usize = 100_000;
/// Rollouts of one fault at one load.
pub(crate) const FAULT_ROLLOUTS: usize = 1_000;

/// A world in which nothing is wrong with the release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Healthy {
    pub(crate) name: &'static str,
    pub(crate) world: World,
    pub(crate) is_outage: bool,
}

const fn healthy(name: &'static str, world: World) -> Healthy {
    let is_outage = matches!(world, World::Outage { .. });
    Healthy {
        name,
        world,
        is_outage,
    }
}

pub(crate) const HEALTHY: [Healthy; 9] = [
    healthy("steady 0.1 %", World::Steady(0.001)),
    healthy("steady 1 %", World::Steady(0.01)),
    healthy(
        "bursty: each pod's rate is drawn anew for each scrape, mean 0.1 %, deviation 0.14 %",
        World::Bursty {
            mean: 0.001,
            shape: 0.5,
        },
    ),
    healthy(
        "clients that try up to three times more, with a chance of 50 % to fail again",
        World::Retries { again: 0.5 },
    ),
    healthy(
        "load between a fifth and nine fifths, errors grow with it",
        World::Diurnal,
    ),
    healthy(
        "one pod of twelve is slow: half the requests, 1 % errors",
        World::SlowPod(0.01),
    ),
    healthy(
        "cold start: 3 % errors in a pod's first 5 s",
        World::ColdStart {
            share: 0.03,
            lasts: 5_000,
        },
    ),
    healthy(
        "outage of both: 5 % for 45 s",
        World::Outage {
            share: 0.05,
            lasts: 45_000,
        },
    ),
    healthy(
        "outage of both: 50 % for 45 s",
        World::Outage {
            share: 0.5,
            lasts: 45_000,
        },
    ),
];

/// Error rates of bad releases, by the policy that is to find them.
pub(crate) const FAULTS: [(Goal, &[f64]); 2] = [
    (Goal::Threshold, &[0.1, 0.2, 0.5, 1.0]),
    (Goal::WorseThanBefore, &[0.01, 0.02, 0.05]),
];

/// True rates below the threshold of 5 %.
pub(crate) const BELOW: [f64; 3] = [0.02, 0.03, 0.04];

/// Returns the healthy cells, load by load within each scenario.
pub(crate) fn healthy_cells(rollouts: usize) -> Vec<Cell> {
    let worlds = HEALTHY.iter().map(|healthy| healthy.world);
    cells(worlds, rollouts, 1_000)
}

/// Returns the cells of bad releases with these error rates.
pub(crate) fn fault_cells(rates: &[f64], rollouts: usize, seed: u64) -> Vec<Cell> {
    cells(rates.iter().map(|rate| World::Fault(*rate)), rollouts, seed)
}

fn cells(worlds: impl Iterator<Item = World>, rollouts: usize, seed: u64) -> Vec<Cell> {
    let loads = |world| LOADS.map(|rps| (world, rps));
    let all = worlds.flat_map(loads).zip(seed..);
    all.map(|((world, rps), seed)| Cell {
        world,
        rps,
        rollouts,
        seed,
    })
    .collect()
}
