mod mann_whitney;
mod peers;
mod random;
mod rollout;
mod simulate;

use peers::*;
use rollout::*;
use simulate::*;

fn main() {
    let n: usize = std::env::args().nth(1).map_or(2000, |a| a.parse().unwrap());
    let worlds = [
        ("steady .1", World::Steady(0.001)),
        ("steady 1", World::Steady(0.01)),
        (
            "bursty",
            World::Bursty {
                mean: 0.001,
                shape: 0.5,
            },
        ),
        (
            "outage 5",
            World::Outage {
                share: 0.05,
                lasts: 45_000,
            },
        ),
        (
            "outage 50",
            World::Outage {
                share: 0.5,
                lasts: 45_000,
            },
        ),
        ("retries", World::Retries { again: 0.5 }),
        ("diurnal", World::Diurnal),
        ("slow", World::SlowPod(0.01)),
        (
            "cold",
            World::ColdStart {
                share: 0.03,
                lasts: 5_000,
            },
        ),
    ];
    let mut cells = vec![];
    for (i, (_, world)) in worlds.iter().enumerate() {
        for (j, rps) in RPS.iter().enumerate() {
            cells.push(Cell {
                world: *world,
                rps: *rps,
                rollouts: n,
                seed: (i * 10 + j) as u64,
            });
        }
    }
    let start = std::time::Instant::now();
    let out = on_all(&cells, alarms);
    println!("{:?}", start.elapsed());
    for (i, (name, _)) in worlds.iter().enumerate() {
        print!("{name:10}");
        for j in 0..4 {
            print!(" {:?}", out[i * 4 + j].astern);
        }
        println!();
    }
    let mut chosen = vec![];
    for (g, _) in GOALS.iter().enumerate() {
        let allowed: usize = out.iter().map(|a| a.astern[g]).sum();
        let mut c = vec![];
        for (p, peer) in PEERS.iter().enumerate() {
            let need = (1..=NEVER)
                .find(|n| {
                    out.iter()
                        .map(|a| a.longest[g][p][*n..].iter().sum::<usize>())
                        .sum::<usize>()
                        <= allowed
                })
                .unwrap_or(NEVER);
            c.push((*peer, need));
            println!("{g} {}", peer.name(need));
        }
        chosen.push(c);
    }
    for (g, goal) in GOALS.iter().enumerate() {
        let faults: &[f64] = if g == 0 {
            &[0.1, 0.2, 0.5, 1.0]
        } else {
            &[0.01, 0.02, 0.05]
        };
        for f in faults {
            for (j, rps) in RPS.iter().enumerate() {
                let cell = Cell {
                    world: World::Fault(*f),
                    rps: *rps,
                    rollouts: 1000,
                    seed: 77 + j as u64,
                };
                let d = delays(&cell, *goal, &chosen[g]);
                let kl = |p: f64, q: f64| {
                    if p >= 1.0 {
                        (1.0 / q).ln()
                    } else {
                        p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
                    }
                };
                let fac = if g == 0 { 1.0 } else { 3.0 };
                let lim = if g == 0 { 0.05 } else { 0.005 };
                let ls = rps * f + 3.0 * rps * 0.001;
                let q = rps * f / ls;
                let b1 = (1e5f64.ln() / (ls * kl(q, 0.25))).max(if fac > 1.0 {
                    20f64.ln() / (ls * kl(q, fac / (fac + 3.0)))
                } else {
                    0.0
                });
                let b2 = 20f64.ln() / (rps * kl(*f, lim));
                let bound = b1.max(b2);
                let m = quantile(&d.astern, 0.5);
                let best = d
                    .peers
                    .iter()
                    .map(|p| quantile(p, 0.5))
                    .fold(f64::INFINITY, f64::min);
                println!(
                    "{f:5} @{rps:5}: median {m:6.1} p95 {:6.1} | bound {bound:7.1} ({b1:.1} {b2:.1}) ratio {:5.2} | best peer {best:6.1} {} | peers {:?}",
                    quantile(&d.astern, 0.95),
                    if bound > 15.0 && bound < 900.0 {
                        (m - 7.5) / bound
                    } else {
                        f64::NAN
                    },
                    if best < m { "SLOWER" } else { "" },
                    d.peers
                        .iter()
                        .map(|p| quantile(p, 0.5).round())
                        .collect::<Vec<_>>()
                );
            }
        }
    }
    for f in [0.02, 0.03, 0.04] {
        for rps in RPS {
            print!(
                " {f}@{rps}: {:.4}",
                acts(
                    &Cell {
                        world: World::Fault(f),
                        rps,
                        rollouts: 2000,
                        seed: 5
                    },
                    Goal::Threshold
                )
            );
        }
        println!();
    }
    println!("{:?}", start.elapsed());
}
