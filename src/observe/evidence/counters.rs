//! Counters of one workload, by whatever shape has them: of its pods, or of what leads to them.

use super::{Asking, Found};
use crate::decide::{Attention, Counters, Evidence, Sample, Shape, Unknown};
use crate::observe::prometheus::buffer::{Buffer, Owner, Stream, Subject};
use crate::observe::prometheus::feeds::{Need, Sought, with_shape};
use crate::observe::prometheus::presets::{Identity, SpecId};
use crate::observe::prometheus::release::{Named, Streams};
use crate::observe::prometheus::series::{Metric, Series};
use jiff::Timestamp;

impl Asking<'_> {
    /// Finds which shape a preset stands for here.
    pub(super) fn find(
        &self,
        metric: fn(SpecId) -> Metric,
        shape: &Shape,
    ) -> Result<SpecId, Unknown> {
        let latency = matches!(metric(first(shape)), Metric::Latency(_));
        let candidates: Vec<SpecId> = SpecId::of(shape.preset)
            .filter(|id| id.tells(latency))
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

    pub(super) fn counters(
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
        let counters = feeds.wanted(series, need, self.now, |buffer, asked| {
            let streams = Streams {
                buffer,
                one_target: spec.one_target,
                read,
            };
            let in_front = match spec.identity {
                Identity::Pod { .. } => None,
                // Waypoints report on workloads whose pods have no sidecars.
                Identity::Istio { .. } => {
                    let pods = self.by_pod(&streams, asked)?;
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
                None => self.by_pod(&streams, asked),
                Some(owners) => self.by_time(&streams, &owners, (need.from, asked)),
            }
        })??;
        Ok(Evidence::Counters(Counters {
            preset: Some(spec.preset),
            ..counters
        }))
    }

    /// What of it is the new pods' and what the old pods', as the source said at `asked`.
    pub(super) fn by_pod(
        &self,
        streams: &Streams<'_, Unknown>,
        asked: Timestamp,
    ) -> Result<Counters, Unknown> {
        let owner = |name: &str| (self.namespace().to_owned(), Subject::Pod(name.to_owned()));
        let unwatched = self.unwatched(streams.buffer);
        let new = unwatched.as_ref().unwrap_or(&self.new);
        let mut old = streams.by_pod(&self.old, &owner)?;
        for pod in &mut old {
            // Nothing newer will come to say whether it was more than a hole.
            pod.samples.retain(Sample::is_finite);
        }
        Ok(Counters {
            new: streams.by_pod(new, &owner)?,
            old,
            preset: None,
            before_and_after: false,
            asked: Some(asked),
        })
    }

    pub(super) fn by_time(
        &self,
        streams: &Streams<'_, Unknown>,
        owners: &[Owner],
        (seen, asked): (Timestamp, Timestamp),
    ) -> Result<Counters, Unknown> {
        let (old, new) = streams.by_time(owners, self.release(), seen)?;
        Ok(Counters {
            new,
            old,
            preset: None,
            before_and_after: true,
            asked: Some(asked),
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
