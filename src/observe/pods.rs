//! The pods of one namespace, with what their latest state alone does not tell: the history of their
//! restarts, since when they wait, whether what happens to them is their revision's fault.
//!
//! Whether that is good or bad is not said here.

mod status;

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(crate) use self::status::cut;
use self::status::{Family, Status, status};
use crate::api::record::{self, text, time};
use crate::decide::{Pod, RestartCount, Waiting};

/// A day, the longest window, at the kubelet's longest back-off of five minutes has 288 restarts; the
/// rest is for the quicker ones before it. Only changes are kept.
const RESTARTS_KEPT: usize = 320;

/// A pod that is gone still says what its revision did while it was there, longer than any comparison
/// looks back.
const GONE_KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A rollout of a thousand pods replaces as many. A pod that is gone costs some 200 bytes.
const GONE_KEPT: usize = 2000;

/// What befell a pod excuses it for this long afterwards, and what takes its place: containers start
/// anew once a node is back, and a new pod must be scheduled, pulled and started. Kubernetes itself
/// lets a pod wait as long for its node.
const EXCUSED_FOR: SignedDuration = SignedDuration::from_mins(5);

/// The pods of one Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodsOf {
    /// Of the current revision: those that are neither finished nor being deleted.
    pub current: Vec<Pod>,
    /// Of its other ReplicaSets, those that are gone included while they are remembered.
    pub old: Vec<OldPod>,
    /// How many pods, of whatever revision, are missing or not ready for reasons that are no
    /// revision's fault.
    pub disrupted: u32,
}

/// A pod of another revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldPod {
    pub name: String,
    pub born: Timestamp,
    /// When it was seen to be gone; `None` while it is there.
    pub gone: Option<Timestamp>,
    /// UID of the ReplicaSet that made it.
    pub replica_set: String,
}

/// Says of a node, by its name, whether it is unfit to run pods.
pub type IsUnfit<'a> = &'a dyn Fn(&str) -> bool;

/// A pod that is ready is counted among the available ones only when the Deployment controller has
/// seen it, and after `minReadySeconds`, of which few ask for more.
const COUNTED_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// The pods of one namespace, by their UID.
#[derive(Debug, Default)]
pub struct Pods {
    known: HashMap<String, Known>,
    /// Those that are gone, the longest ago first.
    gone: VecDeque<Gone>,
    /// What was seen since the watch began to list anew; `None` when it is not listing.
    listing: Option<HashSet<String>>,
    complete: bool,
}

#[derive(Debug)]
struct Known {
    owner_uid: String,
    status: Status,
    pod: Pod,
    /// Restarts that are not its revision's fault.
    excused_restarts: u32,
    /// When it was last known that something befell it.
    befallen: Option<Timestamp>,
    waiting_for: Option<Family>,
    /// When it was first seen to be finished or on its way out.
    ended: Option<Timestamp>,
}

#[derive(Debug)]
struct Gone {
    pod: OldPod,
    disrupted: bool,
}

impl Pods {
    /// Takes in a pod that exists. Returns the name of the ReplicaSet that owns it when something
    /// changed that a decision looks at.
    pub fn apply(
        &mut self,
        object: &Value,
        is_unfit: IsUnfit<'_>,
        now: Timestamp,
    ) -> Option<String> {
        let uid = text(object, "/metadata/uid")?.to_owned();
        let owner = record::controller(object)?;
        let owner_name = text(owner, "/name")?.to_owned();
        if let Some(listed) = &mut self.listing {
            listed.insert(uid.clone());
        }
        let status = status(object);
        let changed = match self.known.get_mut(&uid) {
            Some(known) if known.status == status => return None,
            Some(known) => {
                let before = known.pod.clone();
                let was_active = known.status.active;
                known.take_in(status, is_unfit, now);
                known.pod != before || known.status.active != was_active
            }
            None => {
                let mut known = Known::of(object, owner)?;
                known.take_in(status, is_unfit, now);
                self.known.insert(uid, known);
                true
            }
        };
        changed.then_some(owner_name)
    }

    /// Forgets a pod that is gone, besides that it was there. Returns the name of the ReplicaSet that
    /// owned it.
    pub fn delete(&mut self, object: &Value, now: Timestamp) -> Option<String> {
        let known = self.known.remove(text(object, "/metadata/uid")?)?;
        let last = status(object);
        self.remember(known.gone(last.disrupted, now));
        let owner = record::controller(object)?;
        text(owner, "/name").map(str::to_owned)
    }

    /// The watch lists everything anew.
    pub fn restart(&mut self) {
        self.listing = Some(HashSet::new());
    }

    /// The list is complete: what was not in it is gone.
    pub fn complete(&mut self, now: Timestamp) {
        if let Some(listed) = self.listing.take() {
            let gone: Vec<String> = self
                .known
                .keys()
                .filter(|uid| !listed.contains(*uid))
                .cloned()
                .collect();
            for uid in gone {
                if let Some(known) = self.known.remove(&uid) {
                    self.remember(known.gone(false, now));
                }
            }
        }
        self.complete = true;
    }

    /// Notes that the fitness of `node` changed: what befalls its pods now is not theirs.
    pub fn node_changed(&mut self, node: &str, now: Timestamp) {
        for known in self.known.values_mut() {
            if known.status.node.as_deref() == Some(node) {
                known.befallen = Some(now);
            }
        }
    }

    /// Returns the pods of the ReplicaSets `owned`, of which `current` is the current one; none until
    /// all pods have been seen.
    #[must_use]
    pub fn of(
        &self,
        current: &str,
        owned: &[String],
        is_unfit: IsUnfit<'_>,
        now: Timestamp,
    ) -> PodsOf {
        let mut found = PodsOf::default();
        if !self.complete {
            return found;
        }
        let is_owned = |uid: &str| uid == current || owned.iter().any(|owned| owned == uid);
        for known in self
            .known
            .values()
            .filter(|known| is_owned(&known.owner_uid))
        {
            found.disrupted += u32::from(known.is_missing_by_disruption(is_unfit, now));
            if known.owner_uid != current {
                found.old.push(known.old(None));
            } else if known.status.active {
                found.current.push(Pod {
                    excused: known.is_excused(is_unfit, now),
                    ..known.pod.clone()
                });
            }
        }
        let gone = self
            .gone
            .iter()
            .filter(|gone| is_owned(&gone.pod.replica_set));
        for Gone { pod, disrupted } in gone {
            let lately = pod.gone.is_some_and(|at| is_recent(at, EXCUSED_FOR, now));
            found.disrupted += u32::from(*disrupted && lately);
            if pod.replica_set != current {
                found.old.push(pod.clone());
            }
        }
        found
            .current
            .sort_by(|left, right| left.name.cmp(&right.name));
        found.old.sort_by(|left, right| left.name.cmp(&right.name));
        found
    }

    fn remember(&mut self, gone: Gone) {
        let now = gone.pod.gone.unwrap_or(Timestamp::MAX);
        self.gone.push_back(gone);
        let too_many = self.gone.len().saturating_sub(GONE_KEPT);
        self.gone.drain(..too_many);
        self.gone.retain(|gone| {
            let at = gone.pod.gone.unwrap_or(Timestamp::MIN);
            is_recent(at, GONE_KEPT_FOR, now)
        });
    }
}

impl Known {
    fn of(object: &Value, owner: &Value) -> Option<Self> {
        Some(Self {
            owner_uid: text(owner, "/uid")?.to_owned(),
            status: Status::default(),
            pod: Pod {
                name: text(object, "/metadata/name")?.to_owned(),
                born: time(object, "/metadata/creationTimestamp")?,
                ..Pod::default()
            },
            excused_restarts: 0,
            befallen: None,
            waiting_for: None,
            ended: None,
        })
    }

    fn take_in(&mut self, status: Status, is_unfit: IsUnfit<'_>, now: Timestamp) {
        let before = std::mem::replace(&mut self.status, status);
        // A mark that was taken off again was there until just now.
        if self.status.disrupted || before.disrupted {
            self.befallen = Some(now);
        }
        if !self.status.active {
            self.ended.get_or_insert(now);
        }
        let more = self.status.restarts.saturating_sub(before.restarts);
        if self.is_excused(is_unfit, now) {
            self.excused_restarts = self.excused_restarts.saturating_add(more);
        }
        let count = self.status.restarts.saturating_sub(self.excused_restarts);
        self.count(RestartCount { at: now, count });
        self.wait(now);
        let Status {
            last_termination,
            ready,
            started,
            unschedulable,
            ..
        } = self.status.clone();
        self.pod.last_termination = last_termination;
        self.pod.ready = ready;
        self.pod.started |= started;
        self.pod.unschedulable = unschedulable;
    }

    fn count(&mut self, seen: RestartCount) {
        let counts = &mut self.pod.restarts;
        if counts.last().map(|newest| newest.count) != Some(seen.count) {
            counts.push(seen);
            if counts.len() > RESTARTS_KEPT {
                counts.remove(0);
            }
        }
    }

    fn wait(&mut self, now: Timestamp) {
        let family = self.status.blocked.as_ref().map(|blocked| blocked.family);
        let same = self.waiting_for == family;
        let since = self.pod.waiting.as_ref().map(|waiting| waiting.since);
        self.waiting_for = family;
        self.pod.waiting = self.status.blocked.as_ref().map(|blocked| Waiting {
            container: blocked.container.clone(),
            reason: blocked.reason.clone(),
            message: blocked.message.clone(),
            since: since.filter(|_| same).unwrap_or(now),
        });
    }

    fn is_excused(&self, is_unfit: IsUnfit<'_>, now: Timestamp) -> bool {
        self.status.disrupted
            || self.status.node.as_deref().is_some_and(is_unfit)
            || self
                .befallen
                .is_some_and(|at| is_recent(at, EXCUSED_FOR, now))
    }

    fn is_missing_by_disruption(&self, is_unfit: IsUnfit<'_>, now: Timestamp) -> bool {
        if let Some(ended) = self.ended {
            // What was made in its place has had its time.
            return self.status.disrupted && is_recent(ended, EXCUSED_FOR, now);
        }
        let ready = self.pod.ready;
        let counted = ready.is_some_and(|since| !is_recent(since, COUNTED_WITHIN, now));
        !counted && self.is_excused(is_unfit, now)
    }

    fn old(&self, gone: Option<Timestamp>) -> OldPod {
        OldPod {
            name: self.pod.name.clone(),
            born: self.pod.born,
            gone,
            replica_set: self.owner_uid.clone(),
        }
    }

    fn gone(&self, disrupted: bool, now: Timestamp) -> Gone {
        Gone {
            pod: self.old(Some(now)),
            disrupted: disrupted || self.status.disrupted,
        }
    }
}

fn is_recent(at: Timestamp, span: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(at) <= span
}

#[cfg(test)]
mod tests;
