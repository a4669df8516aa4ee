//! A namespace with an operator of its own, and what a user of the namespace does and sees.
//!
//! The operator reaches the API server and Prometheus through a proxy each, so that a test can count, hold and
//! spoil what it asks for.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use astern_testbed::{
    audit::{Write, passed},
    bed::Bed,
    fault_proxy::{Fault, FaultProxy, Matcher, Rule, Seen},
    traffic::{Traffic, TrafficOptions},
};
use kube::{
    api::{GetParams, ListParams, Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use crate::{
    objects::{Kind, image_of, state, word},
    operator::Operator,
    support::{eventually, namespace, within},
};

pub(crate) const DEPLOYMENT: &str = "checkout";
pub(crate) const POLICY: &str = "checkout-policy";

/// Enough that every pod has something to say between two scrapes.
const REQUESTS_PER_SECOND: f64 = 12.0;

/// Outlasts a test: nothing becomes known good by the clock alone.
const LONG: &str = "1h";

/// From a deployment until its end is seen: rollout, probation or breach, rollback, recovery.
const STORY: Duration = Duration::from_secs(150);

/// A namespace with an operator that works in it, and traffic on the Service of its Deployment.
pub(crate) struct Stage<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) namespace: String,
    /// Between the operator and the API server.
    pub(crate) api_server: FaultProxy,
    /// Between the operator and Prometheus.
    pub(crate) prometheus: FaultProxy,
    pub(crate) operator: Arc<Operator>,
    _traffic: Traffic,
}

impl<'a> Stage<'a> {
    /// Sets the stage and starts the operator. There is no policy and no Deployment yet.
    pub(crate) async fn set(bed: &'a Bed, label: &str) -> anyhow::Result<Self> {
        let stage = Self::prepare(bed, label).await?;
        stage.operator.start().await?;
        Ok(stage)
    }

    /// Sets the stage for an operator that the test starts.
    pub(crate) async fn prepare(bed: &'a Bed, label: &str) -> anyhow::Result<Self> {
        Self::prepare_with(bed, label, &[]).await
    }

    /// Does the same for an operator with flags of its own.
    pub(crate) async fn prepare_with(
        bed: &'a Bed,
        label: &str,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let home = namespace(bed, label).await?;
        Self::prepare_in(bed, (&home, home.clone()), flags).await
    }

    /// Does the same for an operator that lives in a namespace of its own.
    pub(crate) async fn apart(bed: &'a Bed, label: &str) -> anyhow::Result<Self> {
        let home = namespace(bed, &format!("{label}-home")).await?;
        let namespace = namespace(bed, label).await?;
        Self::prepare_in(bed, (&home, namespace), &[]).await
    }

    async fn prepare_in(
        bed: &'a Bed,
        (home, namespace): (&str, String),
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let prometheus = FaultProxy::before_prometheus(bed).await?;
        let source = json!({
            "apiVersion": "astern.dev/v1alpha1", "kind": "MetricSource",
            "metadata": {"name": namespace}, "spec": {"url": prometheus.url()},
        });
        bed.apply(&source.to_string()).await?;
        let api_server = FaultProxy::before_api_server(bed).await?;
        let operator = Operator::prepare(bed, (home, &namespace), &api_server).await?;
        let operator = operator.with(flags);
        let load = TrafficOptions::new(&namespace, DEPLOYMENT, REQUESTS_PER_SECOND);
        Ok(Self {
            bed,
            namespace,
            api_server,
            prometheus,
            operator: Arc::new(operator),
            _traffic: Traffic::start(bed.client(), load),
        })
    }

    /// Returns the policy of the stories in a mode, for tests to change and apply.
    pub(crate) fn policy(&self, mode: &str) -> Value {
        json!({
            "apiVersion": "astern.dev/v1alpha1",
            "kind": "RollbackPolicy",
            "metadata": {"namespace": self.namespace, "name": POLICY},
            "spec": {
                "targetRefs": [{"name": DEPLOYMENT}],
                "metricSource": self.namespace,
                "mode": mode,
                "probation": LONG,
                "rollback": {"deadline": "2m", "recovery": {"for": "4s"}},
                "triggers": [
                    {"name": "server-errors", "errorRate": {
                        "threshold": "5%", "window": "20s", "for": "4s", "minimumRequests": 10}},
                    {"name": "stuck", "rolloutStalled": {}},
                ],
            },
        })
    }

    /// Returns the Deployment of the stories, for tests to change and apply.
    pub(crate) fn deployment(&self, image: &str) -> Value {
        let ready = json!({"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1});
        let alive = json!({
            "httpGet": {"path": "/healthz", "port": "http"},
            "periodSeconds": 1, "failureThreshold": 2,
        });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": self.namespace, "name": DEPLOYMENT},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": DEPLOYMENT}},
                "template": {
                    "metadata": {
                        "labels": {"app": DEPLOYMENT},
                        "annotations": {
                            "prometheus.io/scrape": "true", "prometheus.io/port": "8080",
                        },
                    },
                    "spec": {"terminationGracePeriodSeconds": 3, "containers": [{
                        "name": "app", "image": image,
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "readinessProbe": ready, "livenessProbe": alive,
                    }]},
                },
            },
        })
    }

    /// Applies the policy in a mode, the Service and a first good release, and makes that known good.
    pub(crate) async fn settle(&self, mode: &str, image: &str) -> anyhow::Result<()> {
        self.settle_with(mode, &self.deployment(image)).await
    }

    /// Does the same with a first release of the test's own.
    pub(crate) async fn settle_with(&self, mode: &str, deployment: &Value) -> anyhow::Result<()> {
        self.bed.apply(&self.policy(mode).to_string()).await?;
        self.bed.apply(&self.service()).await?;
        self.bed.apply(&deployment.to_string()).await?;
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        self.prove(&word(image)).await
    }

    /// Waits until every trigger has passed for a release, and ends its probation.
    ///
    /// How long it takes Prometheus to find new pods depends on the load of the machine, so a
    /// probation by the clock would be too short or waste time.
    pub(crate) async fn prove(&self, image: &str) -> anyhow::Result<()> {
        self.until_passed(image).await?;
        let probation = async |time| {
            let change = json!({"spec": {"probation": time}});
            self.merge(Kind::Policies, POLICY, change).await
        };
        probation("1s").await?;
        self.until_verdict(image, "Good").await?;
        probation(LONG).await
    }

    /// Waits until every trigger has passed for a release.
    pub(crate) async fn until_passed(&self, image: &str) -> anyhow::Result<()> {
        let what = format!("every trigger has passed for {image}");
        self.until(&what, async || {
            let revisions = self.list(Kind::Revisions).await?;
            let mut own = revisions
                .iter()
                .filter(|revision| image_of(revision) == image);
            Ok(own.any(|revision| {
                let annotations = &revision["metadata"]["annotations"];
                annotations["astern.dev/passed"] == "server-errors,stuck"
            }))
        })
        .await
    }

    /// Returns the Service of the Deployment.
    pub(crate) fn service(&self) -> String {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": self.namespace, "name": DEPLOYMENT},
            "spec": {
                "selector": {"app": DEPLOYMENT},
                "ports": [{"port": 80, "targetPort": "http"}],
            },
        });
        service.to_string()
    }

    /// Deploys another image, the way `kubectl set image` does.
    pub(crate) async fn deploy(&self, image: &str) -> anyhow::Result<()> {
        let container = json!({"name": "app", "image": image});
        let change = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let object = (Kind::Deployments, DEPLOYMENT);
        self.patch(object, "kubectl-set", &Patch::Strategic(change))
            .await
    }

    /// Merges a change into an object, as people do with kubectl.
    pub(crate) async fn merge(&self, kind: Kind, name: &str, change: Value) -> anyhow::Result<()> {
        self.patch((kind, name), "kubectl-edit", &Patch::Merge(change))
            .await
    }

    async fn patch(
        &self,
        (kind, name): (Kind, &str),
        manager: &str,
        patch: &Patch<Value>,
    ) -> anyhow::Result<()> {
        let parameters = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let request = Request::new(kind.path(&self.namespace));
        let request = request.patch(name, &parameters, patch)?;
        self.bed.client().request::<Value>(request).await?;
        Ok(())
    }

    /// Reads an object as it is now.
    pub(crate) async fn get(&self, kind: Kind, name: &str) -> anyhow::Result<Value> {
        let request = Request::new(kind.path(&self.namespace));
        let request = request.get(name, &GetParams::default())?;
        Ok(self.bed.client().request(request).await?)
    }

    /// Reads the Deployment as it is now.
    pub(crate) async fn live(&self) -> anyhow::Result<Value> {
        self.get(Kind::Deployments, DEPLOYMENT).await
    }

    /// Reads all objects of a kind.
    pub(crate) async fn list(&self, kind: Kind) -> anyhow::Result<Vec<Value>> {
        let request = Request::new(kind.path(&self.namespace)).list(&ListParams::default())?;
        let mut list: Value = self.bed.client().request(request).await?;
        Ok(serde_json::from_value(list["items"].take())?)
    }

    /// Returns the image that the Deployment asks for.
    pub(crate) async fn image(&self) -> anyhow::Result<String> {
        let live = self.live().await?;
        let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        Ok(image.context("a Deployment without an image")?.to_owned())
    }

    /// Returns the image of each recorded revision with its verdict, in order.
    pub(crate) async fn verdicts(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut verdicts = Vec::new();
        for revision in self.list(Kind::Revisions).await? {
            let verdict = &revision["metadata"]["labels"]["astern.dev/verdict"];
            verdicts.push((image_of(&revision), word(verdict)));
        }
        verdicts.sort();
        Ok(verdicts)
    }

    /// Returns the state of each Rollback; empty where it has none yet.
    pub(crate) async fn states(&self) -> anyhow::Result<Vec<String>> {
        let rollbacks = self.list(Kind::Rollbacks).await?;
        Ok(rollbacks.iter().map(state).collect())
    }

    /// Waits until a revision has a verdict.
    pub(crate) async fn until_verdict(&self, image: &str, verdict: &str) -> anyhow::Result<()> {
        let expected = (image.to_owned(), verdict.to_owned());
        let what = format!("{image} is {verdict}");
        self.until(&what, async || {
            Ok(self.verdicts().await?.contains(&expected))
        })
        .await
    }

    /// Waits until these are the states of all Rollbacks.
    pub(crate) async fn until_states(&self, expected: &[&str]) -> anyhow::Result<()> {
        let what = format!("Rollbacks are {expected:?}");
        self.until(&what, async || Ok(self.states().await? == expected))
            .await
    }

    /// Waits for a step of a story; where it does not come, tells how things stand.
    pub(crate) async fn until(
        &self,
        what: &str,
        condition: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let Err(error) = within(STORY, what, condition).await else {
            return Ok(());
        };
        let policies = self.list(Kind::Policies).await?;
        let status: Vec<_> = policies.iter().map(|policy| &policy["status"]).collect();
        let standing = format!(
            "{}: verdicts {:?}, rollbacks {:?}, policies {}; log {}",
            self.namespace,
            self.verdicts().await?,
            self.states().await?,
            json!(status),
            self.operator.log().display(),
        );
        Err(error.context(standing))
    }

    /// Waits until the operator has renewed its Lease so often. It does every two seconds, so this is
    /// how long it was there and did nothing else.
    pub(crate) async fn heartbeats(&self, count: usize) -> anyhow::Result<()> {
        let end = self.renewals() + count;
        eventually("the lease is renewed", async || Ok(self.renewals() >= end)).await
    }

    fn renewals(&self) -> usize {
        let requests = self.api_server.requests();
        let renews = |seen: &&Seen| seen.method == "PUT" && seen.path.contains("/leases/");
        requests.iter().filter(renews).count()
    }

    /// Returns what the operator wrote, in order.
    pub(crate) fn writes(&self) -> Vec<Write> {
        passed(&self.api_server.requests())
    }

    /// Returns the answers to the operator's writes to the Deployment, in order.
    pub(crate) fn writes_to_deployment(&self) -> Vec<u16> {
        let writes = self.writes().into_iter();
        let own = writes.filter(|write| write.resource.starts_with("deployments"));
        own.filter_map(|write| write.code).collect()
    }

    /// Returns how many of them the API server took. Others met a newer object, and changed nothing.
    pub(crate) fn changes_of_deployment(&self) -> usize {
        let answers = self.writes_to_deployment();
        answers.iter().filter(|status| **status == 200).count()
    }

    /// Holds the operator's next write to the Deployment on its way to the API server.
    pub(crate) fn hold_write(&self) -> Held {
        let (sender, arrived) = watch::channel(false);
        let (release, go) = watch::channel(false);
        let matcher = Matcher::any().method("PATCH").path("/deployments/");
        let matcher = matcher.when(move |request, _| {
            let write = !request.is_dry_run();
            if write {
                sender.send_replace(true);
            }
            write
        });
        self.api_server
            .add(Rule::first(1, matcher, Fault::Hold(go)));
        Held { arrived, release }
    }
}

/// A write that is on its way.
pub(crate) struct Held {
    arrived: watch::Receiver<bool>,
    release: watch::Sender<bool>,
}

impl Held {
    /// Waits until the write has left the operator.
    pub(crate) async fn arrived(&mut self) -> anyhow::Result<()> {
        let waiting = self.arrived.wait_for(|arrived| *arrived);
        let waited = timeout(STORY, waiting).await;
        waited.context("the operator wrote nothing")??;
        Ok(())
    }

    /// Lets the write go on.
    pub(crate) fn release(self) {
        self.release.send_replace(true);
    }
}
