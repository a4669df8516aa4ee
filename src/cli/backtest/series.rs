//! The one place that knows how the operator asks for the evidence of a trigger.
//!
//! Shapes of metrics, and what their labels mean, come from [`crate::observe::prometheus`].

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::decide::{Limit, Preset, Requests, Sample, Trigger, TriggerKind, Unknown};
use crate::observe::prometheus::answer;
use crate::observe::prometheus::presets::{Metric, Series};

/// A shape in which the counters of a trigger may have been recorded.
#[derive(Clone, Debug)]
pub struct Shape {
    metric: Metric,
    matchers: String,
    pub preset: Option<Preset>,
}

/// Samples by pod, in order of time.
pub type ByPod = BTreeMap<String, Vec<Sample>>;

/// Those that can be found without a preset.
const AUTO: [Preset; 2] = [Preset::Istio, Preset::HttpRequests];

/// Returns the shapes to try, in order; none for a trigger that reads no counters.
#[must_use]
pub fn shapes(trigger: &Trigger) -> Vec<Shape> {
    match &trigger.kind {
        TriggerKind::ErrorRate(rule) => {
            let Requests::Preset(shape) = &rule.requests else {
                return Vec::new();
            };
            let presets = if shape.preset == Preset::Auto {
                AUTO.to_vec()
            } else {
                vec![shape.preset]
            };
            let shape = |preset| Shape {
                metric: Metric::Requests(preset),
                matchers: shape.matchers.clone(),
                preset: Some(preset),
            };
            presets.into_iter().map(shape).collect()
        }
        TriggerKind::ProbeFailures(rule) => vec![Shape {
            metric: Metric::Probes(rule.probe),
            matchers: String::new(),
            preset: None,
        }],
        TriggerKind::Latency(_)
        | TriggerKind::Restarts(_)
        | TriggerKind::RolloutStalled
        | TriggerKind::Unavailable(_)
        | TriggerKind::PromQl(_)
        | TriggerKind::Alert(_) => Vec::new(),
    }
}

/// Returns how far back the evidence of a trigger goes.
#[must_use]
pub fn reach(trigger: &Trigger) -> SignedDuration {
    match &trigger.kind {
        TriggerKind::ErrorRate(rule) => match rule.rate.limit {
            Limit::Threshold { sustained, .. } => rule.rate.window + sustained,
            Limit::WorseThanBefore { .. } => rule.rate.window,
        },
        TriggerKind::Latency(rule) => rule.window + rule.sustained,
        TriggerKind::ProbeFailures(rule) => rule.window,
        TriggerKind::Restarts(rule) => rule.window,
        TriggerKind::Unavailable(rule) => rule.sustained,
        TriggerKind::PromQl(rule) => rule.sustained,
        TriggerKind::Alert(rule) => rule.sustained,
        TriggerKind::RolloutStalled => SignedDuration::ZERO,
    }
}

impl Shape {
    /// Returns the selector for pods whose names match `pods`.
    #[must_use]
    pub fn selector(&self, namespace: &str, pods: &str) -> String {
        let own = format!("pod=~\"{pods}\"");
        let matchers = match self.matchers.as_str() {
            "" => own,
            more => format!("{more},{own}"),
        };
        self.series(matchers).selector([namespace].into_iter())
    }

    /// Returns the label that names the pod.
    #[must_use]
    pub const fn pod_label(&self) -> &'static str {
        "pod"
    }

    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// Why it says nothing.
    pub fn read(&self, body: &[u8], namespace: &str) -> Result<ByPod, Unknown> {
        let samples = answer::read(body, &self.series(String::new()))?;
        let own = samples
            .into_iter()
            .filter(|((found, _), _)| found == namespace);
        Ok(own.map(|((_, pod), samples)| (pod, samples)).collect())
    }

    fn series(&self, matchers: String) -> Series {
        Series {
            source: String::new(),
            metric: self.metric,
            matchers,
        }
    }
}
