//! What the metric sources say about one workload, trigger by trigger.
//!
//! Nothing is asked here: [`Feeds`](super::prometheus::feeds::Feeds) is told what is wanted and has it,
//! or has not yet. What it says is joined with what the API server knows about pods and Services by
//! [`join`].

mod free;
pub mod join;
pub mod wanted;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use self::join::{Join, Read, Unwatched};
use super::Eyes;
use super::pods::OldPod;
use super::prometheus::feeds::{Need, Pace, Sought, with_shape};
use super::prometheus::histogram;
use super::prometheus::presets::SpecId;
use super::prometheus::release::{Named, requests};
use super::prometheus::series::{Metric, Series};
use super::prometheus::services::Paths;
use super::workload::{Deployment, ReplicaSet};
use crate::api::parse::ParsedPolicy;
use crate::decide::{
    Attention, Counters, Evidence, LabelNames, Latency, Observed, Probe, Requests, Shape, Trigger,
    TriggerKind, Unknown,
};

/// Whose evidence is wanted.
pub struct Asked<'a> {
    pub deployment: &'a Deployment,
    /// That of the current revision.
    pub replica_set: Option<&'a ReplicaSet>,
    pub policy: &'a ParsedPolicy,
    pub observed: &'a Observed,
    pub attention: Attention,
    /// The pods of the Deployment's other revisions, those that went away lately included.
    pub old: &'a [OldPod],
}

/// Returns the evidence of each trigger that reads metrics, and keeps it coming.
pub async fn evidence(eyes: &Eyes, asked: &Asked<'_>) -> BTreeMap<String, Evidence> {
    let paths = paths(eyes, asked).await;
    let source = &asked.policy.metric_source;
    let namespace = &asked.deployment.namespace;
    let asking = Asking {
        admitted: eyes.sources.admit(source, namespace).await,
        eyes,
        asked,
        now: eyes.cluster.now(),
        paths: paths.as_ref().map(AsRef::as_ref).map_err(Clone::clone),
        new: names(asked.observed),
        old: asked.old.iter().map(named).collect(),
    };
    let triggers = asked.policy.policy.triggers.iter();
    triggers
        .filter(|trigger| wanted::reads_metrics(trigger))
        .filter_map(|trigger| {
            let evidence = match &asking.admitted {
                Ok(_) => asking.about(trigger)?,
                // Nothing is asked for a policy that may not ask.
                Err(cause) => Err(Unknown::NoSource {
                    cause: cause.clone(),
                }),
            };
            let evidence = evidence.unwrap_or_else(Evidence::Missing);
            Some((trigger.name.clone(), evidence))
        })
        .collect()
}

/// Reads Services only where a shape needs them.
async fn paths(eyes: &Eyes, asked: &Asked<'_>) -> Result<std::sync::Arc<Paths>, String> {
    if !wanted::needs_paths(&asked.policy.policy.triggers) {
        return Ok(std::sync::Arc::default());
    }
    let services = &eyes.feeds.services;
    services
        .paths(eyes.cluster.as_ref(), &asked.deployment.namespace)
        .await
}

/// Pods on nodes that are not ready, and those that are being disrupted, are left out: what they count
/// is not the revision's doing.
fn names(observed: &Observed) -> Vec<Named> {
    let pods = observed.pods.iter().filter(|pod| !pod.excused);
    pods.map(|pod| Named {
        name: pod.name.clone(),
        born: pod.born,
    })
    .collect()
}

fn named(pod: &OldPod) -> Named {
    Named {
        name: pod.name.clone(),
        born: pod.born,
    }
}

/// What the evidence of all triggers has in common.
struct Asking<'a> {
    eyes: &'a Eyes,
    asked: &'a Asked<'a>,
    now: Timestamp,
    paths: Result<&'a Paths, String>,
    /// As which tenant the source may be asked, or why it may not.
    admitted: Result<Option<String>, String>,
    new: Vec<Named>,
    old: Vec<Named>,
}

type Found = Result<Evidence, Unknown>;

impl Asking<'_> {
    /// `None` for a trigger that reads no metrics.
    fn about(&self, trigger: &Trigger) -> Option<Found> {
        let window = wanted::window(trigger);
        match &trigger.kind {
            TriggerKind::ErrorRate(rule) => Some(match &rule.requests {
                Requests::Preset(shape) => self.requests(shape, window),
                Requests::Custom { total, errors } => self.custom(total, errors, window),
            }),
            TriggerKind::Latency(rule) => Some(self.latency(rule, window)),
            TriggerKind::ProbeFailures(rule) => Some(self.probes(rule.probe, window)),
            TriggerKind::PromQl(rule) => Some(self.values(&trigger.name, rule)),
            TriggerKind::Alert(rule) => Some(self.alert(&rule.labels, window)),
            TriggerKind::Restarts(_)
            | TriggerKind::RolloutStalled
            | TriggerKind::Unavailable(_) => None,
        }
    }

    fn namespace(&self) -> &str {
        &self.asked.deployment.namespace
    }

    fn tenant(&self) -> Option<String> {
        self.admitted.as_ref().ok().cloned().flatten()
    }

    fn series(&self, metric: Metric, shape: Option<&Shape>) -> Series {
        Series {
            source: self.asked.policy.metric_source.clone(),
            tenant: self.tenant(),
            metric,
            matchers: shape.map_or_else(String::new, |shape| shape.matchers.clone()),
            labels: shape.map_or_else(LabelNames::default, |shape| shape.labels.clone()),
        }
    }

    fn pace(&self) -> Pace {
        match self.asked.attention {
            Attention::Close => Pace::Fast,
            Attention::Seldom | Attention::None => Pace::Slow,
        }
    }

    /// What a judgement over `window` needs.
    fn need(&self, window: SignedDuration, threshold: Option<f64>) -> Need<'_> {
        let pace = self.pace();
        let release = match pace {
            Pace::Fast => Some(self.release()),
            Pace::Slow => None,
        };
        Need {
            namespace: self.namespace(),
            from: wanted::oldest(window, release, self.now),
            pace,
            threshold,
        }
    }

    fn release(&self) -> Timestamp {
        wanted::release(self.asked.observed, self.now)
    }

    fn join(&self) -> Join<'_> {
        let deployment = self.asked.deployment;
        let replica_set = self
            .asked
            .replica_set
            .filter(|_| self.asked.attention != Attention::Close);
        Join {
            namespace: self.namespace(),
            workload: &deployment.name,
            labels: &deployment.pod_labels,
            paths: self.paths.as_ref().copied().map_err(String::as_str),
            new: &self.new,
            old: &self.old,
            unwatched: replica_set.map(|replica_set| Unwatched {
                replica_set: &replica_set.name,
                created: replica_set.created,
            }),
            release: self.release(),
        }
    }

    fn requests(&self, shape: &Shape, window: SignedDuration) -> Found {
        let id = self.find(Metric::Requests, shape)?;
        let series = self.series(Metric::Requests(id), Some(shape));
        let need = self.need(window, None);
        self.counters(&series, id, need, &|stream| Ok(requests(stream)))
    }

    fn latency(&self, rule: &Latency, window: SignedDuration) -> Found {
        let id = self.find(Metric::Latency, &rule.shape)?;
        let unit = id.spec().latency.map(|histogram| histogram.unit);
        let unit = unit.ok_or(Unknown::NoData)?;
        let threshold = histogram::in_unit(rule.threshold, unit);
        let series = self.series(Metric::Latency(id), Some(&rule.shape));
        let need = self.need(window, Some(threshold));
        self.counters(&series, id, need, &|stream| {
            histogram::slower_than(stream, threshold, unit)
        })
    }

    /// Finds which shape a preset stands for here.
    fn find(&self, metric: fn(SpecId) -> Metric, shape: &Shape) -> Result<SpecId, Unknown> {
        let latency = matches!(metric(SpecId::fallback()), Metric::Latency(_));
        let candidates = wanted::candidates(shape, latency);
        let first = *candidates.first().ok_or(Unknown::NoData)?;
        let series = with_shape(&self.series(metric(first), Some(shape)), first);
        let sought = Sought {
            series,
            candidates,
            namespace: self.namespace(),
            workload: &self.asked.deployment.name,
        };
        let owners = |id: SpecId| self.join().owners(id.spec().identity);
        self.eyes.feeds.find(&sought, &owners, self.now)
    }

    fn counters(&self, series: &Series, id: SpecId, need: Need<'_>, read: Read<'_>) -> Found {
        let join = self.join();
        let feeds = &self.eyes.feeds;
        feeds.wanted(series, need, self.now, |buffer, asked| {
            let counters = join.counters(id.spec(), buffer, need.from, read);
            counters.map(|counters| said_at(asked, counters))
        })?
    }

    fn probes(&self, probe: Probe, window: SignedDuration) -> Found {
        let series = self.series(Metric::Probes(probe), None);
        let need = self.need(window, None);
        let feeds = &self.eyes.feeds;
        feeds.wanted(&series, need, self.now, |buffer, asked| {
            let counters = self.join().probes(buffer);
            counters.map(|counters| said_at(asked, counters))
        })?
    }

    fn alert(&self, labels: &BTreeMap<String, String>, window: SignedDuration) -> Found {
        let series = self.series(Metric::Alert(labels.clone()), None);
        let need = self.need(window, None);
        let feeds = &self.eyes.feeds;
        let firing = feeds.wanted(&series, need, self.now, |buffer, until| {
            self.join().firing(buffer, until)
        })?;
        Ok(Evidence::Firing(firing))
    }
}

fn said_at(asked: Timestamp, counters: Counters) -> Evidence {
    Evidence::Counters(Counters {
        asked: Some(asked),
        ..counters
    })
}
