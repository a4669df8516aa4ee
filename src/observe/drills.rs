//! When drills are scheduled, and what only drills look at: the metric source, and who may approve.
//!
//! What may not be read is not known, and never counts against a workload.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::evidence::wanted::reads_metrics;
use super::{BINDING_IN_FORCE, Eyes};
use crate::api::names;
use crate::api::parse::ParsedPolicy;
use crate::api::record::{text, time};
use crate::api::schedule::Schedule;
use crate::decide::{DrillTerms, DrillTimes, Mode};
use crate::port::{self, Kind, ObjectRef, Outside, Selection, kinds};

/// Drills of one schedule are spread over this time, or those of a whole cluster would come at once, and
/// a rollback would wait behind them. No schedule comes round sooner, so none is left out.
const SPREAD_SECONDS: u32 = 60;

/// Returns when drills of the Deployment with this UID are scheduled, seen from `now`.
#[must_use]
pub fn times(terms: &DrillTerms, uid: &str, now: Timestamp) -> DrillTimes {
    let offset = offset(uid);
    let now = now - offset;
    // Checked when the policy was read; a zone cannot go away meanwhile, since it is in the build.
    match Schedule::parse(&terms.schedule, &terms.time_zone) {
        Ok(schedule) => DrillTimes {
            latest: schedule.latest(now).map(|time| time + offset),
            next: schedule.next(now).map(|time| time + offset),
        },
        Err(_) => DrillTimes::default(),
    }
}

/// The same for one Deployment at every look: a hash of its UID (FNV-1a, 32 bits).
fn offset(uid: &str) -> SignedDuration {
    let hash = uid.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    SignedDuration::from_secs((hash % SPREAD_SECONDS).into())
}

/// Returns why the metric source says nothing to the policy, where it matters.
pub async fn source_problem(
    eyes: &Eyes,
    outside: &dyn Outside,
    policy: &ParsedPolicy,
    namespace: &str,
) -> Option<String> {
    if !policy.policy.triggers.iter().any(reads_metrics) {
        return None;
    }
    ask(eyes, outside, &policy.metric_source, namespace)
        .await
        .err()
}

/// A question about the one metric that every scrape makes: its answer is short, and proxies
/// that force labels onto queries understand it.
const QUESTION: &str = "group by (job) (up)";

async fn ask(
    eyes: &Eyes,
    outside: &dyn Outside,
    source: &str,
    namespace: &str,
) -> Result<(), String> {
    let tenant = eyes.sources.admit(source, namespace).await?;
    let endpoint = eyes.sources.resolve(source, tenant.as_deref()).await?;
    let form = vec![("query", QUESTION.to_owned())];
    let answer = eyes
        .sources
        .ask(outside, &endpoint, "api/v1/query", form)
        .await?;
    let answer: Option<Value> = serde_json::from_slice(&answer).ok();
    if answer.is_some_and(|answer| text(&answer, "/status") == Some("success")) {
        Ok(())
    } else {
        Err(format!(
            "MetricSource {source:?}: the answer is not Prometheus' own; check spec.url"
        ))
    }
}

/// More bindings than this are not read: on such clusters it is not known who may approve.
const BINDINGS_MAX: usize = 2_000;
/// Roles that are read before giving up; a person with the right is found long before.
const ROLES_MAX: usize = 100;

/// Returns why nobody could approve a rollback in `namespace`; `None` where somebody may, or where it is
/// not known, or where nobody is asked.
///
/// Users and members of groups are not known to the API server, so a group without members counts.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later; nothing was changed.
pub async fn no_approver(
    eyes: &Eyes,
    mode: Mode,
    namespace: &str,
) -> Result<Option<String>, port::Error> {
    if mode < Mode::RequireApproval {
        return Ok(None);
    }
    if let Some(cause) = unchecked(eyes).await? {
        return Ok(Some(cause));
    }
    let Some(roles) = bound_roles(eyes, namespace).await? else {
        return Ok(None);
    };
    if roles.len() > ROLES_MAX {
        return Ok(None);
    }
    for role in &roles {
        match eyes.cluster.get(role).await {
            Ok(Some(role)) if grants_approve(&role) => return Ok(None),
            Ok(_) => (),
            // What this one grants is not known.
            Err(port::Error::Forbidden { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(
        "no RoleBinding or ClusterRoleBinding gives a user or group the verb approve on rollbacks"
            .to_owned(),
    ))
}

/// Approvals count only where the API server checks who writes them.
async fn unchecked(eyes: &Eyes) -> Result<Option<String>, port::Error> {
    if eyes.accept_unverified_approvals {
        return Ok(None);
    }
    let name = names::APPROVALS_BINDING;
    let binding = ObjectRef::new(kinds::ADMISSION_POLICY_BINDINGS, "", name);
    let found = match eyes.cluster.get(&binding).await {
        Ok(found) => found,
        Err(port::Error::Forbidden { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let created = found.and_then(|binding| time(&binding, "/metadata/creationTimestamp"));
    let age = created.map_or(SignedDuration::ZERO, |created| {
        eyes.cluster.now().duration_since(created)
    });
    Ok((age < BINDING_IN_FORCE).then(|| {
        format!(
            "the ValidatingAdmissionPolicyBinding {name} is not in force, so no approval counts"
        )
    }))
}

/// Returns the roles that users or groups have in `namespace`, those made for it first; `None`: not known.
async fn bound_roles(eyes: &Eyes, namespace: &str) -> Result<Option<Vec<ObjectRef>>, port::Error> {
    let own = Selection {
        namespace: Some(namespace.to_owned()),
        ..Selection::default()
    };
    let everywhere = Selection::default();
    let mut bound = BTreeSet::new();
    for (kind, selection) in [
        (kinds::ROLE_BINDINGS, own),
        (kinds::CLUSTER_ROLE_BINDINGS, everywhere),
    ] {
        let bindings = match list(eyes, kind, &selection).await {
            Ok(bindings) => bindings,
            Err(port::Error::Forbidden { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if bindings.len() > BINDINGS_MAX {
            return Ok(None);
        }
        let people = bindings.iter().filter(|binding| binds_people(binding));
        bound.extend(people.filter_map(|binding| role_of(binding, namespace)));
    }
    let mut bound: Vec<ObjectRef> = bound.into_iter().collect();
    bound.sort_by_key(|role| !role.name.contains("astern"));
    Ok(Some(bound))
}

async fn list(eyes: &Eyes, kind: Kind, selection: &Selection) -> Result<Vec<Value>, port::Error> {
    let most = BINDINGS_MAX + 1;
    eyes.cluster.list_some(kind, selection, "", most).await
}

/// Names that begin so are the cluster's own components and its way in when all else fails; nobody
/// answers a proposal as one. What everybody has counts.
const COMPONENTS: &str = "system:";
const EVERYBODY: &str = "system:authenticated";

fn binds_people(binding: &Value) -> bool {
    let subjects = binding.pointer("/subjects").and_then(Value::as_array);
    subjects.into_iter().flatten().any(|subject| {
        let name = text(subject, "/name").unwrap_or_default();
        let person = matches!(text(subject, "/kind"), Some("User" | "Group"));
        person && (!name.starts_with(COMPONENTS) || name == EVERYBODY)
    })
}

fn role_of(binding: &Value, namespace: &str) -> Option<ObjectRef> {
    let name = text(binding, "/roleRef/name")?;
    match text(binding, "/roleRef/kind")? {
        "Role" => Some(ObjectRef::new(kinds::ROLES, namespace, name)),
        "ClusterRole" => Some(ObjectRef::new(kinds::CLUSTER_ROLES, "", name)),
        _ => None,
    }
}

fn grants_approve(role: &Value) -> bool {
    let rules = role.pointer("/rules").and_then(Value::as_array);
    rules.into_iter().flatten().any(|rule| {
        let has = |field: &str, wanted: &str| {
            let values = rule.get(field).and_then(Value::as_array);
            let mut values = values.into_iter().flatten().filter_map(Value::as_str);
            values.any(|value| value == "*" || value == wanted)
        };
        // A right to answer one Rollback by its name says nothing about the next one.
        let names = rule.get("resourceNames").and_then(Value::as_array);
        names.is_none_or(Vec::is_empty)
            && has("apiGroups", names::GROUP)
            && has("resources", kinds::ROLLBACKS.plural)
            && has("verbs", "approve")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_drills_of_many_deployments_are_spread_over_a_minute() {
        let terms = DrillTerms {
            schedule: "* * * * *".to_owned(),
            time_zone: "UTC".to_owned(),
        };
        let now: Timestamp = "2026-11-23T12:00:30Z".parse().expect("a time");
        let mut seconds = BTreeSet::new();
        for index in 0..1_000 {
            let times = times(&terms, &format!("5eed{index:04}-aaaa-bbbb"), now);
            let (latest, next) = (times.latest.expect("one"), times.next.expect("one"));
            assert!(latest <= now && now < next);
            assert_eq!(next.duration_since(latest), SignedDuration::from_mins(1));
            seconds.insert(latest.as_second() % 60);
        }
        assert!(seconds.len() > 50, "{seconds:?}");
    }

    #[test]
    fn only_people_count_as_approvers() {
        let binding = |kind: &str, name: &str| json!({"subjects": [{"kind": kind, "name": name}]});
        for (kind, name, person) in [
            ("User", "alice", true),
            ("Group", "on-call", true),
            ("Group", "system:authenticated", true),
            ("Group", "system:masters", false),
            ("User", "system:kube-controller-manager", false),
            ("ServiceAccount", "pipeline", false),
        ] {
            assert_eq!(binds_people(&binding(kind, name)), person, "{kind} {name}");
        }
        assert!(!binds_people(&json!({})));
    }

    #[test]
    fn a_role_grants_approval_with_group_resource_and_verb_together() {
        let rule = |group: &str, resource: &str, verb: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["get", verb]});
        let grants = |rule: Value| grants_approve(&json!({"rules": [{}, rule]}));
        assert!(grants(rule("astern.dev", "rollbacks", "approve")));
        assert!(grants(rule("*", "*", "*")));
        assert!(!grants(rule("astern.dev", "rollbacks", "patch")));
        assert!(!grants(rule("astern.dev", "rollbacks/status", "approve")));
        assert!(!grants(rule("apps", "rollbacks", "approve")));
        let mut one = rule("astern.dev", "rollbacks", "approve");
        one["resourceNames"] = json!(["checkout-1"]);
        assert!(!grants(one));
    }
}
