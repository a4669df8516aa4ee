//! Scenario files: what images do, what is deployed when, and what must be seen before going on.
//!
//! A scenario is data. [`Director`] carries it out; what is shown to people meanwhile, and what is
//! measured, is up to the demo, the test or the benchmark that runs it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::behaviour::{Behaviour, Images, duration, optional_duration};

mod condition;
mod director;

pub use condition::{Check, Until, look_up};
pub use director::Director;

/// A whole scenario. Paths in it are relative to its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    #[serde(default = "five_seconds", deserialize_with = "duration")]
    pub scrape_interval: Duration,
    #[serde(default = "three")]
    pub nodes: u16,
    /// Multiplies the back-off of containers and image pulls; one is as on a real node.
    #[serde(default = "unchanged")]
    pub backoff_factor: f64,
    #[serde(default)]
    pub images: BTreeMap<String, Behaviour>,
    /// Files to apply at the start, in this order.
    #[serde(default)]
    pub manifests: Vec<PathBuf>,
    /// Objects to apply after the files.
    #[serde(default)]
    pub objects: Vec<Value>,
    #[serde(default)]
    pub traffic: Vec<Load>,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What the demo must show to count as a success.
    #[serde(default)]
    pub limits: Limits,
}

/// How fast and how frugal a run must be. What is left out may be anything.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// From the first bad answer to the decision, where nobody is asked.
    #[serde(deserialize_with = "optional_duration")]
    pub decision: Option<Duration>,
    /// From the decision to the last bad answer, where nobody is asked.
    #[serde(deserialize_with = "optional_duration")]
    pub relief: Option<Duration>,
    /// From the start of the test bed to the end of the last step.
    #[serde(deserialize_with = "optional_duration")]
    pub whole: Option<Duration>,
    /// The most memory that the operator ever had.
    pub operator_memory_mib: Option<u32>,
    /// How many incidents there must be.
    pub incidents: Option<usize>,
}

/// Load on one Service.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    pub namespace: String,
    pub service: String,
    pub requests_per_second: f64,
    #[serde(default = "root")]
    pub path: String,
    #[serde(default = "two_seconds", deserialize_with = "duration")]
    pub timeout: Duration,
}

/// At most one thing that is done, and then what must be seen.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    pub title: String,
    pub deploy: Option<Deploy>,
    pub apply: Option<PathBuf>,
    #[serde(default)]
    pub objects: Vec<Value>,
    pub annotate: Option<Annotate>,
    pub kubectl: Option<Kubectl>,
    pub set_image: Option<SetImage>,
    pub node: Option<SetNode>,
    #[serde(default)]
    pub until: Vec<Until>,
}

/// Changes the image of a Deployment, as `kubectl set image` does.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deploy {
    pub namespace: String,
    pub deployment: String,
    pub image: String,
    /// The first container by default.
    pub container: Option<String>,
}

/// Writes annotations, as `kubectl annotate` does.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotate {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    /// Who does it; an administrator by default.
    pub user: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    /// Values may contain `${NAME}` for what an earlier `until` has captured.
    pub annotations: BTreeMap<String, String>,
}

/// Runs kubectl the way a person does.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubectl {
    /// Who does it, known by a client certificate.
    pub user: String,
    #[serde(default)]
    pub groups: Vec<String>,
    /// May contain `${NAME}` for what an earlier `until` has captured.
    pub arguments: Vec<String>,
}

/// Changes what an image does while it runs.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetImage {
    pub image: String,
    pub behaviour: Behaviour,
}

/// Makes a node fall silent, or brings it back.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetNode {
    /// Such as `node-1`.
    pub name: String,
    pub state: NodeState,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum NodeState {
    Ready,
    /// Nobody hears from it any more.
    Lost,
}

fn three() -> u16 {
    3
}

fn unchanged() -> f64 {
    1.0
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn root() -> String {
    "/".to_owned()
}

impl Scenario {
    /// Reads a scenario file, and puts `variables` where the names of its images, its programs, its
    /// objects and its traffic say `${NAME}`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no scenario; the message names the field to correct.
    pub fn read(path: &Path, variables: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("failed to read scenario {}", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, directory, variables)
            .with_context(|| format!("in scenario {}", path.display()))
    }

    /// Does the same for a text whose paths are relative to `directory`.
    ///
    /// # Errors
    ///
    /// When the text is no scenario; the message names the field to correct.
    pub fn parse(
        text: &str,
        directory: &Path,
        variables: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        // Only `true` and `false` are: an annotation of `on` or a version `y` is a text.
        let strict = serde_saphyr::options! { strict_booleans: true };
        let mut scenario: Self = serde_saphyr::from_str_with_options(text, strict)?;
        for (image, mut behaviour) in std::mem::take(&mut scenario.images) {
            fill_in(&mut behaviour, variables)
                .with_context(|| format!("images.{image:?}.program"))?;
            let image =
                substitute(&image, variables).with_context(|| format!("images.{image:?}"))?;
            scenario.images.insert(image, behaviour);
        }
        for (index, object) in scenario.objects.iter_mut().enumerate() {
            fill_in_object(object, variables).with_context(|| format!("objects[{index}]"))?;
        }
        for (index, load) in scenario.traffic.iter_mut().enumerate() {
            for text in [&mut load.namespace, &mut load.service, &mut load.path] {
                *text = substitute(text, variables).with_context(|| format!("traffic[{index}]"))?;
            }
        }
        for manifest in &mut scenario.manifests {
            *manifest = directory.join(&*manifest);
        }
        for (index, step) in scenario.steps.iter_mut().enumerate() {
            if let Some(manifest) = &mut step.apply {
                *manifest = directory.join(&*manifest);
            }
            step.check()
                .with_context(|| format!("steps[{index}] {:?}", step.title))?;
        }
        scenario.check()?;
        Ok(scenario)
    }

    /// Returns the registry that this scenario describes; all other images cannot be pulled.
    #[must_use]
    pub fn images(&self) -> Images {
        Images::new(self.images.clone())
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=1000).contains(&self.nodes),
            "nodes: {} is not between 1 and 1000",
            self.nodes
        );
        ensure!(
            self.backoff_factor > 0.0 && self.backoff_factor <= 1.0,
            "backoffFactor: {} is not above 0 and at most 1",
            self.backoff_factor
        );
        for (index, load) in self.traffic.iter().enumerate() {
            ensure!(
                load.requests_per_second > 0.0 && load.requests_per_second <= 10_000.0,
                "traffic[{index}].requestsPerSecond: {} is not above 0 and at most 10000",
                load.requests_per_second
            );
        }
        Ok(())
    }
}

impl Step {
    fn check(&self) -> anyhow::Result<()> {
        let done = [
            self.deploy.is_some(),
            self.apply.is_some(),
            !self.objects.is_empty(),
            self.annotate.is_some(),
            self.kubectl.is_some(),
            self.set_image.is_some(),
            self.node.is_some(),
        ];
        if done.into_iter().filter(|done| *done).count() > 1 {
            bail!("give only one of deploy, apply, objects, annotate, kubectl, setImage and node");
        }
        for (index, until) in self.until.iter().enumerate() {
            until.check().with_context(|| format!("until[{index}]"))?;
        }
        Ok(())
    }
}

fn fill_in(behaviour: &mut Behaviour, variables: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let Some(program) = &mut behaviour.program else {
        return Ok(());
    };
    let path = program.path.to_string_lossy();
    program.path = substitute(&path, variables).context("path")?.into();
    for argument in &mut program.arguments {
        *argument = substitute(argument, variables).context("arguments")?;
    }
    for (name, value) in &mut program.environment {
        *value = substitute(value, variables).with_context(|| format!("environment.{name}"))?;
    }
    Ok(())
}

fn fill_in_object(value: &mut Value, variables: &BTreeMap<String, String>) -> anyhow::Result<()> {
    match value {
        Value::String(text) => *text = substitute(text, variables)?,
        Value::Array(items) => {
            for item in items {
                fill_in_object(item, variables)?;
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                fill_in_object(field, variables)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// Replaces every `${NAME}` by the variable of that name.
///
/// # Errors
///
/// When a variable is not known; it must be given, or its name corrected.
pub(crate) fn substitute(
    text: &str,
    variables: &BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once("${") {
        let (name, after) = reference
            .split_once('}')
            .with_context(|| format!("\"${{\" without \"}}\" in {text:?}"))?;
        let value = variables
            .get(name)
            .with_context(|| format!("variable {name:?} is not known"))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
name: small
images:
  shop/checkout:v2: {errorRate: 30%, metrics: Istio, crash: {after: 5s, outOfMemory: true}}
  shop/astern:v1: {program: {path: \"${BINARY}\", environment: {LISTEN: \"$(POD_IP):80\"}}}
manifests: [../shop.yaml]
objects: [{kind: Program, spec: {paths: [\"${BINARY}\", 1]}}]
limits: {decision: 25s}
steps:
- title: release
  deploy: {namespace: shop, deployment: checkout, image: shop/checkout:v2}
  until:
  - {apiVersion: apps/v1, kind: Deployment, namespace: shop, name: checkout, timeout: 5s}
";

    fn parse(text: &str) -> anyhow::Result<Scenario> {
        let variables = BTreeMap::from([("BINARY".to_owned(), "/bin/astern".to_owned())]);
        Scenario::parse(text, Path::new("scenarios"), &variables)
    }

    /// Changes one place of a scenario that is right, and expects to be told about it.
    #[track_caller]
    fn check(from: &str, to: &str, named: &str) {
        assert!(SMALL.contains(from), "{from:?} changes nothing");
        let error = parse(&SMALL.replace(from, to)).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains(named), "{named:?} is not in {message}");
    }

    #[test]
    fn paths_and_variables_are_filled_in() {
        let scenario = parse(SMALL).unwrap();
        assert_eq!(scenario.manifests, [Path::new("scenarios/../shop.yaml")]);
        let program = scenario.images["shop/astern:v1"].program.clone().unwrap();
        assert_eq!(program.path, Path::new("/bin/astern"));
        assert_eq!(program.environment["LISTEN"], "$(POD_IP):80");
        assert!((scenario.images["shop/checkout:v2"].error_rate - 0.3).abs() < 1e-9);
        assert_eq!(scenario.objects[0]["spec"]["paths"][0], "/bin/astern");
    }

    #[test]
    fn a_word_is_no_boolean() {
        let text = SMALL.replace("timeout: 5s", "checks: [{pointer: /spec/x, equals: on}]");
        let scenario = parse(&text).unwrap();
        let wanted = &scenario.steps[0].until[0].checks[0].equals;
        assert_eq!(*wanted, Some(Value::from("on")));
    }

    #[test]
    fn a_mistake_is_named() {
        check("errorRate", "errorRat", "errorRat");
        check("30%", "300%", "300%");
        check("Istio", "istio", "istio");
        check("outOfMemory", "oom", "oom");
        check("errorRate: 30%", "create: Refused", "Refused");
        check("errorRate: 30%", "latency: {p50: 2s, p99: 1s}", "latency");
        check("path: \"${BINARY}", "path: \"${BINAR}", "BINAR");
        check("paths: [\"${BINARY}", "paths: [\"${BINAR}", "objects[0]");
        check("decision: 25s", "decision: 25", "25");
        check("timeout: 5s", "timeout: 5", "5");
        check("name: checkout", "nam: checkout", "nam");
        check("manifests:", "nodes: 0\nmanifests:", "nodes");
        check("  until:", "  node: {name: node-1}\n  until:", "state");
        check("  until:", "  apply: x.yaml\n  until:", "only one of");
        let traffic = "traffic: [{namespace: a, service: b, requestsPerSecond: -1}]\nmanifests:";
        check("manifests:", traffic, "traffic[0].requestsPerSecond");
    }
}
