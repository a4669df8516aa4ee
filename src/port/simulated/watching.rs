//! Watches: what is there, then every change, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use serde_json::Value;

use super::SimulatedCluster;
use super::fields::remove;
use super::selector::Selector;
use super::store::Change;
use super::world::World;
use crate::port::{Cluster, Kind, Selection, WatchEvent};

/// One watch and how far it has come.
struct Watch {
    cluster: SimulatedCluster,
    kind: Kind,
    namespace: Option<String>,
    selector: Selector,
    /// How many changes were told; `None` before the first list.
    seen: Option<usize>,
    /// How often watches were expired when this one listed.
    expired: u64,
    ready: VecDeque<WatchEvent>,
}

/// Starts a watch. A selector that the API server would refuse selects nothing, for ever.
pub(super) fn watch(
    cluster: SimulatedCluster,
    kind: Kind,
    selection: Selection,
) -> BoxStream<'static, WatchEvent> {
    let Ok(selector) = Selector::parse(&selection.labels) else {
        return stream::pending().boxed();
    };
    let watch = Watch {
        cluster,
        kind,
        namespace: selection.namespace,
        selector,
        seen: None,
        expired: 0,
        ready: VecDeque::new(),
    };
    stream::unfold(watch, |mut watch| async {
        let event = watch.next().await;
        Some((event, watch))
    })
    .boxed()
}

impl Watch {
    async fn next(&mut self) -> WatchEvent {
        // Subscribed before looking, so that no change falls in between.
        let mut changed = self.cluster.shared.changed.subscribe();
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let due = self.gather();
            if !self.ready.is_empty() {
                continue;
            }
            let wait = async {
                match due {
                    Some(due) => self.cluster.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                // The sender lives in the cluster that this watch holds.
                _ = changed.changed() => {}
            }
        }
    }

    /// Takes what happened since the last look; returns when something is due next.
    fn gather(&mut self) -> Option<Timestamp> {
        let cluster = self.cluster.clone();
        let world = cluster.world();
        let next = world.next_due();
        let stalled = world.faults.watches_stalled_until;
        if let Some(until) = stalled.filter(|until| *until > world.now) {
            return Some(until);
        }
        if world.require_served(self.kind).is_err() {
            self.seen = None;
            return next;
        }
        if self.expired != world.faults.watches_expired {
            self.seen = None;
        }
        let Some(mut seen) = self.seen else {
            self.list(&world);
            return next;
        };
        loop {
            match world.store.change_after(seen) {
                Ok(Some(change)) => {
                    let event = self.event(change);
                    self.ready.extend(event);
                    seen += 1;
                }
                Ok(None) => {
                    self.seen = Some(seen);
                    return next;
                }
                Err(_) => {
                    self.list(&world);
                    return next;
                }
            }
        }
    }

    fn list(&mut self, world: &World) {
        self.ready.clear();
        self.ready.push_back(WatchEvent::Restarted);
        for (_, value) in world.store.of_kind(self.kind, self.namespace.as_deref()) {
            if self.selector.selects(value) {
                self.ready.push_back(WatchEvent::Applied(told(value)));
            }
        }
        self.ready.push_back(WatchEvent::Complete);
        self.seen = Some(world.store.changes_made());
        self.expired = world.faults.watches_expired;
    }

    fn event(&self, change: &Change) -> Option<WatchEvent> {
        let namespace = &change.object.namespace;
        if change.object.kind != self.kind
            || self.namespace.as_ref().is_some_and(|one| one != namespace)
        {
            return None;
        }
        let selected = |value: &&Arc<Value>| self.selector.selects(value);
        match (
            change.before.as_ref().filter(selected),
            change.after.as_ref().filter(selected),
        ) {
            (_, Some(after)) => Some(WatchEvent::Applied(told(after))),
            // It is gone, or its labels no longer fit: the same for who watches.
            (Some(before), None) => Some(WatchEvent::Deleted(told(before))),
            (None, None) => None,
        }
    }
}

/// Events come without `managedFields`, as through the real port.
fn told(value: &Value) -> Value {
    let mut value = value.clone();
    remove(&mut value, &["metadata", "managedFields"]);
    value
}
