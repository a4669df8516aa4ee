//! Logs, and the operator's own metrics.
//!
//! Every label value comes from a closed set in the code; nothing that a tenant writes becomes one.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use super::flags::{Flags, LogFormat};
use crate::controller::Meter;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// The operator's own metrics.
pub struct Telemetry {
    registry: Registry,
    decisions: Family<ByReason, Counter>,
    rollbacks: Family<ByState, Counter>,
    drills: Family<ByOutcome, Counter>,
    ready: Family<ByOutcome, Gauge>,
    failures: Counter,
    leader: Gauge,
    breaker: Gauge,
}

impl Telemetry {
    /// Returns metrics that start at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("astern");
        let decisions = Family::default();
        let rollbacks = Family::default();
        let drills = Family::default();
        let ready = Family::default();
        let failures = Counter::default();
        let leader = Gauge::default();
        let breaker = Gauge::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the operator", version);
        registry.register(
            "decisions",
            "Looks at workloads, by the reason they led to",
            Family::clone(&decisions),
        );
        registry.register(
            "rollbacks",
            "Rollbacks, counted once for each state they reached",
            Family::clone(&rollbacks),
        );
        registry.register("drills", "Drills, by outcome", Family::clone(&drills));
        registry.register(
            "drill_targets",
            "Workloads that drills are asked for, by the outcome of the last one",
            Family::clone(&ready),
        );
        registry.register(
            "reconcile_failures",
            "Looks at workloads that failed and are tried again",
            failures.clone(),
        );
        registry.register("leader", "1 while this replica leads", leader.clone());
        registry.register(
            "breaker_open",
            "1 after this replica opened the breaker, until it is reset",
            breaker.clone(),
        );
        Self {
            registry,
            decisions,
            rollbacks,
            drills,
            ready,
            failures,
            leader,
            breaker,
        }
    }

    /// Returns all metrics in the `OpenMetrics` text format.
    #[must_use]
    pub fn text(&self, leads: bool) -> String {
        self.leader.set(i64::from(leads));
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter for Telemetry {
    fn decided(&self, reason: &'static str) {
        self.decisions.get_or_create(&ByReason { reason }).inc();
    }

    fn reached(&self, state: &'static str) {
        self.rollbacks.get_or_create(&ByState { state }).inc();
    }

    fn drilled(&self, outcome: &'static str) {
        self.drills.get_or_create(&ByOutcome { outcome }).inc();
    }

    fn ready(&self, before: Option<&'static str>, after: Option<&'static str>) {
        if let Some(outcome) = before {
            self.ready.get_or_create(&ByOutcome { outcome }).dec();
        }
        if let Some(outcome) = after {
            self.ready.get_or_create(&ByOutcome { outcome }).inc();
        }
    }

    fn failed(&self) {
        self.failures.inc();
    }

    fn breaker(&self, open: bool) {
        self.breaker.set(i64::from(open));
    }
}

/// Starts writing logs to the standard error.
///
/// # Errors
///
/// When the filter makes no sense.
pub fn start_logs(flags: &Flags) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&flags.log_level).map_err(|error| {
        anyhow::anyhow!(
            "--log-level {:?} is no filter ({error}); try info",
            flags.log_level
        )
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match flags.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_named_and_counted() {
        let telemetry = Telemetry::new();
        telemetry.reached("Recovered");
        telemetry.decided("OnProbation");
        telemetry.drilled("NoTarget");
        telemetry.ready(None, Some("NoTarget"));
        telemetry.ready(Some("NoTarget"), Some("Ready"));
        let text = telemetry.text(true);
        for line in [
            "astern_rollbacks_total{state=\"Recovered\"} 1",
            "astern_decisions_total{reason=\"OnProbation\"} 1",
            "astern_drills_total{outcome=\"NoTarget\"} 1",
            "astern_drill_targets{outcome=\"NoTarget\"} 0",
            "astern_drill_targets{outcome=\"Ready\"} 1",
            "astern_leader 1",
            "astern_reconcile_failures_total 0",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
