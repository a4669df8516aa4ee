//! What one pod object says is wrong with it.

use serde_json::Value;

use super::endings::{ending, told_by};
use super::images::{image, says_why};
use super::missing::missing;
use super::words::{last_words, said};
use super::{Seen, finding};
use crate::api::record::text;
use crate::decide::diagnosis::Weight;
use crate::observe::looks::each;

/// Characters of what the kubelet or the runtime said.
const SAID_MAX: usize = 180;

/// Returns what is wrong with `pod`. `pull` is what an Event said about pulling an image for it.
pub(super) fn of(pod: &Value, pull: Option<&str>) -> Vec<Seen> {
    let Some(name) = text(pod, "/metadata/name") else {
        return Vec::new();
    };
    let pod = Pod {
        object: pod,
        about: format!("pod/{name}"),
        names: [name, text(pod, "/metadata/uid").unwrap_or_default()],
        pull,
    };
    let paths = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = paths.iter().flat_map(|path| each(pod.object, path));
    let containers = statuses.filter_map(|status| pod.container(status));
    containers
        .chain(pod.unscheduled())
        .chain(pod.ended())
        .collect()
}

struct Pod<'a> {
    object: &'a Value,
    about: String,
    /// What its messages name, different for each pod.
    names: [&'a str; 2],
    pull: Option<&'a str>,
}

impl Pod<'_> {
    fn container(&self, status: &Value) -> Option<Seen> {
        let waiting = text(status, "/state/waiting/reason");
        let message = text(status, "/state/waiting/message").unwrap_or_default();
        match waiting {
            Some(
                "ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "ImageInspectError"
                | "RegistryUnavailable"
                | "SignatureValidationFailed",
            ) => Some(self.image(status, waiting.unwrap_or_default(), message)),
            Some(
                reason @ ("CreateContainerConfigError"
                | "CreateContainerError"
                | "CreatePodSandboxError"
                | "ConfigPodSandboxError"
                | "PreCreateHookError"
                | "PreStartHookError"
                | "PostStartHookError"
                | "RunContainerError"),
            ) => Some(self.create(status, reason, message)),
            Some(_) | None => self.crash(status),
        }
    }

    fn image(&self, status: &Value, reason: &str, message: &str) -> Seen {
        let message = match self.pull {
            Some(pull) if !says_why(message) => pull,
            _ => message,
        };
        let name = text(status, "/image").unwrap_or_default();
        // Where nothing was pulled, the runtime knows no image; the template does.
        let spec = self.spec(status).and_then(|spec| text(spec, "/image"));
        image(
            &self.about,
            spec.unwrap_or(name),
            (reason, message),
            &self.names,
        )
    }

    fn create(&self, status: &Value, reason: &str, message: &str) -> Seen {
        if let Some(missing) = missing(message) {
            return missing.finding(&self.about);
        }
        let container = text(status, "/name").unwrap_or_default();
        let said = said(message, &self.names, SAID_MAX);
        let saw = format!("container {container:?} cannot be made ({reason}): {said}");
        let attempt = create_attempt(message).to_owned();
        let key = format!("create/{container}/{attempt}");
        finding(Weight::Blocks, &key, &self.about, (saw, attempt))
    }

    /// An end that nothing came back from, or one that it came back from.
    fn crash(&self, status: &Value) -> Option<Seen> {
        // Whoever is deleted ends, however well it is.
        let deleting = self.object.pointer("/metadata/deletionTimestamp").is_some();
        let now = status
            .pointer("/state/terminated")
            .filter(|ended| !deleting && ended.get("exitCode").and_then(Value::as_i64) != Some(0));
        let before = status.pointer("/lastState/terminated");
        let ended = now.or(before)?;
        let container = text(status, "/name").unwrap_or_default();
        let message = text(ended, "/message").unwrap_or_default();
        let reason = text(ended, "/reason").unwrap_or_default();
        if ["StartError", "ContainerCannotRun"].contains(&reason) {
            // The runtime's own words: an application that never ran has written none.
            return Some(self.create(status, reason, message));
        }
        let spec = self.spec(status);
        let limit = spec.and_then(|spec| text(spec, "/resources/limits/memory"));
        let end = ending(ended, limit);
        let policy = spec.and_then(|spec| text(spec, "/terminationMessagePolicy"));
        let words = last_words(message, policy == Some("FallbackToLogsOnError"));
        let key = format!("ended/{container}/{}", end.kind);
        let attempt = told_by(&words).map_or(end.attempt, str::to_owned);
        let saw = if words.is_empty() {
            format!("container {container:?} {}", end.what)
        } else {
            // So short that the words fit whole.
            format!("{container:?} {}; it said: {words}", short(&end.what))
        };
        Some(finding(Weight::Crashes, &key, &self.about, (saw, attempt)))
    }

    fn spec(&self, status: &Value) -> Option<&Value> {
        let name = text(status, "/name")?;
        let paths = ["/spec/containers", "/spec/initContainers"];
        let mut containers = paths.iter().flat_map(|path| each(self.object, path));
        containers.find(|container| text(container, "/name") == Some(name))
    }

    fn unscheduled(&self) -> Option<Seen> {
        let mut conditions = each(self.object, "/status/conditions");
        let condition = conditions.find(|condition| {
            text(condition, "/type") == Some("PodScheduled")
                && text(condition, "/status") == Some("False")
        })?;
        let message = text(condition, "/message").unwrap_or_default();
        match text(condition, "/reason") {
            Some("SchedulingGated") => Some(finding(
                Weight::Blocks,
                "gated",
                &self.about,
                (
                    format!("scheduling waits for a gate: {message}"),
                    "ask the controller that set spec.schedulingGates why it has not removed them"
                        .to_owned(),
                ),
            )),
            _ => Some(unschedulable(&self.about, message)),
        }
    }

    /// A whole pod that was ended: its containers say nothing of it.
    fn ended(&self) -> Option<Seen> {
        let reason = text(self.object, "/status/reason")?;
        let message = text(self.object, "/status/message").unwrap_or_default();
        let said = said(message, &self.names, SAID_MAX);
        let attempt = match reason {
            "Evicted" => {
                "set requests and limits for what the message names, ephemeral-storage and memory first"
            }
            "DeadlineExceeded" => "remove activeDeadlineSeconds from the template",
            _ => "kubectl describe node shows what befell the pod's node",
        };
        Some(finding(
            Weight::Warns,
            &format!("pod/{reason}"),
            &self.about,
            (
                format!("the pod was ended ({reason}): {said}"),
                attempt.to_owned(),
            ),
        ))
    }
}

fn short(what: &str) -> &str {
    what.split_once(": ").map_or(what, |(code, _)| code)
}

/// Returns that the scheduler found no node.
pub(super) fn unschedulable(about: &str, message: &str) -> Seen {
    let saw = format!("no node takes the pod: {}", said(message, &[], SAID_MAX));
    let attempt = scheduling_attempt(message).to_owned();
    // The counts of nodes change from one try to the next.
    let key = format!("unschedulable/{attempt}");
    finding(Weight::Blocks, &key, about, (saw, attempt))
}

/// What the plugins of the scheduler say (`pkg/scheduler/framework/plugins`).
fn scheduling_attempt(message: &str) -> &'static str {
    const TOLD_BY: [(&str, &str); 9] = [
        (
            "Insufficient",
            "lower the pods' requests, or add nodes; old pods make room where maxSurge is 0",
        ),
        ("Too many pods", "add nodes, or raise the kubelet's maxPods"),
        (
            "volume node affinity conflict",
            "its volume lies in another zone than the nodes with room; add a node there",
        ),
        (
            "unbound immediate PersistentVolumeClaims",
            "kubectl describe pvc shows why no volume is bound",
        ),
        (
            "persistentvolumeclaim",
            "create the claim that the template names",
        ),
        (
            "didn't match Pod's node affinity/selector",
            "correct nodeSelector or node affinity in the template, or label nodes",
        ),
        (
            "untolerated taint",
            "tolerate the taint in the template, or add nodes without it",
        ),
        (
            "anti-affinity",
            "pods keep away from each other: add nodes, or make the rule a preference",
        ),
        (
            "free ports",
            "a hostPort is taken on every node: drop it, or let old pods go first (maxSurge: 0)",
        ),
    ];
    let told = TOLD_BY.iter().find(|(told, _)| message.contains(told));
    told.map_or(
        "compare requests, affinity and tolerations with the revision before",
        |(_, attempt)| attempt,
    )
}

fn create_attempt(message: &str) -> &'static str {
    const TOLD_BY: [(&str, &str); 6] = [
        (
            "runAsNonRoot",
            "set runAsUser to a number other than 0, or build the image with a numeric USER",
        ),
        (
            "non-numeric user",
            "set runAsUser to a number, or build the image with a numeric USER",
        ),
        (
            "exec format error",
            "build the image for the nodes' architecture, or choose nodes with a nodeSelector on \
             kubernetes.io/arch",
        ),
        (
            "executable file not found",
            "check command and args, and that the image still holds the program",
        ),
        (
            "no such file or directory",
            "check command, args and mount paths against what the image holds",
        ),
        (
            "permission denied",
            "make the program executable in the image, and check securityContext",
        ),
    ];
    let told = TOLD_BY.iter().find(|(told, _)| message.contains(told));
    told.map_or(
        "kubectl describe pod shows the whole message of the runtime",
        |(_, attempt)| attempt,
    )
}

#[cfg(test)]
mod tests;
