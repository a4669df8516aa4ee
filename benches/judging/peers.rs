//! What people use now, on the same samples.
//!
//! Each has one whole number that can be made larger until it gives no more false alarms than wanted:
//! how many times in a row, or how often among the last checks, its condition must hold.

use crate::mann_whitney::first_is_larger;
use crate::rollout::{LENGTH, NEW_PODS, OLD_PODS, Rollout, SCRAPE};

/// Of the rules, and of Kayenta's usual confidence of 98 % on two sides.
const THRESHOLD: f64 = 0.05;
const AT_LEAST: f64 = 0.005;
const SIGNIFICANT: f64 = 0.01;
const MINUTE: i64 = 60_000;
/// A check sequence of the failed-checks rule.
const CHECKS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `sum(rate(errors[window])) / sum(rate(requests[window])) > 5%`, evaluated every 15 seconds.
    Rate { window: i64 },
    /// One check a minute: `rate[1m] > 5%`.
    Checks,
    /// One test a window, of the error rates per pod and scrape.
    MannWhitney { window: i64 },
}

/// What a condition needs to know of the policy that it stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Over 5 %.
    Threshold,
    /// Over 0.5 % and over three times the old rate.
    WorseThanBefore,
}

impl Goal {
    pub(crate) const ALL: [Self; 2] = [Self::Threshold, Self::WorseThanBefore];

    /// The least error rate that it means, where the old one is the usual.
    pub(crate) const fn limit(self) -> f64 {
        match self {
            Self::Threshold => THRESHOLD,
            Self::WorseThanBefore => AT_LEAST,
        }
    }

    /// Where it stands in [`Goal::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Threshold => 0,
            Self::WorseThanBefore => 1,
        }
    }

    pub(crate) const fn policy(self) -> &'static str {
        match self {
            Self::Threshold => "`threshold: 5%, for: 2m`",
            Self::WorseThanBefore => "`worseThanBefore: {factor: 3, atLeast: 0.5%}`",
        }
    }
}

pub(crate) const PEERS: [Peer; 6] = [
    Peer::Rate { window: 5 * MINUTE },
    Peer::Rate { window: MINUTE },
    Peer::Checks,
    Peer::MannWhitney { window: MINUTE },
    Peer::MannWhitney { window: 2 * MINUTE },
    Peer::MannWhitney { window: 5 * MINUTE },
];

/// A larger number than any rollout can reach.
pub(crate) const NEVER: usize = 64;

impl Peer {
    pub(crate) fn name(self, needed: usize) -> String {
        let minutes = |window: i64| window / MINUTE;
        match self {
            _ if needed >= NEVER => format!("{} (never)", self.family()),
            Self::Rate { window } => {
                let seconds = 15 * (needed - 1);
                format!("`rate[{}m] > 5%` for {seconds}s", minutes(window))
            }
            Self::Checks => format!(
                "{needed} failed one-minute checks of {}",
                needed.max(CHECKS)
            ),
            Self::MannWhitney { window } => {
                format!(
                    "Mann-Whitney over {} min, {needed} in a row",
                    minutes(window)
                )
            }
        }
    }

    pub(crate) fn family(self) -> String {
        match self {
            Self::Rate { window } => format!("`rate[{}m] > 5%`", window / MINUTE),
            Self::Checks => "failed one-minute checks".to_owned(),
            Self::MannWhitney { window } => format!("Mann-Whitney over {} min", window / MINUTE),
        }
    }

    /// Between two evaluations.
    const fn step(self) -> i64 {
        match self {
            Self::Rate { .. } => SCRAPE,
            Self::Checks => MINUTE,
            Self::MannWhitney { window } => window,
        }
    }

    /// Calls `seen` at each evaluation with its time and how far the count is; until it returns false.
    pub(crate) fn run(
        self,
        rollout: &Rollout,
        goal: Goal,
        offset: i64,
        mut seen: impl FnMut(i64, usize) -> bool,
    ) {
        let mut in_a_row = 0;
        let mut last = [false; CHECKS];
        let step = self.step();
        let mut now = if step == SCRAPE { offset } else { step };
        while now <= LENGTH {
            let holds = self.holds(rollout, goal, now);
            in_a_row = if holds { in_a_row + 1 } else { 0 };
            last.rotate_left(1);
            last[CHECKS - 1] = holds;
            let count = if self == Self::Checks {
                let failed = last.iter().filter(|failed| **failed).count();
                failed.max(in_a_row)
            } else {
                in_a_row
            };
            if !seen(now, count) {
                return;
            }
            now += step;
        }
    }

    fn holds(self, rollout: &Rollout, goal: Goal, now: i64) -> bool {
        match self {
            Self::Rate { window } => rate_is_over(rollout, now - window, now),
            Self::Checks => rate_is_over(rollout, now - MINUTE, now),
            Self::MannWhitney { window } => is_significant(rollout, goal, now - window, now),
        }
    }
}

/// The longest count of a whole rollout.
pub(crate) fn longest(peer: Peer, rollout: &Rollout, goal: Goal, offset: i64) -> usize {
    let mut longest = 0;
    peer.run(rollout, goal, offset, |_, count| {
        longest = longest.max(count);
        true
    });
    longest
}

/// When the count first reaches `needed`.
pub(crate) fn detects(
    peer: Peer,
    rollout: &Rollout,
    goal: Goal,
    offset: i64,
    needed: usize,
) -> Option<i64> {
    let mut found = None;
    peer.run(rollout, goal, offset, |now, count| {
        found = (count >= needed).then_some(now);
        found.is_none()
    });
    found
}

fn rate_is_over(rollout: &Rollout, from: i64, to: i64) -> bool {
    let (mut errors, mut requests) = (0.0, 0.0);
    for pod in 0..NEW_PODS {
        let samples = within(rollout.samples(pod), from, to);
        errors += rate(samples, from, to, |sample| sample.2);
        requests += rate(samples, from, to, |sample| sample.1);
    }
    requests > 0.0 && errors / requests > THRESHOLD
}

fn within(samples: &[(i64, f64, f64)], from: i64, to: i64) -> &[(i64, f64, f64)] {
    let first = samples.partition_point(|sample| sample.0 <= from);
    let end = samples.partition_point(|sample| sample.0 <= to);
    &samples[first..end.max(first)]
}

/// What `rate()` of Prometheus gives, from its documented rules: the increase between the first and
/// the last sample of the range, stretched to the edges of the range that are nearer than 1.1 times
/// the mean distance of samples, and to half of that distance otherwise; not to before a counter
/// would have been zero.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
pub(crate) fn rate(
    samples: &[(i64, f64, f64)],
    from: i64,
    to: i64,
    value: impl Fn(&(i64, f64, f64)) -> f64,
) -> f64 {
    let [first, .., last] = samples else {
        return 0.0;
    };
    let increase = value(last) - value(first);
    let span = (last.0 - first.0) as f64;
    let mean = span / (samples.len() - 1) as f64;
    let near = |distance: f64| {
        if distance < mean * 1.1 {
            distance
        } else {
            mean / 2.0
        }
    };
    let mut before = near((first.0 - from) as f64);
    if increase > 0.0 {
        before = before.min(span * value(first) / increase);
    }
    let after = near((to - last.0) as f64);
    increase * (span + before + after) / span / (to - from) as f64
}

fn is_significant(rollout: &Rollout, goal: Goal, from: i64, to: i64) -> bool {
    let (new_requests, new_errors, new) = shares(rollout, 0..NEW_PODS, from, to);
    let share = new_errors / new_requests;
    // No requests at all are no share.
    if share.is_nan() || share <= goal.limit() {
        return false;
    }
    let (old_requests, old_errors, old) = shares(rollout, NEW_PODS..NEW_PODS + OLD_PODS, from, to);
    let is_worse = match goal {
        Goal::Threshold => true,
        Goal::WorseThanBefore => share > 3.0 * old_errors / old_requests,
    };
    is_worse && first_is_larger(&new, &old).is_some_and(|p| p < SIGNIFICANT)
}

/// Requests, errors, and the share of errors of each pod in each scrape.
fn shares(
    rollout: &Rollout,
    pods: std::ops::Range<usize>,
    from: i64,
    to: i64,
) -> (f64, f64, Vec<f64>) {
    let (mut requests, mut errors, mut shares) = (0.0, 0.0, Vec::with_capacity(64));
    for pod in pods {
        let samples = rollout.samples(pod);
        let first = samples.partition_point(|sample| sample.0 <= from);
        let end = samples.partition_point(|sample| sample.0 <= to);
        let mut previous = match first.checked_sub(1) {
            Some(before) => samples[before],
            None => (from, 0.0, 0.0),
        };
        for sample in &samples[first..end.max(first)] {
            let total = sample.1 - previous.1;
            requests += total;
            errors += sample.2 - previous.2;
            if total > 0.0 {
                shares.push((sample.2 - previous.2) / total);
            }
            previous = *sample;
        }
    }
    (requests, errors, shares)
}
