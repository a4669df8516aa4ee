//! Single rollouts as pictures: what the detectors see, second by second.
//!
//! A test draws them anew and compares them with `docs/images`.

use astern::decide::health::requests::{Case, log_evidence};
use astern::decide::sequential::LEVEL_WORSE;
use jiff::SignedDuration;

use super::random::Random;
use super::rollout::{LOOK, NEW_PODS, Rollout, SCRAPE, World};
use super::svg::{Axis, COLOURS, Chart, Line, Stroke};

/// How much of a rollout is shown, in milliseconds.
const SHOWN: i64 = 300_000;
/// Requests per second of the new pods.
const RPS: f64 = 10.0;
const MINUTE: i64 = 60_000;

/// An outage that falls into the part that is shown comes with the third seed.
const WORLDS: [(&str, World, u64); 3] = [
    (
        "bad release:\n10 % of its requests fail",
        World::Fault(0.1),
        1,
    ),
    (
        "healthy release:\n0.1 % fail on both",
        World::Steady(0.001),
        2,
    ),
    (
        "outage of a dependency:\n50 % fail on both for 45 s",
        World::Outage {
            share: 0.5,
            lasts: 45_000,
        },
        3,
    ),
];

/// Returns the pictures with their names.
pub(crate) fn pictures() -> Vec<(&'static str, String)> {
    vec![
        ("judging-error-rate.svg", error_rate().svg()),
        ("judging-evidence.svg", evidence().svg()),
    ]
}

fn error_rate() -> Chart {
    let mut lines = traces(|rollout, now| {
        let (mut requests, mut errors) = (0.0, 0.0);
        for pod in 0..NEW_PODS {
            let within = rollout.samples(pod).iter();
            let within: Vec<_> = within.filter(|sample| sample.0 <= now).collect();
            let before = within.iter().rposition(|sample| sample.0 <= now - MINUTE);
            let zero = (0, 0.0, 0.0);
            let before = before.map_or(&zero, |index| within[index]);
            let last = within.last().copied().unwrap_or(&zero);
            requests += last.1 - before.1;
            errors += last.2 - before.2;
        }
        (requests > 0.0).then(|| errors / requests * 100.0)
    });
    lines.push(limit("threshold: 5 %", 5.0));
    Chart {
        title: "What a threshold sees: errors of the new pods in the last minute",
        x: time(),
        y: Axis {
            label: "% of requests that failed",
            from: 0.0,
            to: 50.0,
            is_logarithmic: false,
            ticks: vec![0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0],
        },
        lines,
    }
}

fn evidence() -> Chart {
    let mut lines = traces(|rollout, _| {
        let ends = rollout.seen.new.iter().filter_map(|pod| pod.samples.last());
        let newest = ends.map(|sample| sample.at).max()?;
        let case = Case {
            counters: &rollout.seen,
            baseline: None,
            newest,
            interval: SignedDuration::from_millis(SCRAPE),
        };
        Some(log_evidence(&case))
    });
    lines.push(limit("conclusive:\n100,000 to 1", -LEVEL_WORSE.ln()));
    Chart {
        title: "What the comparison sees: evidence that the new pods are worse than the old",
        x: time(),
        y: Axis {
            label: "evidence in nats, cut off at −20 and 30",
            from: -20.0,
            to: 30.0,
            is_logarithmic: false,
            ticks: vec![-20.0, -10.0, 0.0, 10.0, 20.0, 30.0],
        },
        lines,
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
fn traces(value: impl Fn(&Rollout, i64) -> Option<f64>) -> Vec<Line> {
    let worlds = WORLDS.iter().zip(COLOURS_OF_WORLDS);
    let line = |((name, world, seed), colour): (&(&str, World, u64), usize)| {
        let mut rollout = Rollout::draw(*world, RPS, &mut Random::of(*seed, 0));
        let mut points = Vec::new();
        let mut now = 0;
        while now <= SHOWN {
            rollout.show(now);
            points.extend(value(&rollout, now).map(|value| (now as f64 / 1000.0, value)));
            now += LOOK;
        }
        Line {
            name: (*name).to_owned(),
            colour: COLOURS[colour],
            stroke: Stroke::Solid,
            points,
        }
    };
    worlds.map(line).collect()
}

/// Bad ones are warm, healthy ones are not.
const COLOURS_OF_WORLDS: [usize; 3] = [1, 2, 0];

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
fn limit(name: &str, at: f64) -> Line {
    Line {
        name: name.to_owned(),
        colour: COLOURS[6],
        stroke: Stroke::Dashed,
        points: vec![(0.0, at), (SHOWN as f64 / 1000.0, at)],
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
fn time() -> Axis {
    Axis {
        label: "seconds since the release",
        from: 0.0,
        to: SHOWN as f64 / 1000.0,
        is_logarithmic: false,
        ticks: (0..=10).map(|step| f64::from(step) * 30.0).collect(),
    }
}
