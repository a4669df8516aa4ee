//! What the warnings of Kubernetes mean for a workload.

use super::containers::unschedulable;
use super::events::Warning;
use super::images::image;
use super::missing::missing;
use super::refusals::{Refuser, refusal};
use super::words::said;
use super::{Seen, finding};
use crate::decide::diagnosis::Weight;

/// Characters of what a component said.
const SAID_MAX: usize = 180;

/// Returns what `warning` means; `None` where another object says it better.
pub(super) fn of(warning: &Warning) -> Option<Seen> {
    let Warning {
        kind,
        name,
        reason,
        note,
        ..
    } = warning;
    let about = format!("{kind}/{name}");
    match reason.as_str() {
        "Unhealthy" => Some(probe(&about, warning)),
        "FailedScheduling" => Some(unschedulable(&about, note)),
        "FailedCreate" | "ReplicaSetCreateError" => Some(refusal(&about, note, &[name], "")),
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => {
            Some(missing(note).map_or_else(
                || volume(&about, warning),
                |missing| missing.finding(&about),
            ))
        }
        "Failed" => failed(&about, warning),
        // Said again while something else fails, and by the pods themselves.
        "BackOff" | "InspectFailed" | "ErrImageNeverPull" | "FailedSync" | "ProbeWarning" => None,
        _ if Refuser::of(note) == Refuser::Rbac => Some(refusal(&about, note, &[name], "")),
        _ => Some(other(&about, warning)),
    }
}

/// Returns what was said about pulling an image for a pod.
pub(super) fn pull(warning: &Warning) -> Option<&str> {
    let is_pull = warning.reason == "Failed" && warning.note.starts_with(PULL);
    is_pull.then_some(warning.note.as_str())
}

/// As the kubelet begins it (`pkg/kubelet/images/image_manager.go`); the image follows in quotes.
const PULL: &str = "Failed to pull image \"";

fn failed(about: &str, warning: &Warning) -> Option<Seen> {
    let note = &warning.note;
    if let Some(rest) = note.strip_prefix(PULL) {
        let (name, said) = rest.split_once("\": ")?;
        return Some(image(about, name, ("ErrImagePull", said), &[&warning.name]));
    }
    // Anything else is in the pod's status, and better.
    missing(note).map(|missing| missing.finding(about))
}

/// `Readiness probe failed: …`, `Liveness probe errored …: …`.
fn probe(about: &str, warning: &Warning) -> Seen {
    let Warning {
        name,
        container,
        note,
        count,
        ..
    } = warning;
    let probe = note.split_whitespace().next().unwrap_or_default();
    let said = note
        .split_once(": ")
        .map_or(note.as_str(), |(_, said)| said);
    let times = if *count == 1 { "once" } else { "repeatedly" };
    let words = self::said(said, &[name], SAID_MAX);
    let saw = format!("{probe} probe of container {container:?} failed {times}: {words}");
    let key = format!("probe/{container}/{probe}");
    finding(
        Weight::Fails,
        &key,
        about,
        (saw, probe_attempt(probe, said).to_owned()),
    )
}

fn probe_attempt(probe: &str, said: &str) -> &'static str {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["statuscode: 404"]) {
        return "the path of the probe is not served: correct it, or serve it again";
    }
    if has(&["statuscode: 401", "statuscode: 403"]) {
        return "the path of the probe asks for credentials: leave it open to the kubelet";
    }
    if has(&["statuscode: 5"]) {
        return "the application says that it is not well: its logs tell what it waits for";
    }
    if has(&["connection refused"]) {
        return "nothing listens on the probe's port: correct the port, or let it start in time with a \
                startupProbe";
    }
    if has(&["timeout", "deadline exceeded", "timed out"]) {
        return "it answers too slowly: compare its start and load with the revision before, or raise \
                timeoutSeconds";
    }
    match probe {
        "Startup" => "it takes longer to start than failureThreshold times periodSeconds",
        "Liveness" => {
            "it stopped answering; a liveness probe that is too strict restarts healthy pods"
        }
        _ => "kubectl logs tells what it waits for",
    }
}

fn volume(about: &str, warning: &Warning) -> Seen {
    let words = said(&warning.note, &[&warning.name], SAID_MAX);
    let attempt = if warning.note.contains("Multi-Attach") {
        "the volume is still attached for an old pod: a ReadWriteOnce volume cannot roll, use Recreate"
    } else {
        "kubectl describe pvc shows the volume; check its claim, its class and the driver on the node"
    };
    let reason = &warning.reason;
    finding(
        Weight::Blocks,
        &format!("volume/{reason}"),
        about,
        (format!("{reason}: {words}"), attempt.to_owned()),
    )
}

fn other(about: &str, warning: &Warning) -> Seen {
    let Warning {
        kind,
        name,
        reason,
        note,
        ..
    } = warning;
    let attempt = match reason.as_str() {
        "FailedCreatePodSandBox" | "NetworkNotReady" => {
            "the node's network add-on does not work: kubectl get pods -A shows whether it runs there"
                .to_owned()
        }
        "FailedPostStartHook" | "FailedPreStopHook" => {
            "check the command of the lifecycle hook in the template".to_owned()
        }
        "Evicted" | "Preempting" => {
            "set requests for what the message names, or a higher priority".to_owned()
        }
        _ => format!("kubectl describe {kind} {name}"),
    };
    let words = said(note, &[name], SAID_MAX);
    finding(
        Weight::Warns,
        &format!("event/{reason}"),
        about,
        (format!("{reason}: {words}"), attempt),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(reason: &str, note: &str) -> Warning {
        Warning {
            kind: "pod".to_owned(),
            name: "checkout-7d9f-x2".to_owned(),
            container: "app".to_owned(),
            reason: reason.to_owned(),
            note: note.to_owned(),
            count: 2,
            ..Warning::default()
        }
    }

    #[track_caller]
    fn check(reason: &str, note: &str, weight: Weight, saw: &str, attempt: &str) {
        let found = of(&warning(reason, note)).expect("a finding");
        assert_eq!(found.weight, weight, "{note}");
        assert_eq!(found.finding.about, "pod/checkout-7d9f-x2");
        assert_eq!(found.finding.saw, saw);
        assert!(
            found.finding.attempt.contains(attempt),
            "{}",
            found.finding.attempt
        );
    }

    #[test]
    fn a_failing_probe_says_which_it_is_and_what_it_said() {
        check(
            "Unhealthy",
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
            Weight::Fails,
            "Readiness probe of container \"app\" failed repeatedly: HTTP probe failed with statuscode: \
             503",
            "not well",
        );
        for (note, attempt) in [
            (
                "Liveness probe failed: HTTP probe failed with statuscode: 404",
                "not served",
            ),
            (
                "Startup probe failed: dial tcp 10.0.0.1:8080: connect: connection refused",
                "port",
            ),
            (
                "Liveness probe failed: context deadline exceeded",
                "too slowly",
            ),
            ("Startup probe failed: cat: /tmp/ready", "takes longer"),
            (
                "Readiness probe errored and resulted in unknown state: rpc",
                "kubectl logs",
            ),
            (
                "Liveness probe failed: HTTP probe failed with statuscode: 401",
                "credentials",
            ),
        ] {
            let found = of(&warning("Unhealthy", note)).expect("a finding");
            assert!(found.finding.attempt.contains(attempt), "{note}");
        }
    }

    #[test]
    fn warnings_of_kubernetes_say_what_to_try() {
        check(
            "FailedScheduling",
            "0/3 nodes are available: 3 Insufficient cpu.",
            Weight::Blocks,
            "no node takes the pod: 0/3 nodes are available: 3 Insufficient cpu.",
            "requests",
        );
        check(
            "FailedMount",
            "MountVolume.SetUp failed for volume \"c\" : configmap \"shop-config\" not found",
            Weight::Blocks,
            "ConfigMap \"shop-config\" does not exist",
            "create",
        );
        check(
            "FailedAttachVolume",
            "Multi-Attach error for volume \"pvc-1\"",
            Weight::Blocks,
            "FailedAttachVolume: Multi-Attach error for volume \"pvc-1\"",
            "Recreate",
        );
        check(
            "FailedCreate",
            "Error creating: pods \"checkout-7d9f-\" is forbidden: violates PodSecurity \"x\"",
            Weight::Blocks,
            "the namespace's Pod Security level lets no pod be made: Error creating: pods \
             \"checkout-7d9f-\" is forbidden: violates PodSecurity \"x\"",
            "securityContext",
        );
        check(
            "Failed",
            "Failed to pull image \"shop/checkout:2\": not found",
            Weight::Blocks,
            "image shop/checkout:2 is not in its registry: not found",
            "push",
        );
        check(
            "SomethingNew",
            "it happened to checkout-7d9f-x2",
            Weight::Warns,
            "SomethingNew: it happened to …",
            "kubectl describe pod checkout-7d9f-x2",
        );
        check(
            "FailedSomehow",
            "services is forbidden: User \"system:serviceaccount:shop:x\" cannot list",
            Weight::Blocks,
            "a right is missing: services is forbidden: User \"system:serviceaccount:shop:x\" cannot list",
            "RoleBinding",
        );
    }

    #[test]
    fn what_the_pods_say_better_is_left_to_them() {
        for (reason, note) in [
            ("BackOff", "Back-off restarting failed container"),
            ("Failed", "Error: ImagePullBackOff"),
            ("FailedSync", "error determining status"),
        ] {
            assert_eq!(of(&warning(reason, note)), None);
        }
    }

    #[test]
    fn only_a_failed_pull_tells_of_pulling() {
        let note = "Failed to pull image \"a:1\": denied";
        assert_eq!(pull(&warning("Failed", note)), Some(note));
        assert_eq!(pull(&warning("Failed", "Error: ErrImagePull")), None);
        assert_eq!(pull(&warning("BackOff", note)), None);
    }
}
