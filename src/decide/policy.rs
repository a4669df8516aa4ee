//! What a policy asks for, parsed and complete: every default is filled in, every bound is checked.
//!
//! How a policy is spelled in YAML is not known here; `api::parse` is the only way to get one.

mod safety;

use std::fmt;

use jiff::SignedDuration;

use super::gitops::OnRollback;

pub use safety::{Budget, ConfigMode, ConfigTerms, DrillTerms, Enforcement, QuarantineTerms};

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
    /// Caps the mode for a revision that is through its probation.
    pub after_probation: Mode,
    /// How many rollbacks of one workload go ahead before people are asked.
    pub budget: Budget,
    /// Caps the mode where the target mounts persistent volumes.
    pub persistent_volumes: Mode,
    pub config: ConfigTerms,
    pub quarantine: QuarantineTerms,
    /// What a rollback does about a GitOps tool that would undo it.
    pub on_rollback: OnRollback,
    /// `None`: no drills.
    pub drill: Option<DrillTerms>,
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
    Latency(Latency),
    ProbeFailures(ProbeFailures),
    Restarts(Restarts),
    RolloutStalled,
    Unavailable(Unavailable),
    PromQl(PromQl),
    Alert(Alert),
}

impl TriggerKind {
    /// The field of the API that spells this kind.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ErrorRate(_) => "errorRate",
            Self::Latency(_) => "latency",
            Self::ProbeFailures(_) => "probeFailures",
            Self::Restarts(_) => "restarts",
            Self::RolloutStalled => "rolloutStalled",
            Self::Unavailable(_) => "unavailable",
            Self::PromQl(_) => "promql",
            Self::Alert(_) => "alert",
        }
    }

    /// Whether a breach means that the revision cannot run at all, so that any revision that once
    /// worked is better.
    #[must_use]
    pub const fn cannot_run(&self) -> bool {
        match self {
            Self::Restarts(_) | Self::RolloutStalled => true,
            Self::ErrorRate(_)
            | Self::Latency(_)
            | Self::ProbeFailures(_)
            | Self::Unavailable(_)
            | Self::PromQl(_)
            | Self::Alert(_) => false,
        }
    }
}

/// Too large a share of the requests fails.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRate {
    pub requests: Requests,
    pub rate: Rate,
}

/// Where requests are counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Requests {
    Preset(Shape),
    /// Two expressions in `PromQL` that give counters, each with the label of the pod or without it.
    Custom {
        total: String,
        errors: String,
    },
}

/// Series of a shape that is known by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    pub preset: Preset,
    /// More label matchers, in the syntax of `PromQL` without braces; empty for none.
    pub matchers: String,
    pub labels: LabelNames,
}

/// The labels that say where a series comes from, where a set-up names them otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelNames {
    /// Instead of the preset's own, such as `kubernetes_pod_name`.
    pub pod: Option<String>,
    /// Instead of the preset's own, such as `exported_namespace`.
    pub namespace: Option<String>,
}

/// How a share of bad requests is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    pub limit: Limit,
    /// What the rate is taken over, at least four scrapes; pods younger than that: since their birth.
    pub window: SignedDuration,
    /// Fewer in the window: unknown, not passing.
    pub minimum_requests: u32,
}

/// What a rate is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// The user's word.
    Threshold {
        /// Breached above it, not at it.
        threshold: Ratio,
        /// How long the rate must stay above the threshold, unless the evidence is conclusive sooner.
        sustained: SignedDuration,
    },
    /// The revision before.
    WorseThanBefore {
        /// Breached above this many times the rate of the revision before.
        factor: f64,
        /// A rate at or below it is never breached.
        at_least: Ratio,
    },
}

/// Requests take too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    pub shape: Shape,
    /// This share of the requests must be faster than `threshold`.
    pub percentile: Ratio,
    pub threshold: SignedDuration,
    /// What the percentile is taken over; pods younger than that: since their birth.
    pub window: SignedDuration,
    pub sustained: SignedDuration,
    pub minimum_requests: u32,
}

impl Latency {
    /// Returns the same condition as a limit on the share of slow requests: a percentile is above a
    /// limit exactly when more than the rest of the requests is slower than it.
    #[must_use]
    pub fn rate(&self) -> Rate {
        Rate {
            limit: Limit::Threshold {
                threshold: Ratio(1.0 - self.percentile.0),
                sustained: self.sustained,
            },
            window: self.window,
            minimum_requests: self.minimum_requests,
        }
    }
}

/// The shapes of request metrics that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// The first of the others that has data for the workload.
    Auto,
    Contour,
    EnvoyGateway,
    /// `grpc_server_handled_total`.
    Grpc,
    /// `http_requests_total{code}`, as the usual client libraries name it.
    HttpRequests,
    IngressNginx,
    /// `istio_requests_total{response_code}`, sidecar or ambient.
    Istio,
    Linkerd,
    /// `http_server_requests_seconds`, as Spring and Quarkus name it.
    Micrometer,
    /// The stable semantic conventions for HTTP servers.
    OpenTelemetry,
    Traefik,
}

impl Preset {
    /// The spelling in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Contour => "Contour",
            Self::EnvoyGateway => "EnvoyGateway",
            Self::Grpc => "GRPC",
            Self::HttpRequests => "HTTPRequests",
            Self::IngressNginx => "IngressNginx",
            Self::Istio => "Istio",
            Self::Linkerd => "Linkerd",
            Self::Micrometer => "Micrometer",
            Self::OpenTelemetry => "OpenTelemetry",
            Self::Traefik => "Traefik",
        }
    }

    /// All presets, in the order of their names.
    pub const ALL: [Self; 11] = [
        Self::Auto,
        Self::Contour,
        Self::EnvoyGateway,
        Self::Grpc,
        Self::HttpRequests,
        Self::IngressNginx,
        Self::Istio,
        Self::Linkerd,
        Self::Micrometer,
        Self::OpenTelemetry,
        Self::Traefik,
    ];
}

/// Too few of the replicas are available.
#[derive(Clone, Debug, PartialEq)]
pub struct Unavailable {
    /// Of the replicas at the start of the rollout; breached below it.
    pub below: Ratio,
    pub sustained: SignedDuration,
}

/// A query of the user's own.
#[derive(Clone, Debug, PartialEq)]
pub struct PromQl {
    /// May hold `$pods`, which stands for the names of the revision's pods.
    pub query: String,
    pub bound: Bound,
    pub sustained: SignedDuration,
}

/// Which values are bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    Above(f64),
    Below(f64),
}

/// An alert of the source fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// All of them must match; never empty.
    pub labels: std::collections::BTreeMap<String, String>,
    pub sustained: SignedDuration,
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
    /// Service accounts whose answers count, as `<namespace>/<name>`. Others are nobody's consent.
    pub service_accounts: Vec<String>,
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
