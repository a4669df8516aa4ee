//! Which policy holds for a Deployment.

use std::sync::Arc;

use super::cache::Key;
use super::store::PolicyObject;
use super::workload::Deployment;
use crate::api::parse::{ParsedPolicy, Targets};

/// What governs a Deployment.
#[derive(Clone, Debug)]
pub enum Attachment {
    /// No policy asks for it.
    Nothing,
    /// A policy would hold, had the Deployment not opted out.
    OptedOut,
    /// This policy holds.
    Policy(Key, Arc<ParsedPolicy>),
    /// The Deployment names a policy that does not exist or cannot be used.
    Missing(String),
}

/// Returns what governs `deployment`, among the policies of its namespace.
///
/// The policy that the Deployment names wins, then one that names the Deployment, then one that
/// selects it. Within a level the oldest wins, then the name.
#[must_use]
pub fn attachment(deployment: &Deployment, policies: &[(Key, Arc<PolicyObject>)]) -> Attachment {
    let attachment = asked_for(deployment, policies);
    let asked = !matches!(attachment, Attachment::Nothing);
    if deployment.opted_out && asked {
        return Attachment::OptedOut;
    }
    attachment
}

fn asked_for(deployment: &Deployment, policies: &[(Key, Arc<PolicyObject>)]) -> Attachment {
    let usable = || {
        policies
            .iter()
            .filter_map(|(key, object)| Some((key, object.parsed.as_ref().ok()?)))
    };
    if let Some(name) = &deployment.policy {
        return usable()
            .find(|(key, _)| key.name == *name)
            .map_or_else(|| Attachment::Missing(name.clone()), holds);
    }
    usable()
        .filter_map(|(key, policy)| Some((level(policy, deployment)?, key, policy)))
        .min_by_key(|(level, key, policy)| (*level, policy.created, key.name.clone()))
        .map_or(Attachment::Nothing, |(_, key, policy)| holds((key, policy)))
}

fn holds((key, policy): (&Key, &Arc<ParsedPolicy>)) -> Attachment {
    Attachment::Policy(key.clone(), Arc::clone(policy))
}

/// By name comes before by selector.
fn level(policy: &ParsedPolicy, deployment: &Deployment) -> Option<u8> {
    match &policy.targets {
        Targets::Names(names) => names.contains(&deployment.name).then_some(0),
        Targets::Selector(selector) => selector.matches(&deployment.labels).then_some(1),
        Targets::ByAnnotation => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(annotations: &serde_json::Value) -> Deployment {
        let object = json!({
            "metadata": {
                "namespace": "shop", "name": "checkout", "uid": "5eed0011", "resourceVersion": "1",
                "annotations": annotations,
            },
            "spec": {"selector": {"matchLabels": {"app": "checkout"}}, "template": {}},
        });
        Deployment::read(&object).expect("it makes sense")
    }

    #[test]
    fn opting_out_is_told_from_never_having_been_asked() {
        for (annotations, opted_out) in [
            (json!({"astern.dev/enabled": "false"}), false),
            (
                json!({"astern.dev/enabled": "false", "astern.dev/policy": "ask"}),
                true,
            ),
            (json!({"astern.dev/policy": "ask"}), false),
        ] {
            let attachment = attachment(&deployment(&annotations), &[]);
            assert_eq!(
                matches!(attachment, Attachment::OptedOut),
                opted_out,
                "{annotations}: {attachment:?}"
            );
        }
    }
}
