//! The volumes of a pod that are filled from `ConfigMaps` and Secrets, as far as they keep it from
//! starting. Nothing is mounted.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    clock::now,
    node::{
        Simulation,
        config::{self, Found, Name},
        event::{self, Happening},
        manifest::Volume,
        state::{Pod, no_longer_wanted},
    },
};

/// How soon kubelet tries again to mount a volume, doubling up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(122);

/// Waits until all that the volumes cannot do without is there, or the pod shall not run any more.
pub(super) async fn mount(simulation: &Simulation, pod: &Arc<Pod>) {
    tokio::select! {
        biased;
        _ = no_longer_wanted(pod) => return,
        () = filled(simulation, pod) => {}
    }
    pod.mounted.get_or_init(now);
    pod.changed.notify_one();
}

async fn filled(simulation: &Simulation, pod: &Arc<Pod>) {
    let volumes = &pod.manifest.spec.volumes;
    let names = volumes.iter().flat_map(Volume::names);
    let names: std::collections::BTreeSet<Name> = names.map(|(name, _)| name).collect();
    let mut wait = FIRST;
    while !names.is_empty() {
        let obstacle = match config::read(simulation, pod, names.clone()).await {
            Ok(found) => volumes.iter().find_map(|volume| {
                let obstacle = obstacle(volume, &found)?;
                Some((volume, obstacle))
            }),
            Err(message) => volumes.first().map(|volume| (volume, message)),
        };
        let Some((volume, message)) = obstacle else {
            return;
        };
        let name = &volume.name;
        let message = format!("MountVolume.SetUp failed for volume {name:?} : {message}");
        event::report(simulation, pod, Happening::FailedToMount(&message));
        sleep(wait.mul_f64(simulation.backoff_factor)).await;
        wait = (wait * 2).min(LONGEST);
    }
}

/// Returns what keeps a volume from being mounted, in kubelet's words.
fn obstacle(volume: &Volume, found: &Found) -> Option<String> {
    for (name, files) in volume.names() {
        let Some(contents) = found.get(&name) else {
            if files.optional {
                continue;
            }
            return Some(name.not_found());
        };
        let missing = files.items.iter().find(|item| {
            !contents.text.contains_key(&item.key) && !contents.binary.contains(&item.key)
        });
        if let Some(item) = missing.filter(|_| !files.optional) {
            let key = &item.key;
            return Some(match name {
                Name::ConfigMap(_) => {
                    format!("configmap references non-existent config key: {key}")
                }
                Name::Secret(_) => format!("references non-existent secret key: {key}"),
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::node::config::Contents;

    #[track_caller]
    fn check(volume: Value, expected: Option<&str>) {
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let contents = Contents {
            text: [("requests".to_owned(), "7".to_owned())].into(),
            binary: ["picture".to_owned()].into(),
        };
        let found = Found::from([(Name::ConfigMap("limits".to_owned()), contents)]);
        assert_eq!(obstacle(&volume, &found).as_deref(), expected);
    }

    fn items(keys: &[&str]) -> Value {
        keys.iter()
            .map(|key| json!({"key": key, "path": key}))
            .collect()
    }

    #[test]
    fn a_volume_whose_config_is_there_is_mounted() {
        check(json!({"configMap": {"name": "limits"}}), None);
        let keys = items(&["requests", "picture"]);
        check(
            json!({"configMap": {"name": "limits", "items": keys}}),
            None,
        );
    }

    #[test]
    fn a_missing_object_or_key_keeps_a_volume_from_being_mounted() {
        let absent = json!({"name": "absent"});
        check(
            json!({"configMap": absent}),
            Some("configmap \"absent\" not found"),
        );
        check(
            json!({"secret": {"secretName": "absent"}}),
            Some("secret \"absent\" not found"),
        );
        let both = [
            json!({"configMap": {"name": "limits"}}),
            json!({"secret": absent}),
        ];
        check(
            json!({"projected": {"sources": both}}),
            Some("secret \"absent\" not found"),
        );
        check(
            json!({"configMap": {"name": "limits", "items": items(&["requests", "burst"])}}),
            Some("configmap references non-existent config key: burst"),
        );
    }

    #[test]
    fn what_is_optional_may_be_missing() {
        check(
            json!({"configMap": {"name": "absent", "optional": true}}),
            None,
        );
        let keys = items(&["burst"]);
        check(
            json!({"configMap": {"name": "limits", "optional": true, "items": keys}}),
            None,
        );
    }
}
