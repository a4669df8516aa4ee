//! One pod object cut down to facts; what they mean for its revision is not said here.
//!
//! Only reasons and the kubelet's and the scheduler's own words are taken. What an application writes
//! as its last words (`terminated.message`) is left out: it may hold anything.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::record::{text, time};

/// Enough for an image's name and what the registry said; the rest is for `kubectl describe`.
const MESSAGE_MAX: usize = 300;

/// Reasons are single words; one that is not came from a broken writer.
const REASON_MAX: usize = 64;

/// What one version of a pod object says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Status {
    pub(super) node: Option<String>,
    /// Neither finished nor being deleted: its ReplicaSet counts on it.
    pub(super) active: bool,
    /// Something took it away, or is about to, that has nothing to do with what it runs.
    pub(super) disrupted: bool,
    /// Of all containers together, those that run before the others included.
    pub(super) restarts: u32,
    pub(super) last_termination: Option<String>,
    pub(super) blocked: Option<Blocked>,
    pub(super) ready: Option<Timestamp>,
    /// Every container besides the init containers has run once.
    pub(super) started: bool,
    pub(super) unschedulable: Option<String>,
}

/// A container that cannot be started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blocked {
    pub(super) family: Family,
    pub(super) container: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Reasons between which the kubelet changes while the cause stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// The image cannot be had.
    Image,
    /// The container cannot be made from it.
    Create,
}

impl Family {
    /// As the kubelet spells them (`pkg/kubelet/images/types.go`, `kuberuntime_container.go`). A
    /// container that starts and ends at once is another matter: it restarts.
    fn of(reason: &str) -> Option<Self> {
        match reason {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => Some(Self::Image),
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "CreatePodSandboxError"
            | "ConfigPodSandboxError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "RunContainerError" => Some(Self::Create),
            _ => None,
        }
    }
}

/// Why a container ended that never ran: its command does not exist, or may not be run.
const NEVER_RAN: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// Why the kubelet or the cluster ended a whole pod. `Evicted` is told apart by [`is_evicted`].
const ENDED_BY_OTHERS: [&str; 7] = [
    "Preempting",
    "NodeLost",
    "NodeShutdown",
    "Shutdown",
    "Terminated",
    "NodeAffinity",
    "UnexpectedAdmissionError",
];

/// `OutOfcpu` and its like: the scheduler gave a node more than it had room for.
const NO_ROOM: &str = "OutOf";

/// Reads what `object`, a pod, says.
pub(super) fn status(object: &Value) -> Status {
    let containers = || each(object, "/status/containerStatuses");
    let before = || each(object, "/status/initContainerStatuses");
    let all = || before().chain(containers());
    let finished = matches!(text(object, "/status/phase"), Some("Failed" | "Succeeded"));
    let deleting = object.pointer("/metadata/deletionTimestamp").is_some();
    let asked_for = each(object, "/spec/containers").count();
    let ready = condition(object, "Ready").filter(|ready| is_true(ready));
    Status {
        node: text(object, "/spec/nodeName").map(str::to_owned),
        active: !finished && !deleting,
        disrupted: is_disrupted(object),
        restarts: restarts(all()),
        last_termination: last_termination(all()),
        blocked: all().find_map(blocked),
        ready: ready.and_then(|ready| time(ready, "/lastTransitionTime")),
        started: containers().count() >= asked_for.max(1) && containers().all(has_run),
        unschedulable: condition(object, "PodScheduled")
            .filter(|scheduled| text(scheduled, "/reason") == Some("Unschedulable"))
            .map(|scheduled| words(scheduled, "/message")),
    }
}

fn each<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    let list = object.pointer(path).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    each(object, "/status/conditions").find(|condition| text(condition, "/type") == Some(name))
}

fn is_true(condition: &Value) -> bool {
    text(condition, "/status") == Some("True")
}

fn is_disrupted(object: &Value) -> bool {
    let reason = text(object, "/status/reason").unwrap_or_default();
    condition(object, "DisruptionTarget").is_some_and(is_true)
        || ENDED_BY_OTHERS.contains(&reason)
        || reason.starts_with(NO_ROOM)
        || is_evicted(object)
}

/// The kubelet evicts for want of room on its node, which it marks with a condition as well, and where
/// a pod took more disk than it said itself, which it does not (`eviction_manager.go`). For that the
/// revision answers. Only the words tell an eviction by a kubelet that knows no such condition.
fn is_evicted(object: &Value) -> bool {
    let message = text(object, "/status/message").unwrap_or_default();
    let own_limit = message.contains("exceeds the") || message.contains("exceeded its");
    text(object, "/status/reason") == Some("Evicted") && !own_limit
}

fn restarts<'a>(statuses: impl Iterator<Item = &'a Value>) -> u32 {
    let sum: u64 = statuses
        .filter_map(|status| status.get("restartCount")?.as_u64())
        .fold(0, u64::saturating_add);
    u32::try_from(sum).unwrap_or(u32::MAX)
}

/// Returns how a container ended last, in words such as `OOMKilled (exit code 137)`.
fn last_termination<'a>(statuses: impl Iterator<Item = &'a Value>) -> Option<String> {
    let endings = statuses.flat_map(|status| {
        let before = status.pointer("/lastState/terminated");
        // An init container that is through has done what it should.
        let now = status
            .pointer("/state/terminated")
            .filter(|ending| exit_code(ending) != Some(0));
        before.into_iter().chain(now)
    });
    let newest = endings.max_by_key(|ending| time(ending, "/finishedAt"))?;
    let reason: String = text(newest, "/reason")
        .unwrap_or("Error")
        .chars()
        .take(REASON_MAX)
        .collect();
    let signal = newest.get("signal").and_then(Value::as_i64);
    match (signal.filter(|signal| *signal != 0), exit_code(newest)) {
        (Some(signal), _) => Some(format!("{reason} (signal {signal})")),
        (None, Some(code)) => Some(format!("{reason} (exit code {code})")),
        (None, None) => Some(reason),
    }
}

fn exit_code(ending: &Value) -> Option<i64> {
    ending.get("exitCode")?.as_i64()
}

fn blocked(status: &Value) -> Option<Blocked> {
    let reason = text(status, "/state/waiting/reason")?;
    let container = text(status, "/name").unwrap_or_default().to_owned();
    if let Some(family) = Family::of(reason) {
        return Some(Blocked {
            family,
            container,
            reason: reason.chars().take(REASON_MAX).collect(),
            message: words(status, "/state/waiting/message"),
        });
    }
    // It is tried again and again, and has never run.
    let ended = text(status, "/lastState/terminated/reason")?;
    NEVER_RAN.contains(&ended).then(|| Blocked {
        family: Family::Create,
        container,
        reason: ended.to_owned(),
        // The runtime's own words: an application that never ran has written none.
        message: words(status, "/lastState/terminated/message"),
    })
}

fn has_run(status: &Value) -> bool {
    let ended = |path: &str| {
        status.pointer(path).is_some_and(|ending| {
            let reason = text(ending, "/reason").unwrap_or_default();
            !NEVER_RAN.contains(&reason)
        })
    };
    status.pointer("/state/running").is_some()
        || ended("/state/terminated")
        || ended("/lastState/terminated")
}

/// Returns the text at `path` on one line, cut.
fn words(object: &Value, path: &str) -> String {
    cut(text(object, path).unwrap_or_default(), MESSAGE_MAX)
}

/// Returns `message` on one line and at most `limit` characters long.
pub(crate) fn cut(message: &str, limit: usize) -> String {
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(limit) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
