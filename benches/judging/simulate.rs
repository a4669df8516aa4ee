//! Runs rollouts and says how each rule did.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use astern::decide::health::requests::{Case, judge};
use astern::decide::{Bad, Limit, Rate, Ratio, Reading};
use jiff::SignedDuration;

use crate::peers::{Goal, NEVER, PEERS, Peer, detects, longest};
use crate::random::Random;
use crate::rollout::{LENGTH, LOOK, Rollout, SCRAPE, World};

/// The two policies under test. `minimumRequests` and `window` are the defaults.
pub(crate) fn rate(goal: Goal) -> Rate {
    let limit = match goal {
        Goal::Threshold => Limit::Threshold {
            threshold: Ratio(goal.limit()),
            sustained: SignedDuration::from_secs(120),
        },
        Goal::WorseThanBefore => Limit::WorseThanBefore {
            factor: 3.0,
            at_least: Ratio(goal.limit()),
        },
    };
    Rate {
        limit,
        window: SignedDuration::from_secs(60),
        minimum_requests: 20,
    }
}

/// Looks every three seconds, and returns when it first breached under each of the policies.
pub(crate) fn astern(rollout: &mut Rollout, rates: &[Rate], offset: i64) -> Vec<Option<i64>> {
    let mut found = vec![None; rates.len()];
    let mut now = offset;
    while now <= LENGTH && found.contains(&None) {
        if rollout.show(now) {
            look(rollout, rates, now, &mut found);
        }
        now += LOOK;
    }
    found
}

fn look(rollout: &Rollout, rates: &[Rate], now: i64, found: &mut [Option<i64>]) {
    let newest = rollout.seen.new.iter().filter_map(|pod| pod.samples.last());
    let Some(newest) = newest.map(|sample| sample.at).max() else {
        return;
    };
    let case = Case {
        counters: &rollout.seen,
        baseline: None,
        newest,
        interval: SignedDuration::from_millis(SCRAPE),
    };
    let open = rates.iter().zip(found).filter(|(_, found)| found.is_none());
    for (rate, found) in open {
        if let Reading::Breached(_) = judge(&case, rate, Bad::Failed) {
            *found = Some(now);
        }
    }
}

/// One world at one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) world: World,
    pub(crate) rps: f64,
    pub(crate) rollouts: usize,
    pub(crate) seed: u64,
}

/// How often each rule acted where it should not have.
#[derive(Clone, Debug)]
pub(crate) struct Alarms {
    /// Per goal.
    pub(crate) astern: [usize; 2],
    /// Per goal and peer: how many rollouts reached a count, at most.
    pub(crate) longest: [[Vec<usize>; PEERS.len()]; 2],
}

/// How long each rule took, in seconds from the first bad request; infinite when it did not see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays {
    pub(crate) astern: Vec<f64>,
    /// Per peer.
    pub(crate) peers: Vec<Vec<f64>>,
}

/// Runs all `cells` on all processors, and returns what came out in their order.
pub(crate) fn on_all<T: Send>(cells: &[Cell], run: impl Fn(&Cell) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let take = || {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    cells.get(index).map(|cell| (index, cell))
                };
                while let Some((index, cell)) = take() {
                    let result = run(cell);
                    let mut done = done.lock().expect("no run panics");
                    done.push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no run panics");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Draws the times of looks and evaluations.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "milliseconds"
)]
fn offset(step: i64, random: &mut Random) -> i64 {
    (random.uniform() * step as f64) as i64 + 1
}

pub(crate) fn alarms(cell: &Cell) -> Alarms {
    let rates = Goal::ALL.map(rate);
    let mut random = Random::of(cell.seed, 0);
    let mut rollout = Rollout::draw(cell.world, cell.rps, &mut random);
    let mut alarms = Alarms {
        astern: [0; 2],
        longest: std::array::from_fn(|_| std::array::from_fn(|_| vec![0; NEVER + 1])),
    };
    for number in 1..=cell.rollouts {
        let mut random = Random::of(cell.seed, number as u64);
        rollout.again(cell.world, cell.rps, &mut random);
        let looks = offset(LOOK, &mut random);
        let found = astern(&mut rollout, &rates, looks);
        for (count, found) in alarms.astern.iter_mut().zip(&found) {
            *count += usize::from(found.is_some());
        }
        let evaluations = offset(SCRAPE, &mut random);
        for (goal, counts) in Goal::ALL.iter().zip(&mut alarms.longest) {
            for (peer, counts) in PEERS.iter().zip(counts) {
                counts[longest(*peer, &rollout, *goal, evaluations)] += 1;
            }
        }
    }
    alarms
}

/// Microseconds of one judgement, five minutes into a rollout with so many errors that both tests run.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
pub(crate) fn decision_us() -> f64 {
    const ROUNDS: usize = 2_000;
    let rates = Goal::ALL.map(rate);
    let mut rollout = Rollout::draw(World::Steady(0.01), 10.0, &mut Random::of(4_000, 0));
    rollout.show(300_000);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        look(&rollout, &rates, 300_000, &mut [None; 2]);
    }
    start.elapsed().as_secs_f64() * 1e6 / (ROUNDS * rates.len()) as f64
}

/// The share of rollouts in which Astern acts.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
pub(crate) fn acts(cell: &Cell, goal: Goal) -> f64 {
    let delays = delays(cell, goal, &[]);
    let acted = delays.astern.iter().filter(|delay| delay.is_finite());
    acted.count() as f64 / cell.rollouts as f64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds")]
pub(crate) fn delays(cell: &Cell, goal: Goal, peers: &[(Peer, usize)]) -> Delays {
    let rates = [rate(goal)];
    let mut random = Random::of(cell.seed, 0);
    let mut rollout = Rollout::draw(cell.world, cell.rps, &mut random);
    let mut delays = Delays {
        astern: Vec::new(),
        peers: vec![Vec::new(); peers.len()],
    };
    for number in 1..=cell.rollouts {
        let mut random = Random::of(cell.seed, number as u64);
        rollout.again(cell.world, cell.rps, &mut random);
        let looks = offset(LOOK, &mut random);
        let evaluations = offset(SCRAPE, &mut random);
        // Without a bad request there is nothing to find.
        let first_bad = rollout.first_bad.unwrap_or(0.0);
        let delay = |found: Option<i64>| {
            found.map_or(f64::INFINITY, |found| (found as f64 - first_bad) / 1000.0)
        };
        let found = astern(&mut rollout, &rates, looks);
        delays.astern.push(delay(found[0]));
        for ((peer, needed), delays) in peers.iter().zip(&mut delays.peers) {
            delays.push(delay(detects(*peer, &rollout, goal, evaluations, *needed)));
        }
    }
    delays.astern.sort_by(f64::total_cmp);
    for delays in &mut delays.peers {
        delays.sort_by(f64::total_cmp);
    }
    delays
}

/// The value that `share` of the sorted ones are not above.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "thousands"
)]
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
