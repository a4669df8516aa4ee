//! A GitOps reconciler, as far as one Deployment feels it: it applies what stands in Git whenever
//! the cluster has something else, as fast as the API server answers.
//!
//! There is no interval between two looks, which makes it the worst that an operator can meet.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What makes kustomize-controller leave an object of the cluster alone.
pub const KUSTOMIZE_PAUSE: (&str, &str) = ("kustomize.toolkit.fluxcd.io/reconcile", "disabled");

/// What makes helm-controller leave it alone between two upgrades.
pub const HELM_PAUSE: (&str, &str) = ("helm.toolkit.fluxcd.io/driftDetection", "disabled");

/// How soon a request that failed is sent again.
const RETRY: Duration = Duration::from_millis(100);

/// When the manifest is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// When a dry run says that it would change something.
    WhenItDiffers,
    /// Again and again.
    Always,
}

/// How a reconciler goes about it.
#[derive(Clone, Debug)]
pub struct ReconcilerOptions {
    /// The field manager. Conflicts are forced.
    pub manager: String,
    pub pace: Pace,
    /// An annotation and its value: nothing is written while the object in the cluster has it.
    pub pause: Option<(&'static str, &'static str)>,
    /// Ends after so many writes that the API server took.
    pub most_writes: usize,
}

impl ReconcilerOptions {
    /// Behaves as kustomize-controller, which heeds its annotation.
    #[must_use]
    pub fn kustomize_controller(most_writes: usize) -> Self {
        Self {
            manager: "kustomize-controller".to_owned(),
            pace: Pace::WhenItDiffers,
            pause: Some(KUSTOMIZE_PAUSE),
            most_writes,
        }
    }

    /// Behaves as one that nothing in the cluster stops.
    #[must_use]
    pub fn relentless(most_writes: usize) -> Self {
        Self {
            pause: None,
            ..Self::kustomize_controller(most_writes)
        }
    }
}

/// What a reconciler has done up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Applied, and taken by the API server.
    pub writes: usize,
    /// Refused, or lost on the way.
    pub failures: usize,
    /// Looks at an object that was paused.
    pub held: usize,
}

/// A reconciler of one Deployment. Dropping it stops it.
#[derive(Debug)]
pub struct Reconciler {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    options: ReconcilerOptions,
    name: String,
    api: Api<DynamicObject>,
    manifest: Mutex<Value>,
    done: Mutex<Done>,
    /// Rings when the cluster or Git may have changed.
    changed: Notify,
}

impl Reconciler {
    /// Starts to apply `manifest`, a Deployment. One that does not exist is created.
    ///
    /// # Errors
    ///
    /// When the manifest has no name or no namespace; give it both.
    pub fn start(
        client: Client,
        manifest: Value,
        options: ReconcilerOptions,
    ) -> anyhow::Result<Self> {
        let metadata = |key: &str| {
            let text = manifest["metadata"][key].as_str().map(str::to_owned);
            text.with_context(|| format!("the manifest has no metadata.{key}"))
        };
        let (namespace, name) = (metadata("namespace")?, metadata("name")?);
        let kind = ApiResource::erase::<Deployment>(&());
        let shared = Arc::new(Shared {
            options,
            name,
            api: Api::namespaced_with(client, &namespace, &kind),
            manifest: Mutex::new(manifest),
            done: Mutex::default(),
            changed: Notify::new(),
        });
        let reconciler = Self {
            shared: Arc::clone(&shared),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let stop = reconciler.stop.clone();
        reconciler.tasks.spawn(async move {
            tokio::select! {
                () = follow(&shared) => {}
                () = reconcile(&shared, &stop) => {}
            }
        });
        Ok(reconciler)
    }

    /// Changes what stands in Git.
    pub fn commit(&self, manifest: Value) {
        let mut current = lock(&self.shared.manifest);
        *current = manifest;
        drop(current);
        self.shared.changed.notify_one();
    }

    /// Returns what has been done up to now.
    #[must_use]
    pub fn done(&self) -> Done {
        *lock(&self.shared.done)
    }

    /// Does nothing more, and waits for the request that is under way.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rings at every change of the object, for ever.
async fn follow(shared: &Shared) {
    let one = watcher::Config::default().fields(&format!("metadata.name={}", shared.name));
    let events = watcher(shared.api.clone(), one).default_backoff();
    let mut events = std::pin::pin!(events);
    loop {
        match events.try_next().await {
            Ok(Some(_)) => shared.changed.notify_one(),
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "the watch of a reconciler starts again"),
        }
    }
}

/// What came of one look.
enum Look {
    Wrote,
    AsInGit,
    Held,
    /// The object changed meanwhile.
    Overtaken,
}

/// Looks until there were enough writes. It is told to stop between two looks: a write whose answer
/// nobody reads would not be counted.
async fn reconcile(shared: &Shared, stop: &CancellationToken) {
    while !stop.is_cancelled() && lock(&shared.done).writes < shared.options.most_writes {
        let outcome = look(shared).await;
        {
            let mut done = lock(&shared.done);
            match &outcome {
                Ok(Look::Wrote) => done.writes += 1,
                Ok(Look::AsInGit | Look::Overtaken) => {}
                Ok(Look::Held) => done.held += 1,
                Err(_) => done.failures += 1,
            }
        }
        let again = match &outcome {
            Ok(Look::Wrote) => shared.options.pace == Pace::Always,
            Ok(Look::Overtaken) => true,
            Ok(Look::AsInGit | Look::Held) | Err(_) => false,
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "a reconciler could not do its work");
            tokio::time::sleep(RETRY).await;
        } else if !again {
            let change = shared.changed.notified();
            stop.run_until_cancelled(change).await;
        }
    }
}

async fn look(shared: &Shared) -> Result<Look, kube::Error> {
    let Shared { options, name, .. } = shared;
    let live = shared.api.get_opt(name).await?;
    if let (Some((key, value)), Some(live)) = (options.pause, &live) {
        let annotations = live.metadata.annotations.as_ref();
        if annotations
            .and_then(|all| all.get(key))
            .is_some_and(|found| found == value)
        {
            return Ok(Look::Held);
        }
    }
    let manifest = lock(&shared.manifest).clone();
    let patch = Patch::Apply(&manifest);
    let parameters = PatchParams::apply(&options.manager).force();
    if let (Pace::WhenItDiffers, Some(live)) = (options.pace, &live) {
        let dry_run = parameters.clone().dry_run();
        let applied = shared.api.patch(name, &dry_run, &patch).await?;
        // A dry run keeps the version of what it was applied to. If that is another one, somebody
        // else has made the difference.
        if applied.metadata.resource_version != live.metadata.resource_version {
            return Ok(Look::Overtaken);
        }
        if content(&applied) == content(live) {
            return Ok(Look::AsInGit);
        }
    }
    shared.api.patch(name, &parameters, &patch).await?;
    Ok(Look::Wrote)
}

/// Returns what counts as a difference: not the status, nor what the API server keeps books of.
fn content(object: &DynamicObject) -> impl PartialEq {
    let metadata = &object.metadata;
    (
        metadata.labels.clone(),
        metadata.annotations.clone(),
        object.data["spec"].clone(),
    )
}
