//! Joins what a source counted with the pods and Services of one workload.
//!
//! Does not know who asks, nor when: the operator joins what its feeds hold now, a backtest what they
//! would have held then.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::decide::{Counters, Firing, Sample, Unknown};
use crate::observe::prometheus::buffer::{Buffer, Owner, Stream, Subject};
use crate::observe::prometheus::presets::{Identity, Spec};
use crate::observe::prometheus::release::{Named, Streams, requests};
use crate::observe::prometheus::services::Paths;

/// How a stream becomes samples.
pub type Read<'a> = &'a dyn Fn(&Stream) -> Result<Vec<Sample>, Unknown>;

/// What is known of a workload beside its metrics.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    pub namespace: &'a str,
    pub workload: &'a str,
    /// Of its pods.
    pub labels: &'a BTreeMap<String, String>,
    /// What leads to its pods, or why nobody knows.
    pub paths: Result<&'a Paths, &'a str>,
    /// The pods of the current revision.
    pub new: &'a [Named],
    /// Those of its other revisions, those that went away lately included.
    pub old: &'a [Named],
    /// Where the pods of the current revision are not watched.
    pub unwatched: Option<Unwatched<'a>>,
    /// When what is judged began.
    pub release: Timestamp,
}

/// A ReplicaSet whose pods nobody watches. They are known by how it names them.
///
/// Nobody knows when they were born; that they are as old as the ReplicaSet means that only what
/// they counted while they were looked at counts.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched<'a> {
    pub replica_set: &'a str,
    pub created: Timestamp,
}

impl Join<'_> {
    /// Returns everything that a shape could count about this workload.
    #[must_use]
    pub fn owners(&self, identity: Identity) -> Vec<Owner> {
        match identity {
            Identity::Pod { .. } => self.pods().collect(),
            Identity::Istio { .. } => self.pods().chain([self.whole()]).collect(),
            Identity::Service { .. }
            | Identity::Traefik { .. }
            | Identity::ContourCluster
            | Identity::EnvoyGatewayCluster => self.in_front(identity),
        }
    }

    /// Returns the counters of a shape, whose samples have been asked for since `seen`.
    ///
    /// # Errors
    ///
    /// Why they say nothing, which is data for the caller.
    pub fn counters(
        &self,
        spec: &Spec,
        buffer: &Buffer,
        seen: Timestamp,
        read: Read<'_>,
    ) -> Result<Counters, Unknown> {
        if !spec.identity.tells_revisions_apart()
            && let Err(cause) = self.paths
        {
            return Err(Unknown::NoSource {
                cause: cause.to_owned(),
            });
        }
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
                    return Ok(found(spec, pods));
                }
                Some(vec![self.whole()])
            }
            Identity::Service { .. }
            | Identity::Traefik { .. }
            | Identity::ContourCluster
            | Identity::EnvoyGatewayCluster => Some(self.in_front(spec.identity)),
        };
        let counters = match in_front {
            None => self.by_pod(&streams)?,
            Some(owners) => self.by_time(&streams, &owners, seen)?,
        };
        Ok(found(spec, counters))
    }

    /// Returns the counters of two expressions: by pod where they have its label, else before and
    /// after.
    ///
    /// # Errors
    ///
    /// Why they say nothing, which is data for the caller.
    pub fn custom(&self, buffer: &Buffer, seen: Timestamp) -> Result<Counters, Unknown> {
        let streams = plain(buffer);
        let all = self.here(Subject::All);
        if buffer.about(&all, false).is_empty() {
            self.by_pod(&streams)
        } else {
            self.by_time(&streams, &[all], seen)
        }
    }

    /// Returns the probes of the pods.
    ///
    /// # Errors
    ///
    /// Why they say nothing, which is data for the caller.
    pub fn probes(&self, buffer: &Buffer) -> Result<Counters, Unknown> {
        self.by_pod(&plain(buffer))
    }

    /// Returns when an alert fired, as far as the source had said it at `until`.
    #[must_use]
    pub fn firing(&self, buffer: &Buffer, until: Timestamp) -> Firing {
        let streams = buffer.about(&self.here(Subject::All), false);
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
    }

    fn here(&self, subject: Subject) -> Owner {
        (self.namespace.to_owned(), subject)
    }

    fn pods(&self) -> impl Iterator<Item = Owner> {
        let pods = self.new.iter().chain(self.old);
        pods.map(|pod| self.here(Subject::Pod(pod.name.clone())))
    }

    fn whole(&self) -> Owner {
        self.here(Subject::Workload(self.workload.to_owned()))
    }

    fn in_front(&self, identity: Identity) -> Vec<Owner> {
        self.paths.map_or_else(
            |_| Vec::new(),
            |paths| paths.owners(identity, self.namespace, self.labels),
        )
    }

    fn by_pod(&self, streams: &Streams<'_, Unknown>) -> Result<Counters, Unknown> {
        let owner = |name: &str| self.here(Subject::Pod(name.to_owned()));
        let unwatched = self.unwatched.map(|one| self.named_by(one, streams.buffer));
        let new = unwatched.as_deref().unwrap_or(self.new);
        let mut old = streams.by_pod(self.old, &owner)?;
        for pod in &mut old {
            // Nothing newer will come to say whether it was more than a hole.
            pod.samples.retain(Sample::is_finite);
        }
        Ok(Counters {
            new: streams.by_pod(new, &owner)?,
            old,
            ..Counters::default()
        })
    }

    fn by_time(
        &self,
        streams: &Streams<'_, Unknown>,
        owners: &[Owner],
        seen: Timestamp,
    ) -> Result<Counters, Unknown> {
        let (old, new) = streams.by_time(owners, self.release, seen)?;
        Ok(Counters {
            new,
            old,
            before_and_after: true,
            ..Counters::default()
        })
    }

    fn named_by(&self, unwatched: Unwatched<'_>, buffer: &Buffer) -> Vec<Named> {
        let names = buffer
            .owners()
            .filter_map(|(namespace, subject)| match subject {
                Subject::Pod(name) if namespace == self.namespace => Some(name),
                Subject::Pod(_)
                | Subject::Workload(_)
                | Subject::Service(_)
                | Subject::TraefikService(_)
                | Subject::Route(_)
                | Subject::All => None,
            });
        let own = names.filter(|name| is_pod_of(name, unwatched.replica_set));
        own.map(|name| Named {
            name: name.clone(),
            born: unwatched.created,
        })
        .collect()
    }
}

fn found(spec: &Spec, counters: Counters) -> Counters {
    Counters {
        preset: Some(spec.preset),
        ..counters
    }
}

fn plain(buffer: &Buffer) -> Streams<'_, Unknown> {
    Streams {
        buffer,
        one_target: false,
        read: &|stream| Ok(requests(stream)),
    }
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
