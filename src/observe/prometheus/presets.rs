//! The shapes of request metrics that are known by name, as data.
//!
//! Says what a shape looks like. Who asks for it is [`super::feeds`]; what a series of it is about is
//! read in [`super::series`].

mod specs;

use std::borrow::Cow;

use super::answer::Labels;
use crate::decide::{LabelNames, Preset};

pub use self::specs::SPECS;

/// One shape of request metrics, as one kind of set-up labels it.
#[derive(Debug)]
pub struct Spec {
    pub preset: Preset,
    /// Names of counters. The first that a pod has data under counts for it, the others would count
    /// the same requests again. None where only how long requests take is known by another name.
    pub counters: &'static [&'static str],
    /// Names under which the count of a native histogram is a counter too, after `counters`.
    pub native_counters: &'static [&'static str],
    /// Matchers that belong to the shape, in the syntax of `PromQL`.
    pub own: &'static str,
    pub failed: Failed,
    pub latency: Option<Histogram>,
    pub identity: Identity,
    /// Of several targets that report on one pod, one counts: they are the same proxy.
    pub one_target: bool,
}

/// A histogram of how long requests take.
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    /// Without `_bucket`, which is also what it is called as a native one.
    pub name: &'static str,
    pub unit: Unit,
}

/// What a histogram counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Milliseconds,
}

/// Which requests failed through the fault of the server, by the labels of their series.
#[derive(Clone, Copy, Debug)]
pub enum Failed {
    /// The first of these labels that is there begins with 5: a code, or a class such as `5xx`.
    Code(&'static [&'static str]),
    /// The first of these labels that is there holds a code of gRPC that is the server's fault.
    Grpc(&'static [&'static str]),
    /// By `response_code`, or by `grpc_response_status` for gRPC, whose HTTP status is always 200.
    Istio,
    /// The proxy has classified the response itself, retries and gRPC included.
    Linkerd,
    /// By the status, or where there was none because an exception came first, by the type of error.
    OpenTelemetry,
    /// By the status, or by the outcome.
    Micrometer,
}

/// What a series is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The pod that counted, by these labels.
    Pod {
        namespace: &'static str,
        pod: &'static str,
    },
    /// The pod behind a sidecar, or the workload behind a waypoint, which has no sidecars.
    Istio { pod: &'static str },
    /// A Service, by these labels.
    Service {
        namespace: &'static str,
        service: &'static str,
    },
    /// `<namespace>-<service>-<port>@<provider>` in this label.
    Traefik { service: &'static str },
    /// `<namespace>_<service>_<port>` in `envoy_cluster_name`.
    ContourCluster,
    /// `httproute/<namespace>/<route>/rule/<number>` in `envoy_cluster_name`.
    EnvoyGatewayCluster,
}

impl Identity {
    /// Says whether series of the revision's own pods are told from those of other revisions.
    #[must_use]
    pub const fn tells_revisions_apart(self) -> bool {
        match self {
            Self::Pod { .. } | Self::Istio { .. } => true,
            Self::Service { .. }
            | Self::Traefik { .. }
            | Self::ContourCluster
            | Self::EnvoyGatewayCluster => false,
        }
    }
}

/// Where a [`Spec`] stands in [`SPECS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecId(usize);

impl SpecId {
    /// Returns the shapes that `preset` stands for, in the order in which they are tried.
    pub fn of(preset: Preset) -> impl Iterator<Item = Self> {
        SPECS
            .iter()
            .enumerate()
            .filter(move |(_, spec)| preset == Preset::Auto || spec.preset == preset)
            .map(|(place, _)| Self(place))
    }

    /// Returns the first of all.
    #[must_use]
    pub const fn fallback() -> Self {
        Self(0)
    }

    /// Says whether this shape is one that a policy's own names of labels leave: where it says which
    /// label to look at, other spellings of the same shape are not tried.
    #[must_use]
    pub fn fits(self, labels: &LabelNames) -> bool {
        let spec = self.spec();
        let latency = |spec: &Spec| spec.latency.map(|histogram| histogram.name);
        let same = |other: &Spec| {
            other.preset == spec.preset
                && other.counters == spec.counters
                && latency(other) == latency(spec)
        };
        let first = SPECS.iter().position(same) == Some(self.0);
        labels.namespace.is_none() || first
    }

    /// Says whether this shape tells how long requests take, for `latency`, or what became of them.
    #[must_use]
    pub fn tells(self, latency: bool) -> bool {
        let spec = self.spec();
        if latency {
            spec.latency.is_some()
        } else {
            !spec.counters.is_empty()
        }
    }

    /// Returns the shape.
    #[must_use]
    pub fn spec(self) -> &'static Spec {
        &SPECS[self.0]
    }
}

impl Failed {
    /// Says whether a series with these labels counts requests that failed.
    #[must_use]
    pub fn is_failed(self, labels: &Labels<'_>) -> bool {
        let five = |name: &str| labels.get(name).map(|code| code.starts_with('5'));
        match self {
            Self::Code(names) => names.iter().find_map(|name| five(name)).unwrap_or(false),
            Self::Grpc(names) => names
                .iter()
                .find_map(|name| labels.get(name))
                .is_some_and(is_server_fault),
            Self::Istio => {
                five("response_code") == Some(true)
                    || labels
                        .get("grpc_response_status")
                        .is_some_and(is_server_fault)
            }
            Self::Linkerd => labels.get("classification") == Some("failure"),
            Self::OpenTelemetry => five("http_response_status_code")
                .or_else(|| five("http_status_code"))
                .unwrap_or_else(|| {
                    labels
                        .get("error_type")
                        .is_some_and(|kind| !kind.is_empty())
                }),
            Self::Micrometer => {
                five("status") == Some(true) || labels.get("outcome") == Some("SERVER_ERROR")
            }
        }
    }

    /// Says whether a series with these labels tells what became of the requests that it counts.
    ///
    /// One that does not would look as if no request had ever failed.
    #[must_use]
    pub fn is_told(self, labels: &Labels<'_>) -> bool {
        self.labels()
            .iter()
            .any(|name| labels.get(name).is_some_and(|value| !value.is_empty()))
    }

    /// Returns the labels that tell what became of requests.
    #[must_use]
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Code(names) | Self::Grpc(names) => names,
            Self::Istio => &["response_code", "grpc_response_status"],
            Self::Linkerd => &["classification"],
            Self::OpenTelemetry => &[
                "http_response_status_code",
                "http_status_code",
                "error_type",
                // No status and no error is an answer that was cut short. Only these conventions have
                // the method under these names; libraries with the same metric call it `method`.
                "http_request_method",
                "http_method",
            ],
            Self::Micrometer => &["status", "outcome"],
        }
    }
}

/// The codes that OpenTelemetry's conventions for gRPC count as errors of a server, as Go and Java
/// spell them and as numbers: the others say that the client asked for something it should not have.
const SERVER_FAULTS: [(&str, &str); 6] = [
    ("unknown", "2"),
    ("deadlineexceeded", "4"),
    ("unimplemented", "12"),
    ("internal", "13"),
    ("unavailable", "14"),
    ("dataloss", "15"),
];

fn is_server_fault(code: &str) -> bool {
    let plain: Cow<'_, str> = if code.bytes().all(|byte| byte.is_ascii_lowercase()) {
        code.into()
    } else {
        code.replace('_', "").to_ascii_lowercase().into()
    };
    SERVER_FAULTS
        .iter()
        .any(|(name, number)| plain == *name || plain == *number)
}

#[cfg(test)]
mod tests;
