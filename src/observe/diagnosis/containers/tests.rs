use serde_json::json;

use super::*;
use crate::decide::diagnosis::Finding;

/// A pod of one container that runs. Each test changes its status.
fn pod(status: &Value) -> Value {
    json!({
        "metadata": {"name": "checkout-7d9f-x2", "uid": "5eed0009"},
        "spec": {"containers": [{"name": "app", "image": "shop/checkout:2",
            "resources": {"limits": {"memory": "128Mi"}},
            "terminationMessagePolicy": "File"}]},
        "status": status,
    })
}

fn with_container(state: &Value) -> Value {
    let mut container = json!({"name": "app", "image": "", "restartCount": 3});
    for (key, value) in state.as_object().expect("a map") {
        container[key] = value.clone();
    }
    pod(&json!({"containerStatuses": [container]}))
}

#[track_caller]
fn only(found: Vec<Seen>) -> (Weight, Finding) {
    let [only] = found.try_into().expect("one finding");
    assert_eq!(only.finding.about, "pod/checkout-7d9f-x2");
    (only.weight, only.finding)
}

#[track_caller]
fn check(pod: &Value, weight: Weight, saw: &str, attempt: &str) {
    let (found, finding) = only(of(pod, None));
    assert_eq!((found, finding.saw.as_str()), (weight, saw));
    assert!(finding.attempt.contains(attempt), "{}", finding.attempt);
}

fn waiting(reason: &str, message: &str) -> Value {
    with_container(&json!({"state": {"waiting": {"reason": reason, "message": message}}}))
}

#[test]
fn a_pod_that_runs_has_nothing_wrong() {
    assert_eq!(
        of(&with_container(&json!({"state": {"running": {}}})), None),
        []
    );
    assert_eq!(of(&waiting("ContainerCreating", ""), None), []);
    assert_eq!(of(&pod(&json!({})), None), []);
    assert_eq!(of(&json!({}), None), []);
    assert_eq!(of(&json!(null), None), []);
}

#[test]
fn an_image_that_cannot_be_pulled_is_named_with_the_cause() {
    check(
        &waiting("ErrImagePull", "manifest unknown"),
        Weight::Blocks,
        "image shop/checkout:2 is not in its registry: manifest unknown",
        "push",
    );
}

#[test]
fn where_the_pod_does_not_say_why_the_event_does() {
    let back_off = waiting(
        "ImagePullBackOff",
        "Back-off pulling image \"shop/checkout:2\"",
    );
    let event = "Failed to pull image \"shop/checkout:2\": 401 Unauthorized";
    let (_, finding) = only(of(&back_off, Some(event)));
    assert!(finding.saw.contains("may not be pulled"), "{}", finding.saw);
    let said = waiting("ErrImagePull", "manifest unknown");
    let (_, finding) = only(of(&said, Some(event)));
    assert!(
        finding.saw.contains("not in its registry"),
        "{}",
        finding.saw
    );
}

#[test]
fn a_container_that_cannot_be_made_says_why() {
    check(
        &waiting(
            "CreateContainerConfigError",
            "configmap \"shop-config\" not found",
        ),
        Weight::Blocks,
        "ConfigMap \"shop-config\" does not exist",
        "create",
    );
    check(
        &waiting(
            "CreateContainerConfigError",
            "couldn't find key LOG_LEVEL in ConfigMap shop/shop-config",
        ),
        Weight::Blocks,
        "ConfigMap \"shop-config\" has no key \"LOG_LEVEL\"",
        "optional",
    );
    check(
        &waiting(
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root (pod: \"checkout-7d9f-x2_shop(5eed0009)\")",
        ),
        Weight::Blocks,
        "container \"app\" cannot be made (CreateContainerConfigError): container has runAsNonRoot and \
         image will run as root (pod: \"…_shop(…)\")",
        "runAsUser",
    );
    check(
        &waiting(
            "RunContainerError",
            "exec: \"serve\": executable file not found in $PATH",
        ),
        Weight::Blocks,
        "container \"app\" cannot be made (RunContainerError): exec: \"serve\": executable file not found \
         in $PATH",
        "command",
    );
}

#[test]
fn a_command_that_never_ran_is_told_in_the_runtimes_words() {
    let ended = json!({"reason": "StartError", "exitCode": 128, "message": "exec format error"});
    let state = json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended}});
    check(
        &with_container(&state),
        Weight::Blocks,
        "container \"app\" cannot be made (StartError): exec format error",
        "architecture",
    );
}

fn crashed(ended: &Value) -> Value {
    with_container(
        &json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended}}),
    )
}

#[test]
fn a_crash_says_how_it_ended_and_its_last_words() {
    check(
        &crashed(&json!({"exitCode": 1, "reason": "Error"})),
        Weight::Crashes,
        "container \"app\" ended with exit code 1: an error of the application",
        "kubectl logs --previous",
    );
    check(
        &crashed(&json!({"exitCode": 137, "reason": "OOMKilled"})),
        Weight::Crashes,
        "container \"app\" ran out of memory (limit 128Mi) and was killed",
        "limits.memory",
    );
    check(
        &crashed(
            &json!({"exitCode": 1, "message": "dial postgres://shop:hunter2@db: connection refused\n"}),
        ),
        Weight::Crashes,
        "\"app\" ended with exit code 1; it said: dial postgres://***@db: connection refused",
        "is up",
    );
}

#[test]
fn last_words_are_at_most_two_hundred_characters() {
    let long = "x".repeat(4096);
    let (_, finding) = only(of(&crashed(&json!({"exitCode": 1, "message": long})), None));
    let words = finding.saw.split_once("it said: ").expect("words").1;
    assert_eq!(words.chars().count(), 200);
}

#[test]
fn the_end_of_a_log_says_more_than_its_beginning() {
    let message = format!("start {} panic", "x ".repeat(300));
    let mut pod = crashed(&json!({"exitCode": 2, "message": message}));
    pod["spec"]["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    let (_, finding) = only(of(&pod, None));
    assert!(finding.saw.ends_with("panic"), "{}", finding.saw);
}

#[test]
fn a_pod_that_is_being_deleted_does_not_crash() {
    let mut ending = with_container(&json!({"state": {"terminated": {"exitCode": 143}}}));
    assert_eq!(of(&ending, None).len(), 1);
    ending["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
    assert_eq!(of(&ending, None), []);
}

#[test]
fn an_init_container_that_is_through_has_done_what_it_should() {
    let init = |code: i64| {
        pod(&json!({"initContainerStatuses":
            [{"name": "migrate", "state": {"terminated": {"exitCode": code, "reason": "Error"}}}]}))
    };
    assert_eq!(of(&init(0), None), []);
    check(
        &init(127),
        Weight::Crashes,
        "container \"migrate\" ended with exit code 127: its command does not exist in the image",
        "command",
    );
}

#[test]
fn the_scheduler_says_why_no_node_takes_a_pod() {
    let unscheduled = |message: &str, reason: &str| {
        pod(
            &json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": reason,
            "message": message}]}),
        )
    };
    for (message, attempt) in [
        ("0/3 nodes are available: 3 Insufficient cpu.", "requests"),
        ("0/3 nodes are available: 3 Too many pods.", "maxPods"),
        (
            "0/3 nodes are available: 3 node(s) had volume node affinity conflict.",
            "zone",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            "pvc",
        ),
        (
            "0/3 nodes are available: persistentvolumeclaim \"data\" not found.",
            "claim",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            "nodeSelector",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {gpu: yes}.",
            "taint",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.",
            "keep away",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't have free ports.",
            "hostPort",
        ),
        ("something new", "compare"),
    ] {
        let saw = format!("no node takes the pod: {message}");
        check(
            &unscheduled(message, "Unschedulable"),
            Weight::Blocks,
            &saw,
            attempt,
        );
    }
    check(
        &unscheduled("waiting for quota", "SchedulingGated"),
        Weight::Blocks,
        "scheduling waits for a gate: waiting for quota",
        "schedulingGates",
    );
}

#[test]
fn a_pod_that_was_evicted_says_for_what() {
    check(
        &pod(&json!({"phase": "Failed", "reason": "Evicted",
            "message": "Pod ephemeral local storage usage exceeds the total limit"})),
        Weight::Warns,
        "the pod was ended (Evicted): Pod ephemeral local storage usage exceeds the total limit",
        "ephemeral-storage",
    );
}
