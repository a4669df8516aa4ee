//! The only way out of the process: the API server, Prometheus, and the clock.
//!
//! Everything is raw JSON and typed answers. No type of a client library appears in a signature, so
//! that the program runs unchanged on a real API server ([`kube`]) and on a simulated cluster with a
//! clock of its own ([`simulated`]). One set of contract tests holds both to the same behaviour.
//!
//! Nothing here decides or retries: a caller that gets an [`Error`] looks again and decides anew.

pub mod kube;
mod query;
pub mod simulated;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use query::{
    Access, Auth, Credential, CredentialProblem, Identity, Method, OAuth2, Query, QueryError,
    Secret, Tls, TlsProblem,
};

/// Where the objects of one kind live on the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

impl Kind {
    /// Returns the kind `kind` of `group` in `version`, which lives in namespaces.
    #[must_use]
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            namespaced: true,
        }
    }

    /// Returns the kind `kind` of `group` in `version`, which lives outside namespaces.
    #[must_use]
    pub const fn cluster_wide(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            namespaced: false,
        }
    }

    /// Returns the `apiVersion` that manifests carry.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// The kinds that Astern reads or writes. RBAC in the chart grants these and no others.
pub mod kinds {
    use super::Kind;

    const RBAC: &str = "rbac.authorization.k8s.io";

    pub const DEPLOYMENTS: Kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
    pub const REPLICA_SETS: Kind = Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets");
    pub const CONTROLLER_REVISIONS: Kind =
        Kind::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions");
    pub const PODS: Kind = Kind::namespaced("", "v1", "Pod", "pods");
    pub const CONFIG_MAPS: Kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
    pub const NODES: Kind = Kind::cluster_wide("", "v1", "Node", "nodes");
    pub const SERVICES: Kind = Kind::namespaced("", "v1", "Service", "services");
    pub const ENDPOINT_SLICES: Kind =
        Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
    pub const INGRESSES: Kind = Kind::namespaced("networking.k8s.io", "v1", "Ingress", "ingresses");
    pub const NETWORK_POLICIES: Kind = Kind::namespaced(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    );
    pub const HORIZONTAL_POD_AUTOSCALERS: Kind = Kind::namespaced(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    );
    pub const POD_DISRUPTION_BUDGETS: Kind = Kind::namespaced(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    );
    pub const RESOURCE_QUOTAS: Kind = Kind::namespaced("", "v1", "ResourceQuota", "resourcequotas");
    pub const LIMIT_RANGES: Kind = Kind::namespaced("", "v1", "LimitRange", "limitranges");
    pub const SERVICE_ACCOUNTS: Kind =
        Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    pub const HTTP_ROUTES: Kind =
        Kind::namespaced("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
    /// Traefik's own way to route, which its names of services are made of.
    pub const INGRESS_ROUTES: Kind =
        Kind::namespaced("traefik.io", "v1alpha1", "IngressRoute", "ingressroutes");
    pub const LEASES: Kind = Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
    pub const EVENTS: Kind = Kind::namespaced("events.k8s.io", "v1", "Event", "events");
    pub const ROLLBACK_POLICIES: Kind = Kind::namespaced(
        "astern.dev",
        "v1alpha1",
        "RollbackPolicy",
        "rollbackpolicies",
    );
    pub const ROLLBACKS: Kind = Kind::namespaced("astern.dev", "v1alpha1", "Rollback", "rollbacks");
    /// Read one at a time: credentials in Astern's own namespace, and where an administrator grants it
    /// what pod templates refer to, of which the content is dropped at once.
    pub const SECRETS: Kind = Kind::namespaced("", "v1", "Secret", "secrets");
    pub const NAMESPACES: Kind = Kind::cluster_wide("", "v1", "Namespace", "namespaces");
    /// A question that is asked by creating it: who am I. Nothing is stored.
    pub const SELF_SUBJECT_REVIEWS: Kind = Kind::cluster_wide(
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
    );
    pub const METRIC_SOURCES: Kind =
        Kind::cluster_wide("astern.dev", "v1alpha1", "MetricSource", "metricsources");
    pub const ADMISSION_POLICY_BINDINGS: Kind = Kind::cluster_wide(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    );
    /// Asks whether Astern itself may do something. Created, answered, and never stored.
    pub const ACCESS_REVIEWS: Kind = Kind::cluster_wide(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
    );
    /// Tell who may approve. Never written.
    pub const ROLE_BINDINGS: Kind = Kind::namespaced(RBAC, "v1", "RoleBinding", "rolebindings");
    pub const CLUSTER_ROLE_BINDINGS: Kind =
        Kind::cluster_wide(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings");
    pub const ROLES: Kind = Kind::namespaced(RBAC, "v1", "Role", "roles");
    pub const CLUSTER_ROLES: Kind = Kind::cluster_wide(RBAC, "v1", "ClusterRole", "clusterroles");
    /// Of Flux. Read one at a time.
    pub const KUSTOMIZATIONS: Kind = Kind::namespaced(
        "kustomize.toolkit.fluxcd.io",
        "v1",
        "Kustomization",
        "kustomizations",
    );
    /// Of Flux. Read one at a time.
    pub const HELM_RELEASES: Kind = Kind::namespaced(
        "helm.toolkit.fluxcd.io",
        "v2",
        "HelmRelease",
        "helmreleases",
    );
    /// What Flux before 2.3 serves.
    pub const HELM_RELEASES_BEFORE: Kind = Kind::namespaced(
        "helm.toolkit.fluxcd.io",
        "v2beta2",
        "HelmRelease",
        "helmreleases",
    );
    /// Of Argo CD. Read one at a time; written only with a Role of its own.
    pub const APPLICATIONS: Kind =
        Kind::namespaced("argoproj.io", "v1alpha1", "Application", "applications");
    /// Of Argo Rollouts.
    pub const ARGO_ROLLOUTS: Kind =
        Kind::namespaced("argoproj.io", "v1alpha1", "Rollout", "rollouts");
    /// Of Flagger.
    pub const CANARIES: Kind = Kind::namespaced("flagger.app", "v1beta1", "Canary", "canaries");
    /// Of Kruise Rollouts.
    pub const KRUISE_ROLLOUTS: Kind =
        Kind::namespaced("rollouts.kruise.io", "v1beta1", "Rollout", "rollouts");
    /// What Kruise Rollouts before 0.5 serves.
    pub const KRUISE_ROLLOUTS_BEFORE: Kind =
        Kind::namespaced("rollouts.kruise.io", "v1alpha1", "Rollout", "rollouts");
}

/// One object by kind, namespace and name. The namespace of a cluster-wide kind is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl ObjectRef {
    /// Returns the reference to `name` in `namespace`.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// Which objects of a kind to list or watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    /// A label selector in the API server's own syntax; empty selects everything.
    pub labels: String,
}

/// A change that a watch reports. After [`WatchEvent::Restarted`] every object that exists comes
/// again as [`WatchEvent::Applied`], then [`WatchEvent::Complete`]: what did not come is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    Restarted,
    Applied(Value),
    Complete,
    Deleted(Value),
}

/// Why the API server did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 404, also for a kind that is not served.
    #[error("not found")]
    NotFound,
    /// 409 on create.
    #[error("already exists")]
    AlreadyExists,
    /// 409 on a write: the stated `resourceVersion` is no longer the newest.
    #[error("conflict: {message}")]
    Conflict { message: String },
    /// 422: a rule of the schema, or a failed `test` of a JSON Patch. Read again to know which.
    #[error("refused as invalid: {message}")]
    Invalid { message: String },
    /// 403: RBAC or an admission policy. The message names it.
    #[error("forbidden: {message}")]
    Forbidden { message: String },
    /// 429, 5xx, connection lost, or no answer in time. Whether a write was carried out is unknown.
    #[error("the API server gave no answer: {message}")]
    Unavailable {
        message: String,
        retry_after: Option<SignedDuration>,
    },
    /// Any other answer.
    #[error("unexpected answer {status}: {message}")]
    Unexpected { status: u16, message: String },
}

/// The API server and the clock.
///
/// Every call ends within a time limit that the implementation states; none of them retries a write.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Reads one object as it is now, never from a cache. `Ok(None)` when there is none.
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error>;

    /// Reads all objects selected, page by page, as they are now.
    async fn list(&self, kind: Kind, selection: &Selection) -> Result<Vec<Value>, Error>;

    /// Reads as [`Cluster::list`], and no more than `most`: the first by name.
    ///
    /// `fields` is a field selector in the API server's own syntax, empty for none. It spares the
    /// reading of others; where it is not understood they come all the same, so the caller looks again.
    async fn list_some(
        &self,
        kind: Kind,
        selection: &Selection,
        fields: &str,
        most: usize,
    ) -> Result<Vec<Value>, Error> {
        let _ = fields;
        let mut objects = self.list(kind, selection).await?;
        objects.truncate(most);
        Ok(objects)
    }

    /// Follows the objects selected. The stream never ends and heals itself with back-off; it starts
    /// with [`WatchEvent::Restarted`].
    fn watch(&self, kind: Kind, selection: Selection) -> BoxStream<'static, WatchEvent>;

    /// Creates `body`, whose `apiVersion`, `kind` and `metadata` are complete; returns what was stored.
    async fn create(&self, kind: Kind, body: Value) -> Result<Value, Error>;

    /// Applies the JSON Patch `operations`; returns what was stored.
    async fn json_patch(&self, object: &ObjectRef, operations: Value) -> Result<Value, Error>;

    /// Asks whether the JSON Patch `operations` would be taken, admission included, and changes nothing.
    async fn dry_run(&self, object: &ObjectRef, operations: Value) -> Result<(), Error>;

    /// Replaces `/status`, provided that the object still has `resource_version`.
    async fn status(
        &self,
        object: &ObjectRef,
        resource_version: &str,
        status: Value,
    ) -> Result<Value, Error>;

    /// Replaces a whole object, provided that it still has the `resourceVersion` that `body` carries.
    async fn replace(&self, object: &ObjectRef, body: Value) -> Result<Value, Error>;

    /// Deletes one object if it still has `uid`. Not there any more is success.
    async fn delete(&self, object: &ObjectRef, uid: &str) -> Result<(), Error>;

    /// The time. Only differences and comparisons with the server's own stamps count.
    fn now(&self) -> Timestamp;

    /// Returns once `now` has reached `until`.
    async fn sleep_until(&self, until: Timestamp);
}

/// Everything outside the cluster that Astern asks.
#[async_trait]
pub trait Outside: Send + Sync + 'static {
    /// Sends `query` and returns the body of an answer with status 200. Follows no redirect.
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError>;
}
