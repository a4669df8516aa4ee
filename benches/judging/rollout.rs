//! One simulated rollout: what the pods of two revisions count, scrape by scrape.
//!
//! Three new and nine old pods with equal traffic, so the new ones have a quarter. Each pod is scraped
//! every 15 seconds in a phase of its own. Requests and errors of a pod are Poisson given its rates.

use astern::decide::{Counters, PodCounters, Sample};
use jiff::{SignedDuration, Timestamp};

use crate::random::Random;

pub(crate) const NEW_PODS: usize = 3;
pub(crate) const OLD_PODS: usize = 9;
/// Milliseconds.
pub(crate) const SCRAPE: i64 = 15_000;
/// How long a rollout is watched.
pub(crate) const LENGTH: i64 = 900_000;
/// Between two looks.
pub(crate) const LOOK: i64 = 3_000;
/// Old pods are seen from before the rollout on: a minute and a scrape.
const OLD_SEEN: i64 = -75_000;
/// Their age does not matter beyond that.
const OLD_BORN: i64 = -86_400_000;

/// What happens in a rollout. Shares of requests; times in milliseconds since the release.
#[derive(Clone, Copy, Debug)]
pub(crate) enum World {
    /// Errors of both revisions alike.
    Steady(f64),
    /// Each pod's error rate is drawn anew for each scrape: gamma of this shape, this mean.
    Bursty { mean: f64, shape: f64 },
    /// A dependency of both revisions fails once, at a random time.
    Outage { share: f64, lasts: i64 },
    /// A client asks the same pod again at once, up to three times, and fails again with this chance.
    Retries { again: f64 },
    /// The load swings between a fifth and nine fifths, and errors grow with it.
    Diurnal,
    /// One pod of the twelve takes half the requests, and fails this share.
    SlowPod(f64),
    /// Each new pod fails this share for so long after its birth.
    ColdStart { share: f64, lasts: i64 },
    /// The new revision is bad.
    Fault(f64),
}

/// The usual error rate.
pub(crate) const NORMAL: f64 = 0.001;

/// A pod's whole life, of which a look sees the part up to its time.
struct Life {
    born: i64,
    samples: Vec<(i64, f64, f64)>,
}

/// All that happened, and what was seen of it so far.
pub(crate) struct Rollout {
    lives: Vec<Life>,
    pub(crate) seen: Counters,
    /// When the first request of a new pod failed.
    pub(crate) first_bad: Option<f64>,
}

pub(crate) fn time(millisecond: i64) -> Timestamp {
    // Any fixed time does.
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(1_000_000_000_000 + millisecond)
}

/// What is drawn once for all pods.
struct Draw {
    outage_start: i64,
    load_phase: f64,
    slow: usize,
}

impl Rollout {
    /// Draws one. `rps` counts on all new pods together.
    pub(crate) fn draw(world: World, rps: f64, random: &mut Random) -> Self {
        let mut rollout = Self {
            lives: (0..NEW_PODS + OLD_PODS)
                .map(|_| Life {
                    born: 0,
                    samples: Vec::with_capacity(70),
                })
                .collect(),
            seen: Counters::default(),
            first_bad: None,
        };
        let pod = |number: usize| PodCounters {
            pod: format!("pod-{number}"),
            born: time(if number < NEW_PODS { 0 } else { OLD_BORN }),
            samples: Vec::with_capacity(70),
        };
        rollout.seen.new = (0..NEW_PODS).map(pod).collect();
        rollout.seen.old = (NEW_PODS..NEW_PODS + OLD_PODS).map(pod).collect();
        rollout.again(world, rps, random);
        rollout
    }

    /// Draws another one into the same memory.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "milliseconds of a rollout"
    )]
    pub(crate) fn again(&mut self, world: World, rps: f64, random: &mut Random) {
        self.first_bad = None;
        for pod in self.seen.new.iter_mut().chain(&mut self.seen.old) {
            pod.samples.clear();
        }
        let lasts = if let World::Outage { lasts, .. } = world {
            lasts
        } else {
            0
        };
        let draw = Draw {
            outage_start: (random.uniform() * (LENGTH - lasts) as f64) as i64,
            load_phase: random.uniform(),
            slow: (random.uniform() * (NEW_PODS + OLD_PODS) as f64) as usize,
        };
        let rate = rps / NEW_PODS as f64 / 1000.0;
        for number in 0..self.lives.len() {
            let is_new = number < NEW_PODS;
            let phase = (random.uniform() * SCRAPE as f64) as i64 + 1;
            let life = &mut self.lives[number];
            life.samples.clear();
            life.born = if is_new { 0 } else { OLD_SEEN };
            let (mut from, mut total, mut failed) = (life.born, 0.0, 0.0);
            let mut to = life.born + phase;
            while to <= LENGTH {
                let load = load(world, &draw, number, from, to);
                let requests = rate * load * (to - from) as f64;
                let share = share(world, &draw, number, (from, to), random);
                let bad = errors(world, requests * share, random);
                let good = random.poisson(requests * (1.0 - share));
                if is_new && failed == 0.0 && bad > 0.0 {
                    // The first of that many, evenly spread.
                    let part = 1.0 - random.uniform().powf(1.0 / bad);
                    let at = from as f64 + part * (to - from) as f64;
                    let first = self.first_bad.unwrap_or(f64::INFINITY);
                    self.first_bad = Some(first.min(at));
                }
                total += bad + good;
                failed += bad;
                life.samples.push((to, total, failed));
                from = to;
                to += SCRAPE;
            }
        }
    }

    /// Shows what was scraped by `now`. Returns whether anything is new.
    pub(crate) fn show(&mut self, now: i64) -> bool {
        let mut news = false;
        let pods = self.seen.new.iter_mut().chain(&mut self.seen.old);
        for (life, pod) in self.lives.iter().zip(pods) {
            let seen = pod.samples.len();
            let fresh = life.samples[seen..].iter();
            for (at, total, failed) in fresh.take_while(|(at, ..)| *at <= now) {
                news = true;
                pod.samples.push(Sample {
                    at: time(*at),
                    total: *total,
                    failed: *failed,
                });
            }
        }
        news
    }

    /// The scrapes of one pod: time, requests, failures; all of them, also those to come.
    pub(crate) fn samples(&self, pod: usize) -> &[(i64, f64, f64)] {
        &self.lives[pod].samples
    }
}

/// The mean load of a pod between two times, as a multiple.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
fn load(world: World, draw: &Draw, pod: usize, from: i64, to: i64) -> f64 {
    match world {
        World::Diurnal => {
            let middle = (from + to) as f64 / 2.0 / LENGTH as f64;
            1.0 + 0.8 * (2.0 * std::f64::consts::PI * (middle + draw.load_phase)).sin()
        }
        World::SlowPod(_) if pod == draw.slow => 0.5,
        World::SlowPod(_)
        | World::Steady(_)
        | World::Bursty { .. }
        | World::Outage { .. }
        | World::Retries { .. }
        | World::ColdStart { .. }
        | World::Fault(_) => 1.0,
    }
}

/// The mean share of a pod's requests that fail between two times.
fn share(world: World, draw: &Draw, pod: usize, span: (i64, i64), random: &mut Random) -> f64 {
    let is_new = pod < NEW_PODS;
    match world {
        World::Steady(share) => share,
        World::Bursty { mean, shape } => (mean * random.gamma(shape)).min(1.0),
        World::Outage { share, lasts } => {
            let start = draw.outage_start;
            NORMAL + (share - NORMAL) * overlap(span, (start, start + lasts))
        }
        World::Retries { again } => NORMAL / (1.0 + again + again * again + again * again * again),
        World::Diurnal => NORMAL * load(world, draw, pod, span.0, span.1),
        World::SlowPod(share) if pod == draw.slow => share,
        World::ColdStart { share, lasts } if is_new => {
            NORMAL + (share - NORMAL) * overlap(span, (0, lasts))
        }
        World::Fault(share) if is_new => share,
        World::SlowPod(_) | World::ColdStart { .. } | World::Fault(_) => NORMAL,
    }
}

/// How much of the span is within the other.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
fn overlap(span: (i64, i64), other: (i64, i64)) -> f64 {
    let within = (span.1.min(other.1) - span.0.max(other.0)).max(0);
    within as f64 / (span.1 - span.0) as f64
}

fn errors(world: World, mean: f64, random: &mut Random) -> f64 {
    let mut errors = random.poisson(mean);
    if let World::Retries { again } = world {
        let mut clients = errors;
        for _ in 0..3 {
            let mut still = 0.0;
            while clients > 0.0 {
                still += f64::from(random.uniform() < again);
                clients -= 1.0;
            }
            errors += still;
            clients = still;
        }
    }
    errors
}
