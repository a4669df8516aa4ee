//! What the API server does with the objects of each kind: defaults, refusals, generation.
//!
//! Schemas and CEL rules of the custom resources are not here; they are tested on a real API server.

use serde_json::{Value, json};

use super::fields::{default, items, remove, set, text};
use crate::port::{Error, Kind, kinds};

/// Which changes move `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    None,
    Spec,
    SpecAndAnnotations,
    AllButMetadataAndStatus,
}

const CONFIG_MAPS: &str = "ConfigMap";
const SECRETS: &str = "Secret";

fn generation(kind: Kind) -> Generation {
    match (kind.group, kind.kind) {
        ("apps", "Deployment") => Generation::SpecAndAnnotations,
        ("apps", "ReplicaSet") | ("", "Pod") | ("admissionregistration.k8s.io", _) => {
            Generation::Spec
        }
        _ if is_custom(kind) => Generation::AllButMetadataAndStatus,
        _ => Generation::None,
    }
}

/// Says whether `kind` has a `/status` of its own, which other writes leave alone.
pub(super) fn has_status(kind: Kind) -> bool {
    is_custom(kind)
        || [kinds::DEPLOYMENTS, kinds::REPLICA_SETS, kinds::PODS].contains(&kind)
        || (kind.group.is_empty() && kind.kind == "Namespace")
}

/// Built-in groups have no dot or belong to Kubernetes.
fn is_custom(kind: Kind) -> bool {
    kind.group.contains('.') && !kind.group.ends_with("k8s.io")
}

/// Returns what a write to `/status` may change outside of it.
pub(super) fn kept_by_status_writes(kind: Kind) -> &'static [&'static [&'static str]] {
    if is_custom(kind) {
        &[]
    } else {
        &[&["metadata", "annotations"]]
    }
}

/// Says whether turning `old` into `new` counts as a new generation.
pub(super) fn moves_generation(kind: Kind, old: &Value, new: &Value) -> bool {
    match generation(kind) {
        Generation::None => false,
        Generation::Spec => old["spec"] != new["spec"],
        Generation::SpecAndAnnotations => {
            // Absent and empty are the same.
            let annotations = |object: &Value| match object.pointer("/metadata/annotations") {
                Some(annotations) => annotations.clone(),
                None => json!({}),
            };
            old["spec"] != new["spec"] || annotations(old) != annotations(new)
        }
        Generation::AllButMetadataAndStatus => judged(old) != judged(new),
    }
}

fn judged(object: &Value) -> Value {
    let mut object = object.clone();
    remove(&mut object, &["metadata"]);
    remove(&mut object, &["status"]);
    object
}

/// Fills in what the API server fills in on every write.
pub(super) fn fill_in(kind: Kind, object: &mut Value) {
    if kind == kinds::DEPLOYMENTS {
        default(object, &["spec", "replicas"], 1);
        default(object, &["spec", "revisionHistoryLimit"], 10);
        default(object, &["spec", "progressDeadlineSeconds"], 600);
        default(object, &["spec", "strategy", "type"], "RollingUpdate");
        if text(object, "/spec/strategy/type") == "RollingUpdate" {
            let rolling = ["spec", "strategy", "rollingUpdate"];
            for limit in ["maxSurge", "maxUnavailable"] {
                default(object, &[&rolling[..], &[limit]].concat(), "25%");
            }
        }
        // False and absent are the same, and the API server writes it as absent.
        if object["spec"]["paused"] == false {
            remove(object, &["spec", "paused"]);
        }
    }
    if [kinds::DEPLOYMENTS, kinds::REPLICA_SETS].contains(&kind)
        && let Some(pod) = object.pointer_mut("/spec/template/spec")
    {
        fill_in_pod(pod);
    }
    drop_empty_maps(object);
}

fn fill_in_pod(pod: &mut Value) {
    default(pod, &["restartPolicy"], "Always");
    default(pod, &["dnsPolicy"], "ClusterFirst");
    default(pod, &["schedulerName"], "default-scheduler");
    default(pod, &["terminationGracePeriodSeconds"], 30);
    default(pod, &["securityContext"], json!({}));
    for containers in ["containers", "initContainers"] {
        let Some(Value::Array(containers)) = pod.get_mut(containers) else {
            continue;
        };
        for container in containers {
            let pull = pull_policy(text(container, "/image"));
            default(container, &["imagePullPolicy"], pull);
            default(container, &["resources"], json!({}));
            default(container, &["terminationMessagePolicy"], "File");
            default(
                container,
                &["terminationMessagePath"],
                "/dev/termination-log",
            );
            fill_in_probes(container);
        }
    }
}

fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    if image.contains('@') || (name.contains(':') && !name.ends_with(":latest")) {
        "IfNotPresent"
    } else {
        "Always"
    }
}

fn fill_in_probes(container: &mut Value) {
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) else {
            continue;
        };
        default(probe, &["timeoutSeconds"], 1);
        default(probe, &["periodSeconds"], 10);
        default(probe, &["successThreshold"], 1);
        default(probe, &["failureThreshold"], 3);
        if probe.get("httpGet").is_some() {
            default(probe, &["httpGet", "scheme"], "HTTP");
            default(probe, &["httpGet", "path"], "/");
        }
    }
    let Some(Value::Array(ports)) = container.get_mut("ports") else {
        return;
    };
    for port in ports {
        default(port, &["protocol"], "TCP");
    }
}

/// An empty map of labels or annotations comes back as none.
fn drop_empty_maps(object: &mut Value) {
    for field in ["annotations", "labels"] {
        if object["metadata"][field] == json!({}) {
            remove(object, &["metadata", field]);
        }
    }
    for field in ["ownerReferences", "finalizers", "managedFields"] {
        if object["metadata"][field] == json!([]) {
            remove(object, &["metadata", field]);
        }
    }
}

/// Refuses what the API server would refuse as invalid.
///
/// # Errors
///
/// [`Error::Invalid`] naming the field.
pub(super) fn validate(kind: Kind, old: Option<&Value>, new: &Value) -> Result<(), Error> {
    for field in ["/metadata/name", "/metadata/namespace", "/metadata/uid"] {
        if old.is_some_and(|old| text(old, field) != text(new, field)) {
            return Err(immutable(field));
        }
    }
    match (kind.group, kind.kind) {
        ("apps", "Deployment") => validate_deployment(old, new),
        ("apps", "ControllerRevision") => {
            refuse_change(old, new, "/data", true)?;
            if new.get("data").is_none_or(Value::is_null) {
                return Err(invalid("data: Required value: data is mandatory"));
            }
            if new["revision"].as_i64().is_none_or(|revision| revision < 0) {
                return Err(invalid("revision: must be greater than or equal to 0"));
            }
            Ok(())
        }
        ("", CONFIG_MAPS | SECRETS) => {
            let sealed = old.is_some_and(|old| old["immutable"] == true);
            refuse_change(old, new, "/immutable", sealed)?;
            refuse_change(old, new, "/data", sealed)?;
            refuse_change(old, new, "/binaryData", sealed)
        }
        _ => Ok(()),
    }
}

fn validate_deployment(old: Option<&Value>, new: &Value) -> Result<(), Error> {
    refuse_change(old, new, "/spec/selector", true)?;
    if items(new, "/spec/template/spec/containers").is_empty() {
        return Err(invalid("spec.template.spec.containers: Required value"));
    }
    let labels = &new["spec"]["template"]["metadata"]["labels"];
    let wanted = new["spec"]["selector"]["matchLabels"].as_object();
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Err(invalid("spec.selector: Required value"));
    };
    if wanted.iter().any(|(key, value)| labels[key] != *value) {
        return Err(invalid(
            "spec.template.metadata.labels: `selector` does not match template `labels`",
        ));
    }
    if new["spec"]["replicas"]
        .as_i64()
        .is_none_or(|count| count < 0)
    {
        return Err(invalid("spec.replicas: must be greater than or equal to 0"));
    }
    Ok(())
}

fn refuse_change(
    old: Option<&Value>,
    new: &Value,
    pointer: &str,
    sealed: bool,
) -> Result<(), Error> {
    let changed = old.is_some_and(|old| old.pointer(pointer) != new.pointer(pointer));
    if changed && sealed {
        return Err(immutable(pointer));
    }
    Ok(())
}

fn immutable(pointer: &str) -> Error {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    invalid(&format!("{field}: Invalid value: field is immutable"))
}

fn invalid(message: &str) -> Error {
    Error::Invalid {
        message: message.to_owned(),
    }
}

/// Puts the metadata that only the server writes back to what it was.
pub(super) fn keep_system_fields(old: &Value, new: &mut Value) {
    for field in ["creationTimestamp", "generation", "deletionTimestamp"] {
        match old["metadata"].get(field) {
            Some(value) => set(new, &["metadata", field], value.clone()),
            None => remove(new, &["metadata", field]),
        }
    }
    for field in ["apiVersion", "kind"] {
        set(new, &[field], old[field].clone());
    }
    // Whoever leaves it out means the object that is there.
    default(new, &["metadata", "uid"], text(old, "/metadata/uid"));
}
