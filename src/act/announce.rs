//! Tells people, by Events on the Deployment and on the Rollback.
//!
//! An Event that cannot be written is logged and dropped: it must never delay a rollback, and the
//! Rollback itself says the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Hands, Scene};
use crate::api::render::{self, Note, Place};
use crate::api::{names, template};
use crate::decide::{Announcement, Hold, Incident, Workload};
use crate::port::{Kind, kinds};

/// Enough for every open incident of a large cluster; past it, repeats are possible but harmless,
/// since the API server knows an Event by its name.
const ANNOUNCED_MAX: usize = 10_000;

/// The API server's limit for the note of an Event.
const NOTE_MAX: usize = 1024;

/// Writes the Events that `announcement` asks for, once per wording.
pub async fn announce(
    hands: &Hands,
    scene: &Scene<'_>,
    announcement: &Announcement,
    incident: Option<&Incident>,
) {
    let rollback = incident.map(|incident| incident.name(scene.workload));
    let place = rollback.as_deref().map(|rollback| Place {
        namespace: scene.namespace,
        deployment: &scene.workload.name,
        rollback,
    });
    let note = render::note(announcement, incident.zip(place.as_ref()));
    let deployment = reference(kinds::DEPLOYMENTS, scene, &scene.workload.name);
    match rollback {
        Some(rollback) => {
            let rollback = reference(kinds::ROLLBACKS, scene, &rollback);
            futures::join!(
                send(hands, scene, &note, (&deployment, Some(&rollback))),
                send(hands, scene, &note, (&rollback, Some(&deployment))),
            );
        }
        None => send(hands, scene, &note, (&deployment, None)).await,
    }
}

/// Tells on the Deployment that the policy it names does not exist or cannot be used: a typing error
/// must not look like protection.
pub async fn missing_policy(hands: &Hands, namespace: &str, workload: &Workload, policy: &str) {
    tell(hands, namespace, workload, &render::missing_policy(policy)).await;
}

/// Tells on the Deployment that its opting out keeps a policy from guarding it, once per release.
pub async fn opted_out(hands: &Hands, namespace: &str, workload: &Workload) {
    let held = Announcement::Held(Hold::OptedOut.into());
    tell(hands, namespace, workload, &render::note(&held, None)).await;
}

/// Tells, on the Deployment whose rollback was one too many, that the breaker opened.
pub async fn breaker_opened(hands: &Hands, namespace: &str, workload: &Workload, why: &str) {
    tell(hands, namespace, workload, &render::breaker_opened(why)).await;
}

/// Tells on the Deployment, where no incident is open.
async fn tell(hands: &Hands, namespace: &str, workload: &Workload, note: &Note) {
    let revisions = BTreeMap::new();
    let scene = Scene {
        namespace,
        workload,
        revisions: &revisions,
        open: None,
        template: &workload.template,
        requests: &[],
    };
    let deployment = reference(kinds::DEPLOYMENTS, &scene, &workload.name);
    send(hands, &scene, note, (&deployment, None)).await;
}

fn reference(kind: Kind, scene: &Scene<'_>, name: &str) -> Value {
    let mut reference = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "namespace": scene.namespace,
        "name": name,
    });
    if kind == kinds::DEPLOYMENTS {
        reference["uid"] = json!(scene.workload.uid);
    } else if let Some(uid) = scene
        .open
        .filter(|open| open.name == name)
        .map(|open| &open.uid)
    {
        reference["uid"] = json!(uid);
    }
    reference
}

async fn send(hands: &Hands, scene: &Scene<'_>, note: &Note, about: (&Value, Option<&Value>)) {
    let (regarding, related) = about;
    let name = event_name(scene.workload, note, about);
    if !first_time(hands, &name) {
        return;
    }
    let now = hands.cluster.now();
    let mut body = json!({
        "apiVersion": kinds::EVENTS.api_version(),
        "kind": kinds::EVENTS.kind,
        "metadata": {"namespace": scene.namespace, "name": name},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        "type": if note.warning { "Warning" } else { "Normal" },
        "reason": note.reason,
        "action": note.action,
        "note": cut(&note.note),
        "regarding": regarding,
        "reportingController": names::REPORTER,
        "reportingInstance": hands.instance,
    });
    if let Some(related) = related {
        body["related"] = related.clone();
    }
    match hands.cluster.create(kinds::EVENTS, body).await {
        // There already: another process of ours said it before it stopped.
        Ok(_) | Err(crate::port::Error::AlreadyExists) => (),
        Err(error) => tracing::warn!(%error, reason = note.reason, "an Event could not be written"),
    }
}

/// The same words about the same incident are the same Event, or about the same revision where there
/// is no incident: the next one that goes the same way has Events of its own.
fn event_name(workload: &Workload, note: &Note, about: (&Value, Option<&Value>)) -> String {
    const STEM_MAX: usize = 200;
    let (regarding, related) = about;
    let kind = &regarding["kind"];
    // Not the whole references: the UID of a Rollback is not known yet when it is first told of.
    let incident = related.map(|related| [&regarding["name"], &related["name"]]);
    let subject =
        incident.map_or_else(|| workload.template.0.clone(), |names| format!("{names:?}"));
    let text = format!(
        "{}{kind}{subject}{}{}",
        workload.uid, note.reason, note.note
    );
    let digest = template::digest(&text);
    let hex = digest.get(..16).unwrap_or_default();
    let stem: String = workload.name.chars().take(STEM_MAX).collect();
    format!("{stem}.{hex}")
}

fn first_time(hands: &Hands, name: &str) -> bool {
    let mut announced = hands
        .announced
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if announced.len() >= ANNOUNCED_MAX {
        announced.clear();
    }
    announced.insert(name.to_owned())
}

fn cut(note: &str) -> &str {
    let end = (0..=NOTE_MAX.min(note.len()))
        .rev()
        .find(|end| note.is_char_boundary(*end));
    note.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::SignedDuration;
    use serde_json::json;

    use super::{cut, event_name};
    use crate::api::render::Note;
    use crate::decide::{Revision, Workload};

    fn workload(template: &str) -> Workload {
        Workload {
            uid: "5eed0007".to_owned(),
            name: "checkout".to_owned(),
            template: Revision(template.to_owned()),
            current: None,
            replicas: 4,
            rolling_update: true,
            progress_deadline: SignedDuration::ZERO,
            ..Workload::default()
        }
    }

    fn name(template: &str, kinds: [&str; 2], rollback: Option<&str>) -> String {
        let note = Note {
            warning: true,
            reason: "Verifying".to_owned(),
            action: "RollBack",
            note: "3efda223 is back; verifying that it works".to_owned(),
        };
        let regarding = json!({"kind": kinds[0], "name": "checkout"});
        let related = rollback.map(|name| json!({"kind": kinds[1], "name": name}));
        event_name(&workload(template), &note, (&regarding, related.as_ref()))
    }

    #[test]
    fn each_incident_has_events_of_its_own_however_alike_they_are() {
        let told = [
            name("good", ["Deployment", "Rollback"], Some("checkout-1")),
            name("good", ["Deployment", "Rollback"], Some("checkout-2")),
            name("good", ["Rollback", "Deployment"], Some("checkout-1")),
            name("good", ["Deployment", "Rollback"], None),
            name("bad", ["Deployment", "Rollback"], None),
        ];
        let different: HashSet<&String> = told.iter().collect();
        assert_eq!(different.len(), told.len(), "{told:?}");
        // The template goes back within an incident, and what was told of it stays told.
        let later = name("bad", ["Deployment", "Rollback"], Some("checkout-1"));
        assert_eq!(later, told[0]);
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(2000)).len(), 1024);
        assert_eq!(cut(&"ä".repeat(1000)).len(), 1024);
        assert_eq!(cut(&format!("x{}", "ä".repeat(1000))).len(), 1023);
    }
}
