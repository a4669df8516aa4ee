//! The port on a real cluster: kube for the API server, reqwest for metric sources.
//!
//! Objects travel as JSON from the answer to the caller and back. No typed struct is in between, so
//! that fields newer than this build survive. Nothing is retried here but watches.

mod answer;
mod metrics;
mod raw;
mod writing;

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, future};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, DeleteParams, GetParams, ListParams, Patch, PatchParams};
use kube::api::{Preconditions, PropagationPolicy};
use kube::core::Request;
use kube::core::request::Error as BuildError;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

use super::{Cluster, Error, Kind, ObjectRef, Outside, Query, QueryError, Selection, WatchEvent};
use raw::RawObject;
use writing::Writing;

pub use metrics::MetricsPort;

/// Under this name the API server records who owns which field. `act` looks for it there.
pub const FIELD_MANAGER: &str = "astern";

/// A healthy API server answers in milliseconds and gives up on its own store after some seconds.
/// Longer than this, and leadership (15 s) could be lost while a write is still on its way.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// The API server ends a watch after this time, and a watch that is silent for five seconds more
/// counts as dead. The default of 290 s would leave a silently dropped connection unseen for minutes.
const WATCH_LIMIT_SECONDS: u32 = 60;

/// Frees what waits on a connection that went silent where no other limit holds, such as the start
/// of a watch. More than [`WATCH_LIMIT_SECONDS`], so that an idle watch is not cut.
const SILENCE_LIMIT: Duration = Duration::from_secs(75);

/// Keeps one page of Deployments at about a megabyte, in the answer and while it is parsed.
const WATCH_PAGE: u32 = 100;
const LIST_PAGE: u32 = 250;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("found neither a usable kubeconfig nor the files of a pod")]
    InferConfig(#[source] Box<kube::config::InferConfigError>),
    #[error("failed to set up the client for the API server")]
    BuildClient(#[source] Box<kube::Error>),
    #[error("failed to set up the client for metric sources")]
    BuildMetricsClient(#[source] reqwest::Error),
}

/// The API server behind `client`, and every metric source that this process can reach.
#[derive(Clone)]
pub struct KubePort {
    client: Client,
    metrics: MetricsPort,
    writing: Writing,
    limit: Duration,
}

impl KubePort {
    /// Returns the port on `client`, which should not retry by itself: a repeated write would break
    /// the promise of [`Cluster`].
    ///
    /// # Errors
    ///
    /// When TLS for metric sources cannot be set up at all; trying again cannot help.
    pub fn new(client: Client) -> Result<Self, ConnectError> {
        let metrics = MetricsPort::new()?;
        let writing = Writing::of_the_operator(FIELD_MANAGER);
        Ok(Self {
            client,
            metrics,
            writing,
            limit: CALL_LIMIT,
        })
    }

    /// Returns the same port for a person at a command line; with `dry_run` the API server says what it
    /// would do with each write, admission included, and stores nothing. `limit` is for each request.
    #[must_use]
    pub fn for_a_person(&self, dry_run: bool, limit: Option<Duration>) -> Self {
        Self {
            limit: limit.unwrap_or(CALL_LIMIT),
            writing: Writing::of_a_person(dry_run),
            ..self.clone()
        }
    }

    /// Connects the way kubectl does: `KUBECONFIG` or `~/.kube/config`, else the files of the pod.
    ///
    /// # Errors
    ///
    /// When neither is there or usable; trying again cannot help before they change.
    pub async fn connect() -> Result<Self, ConnectError> {
        let config = kube::Config::infer()
            .await
            .map_err(|source| ConnectError::InferConfig(Box::new(source)))?;
        Self::with_config(config)
    }

    /// Connects to the API server that `config` names, with our own limits in it.
    ///
    /// # Errors
    ///
    /// When the certificates or the proxy in `config` cannot be used.
    pub fn with_config(mut config: kube::Config) -> Result<Self, ConnectError> {
        // Rustls panics without a provider. That another caller was first is just as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        config.default_retry = false;
        config.connect_timeout = Some(CALL_LIMIT);
        config.read_timeout = Some(SILENCE_LIMIT);
        config.reset_reader_on_write = true;
        let client = Client::try_from(config)
            .map_err(|source| ConnectError::BuildClient(Box::new(source)))?;
        Self::new(client)
    }

    /// Returns the client, for what the port does not cover.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends `request` and returns the answer, within the limit for each.
    async fn call(&self, request: Result<HttpRequest, BuildError>) -> Result<Value, Error> {
        let request = request.map_err(|error| Error::Invalid {
            message: error.to_string(),
        })?;
        match tokio::time::timeout(self.limit, answer::of(&self.client, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unavailable {
                message: format!("nothing within {:?}", self.limit),
                retry_after: None,
            }),
        }
    }
}

type HttpRequest = axum::http::Request<Vec<u8>>;

#[async_trait]
impl Cluster for KubePort {
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error> {
        let Ok(path) = path_of(object) else {
            return Ok(None);
        };
        let request = Request::new(path).get(&object.name, &GetParams::default());
        match self.call(request).await {
            Ok(value) => Ok(Some(value)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, kind: Kind, selection: &Selection) -> Result<Vec<Value>, Error> {
        self.list_some(kind, selection, "", usize::MAX).await
    }

    async fn list_some(
        &self,
        kind: Kind,
        selection: &Selection,
        fields: &str,
        most: usize,
    ) -> Result<Vec<Value>, Error> {
        let path = collection_path(kind, selection.namespace.as_deref())?;
        let mut objects = Vec::new();
        let mut page = ListParams::default()
            .labels(&selection.labels)
            .limit(LIST_PAGE);
        if !fields.is_empty() {
            page = page.fields(fields);
        }
        loop {
            let mut list = self.call(Request::new(path.clone()).list(&page)).await?;
            if let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) {
                objects.extend(items.into_iter().map(|item| raw::with_type(item, kind)));
            }
            match list.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() && objects.len() < most => {
                    page.continue_token = Some(token.to_owned());
                }
                _ => {
                    objects.truncate(most);
                    return Ok(objects);
                }
            }
        }
    }

    /// `metadata.managedFields` does not come with the events: it is a third of an object and only
    /// the live GET before a write needs it.
    fn watch(&self, kind: Kind, selection: Selection) -> BoxStream<'static, WatchEvent> {
        let api: Api<RawObject> = match &selection.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
            None => Api::all_with(self.client.clone(), &kind),
        };
        let config = watcher::Config::default()
            .labels(&selection.labels)
            .timeout(WATCH_LIMIT_SECONDS)
            .page_size(WATCH_PAGE);
        watcher(api, config)
            .default_backoff()
            .filter_map(move |event| future::ready(watch_event(kind, event)))
            .boxed()
    }

    async fn create(&self, kind: Kind, body: Value) -> Result<Value, Error> {
        let namespace = body.pointer("/metadata/namespace").and_then(Value::as_str);
        let path = collection_path(kind, namespace)?;
        let request =
            Request::new(path).create(&self.writing.creating(), body.to_string().into_bytes());
        self.call(request).await
    }

    async fn json_patch(&self, object: &ObjectRef, operations: Value) -> Result<Value, Error> {
        let path = path_of(object)?;
        let operations = parsed_patch(operations)?;
        let request = Request::new(path).patch(&object.name, &self.writing.patching(), &operations);
        self.call(request).await
    }

    async fn dry_run(&self, object: &ObjectRef, operations: Value) -> Result<(), Error> {
        let path = path_of(object)?;
        let operations = parsed_patch(operations)?;
        let parameters = PatchParams {
            dry_run: true,
            ..self.writing.patching()
        };
        let request = Request::new(path).patch(&object.name, &parameters, &operations);
        self.call(request).await.map(drop)
    }

    async fn status(
        &self,
        object: &ObjectRef,
        resource_version: &str,
        status: Value,
    ) -> Result<Value, Error> {
        let path = path_of(object)?;
        // A replace would need the whole object, and so a read. A patch that states a stale version
        // is refused with 409, like a replace.
        let operations = parsed_patch(json!([
            { "op": "replace", "path": "/metadata/resourceVersion", "value": resource_version },
            { "op": "add", "path": "/status", "value": status },
        ]))?;
        let request = Request::new(path).patch_subresource(
            "status",
            &object.name,
            &self.writing.patching(),
            &operations,
        );
        self.call(request).await
    }

    async fn replace(&self, object: &ObjectRef, body: Value) -> Result<Value, Error> {
        let path = path_of(object)?;
        require_resource_version(&body)?;
        let body = body.to_string().into_bytes();
        self.call(Request::new(path).replace(&object.name, &self.writing.creating(), body))
            .await
    }

    async fn delete(&self, object: &ObjectRef, uid: &str) -> Result<(), Error> {
        let Ok(path) = path_of(object) else {
            return Ok(());
        };
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: None,
                uid: Some(uid.to_owned()),
            }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let request = Request::new(path).delete(&object.name, &parameters);
        match self.call(request).await {
            // A conflict says that the name now belongs to another object: ours is gone.
            Ok(_) | Err(Error::NotFound | Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the port is where the time comes from"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, until: Timestamp) {
        loop {
            let left = until.duration_since(self.now());
            if left <= SignedDuration::ZERO {
                return;
            }
            // The wall clock may be set meanwhile, so no sleep is long.
            let nap = left.unsigned_abs().min(Duration::from_secs(60));
            tokio::time::sleep(nap).await;
        }
    }
}

#[async_trait]
impl Outside for KubePort {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        self.metrics.query(query).await
    }
}

fn parsed_patch(operations: Value) -> Result<Patch<()>, Error> {
    serde_json::from_value(operations)
        .map(Patch::Json)
        .map_err(|error| Error::Invalid {
            message: format!("not a JSON Patch: {error}"),
        })
}

/// Returns the path under which `object` lives, without its name.
fn path_of(object: &ObjectRef) -> Result<String, Error> {
    if is_path_segment(&object.name) {
        collection_path(object.kind, Some(&object.namespace))
    } else {
        Err(Error::NotFound)
    }
}

fn collection_path(kind: Kind, namespace: Option<&str>) -> Result<String, Error> {
    let root = if kind.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    let collection = format!("{root}/{}", kind.api_version());
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) if is_path_segment(namespace) => Ok(format!(
            "{collection}/namespaces/{namespace}/{}",
            kind.plural
        )),
        Some(_) => Err(Error::NotFound),
        None => Ok(format!("{collection}/{}", kind.plural)),
    }
}

/// Says whether `name` can be a name at all. Names come out of objects that tenants write, and one
/// with a slash or a question mark would be another request than the one that was meant.
fn is_path_segment(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed) && !name.starts_with('.')
}

/// Without it a replace of most built-in kinds would be unconditional.
fn require_resource_version(body: &Value) -> Result<(), Error> {
    let stated = body.pointer("/metadata/resourceVersion");
    if stated
        .and_then(Value::as_str)
        .is_some_and(|v| !v.is_empty())
    {
        return Ok(());
    }
    Err(Error::Invalid {
        message: "metadata.resourceVersion: must be specified for an update".to_owned(),
    })
}

fn watch_event(
    kind: Kind,
    event: watcher::Result<watcher::Event<RawObject>>,
) -> Option<WatchEvent> {
    match event {
        Ok(watcher::Event::Init) => Some(WatchEvent::Restarted),
        Ok(watcher::Event::InitDone) => Some(WatchEvent::Complete),
        Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
            Some(WatchEvent::Applied(raw::with_type(object.value, kind)))
        }
        Ok(watcher::Event::Delete(object)) => {
            Some(WatchEvent::Deleted(raw::with_type(object.value, kind)))
        }
        // The watcher heals itself after its back-off, and says so by a restart if it must.
        Err(error) => {
            tracing::warn!(kind = kind.kind, %error, "watch interrupted");
            None
        }
    }
}

#[cfg(test)]
mod tests;
