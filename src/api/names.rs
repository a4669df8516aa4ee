//! Every name that Astern puts on objects or reads from them, spelled once.

/// The API group.
pub const GROUP: &str = "astern.dev";
/// The one version so far.
pub const VERSION: &str = "v1alpha1";
/// Field manager of every write.
pub const FIELD_MANAGER: &str = "astern";

/// On a Deployment: the policy that holds for it.
pub const POLICY: &str = "astern.dev/policy";
/// On a Deployment: `"false"` opts out.
pub const ENABLED: &str = "astern.dev/enabled";
/// On a Rollback or Deployment: a person's consent, `<rollback>/<code>:<username>`.
pub const APPROVE: &str = "astern.dev/approve";
/// On a Rollback or Deployment: a person's refusal, `<rollback>/<code>:<username>`.
pub const REJECT: &str = "astern.dev/reject";
/// On a Deployment, by Astern: the Rollback that restored the template.
pub const ROLLED_BACK_BY: &str = "astern.dev/rolled-back-by";
/// On a Deployment, by Astern: the Rollback that paused the rollout.
pub const PAUSED_BY: &str = "astern.dev/paused-by";

/// On a Rollback: the admission policy for approvals selects by it.
pub const AWAITING_APPROVAL: &str = "astern.dev/awaiting-approval";
/// On a Rollback and a `ControllerRevision`: the Deployment's name, if it fits into a label.
pub const DEPLOYMENT: &str = "astern.dev/deployment";
/// On a Rollback and a `ControllerRevision`: the Deployment's UID.
pub const DEPLOYMENT_UID: &str = "astern.dev/deployment-uid";
/// On a `ControllerRevision`: what is known about the revision.
pub const VERDICT: &str = "astern.dev/verdict";
/// On a `ControllerRevision`: what a good verdict rests on.
pub const PROOF: &str = "astern.dev/proof";
/// On a `ControllerRevision`: the digest that names the revision.
pub const DIGEST: &str = "astern.dev/digest";
/// On a `ControllerRevision`: the Deployment's revision number when it last became current.
pub const NUMBER: &str = "astern.dev/revision";
/// On a `ControllerRevision`: when it last became current.
pub const SINCE: &str = "astern.dev/current-since";
/// On a `ControllerRevision`: when its rollout was complete.
pub const ROLLED_OUT: &str = "astern.dev/rolled-out";
/// On a `ControllerRevision`: the triggers that have passed, separated by commas.
pub const PASSED: &str = "astern.dev/passed";
/// On a `ControllerRevision`: the replicas when it became current.
pub const REPLICAS: &str = "astern.dev/replicas";
/// On a `ControllerRevision`: what the revision before had counted, `<trigger>=<failed>/<total>`,
/// separated by commas.
pub const BASELINE: &str = "astern.dev/baseline";

/// On a ConfigMap, by Astern: the name of the ConfigMap that this is an immutable copy of. As a label
/// where it fits, to select by; as an annotation always.
pub const CONFIG_COPY_OF: &str = "astern.dev/config-copy-of";

/// The binding of the admission policy that checks who writes an approval.
pub const APPROVALS_BINDING: &str = "astern-approvals";

/// What kubectl apply keeps on objects that it applied from the client.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What the Deployment controller writes on Deployments and ReplicaSets.
pub const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";
/// What it writes on ReplicaSets that became current more than once: the numbers before.
pub const DEPLOYMENT_REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The label that the Deployment controller adds to a ReplicaSet's template.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// The stamp of `kubectl rollout restart`.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
