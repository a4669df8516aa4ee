//! Events of a namespace, cut down to the newest warnings about one workload.
//!
//! What they mean is said in [`super::warnings`].

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::names;
use crate::api::record::{text, time};

/// As many as are looked at: a rollout that fails warns of some ten things, once per pod.
const WARNINGS_MAX: usize = 200;

/// One warning, and how often it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Warning {
    /// Lower case, as people write it.
    pub(super) kind: String,
    pub(super) name: String,
    /// Of the container, where it is about one.
    pub(super) container: String,
    pub(super) reason: String,
    pub(super) note: String,
    pub(super) at: Timestamp,
    pub(super) count: u64,
}

/// Which objects belong to the workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subjects<'a> {
    pub(super) deployment: &'a str,
    /// Its pods are known by their names, since those that are gone warned too.
    pub(super) replica_set: Option<&'a str>,
}

impl Subjects<'_> {
    fn contain(&self, kind: &str, name: &str) -> bool {
        match (kind, self.replica_set) {
            ("Deployment", _) => name == self.deployment,
            ("ReplicaSet", Some(own)) => name == own,
            ("Pod", Some(own)) => {
                let rest = name.strip_prefix(own);
                let rest = rest.and_then(|rest| rest.strip_prefix('-'));
                rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('-'))
            }
            _ => false,
        }
    }
}

/// Returns the newest warnings about `subjects`, the newest first, each thing on each object once.
///
/// Both forms are read: `events.k8s.io/v1`, and that of the core group, which older recorders use and
/// proxies of the API server may answer with.
pub(super) fn newest(events: &[Value], subjects: Subjects<'_>) -> Vec<Warning> {
    let mut found: BTreeMap<(String, String, String, String), Warning> = BTreeMap::new();
    for warning in events.iter().filter_map(|event| read(event, subjects)) {
        let Warning {
            name,
            container,
            reason,
            note,
            ..
        } = &warning;
        // The counts in a scheduler's message change; what it is about does not.
        let about: String = note
            .chars()
            .filter(|letter| !letter.is_ascii_digit())
            .collect();
        let key = (name.clone(), container.clone(), reason.clone(), about);
        match found.get_mut(&key) {
            Some(known) => {
                let count = known.count.saturating_add(warning.count);
                if warning.at > known.at {
                    *known = warning;
                }
                known.count = count;
            }
            None => {
                found.insert(key, warning);
            }
        }
    }
    let mut newest: Vec<Warning> = found.into_values().collect();
    newest.sort_by_key(|warning| Reverse(warning.at));
    newest.truncate(WARNINGS_MAX);
    newest
}

fn read(event: &Value, subjects: Subjects<'_>) -> Option<Warning> {
    if text(event, "/type") != Some("Warning") || is_ours(event) {
        return None;
    }
    let either = |new: &str, core: &str| text(event, new).or_else(|| text(event, core));
    let kind = either("/regarding/kind", "/involvedObject/kind")?;
    let name = either("/regarding/name", "/involvedObject/name")?;
    if !subjects.contain(kind, name) {
        return None;
    }
    let field = either("/regarding/fieldPath", "/involvedObject/fieldPath");
    Some(Warning {
        kind: kind.to_lowercase(),
        name: name.to_owned(),
        container: field.and_then(container).unwrap_or_default().to_owned(),
        reason: text(event, "/reason").unwrap_or_default().to_owned(),
        note: either("/note", "/message").unwrap_or_default().to_owned(),
        at: newest_time(event)?,
        count: count(event),
    })
}

/// What Astern says itself is no cause of anything.
fn is_ours(event: &Value) -> bool {
    text(event, "/reportingController") == Some(names::REPORTER)
}

/// `spec.containers{app}`.
fn container(field: &str) -> Option<&str> {
    let (_, rest) = field.split_once('{')?;
    rest.strip_suffix('}')
}

fn newest_time(event: &Value) -> Option<Timestamp> {
    const TIMES: [&str; 5] = [
        "/series/lastObservedTime",
        "/deprecatedLastTimestamp",
        "/lastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ];
    TIMES.iter().filter_map(|path| time(event, path)).max()
}

fn count(event: &Value) -> u64 {
    let counts = ["/series/count", "/deprecatedCount", "/count"];
    let counts = counts
        .iter()
        .filter_map(|path| event.pointer(path)?.as_u64());
    counts.max().unwrap_or_default().max(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: Subjects<'_> = Subjects {
        deployment: "checkout",
        replica_set: Some("checkout-7d9f"),
    };

    fn event(name: &str, note: &str, second: u32) -> Value {
        json!({
            "type": "Warning", "reason": "Unhealthy", "note": note,
            "regarding": {"kind": "Pod", "name": name, "fieldPath": "spec.containers{app}"},
            "eventTime": null,
            "deprecatedLastTimestamp": format!("2026-11-23T10:00:{second:02}Z"),
            "deprecatedCount": 3,
        })
    }

    fn at(second: u32) -> Timestamp {
        format!("2026-11-23T10:00:{second:02}Z")
            .parse()
            .expect("a time")
    }

    #[test]
    fn both_forms_of_an_event_say_the_same() {
        let core = json!({
            "type": "Warning", "reason": "Unhealthy", "message": "Readiness probe failed: 503",
            "involvedObject": {"kind": "Pod", "name": "checkout-7d9f-x2",
                "fieldPath": "spec.containers{app}"},
            "lastTimestamp": "2026-11-23T10:00:05Z", "count": 3,
        });
        let new = event("checkout-7d9f-x2", "Readiness probe failed: 503", 5);
        let expected = Warning {
            kind: "pod".to_owned(),
            name: "checkout-7d9f-x2".to_owned(),
            container: "app".to_owned(),
            reason: "Unhealthy".to_owned(),
            note: "Readiness probe failed: 503".to_owned(),
            at: at(5),
            count: 3,
        };
        assert_eq!(newest(&[core], OURS), std::slice::from_ref(&expected));
        assert_eq!(newest(&[new], OURS), [expected]);
    }

    #[test]
    fn a_series_says_when_it_was_seen_last_and_how_often() {
        let mut series = event("checkout-7d9f-x2", "failed", 5);
        series["series"] = json!({"count": 41, "lastObservedTime": "2026-11-23T10:00:30.5Z"});
        let found = newest(&[series], OURS);
        assert_eq!(found[0].count, 41);
        assert!(found[0].at > at(30));
    }

    #[track_caller]
    fn check_subject(kind: &str, name: &str, expected: bool) {
        assert_eq!(OURS.contain(kind, name), expected, "{kind}/{name}");
    }

    #[test]
    fn only_objects_of_the_workload_count() {
        check_subject("Deployment", "checkout", true);
        check_subject("Deployment", "cart", false);
        check_subject("ReplicaSet", "checkout-7d9f", true);
        check_subject("ReplicaSet", "checkout-5b6c", false);
        check_subject("Pod", "checkout-7d9f-x2", true);
        check_subject("Pod", "checkout-5b6c-x2", false);
        check_subject("Pod", "checkout-7d9f8-x2", false);
        check_subject("Pod", "checkout-7d9f-a-b", false);
        check_subject("Pod", "checkout-7d9f", false);
        check_subject("Node", "checkout", false);
    }

    #[test]
    fn what_is_no_warning_is_left_out() {
        let mut normal = event("checkout-7d9f-x2", "Pulled", 5);
        normal["type"] = json!("Normal");
        assert_eq!(newest(&[normal, json!({}), json!(null)], OURS), []);
    }

    #[test]
    fn what_astern_says_itself_is_left_out() {
        let mut own = event("checkout-7d9f-x2", "proposes to go back", 5);
        own["reportingController"] = json!(names::REPORTER);
        assert_eq!(newest(&[own], OURS), []);
    }

    #[test]
    fn the_same_is_told_once_with_the_newest_words_first() {
        let events = [
            event("checkout-7d9f-x2", "0/3 nodes", 5),
            event("checkout-7d9f-x2", "other", 6),
            event("checkout-7d9f-x2", "0/4 nodes", 7),
        ];
        let found = newest(&events, OURS);
        let notes: Vec<(&str, u64)> = found
            .iter()
            .map(|one| (one.note.as_str(), one.count))
            .collect();
        assert_eq!(notes, [("0/4 nodes", 6), ("other", 3)]);
    }

    #[test]
    fn the_number_of_warnings_is_bounded() {
        let events: Vec<Value> = ('a'..='z')
            .flat_map(|first| ('a'..='z').map(move |second| format!("{first}{second}")))
            .map(|note| event("checkout-7d9f-x2", &note, 5))
            .collect();
        assert_eq!(newest(&events, OURS).len(), WARNINGS_MAX);
    }
}
