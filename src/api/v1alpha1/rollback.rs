//! `Rollback`: the record of one incident, and the way to ask for a rollback.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Condition, Duration, Mode, bounds};
use crate::api::v1alpha1::rollback_policy::OnTimeout;

/// The request. It cannot be changed: who approves must know what they approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "astern.dev",
    version = "v1alpha1",
    kind = "Rollback",
    plural = "rollbacks",
    shortname = "rbk",
    category = "astern",
    namespaced,
    status = "RollbackStatus",
    derive = "PartialEq",
    doc = "The record of one incident, from proposal to verified recovery.",
    printcolumn(
        name = "Deployment",
        type_ = "string",
        json_path = ".spec.deployment.name"
    ),
    printcolumn(name = "From", type_ = "string", json_path = ".status.from.short"),
    printcolumn(name = "To", type_ = "string", json_path = ".status.to.short"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Complete\")].reason"
    ),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = Rule::new("self == oldSelf")
        .message("spec cannot be changed; create another Rollback instead")
)]
pub struct RollbackSpec {
    /// The Deployment to roll back, in the same namespace.
    pub deployment: DeploymentReference,
    /// Why, for people.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// The revision to go back to, by digest or revision number. Without it: the newest one that is
    /// known to have worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub to: Option<String>,
    /// Who asks. Astern itself leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub requested_by: Option<String>,
    /// Find out what would be done, and do nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Nothing is wrong with the revision that runs: find out whether the way back works. It keeps its
    /// verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<bool>,
}

/// A Deployment in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DeploymentReference {
    /// Name of the Deployment.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    pub name: String,
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStatus {
    /// UID of the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub deployment_uid: Option<String>,
    /// A person or a pipeline asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<bool>,
    /// How many Rollbacks of the same revision there were, this one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub attempt: Option<i32>,
    /// The revision that is rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RecordedRevision>,
    /// The revision that is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<RecordedRevision>,
    /// The trigger that was breached. Absent where people asked for the rollback, or did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TRIGGER_NAME_LENGTH))]
    pub trigger: Option<String>,
    /// The restored revision reads copies of ConfigMaps as they were when it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RestoredConfig>,
    /// Who put the revision back, where it was not Astern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub restored_by: Option<String>,
    /// How far Astern may go in this incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Why the mode is lower than that of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub caps: Vec<String>,
    /// What was seen when the rollback was proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<RecordedEvidence>,
    /// What was seen to be wrong with the pods, the nearest to the cause first. Empty where nothing was
    /// seen: the fault is then in what the application does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::FINDINGS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub diagnosis: Vec<RecordedFinding>,
    /// What the bad revision cost, as far as requests were counted. Absent where no trigger counts
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<RecordedImpact>,
    /// What to know of the traffic: Services that lead elsewhere, names that clients remember, and what
    /// could not be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bounds::TRAFFIC_LINES), inner(length(max = bounds::TRAFFIC_LINE_LENGTH)))]
    pub traffic: Vec<String>,
    /// The terms of the policy when the rollback was proposed. Later edits of the policy do not
    /// change an incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<RecordedTerms>,
    /// What an approval must quote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub code: Option<String>,
    /// Who has approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["username".to_owned()]))]
    pub approvals: Vec<RecordedApproval>,
    /// Who has said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub rejected_by: Option<String>,
    /// Nobody answered in time, and people were told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated: Option<bool>,
    /// Astern has paused the rollout of the bad revision once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The GitOps tool that deploys the Deployment, and how it is kept from undoing the rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_ops: Option<RecordedGitOps>,
    /// The changes in Git from the revision that is restored to the one that is left: what to look
    /// into, and to revert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub git_range: Option<String>,
    /// What ended the incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub outcome: Option<String>,
    /// What happens next, or who has to do something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub next: Option<String>,
    /// When what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<RecordedTimings>,
    /// Complete: the incident is over. Its reason is the state of the incident, its message says
    /// what to do next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// A GitOps tool that deploys the Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedGitOps {
    /// Names the object of the tool: Flux Kustomization flux-system/apps.
    #[schemars(length(min = 1, max = 1024))]
    pub reconciler: String,
    /// What it had tried to deploy last. When it tries another, it is kept away no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub revision: Option<String>,
    /// The annotation on the Deployment that keeps it away; it is set with the rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub annotation: Option<String>,
    /// Namespace and name of the Application whose automated sync is switched off with the rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub application: Option<String>,
}

/// One revision of the Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRevision {
    /// Digest of the pod template: the identity of the revision.
    #[schemars(length(min = 1, max = 64))]
    pub digest: String,
    /// The first characters of the digest, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub short: Option<String>,
    /// The revision number that the Deployment had with it. It moves when the revision comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub revision: Option<i64>,
    /// Name of its ReplicaSet, which begins the names of its pods. Absent where it never had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::NAME_LENGTH))]
    pub replica_set: Option<String>,
    /// The pod-template-hash: the label that its pods carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LABEL_VALUE_LENGTH))]
    pub hash: Option<String>,
    /// The images of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub images: Vec<String>,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedEvidence {
    /// The measurement and its limit, for people.
    #[schemars(length(max = 1024))]
    pub summary: String,
}

/// Config that went back with the revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoredConfig {
    /// Digest of the revision that reads the copies: a revision of its own.
    #[schemars(length(min = 1, max = 64))]
    pub digest: String,
    /// The copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub copies: Vec<ConfigCopy>,
}

/// A ConfigMap that is read as a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigCopy {
    /// Name of the ConfigMap that the template refers to.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    pub name: String,
    /// Name of the copy. Nobody else writes it, and it cannot be changed.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    pub copy: String,
}

/// One thing that was seen, and what to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedFinding {
    /// The object it was seen on, such as `pod/checkout-7d9f-x2`, and how many more.
    #[schemars(length(max = bounds::FINDING_LENGTH))]
    pub about: String,
    /// What was seen.
    #[schemars(length(max = bounds::FINDING_LENGTH))]
    pub saw: String,
    /// What to try.
    #[schemars(length(max = bounds::FINDING_LENGTH))]
    pub attempt: String,
}

/// What a revision cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedImpact {
    /// Requests that failed, as the triggers on error rates count them.
    #[schemars(range(min = 0))]
    pub failed_requests: i64,
    /// All requests.
    #[schemars(range(min = 0))]
    pub total_requests: i64,
    /// The last scrape before the first failure: no failure that was counted is older.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub from: String,
    /// The scrape that counted the last failure.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub until: String,
    /// There may have been more: a pod counted after its last scrape, or before its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<bool>,
    /// The series do not tell revisions apart: requests to others are among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_revisions: Option<bool>,
}

/// The terms that decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedTerms {
    /// How many people must approve.
    #[schemars(range(min = 1))]
    pub approvals: i32,
    /// How long they have.
    pub approval_timeout: Duration,
    /// What silence means.
    pub on_timeout: OnTimeout,
    /// `ServiceAccounts` whose answers count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = bounds::SERVICE_ACCOUNTS),
        inner(length(max = bounds::SERVICE_ACCOUNT_LENGTH))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub service_accounts: Vec<String>,
    /// From the decision until recovery is verified.
    pub deadline: Duration,
    /// How long the triggers must pass again.
    pub recovery: Duration,
    /// Whether the rollout is paused while people decide.
    pub pause_rollout: bool,
}

/// One person's consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedApproval {
    /// Name of the user, as the API server has authenticated it.
    #[schemars(length(min = 1, max = 512))]
    pub username: String,
    /// When Astern saw it.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub time: String,
    /// Why this approval was enough by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub break_glass: Option<String>,
}

/// When what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RecordedTimings {
    /// When the rollback was proposed.
    #[serde(
        default,
        rename = "proposedTime",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub proposed: Option<String>,
    /// When it was decided: at once, or at the last approval.
    #[serde(
        default,
        rename = "decidedTime",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub decided: Option<String>,
    /// When the restored template was first seen in place.
    #[serde(
        default,
        rename = "patchedTime",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub patched: Option<String>,
    /// When the incident ended.
    #[serde(default, rename = "endedTime", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub ended: Option<String>,
}
