//! What one feed asks for, and how a row of the answer is understood.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Labels;
use super::buffer::{Owner, Subject};
use super::presets::{Histogram, Identity, Spec, SpecId};
use super::selector::{any_of, label_matcher, literal, over, selector};
use crate::decide::{LabelNames, Probe};
use jiff::SignedDuration;

/// What is counted, or looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    Requests(SpecId),
    Latency(SpecId),
    Probes(Probe),
    /// The labels of an alert.
    Alert(BTreeMap<String, String>),
    /// Two expressions of a policy. They are kept within its namespace already.
    Custom {
        total: String,
        errors: String,
    },
}

/// Series of one shape from one source: what one request asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Name of the `MetricSource`.
    pub source: String,
    /// Whose data to ask for, where the source has tenants.
    pub tenant: Option<String>,
    pub metric: Metric,
    /// More matchers of the policy, in the syntax of `PromQL` without braces; empty for none.
    pub matchers: String,
    pub labels: LabelNames,
}

/// What a request narrows its answer to, beside the shape.
#[derive(Clone, Debug, Default)]
pub struct Narrowed<'a> {
    /// In order.
    pub namespaces: &'a [String],
    /// The edges of buckets to ask for, as the source spells them.
    pub edges: BTreeSet<String>,
    /// Matchers that the admin forces into every query; empty for none.
    pub forced: &'a str,
}

impl Series {
    /// Returns the selector, without a range, of what this is about in some namespaces.
    #[must_use]
    pub fn selector(&self, narrowed: &Narrowed<'_>) -> String {
        let mut matchers = vec![self.in_namespaces(narrowed.namespaces)];
        let names = self.names();
        match &self.metric {
            Metric::Requests(id) => matchers.push(id.spec().own.to_owned()),
            Metric::Latency(id) => {
                matchers.push(id.spec().own.to_owned());
                let edges = narrowed.edges.iter().map(|edge| literal(edge));
                // A native histogram has no edges in its labels.
                let edges: Vec<String> = edges.chain([String::new()]).collect();
                matchers.push(format!("le=~\"{}\"", edges.join("|")));
            }
            Metric::Probes(probe) => {
                matchers.push(format!("probe_type=\"{}\"", probe.name()));
            }
            Metric::Alert(labels) => {
                matchers.push("alertstate=\"firing\"".to_owned());
                matchers.extend(
                    labels
                        .iter()
                        .map(|(label, value)| label_matcher(label, value)),
                );
            }
            Metric::Custom { .. } => {}
        }
        matchers.push(self.matchers.clone());
        matchers.push(narrowed.forced.to_owned());
        selector(&names, &matchers)
    }

    /// Returns the selector of the buckets of a histogram, whatever their edges.
    fn buckets(&self, narrowed: &Narrowed<'_>) -> Option<String> {
        let name = format!("{}_bucket", self.histogram()?.name);
        let matchers = [
            self.in_namespaces(narrowed.namespaces),
            self.spec()?.own.to_owned(),
            self.matchers.clone(),
            narrowed.forced.to_owned(),
        ];
        Some(selector(&[name], &matchers))
    }

    /// Returns the names in the order in which they count; none for expressions.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match &self.metric {
            Metric::Requests(id) => {
                let spec = id.spec();
                let names = spec.counters.iter().chain(spec.native_counters);
                names.map(|name| (*name).to_owned()).collect()
            }
            Metric::Latency(id) => id.spec().latency.map_or_else(Vec::new, |histogram| {
                vec![
                    format!("{}_bucket", histogram.name),
                    histogram.name.to_owned(),
                ]
            }),
            Metric::Probes(_) => vec!["prober_probe_total".to_owned()],
            Metric::Alert(_) => vec!["ALERTS".to_owned()],
            Metric::Custom { .. } => Vec::new(),
        }
    }

    /// Returns the shape of a preset.
    #[must_use]
    pub fn spec(&self) -> Option<&'static Spec> {
        match &self.metric {
            Metric::Requests(id) | Metric::Latency(id) => Some(id.spec()),
            Metric::Probes(_) | Metric::Alert(_) | Metric::Custom { .. } => None,
        }
    }

    /// Returns the histogram that this is about.
    #[must_use]
    pub fn histogram(&self) -> Option<Histogram> {
        match &self.metric {
            Metric::Latency(id) => id.spec().latency,
            Metric::Requests(_) | Metric::Probes(_) | Metric::Alert(_) | Metric::Custom { .. } => {
                None
            }
        }
    }

    /// Returns the matcher that keeps the answer to what somebody wants.
    fn in_namespaces(&self, namespaces: &[String]) -> String {
        let exactly = any_of(namespaces.iter().map(|name| literal(name)));
        let with = |before: &str, after: &str| {
            any_of(
                namespaces
                    .iter()
                    .map(|name| format!("{before}{}{after}", literal(name))),
            )
        };
        match self.spec().map(|spec| spec.identity) {
            None => format!("namespace=~\"{exactly}\""),
            Some(Identity::Pod { namespace, .. } | Identity::Service { namespace, .. }) => {
                format!("{}=~\"{exactly}\"", self.namespace_label(namespace))
            }
            Some(Identity::Istio { .. }) => {
                format!("destination_workload_namespace=~\"{exactly}\"")
            }
            Some(Identity::Traefik { service }) => {
                format!("{service}=~\"{}\"", with("", "[-_].+"))
            }
            Some(Identity::ContourCluster) => {
                format!("envoy_cluster_name=~\"{}\"", with("", "_.+"))
            }
            // What goes by a GRPCRoute is left out: its failures come with the status 200.
            Some(Identity::EnvoyGatewayCluster) => {
                format!("envoy_cluster_name=~\"{}\"", with("httproute/", "/.+"))
            }
        }
    }

    fn namespace_label<'a>(&'a self, usual: &'a str) -> &'a str {
        self.labels.namespace.as_deref().unwrap_or(usual)
    }

    /// Returns the label of the pod, where the set-up names it otherwise than usual.
    #[must_use]
    pub fn pod_label<'a>(&'a self, usual: &'a str) -> &'a str {
        self.labels.pod.as_deref().unwrap_or(usual)
    }

    /// Returns the labels that tell what a series is about.
    #[must_use]
    pub fn identity_labels(&self) -> Vec<&str> {
        match self.spec().map(|spec| spec.identity) {
            None => match &self.metric {
                Metric::Alert(_) => vec!["namespace"],
                Metric::Probes(_)
                | Metric::Custom { .. }
                | Metric::Requests(_)
                | Metric::Latency(_) => {
                    vec!["namespace", self.pod_label("pod")]
                }
            },
            Some(Identity::Pod { namespace, pod }) => {
                vec![self.namespace_label(namespace), self.pod_label(pod)]
            }
            Some(Identity::Istio { pod }) => vec![
                "reporter",
                "destination_workload",
                "destination_workload_namespace",
                self.pod_label(pod),
            ],
            Some(Identity::Service { namespace, service }) => {
                vec![self.namespace_label(namespace), service]
            }
            Some(Identity::Traefik { service }) => vec![service],
            Some(Identity::ContourCluster | Identity::EnvoyGatewayCluster) => {
                vec!["envoy_cluster_name"]
            }
        }
    }

    /// Returns what a series with these labels is about; `None` when its labels do not say.
    #[must_use]
    pub fn owner(&self, labels: &Labels<'_>) -> Option<Owner> {
        let text = |name: &str| labels.get(name).map(str::to_owned);
        let Some(spec) = self.spec() else {
            let namespace = text("namespace")?;
            return match &self.metric {
                Metric::Alert(_) => Some((namespace, Subject::All)),
                Metric::Probes(_)
                | Metric::Custom { .. }
                | Metric::Requests(_)
                | Metric::Latency(_) => {
                    Some((namespace, Subject::Pod(text(self.pod_label("pod"))?)))
                }
            };
        };
        match spec.identity {
            Identity::Pod { namespace, pod } => Some((
                text(self.namespace_label(namespace))?,
                Subject::Pod(text(self.pod_label(pod))?),
            )),
            Identity::Istio { pod } => {
                let namespace = text("destination_workload_namespace")?;
                let subject = if labels.get("reporter") == Some("waypoint") {
                    Subject::Workload(text("destination_workload")?)
                } else {
                    Subject::Pod(text(self.pod_label(pod))?)
                };
                Some((namespace, subject))
            }
            Identity::Service { namespace, service } => Some((
                text(self.namespace_label(namespace))?,
                Subject::Service(text(service)?),
            )),
            Identity::Traefik { service } => {
                let (service, _) = labels.get(service)?.split_once("@kubernetes")?;
                Some((String::new(), Subject::TraefikService(service.to_owned())))
            }
            Identity::ContourCluster => {
                // Neither names of namespaces nor of Services hold an underscore.
                let (namespace, rest) = labels.get("envoy_cluster_name")?.split_once('_')?;
                let (service, _) = rest.split_once('_')?;
                Some((namespace.to_owned(), Subject::Service(service.to_owned())))
            }
            Identity::EnvoyGatewayCluster => {
                let rest = labels
                    .get("envoy_cluster_name")?
                    .strip_prefix("httproute/")?;
                let (namespace, route) = rest.split_once('/')?;
                Some((namespace.to_owned(), Subject::Route(route.to_owned())))
            }
        }
    }
}

impl Series {
    /// Returns the labels that tell what became of requests; none where that is not asked.
    #[must_use]
    pub fn outcome_labels(&self) -> &'static [&'static str] {
        match &self.metric {
            Metric::Requests(id) => id.spec().failed.labels(),
            // How long a request took says by itself whether it was too long.
            Metric::Latency(_) | Metric::Probes(_) | Metric::Alert(_) | Metric::Custom { .. } => {
                &[]
            }
        }
    }

    /// Says whether a series with these labels tells what became of what it counts.
    #[must_use]
    pub fn is_told(&self, labels: &Labels<'_>) -> bool {
        match &self.metric {
            Metric::Requests(id) => id.spec().failed.is_told(labels),
            Metric::Latency(_) | Metric::Probes(_) | Metric::Alert(_) | Metric::Custom { .. } => {
                true
            }
        }
    }

    /// Returns the label that holds a namespace and nothing else.
    #[must_use]
    pub fn plain_namespace_label(&self) -> Option<&str> {
        match self.spec().map(|spec| spec.identity) {
            None => Some("namespace"),
            Some(Identity::Pod { namespace, .. } | Identity::Service { namespace, .. }) => {
                Some(self.namespace_label(namespace))
            }
            Some(Identity::Istio { .. }) => Some("destination_workload_namespace"),
            Some(
                Identity::Traefik { .. } | Identity::ContourCluster | Identity::EnvoyGatewayCluster,
            ) => None,
        }
    }
}

/// Returns a query that names everything there is something about, each once.
#[must_use]
pub fn finding(series: &Series, narrowed: &Narrowed<'_>) -> String {
    let mut labels = series.identity_labels();
    labels.extend(series.outcome_labels());
    format!(
        "group by ({}) ({})",
        labels.join(", "),
        series.selector(narrowed)
    )
}

/// Returns a query that names the edges of buckets of every namespace: those that there are, or those
/// that there were within `past`.
#[must_use]
pub fn edges(
    series: &Series,
    narrowed: &Narrowed<'_>,
    past: Option<SignedDuration>,
) -> Option<String> {
    let buckets = series.buckets(narrowed)?;
    let buckets = past.map_or_else(
        || buckets.clone(),
        |past| format!("last_over_time({})", over(&buckets, past)),
    );
    // A pod each would make the answer large, and only the namespace matters.
    let labels: Vec<&str> = series
        .plain_namespace_label()
        .into_iter()
        .chain(["le"])
        .collect();
    Some(format!("group by ({}) ({buckets})", labels.join(", ")))
}

#[cfg(test)]
mod tests;
