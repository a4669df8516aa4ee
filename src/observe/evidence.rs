//! What the metric sources say about one workload, trigger by trigger.
//!
//! Nothing is asked here: [`Feeds`](super::prometheus::feeds::Feeds) is told what is wanted and has it,
//! or has not yet. What it says is joined with what the API server knows about pods and Services.

mod free;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Eyes;
use super::pods::OldPod;
use super::prometheus::buffer::{Buffer, Owner, Stream, Subject};
use super::prometheus::feeds::{Need, Pace, Sought, with_shape};
use super::prometheus::histogram;
use super::prometheus::presets::{Identity, SpecId};
use super::prometheus::release::{Named, Streams, requests};
use super::prometheus::series::{Metric, Series};
use super::prometheus::services::Paths;
use super::workload::{Deployment, ReplicaSet};
use crate::api::parse::ParsedPolicy;
use crate::decide::{
    Attention, Counters, Evidence, Firing, LabelNames, Limit, Observed, Probe, Rate, Requests,
    Sample, Shape, Trigger, TriggerKind, Unknown,
};

/// Samples before the window are needed to know what a counter stood at when it began; this many
/// seconds hold at least two of them up to a scrape interval of 30 seconds.
const BEFORE_THE_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// What the revision before did, from this long before the release.
const BEFORE_THE_RELEASE: SignedDuration = SignedDuration::from_mins(5);

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
        .filter(|trigger| reads_metrics(trigger))
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
    let triggers = asked.policy.policy.triggers.iter();
    let mut shapes = triggers.filter_map(shape);
    let needed = shapes.any(|shape| {
        SpecId::of(shape.preset).any(|id| !id.spec().identity.tells_revisions_apart())
    });
    if !needed {
        return Ok(std::sync::Arc::default());
    }
    let services = &eyes.feeds.services;
    services
        .paths(eyes.cluster.as_ref(), &asked.deployment.namespace)
        .await
}

fn reads_metrics(trigger: &Trigger) -> bool {
    match trigger.kind {
        TriggerKind::ErrorRate(_)
        | TriggerKind::Latency(_)
        | TriggerKind::ProbeFailures(_)
        | TriggerKind::PromQl(_)
        | TriggerKind::Alert(_) => true,
        TriggerKind::Restarts(_) | TriggerKind::RolloutStalled | TriggerKind::Unavailable(_) => {
            false
        }
    }
}

fn shape(trigger: &Trigger) -> Option<&Shape> {
    match &trigger.kind {
        TriggerKind::ErrorRate(rule) => match &rule.requests {
            Requests::Preset(shape) => Some(shape),
            Requests::Custom { .. } => None,
        },
        TriggerKind::Latency(rule) => Some(&rule.shape),
        TriggerKind::ProbeFailures(_)
        | TriggerKind::Restarts(_)
        | TriggerKind::RolloutStalled
        | TriggerKind::Unavailable(_)
        | TriggerKind::PromQl(_)
        | TriggerKind::Alert(_) => None,
    }
}

fn names(observed: &Observed) -> Vec<Named> {
    let pods = observed.pods.iter();
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
        match &trigger.kind {
            TriggerKind::ErrorRate(rule) => Some(match &rule.requests {
                Requests::Preset(shape) => self.requests(shape, &rule.rate),
                Requests::Custom { total, errors } => self.custom(total, errors, &rule.rate),
            }),
            TriggerKind::Latency(rule) => {
                Some(self.latency(&rule.shape, rule.threshold, &rule.rate()))
            }
            TriggerKind::ProbeFailures(rule) => Some(self.probes(rule.probe, rule.window)),
            TriggerKind::PromQl(rule) => Some(self.values(&trigger.name, rule)),
            TriggerKind::Alert(rule) => Some(self.alert(&rule.labels)),
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

    /// When what is judged began.
    fn release(&self) -> Timestamp {
        let observed = self.asked.observed;
        let since = observed.current_memory().map(|memory| memory.since);
        let created = observed
            .workload
            .current
            .as_ref()
            .map(|current| current.created);
        since.or(created).unwrap_or(self.now)
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
        let window = window + BEFORE_THE_WINDOW;
        let recent = earlier(self.now, window);
        let from = match pace {
            Pace::Fast => recent.min(earlier(self.release(), window.max(BEFORE_THE_RELEASE))),
            Pace::Slow => recent,
        };
        Need {
            namespace: self.namespace(),
            from,
            pace,
            threshold,
        }
    }

    fn requests(&self, shape: &Shape, rate: &Rate) -> Found {
        let id = self.find(Metric::Requests, shape)?;
        let series = self.series(Metric::Requests(id), Some(shape));
        let need = self.need(span(rate), None);
        self.counters(&series, id, need, &|stream| Ok(requests(stream)))
    }

    fn latency(&self, shape: &Shape, threshold: SignedDuration, rate: &Rate) -> Found {
        let id = self.find(Metric::Latency, shape)?;
        let unit = id.spec().latency.map(|histogram| histogram.unit);
        let unit = unit.ok_or(Unknown::NoData)?;
        let threshold = histogram::in_unit(threshold, unit);
        let series = self.series(Metric::Latency(id), Some(shape));
        let need = self.need(span(rate), Some(threshold));
        self.counters(&series, id, need, &|stream| {
            histogram::slower_than(stream, threshold, unit)
        })
    }

    /// Finds which shape a preset stands for here.
    fn find(&self, metric: fn(SpecId) -> Metric, shape: &Shape) -> Result<SpecId, Unknown> {
        let latency = matches!(metric(first(shape)), Metric::Latency(_));
        let candidates: Vec<SpecId> = SpecId::of(shape.preset)
            .filter(|id| !latency || id.spec().latency.is_some())
            .filter(|id| id.fits(&shape.labels))
            .collect();
        let first = *candidates.first().ok_or(Unknown::NoData)?;
        let series = with_shape(&self.series(metric(first), Some(shape)), first);
        let sought = Sought {
            series,
            candidates,
            namespace: self.namespace(),
            workload: &self.asked.deployment.name,
        };
        let owners = |id: SpecId| self.owners(id.spec().identity);
        self.eyes.feeds.find(&sought, &owners, self.now)
    }

    /// Returns everything that a shape could count about this workload.
    fn owners(&self, identity: Identity) -> Vec<Owner> {
        let here = |subject| (self.namespace().to_owned(), subject);
        match identity {
            Identity::Pod { .. } => self
                .pods()
                .map(|pod| here(Subject::Pod(pod.name.clone())))
                .collect(),
            Identity::Istio { .. } => self
                .pods()
                .map(|pod| here(Subject::Pod(pod.name.clone())))
                .chain([self.workload()])
                .collect(),
            Identity::Service { .. }
            | Identity::Traefik { .. }
            | Identity::ContourCluster
            | Identity::EnvoyGatewayCluster => self.in_front(identity),
        }
    }

    fn pods(&self) -> impl Iterator<Item = &Named> {
        self.new.iter().chain(&self.old)
    }

    fn workload(&self) -> Owner {
        let name = self.asked.deployment.name.clone();
        (self.namespace().to_owned(), Subject::Workload(name))
    }

    fn in_front(&self, identity: Identity) -> Vec<Owner> {
        let labels = &self.asked.deployment.pod_labels;
        self.paths.as_ref().map_or_else(
            |_| Vec::new(),
            |paths| paths.owners(identity, self.namespace(), labels),
        )
    }

    fn counters(
        &self,
        series: &Series,
        id: SpecId,
        need: Need<'_>,
        read: &dyn Fn(&Stream) -> Result<Vec<Sample>, Unknown>,
    ) -> Found {
        let spec = id.spec();
        if !spec.identity.tells_revisions_apart()
            && let Err(cause) = &self.paths
        {
            return Err(Unknown::NoSource {
                cause: cause.clone(),
            });
        }
        let feeds = &self.eyes.feeds;
        let counters = feeds.wanted(series, need, self.now, |buffer, _| {
            let streams = Streams {
                buffer,
                one_target: spec.one_target,
                read,
            };
            let in_front = match spec.identity {
                Identity::Pod { .. } => None,
                // Waypoints report on workloads whose pods have no sidecars.
                Identity::Istio { .. } => {
                    let pods = self.by_pod(&streams)?;
                    if !pods.new.is_empty() || !pods.old.is_empty() {
                        return Ok(pods);
                    }
                    Some(vec![self.workload()])
                }
                Identity::Service { .. }
                | Identity::Traefik { .. }
                | Identity::ContourCluster
                | Identity::EnvoyGatewayCluster => Some(self.in_front(spec.identity)),
            };
            match in_front {
                None => self.by_pod(&streams),
                Some(owners) => self.by_time(&streams, &owners, need.from),
            }
        })??;
        Ok(Evidence::Counters(Counters {
            preset: Some(spec.preset),
            ..counters
        }))
    }

    fn by_pod(&self, streams: &Streams<'_, Unknown>) -> Result<Counters, Unknown> {
        let owner = |name: &str| (self.namespace().to_owned(), Subject::Pod(name.to_owned()));
        let unwatched = self.unwatched(streams.buffer);
        let new = unwatched.as_ref().unwrap_or(&self.new);
        Ok(Counters {
            new: streams.by_pod(new, &owner)?,
            old: streams.by_pod(&self.old, &owner)?,
            preset: None,
            before_and_after: false,
        })
    }

    fn by_time(
        &self,
        streams: &Streams<'_, Unknown>,
        owners: &[Owner],
        seen: Timestamp,
    ) -> Result<Counters, Unknown> {
        let (old, new) = streams.by_time(owners, self.release(), seen)?;
        Ok(Counters {
            new,
            old,
            preset: None,
            before_and_after: true,
        })
    }

    /// Returns the pods of a revision whose pods are not watched, by how its ReplicaSet names them.
    ///
    /// Nobody knows when they were born; that they are as old as the ReplicaSet means that only what
    /// they counted while they were looked at counts.
    fn unwatched(&self, buffer: &Buffer) -> Option<Vec<Named>> {
        if self.asked.attention == Attention::Close {
            return None;
        }
        let replica_set = self.asked.replica_set?;
        let names = buffer
            .owners()
            .filter_map(|(namespace, subject)| match subject {
                Subject::Pod(name) if namespace == self.namespace() => Some(name),
                Subject::Pod(_)
                | Subject::Workload(_)
                | Subject::Service(_)
                | Subject::TraefikService(_)
                | Subject::Route(_)
                | Subject::All => None,
            });
        let own = names.filter(|name| is_pod_of(name, &replica_set.name));
        Some(
            own.map(|name| Named {
                name: name.clone(),
                born: replica_set.created,
            })
            .collect(),
        )
    }

    fn probes(&self, probe: Probe, window: SignedDuration) -> Found {
        let series = self.series(Metric::Probes(probe), None);
        let need = self.need(window, None);
        let feeds = &self.eyes.feeds;
        let read = |stream: &Stream| Ok::<_, Unknown>(requests(stream));
        let counters = feeds.wanted(&series, need, self.now, |buffer, _| {
            self.by_pod(&Streams {
                buffer,
                one_target: false,
                read: &read,
            })
        })??;
        Ok(Evidence::Counters(counters))
    }

    fn alert(&self, labels: &BTreeMap<String, String>) -> Found {
        let series = self.series(Metric::Alert(labels.clone()), None);
        let need = self.need(BEFORE_THE_RELEASE, None);
        let owner = (self.namespace().to_owned(), Subject::All);
        let feeds = &self.eyes.feeds;
        let firing = feeds.wanted(&series, need, self.now, |buffer, until| {
            let streams = buffer.about(&owner, false);
            let times = streams.iter().flat_map(|stream| stream.times());
            let mut seen: Vec<i64> = times.copied().collect();
            seen.sort_unstable();
            seen.dedup();
            let gap = streams.iter().filter_map(|stream| stream.gap()).min();
            Firing {
                seen: seen
                    .into_iter()
                    .filter_map(|at| Timestamp::from_millisecond(at).ok())
                    .collect(),
                asked: Some(until),
                interval: gap.map(SignedDuration::from_millis),
            }
        })?;
        Ok(Evidence::Firing(firing))
    }
}

fn first(shape: &Shape) -> SpecId {
    SpecId::of(shape.preset)
        .next()
        .unwrap_or_else(SpecId::fallback)
}

/// A ReplicaSet names its pods by its own name, a dash, and five letters or digits.
fn is_pod_of(pod: &str, replica_set: &str) -> bool {
    let rest = pod
        .strip_prefix(replica_set)
        .and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| {
        rest.len() == 5 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// How far back a share of bad requests is looked at.
fn span(rate: &Rate) -> SignedDuration {
    match rate.limit {
        Limit::Threshold { sustained, .. } => rate.window + sustained,
        Limit::WorseThanBefore { .. } => rate.window,
    }
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}
