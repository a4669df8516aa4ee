//! What is at work around a workload's pods: quotas, limits, network policies, autoscalers, disruption
//! budgets. None of it is wrong by itself.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Seen, finding};
use crate::api::record::text;
use crate::decide::diagnosis::Weight;
use crate::observe::looks::{each, is_selected_by_object};

/// Resources of one quota that are told of.
const RESOURCES_MAX: usize = 4;

/// Returns the network policies that select pods with `labels`.
pub(super) fn network_policies(policies: &[Value], labels: &BTreeMap<String, String>) -> Vec<Seen> {
    let selecting = policies.iter().filter(|policy| {
        let selector = policy.pointer("/spec/podSelector");
        selector.is_some_and(|selector| is_selected_by_object(selector, labels))
    });
    selecting
        .filter_map(|policy| {
            let name = text(policy, "/metadata/name")?;
            let restricts = restricts(policy);
            let saw = format!("the network policy selects the pods and {restricts}");
            let attempt =
                "if calls time out, check that it allows what this revision calls or is called \
                           by; the cluster's DNS too"
                    .to_owned();
            let about = format!("networkpolicy/{name}");
            Some(finding(Weight::Surrounds, &about, &about, (saw, attempt)))
        })
        .collect()
}

/// Without `policyTypes` a policy is about ingress, and about egress where it has rules for that.
fn restricts(policy: &Value) -> String {
    let types: Vec<&str> = each(policy, "/spec/policyTypes")
        .filter_map(Value::as_str)
        .collect();
    let is_about = |one: &str, by_default: bool| {
        if types.is_empty() {
            by_default
        } else {
            types.contains(&one)
        }
    };
    let rules = |path: &str| each(policy, path).count();
    let (ingress, egress) = (rules("/spec/ingress"), rules("/spec/egress"));
    let said = [
        (is_about("Ingress", true), "ingress", ingress),
        (is_about("Egress", egress > 0), "egress", egress),
    ];
    let said = said.iter().filter(|(is_about, ..)| *is_about);
    let said: Vec<String> = said
        .map(|(_, what, rules)| match rules {
            0 => format!("allows no {what}"),
            1 => format!("allows {what} by 1 rule"),
            more => format!("allows {what} by {more} rules"),
        })
        .collect();
    said.join(" and ")
}

/// Returns the autoscalers that scale `deployment`.
pub(super) fn autoscalers(autoscalers: &[Value], deployment: &str) -> Vec<Seen> {
    let scaling = autoscalers.iter().filter(|autoscaler| {
        text(autoscaler, "/spec/scaleTargetRef/kind") == Some("Deployment")
            && text(autoscaler, "/spec/scaleTargetRef/name") == Some(deployment)
    });
    scaling.filter_map(autoscaler).collect()
}

fn autoscaler(object: &Value) -> Option<Seen> {
    let name = text(object, "/metadata/name")?;
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
    // Kubernetes takes one where there is none.
    let least = number("/spec/minReplicas").unwrap_or(1);
    let most = number("/spec/maxReplicas").unwrap_or(least);
    let current = number("/status/currentReplicas").unwrap_or_default();
    let wanted = number("/status/desiredReplicas").unwrap_or(current);
    let mut conditions = each(object, "/status/conditions");
    let broken = conditions.find(|condition| {
        ["ScalingActive", "AbleToScale"].contains(&text(condition, "/type").unwrap_or_default())
            && text(condition, "/status") == Some("False")
    });
    let scales = broken.map_or_else(
        || "it scales".to_owned(),
        |condition| {
            let reason = text(condition, "/reason").unwrap_or("unknown");
            format!("it does not scale ({reason})")
        },
    );
    let attempt = if broken.is_some() {
        "kubectl describe hpa shows why it has no metrics; without them load is not followed"
    } else if wanted >= most {
        "it is at its maximum: raise maxReplicas if the load is real, or see why each pod does less"
    } else {
        "nothing: a rollback leaves the number of replicas to it"
    };
    let saw = format!("runs {current} replicas of {least} to {most} and wants {wanted}; {scales}");
    let about = format!("hpa/{name}");
    Some(finding(
        Weight::Surrounds,
        &about,
        &about,
        (saw, attempt.to_owned()),
    ))
}

/// Returns the disruption budgets that select pods with `labels` and allow no disruption.
pub(super) fn budgets(budgets: &[Value], labels: &BTreeMap<String, String>) -> Vec<Seen> {
    let selecting = budgets.iter().filter(|budget| {
        let selector = budget.pointer("/spec/selector");
        selector.is_some_and(|selector| is_selected_by_object(selector, labels))
    });
    selecting
        .filter_map(|budget| {
            let number = |path: &str| budget.pointer(path).and_then(Value::as_i64);
            let allowed = number("/status/disruptionsAllowed")?;
            let healthy = number("/status/currentHealthy").unwrap_or_default();
            let wanted = number("/status/desiredHealthy").unwrap_or_default();
            let name = text(budget, "/metadata/name").filter(|_| allowed == 0)?;
            let saw = format!("allows no eviction: {healthy} pods are healthy, it wants {wanted}");
            let attempt =
                "nodes cannot be drained meanwhile; a rollout or rollback is not kept by it"
                    .to_owned();
            let about = format!("poddisruptionbudget/{name}");
            Some(finding(Weight::Surrounds, &about, &about, (saw, attempt)))
        })
        .collect()
}

/// Returns the quotas of the namespace that have nothing left of something.
pub(super) fn used_up(quotas: &[Value]) -> Vec<Seen> {
    quotas
        .iter()
        .filter_map(|quota| {
            let name = text(quota, "/metadata/name")?;
            let full = full(quota);
            let saw = format!("nothing is left of {full}");
            let attempt =
                "a rollout with maxSurge needs room for more pods: raise the quota or free some"
                    .to_owned();
            let about = format!("resourcequota/{name}");
            let seen = finding(Weight::Surrounds, &about, &about, (saw, attempt));
            (!full.is_empty()).then_some(seen)
        })
        .collect()
}

/// Returns what nothing is left of in the quota `name`, for a refusal that names it.
pub(super) fn full_of(quotas: &[Value], name: &str) -> String {
    let mut quotas = quotas.iter();
    let named = quotas.find(|quota| text(quota, "/metadata/name") == Some(name));
    named.map(full).unwrap_or_default()
}

fn full(quota: &Value) -> String {
    let used = quota.pointer("/status/used");
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let full = hard.into_iter().flatten().filter_map(|(resource, hard)| {
        let hard = hard.as_str()?;
        let used = used?.get(resource)?.as_str()?;
        (quantity(used)? >= quantity(hard)?).then(|| format!("{resource} ({used} of {hard})"))
    });
    full.take(RESOURCES_MAX).collect::<Vec<_>>().join(", ")
}

/// Reads a quantity as the API server writes it: a number with a decimal or binary suffix, or none.
fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let suffixed = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, factor) = suffixed.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// Returns the names of the limit ranges, for a refusal that is by one and names none.
pub(super) fn limit_ranges(ranges: &[Value]) -> String {
    let names = ranges
        .iter()
        .filter_map(|range| text(range, "/metadata/name"));
    names.take(RESOURCES_MAX).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels() -> BTreeMap<String, String> {
        BTreeMap::from([("app".to_owned(), "checkout".to_owned())])
    }

    fn saw(found: &[Seen]) -> Vec<&str> {
        found.iter().map(|one| one.finding.saw.as_str()).collect()
    }

    #[track_caller]
    fn check_policy(spec: &Value, expected: &[&str]) {
        let policy = json!({"metadata": {"name": "deny"}, "spec": spec});
        assert_eq!(saw(&network_policies(&[policy], &labels())), expected);
    }

    #[test]
    fn network_policies_that_select_the_pods_say_what_they_restrict() {
        let ours = json!({"matchLabels": {"app": "checkout"}});
        check_policy(
            &json!({"podSelector": ours, "policyTypes": ["Ingress", "Egress"], "ingress": [{}, {}]}),
            &[
                "the network policy selects the pods and allows ingress by 2 rules and allows no egress",
            ],
        );
        check_policy(
            &json!({"podSelector": {}}),
            &["the network policy selects the pods and allows no ingress"],
        );
        check_policy(
            &json!({"podSelector": {}, "egress": [{}]}),
            &[
                "the network policy selects the pods and allows no ingress and allows egress by 1 rule",
            ],
        );
        check_policy(
            &json!({"podSelector": {"matchLabels": {"app": "cart"}}}),
            &[],
        );
        check_policy(&json!({}), &[]);
    }

    fn hpa(change: impl Fn(&mut Value)) -> Value {
        let mut object = json!({
            "metadata": {"name": "checkout"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "checkout"},
                "minReplicas": 2, "maxReplicas": 10},
            "status": {"currentReplicas": 4, "desiredReplicas": 6,
                "conditions": [{"type": "ScalingActive", "status": "True"}]},
        });
        change(&mut object);
        object
    }

    #[track_caller]
    fn check_hpa(change: impl Fn(&mut Value), expected: Option<(&str, &str)>) {
        let found = autoscalers(&[hpa(change)], "checkout");
        assert_eq!(found.len(), usize::from(expected.is_some()));
        if let Some((saw, attempt)) = expected {
            assert_eq!(found[0].finding.saw, saw);
            assert!(
                found[0].finding.attempt.contains(attempt),
                "{}",
                found[0].finding.attempt
            );
        }
    }

    #[test]
    fn an_autoscaler_says_how_it_stands() {
        check_hpa(
            |_| (),
            Some((
                "runs 4 replicas of 2 to 10 and wants 6; it scales",
                "nothing",
            )),
        );
        check_hpa(
            |object| object["status"]["desiredReplicas"] = json!(10),
            Some((
                "runs 4 replicas of 2 to 10 and wants 10; it scales",
                "at its maximum",
            )),
        );
        check_hpa(
            |object| {
                object["status"]["conditions"] = json!([{"type": "ScalingActive", "status": "False",
                    "reason": "FailedGetResourceMetric"}]);
            },
            Some((
                "runs 4 replicas of 2 to 10 and wants 6; it does not scale (FailedGetResourceMetric)",
                "no metrics",
            )),
        );
        check_hpa(
            |object| object["spec"]["scaleTargetRef"]["name"] = json!("cart"),
            None,
        );
        check_hpa(
            |object| object["spec"]["scaleTargetRef"]["kind"] = json!("StatefulSet"),
            None,
        );
    }

    #[test]
    fn a_budget_counts_where_it_allows_nothing() {
        let budget = |allowed: i64, app: &str| {
            json!({"metadata": {"name": "checkout"},
                "spec": {"selector": {"matchLabels": {"app": app}}},
                "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 2}})
        };
        let found = budgets(
            &[
                budget(0, "checkout"),
                budget(1, "checkout"),
                budget(0, "cart"),
            ],
            &labels(),
        );
        assert_eq!(
            saw(&found),
            ["allows no eviction: 1 pods are healthy, it wants 2"]
        );
    }

    #[test]
    fn a_quota_counts_where_nothing_is_left() {
        let quota = |used: &str, hard: &str| {
            json!({"metadata": {"name": "compute"},
                "status": {"used": {"pods": used}, "hard": {"pods": hard, "services": "5"}}})
        };
        assert_eq!(
            saw(&used_up(&[quota("10", "10")])),
            ["nothing is left of pods (10 of 10)"]
        );
        assert_eq!(used_up(&[quota("9", "10")]), []);
        assert_eq!(full_of(&[quota("10", "10")], "compute"), "pods (10 of 10)");
        assert_eq!(full_of(&[quota("10", "10")], "other"), "");
    }

    #[test]
    fn quantities_are_compared_by_what_they_amount_to() {
        for (text, expected) in [
            ("10", Some(10.0)),
            ("500m", Some(0.5)),
            ("1Ki", Some(1024.0)),
            ("2k", Some(2000.0)),
            ("1.5Gi", Some(1_610_612_736.0)),
            ("1e3", Some(1000.0)),
            ("much", None),
            ("", None),
        ] {
            assert_eq!(quantity(text), expected, "{text}");
        }
    }
}
