//! Carries out a scenario on a bed.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
    discovery,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    bed::Bed,
    node::{Nodes, NodesOptions},
    scenario::{Annotate, Deploy, Kubectl, Load, NodeState, Scenario, Step, Until, substitute},
    traffic::{Traffic, TrafficOptions},
};

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A scenario under way: its nodes, its traffic, and what its steps have captured.
pub struct Director<'a> {
    bed: &'a Bed,
    nodes: Nodes,
    traffic: Vec<(Load, Arc<Traffic>)>,
    captured: BTreeMap<String, String>,
}

impl<'a> Director<'a> {
    /// Starts nodes and traffic, and applies what the scenario begins with.
    ///
    /// # Errors
    ///
    /// When a manifest cannot be read, or the API server refuses an object.
    pub async fn start(bed: &'a Bed, scenario: &Scenario) -> anyhow::Result<Self> {
        let options = NodesOptions {
            nodes: scenario.nodes,
            images: scenario.images(),
            backoff_factor: scenario.backoff_factor,
            log_directory: bed.directory().join("pods"),
            api_server: bed.api_server().to_owned(),
            ca_pem: bed.ca_pem().to_owned(),
        };
        let nodes = Nodes::start(bed.client(), options).await?;
        let mut this = Self {
            bed,
            nodes,
            traffic: Vec::new(),
            captured: BTreeMap::new(),
        };
        for manifest in &scenario.manifests {
            this.apply_file(manifest).await?;
        }
        this.apply_objects(&scenario.objects).await?;
        for load in &scenario.traffic {
            let options = TrafficOptions {
                namespace: load.namespace.clone(),
                service: load.service.clone(),
                requests_per_second: load.requests_per_second,
                path: load.path.clone(),
                timeout: load.timeout,
            };
            let traffic = Traffic::start(bed.client(), options);
            this.traffic.push((load.clone(), Arc::new(traffic)));
        }
        Ok(this)
    }

    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Returns each load with what it has seen, in the order of the scenario.
    #[must_use]
    pub fn traffic(&self) -> &[(Load, Arc<Traffic>)] {
        &self.traffic
    }

    /// Returns what the steps so far have captured.
    #[must_use]
    pub fn captured(&self) -> &BTreeMap<String, String> {
        &self.captured
    }

    /// Does what a step says, and waits until all that it waits for is seen.
    ///
    /// # Errors
    ///
    /// When the API server refuses, or something is not seen in time; the message says what.
    pub async fn carry_out(&mut self, step: &Step) -> anyhow::Result<()> {
        self.act(step)
            .await
            .with_context(|| format!("step {:?}", step.title))?;
        for until in &step.until {
            self.wait(until)
                .await
                .with_context(|| format!("step {:?}", step.title))?;
        }
        Ok(())
    }

    /// Does what a step says, and waits for nothing.
    ///
    /// # Errors
    ///
    /// When the API server refuses.
    pub async fn act(&self, step: &Step) -> anyhow::Result<()> {
        if let Some(deploy) = &step.deploy {
            self.deploy(deploy).await?;
        }
        if let Some(file) = &step.apply {
            self.apply_file(file).await?;
        }
        self.apply_objects(&step.objects).await?;
        if let Some(annotate) = &step.annotate {
            self.annotate(annotate).await?;
        }
        if let Some(kubectl) = &step.kubectl {
            self.kubectl(kubectl).await?;
        }
        if let Some(set) = &step.set_image {
            self.nodes.set_image(&set.image, set.behaviour.clone());
        }
        if let Some(node) = &step.node {
            match node.state {
                NodeState::Ready => self.nodes.recover(&node.name).await?,
                NodeState::Lost => self.nodes.lose(&node.name).await?,
            }
        }
        Ok(())
    }

    /// Waits until something is seen, and keeps what it captures.
    ///
    /// # Errors
    ///
    /// When it is not seen in time; the message says what was seen last.
    pub async fn wait(&mut self, until: &Until) -> anyhow::Result<()> {
        let deadline = Instant::now() + until.timeout;
        loop {
            // A kind that is not served yet, or a server that is away, may come.
            let objects = self.objects(until).await;
            if let Ok(objects) = &objects
                && let Some(captured) = until.met(objects, &self.captured)?
            {
                self.captured.extend(captured);
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seen = objects.with_context(|| format!("never seen: {}", until.describe()))?;
                let seconds = until.timeout.as_secs();
                bail!(
                    "not seen within {seconds} s: {}; there was {}",
                    until.describe(),
                    until.describe_seen(&seen, &self.captured)
                );
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Stops traffic and nodes.
    pub async fn stop(self) {
        for (_, traffic) in &self.traffic {
            traffic.stop().await;
        }
        self.nodes.stop().await;
    }

    async fn apply_file(&self, file: &std::path::Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("failed to read manifest {}", file.display()))?;
        self.bed
            .apply(&text)
            .await
            .with_context(|| format!("in manifest {}", file.display()))
    }

    async fn apply_objects(&self, objects: &[Value]) -> anyhow::Result<()> {
        for object in objects {
            self.bed.apply(&object.to_string()).await?;
        }
        Ok(())
    }

    async fn deploy(&self, deploy: &Deploy) -> anyhow::Result<()> {
        let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.bed.client(), &deploy.namespace, &resource);
        let container = if let Some(container) = &deploy.container {
            container.clone()
        } else {
            let deployment = api.get(&deploy.deployment).await?;
            deployment
                .data
                .pointer("/spec/template/spec/containers/0/name")
                .and_then(Value::as_str)
                .context("deployment without containers")?
                .to_owned()
        };
        let container = json!({"name": container, "image": deploy.image});
        let change = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let parameters = PatchParams {
            field_manager: Some("kubectl-set".to_owned()),
            ..PatchParams::default()
        };
        api.patch(&deploy.deployment, &parameters, &Patch::Strategic(change))
            .await
            .with_context(|| format!("failed to deploy {:?}", deploy.image))?;
        Ok(())
    }

    async fn annotate(&self, annotate: &Annotate) -> anyhow::Result<()> {
        let client = match &annotate.user {
            Some(user) => {
                let groups: Vec<&str> = annotate.groups.iter().map(String::as_str).collect();
                self.bed.user(user, &groups).await?.client
            }
            None => self.bed.client(),
        };
        // Found out as administrator: not everybody may list what the server serves.
        let resource = self.resource(&annotate.api_version, &annotate.kind).await?;
        let api = dynamic(client, annotate.namespace.as_deref(), &resource);
        let annotations: BTreeMap<&String, String> = annotate
            .annotations
            .iter()
            .map(|(key, value)| Ok((key, substitute(value, &self.captured)?)))
            .collect::<anyhow::Result<_>>()?;
        let name = substitute(&annotate.name, &self.captured)?;
        let change = json!({"metadata": {"annotations": annotations}});
        let parameters = PatchParams {
            field_manager: Some("kubectl-annotate".to_owned()),
            ..PatchParams::default()
        };
        api.patch(&name, &parameters, &Patch::Merge(change))
            .await
            .with_context(|| format!("failed to annotate {} {name:?}", annotate.kind))?;
        Ok(())
    }

    /// Returns the command with all that was captured in it.
    ///
    /// # Errors
    ///
    /// When it refers to something that no earlier step has captured.
    pub fn arguments(&self, kubectl: &Kubectl) -> anyhow::Result<Vec<String>> {
        let arguments = kubectl.arguments.iter();
        arguments
            .map(|argument| substitute(argument, &self.captured))
            .collect()
    }

    async fn kubectl(&self, kubectl: &Kubectl) -> anyhow::Result<()> {
        let groups: Vec<&str> = kubectl.groups.iter().map(String::as_str).collect();
        let user = self.bed.user(&kubectl.user, &groups).await?;
        let arguments = self.arguments(kubectl)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.bed.kubectl(&user.kubeconfig, &arguments, None).await?;
        ensure!(
            output.status.success(),
            "kubectl as {} failed: {}",
            kubectl.user,
            output.stderr.trim()
        );
        Ok(())
    }

    async fn objects(&self, until: &Until) -> anyhow::Result<Vec<Value>> {
        let resource = self.resource(&until.api_version, &until.kind).await?;
        let api = dynamic(self.bed.client(), until.namespace.as_deref(), &resource);
        let objects = if let Some(name) = &until.name {
            let name = substitute(name, &self.captured)?;
            api.get_opt(&name).await?.into_iter().collect()
        } else {
            let labels: Vec<String> = until
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let parameters = ListParams::default().labels(&labels.join(","));
            api.list(&parameters).await?.items
        };
        objects
            .into_iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }

    async fn resource(&self, api_version: &str, kind: &str) -> anyhow::Result<ApiResource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let (resource, _) = discovery::pinned_kind(&self.bed.client(), &kind)
            .await
            .with_context(|| format!("{api_version} {} is not served", kind.kind))?;
        Ok(resource)
    }
}

fn dynamic(client: Client, namespace: Option<&str>, resource: &ApiResource) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}
