//! Follows what Kubernetes and Astern write, and tells it as it happens.
//!
//! It reads only what any user of the cluster can read: the Deployment, the policy, the Rollbacks
//! and Astern's Events.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    demo::{
        console::{Console, Mood, Speaker},
        workload::{Workload, tag},
    },
    scenario::look_up,
};

const COMPLETE: &str = "/status/conditions/type=Complete";

/// Follows everything about one Deployment until the tasks are dropped.
pub(super) fn follow(
    tasks: &mut JoinSet<()>,
    console: &Console,
    client: &Client,
    workload: &Workload,
) {
    let mut deployment = Rollout::new(console.clone(), workload.name.clone());
    let mut rollbacks = Rollbacks::new(console.clone(), workload.name.clone());
    let mut readings = Readings::new(console.clone(), workload.name.clone());
    let mut events = Events::new(console.clone());
    let api = |group: &str, version: &str, kind: &str| {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(client.clone(), &workload.namespace, &resource)
    };
    tasks.spawn(each(api("apps", "v1", "Deployment"), move |object| {
        deployment.see(object);
    }));
    tasks.spawn(each(
        api("astern.dev", "v1alpha1", "Rollback"),
        move |object| rollbacks.see(object),
    ));
    tasks.spawn(each(
        api("astern.dev", "v1alpha1", "RollbackPolicy"),
        move |object| readings.see(object),
    ));
    tasks.spawn(each(api("events.k8s.io", "v1", "Event"), move |object| {
        events.see(object);
    }));
}

async fn each(api: Api<DynamicObject>, mut see: impl FnMut(&Value)) {
    let mut objects = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    while let Some(seen) = objects.next().await {
        // A kind that is not served yet may come; the watch tries again by itself.
        let object = seen
            .ok()
            .and_then(|object| serde_json::to_value(object).ok());
        if let Some(object) = object {
            see(&object);
        }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    look_up(object, pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn count(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// What is told about the Deployment: how its rollout goes, and what Astern writes on it.
struct Rollout {
    console: Console,
    name: String,
    told: String,
    paused: bool,
    image: String,
    ours: bool,
}

impl Rollout {
    fn new(console: Console, name: String) -> Self {
        Self {
            console,
            name,
            told: String::new(),
            paused: false,
            image: String::new(),
            ours: false,
        }
    }

    fn see(&mut self, object: &Value) {
        if text(object, "/metadata/name") != self.name {
            return;
        }
        self.see_writes(object);
        let generation = object.pointer("/metadata/generation");
        if generation != object.pointer("/status/observedGeneration") {
            return;
        }
        let [wanted, updated, available, all] = [
            "/spec/replicas",
            "/status/updatedReplicas",
            "/status/availableReplicas",
            "/status/replicas",
        ]
        .map(|pointer| count(object, pointer));
        let image = tag(text(object, "/spec/template/spec/containers/0/image"));
        let done = updated == wanted && all == wanted && available == wanted;
        // Every pod changes the status several times; only news of the rollout is worth a line.
        let key = format!("{image} {updated} {done}");
        if key == self.told || (updated == 0 && !done) {
            return;
        }
        self.told = key;
        if done {
            let line = format!("{image} is rolled out: {wanted} of {wanted} pods available");
            self.console.say(Speaker::Kubernetes, Mood::Good, &line);
        } else {
            let old = all - updated;
            let line = format!("rolls out {image}: {updated} of {wanted} new pods, {old} old ones");
            self.console.say(Speaker::Kubernetes, Mood::Quiet, &line);
        }
    }

    fn see_writes(&mut self, object: &Value) {
        let image = tag(text(object, "/spec/template/spec/containers/0/image")).to_owned();
        let by = text(object, "/metadata/annotations/astern.dev~1rolled-back-by");
        let ours = look_up(object, "/metadata/managedFields/manager=astern").is_some();
        let paused = object.pointer("/spec/paused") == Some(&Value::Bool(true));
        let tell = |line: &str| self.console.say(Speaker::Astern, Mood::Plain, line);
        if paused && !self.paused {
            let by = text(object, "/metadata/annotations/astern.dev~1paused-by");
            tell(&format!("pauses the rollout, marked by {by}"));
        }
        if !self.image.is_empty() && image != self.image && ours {
            tell(&format!(
                "puts the template of {image} back, marked by {by}{}",
                if self.paused && !paused {
                    ", and lifts its pause"
                } else {
                    ""
                }
            ));
        } else if self.paused && !paused {
            tell("lifts its pause");
        }
        if self.ours && !ours && image == self.image {
            tell("gives the template's fields back to whoever deployed them");
        }
        (self.image, self.ours, self.paused) = (image, ours, paused);
    }
}

/// What is told about incidents: every state, with the words that `kubectl describe` shows.
struct Rollbacks {
    console: Console,
    deployment: String,
    told: HashMap<String, String>,
}

impl Rollbacks {
    fn new(console: Console, deployment: String) -> Self {
        Self {
            console,
            deployment,
            told: HashMap::new(),
        }
    }

    fn see(&mut self, object: &Value) {
        if text(object, "/spec/deployment/name") != self.deployment {
            return;
        }
        let state = text(object, &format!("{COMPLETE}/reason"));
        let message = text(object, &format!("{COMPLETE}/message"));
        if state.is_empty() {
            return;
        }
        let name = text(object, "/metadata/name").to_owned();
        let line = format!("{state}: {message}");
        if self.told.get(&name) == Some(&line) {
            return;
        }
        if !self.told.contains_key(&name) {
            self.introduce(&name, object);
        }
        let mood = match state {
            "Recovered" => Mood::Good,
            "NotRecovered" | "Failed" => Mood::Bad,
            _ => Mood::Plain,
        };
        self.console.say(Speaker::Astern, mood, &line);
        self.told.insert(name, line);
    }

    fn introduce(&self, name: &str, object: &Value) {
        let [from, to] = ["from", "to"].map(|side| {
            let image = tag(text(object, &format!("/status/{side}/images/0")));
            format!(
                "{} ({image})",
                text(object, &format!("/status/{side}/short"))
            )
        });
        let mode = text(object, "/status/mode");
        let mut line = format!("opens rollback {name}: from {from} to {to}, mode {mode}");
        let caps = object.pointer("/status/caps").and_then(Value::as_array);
        for cap in caps.into_iter().flatten().filter_map(Value::as_str) {
            line.push_str(", since ");
            line.push_str(cap);
        }
        self.console.say(Speaker::Astern, Mood::Plain, &line);
    }
}

/// What is told about the policy: what each trigger reads, whenever that changes.
struct Readings {
    console: Console,
    deployment: String,
    told: BTreeMap<String, String>,
    standing: String,
}

impl Readings {
    fn new(console: Console, deployment: String) -> Self {
        Self {
            console,
            deployment,
            told: BTreeMap::new(),
            standing: String::new(),
        }
    }

    fn see(&mut self, object: &Value) {
        let target = format!("/status/targets/name={}", self.deployment);
        let Some(target) = look_up(object, &target) else {
            return;
        };
        let guards = text(object, "/status/guards");
        let standing = format!(
            "says of {}: {}; {guards} triggers have data",
            self.deployment,
            text(target, "/reason")
        );
        let readings = target.pointer("/readings").and_then(Value::as_array);
        if standing != self.standing {
            self.tell(&standing);
            self.standing = standing;
        }
        for reading in readings.into_iter().flatten() {
            let trigger = text(reading, "/trigger").to_owned();
            let line = words(text(reading, "/reading"), text(reading, "/message"));
            if self.told.get(&trigger) != Some(&line) {
                self.tell(&format!("reads {trigger}: {line}"));
                self.told.insert(trigger, line);
            }
        }
    }

    fn tell(&self, line: &str) {
        self.console.say(Speaker::Astern, Mood::Quiet, line);
    }
}

/// The message repeats what `Passing` says already.
fn words(reading: &str, message: &str) -> String {
    if reading == "Passing" || message.is_empty() {
        reading.to_owned()
    } else {
        format!("{reading} ({message})")
    }
}

/// Astern's Events that are not about an incident, whose states are told already.
struct Events {
    console: Console,
    told: HashSet<String>,
}

impl Events {
    fn new(console: Console) -> Self {
        Self {
            console,
            told: HashSet::new(),
        }
    }

    fn see(&mut self, object: &Value) {
        let incident = object
            .pointer("/related")
            .is_some_and(|related| !related.is_null());
        let ours = text(object, "/reportingController") == "astern.dev/operator";
        let name = text(object, "/metadata/name").to_owned();
        if ours && !incident && self.told.insert(name) {
            let mood = if text(object, "/type") == "Warning" {
                Mood::Bad
            } else {
                Mood::Good
            };
            let line = format!("{}: {}", text(object, "/reason"), text(object, "/note"));
            self.console.say(Speaker::Astern, mood, &line);
        }
    }
}
