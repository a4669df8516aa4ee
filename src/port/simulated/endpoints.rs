//! The endpoint slice controller: which pods the Services of a namespace lead to.
//!
//! One slice per Service, however many pods there are; the real one begins another after a hundred.

use serde_json::{Value, json};

use super::deployments::{CONTROLLER, owner};
use super::fields::text;
use super::pods::ready_condition;
use super::server::Part;
use super::world::{Task, World};
use crate::port::{ObjectRef, kinds};

impl World {
    /// Puts it on the agenda to bring the slices of `namespace` up to date, where there is a Service.
    pub(super) fn wake_endpoints(&mut self, namespace: &str) {
        let services = |world: &Self| {
            let mut services = world.store.of_kind(kinds::SERVICES, Some(namespace));
            services.next().is_some()
        };
        if services(self) {
            self.soon(Task::SyncEndpoints(namespace.to_owned()));
        }
    }

    pub(super) fn sync_endpoints(&mut self, namespace: &str) {
        let services = self.store.of_kind(kinds::SERVICES, Some(namespace));
        let slices: Vec<(ObjectRef, Value)> = services
            .map(|(service, value)| {
                let name = format!("{}-slice", service.name);
                let slice = self.slice(service, value, &name);
                (
                    ObjectRef::new(kinds::ENDPOINT_SLICES, namespace, &name),
                    slice,
                )
            })
            .collect();
        for (object, slice) in slices {
            // A conflict or a refusal: the next change of a pod tries again.
            let _ = if self.store.get(&object).is_some() {
                self.update(&object, slice, Part::Main, CONTROLLER)
            } else {
                self.create(kinds::ENDPOINT_SLICES, slice, CONTROLLER)
            };
        }
    }

    fn slice(&self, service: &ObjectRef, value: &Value, name: &str) -> Value {
        let pods = self.store.of_kind(kinds::PODS, Some(&service.namespace));
        let selected = pods.filter(|(_, pod)| selects(value, pod));
        let endpoints: Vec<Value> = selected.map(|(_, pod)| endpoint(pod)).collect();
        json!({
            "apiVersion": kinds::ENDPOINT_SLICES.api_version(),
            "kind": kinds::ENDPOINT_SLICES.kind,
            "metadata": {
                "namespace": service.namespace,
                "name": name,
                "labels": {"kubernetes.io/service-name": service.name},
                "ownerReferences": [owner(value, "v1", "Service")],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
        })
    }
}

fn endpoint(pod: &Value) -> Value {
    let leaving = !text(pod, "/metadata/deletionTimestamp").is_empty();
    let ready = ready_condition(pod).is_some_and(|ready| ready["status"] == "True");
    json!({
        "conditions": {"ready": ready && !leaving},
        "targetRef": {"kind": "Pod", "name": text(pod, "/metadata/name")},
    })
}

fn selects(service: &Value, pod: &Value) -> bool {
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    selector.is_some_and(|selector| {
        let carries = |(key, value): (&String, &Value)| pod["metadata"]["labels"][key] == *value;
        !selector.is_empty() && selector.iter().all(carries)
    })
}
