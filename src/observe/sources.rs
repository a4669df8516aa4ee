//! From a `MetricSource` to what a query to it needs: address, credentials, tenant, limits.
//!
//! Secrets and the labels of namespaces are read from the API server and kept for a minute. Sends no
//! query of its own choice: `prometheus` says what to ask, and when.

mod cache;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::ByteString;
use serde_json::Value;

use self::cache::Cache;
use crate::api::parse::{
    AnswerLimits, ClientCredentials, HeaderText, Material, MetricSource, PartialAnswers,
    QueryMethod, SecretKey, SourceAuth, SourceTls, TenantValue,
};
use crate::port::{
    Access, Auth, Cluster, Credential, Identity, Method, OAuth2, ObjectRef, Outside, Query,
    QueryError, Secret, Tls, kinds,
};

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

/// What a Secret holds, by key.
type Entries = BTreeMap<String, Vec<u8>>;

/// All metric sources, with what they need from the API server.
pub struct Sources {
    cluster: Arc<dyn Cluster>,
    find: FindSource,
    /// Astern's own: the only one whose Secrets it may read.
    namespace: String,
    secrets: Cache<Entries>,
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
        for name in secrets_of(&source) {
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

    async fn access(&self, source: &MetricSource, tenant: Option<&str>) -> Result<Access, String> {
        let mut headers = Vec::new();
        for header in &source.headers {
            let value = match &header.value {
                HeaderText::Plain(text) => Secret::new(text.as_str()),
                HeaderText::Secret(key) => self.secret(key).await?,
            };
            headers.push((header.name.clone(), value));
        }
        if let Some(place) = &source.tenant {
            let tenant = tenant.ok_or("the tenant is not known")?;
            headers.push((place.header.clone(), Secret::new(tenant)));
        }
        Ok(Access {
            method: match source.method {
                QueryMethod::Post => Method::Post,
                QueryMethod::Get => Method::Get,
            },
            auth: self.auth(&source.auth).await?,
            tls: self.tls(&source.tls).await?,
            headers,
            parameters: source.parameters.clone().into_iter().collect(),
        })
    }

    async fn auth(&self, auth: &SourceAuth) -> Result<Auth, String> {
        Ok(match auth {
            SourceAuth::None => Auth::None,
            SourceAuth::Bearer(token) => Auth::Bearer(self.material(token).await?),
            SourceAuth::Basic {
                secret,
                username,
                password,
            } => {
                let key = |key: &str| SecretKey {
                    name: secret.clone(),
                    key: key.to_owned(),
                };
                Auth::Basic {
                    username: self.secret(&key(username)).await?,
                    password: Credential::Value(self.secret(&key(password)).await?),
                }
            }
            SourceAuth::OAuth2(grant) => Auth::OAuth2(Box::new(self.oauth2(grant).await?)),
        })
    }

    async fn oauth2(&self, grant: &ClientCredentials) -> Result<OAuth2, String> {
        Ok(OAuth2 {
            token_url: grant.token_url.clone(),
            client_id: grant.client_id.clone(),
            client_secret: Credential::Value(self.secret(&grant.secret).await?),
            scopes: grant.scopes.clone(),
            audience: grant.audience.clone(),
            tls: self.tls(&grant.tls).await?,
        })
    }

    async fn tls(&self, tls: &SourceTls) -> Result<Tls, String> {
        let authorities = match &tls.authorities {
            Some(material) => Some(self.material(material).await?),
            None => None,
        };
        let identity = match &tls.identity {
            Some((certificate, key)) => Some(Identity {
                certificate: self.material(certificate).await?,
                key: self.material(key).await?,
            }),
            None => None,
        };
        Ok(Tls {
            authorities,
            identity,
            server_name: tls.server_name.clone(),
            trust_anyone: tls.trust_anyone,
        })
    }

    async fn material(&self, material: &Material) -> Result<Credential, String> {
        match material {
            Material::Secret(key) => self.secret(key).await.map(Credential::Value),
            Material::File(path) => Ok(Credential::File(path.clone())),
        }
    }

    /// The line break that editors and `base64` leave at the end is no part of a credential.
    async fn secret(&self, wanted: &SecretKey) -> Result<Secret, String> {
        let SecretKey { name, key } = wanted;
        let place = &self.namespace;
        let object = ObjectRef::new(kinds::SECRETS, place, name);
        let found = self
            .secrets
            .get(self.cluster.as_ref(), &object, entries_in)
            .await;
        let entries = found
            .map_err(|error| format!("Secret {name:?} in {place:?} cannot be read: {error}"))?
            .ok_or_else(|| format!("there is no Secret {name:?} in namespace {place:?}"))?;
        let bytes = entries
            .get(key)
            .ok_or_else(|| format!("Secret {name:?} in {place:?} has no key {key:?}"))?;
        match std::str::from_utf8(bytes).map(str::trim_end) {
            Ok("") => Err(format!("key {key:?} of Secret {name:?} is empty")),
            Ok(text) => Ok(Secret::new(text)),
            Err(_) => Err(format!("key {key:?} of Secret {name:?} is no text")),
        }
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
    let by_label = |allowed: &crate::api::parse::AllowedNamespaces| {
        allowed.selector.is_some() && !allowed.names.contains(namespace)
    };
    let tenant = source.tenant.as_ref().map(|tenant| &tenant.value);
    source.allowed_namespaces.as_ref().is_some_and(by_label)
        || matches!(tenant, Some(TenantValue::NamespaceLabel(_)))
}

/// Returns the names of all Secrets that `source` uses; a name may come twice.
fn secrets_of(source: &MetricSource) -> Vec<&str> {
    let mut names: Vec<&str> = secrets_of_tls(&source.tls).collect();
    match &source.auth {
        SourceAuth::None | SourceAuth::Bearer(Material::File(_)) => {}
        SourceAuth::Bearer(Material::Secret(key)) => names.push(&key.name),
        SourceAuth::Basic { secret, .. } => names.push(secret),
        SourceAuth::OAuth2(grant) => {
            names.push(&grant.secret.name);
            names.extend(secrets_of_tls(&grant.tls));
        }
    }
    names.extend(
        source
            .headers
            .iter()
            .filter_map(|header| match &header.value {
                HeaderText::Plain(_) => None,
                HeaderText::Secret(key) => Some(key.name.as_str()),
            }),
    );
    names
}

fn secrets_of_tls(tls: &SourceTls) -> impl Iterator<Item = &str> {
    let identity = tls
        .identity
        .iter()
        .flat_map(|(certificate, key)| [certificate, key]);
    let all = tls.authorities.iter().chain(identity);
    all.filter_map(|material| match material {
        Material::Secret(key) => Some(key.name.as_str()),
        Material::File(_) => None,
    })
}

fn labels_in(namespace: &Value) -> Labels {
    let labels = namespace.pointer("/metadata/labels");
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn entries_in(secret: &Value) -> Entries {
    let data = secret.get("data").and_then(Value::as_object);
    let decoded = data.into_iter().flatten().filter_map(|(key, value)| {
        let ByteString(bytes) = serde_json::from_value(value.clone()).ok()?;
        Some((key.clone(), bytes))
    });
    decoded.collect()
}

#[cfg(test)]
mod tests;
