//! What one pod object says.

use serde_json::json;

use super::*;

/// A pod with one container in `state`.
fn pod(container: &Value) -> Value {
    json!({
        "spec": {"nodeName": "node-a", "containers": [{"name": "app"}]},
        "status": {"phase": "Running", "containerStatuses": [container]},
    })
}

fn waiting(reason: &str) -> Value {
    let message = "Back-off pulling image \"registry.example/checkout:v9\"";
    json!({"name": "app", "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}}})
}

fn family(container: &Value) -> Option<Family> {
    status(&pod(container))
        .blocked
        .map(|blocked| blocked.family)
}

#[test]
fn images_that_cannot_be_had_are_told_from_containers_that_cannot_be_made() {
    for reason in [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
    ] {
        assert_eq!(family(&waiting(reason)), Some(Family::Image), "{reason}");
    }
    for reason in [
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    ] {
        assert_eq!(family(&waiting(reason)), Some(Family::Create), "{reason}");
    }
    for reason in [
        "ContainerCreating",
        "PodInitializing",
        "CrashLoopBackOff",
        "",
    ] {
        assert_eq!(family(&waiting(reason)), None, "{reason}");
    }
}

#[test]
fn a_command_that_does_not_exist_never_ran() {
    let mut container = waiting("CrashLoopBackOff");
    container["lastState"] = json!({"terminated": {"reason": "StartError", "exitCode": 128,
        "message": "exec: \"serve\": executable file not found in $PATH"}});
    let status = status(&pod(&container));
    assert!(!status.started);
    assert_eq!(status.blocked.expect("blocked").reason, "StartError");
    container["lastState"]["terminated"]["reason"] = json!("Error");
    assert_eq!(family(&container), None);
}

#[test]
fn init_containers_block_and_restart_too() {
    let mut object = pod(&waiting("PodInitializing"));
    object["status"]["initContainerStatuses"] = json!([
        {"name": "migrate", "restartCount": 2, "state": {"terminated": {"exitCode": 0,
            "reason": "Completed", "finishedAt": "2026-11-23T05:00:00Z"}}},
        {"name": "proxy", "restartCount": 3, "state": {"waiting": {"reason": "ErrImagePull"}}},
    ]);
    let status = status(&object);
    assert_eq!(status.restarts, 5);
    assert_eq!(status.blocked.expect("blocked").container, "proxy");
    assert_eq!(status.last_termination, None);
    assert!(!status.started);
}

#[test]
fn the_newest_ending_of_all_containers_is_told() {
    let ended = |name: &str, at: &str, how: Value| {
        let mut how = how;
        how["finishedAt"] = json!(format!("2026-11-23T05:00:0{at}Z"));
        json!({"name": name, "restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": how}})
    };
    let told = |how: Value| {
        let mut object = pod(&ended(
            "proxy",
            "1",
            json!({"reason": "Error", "exitCode": 1}),
        ));
        let statuses = object["status"]["containerStatuses"].as_array_mut();
        statuses.expect("a list").push(ended("app", "2", how));
        status(&object).last_termination
    };
    for (how, words) in [
        (
            json!({"reason": "OOMKilled", "exitCode": 137}),
            "OOMKilled (exit code 137)",
        ),
        (
            json!({"reason": "Error", "exitCode": 3}),
            "Error (exit code 3)",
        ),
        (
            json!({"reason": "Error", "exitCode": 139, "signal": 11}),
            "Error (signal 11)",
        ),
        (
            json!({"reason": "Completed", "exitCode": 0}),
            "Completed (exit code 0)",
        ),
    ] {
        assert_eq!(told(how).as_deref(), Some(words));
    }
}

#[test]
fn an_applications_last_words_are_not_taken() {
    let mut container = waiting("CrashLoopBackOff");
    container["lastState"] = json!({"terminated": {"reason": "Error", "exitCode": 1,
        "message": "cannot connect with password hunter2"}});
    let status = status(&pod(&container));
    assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
}

#[test]
fn a_long_message_is_cut_to_one_line() {
    let mut container = waiting("ErrImagePull");
    container["state"]["waiting"]["message"] = json!(format!("no\nsuch {}", "ü".repeat(1000)));
    let message = status(&pod(&container)).blocked.expect("blocked").message;
    assert!(message.starts_with("no such ü"), "{message}");
    assert_eq!(message.chars().count(), MESSAGE_MAX + 1);
}

#[test]
fn a_pod_has_started_when_every_container_ran() {
    let mut object = pod(&json!({"name": "app", "state": {"running": {}}}));
    assert!(status(&object).started);
    object["spec"]["containers"] = json!([{"name": "app"}, {"name": "proxy"}]);
    assert!(!status(&object).started);
    object["status"]["containerStatuses"] = json!([]);
    object["spec"]["containers"] = json!([]);
    assert!(!status(&object).started);
}

#[track_caller]
fn check_disrupted(change: &Value, expected: bool) {
    let mut object = pod(&waiting("ContainerCreating"));
    json_merge(&mut object["status"], change);
    assert_eq!(status(&object).disrupted, expected, "{change}");
}

fn json_merge(into: &mut Value, change: &Value) {
    for (key, value) in change.as_object().expect("an object") {
        into[key] = value.clone();
    }
}

#[test]
fn others_fault_is_told_from_its_own() {
    check_disrupted(&json!({}), false);
    for reason in [
        "Preempting",
        "NodeLost",
        "Terminated",
        "OutOfcpu",
        "Evicted",
    ] {
        check_disrupted(&json!({"phase": "Failed", "reason": reason}), true);
    }
    for reason in ["DeadlineExceeded", "Error"] {
        check_disrupted(&json!({"phase": "Failed", "reason": reason}), false);
    }
    let target = |status: &str| json!([{"type": "DisruptionTarget", "status": status}]);
    check_disrupted(&json!({"conditions": target("True")}), true);
    check_disrupted(&json!({"conditions": target("False")}), false);
}

#[test]
fn a_pod_that_took_more_disk_than_it_said_was_evicted_for_its_own_fault() {
    for message in [
        "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Gi\".",
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
        "Container app exceeded its local ephemeral storage limit \"1Gi\".",
    ] {
        check_disrupted(&json!({"reason": "Evicted", "message": message}), false);
    }
    let short = "The node was low on resource: memory.";
    check_disrupted(&json!({"reason": "Evicted", "message": short}), true);
}

#[test]
fn the_scheduler_is_quoted() {
    let mut object = pod(&waiting("ContainerCreating"));
    object["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]);
    let status = status(&object);
    let words = status.unschedulable.expect("not scheduled");
    assert_eq!(words, "0/3 nodes are available: 3 Insufficient cpu.");
}
