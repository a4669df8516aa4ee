//! The status of a pod, as a node writes it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    behaviour::image_id,
    clock::now,
    node::state::{ContainerState, Ended, Now, Pod},
};

/// Why a pod was evicted.
pub(crate) const EVICTED: &str = "The node was low on resource: memory. ";

/// Renders the status of one pod again and again, and keeps when each condition last changed.
#[derive(Debug)]
pub(crate) struct StatusPage {
    containers_ready: (bool, Timestamp),
    ready: (bool, Timestamp),
}

impl StatusPage {
    pub(crate) fn of(pod: &Pod) -> Self {
        Self {
            containers_ready: (false, pod.accepted),
            ready: (false, pod.accepted),
        }
    }

    /// Returns the status as it is now.
    ///
    /// The scheduler's conditions are left out: the patch merges conditions by type.
    pub(crate) fn render(&mut self, pod: &Pod) -> Value {
        let states: Vec<ContainerState> = (0..pod.containers.len())
            .map(|index| pod.state(index))
            .collect();
        let runs = |state: &ContainerState| matches!(state.now, Now::Running { .. });
        let evicted = pod.evicted.get();
        let phase = if evicted.is_some() && !states.iter().any(runs) {
            "Failed"
        } else {
            phase(&states, &pod.manifest.spec.restart_policy)
        };
        let all_ready = states.iter().all(|state| state.ready);
        turn(&mut self.containers_ready, all_ready);
        turn(&mut self.ready, all_ready);

        let why_not = if matches!(phase, "Succeeded" | "Failed") {
            let reason = if phase == "Succeeded" {
                "PodCompleted"
            } else {
                "PodFailed"
            };
            json!({"reason": reason, "message": null})
        } else if all_ready {
            json!({"reason": null, "message": null})
        } else {
            json!({"reason": "ContainersNotReady", "message": unready(pod, &states)})
        };
        let started = pod.accepted;
        let mounted = pod.mounted.get();
        let mounted = (mounted.is_some(), mounted.copied().unwrap_or(started));
        let condition = |kind: &str, (holds, since): (bool, Timestamp), why: &Value| {
            let mut condition = json!({
                "type": kind,
                "status": if holds { "True" } else { "False" },
                "lastProbeTime": null,
                "lastTransitionTime": time(since),
            });
            for field in ["reason", "message"] {
                if let Some(value) = why.get(field) {
                    condition[field] = value.clone();
                }
            }
            condition
        };
        let plain = json!({});
        let mut page = json!({
            "phase": phase,
            "hostIP": pod.node_address.to_string(),
            "hostIPs": [{"ip": pod.node_address.to_string()}],
            "startTime": time(started),
            "conditions": [
                condition("PodReadyToStartContainers", mounted, &plain),
                condition("Initialized", (true, started), &plain),
                condition("Ready", self.ready, &why_not),
                condition("ContainersReady", self.containers_ready, &why_not),
            ],
            "initContainerStatuses": init_statuses(pod),
            "containerStatuses": (0..states.len())
                .map(|index| container_status(pod, index, &states[index]))
                .collect::<Vec<_>>(),
        });
        if mounted.0 {
            page["podIP"] = json!(pod.address.to_string());
            page["podIPs"] = json!([{"ip": pod.address.to_string()}]);
        }
        if let Some(at) = evicted {
            disrupt(&mut page, *at);
        }
        page
    }

    /// Returns what the control plane writes about a pod when nobody hears from its node any more.
    pub(crate) fn given_up(&mut self) -> Value {
        turn(&mut self.ready, false);
        json!({"conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": time(self.ready.1)},
        ]})
    }
}

/// Adds what kubelet writes about a pod that it evicted.
fn disrupt(status: &mut Value, at: Timestamp) {
    status["reason"] = json!("Evicted");
    status["message"] = json!(EVICTED);
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
        "message": EVICTED, "lastProbeTime": null, "lastTransitionTime": time(at),
    });
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.push(condition);
    }
}

/// Sets a condition; its time moves only if it turns.
fn turn(condition: &mut (bool, Timestamp), holds: bool) {
    if condition.0 != holds {
        *condition = (holds, now());
    }
}

/// Whole seconds, as the API server keeps them.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn unready(pod: &Pod, states: &[ContainerState]) -> String {
    let names: Vec<&str> = states
        .iter()
        .enumerate()
        .filter(|(_, state)| !state.ready)
        .map(|(index, _)| pod.container(index).name.as_str())
        .collect();
    format!("containers with unready status: [{}]", names.join(" "))
}

fn phase(states: &[ContainerState], restart_policy: &str) -> &'static str {
    let exit_codes: Option<Vec<i32>> = states
        .iter()
        .map(|state| match &state.now {
            Now::Ended(ended) => Some(ended.exit.code),
            Now::Waiting { .. } | Now::Running { .. } => None,
        })
        .collect();
    if let Some(exit_codes) = exit_codes {
        let well = exit_codes.iter().all(|code| *code == 0);
        match restart_policy {
            "Never" | "OnFailure" if well => return "Succeeded",
            "Never" => return "Failed",
            // Whatever else has ended starts again.
            _ => {}
        }
    }
    let never_ran = states
        .iter()
        .any(|state| matches!(state.now, Now::Waiting { .. }) && state.last.is_none());
    if never_ran { "Pending" } else { "Running" }
}

fn init_statuses(pod: &Pod) -> Vec<Value> {
    let at = time(pod.accepted);
    pod.manifest
        .spec
        .init_containers
        .iter()
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": image_id(&container.image),
                "ready": true,
                "started": false,
                "restartCount": 0,
                "lastState": {},
                "state": {"terminated": {
                    "exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at,
                }},
            })
        })
        .collect()
}

fn container_status(pod: &Pod, index: usize, state: &ContainerState) -> Value {
    let container = pod.container(index);
    let id = |restarts: u32| format!("simulated://{}/{}/{restarts}", pod.uid, container.name);
    let never_ran = matches!(state.now, Now::Waiting { .. }) && state.last.is_none();
    let terminated = |ended: &Ended, restarts: u32| {
        json!({"terminated": {
            "exitCode": ended.exit.code,
            "reason": ended.reason(),
            "startedAt": time(ended.started),
            "finishedAt": time(ended.finished),
            "containerID": id(restarts),
        }})
    };
    let now = match &state.now {
        Now::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        Now::Running { since } => json!({"running": {"startedAt": time(*since)}}),
        Now::Ended(ended) => terminated(ended, state.restarts),
    };
    let last = match &state.last {
        Some(ended) => terminated(ended, state.restarts.saturating_sub(1)),
        None => json!({}),
    };
    json!({
        "name": container.name,
        "image": container.image,
        "imageID": if never_ran { String::new() } else { image_id(&container.image) },
        "containerID": if never_ran { String::new() } else { id(state.restarts) },
        "ready": state.ready,
        "started": state.started,
        "restartCount": state.restarts,
        "state": now,
        "lastState": last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(now: Now, last: Option<i32>) -> ContainerState {
        ContainerState {
            now,
            last: last.map(ended),
            ..ContainerState::default()
        }
    }

    fn ended(exit_code: i32) -> Ended {
        let at = Timestamp::UNIX_EPOCH;
        Ended {
            exit: exit_code.into(),
            started: at,
            finished: at,
        }
    }

    fn waiting(last: Option<i32>) -> ContainerState {
        let now = Now::Waiting {
            reason: "CrashLoopBackOff",
            message: None,
        };
        state(now, last)
    }

    fn running() -> ContainerState {
        let since = Timestamp::UNIX_EPOCH;
        state(Now::Running { since }, None)
    }

    #[test]
    fn a_pod_is_pending_until_each_container_has_run() {
        assert_eq!(phase(&[running(), waiting(None)], "Always"), "Pending");
        assert_eq!(phase(&[running(), running()], "Always"), "Running");
        assert_eq!(phase(&[running(), waiting(Some(1))], "Always"), "Running");
    }

    #[test]
    fn a_pod_is_over_only_if_nothing_starts_again() {
        let done = [state(Now::Ended(ended(0)), None)];
        assert_eq!(phase(&done, "Always"), "Running");
        assert_eq!(phase(&done, "Never"), "Succeeded");
        let failed = [done[0].clone(), state(Now::Ended(ended(2)), None)];
        assert_eq!(phase(&failed, "Never"), "Failed");
        assert_eq!(phase(&failed, "OnFailure"), "Running");
    }

    fn pod() -> Pod {
        let address = crate::node::network::PodAddress(std::net::Ipv4Addr::new(10, 240, 0, 16));
        let manifest = json!({"metadata": {}, "spec": {"containers": [{"name": "app"}]}});
        crate::node::state::pod_at(address, manifest)
    }

    /// Ends the one container of a pod and returns what is written about it.
    fn written(pod: &Pod, exit: crate::node::state::Exit) -> Value {
        let at = Timestamp::UNIX_EPOCH;
        pod.update(0, |state| {
            state.now = Now::Ended(Ended {
                exit,
                started: at,
                finished: at,
            });
        });
        StatusPage::of(pod).render(pod)
    }

    #[test]
    fn what_the_kernel_killed_for_its_memory_says_so() {
        let status = written(&pod(), crate::node::state::Exit::OUT_OF_MEMORY);
        let ended = &status["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(
            (&ended["reason"], &ended["exitCode"]),
            (&json!("OOMKilled"), &json!(137))
        );
    }

    #[test]
    fn an_evicted_pod_has_failed_and_says_why() {
        let pod = pod();
        pod.evicted.set(Timestamp::UNIX_EPOCH).unwrap();
        let status = written(&pod, 137.into());
        assert_eq!(
            (&status["phase"], &status["reason"]),
            (&json!("Failed"), &json!("Evicted"))
        );
        let disrupted = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|condition| {
                condition["type"] == "DisruptionTarget"
                    && condition["status"] == "True"
                    && condition["reason"] == "TerminationByKubelet"
            });
        assert!(disrupted, "{status}");
    }

    #[test]
    fn of_a_pod_on_a_lost_node_only_readiness_changes() {
        let pod = pod();
        pod.update(0, |state| state.ready = true);
        let mut page = StatusPage::of(&pod);
        page.render(&pod);
        let conditions = page.given_up()["conditions"].clone();
        assert_eq!(conditions.as_array().map(Vec::len), Some(1));
        assert_eq!(
            (&conditions[0]["type"], &conditions[0]["status"]),
            (&json!("Ready"), &json!("False"))
        );
    }
}
