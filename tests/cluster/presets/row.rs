//! What is exposed, and what must be known of it.

use astern::decide::{Counters, Evidence, Preset, Unknown};
use serde_json::{Value, json};

/// A pod of the revision before.
pub(crate) const OLD: &str = "checkout-6d4cf56db6-aaaaa";
/// Pods of the revision that is judged.
pub(crate) const NEW: &str = "checkout-7d9f8b6c5d-bbbbb";
pub(crate) const NEWER: &str = "checkout-7d9f8b6c5d-ccccc";

/// All requests, and the bad ones among them.
pub(crate) type Count = (f64, f64);

/// What must be known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// By pod.
    Pods { old: Count, new: Count },
    /// By time, since the series do not tell revisions apart.
    BeforeAndAfter { before: Count, after: Count },
    /// Nothing, since the series do not say what became of requests.
    Nothing,
}

/// One way to expose requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Also of its file and its namespace.
    pub(crate) name: &'static str,
    pub(crate) exposition: &'static str,
    pub(crate) preset: Preset,
    pub(crate) requests: Known,
    /// The threshold, and what must be known of requests that take longer.
    pub(crate) latency: Option<(&'static str, Known)>,
    /// Names of labels: of the pod, and of the namespace.
    pub(crate) labels: Option<(&'static str, &'static str)>,
    /// More matchers.
    pub(crate) matchers: Option<&'static str>,
}

impl Row {
    pub(crate) const fn new(
        name: &'static str,
        exposition: &'static str,
        preset: Preset,
        requests: Known,
    ) -> Self {
        Self {
            name,
            exposition,
            preset,
            requests,
            latency: None,
            labels: None,
            matchers: None,
        }
    }

    pub(crate) const fn latency(mut self, threshold: &'static str, known: Known) -> Self {
        self.latency = Some((threshold, known));
        self
    }

    pub(crate) const fn labels(mut self, pod: &'static str, namespace: &'static str) -> Self {
        self.labels = Some((pod, namespace));
        self
    }

    pub(crate) const fn matchers(mut self, matchers: &'static str) -> Self {
        self.matchers = Some(matchers);
        self
    }

    pub(crate) fn namespace(&self) -> String {
        format!("presets-{}", self.name)
    }

    /// Returns `text` with names in place of what stands for them.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("$namespace", &self.namespace())
            .replace("$old", OLD)
            .replace("$newer", NEWER)
            .replace("$new", NEW)
    }

    /// Returns the policy that asks for it, by its name and by `Auto`.
    pub(crate) fn policy(&self) -> Value {
        let mut triggers = Vec::new();
        for (suffix, preset) in [("", self.preset), ("-auto", Preset::Auto)] {
            let mut shape = json!({"preset": preset.name()});
            if let Some((pod, namespace)) = self.labels {
                shape["labels"] = json!({"pod": pod, "namespace": namespace});
            }
            if let Some(matchers) = self.matchers {
                shape["match"] = json!(matchers);
            }
            let mut requests = shape.clone();
            requests["threshold"] = json!("5%");
            triggers.push(json!({"name": format!("requests{suffix}"), "errorRate": requests}));
            if let Some((threshold, _)) = self.latency {
                shape["percentile"] = json!("95");
                shape["threshold"] = json!(threshold);
                triggers.push(json!({"name": format!("latency{suffix}"), "latency": shape}));
            }
        }
        json!({
            "metadata": {"namespace": self.namespace(), "name": "checkout"},
            "spec": {"targetRefs": [{"name": "checkout"}], "triggers": triggers},
        })
    }

    /// Returns what must be known for a trigger of [`Row::policy`].
    pub(crate) fn known(&self, trigger: &str) -> Option<Known> {
        if trigger.starts_with("requests") {
            return Some(self.requests);
        }
        self.latency.map(|(_, known)| known)
    }

    /// Returns what is wrong with `evidence` for a trigger; `None` when nothing is.
    pub(crate) fn wrong(&self, trigger: &str, evidence: &Evidence) -> Option<String> {
        let seen = match evidence {
            Evidence::Counters(counters) => counters,
            Evidence::Missing(Unknown::NoData) if matches!(self.requests, Known::Nothing) => {
                return None;
            }
            Evidence::Missing(_) | Evidence::Values(_) | Evidence::Firing(_) => {
                return Some(format!("{evidence:?}"));
            }
        };
        let right = self.known(trigger).is_some_and(|known| known.is(seen));
        let preset = seen.preset == Some(self.preset);
        (!right || !preset).then(|| {
            format!(
                "{:?}: old {:?}, new {:?}, before and after {}",
                seen.preset,
                sum(&seen.old),
                sum(&seen.new),
                seen.before_and_after
            )
        })
    }
}

impl Known {
    fn is(self, seen: &Counters) -> bool {
        let (old, new, by_time) = match self {
            Self::Pods { old, new } => (old, new, false),
            Self::BeforeAndAfter { before, after } => (before, after, true),
            Self::Nothing => return seen.old.is_empty() && seen.new.is_empty(),
        };
        let same = |one: Count, other: Count| {
            (one.0 - other.0).abs() < 1e-6 && (one.1 - other.1).abs() < 1e-6
        };
        seen.before_and_after == by_time && same(sum(&seen.old), old) && same(sum(&seen.new), new)
    }
}

fn sum(pods: &[astern::decide::PodCounters]) -> Count {
    let newest = pods.iter().filter_map(|pod| pod.samples.last());
    newest.fold((0.0, 0.0), |(total, failed), sample| {
        (total + sample.total, failed + sample.failed)
    })
}
