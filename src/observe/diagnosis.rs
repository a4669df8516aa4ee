//! Looks for what keeps a revision's pods from working, and says what to try.
//!
//! Reads what the cluster already knows: the pods' states, Events, and what surrounds them. It opens no
//! log and no config, and changes nothing. Taken once per incident, since it costs several lists.

mod around;
mod containers;
mod endings;
mod events;
mod images;
mod missing;
mod refusals;
mod warnings;
mod words;

use std::collections::BTreeMap;

use serde_json::Value;

use self::around::{autoscalers, budgets, full_of, limit_ranges, network_policies, used_up};
use self::events::{Subjects, Warning, newest};
use self::refusals::{Refuser, refusal};
use super::looks::{Looks, each, strings};
use crate::api::record::text;
use crate::decide::diagnosis::{Finding, Weighed, Weight, worst_first};
use crate::decide::traffic::{Unseen, UnseenCause};
use crate::port::{Cluster, kinds};

/// A finding with what it is grouped by.
type Seen = Weighed;

/// Which revision to look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub namespace: &'a str,
    pub deployment: &'a str,
    /// Name of the ReplicaSet of the bad revision; `None` where there never was one.
    pub replica_set: Option<&'a str>,
}

/// Looks at a revision and what surrounds it, and returns what may be wrong, the worst first. Empty
/// where nothing is seen to be wrong: the fault is then in what the application does.
///
/// Costs one GET or two and at most seven lists, all in the workload's namespace. What Astern may not
/// look at is skipped, and the last findings say so.
pub async fn diagnose(cluster: &dyn Cluster, asked: &Asked<'_>) -> Vec<Finding> {
    let mut looks = Looks::new(cluster, asked.namespace);
    let objects = read(&mut looks, asked).await;
    let mut found = of(asked, &objects);
    found.extend(account(&mut looks, &objects).await);
    found.extend(not_looked_at(&looks.unseen()));
    worst_first(found)
}

/// What was read of one namespace.
#[derive(Debug, Default)]
struct Objects {
    /// The ReplicaSet of the revision, or the Deployment where it has none: both carry the template.
    carrier: Value,
    pods: Vec<Value>,
    events: Vec<Value>,
    quotas: Vec<Value>,
    limit_ranges: Vec<Value>,
    network_policies: Vec<Value>,
    autoscalers: Vec<Value>,
    budgets: Vec<Value>,
}

async fn read(looks: &mut Looks<'_>, asked: &Asked<'_>) -> Objects {
    let carrier = match asked.replica_set {
        Some(name) => looks.get(kinds::REPLICA_SETS, name).await,
        None => looks.get(kinds::DEPLOYMENTS, asked.deployment).await,
    };
    let carrier = carrier.ok().flatten().unwrap_or_default();
    // Of a ReplicaSet this selects its own pods alone: the hash is among them.
    let labels = strings(carrier.pointer("/spec/selector/matchLabels"));
    let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
    let selector = labels.collect::<Vec<_>>().join(",");
    let pods = if asked.replica_set.is_some() && !selector.is_empty() {
        looks.list(kinds::PODS, &selector).await
    } else {
        Vec::new()
    };
    let events = looks.list_where(kinds::EVENTS, "type=Warning").await;
    let by_limits = refused(&carrier).is_some_and(|(_, message)| {
        // Only a refusal by one makes them worth a look.
        Refuser::of(message) == Refuser::LimitRange
    });
    Objects {
        pods,
        events,
        quotas: looks.list(kinds::RESOURCE_QUOTAS, "").await,
        limit_ranges: if by_limits {
            looks.list(kinds::LIMIT_RANGES, "").await
        } else {
            Vec::new()
        },
        network_policies: looks.list(kinds::NETWORK_POLICIES, "").await,
        autoscalers: looks.list(kinds::HORIZONTAL_POD_AUTOSCALERS, "").await,
        budgets: looks.list(kinds::POD_DISRUPTION_BUDGETS, "").await,
        carrier,
    }
}

/// Returns what `objects` say, in no order.
fn of(asked: &Asked<'_>, objects: &Objects) -> Vec<Seen> {
    let subjects = Subjects {
        deployment: asked.deployment,
        replica_set: asked.replica_set,
    };
    let warnings = newest(&objects.events, subjects);
    let pull_of = |pod: &Value| -> Option<&str> {
        let name = text(pod, "/metadata/name")?;
        let mut warnings = warnings.iter().filter(|warning| warning.name == name);
        warnings.find_map(warnings::pull)
    };
    let labels = strings(objects.carrier.pointer("/spec/template/metadata/labels"));
    let mut found: Vec<Seen> = Vec::new();
    for pod in &objects.pods {
        found.extend(containers::of(pod, pull_of(pod)));
    }
    found.extend(refusal_of(objects));
    found.extend(warnings.iter().filter_map(warnings::of));
    found.extend(not_ready(&objects.pods, &warnings));
    found.extend(used_up(&objects.quotas));
    if !labels.is_empty() {
        found.extend(network_policies(&objects.network_policies, &labels));
        found.extend(budgets(&objects.budgets, &labels));
    }
    found.extend(autoscalers(&objects.autoscalers, asked.deployment));
    found
}

/// The refusal that the carrier's controller reports, with the name of who reports it.
fn refused(carrier: &Value) -> Option<(String, &str)> {
    let mut conditions = each(carrier, "/status/conditions");
    let failure = conditions.find(|condition| {
        text(condition, "/type") == Some("ReplicaFailure")
            && text(condition, "/status") == Some("True")
            && text(condition, "/reason") == Some("FailedCreate")
    })?;
    let kind = text(carrier, "/kind")
        .unwrap_or("ReplicaSet")
        .to_lowercase();
    let name = text(carrier, "/metadata/name")?;
    Some((
        format!("{kind}/{name}"),
        text(failure, "/message").unwrap_or_default(),
    ))
}

fn refusal_of(objects: &Objects) -> Option<Seen> {
    let (about, message) = refused(&objects.carrier)?;
    let more = match Refuser::of(message) {
        Refuser::Quota(name) => full_of(&objects.quotas, &name),
        Refuser::LimitRange => limit_ranges(&objects.limit_ranges),
        Refuser::PodSecurity
        | Refuser::ServiceAccount
        | Refuser::Webhook
        | Refuser::WebhookDown
        | Refuser::AdmissionPolicy
        | Refuser::Rbac
        | Refuser::PriorityClass
        | Refuser::Invalid
        | Refuser::Other => String::new(),
    };
    Some(refusal(&about, message, &[], &more))
}

/// Returns pods whose containers run and are not ready, of which no probe says why: a probe that only
/// has not answered yet is not warned of, nor a gate that no controller has set.
fn not_ready(pods: &[Value], warnings: &[Warning]) -> Vec<Seen> {
    let is_warned = |name: &str| {
        let mut probes = warnings.iter().filter(|one| one.reason == "Unhealthy");
        probes.any(|one| one.name == name)
    };
    pods.iter()
        .filter_map(|pod| {
            let name = text(pod, "/metadata/name").filter(|name| !is_warned(name))?;
            let mut conditions = each(pod, "/status/conditions");
            let ready = conditions.find(|condition| text(condition, "/type") == Some("Ready"))?;
            let waits = text(ready, "/status") == Some("False");
            let mut statuses = each(pod, "/status/containerStatuses").peekable();
            statuses.peek()?;
            let runs = statuses.all(|status| status.pointer("/state/running").is_some());
            let gates = text(ready, "/reason") == Some("ReadinessGatesNotReady");
            let (saw, attempt) = if gates {
                (
                    "its containers are ready, a readiness gate is not",
                    "ask the controller that sets the gate: a load balancer's or a mesh's, mostly",
                )
            } else {
                (
                    "its containers run and are not ready",
                    "kubectl logs tells what it waits for; the readiness probe has not passed yet",
                )
            };
            let key = format!("not ready/{gates}");
            let texts = (saw.to_owned(), attempt.to_owned());
            let seen = finding(Weight::Fails, &key, &format!("pod/{name}"), texts);
            (waits && runs).then_some(seen)
        })
        .collect()
}

/// Looks whether the pods' `ServiceAccount` exists. Without it no pod can be made.
async fn account(looks: &mut Looks<'_>, objects: &Objects) -> Option<Seen> {
    let spec = objects.carrier.pointer("/spec/template/spec")?;
    // Where none is named it is `default`, which a controller makes in every namespace, and makes again.
    let name = text(spec, "/serviceAccountName").filter(|name| *name != "default")?;
    let found = looks.get(kinds::SERVICE_ACCOUNTS, name).await;
    matches!(found, Ok(None)).then(|| {
        let saw = "the ServiceAccount of the pods does not exist".to_owned();
        let attempt = "create it, or correct serviceAccountName in the template".to_owned();
        let about = format!("serviceaccount/{name}");
        finding(Weight::Blocks, &about, &about, (saw, attempt))
    })
}

/// Says what could not be looked at, one finding per cause.
fn not_looked_at(unseen: &[Unseen]) -> Vec<Seen> {
    let mut by_cause: BTreeMap<UnseenCause, Vec<String>> = BTreeMap::new();
    for one in unseen {
        let what = format!("{} {}", one.verb, one.resource);
        by_cause.entry(one.cause).or_default().push(what);
    }
    by_cause
        .into_iter()
        .map(|(cause, rights)| {
            let rights = rights.join(", ");
            let (saw, attempt) = match cause {
                UnseenCause::Forbidden => (
                    format!("not looked at, for want of rights: {rights}"),
                    "grant Astern's ServiceAccount these rights in the workload's namespace",
                ),
                UnseenCause::NotServed => (
                    format!("not looked at, the cluster does not serve it: {rights}"),
                    "nothing, unless the cluster should serve it",
                ),
                UnseenCause::NoAnswer => (
                    format!("not looked at, the API server gave no answer: {rights}"),
                    "look at the API server, or by hand",
                ),
            };
            let texts = (saw, attempt.to_owned());
            finding(Weight::Unseen, &format!("{cause:?}"), "astern", texts)
        })
        .collect()
}

/// Returns a finding that is grouped with others by `weight` and `key`; `texts` are what was seen and
/// what to try.
fn finding(weight: Weight, key: &str, about: &str, texts: (String, String)) -> Seen {
    let (saw, attempt) = texts;
    Weighed {
        weight,
        key: key.to_owned(),
        finding: Finding {
            about: about.to_owned(),
            saw,
            attempt,
        },
    }
}

#[cfg(test)]
mod tests;
