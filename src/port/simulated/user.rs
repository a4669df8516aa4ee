//! What tests do to the simulated cluster, at once and past every fault.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::fields::{map, remove, set};
use super::server::Part;
use super::{ApiRule, Behaviour, MetricsFault, SimulatedCluster, Write};
use crate::port::{Cluster, Error, Kind, ObjectRef, kinds};

/// Who the people of the simulated cluster are for the API server.
const USER: &str = "kubectl";

impl SimulatedCluster {
    /// Lets `time` pass.
    pub async fn run_for(&self, time: SignedDuration) {
        self.sleep_until(self.now() + time).await;
    }

    /// Returns `object` as it is now.
    #[must_use]
    pub fn object(&self, object: &ObjectRef) -> Option<Value> {
        self.world()
            .store
            .get(object)
            .map(|value| Value::clone(&value))
    }

    /// Returns all objects of `kind` in `namespace`, by name.
    #[must_use]
    pub fn objects(&self, kind: Kind, namespace: &str) -> Vec<Value> {
        let world = self.world();
        let found = world.store.of_kind(kind, Some(namespace));
        found.map(|(_, value)| Value::clone(value)).collect()
    }

    /// Creates an object as a person would.
    ///
    /// # Errors
    ///
    /// As the API server's.
    pub fn put(&self, kind: Kind, body: Value) -> Result<Value, Error> {
        self.change(|world| world.create(kind, body, USER))
            .map(|stored| Value::clone(&stored))
    }

    /// Changes an object as a person would, whatever its version.
    ///
    /// # Errors
    ///
    /// As the API server's; [`Error::NotFound`] if it does not exist.
    pub fn edit(&self, object: &ObjectRef, edit: impl FnOnce(&mut Value)) -> Result<Value, Error> {
        self.change(|world| {
            let current = world.store.get(object).ok_or(Error::NotFound)?;
            let mut changed = Value::clone(&current);
            edit(&mut changed);
            world.update(object, changed, Part::Main, USER)
        })
        .map(|stored| Value::clone(&stored))
    }

    /// Deletes an object as a person would.
    pub fn remove(&self, object: &ObjectRef) {
        self.change(|world| {
            if let Some(value) = world.store.get(object) {
                world.delete(object, super::fields::text(&value, "/metadata/uid"));
            }
        });
    }

    /// Creates a Deployment of one container named `app` that runs `image`.
    ///
    /// # Errors
    ///
    /// As the API server's.
    pub fn deploy(
        &self,
        namespace: &str,
        name: &str,
        image: &str,
        replicas: i64,
    ) -> Result<Value, Error> {
        let labels = json!({ "app": name });
        let probe = json!({
            "httpGet": { "path": "/healthz", "port": 8080 },
            "periodSeconds": 5,
            "failureThreshold": 2,
        });
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name, "namespace": namespace, "labels": labels },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "containers": [{
                            "name": "app",
                            "image": image,
                            "ports": [{ "containerPort": 8080 }],
                            "livenessProbe": probe,
                        }],
                    },
                },
            },
        });
        self.put(kinds::DEPLOYMENTS, body)
    }

    /// Deploys another image.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such Deployment.
    pub fn set_image(&self, namespace: &str, name: &str, image: &str) -> Result<Value, Error> {
        self.edit(&deployment(namespace, name), |value| {
            value["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        })
    }

    /// Scales a Deployment.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such Deployment.
    pub fn scale(&self, namespace: &str, name: &str, replicas: i64) -> Result<Value, Error> {
        self.edit(&deployment(namespace, name), |value| {
            set(value, &["spec", "replicas"], replicas);
        })
    }

    /// Pauses or resumes a Deployment.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such Deployment.
    pub fn pause(&self, namespace: &str, name: &str, paused: bool) -> Result<Value, Error> {
        self.edit(&deployment(namespace, name), |value| {
            if paused {
                set(value, &["spec", "paused"], true);
            } else {
                remove(value, &["spec", "paused"]);
            }
        })
    }

    /// Writes an annotation, or removes it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if `object` does not exist.
    pub fn annotate(
        &self,
        object: &ObjectRef,
        key: &str,
        text: Option<&str>,
    ) -> Result<Value, Error> {
        self.edit(object, |value| {
            let annotations = map(&mut map(value)["metadata"])
                .entry("annotations")
                .or_insert_with(|| json!({}));
            match text {
                Some(text) => map(annotations).insert(key.to_owned(), text.into()),
                None => map(annotations).remove(key),
            };
        })
    }

    /// Says what `image` does from now on, in running containers too.
    pub fn set_behaviour(&self, image: &str, behaviour: Behaviour) {
        self.change(|world| {
            world.count_all_pods();
            world.settings.images.insert(image.to_owned(), behaviour);
            world.wake_all_pods();
        });
    }

    /// Lets Astern's calls fail as `rule` says.
    pub fn break_api(&self, rule: ApiRule) {
        self.world().faults.rules.push(rule);
    }

    /// Lets all calls go through again.
    pub fn repair_api(&self) {
        self.world().faults.rules.clear();
    }

    /// Lets the metric source answer so from now on.
    pub fn break_metrics(&self, fault: MetricsFault) {
        self.world().faults.metrics = fault;
    }

    /// Makes every watch list anew, as after a 410.
    pub fn expire_watches(&self) {
        self.change(|world| world.faults.watches_expired += 1);
    }

    /// Lets every watch fall silent for `time`, without an error.
    pub fn stall_watches(&self, time: SignedDuration) {
        self.change(|world| world.faults.watches_stalled_until = Some(world.now + time));
    }

    /// Takes a kind away, as when its definition is deleted, or serves it again. Its objects stay.
    pub fn serve(&self, kind: Kind, served: bool) {
        self.change(|world| {
            if served {
                world.unserved.remove(&kind);
            } else {
                world.unserved.insert(kind);
            }
        });
    }

    /// Returns every write through the port that reached the API server, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.world().writes.clone()
    }
}

/// Returns the reference to a Deployment.
fn deployment(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new(kinds::DEPLOYMENTS, namespace, name)
}
