//! Config that a pod asks for and that is not there, by the kubelet's words.
//!
//! Names of objects and keys alone: what they would hold is never looked at.

use super::{Seen, finding};
use crate::decide::diagnosis::Weight;

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    kind: &'static str,
    /// `None` where the kubelet names only the key.
    name: Option<String>,
    /// `None` where the whole object is missing.
    key: Option<String>,
}

/// The kinds as the kubelet's messages spell them (`kubelet_pods.go`, `pkg/volume`): in an environment,
/// as objects, and in a volume.
const SPELLED: [(&str, &str, &str, &str); 2] = [
    (
        "ConfigMap",
        " in ConfigMap ",
        "configmap \"",
        "references non-existent config key: ",
    ),
    (
        "Secret",
        " in Secret ",
        "secret \"",
        "references non-existent secret key: ",
    ),
];

/// Returns what `message` says is missing.
pub(super) fn missing(message: &str) -> Option<Missing> {
    SPELLED.iter().find_map(|(kind, in_kind, object, key)| {
        let missing = |name: Option<&str>, key: Option<&str>| Missing {
            kind,
            name: name.map(str::to_owned),
            key: key.map(str::to_owned),
        };
        if let Some((_, rest)) = message.split_once("couldn't find key ")
            && let Some((key, object)) = rest.split_once(in_kind)
        {
            let object = word(object);
            let name = object.split_once('/').map_or(object, |(_, name)| name);
            return Some(missing(Some(name), Some(key)));
        }
        if let Some((_, key)) = message.split_once(key) {
            return Some(missing(None, Some(word(key))));
        }
        let (_, rest) = message.split_once(object)?;
        let (name, rest) = rest.split_once('"')?;
        rest.starts_with(" not found")
            .then(|| missing(Some(name), None))
    })
}

fn word(text: &str) -> &str {
    let end = text.find(|character: char| character.is_whitespace() || character == ',');
    &text[..end.unwrap_or(text.len())]
}

impl Missing {
    /// Returns it as a finding about `about`.
    pub(super) fn finding(&self, about: &str) -> Seen {
        let kind = self.kind;
        let name = self.name.as_deref().map(|name| format!(" {name:?}"));
        let name = name.unwrap_or_default();
        let (saw, attempt) = match &self.key {
            None => (
                format!("{kind}{name} does not exist"),
                format!(
                    "create the {kind} in the pod's namespace, or deploy it before the revision"
                ),
            ),
            Some(key) => (
                format!("{kind}{name} has no key {key:?}"),
                format!(
                    "add the key to the {kind}, correct its name in the template, or mark it optional"
                ),
            ),
        };
        let key = format!("missing/{kind}{name}/{:?}", self.key);
        finding(Weight::Blocks, &key, about, (saw, attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<(&str, Option<&str>, Option<&str>)>) {
        let found = missing(message);
        let found = found
            .as_ref()
            .map(|found| (found.kind, found.name.as_deref(), found.key.as_deref()));
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn what_is_missing_is_read_from_the_kubelets_words() {
        check(
            "configmap \"shop-config\" not found",
            Some(("ConfigMap", Some("shop-config"), None)),
        );
        check(
            "Error: secret \"shop-keys\" not found",
            Some(("Secret", Some("shop-keys"), None)),
        );
        check(
            "couldn't find key LOG_LEVEL in ConfigMap shop/shop-config",
            Some(("ConfigMap", Some("shop-config"), Some("LOG_LEVEL"))),
        );
        check(
            "Error: couldn't find key password in Secret shop/shop-keys",
            Some(("Secret", Some("shop-keys"), Some("password"))),
        );
        check(
            "MountVolume.SetUp failed for volume \"config\" : configmap references non-existent config \
             key: app.yaml",
            Some(("ConfigMap", None, Some("app.yaml"))),
        );
        check(
            "MountVolume.SetUp failed for volume \"keys\" : references non-existent secret key: tls.crt",
            Some(("Secret", None, Some("tls.crt"))),
        );
        check(
            "MountVolume.SetUp failed for volume \"config\" : configmap \"shop-config\" not found",
            Some(("ConfigMap", Some("shop-config"), None)),
        );
        check("container has runAsNonRoot", None);
        check("configmap \"shop-config\" is forbidden", None);
        check("secret \"unterminated", None);
    }

    #[test]
    fn a_missing_key_and_a_missing_object_ask_for_different_things() {
        let found = missing("configmap \"a\" not found").map(|one| one.finding("pod/x").finding);
        let found = found.expect("missing");
        assert_eq!(found.saw, "ConfigMap \"a\" does not exist");
        let found = missing("couldn't find key K in ConfigMap shop/a").expect("missing");
        let found = found.finding("pod/x").finding;
        assert_eq!(found.saw, "ConfigMap \"a\" has no key \"K\"");
    }
}
