//! What came out: flat JSON for machines, a page of tables for people.

use std::fmt::{self, Write};

use crate::peers::{Goal, Peer};
use crate::rollout::{LENGTH, SCRAPE, World};
use crate::scenarios::{Healthy, LOADS};
use crate::simulate::{Delays, quantile};

/// All figures of one run.
pub(crate) struct Quality {
    pub(crate) rollouts_per_scenario: usize,
    pub(crate) rollouts_per_fault: usize,
    /// Per scenario and load: false rollbacks by goal.
    pub(crate) healthy: Vec<(Healthy, Vec<[usize; 2]>)>,
    pub(crate) peers: Vec<(Goal, Vec<(Peer, usize)>)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) below: Vec<Below>,
    pub(crate) decision_us: f64,
    pub(crate) seconds: f64,
}

/// One bad release at one load.
pub(crate) struct Fault {
    pub(crate) goal: Goal,
    pub(crate) share: f64,
    pub(crate) rps: f64,
    pub(crate) delays: Delays,
    /// Seconds.
    pub(crate) bound: f64,
}

/// A true error rate below the threshold, and the share of rollouts in which Astern acts.
pub(crate) struct Below {
    pub(crate) world: World,
    pub(crate) acts: f64,
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
const SCRAPE_SECONDS: f64 = SCRAPE as f64 / 1000.0;
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a rollout")]
const LENGTH_SECONDS: f64 = LENGTH as f64 / 1000.0;

impl Fault {
    fn median(&self) -> f64 {
        quantile(&self.delays.astern, 0.5)
    }

    fn best_peer(&self) -> f64 {
        let medians = self.delays.peers.iter().map(|delays| quantile(delays, 0.5));
        medians.fold(f64::INFINITY, f64::min)
    }

    /// The median, less the half scrape that samples are old, as a multiple of the bound. Where the
    /// bound is shorter than a scrape the scrape decides, and where it is longer than the rollout
    /// nothing can be found.
    fn bound_ratio(&self) -> Option<f64> {
        let is_bound = self.bound > SCRAPE_SECONDS && self.bound < LENGTH_SECONDS;
        is_bound.then(|| (self.median() - SCRAPE_SECONDS / 2.0) / self.bound)
    }
}

impl Quality {
    fn false_rollbacks_max(&self) -> usize {
        let quiet = self
            .healthy
            .iter()
            .filter(|(healthy, _)| !healthy.is_outage);
        let counts = quiet.flat_map(|(_, loads)| loads.iter().flatten());
        counts.copied().max().unwrap_or(0)
    }

    fn cells_slower(&self) -> usize {
        let slower = |fault: &&Fault| fault.median() > fault.best_peer();
        self.faults.iter().filter(slower).count()
    }

    fn bound_ratio_max(&self) -> f64 {
        let ratios = self.faults.iter().filter_map(Fault::bound_ratio);
        ratios.fold(0.0, f64::max)
    }

    fn at_ten_rps_half_bad(&self) -> f64 {
        let is_it = |fault: &&Fault| {
            fault.goal == Goal::Threshold
                && (fault.share - 0.5).abs() < 1e-9
                && (fault.rps - 10.0).abs() < 1e-9
        };
        let found = self.faults.iter().find(is_it);
        found.map_or(f64::INFINITY, Fault::median)
    }

    /// Returns the figures that are checked. What is infinite is `null`.
    pub(crate) fn json(&self) -> String {
        let number = |value: f64| {
            if value.is_finite() {
                format!("{value:.2}")
            } else {
                "null".to_owned()
            }
        };
        let outages = self.healthy.iter().filter(|(healthy, _)| healthy.is_outage);
        let outages = outages.flat_map(|(_, loads)| loads.iter().flatten());
        let fields = [
            (
                "rollouts_per_scenario",
                self.rollouts_per_scenario.to_string(),
            ),
            (
                "false_rollbacks_max",
                self.false_rollbacks_max().to_string(),
            ),
            (
                "false_rollbacks_in_outages_max",
                outages.copied().max().unwrap_or(0).to_string(),
            ),
            (
                "median_delay_10rps_50pct_s",
                number(self.at_ten_rps_half_bad()),
            ),
            ("cells_slower_than_peers", self.cells_slower().to_string()),
            ("bound_ratio_max", number(self.bound_ratio_max())),
            ("decision_us", number(self.decision_us)),
            ("seconds", number(self.seconds)),
        ];
        let lines = fields.map(|(key, value)| format!("  \"{key}\": {value}"));
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// Returns all of it as Markdown.
    pub(crate) fn page(&self) -> String {
        let mut page = String::new();
        self.write_page(&mut page)
            .expect("writing into a string does not fail");
        page
    }

    fn write_page(&self, page: &mut String) -> fmt::Result {
        writeln!(
            page,
            "# How well Astern judges\n\n\
             By simulation with fixed seeds (`make bench-judging`, {:.0} s). A rollout: three new pods \
             beside nine old ones, scrapes every 15 s, looks every 3 s, 15 minutes. Requests per second \
             are those of the new pods together. Old error rate 0.1 % unless said.\n\n```json\n{}```\n",
            self.seconds,
            self.json()
        )?;
        self.write_healthy(page)?;
        self.write_below(page)?;
        for (goal, peers) in &self.peers {
            self.write_delays(page, *goal, peers)?;
        }
        Ok(())
    }

    fn write_healthy(&self, page: &mut String) -> fmt::Result {
        writeln!(
            page,
            "## Healthy releases\n\nFalse rollbacks of {} rollouts per cell.\n",
            self.rollouts_per_scenario
        )?;
        for goal in Goal::ALL {
            writeln!(page, "Under {}:\n", goal.policy())?;
            head(page, "scenario")?;
            for (healthy, loads) in &self.healthy {
                write!(page, "| {} |", healthy.name)?;
                for counts in loads {
                    write!(page, " {} |", counts[goal.index()])?;
                }
                writeln!(page)?;
            }
            writeln!(page)?;
        }
        Ok(())
    }

    fn write_below(&self, page: &mut String) -> fmt::Result {
        writeln!(
            page,
            "## Below the threshold\n\nShare of rollouts in which it acts under {}.\n",
            Goal::Threshold.policy()
        )?;
        head(page, "true error rate")?;
        for loads in self.below.chunks(LOADS.len()) {
            if let Some(World::Fault(share)) = loads.first().map(|below| below.world) {
                write!(page, "| {} % |", share * 100.0)?;
            }
            for below in loads {
                write!(page, " {:.2} % |", below.acts * 100.0)?;
            }
            writeln!(page)?;
        }
        writeln!(page)
    }

    fn write_delays(&self, page: &mut String, goal: Goal, peers: &[(Peer, usize)]) -> fmt::Result {
        writeln!(
            page,
            "## Bad releases under {}\n\nSeconds from the first bad request, of {} rollouts per cell. \
             Every rule below Astern's has been lengthened until it has no more false rollbacks than \
             Astern over the healthy scenarios. – is: not in 15 minutes.\n",
            goal.policy(),
            self.rollouts_per_fault
        )?;
        write!(
            page,
            "| errors | rps | Astern, median | 95 % | bound | ratio | best other |"
        )?;
        for (peer, needed) in peers {
            write!(page, " {} |", peer.name(*needed))?;
        }
        writeln!(page, "\n|{}", "--:|".repeat(7 + peers.len()))?;
        for fault in self.faults.iter().filter(|fault| fault.goal == goal) {
            let ratio = fault.bound_ratio();
            write!(
                page,
                "| {} % | {} | **{}** | {} | {:.1} | {} | {} |",
                fault.share * 100.0,
                fault.rps,
                seconds(fault.median()),
                seconds(quantile(&fault.delays.astern, 0.95)),
                fault.bound,
                ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
                seconds(fault.best_peer()),
            )?;
            for delays in &fault.delays.peers {
                write!(page, " {} |", seconds(quantile(delays, 0.5)))?;
            }
            writeln!(page)?;
        }
        writeln!(page)
    }
}

/// The head of a table with a column for each load.
fn head(page: &mut String, first: &str) -> fmt::Result {
    write!(page, "| {first} |")?;
    for rps in LOADS {
        write!(page, " {rps} rps |")?;
    }
    writeln!(page, "\n|---|{}", "--:|".repeat(LOADS.len()))
}

fn seconds(delay: f64) -> String {
    if delay.is_finite() {
        format!("{delay:.1}")
    } else {
        "–".to_owned()
    }
}
