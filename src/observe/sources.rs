//! From a `MetricSource` to what a query to it needs: address, credentials, tenant, limits.
//!
//! Secrets and the labels of namespaces are read from the API server and kept for a minute. Sends no
//! query of its own choice: `prometheus` says what to ask, and when.

mod cache;
mod credentials;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;

use self::cache::Cache;
use crate::api::parse::{
    AllowedNamespaces, AnswerLimits, MetricSource, PartialAnswers, TenantValue,
};
use crate::port::{Access, Cluster, ObjectRef, Outside, Query, QueryError, kinds};

/// Labels of a Kubernetes object.
pub type Labels = BTreeMap<String, String>;

/// Finds a source by name; the error says why it cannot be used.
pub type FindSource = Arc<dyn Fn(&str) -> Result<Arc<MetricSource>, String> + Send + Sync>;

/// Where to ask for one tenant of one source, and what to make of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the `MetricSource`.
    pub source: String,
    /// Without `/api/v1/query`, and without a slash at the end.
    pub url: String,
    pub timeout: SignedDuration,
    /// Must be in every selector of every query.
    pub match_labels: BTreeMap<String, String>,
    /// The label by which PromQL that people wrote must be kept within the namespace of their
    /// policy; `None` where the admin lets it see everything.
    pub confine: Option<String>,
    pub partial_answers: PartialAnswers,
    pub limits: AnswerLimits,
    /// Credentials, TLS and headers, the tenant's among them.
    pub access: Arc<Access>,
}

impl Endpoint {
    /// Returns the query that posts `form` to `path`, such as `api/v1/query`.
    #[must_use]
    pub fn query(&self, path: &str, form: Vec<(&'static str, String)>) -> Query {
        Query {
            url: format!("{}/{path}", self.url),
            form,
            access: Arc::clone(&self.access),
            timeout: self.timeout,
            bytes_max: self.limits.bytes,
        }
    }
}

/// All metric sources, with what they need from the API server.
pub struct Sources {
    cluster: Arc<dyn Cluster>,
    find: FindSource,
    /// Astern's own: the only one whose Secrets it may read.
    namespace: String,
    secrets: Cache<credentials::Entries>,
    labels: Cache<Labels>,
}

/// More Secrets than any set of sources needs at once.
const SECRETS_MAX: usize = 256;
/// As many namespaces as a large cluster has; an entry is a few hundred bytes.
const NAMESPACES_MAX: usize = 16_384;

impl Sources {
    /// Returns the sources that `find` knows, with Secrets from `namespace`.
    #[must_use]
    pub fn new(cluster: Arc<dyn Cluster>, namespace: String, find: FindSource) -> Self {
        Self {
            cluster,
            find,
            namespace,
            secrets: Cache::new(SECRETS_MAX),
            labels: Cache::new(NAMESPACES_MAX),
        }
    }

    /// Says whether policies of `namespace` may ask `source`, and returns as which tenant: what
    /// [`Self::resolve`] wants to know. Reads the namespace only where the source depends on it.
    ///
    /// # Errors
    ///
    /// Why it may not, or why nobody can tell. The caller shows it to the owner of the policy and
    /// asks nothing.
    pub async fn admit(&self, source: &str, namespace: &str) -> Result<Option<String>, String> {
        let source = (self.find)(source)?;
        let labels = if needs_labels(&source, namespace) {
            self.labels_of(namespace).await?
        } else {
            Arc::default()
        };
        allowed(&source, namespace, &labels)?;
        tenant(&source, namespace, &labels)
    }

    /// Returns where to ask `source` for `tenant`, with credentials as they are now.
    ///
    /// # Errors
    ///
    /// Why the source cannot be used. The caller treats that as data, and tries again later.
    pub async fn resolve(&self, source: &str, tenant: Option<&str>) -> Result<Endpoint, String> {
        let source = (self.find)(source)?;
        let access = self.access(&source, tenant).await?;
        Ok(Endpoint {
            source: source.name.clone(),
            url: source.url.trim_end_matches('/').to_owned(),
            timeout: source.timeout,
            match_labels: source.match_labels.clone(),
            confine: source.confine.clone(),
            partial_answers: source.partial_answers,
            limits: source.limits,
            access: Arc::new(access),
        })
    }

    /// Posts `form` to `path` at `endpoint` and returns the body. When the source does not like the
    /// credentials, their Secrets are read anew for the next query.
    ///
    /// # Errors
    ///
    /// Why there is no answer, for people. The caller treats that as data, and tries again later.
    pub async fn ask(
        &self,
        outside: &dyn Outside,
        endpoint: &Endpoint,
        path: &str,
        form: Vec<(&'static str, String)>,
    ) -> Result<Vec<u8>, String> {
        let answer = outside.query(&endpoint.query(path, form)).await;
        answer.map_err(|error| {
            if error.doubts_credentials() {
                self.doubt(&endpoint.source);
            }
            explained(&endpoint.source, &error)
        })
    }

    fn doubt(&self, source: &str) {
        let Ok(source) = (self.find)(source) else {
            return;
        };
        for name in credentials::secrets_of(&source) {
            self.secrets.doubt(name);
        }
    }

    async fn labels_of(&self, namespace: &str) -> Result<Arc<Labels>, String> {
        let object = ObjectRef::new(kinds::NAMESPACES, "", namespace);
        let cluster = self.cluster.as_ref();
        let found = self.labels.get(cluster, &object, labels_in).await;
        found
            .map_err(|error| {
                format!("the labels of namespace {namespace:?} cannot be read: {error}")
            })?
            .ok_or_else(|| format!("there is no namespace {namespace:?}"))
    }
}

/// Says whether policies of `namespace`, which has `labels`, may ask `source`.
///
/// # Errors
///
/// That it may not, for the owner of the policy.
pub fn allowed(source: &MetricSource, namespace: &str, labels: &Labels) -> Result<(), String> {
    let Some(allowed) = &source.allowed_namespaces else {
        return Ok(());
    };
    let selected = allowed
        .selector
        .as_ref()
        .is_some_and(|selector| selector.matches(labels));
    if selected || allowed.names.contains(namespace) {
        return Ok(());
    }
    Err(format!(
        "namespace {namespace:?} may not ask MetricSource {:?}: its allowedNamespaces leave it out",
        source.name
    ))
}

/// Returns as which tenant policies of `namespace`, which has `labels`, ask `source`. `None` where
/// the source has no tenants.
///
/// # Errors
///
/// That the namespace lacks the label, for its admin.
pub fn tenant(
    source: &MetricSource,
    namespace: &str,
    labels: &Labels,
) -> Result<Option<String>, String> {
    let Some(tenant) = &source.tenant else {
        return Ok(None);
    };
    match &tenant.value {
        TenantValue::Fixed(value) => Ok(Some(value.clone())),
        TenantValue::NamespaceLabel(label) => labels
            .get(label)
            .filter(|value| !value.is_empty())
            .map(|value| Some(value.clone()))
            .ok_or_else(|| {
                format!(
                    "namespace {namespace:?} has no label {label:?}, which MetricSource {:?} takes the tenant from",
                    source.name
                )
            }),
    }
}

/// Returns what to tell people about a failed query to `source`.
#[must_use]
pub fn explained(source: &str, error: &QueryError) -> String {
    format!("MetricSource {source:?}: {error}")
}

fn needs_labels(source: &MetricSource, namespace: &str) -> bool {
    let by_label = |allowed: &AllowedNamespaces| {
        allowed.selector.is_some() && !allowed.names.contains(namespace)
    };
    let tenant = source.tenant.as_ref().map(|tenant| &tenant.value);
    source.allowed_namespaces.as_ref().is_some_and(by_label)
        || matches!(tenant, Some(TenantValue::NamespaceLabel(_)))
}

fn labels_in(namespace: &Value) -> Labels {
    let labels = namespace.pointer("/metadata/labels");
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests;
