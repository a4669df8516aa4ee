//! Why the API server takes no pod: quotas, limits, admission, missing accounts and rights.
//!
//! By the words of its answer, which the ReplicaSet controller passes on in a condition and in Events.

use super::words::said;
use super::{Seen, finding};
use crate::decide::diagnosis::Weight;

/// Characters of the API server's answer.
const SAID_MAX: usize = 220;

/// Who refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refuser {
    /// A `ResourceQuota` by its name.
    Quota(String),
    LimitRange,
    PodSecurity,
    ServiceAccount,
    Webhook,
    /// A webhook that gives no answer.
    WebhookDown,
    AdmissionPolicy,
    Rbac,
    PriorityClass,
    Invalid,
    Other,
}

impl Refuser {
    pub(super) fn of(message: &str) -> Self {
        let has = |words: &str| message.contains(words);
        for told in ["exceeded quota: ", "failed quota: "] {
            if let Some((_, rest)) = message.split_once(told) {
                let end = rest.find([',', ':']).unwrap_or(rest.len());
                return Self::Quota(rest[..end].to_owned());
            }
        }
        if has("insufficient quota to match these scopes") {
            return Self::Quota(String::new());
        }
        if has("violates PodSecurity") {
            return Self::PodSecurity;
        }
        if has("error looking up service account") {
            return Self::ServiceAccount;
        }
        if has("failed calling webhook") {
            return Self::WebhookDown;
        }
        if has("admission webhook") {
            return Self::Webhook;
        }
        if has("ValidatingAdmissionPolicy") {
            return Self::AdmissionPolicy;
        }
        if has(" cannot ") && has("User \"") {
            return Self::Rbac;
        }
        if has("no PriorityClass with name") {
            return Self::PriorityClass;
        }
        if ["maximum ", "minimum "].iter().any(|limit| has(limit)) && has(" usage per ") {
            return Self::LimitRange;
        }
        if has("is invalid:") {
            return Self::Invalid;
        }
        Self::Other
    }

    const fn who(&self) -> &'static str {
        match self {
            Self::Quota(_) => "a ResourceQuota lets no pod be made",
            Self::LimitRange => "a LimitRange lets no pod be made",
            Self::PodSecurity => "the namespace's Pod Security level lets no pod be made",
            Self::ServiceAccount => "the pods' ServiceAccount is missing",
            Self::Webhook => "an admission webhook refuses the pods",
            Self::WebhookDown => "an admission webhook gives no answer",
            Self::AdmissionPolicy => "a ValidatingAdmissionPolicy refuses the pods",
            Self::Rbac => "a right is missing",
            Self::PriorityClass => "the pods' PriorityClass is missing",
            Self::Invalid => "the API server takes the pods for invalid",
            Self::Other => "the API server refuses the pods",
        }
    }

    const fn attempt(&self) -> &'static str {
        match self {
            Self::Quota(_) => {
                "raise the quota, free what it counts, or lower requests; with maxSurge: 0 a rollout \
                 needs no more than before"
            }
            Self::LimitRange => "set requests and limits of every container within the LimitRange",
            Self::PodSecurity => {
                "set what the message names in securityContext, or another level on the namespace"
            }
            Self::ServiceAccount => {
                "create the ServiceAccount, or correct serviceAccountName in the template"
            }
            Self::Webhook | Self::AdmissionPolicy => {
                "change the template as the message asks, or ask who owns the rule"
            }
            Self::WebhookDown => "bring the webhook back: no release can start pods meanwhile",
            Self::Rbac => "grant the right with a Role and a RoleBinding",
            Self::PriorityClass => {
                "create the PriorityClass, or correct priorityClassName in the template"
            }
            Self::Invalid => "correct the field that the message names in the template",
            Self::Other => "kubectl describe replicaset shows the whole message",
        }
    }
}

/// Returns what `message` says about a refusal; `names` are left out, and `more` is added.
pub(super) fn refusal(about: &str, message: &str, names: &[&str], more: &str) -> Seen {
    let refuser = Refuser::of(message);
    let said = said(message, names, SAID_MAX);
    let saw = if more.is_empty() {
        format!("{}: {said}", refuser.who())
    } else {
        format!("{} ({more}): {said}", refuser.who())
    };
    let key = format!("refused/{refuser:?}");
    finding(
        Weight::Blocks,
        &key,
        about,
        (saw, refuser.attempt().to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: &Refuser) {
        assert_eq!(Refuser::of(message), *expected, "{message}");
    }

    #[test]
    fn who_refused_is_told_by_the_words_of_the_api_server() {
        let forbidden = |rest: &str| format!("pods \"checkout-7d9f-x2\" is forbidden: {rest}");
        for (message, expected) in [
            (
                forbidden(
                    "exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10",
                ),
                Refuser::Quota("compute".to_owned()),
            ),
            (
                forbidden("failed quota: compute: must specify limits.cpu for: app"),
                Refuser::Quota("compute".to_owned()),
            ),
            (
                forbidden("insufficient quota to match these scopes: [{PriorityClass In [high]}]"),
                Refuser::Quota(String::new()),
            ),
            (
                forbidden("maximum cpu usage per Container is 1, but limit is 2"),
                Refuser::LimitRange,
            ),
            (
                forbidden("violates PodSecurity \"restricted:latest\": runAsNonRoot != true"),
                Refuser::PodSecurity,
            ),
            (
                forbidden(
                    "error looking up service account shop/checkout: serviceaccount not found",
                ),
                Refuser::ServiceAccount,
            ),
            (
                forbidden("no PriorityClass with name high was found"),
                Refuser::PriorityClass,
            ),
            (
                forbidden(
                    "ValidatingAdmissionPolicy 'images' with binding 'all' denied request: no",
                ),
                Refuser::AdmissionPolicy,
            ),
            (
                forbidden("User \"system:serviceaccount:shop:x\" cannot use podsecuritypolicies"),
                Refuser::Rbac,
            ),
            (forbidden("anything else"), Refuser::Other),
            (
                "admission webhook \"images.example\" denied the request: tag latest".to_owned(),
                Refuser::Webhook,
            ),
            (
                "Internal error occurred: failed calling webhook \"images.example\": refused"
                    .to_owned(),
                Refuser::WebhookDown,
            ),
            (
                "Pod \"checkout-7d9f-x2\" is invalid: spec.containers[0].name: Required".to_owned(),
                Refuser::Invalid,
            ),
        ] {
            check(&message, &expected);
        }
    }

    #[test]
    fn a_refusal_quotes_the_api_server_and_leaves_names_of_pods_out() {
        let message =
            "pods \"checkout-7d9f-x2\" is forbidden: exceeded quota: compute, requested: pods=1";
        let found = refusal(
            "replicaset/a",
            message,
            &["checkout-7d9f-x2"],
            "pods 10 of 10",
        );
        assert_eq!(
            found.finding.saw,
            "a ResourceQuota lets no pod be made (pods 10 of 10): pods \"…\" is forbidden: exceeded \
             quota: compute, requested: pods=1"
        );
    }
}
