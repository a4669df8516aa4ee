//! The state of the simulated cluster, and the order in which it moves.
//!
//! Time passes only here: every look at the world first lets everything happen that was due. What
//! happens at the same moment happens in the order in which it was put on the agenda, so that a run
//! repeats itself exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Settings;
use super::faults::Faults;
use super::fields::{controller_uid, items, text};
use super::pods::PodRun;
use super::prometheus::Series;
use super::store::Store;
use super::writes::Write;
use crate::port::{Error, Kind, ObjectRef, kinds};

/// What a controller of the cluster has to do. Each looks at the world anew, so that doing it too
/// often or too late is harmless.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    SyncDeployment(ObjectRef),
    SyncReplicaSet(ObjectRef),
    /// Of all Services of a namespace.
    SyncEndpoints(String),
    MovePod(ObjectRef),
    Scrape(ObjectRef),
    CollectGarbage,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) runs: BTreeMap<ObjectRef, PodRun>,
    pub(super) series: Series,
    pub(super) faults: Faults,
    pub(super) writes: Vec<Write>,
    pub(super) unserved: BTreeSet<Kind>,
    /// What reviews of access say no to: verb and resource.
    pub(super) revoked: BTreeSet<String>,
    pub(super) lost_nodes: BTreeSet<String>,
    /// How many pods a namespace may have.
    pub(super) quotas: BTreeMap<String, usize>,
    agenda: BTreeMap<(Timestamp, u64), Task>,
    pending: BTreeSet<Task>,
    counter: u64,
}

impl World {
    pub(super) fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            now,
            settings,
            store: Store::default(),
            runs: BTreeMap::new(),
            series: Series::default(),
            faults: Faults::default(),
            writes: Vec::new(),
            unserved: BTreeSet::new(),
            revoked: BTreeSet::new(),
            lost_nodes: BTreeSet::new(),
            quotas: BTreeMap::new(),
            agenda: BTreeMap::new(),
            pending: BTreeSet::new(),
            counter: 0,
        }
    }

    /// Lets everything happen that is due by `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.agenda.first_entry() {
            let (due, _) = *entry.key();
            if due > now {
                break;
            }
            let task = entry.remove();
            self.pending.remove(&task);
            self.now = self.now.max(due);
            self.carry_out(&task);
        }
        self.now = self.now.max(now);
    }

    /// Returns when the next thing happens by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.agenda.first_key_value().map(|(key, _)| key.0)
    }

    fn carry_out(&mut self, task: &Task) {
        match task {
            Task::SyncDeployment(object) => self.sync_deployment(object),
            Task::SyncEndpoints(namespace) => self.sync_endpoints(namespace),
            Task::SyncReplicaSet(object) => self.sync_replica_set(object),
            Task::MovePod(object) => self.move_pod(object),
            Task::Scrape(object) => self.scrape(object),
            Task::CollectGarbage => self.collect_garbage(),
        }
    }

    /// Puts `task` on the agenda for when a controller has heard of the cause, once.
    pub(super) fn soon(&mut self, task: Task) {
        if self.pending.insert(task.clone()) {
            let lag = self.settings.controller_lag;
            self.at(self.now + lag, task);
        }
    }

    pub(super) fn at(&mut self, due: Timestamp, task: Task) {
        self.counter += 1;
        self.agenda.insert((due, self.counter), task);
    }

    pub(super) fn after(&mut self, wait: SignedDuration, task: Task) {
        self.at(self.now + wait, task);
    }

    /// Tells the controllers that `object` is now `value`, or gone.
    pub(super) fn after_change(&mut self, object: &ObjectRef, value: Option<&Arc<Value>>) {
        let Some(value) = value else {
            return;
        };
        match object.kind {
            kinds::DEPLOYMENTS => self.soon(Task::SyncDeployment(object.clone())),
            kinds::REPLICA_SETS => {
                self.soon(Task::SyncReplicaSet(object.clone()));
                self.wake_owner(object, value);
            }
            kinds::PODS => {
                self.soon(Task::MovePod(object.clone()));
                self.wake_owner(object, value);
                self.wake_endpoints(&object.namespace);
            }
            kinds::SERVICES => self.wake_endpoints(&object.namespace),
            _ => {}
        }
    }

    /// Tells the controllers that `object` is gone; it was `last`.
    pub(super) fn after_removal(&mut self, object: &ObjectRef, last: &Value) {
        let owner = self.wake_owner(object, last);
        // A Deployment that recreates waits for the last pod, which no ReplicaSet counts any more.
        if let Some(set) = owner.filter(|owner| owner.kind == kinds::REPLICA_SETS)
            && let Some(value) = self.store.get(&set)
        {
            self.wake_owner(&set, &value);
        }
        if object.kind == kinds::PODS {
            self.wake_endpoints(&object.namespace);
        }
        self.soon(Task::CollectGarbage);
    }

    fn wake_owner(&mut self, object: &ObjectRef, value: &Value) -> Option<ObjectRef> {
        let kind = match object.kind {
            kinds::PODS => kinds::REPLICA_SETS,
            kinds::REPLICA_SETS => kinds::DEPLOYMENTS,
            _ => return None,
        };
        let uid = controller_uid(value);
        let owner = self
            .store
            .of_kind(kind, Some(&object.namespace))
            .find(|(_, owner)| text(owner, "/metadata/uid") == uid)
            .map(|(owner, _)| owner.clone())?;
        self.soon(if kind == kinds::REPLICA_SETS {
            Task::SyncReplicaSet(owner.clone())
        } else {
            Task::SyncDeployment(owner.clone())
        });
        Some(owner)
    }

    /// Removes what names owners of which none exists.
    fn collect_garbage(&mut self) {
        let all = || self.store.all();
        let living: BTreeSet<&str> = all()
            .map(|(_, value)| text(value, "/metadata/uid"))
            .collect();
        let orphans: Vec<(ObjectRef, String)> = all()
            .filter(|(_, value)| {
                let owners = items(value, "/metadata/ownerReferences");
                let gone = |owner: &Value| !living.contains(text(owner, "/uid"));
                !owners.is_empty() && owners.iter().all(gone)
            })
            .map(|(object, value)| (object.clone(), text(value, "/metadata/uid").to_owned()))
            .collect();
        for (object, uid) in orphans {
            self.delete(&object, &uid);
        }
    }

    /// Refuses kinds that no custom resource definition announces at the moment.
    pub(super) fn require_served(&self, kind: Kind) -> Result<(), Error> {
        if self.unserved.contains(&kind) {
            Err(Error::NotFound)
        } else {
            Ok(())
        }
    }

    /// Returns a number that looks random and is the same in every run with the same seed.
    fn next_number(&mut self) -> u64 {
        self.counter += 1;
        scrambled(self.settings.seed.wrapping_add(self.counter))
    }

    pub(super) fn new_uid(&mut self) -> String {
        let (high, low) = (self.next_number(), self.next_number());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }

    /// Returns five letters, as in the names of pods.
    pub(super) fn random_word(&mut self) -> String {
        word(self.next_number(), 5)
    }
}

/// The alphabet of generated names: without vowels, so that no words come out.
const ALPHABET: &[char] = &[
    'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x',
    'z', '2', '4', '5', '6', '7', '8', '9',
];

/// Spells `number` in `length` letters.
pub(super) fn word(mut number: u64, length: usize) -> String {
    let base = ALPHABET.len() as u64;
    (0..length)
        .map(|_| {
            let digit = usize::try_from(number % base).unwrap_or_default();
            number /= base;
            ALPHABET[digit]
        })
        .collect()
}

/// Mixes the bits of `number` (the finalizer of `SplitMix64`).
pub(super) fn scrambled(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
