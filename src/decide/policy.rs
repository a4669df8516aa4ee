//! What a policy asks for, parsed and complete: every default is filled in, every bound is checked.
//!
//! How a policy is spelled in YAML is not known here; `api::parse` is the only way to get one.

use std::fmt;

use jiff::SignedDuration;

/// How far Astern may go. One ladder everywhere; caps only lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Nothing is judged.
    Disabled,
    /// Judges and records what it would have done; never writes to a Deployment.
    Observe,
    /// Proposes, and acts when people have approved.
    RequireApproval,
    /// Acts by itself.
    Automatic,
}

impl Mode {
    /// The spelling in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Observe => "Observe",
            Self::RequireApproval => "RequireApproval",
            Self::Automatic => "Automatic",
        }
    }
}

/// A share of a whole, from 0 to 1. Written as a percentage in the API.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(pub f64);

impl fmt::Display for Ratio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        // Two digits are enough for people; whole numbers carry none.
        let text = format!("{percent:.2}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        write!(formatter, "{text}%")
    }
}

/// Everything that governs one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// For messages: the name of the object that it was read from.
    pub name: String,
    pub mode: Mode,
    /// How long a revision is judged after its rollout completed.
    pub probation: SignedDuration,
    /// Never empty: without triggers of its own a policy gets the default ones.
    pub triggers: Vec<Trigger>,
    pub approval: ApprovalTerms,
    /// Whether a bad rollout is paused while people decide.
    pub pause_rollout: bool,
    pub rollback: RollbackTerms,
}

/// One condition that makes a revision bad.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    pub name: String,
    /// Caps the policy's mode for this trigger.
    pub mode: Option<Mode>,
    pub kind: TriggerKind,
}

/// The conditions that can be asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerKind {
    ErrorRate(ErrorRate),
    ProbeFailures(ProbeFailures),
    Restarts(Restarts),
    RolloutStalled,
}

impl TriggerKind {
    /// The field of the API that spells this kind.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ErrorRate(_) => "errorRate",
            Self::ProbeFailures(_) => "probeFailures",
            Self::Restarts(_) => "restarts",
            Self::RolloutStalled => "rolloutStalled",
        }
    }

    /// Whether a breach means that the revision cannot run at all, so that any revision that once
    /// worked is better.
    #[must_use]
    pub const fn cannot_run(&self) -> bool {
        match self {
            Self::Restarts(_) | Self::RolloutStalled => true,
            Self::ErrorRate(_) | Self::ProbeFailures(_) => false,
        }
    }
}

/// Too large a share of the requests fails.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRate {
    pub preset: Preset,
    /// More label matchers, in the syntax of `PromQL` without braces; empty for none.
    pub matchers: String,
    /// Breached above it, not at it.
    pub threshold: Ratio,
    /// What the rate is taken over; pods younger than that: since their birth.
    pub window: SignedDuration,
    /// How long the rate must stay above the threshold.
    pub sustained: SignedDuration,
    /// Fewer in the window: unknown, not passing.
    pub minimum_requests: u32,
}

/// The shapes of request metrics that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// `http_requests_total{code}`, as the usual client libraries name it.
    HttpRequests,
    /// `istio_requests_total{response_code}`, as reported by the destination.
    Istio,
}

/// Probes of the kubelet fail.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeFailures {
    pub probe: Probe,
    /// This many failed probes of one pod within the window breach.
    pub threshold: u32,
    pub window: SignedDuration,
}

/// The probes that the kubelet knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    Liveness,
    Readiness,
    Startup,
}

impl Probe {
    /// The spelling in the API and in the kubelet's metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
            Self::Startup => "Startup",
        }
    }
}

/// Containers restart again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Restarts {
    /// A pod counts when it restarted this often within the window.
    pub threshold: u32,
    pub window: SignedDuration,
    /// Breached when at least this share of the revision's pods counts.
    pub pods: Ratio,
}

/// Who must agree to a proposed rollback, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalTerms {
    /// This many distinct people.
    pub required: u32,
    pub timeout: SignedDuration,
    pub on_timeout: OnTimeout,
}

/// What silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// Says it again, louder; the proposal stays open and a paused rollout stays paused.
    Escalate,
    /// Rolls back without approval. Counts as [`Mode::Automatic`] where modes are capped.
    RollBack,
    /// Lets the revision go on.
    Release,
}

/// How a rollback is carried out and judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackTerms {
    /// From the decision until recovery is verified.
    pub deadline: SignedDuration,
    /// How long the triggers must pass again.
    pub recovery: SignedDuration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_read_as_people_write_percentages() {
        for (ratio, text) in [
            (0.05, "5%"),
            (0.001, "0.1%"),
            (1.0, "100%"),
            (0.3333, "33.33%"),
            (0.0, "0%"),
            (0.2, "20%"),
        ] {
            assert_eq!(Ratio(ratio).to_string(), text);
        }
    }

    #[test]
    fn modes_form_one_ladder() {
        assert!(Mode::Disabled < Mode::Observe);
        assert!(Mode::Observe < Mode::RequireApproval);
        assert!(Mode::RequireApproval < Mode::Automatic);
    }
}
