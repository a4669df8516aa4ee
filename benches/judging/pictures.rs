//! The figures of a whole run as pictures. `docs/images` has those of the last one.

use super::peers::{Goal, PEERS, Peer};
use super::report::Fault;
use super::simulate::quantile;
use super::svg::{Axis, COLOURS, Chart, Line, Stroke};

/// The load whose delays are shown, in requests per second of the new pods.
const SHOWN_RPS: f64 = 10.0;

/// Returns the pictures with their names.
pub(crate) fn of(faults: &[Fault]) -> Vec<(&'static str, String)> {
    vec![
        ("judging-delays.svg", delays(faults).svg()),
        ("judging-bound.svg", bound(faults).svg()),
    ]
}

fn delays(faults: &[Fault]) -> Chart {
    let shown = || {
        let faults = faults.iter();
        faults.filter(|fault| {
            fault.goal == Goal::Threshold && (fault.rps - SHOWN_RPS).abs() < f64::EPSILON
        })
    };
    let line = |name: String, number: usize, stroke, delays: &dyn Fn(&Fault) -> f64| Line {
        name,
        colour: COLOURS[number % COLOURS.len()],
        stroke,
        points: shown()
            .map(|fault| (fault.share * 100.0, delays(fault)))
            .filter(|(_, delay)| delay.is_finite())
            .collect(),
    };
    let median = |fault: &Fault| quantile(&fault.delays.astern, 0.5);
    let late = |fault: &Fault| quantile(&fault.delays.astern, 0.95);
    let mut lines = vec![
        line("Astern, median".to_owned(), 0, Stroke::Solid, &median),
        line(
            "Astern, 95 % of rollouts".to_owned(),
            0,
            Stroke::Dashed,
            &late,
        ),
    ];
    for (index, peer) in PEERS.iter().enumerate() {
        let median = |fault: &Fault| quantile(&fault.delays.peers[index], 0.5);
        let name = peer.family().replace('`', "");
        let stroke = match peer {
            // It takes as long as one of the others.
            Peer::Checks => Stroke::Dashed,
            Peer::Rate { .. } | Peer::MannWhitney { .. } => Stroke::Solid,
        };
        lines.push(line(name, index + 1, stroke, &median));
    }
    Chart {
        title: "How long it takes, at 10 requests per second and a threshold of 5 %",
        x: Axis {
            label: "% of the new revision's requests that fail",
            from: 10.0,
            to: 100.0,
            is_logarithmic: true,
            ticks: vec![10.0, 20.0, 50.0, 100.0],
        },
        y: Axis {
            label: "seconds since the first bad request",
            from: 5.0,
            to: 1000.0,
            is_logarithmic: true,
            ticks: vec![5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0],
        },
        lines,
    }
}

fn bound(faults: &[Fault]) -> Chart {
    let cells = |goal, name: &str, colour| Line {
        name: name.to_owned(),
        colour: COLOURS[colour],
        stroke: Stroke::Dots,
        points: faults
            .iter()
            .filter(|fault| fault.goal == goal)
            .map(|fault| (fault.bound, quantile(&fault.delays.astern, 0.5)))
            .filter(|(_, median)| median.is_finite())
            .collect(),
    };
    let steps = (0..=80).map(|step| 10_f64.powf(f64::from(step) * 0.05 - 1.0));
    let along = |times: f64| steps.clone().map(|x| (x, times * x + 7.5)).collect();
    Chart {
        title: "How near that is to what is possible at all",
        x: Axis {
            label: "bound in seconds: ln(1/level) / information per second",
            from: 0.1,
            to: 1000.0,
            is_logarithmic: true,
            ticks: vec![0.1, 1.0, 10.0, 100.0, 1000.0],
        },
        y: Axis {
            label: "median delay in seconds",
            from: 5.0,
            to: 1000.0,
            is_logarithmic: true,
            ticks: vec![5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0],
        },
        lines: vec![
            cells(Goal::Threshold, "threshold: 5 %", 0),
            cells(Goal::WorseThanBefore, "worseThanBefore", 1),
            Line {
                name: "bound and half a scrape".to_owned(),
                colour: COLOURS[6],
                stroke: Stroke::Solid,
                points: along(1.0),
            },
            Line {
                name: "one and a half times that".to_owned(),
                colour: COLOURS[6],
                stroke: Stroke::Dashed,
                points: along(1.5),
            },
        ],
    }
}
