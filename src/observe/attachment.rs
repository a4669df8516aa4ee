//! Which policy holds for a Deployment.

use std::sync::Arc;

use super::cache::Key;
use super::store::PolicyObject;
use super::workload::Deployment;
use crate::api::parse::{ParsedPolicy, Targets};

/// What governs a Deployment.
#[derive(Clone, Debug)]
pub enum Attachment {
    /// No policy asks for it, or it opted out.
    Nothing,
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
    if deployment.opted_out {
        return Attachment::Nothing;
    }
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
