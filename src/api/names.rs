//! Every name that Astern puts on objects or reads from them, spelled once.

/// The API group.
pub const GROUP: &str = "astern.dev";
/// The one version so far.
pub const VERSION: &str = "v1alpha1";
/// Who reports the Events.
pub const REPORTER: &str = "astern.dev/operator";
/// Field manager of every write.
pub const FIELD_MANAGER: &str = "astern";

/// On a Deployment: the policy that holds for it.
pub const POLICY: &str = "astern.dev/policy";
/// On a Deployment: `"false"` opts out.
pub const ENABLED: &str = "astern.dev/enabled";
/// On a Rollback or Deployment: a person's consent, `<rollback>/<code>:<username>`.
pub const APPROVE: &str = "astern.dev/approve";
/// On a Rollback or Deployment: a person's refusal, `<rollback>/<code>:<username>`.
/// One answer for all that are asked for, with a reason of its own annotation.
pub const BREAK_GLASS: &str = "astern.dev/break-glass";
pub const BREAK_GLASS_REASON: &str = "astern.dev/break-glass-reason";
pub const REJECT: &str = "astern.dev/reject";
/// On a Deployment: what a person says about a revision, `<digest>/<word>:<username>: <reason>`.
/// On a `ControllerRevision`, by Astern: the last such word about it.
pub const MARK: &str = "astern.dev/mark";
/// On a `ControllerRevision`, by Astern: what the reconciler had tried to deploy when it became current.
pub const GIT_REVISION: &str = "astern.dev/git-revision";
/// On a Deployment, a Namespace, Astern's own Namespace: the kill switch, `<until> <reason>`.
pub const SUSPEND: &str = "astern.dev/suspend";
/// On a pod template: the database schema that this version migrates to.
pub const SCHEMA: &str = "astern.dev/schema";
/// On a pod template: the database schemas that this version can run on.
pub const COMPATIBLE_SCHEMA: &str = "astern.dev/compatible-schema";
/// On a Deployment, by Astern: the Rollback that restored the template.
pub const ROLLED_BACK_BY: &str = "astern.dev/rolled-back-by";
/// On a Deployment, by Astern: the Rollback that paused the rollout.
pub const PAUSED_BY: &str = "astern.dev/paused-by";
/// On a Deployment, by Astern: who keeps a GitOps reconciler away from it, `<rollback>@<revision>`.
/// On an Argo CD Application: `<namespace>/<rollback>@<revision>`, several separated by spaces.
pub const GITOPS_PAUSED_BY: &str = "astern.dev/gitops-paused-by";
/// On an Argo CD Application, by Astern: what `spec.syncPolicy.automated.enabled` was before,
/// `true` or `absent`.
pub const GITOPS_ENABLED_BEFORE: &str = "astern.dev/gitops-enabled-before";

/// On a Rollback that a person or a pipeline created, once Astern has seen it.
pub const REQUESTED: &str = "astern.dev/requested";
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

/// On a `ControllerRevision`: when Astern or a person went back from it.
pub const CONVICTED: &str = "astern.dev/convicted-at";
/// On a `ControllerRevision`: it should not be deployed again for now. Admission selects by it.
pub const QUARANTINE: &str = "astern.dev/quarantine";
/// On a `ControllerRevision` in quarantine: what admission does about it.
pub const QUARANTINE_ENFORCEMENT: &str = "astern.dev/quarantine-enforcement";

/// On the Lease: the breaker is open, `<since> <why>`.
pub const BREAKER: &str = "astern.dev/breaker";
/// On the Lease, by a person: `<since>:<username>: <reason>` closes the breaker that opened then.
pub const BREAKER_RESET: &str = "astern.dev/breaker-reset";
/// On the Lease: when the breaker was closed the last time.
pub const BREAKER_CLOSED: &str = "astern.dev/breaker-closed";
/// On a `ControllerRevision`: digests of the config that the revision ran with last.
pub const CONFIG: &str = "astern.dev/config";
/// On a `ControllerRevision`: the digest of the revision that this one is with copies of its config.
pub const RESTORED_FROM: &str = "astern.dev/restored-from";
/// On a Deployment, by Astern: the ConfigMaps that its pods read as copies, `<name>=<copy>`, separated
/// by commas.
pub const CONFIG_PINNED: &str = "astern.dev/config-pinned";
/// On a ConfigMap, by Astern: the name of the ConfigMap that this is an immutable copy of. As a label
/// where it fits, to select by; as an annotation always.
pub const CONFIG_COPY_OF: &str = "astern.dev/config-copy-of";

/// On a `ControllerRevision`: the last drill while it was current, `<time> <outcome> <detail>`.
pub const DRILLED: &str = "astern.dev/drilled";

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

/// What Flux writes on the objects of a Kustomization.
pub const FLUX_KUSTOMIZATION_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
pub const FLUX_KUSTOMIZATION_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// How Flux applies an object of a Kustomization: `IfNotPresent` and `Ignore` leave it as it is.
pub const FLUX_APPLY: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// What Flux writes on the objects of a `HelmRelease`.
pub const FLUX_HELM_RELEASE_NAME: &str = "helm.toolkit.fluxcd.io/name";
pub const FLUX_HELM_RELEASE_NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";
/// What Helm writes on the objects of a release.
pub const HELM_RELEASE_NAME: &str = "meta.helm.sh/release-name";
pub const HELM_RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
/// What Argo CD writes on the objects of an Application:
/// `<application>:<group>/<kind>:<namespace>/<name>`.
pub const ARGOCD_TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Which Argo CD it was, where there are several.
pub const ARGOCD_INSTALLATION_ID: &str = "argocd.argoproj.io/installation-id";
/// Where Argo CD tracks by label: its own label, and the one that others use too.
pub const ARGOCD_INSTANCE: &str = "argocd.argoproj.io/instance";
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// On an Application: `"true"` keeps Argo CD away from all of it.
pub const ARGOCD_SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";
/// What Kruise Rollouts writes on a Deployment while it rolls it out.
pub const KRUISE_IN_PROGRESSING: &str = "rollouts.kruise.io/in-progressing";
pub const KRUISE_CONTROL_INFO: &str = "batchrelease.rollouts.kruise.io/control-info";
pub const KRUISE_ADVANCED: &str = "rollouts.kruise.io/controlled-by-advanced-deployment-controller";
/// What it writes on the second Deployment that it makes for a canary.
pub const KRUISE_CANARY: &str = "rollouts.kruise.io/canary-deployment";
