//! How soon and how surely Astern judges, by simulation: `make bench-judging`.
//!
//! Goes through `health::requests::judge`, the product's own. All seeds are fixed. Reading a clock and
//! asking a Prometheus is not part of it; that is measured on the test bed.

mod bound;
mod mann_whitney;
mod peers;
mod random;
mod report;
mod rollout;
mod scenarios;
mod simulate;

use std::path::PathBuf;
use std::time::Instant;

use peers::{Goal, NEVER, PEERS, Peer};
use report::{Below, Fault, Quality};
use scenarios::{BELOW, FAULT_ROLLOUTS, FAULTS, HEALTHY, HEALTHY_ROLLOUTS, LOADS};
use simulate::{Alarms, Cell};

/// A quick run is this part of a whole one: enough to see that it runs, not to believe its figures.
const QUICK_PART: usize = 50;

const USAGE: &str = "usage: cargo bench --bench judging -- [--quick] [--out DIR]";

fn main() -> std::io::Result<()> {
    let mut part = 1;
    let mut out = PathBuf::from("target/bench");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => part = QUICK_PART,
            "--out" => out = arguments.next().map(PathBuf::from).unwrap_or_default(),
            // What cargo says to every bench.
            "--bench" => {}
            unknown => {
                eprintln!("{unknown:?} is not known\n{USAGE}");
                std::process::exit(2);
            }
        }
    }
    let quality = measure(part);
    std::fs::create_dir_all(&out)?;
    std::fs::write(out.join("judging-quality.json"), quality.json())?;
    std::fs::write(out.join("judging.md"), quality.page())?;
    print!("{}", quality.json());
    Ok(())
}

fn measure(part: usize) -> Quality {
    let start = Instant::now();
    let cells = scenarios::healthy_cells(HEALTHY_ROLLOUTS / part);
    let alarms = simulate::on_all(&cells, simulate::alarms);
    eprintln!("healthy rollouts after {:.0?}", start.elapsed());
    let mut peers = Vec::new();
    let mut faults = Vec::new();
    for (goal, rates) in FAULTS {
        let chosen = lengthened(goal, &alarms);
        faults.extend(find(goal, rates, FAULT_ROLLOUTS / part, &chosen));
        peers.push((goal, chosen));
    }
    let below = scenarios::fault_cells(&BELOW, FAULT_ROLLOUTS / part * 2, 3_000);
    let acts = simulate::on_all(&below, |cell| simulate::acts(cell, Goal::Threshold));
    let below = below.iter().zip(acts);
    Quality {
        rollouts_per_scenario: HEALTHY_ROLLOUTS / part,
        rollouts_per_fault: FAULT_ROLLOUTS / part,
        healthy: HEALTHY
            .iter()
            .zip(alarms.chunks(LOADS.len()))
            .map(|(healthy, alarms)| {
                (
                    *healthy,
                    alarms.iter().map(|alarms| alarms.astern).collect(),
                )
            })
            .collect(),
        peers,
        faults,
        below: below
            .map(|(cell, acts)| Below {
                world: cell.world,
                acts,
            })
            .collect(),
        decision_us: simulate::decision_us(),
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// Lengthens the `for` or count of each peer until it has no more false rollbacks than Astern over all
/// healthy scenarios together.
fn lengthened(goal: Goal, alarms: &[Alarms]) -> Vec<(Peer, usize)> {
    let index = goal.index();
    let allowed: usize = alarms.iter().map(|alarms| alarms.astern[index]).sum();
    let peers = PEERS.iter().enumerate().map(|(number, peer)| {
        let reached = |count: usize| {
            let cells = alarms.iter();
            let counts = cells.map(|alarms| &alarms.longest[index][number][count..]);
            counts.flatten().sum::<usize>()
        };
        let needed = (1..NEVER).find(|count| reached(*count) <= allowed);
        (*peer, needed.unwrap_or(NEVER))
    });
    peers.collect()
}

fn find(goal: Goal, rates: &[f64], rollouts: usize, peers: &[(Peer, usize)]) -> Vec<Fault> {
    let cells: Vec<Cell> = scenarios::fault_cells(rates, rollouts, 2_000);
    let delays = simulate::on_all(&cells, |cell| simulate::delays(cell, goal, peers));
    let shares = rates.iter().flat_map(|share| [*share; LOADS.len()]);
    shares
        .zip(cells)
        .zip(delays)
        .map(|((share, cell), delays)| Fault {
            goal,
            share,
            rps: cell.rps,
            delays,
            bound: bound::seconds(goal, share, cell.rps),
        })
        .collect()
}
