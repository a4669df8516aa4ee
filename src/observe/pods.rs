//! Pods cut down to what a decision needs, with the history of their restarts.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::record::{self, text, time};
use crate::decide::{Pod, RestartCount};

/// A day, the longest window, at the kubelet's longest back-off of five minutes has 288 restarts; the
/// rest is for the quicker ones before it. Only changes are kept.
const RESTARTS_KEPT: usize = 320;

/// The pods of one namespace, by their UID.
#[derive(Debug, Default)]
pub struct Pods {
    known: HashMap<String, Known>,
    /// What was seen since the watch began to list anew; `None` when it is not listing.
    listing: Option<Vec<String>>,
    complete: bool,
}

#[derive(Debug)]
struct Known {
    owner_uid: String,
    pod: Pod,
}

impl Pods {
    /// Takes in a pod that exists. Returns the name of the ReplicaSet that owns it when something
    /// changed that a decision looks at.
    pub fn apply(&mut self, object: &Value, now: Timestamp) -> Option<String> {
        let uid = text(object, "/metadata/uid")?.to_owned();
        let owner = record::controller(object)?;
        let owner_uid = text(owner, "/uid")?.to_owned();
        let owner_name = text(owner, "/name")?.to_owned();
        let name = text(object, "/metadata/name")?.to_owned();
        let born = time(object, "/metadata/creationTimestamp")?;
        if let Some(listed) = &mut self.listing {
            listed.push(uid.clone());
        }
        let count = restarts(object);
        let mut changed = false;
        let known = self.known.entry(uid).or_insert_with(|| {
            changed = true;
            Known {
                owner_uid,
                pod: Pod {
                    name,
                    born,
                    restarts: Vec::new(),
                    last_termination: None,
                    waiting: None,
                    ready: None,
                    excused: false,
                },
            }
        });
        let newest = known.pod.restarts.last().map(|seen| seen.count);
        if newest != Some(count) {
            known.pod.restarts.push(RestartCount { at: now, count });
            if known.pod.restarts.len() > RESTARTS_KEPT {
                known.pod.restarts.remove(0);
            }
            changed = true;
        }
        changed.then_some(owner_name)
    }

    /// Forgets a pod that is gone.
    pub fn delete(&mut self, object: &Value) {
        if let Some(uid) = text(object, "/metadata/uid") {
            self.known.remove(uid);
        }
    }

    /// The watch lists everything anew.
    pub fn restart(&mut self) {
        self.listing = Some(Vec::new());
    }

    /// The list is complete: what was not in it is gone.
    pub fn complete(&mut self) {
        if let Some(listed) = self.listing.take() {
            let listed: std::collections::HashSet<_> = listed.into_iter().collect();
            self.known.retain(|uid, _| listed.contains(uid));
        }
        self.complete = true;
    }

    /// Returns the pods of the ReplicaSet `owner_uid`, once all pods have been seen.
    #[must_use]
    pub fn owned_by(&self, owner_uid: &str) -> Option<Vec<Pod>> {
        if !self.complete {
            return None;
        }
        let mut pods: Vec<Pod> = self
            .known
            .values()
            .filter(|known| known.owner_uid == owner_uid)
            .map(|known| known.pod.clone())
            .collect();
        pods.sort_by(|left, right| left.name.cmp(&right.name));
        Some(pods)
    }
}

/// All containers of a pod together.
fn restarts(object: &Value) -> u32 {
    let statuses = object
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array);
    let sum: u64 = statuses
        .into_iter()
        .flatten()
        .filter_map(|status| status.get("restartCount")?.as_u64())
        .fold(0, u64::saturating_add);
    u32::try_from(sum).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn pod(uid: &str, restarts: u32) -> Value {
        json!({
            "metadata": {"uid": uid, "name": format!("checkout-abc-{uid}"),
                "creationTimestamp": "1970-01-01T00:00:01Z",
                "ownerReferences": [{"controller": true, "uid": "rs1", "name": "checkout-abc"}]},
            "status": {"containerStatuses": [{"restartCount": restarts}, {"restartCount": 0}]},
        })
    }

    fn names(pods: &Pods) -> Vec<String> {
        let owned = pods.owned_by("rs1").expect("complete");
        owned.into_iter().map(|pod| pod.name).collect()
    }

    #[test]
    fn pods_are_unknown_until_all_were_listed() {
        let mut pods = Pods::default();
        pods.restart();
        pods.apply(&pod("p1", 0), at(1));
        assert_eq!(pods.owned_by("rs1"), None);
        pods.complete();
        assert_eq!(names(&pods), ["checkout-abc-p1"]);
    }

    #[test]
    fn what_is_not_listed_again_is_gone_and_what_is_keeps_its_history() {
        let mut pods = Pods::default();
        for uid in ["p1", "p2"] {
            pods.apply(&pod(uid, 0), at(1));
        }
        pods.complete();
        pods.restart();
        pods.apply(&pod("p1", 2), at(9));
        pods.complete();
        assert_eq!(names(&pods), ["checkout-abc-p1"]);
        let counts = &pods.owned_by("rs1").expect("complete")[0].restarts;
        assert_eq!(
            counts,
            &[
                RestartCount {
                    at: at(1),
                    count: 0
                },
                RestartCount {
                    at: at(9),
                    count: 2
                }
            ]
        );
    }

    #[test]
    fn only_changes_that_matter_are_reported() {
        let mut pods = Pods::default();
        assert_eq!(
            pods.apply(&pod("p1", 0), at(1)).as_deref(),
            Some("checkout-abc")
        );
        assert_eq!(pods.apply(&pod("p1", 0), at(2)), None);
        assert_eq!(
            pods.apply(&pod("p1", 1), at(3)).as_deref(),
            Some("checkout-abc")
        );
        assert_eq!(pods.apply(&json!({"metadata": {}}), at(4)), None);
    }

    #[test]
    fn history_is_bounded() {
        let mut pods = Pods::default();
        for count in 0..1000 {
            pods.apply(&pod("p1", count), at(i64::from(count)));
        }
        pods.complete();
        assert_eq!(
            pods.owned_by("rs1").expect("complete")[0].restarts.len(),
            RESTARTS_KEPT
        );
    }
}
