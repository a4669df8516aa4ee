//! Carries the scenario out, step by step, while others watch.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    bed::Bed,
    clock::now,
    demo::{
        audit, clients,
        console::{Console, Mood, Speaker},
        rollbacks::rollbacks,
        summary::{self, Release, Summary},
        watching,
        workload::{Workload, tag},
    },
    scenario::{Director, Scenario, Step, look_up},
    traffic::Traffic,
    usage,
};

/// Where the operator runs, as deploy/install.yaml says.
const OPERATOR_NAMESPACE: &str = "astern-system";
const OPERATOR_USER: &str = "system:serviceaccount:astern-system:astern";
/// Lines of the operator's log that a failure shows.
const LOG_TAIL: usize = 12;

/// A scenario on its way.
pub(super) struct Story<'a> {
    bed: &'a Bed,
    scenario: &'a Scenario,
    console: Console,
    began: Instant,
    workload: Option<Workload>,
    director: Option<Director<'a>>,
    watchers: JoinSet<()>,
    over: Arc<AtomicBool>,
    deployed: Vec<(String, Timestamp)>,
}

impl<'a> Story<'a> {
    pub(super) fn new(
        bed: &'a Bed,
        scenario: &'a Scenario,
        console: Console,
        began: Instant,
    ) -> Self {
        Self {
            bed,
            scenario,
            console,
            began,
            workload: Workload::of(scenario),
            director: None,
            watchers: JoinSet::new(),
            over: Arc::default(),
            deployed: Vec::new(),
        }
    }

    /// Carries out every step and returns what came of it.
    ///
    /// # Errors
    ///
    /// When a step fails or what it waits for is not seen.
    pub(super) async fn tell(&mut self) -> anyhow::Result<Summary> {
        self.console
            .say(Speaker::Bed, Mood::Quiet, "is up: a cluster without nodes");
        let director = Director::start(self.bed, self.scenario).await?;
        self.introduce();
        if let Some((_, traffic)) = director.traffic().first() {
            let (traffic, over) = (Arc::clone(traffic), Arc::clone(&self.over));
            self.watchers
                .spawn(clients::show(self.console.clone(), traffic, over));
        }
        if let Some(workload) = &self.workload {
            let client = self.bed.client();
            watching::follow(&mut self.watchers, &self.console, &client, workload);
        }
        self.director = Some(director);
        for step in &self.scenario.steps {
            self.carry_out(step).await?;
        }
        self.over.store(true, Ordering::Relaxed);
        self.summarize().await
    }

    /// Shows nothing more.
    pub(super) async fn fall_silent(&mut self) {
        self.watchers.shutdown().await;
        self.console.live("");
    }

    /// Ends traffic, nodes and the operator.
    pub(super) async fn end(&mut self) {
        self.fall_silent().await;
        if let Some(director) = self.director.take() {
            director.stop().await;
        }
    }

    /// Shows the end of the operator's log, for when something did not happen.
    pub(super) fn explain(&self) {
        let Some(log) = self.operator_log() else {
            return;
        };
        self.console.title("the end of the operator's log");
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(LOG_TAIL);
        for line in lines.get(tail..).unwrap_or_default() {
            self.console.text(Mood::Quiet, &readable(line));
        }
    }

    fn introduce(&self) {
        let Scenario { nodes, images, .. } = self.scenario;
        let line = format!(
            "has {nodes} simulated nodes, Astern from deploy/install.yaml, and {} images to run",
            images.len()
        );
        self.console.say(Speaker::Bed, Mood::Quiet, &line);
        for policy in self.scenario.objects.iter().filter_map(policy_words) {
            self.console.say(Speaker::Bed, Mood::Quiet, &policy);
        }
        if let Some(load) = self.scenario.traffic.first() {
            let line = format!(
                "send {} requests a second to service {}, each once, on a connection of its own",
                load.requests_per_second, load.service
            );
            self.console.say(Speaker::Clients, Mood::Quiet, &line);
        }
    }

    async fn carry_out(&mut self, step: &Step) -> anyhow::Result<()> {
        let director = self.director.as_mut().context("no scenario is started")?;
        self.console.title(&step.title);
        let began = Instant::now();
        if let Some(deploy) = &step.deploy {
            self.deployed.push((tag(&deploy.image).to_owned(), now()));
            let line = format!(
                "kubectl -n {} set image deployment/{} {}={}",
                deploy.namespace,
                deploy.deployment,
                deploy.container.as_deref().unwrap_or("*"),
                deploy.image
            );
            self.console.say(Speaker::Deploy, Mood::Plain, &line);
        }
        if let Some(kubectl) = &step.kubectl {
            let command = director.arguments(kubectl)?.join(" ");
            let line = format!("{} types: kubectl {command}", kubectl.user);
            self.console.say(Speaker::Person, Mood::Plain, &line);
        }
        director.carry_out(step).await?;
        let line = format!("this took {:.1} s", began.elapsed().as_secs_f64());
        self.console.say(Speaker::Bed, Mood::Quiet, &line);
        Ok(())
    }

    async fn summarize(&self) -> anyhow::Result<Summary> {
        let seconds = self.began.elapsed().as_secs_f64();
        let traffic = self.traffic();
        let seen = traffic
            .map(|traffic| traffic.snapshot(..))
            .unwrap_or_default();
        let mut summary = Summary {
            incidents: Vec::new(),
            operator_memory_mib: self.operator_memory_mib(),
            seconds: (seconds * 10.0).round() / 10.0,
            requests: seen.total,
            failed_requests: seen.failed,
            broken: Vec::new(),
        };
        if let Some(workload) = &self.workload {
            let of = (workload.namespace.as_str(), workload.name.as_str());
            let writes = audit::writes(&self.bed.audit_log(), OPERATOR_USER, of)?;
            for rollback in rollbacks(self.bed.client(), of).await? {
                let from = look_up(&rollback, "/status/from/images/0").and_then(Value::as_str);
                let release = self.release(tag(from.unwrap_or_default()));
                let incident = summary::incident(&rollback, &release, traffic, &writes);
                summary.incidents.push(incident);
            }
        }
        summary.broken = summary.check(&self.scenario.limits);
        summary.broken.extend(self.replicas_moved().await?);
        Ok(summary)
    }

    fn traffic(&self) -> Option<&Traffic> {
        let director = self.director.as_ref()?;
        director
            .traffic()
            .first()
            .map(|(_, traffic)| traffic.as_ref())
    }

    /// Returns when a release was out: from its deployment to the next one.
    fn release(&self, tag: &str) -> Release {
        let mut after = self.deployed.iter().skip_while(|(known, _)| known != tag);
        Release {
            tag: tag.to_owned(),
            from: after.next().map_or(Timestamp::MIN, |(_, at)| *at),
            to: after.next().map_or(Timestamp::MAX, |(_, at)| *at),
        }
    }

    async fn replicas_moved(&self) -> anyhow::Result<Option<String>> {
        let Some((workload, wanted)) = self
            .workload
            .as_ref()
            .and_then(|workload| Some((workload, workload.replicas?)))
        else {
            return Ok(None);
        };
        let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.bed.client(), &workload.namespace, &resource);
        let deployment = api.get(&workload.name).await?;
        let replicas = deployment
            .data
            .pointer("/spec/replicas")
            .and_then(Value::as_i64);
        Ok((replicas != Some(wanted))
            .then(|| format!("spec.replicas is {replicas:?} and not {wanted}")))
    }

    fn operator_pod(&self) -> Option<String> {
        let pods = self.director.as_ref()?.nodes().pods();
        pods.into_iter()
            .find(|pod| pod.namespace == OPERATOR_NAMESPACE)
            .map(|pod| pod.name)
    }

    /// The most that the process ever had resident.
    fn operator_memory_mib(&self) -> Option<f64> {
        let nodes = self.director.as_ref()?.nodes();
        let process = nodes.pid_of(OPERATOR_NAMESPACE, &self.operator_pod()?)?;
        let peak = usage::memory(process).ok()?.peak_bytes;
        #[expect(clippy::cast_precision_loss, reason = "no process has four petabytes")]
        let mebibytes = peak as f64 / f64::from(1 << 20);
        Some((mebibytes * 10.0).round() / 10.0)
    }

    fn operator_log(&self) -> Option<String> {
        let nodes = self.director.as_ref()?.nodes();
        let path = nodes.log_of(OPERATOR_NAMESPACE, &self.operator_pod()?, "astern");
        fs::read_to_string(path).ok()
    }
}

/// Says in a line what a policy wants.
fn policy_words(object: &Value) -> Option<String> {
    if object["kind"] != "RollbackPolicy" {
        return None;
    }
    let spec = &object["spec"];
    let triggers = spec["triggers"].as_array().into_iter().flatten();
    let triggers: Vec<String> = triggers
        .filter_map(|trigger| {
            let name = trigger["name"].as_str()?;
            let cap = trigger["mode"].as_str();
            Some(cap.map_or_else(|| name.to_owned(), |cap| format!("{name} ({cap})")))
        })
        .collect();
    Some(format!(
        "has the RollbackPolicy {}: mode {}, triggers {}",
        object["metadata"]["name"].as_str()?,
        spec["mode"].as_str().unwrap_or("Observe"),
        triggers.join(", ")
    ))
}

/// Turns a line of the operator's JSON log into one for people.
fn readable(line: &str) -> String {
    let Ok(entry) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let mut words = vec![text("timestamp"), text("level")];
    words.extend(entry["fields"]["message"].as_str().map(str::to_owned));
    let fields = entry["fields"].as_object().into_iter().flatten();
    words.extend(
        fields
            .filter(|(name, _)| *name != "message")
            .map(|(name, value)| match value.as_str() {
                Some(value) => format!("{name}={value}"),
                None => format!("{name}={value}"),
            }),
    );
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_line_of_the_log_is_told_with_its_fields() {
        let line = r#"{"timestamp":"T","level":"WARN","fields":{"message":"again","failures":2}}"#;
        assert_eq!(readable(line), "T WARN again failures=2");
        assert_eq!(readable("thread panicked"), "thread panicked");
    }
}
