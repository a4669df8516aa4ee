//! The operator on a simulated cluster, and what a user of it does and sees.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use astern::act::Hands;
use astern::api::names;
use astern::api::record::revision::{self, RevisionRecord};
use astern::api::record::{self, annotation, text};
use astern::controller::{Controller, Meter};
use astern::decide::DrillTerms;
use astern::observe::Eyes;
use astern::observe::prometheus::feeds::Feeds;
use astern::observe::sources::{FindSource, Sources};
use astern::observe::store::Store;
use astern::port::simulated::{Behaviour, Crash, CrashingPort, Settings, SimulatedCluster, Write};
use astern::port::{Cluster, ObjectRef, Outside, kinds};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const NAME: &str = "checkout";

pub(crate) const GOOD: &str = "registry.example/checkout:v1.0.0";
pub(crate) const ERRING: &str = "registry.example/checkout:v1.1.0";
pub(crate) const FAILING_PROBES: &str = "registry.example/checkout:v1.2.0";
pub(crate) const FIXED: &str = "registry.example/checkout:v1.3.0";

struct Unmetered;

impl Meter for Unmetered {
    fn decided(&self, _: &'static str) {}
    fn reached(&self, _: &'static str) {}
    fn drilled(&self, _: &'static str) {}
    fn ready(&self, _: Option<&'static str>, _: Option<&'static str>) {}
    fn failed(&self) {}
    fn breaker(&self, _: bool) {}
}

/// An operator that runs until it is dropped.
pub(crate) struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Operator {
    /// Starts an operator with an empty memory.
    pub(crate) fn start<P: Cluster + Outside>(port: Arc<P>) -> Self {
        Self::start_with(port, Vec::new(), None)
    }

    /// Starts an operator that may switch Applications off in the given namespaces.
    pub(crate) fn pausing<P: Cluster + Outside>(
        port: Arc<P>,
        pause_applications: Vec<String>,
    ) -> Self {
        Self::start_with(port, pause_applications, None)
    }

    /// Starts an operator in a cluster that asks for drills everywhere.
    pub(crate) fn start_drilling<P: Cluster + Outside>(
        port: Arc<P>,
        drills: Option<DrillTerms>,
    ) -> Self {
        Self::start_with(port, Vec::new(), drills)
    }

    fn start_with<P: Cluster + Outside>(
        port: Arc<P>,
        pause_applications: Vec<String>,
        drills: Option<DrillTerms>,
    ) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        // `RUST_LOG=astern=debug` shows what it thinks. The second test finds the logs set up.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let store = Arc::new(Store::default());
        let find: FindSource = {
            let store = Arc::clone(&store);
            Arc::new(move |name| store.source(name))
        };
        let eyes = Eyes {
            cluster: port.clone(),
            store,
            feeds: Arc::new(Feeds::default()),
            sources: Arc::new(Sources::new(port.clone(), "astern-system".to_owned(), find)),
            config: Arc::default(),
            secrets: astern::observe::config::Secrets::NotGranted,
            namespace: "astern-system".to_owned(),
            argo_cd_namespace: "argocd".to_owned(),
            pause_applications,
            accept_unverified_approvals: false,
        };
        let hands = Hands {
            cluster: port.clone(),
            leads: Arc::new(|| true),
            instance: "astern-0".to_owned(),
            announced: Mutex::new(HashSet::new()),
        };
        let code = || format!("code{}", STARTED.fetch_add(1, Ordering::SeqCst));
        let meter = Arc::new(Unmetered);
        let mut controller = Controller::new(eyes, hands, port, meter, Box::new(code));
        controller.drills = drills;
        Self(tokio::spawn(Arc::new(controller).run()))
    }
}

/// An operator that dies at a chosen write and is followed by another.
pub(crate) struct Mortal {
    port: Arc<CrashingPort<SimulatedCluster>>,
    follower: JoinHandle<Operator>,
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Mortal {
    pub(crate) fn start(cluster: &SimulatedCluster, crash: Crash) -> Self {
        let port = Arc::new(CrashingPort::new(Arc::new(cluster.clone()), crash));
        let first = Operator::start(Arc::clone(&port));
        let follower = {
            let port = Arc::clone(&port);
            let cluster = cluster.clone();
            tokio::spawn(async move {
                port.crashed().await;
                drop(first);
                // Runs until this task is dropped.
                let _second = Operator::start(Arc::new(cluster));
                std::future::pending().await
            })
        };
        Self { port, follower }
    }

    /// Returns how many writes the first one began.
    pub(crate) fn writes(&self) -> usize {
        self.port.writes()
    }
}

/// Returns a cluster with the images of the story, a metric source and the admission policy.
pub(crate) fn cluster() -> SimulatedCluster {
    let mut settings = Settings::default();
    for (image, behaviour) in [
        (GOOD, Behaviour::default()),
        (ERRING, Behaviour::erring(0.3)),
        (
            FAILING_PROBES,
            Behaviour::failing_liveness(SignedDuration::from_secs(3)),
        ),
        (FIXED, Behaviour::default()),
    ] {
        settings.images.insert(image.to_owned(), behaviour);
    }
    let cluster = SimulatedCluster::new(settings);
    cluster
        .put(
            kinds::METRIC_SOURCES,
            json!({"apiVersion": "astern.dev/v1alpha1", "kind": "MetricSource",
                "metadata": {"name": "default"}, "spec": {"url": "http://prometheus.example"}}),
        )
        .expect("a source");
    cluster
        .put(
            kinds::ADMISSION_POLICY_BINDINGS,
            json!({"apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": names::APPROVALS_BINDING}, "spec": {}}),
        )
        .expect("a binding");
    cluster
}

/// Applies the policy of the story, in `mode`.
pub(crate) fn apply_policy(cluster: &SimulatedCluster, mode: &str) {
    let policy = json!({
        "apiVersion": "astern.dev/v1alpha1",
        "kind": "RollbackPolicy",
        "metadata": {"namespace": NAMESPACE, "name": "checkout-policy"},
        "spec": {
            "targetRefs": [{"name": NAME}],
            "mode": mode,
            "probation": "30s",
            "pauseRollout": true,
            "rollback": {"deadline": "5m", "recovery": {"for": "10s"}},
            "triggers": [
                {"name": "server-errors", "errorRate": {"threshold": "5%", "window": "1m", "for": "10s"}},
                {"name": "probes", "mode": "RequireApproval",
                 "probeFailures": {"probe": "Liveness", "threshold": 3, "window": "2m"}},
                {"name": "crashes", "mode": "RequireApproval", "restarts": {}},
                {"name": "stuck", "rolloutStalled": {}},
            ],
        },
    });
    cluster
        .put(kinds::ROLLBACK_POLICIES, policy)
        .expect("a policy");
}

pub(crate) fn deployment() -> ObjectRef {
    ObjectRef::new(kinds::DEPLOYMENTS, NAMESPACE, NAME)
}

pub(crate) fn image(cluster: &SimulatedCluster) -> String {
    let live = cluster.object(&deployment()).expect("the Deployment");
    text(&live, "/spec/template/spec/containers/0/image")
        .expect("an image")
        .to_owned()
}

/// Name, state and status of all Rollbacks.
pub(crate) fn rollbacks(cluster: &SimulatedCluster) -> Vec<(String, String, Value)> {
    let objects = cluster.objects(kinds::ROLLBACKS, NAMESPACE);
    objects
        .iter()
        .map(|object| {
            let name = text(object, "/metadata/name").unwrap_or_default();
            let state = text(object, "/status/conditions/0/reason").unwrap_or_default();
            (name.to_owned(), state.to_owned(), object["status"].clone())
        })
        .collect()
}

/// States of all Rollbacks that have one.
pub(crate) fn states(cluster: &SimulatedCluster) -> Vec<String> {
    let states = rollbacks(cluster).into_iter().map(|(_, state, _)| state);
    states.filter(|state| !state.is_empty()).collect()
}

/// Everything that is remembered about revisions, by image.
pub(crate) fn revisions(cluster: &SimulatedCluster) -> Vec<(String, RevisionRecord)> {
    let objects = cluster.objects(kinds::CONTROLLER_REVISIONS, NAMESPACE);
    let records = objects.iter().filter_map(revision::read);
    let mut records: Vec<_> = records
        .map(|record| (record.images.join(","), record))
        .collect();
    records.sort_by(|left, right| left.0.cmp(&right.0));
    records
}

/// Verdicts by image.
pub(crate) fn verdicts(cluster: &SimulatedCluster) -> Vec<(String, &'static str)> {
    let records = revisions(cluster).into_iter();
    records
        .map(|(image, record)| (image, revision::verdict_name(record.memory.verdict)))
        .collect()
}

/// Waits, in virtual time, until `condition` holds.
pub(crate) async fn until(
    cluster: &SimulatedCluster,
    what: &str,
    limit: i64,
    condition: impl Fn(&SimulatedCluster) -> bool,
) {
    let end = cluster.now() + SignedDuration::from_secs(limit);
    while !condition(cluster) {
        assert!(
            cluster.now() < end,
            "{what}: not so after {limit} s; image {}, verdicts {:?}, rollbacks {:?}",
            image(cluster),
            verdicts(cluster),
            rollbacks(cluster),
        );
        cluster.run_for(SignedDuration::from_millis(500)).await;
    }
}

pub(crate) async fn until_good(cluster: &SimulatedCluster, image: &str) {
    let good = (image.to_owned(), "Good");
    until(cluster, &format!("{image} is Good"), 180, |cluster| {
        verdicts(cluster).contains(&good)
    })
    .await;
}

pub(crate) async fn until_states(cluster: &SimulatedCluster, expected: &[&str]) {
    until(cluster, &format!("{expected:?}"), 180, |cluster| {
        states(cluster) == expected
    })
    .await;
}

/// Approves what waits, the way a person would who read the message.
pub(crate) async fn approve(cluster: &SimulatedCluster) {
    let waiting = |cluster: &SimulatedCluster| {
        rollbacks(cluster)
            .into_iter()
            .find_map(|(name, state, status)| {
                let code = text(&status, "/code")?.to_owned();
                (state == "AwaitingApproval").then_some((name, code))
            })
    };
    until(cluster, "a code is told", 60, |cluster| {
        waiting(cluster).is_some()
    })
    .await;
    let (name, code) = waiting(cluster).expect("just seen");
    let rollback = ObjectRef::new(kinds::ROLLBACKS, NAMESPACE, &name);
    let answer = format!("{name}/{code}:alice");
    cluster
        .annotate(&rollback, names::APPROVE, Some(&answer))
        .expect("annotated");
}

/// Writes of the operator to the Deployment's template, as bodies.
pub(crate) fn template_writes(cluster: &SimulatedCluster) -> Vec<Write> {
    let writes = cluster.writes().into_iter();
    writes
        .filter(|write| {
            write.manager == names::FIELD_MANAGER
                && write.outcome.is_ok()
                && write.object == deployment()
                && write.body.as_array().is_some_and(|operations| {
                    operations.iter().any(|operation| {
                        operation["op"] == "replace" && operation["path"] == "/spec/template"
                    })
                })
        })
        .collect()
}

/// Writes of the operator, without Events.
pub(crate) fn own_writes(cluster: &SimulatedCluster) -> Vec<Write> {
    let writes = cluster.writes().into_iter();
    writes
        .filter(|write| write.manager == names::FIELD_MANAGER && write.kind != kinds::EVENTS)
        .collect()
}

pub(crate) fn mark(cluster: &SimulatedCluster, key: &str) -> Option<String> {
    let live = cluster.object(&deployment())?;
    annotation(&live, key).map(str::to_owned)
}

pub(crate) fn label(object: &Value, key: &str) -> Option<String> {
    record::label(object, key).map(str::to_owned)
}
