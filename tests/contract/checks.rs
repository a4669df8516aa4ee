//! What every implementation of the port does, checked by asking it.
//!
//! The same checks run on the simulated cluster and on a real API server with its controllers. Where
//! the two disagree, the simulation is wrong.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a check fails the way a test does"
)]

use std::future::Future;

use astern::port::{Cluster, Error, Kind, ObjectRef, Selection, WatchEvent, kinds};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// A custom resource with a status, which a real API server must be taught first.
pub(super) const PROBES: Kind = Kind::namespaced("contract.example.com", "v1", "Probe", "probes");

const CONFIG_MAPS: Kind = kinds::CONFIG_MAPS;

/// No server has this kind.
pub(super) const GHOSTS: Kind = Kind::namespaced("ghosts.example.com", "v1", "Ghost", "ghosts");

/// Longer than any controller of a busy test machine takes.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Runs every check that needs no running pod, in `namespace`, which must be empty.
pub(super) async fn check_all(cluster: &dyn Cluster, namespace: &str) {
    let at = Place { cluster, namespace };
    created_object_is_complete(&at).await;
    json_survives_untouched(&at).await;
    failed_test_is_invalid_and_changes_nothing(&at).await;
    patch_of_a_stale_version_conflicts(&at).await;
    generation_follows_spec_and_annotations(&at).await;
    status_is_written_alone(&at).await;
    replace_states_a_version(&at).await;
    recorded_data_cannot_change(&at).await;
    broken_deployments_are_refused(&at).await;
    selectors_choose(&at).await;
    watch_tells_every_change(&at).await;
    only_the_object_of_that_uid_is_deleted(&at).await;
    owned_objects_go_with_their_owner(&at).await;
    ownership_follows_changes_and_obeys_patches(&at).await;
    revisions_are_renumbered(&at).await;
    paused_deployment_gets_no_replica_set(&at).await;
    kinds_that_are_not_served_are_not_found(&at).await;
}

struct Place<'a> {
    cluster: &'a dyn Cluster,
    namespace: &'a str,
}

impl Place<'_> {
    fn object(&self, kind: Kind, name: &str) -> ObjectRef {
        ObjectRef::new(kind, self.namespace, name)
    }

    async fn create(&self, kind: Kind, name: &str, mut body: Value) -> Value {
        let given = body["metadata"].take();
        body["apiVersion"] = kind.api_version().into();
        body["kind"] = kind.kind.into();
        body["metadata"] = json!({ "name": name, "namespace": self.namespace });
        for (key, value) in given.as_object().into_iter().flatten() {
            body["metadata"][key] = value.clone();
        }
        let created = self.cluster.create(kind, body).await;
        created.unwrap_or_else(|error| panic!("create {name:?}: {error}"))
    }

    async fn get(&self, kind: Kind, name: &str) -> Value {
        let found = self.cluster.get(&self.object(kind, name)).await;
        found.unwrap().unwrap_or_else(|| panic!("{name:?} is gone"))
    }

    async fn patch(&self, kind: Kind, name: &str, operations: Value) -> Value {
        let patched = self.try_patch(kind, name, operations).await;
        patched.unwrap_or_else(|error| panic!("patch {name:?}: {error}"))
    }

    async fn try_patch(&self, kind: Kind, name: &str, operations: Value) -> Result<Value, Error> {
        let object = self.object(kind, name);
        self.cluster.json_patch(&object, operations).await
    }

    /// Asks until there is an answer.
    async fn eventually<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        mut ask: impl FnMut() -> F,
    ) -> T {
        let end = self.cluster.now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(self.cluster.now() < end, "never happened: {what}");
            let next = self.cluster.now() + SignedDuration::from_millis(100);
            self.cluster.sleep_until(next).await;
        }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} in {object:#}"))
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap()
}

fn deployment(image: &str) -> Value {
    let labels = json!({ "app": "checkout" });
    json!({
        "metadata": { "labels": labels },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{
                    "name": "app",
                    "image": image,
                    "ports": [{ "containerPort": 8080 }],
                    "livenessProbe": { "httpGet": { "port": 8080 } },
                }] },
            },
        },
    })
}

async fn created_object_is_complete(at: &Place<'_>) {
    let before = at.cluster.now() - SignedDuration::from_secs(2);
    let created = at
        .create(kinds::DEPLOYMENTS, "complete", deployment("shop:1"))
        .await;
    assert_eq!(text(&created, "/apiVersion"), "apps/v1");
    assert_eq!(text(&created, "/metadata/uid").len(), 36);
    assert!(!text(&created, "/metadata/resourceVersion").is_empty());
    assert_eq!(generation(&created), 1);
    let born: jiff::Timestamp = text(&created, "/metadata/creationTimestamp")
        .parse()
        .unwrap();
    assert_eq!(born.subsec_nanosecond(), 0, "stamps are in whole seconds");
    assert!(born >= before && born <= at.cluster.now());

    let spec = &created["spec"];
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(
        spec["strategy"],
        json!({
            "type": "RollingUpdate",
            "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" },
        })
    );
    let pod = json!({
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "containers": [{
            "name": "app",
            "image": "shop:1",
            "imagePullPolicy": "IfNotPresent",
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "ports": [{ "containerPort": 8080, "protocol": "TCP" }],
            "livenessProbe": {
                "httpGet": { "port": 8080, "path": "/", "scheme": "HTTP" },
                "periodSeconds": 10,
                "timeoutSeconds": 1,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
        }],
    });
    assert_eq!(spec["template"]["spec"], pod);
    assert_eq!(spec.get("paused"), None);

    let with_version = at.cluster.create(kinds::DEPLOYMENTS, created.clone()).await;
    // A trap: it looks as if trying again could help.
    assert!(
        matches!(with_version, Err(Error::Unavailable { .. })),
        "{with_version:?}"
    );
    let mut body = deployment("shop:1");
    body["metadata"] = json!({ "name": "complete", "namespace": at.namespace });
    let again = at.cluster.create(kinds::DEPLOYMENTS, body).await;
    assert_eq!(again, Err(Error::AlreadyExists));

    let absent = at.object(kinds::DEPLOYMENTS, "absent");
    assert_eq!(at.cluster.get(&absent).await, Ok(None));
    let source = ObjectRef::new(kinds::DEPLOYMENTS, at.namespace, "../pods");
    assert_eq!(at.cluster.get(&source).await, Ok(None));
}

async fn json_survives_untouched(at: &Place<'_>) {
    let data = json!({
        "newer": { "than": ["this", { "build": true }], "empty": {}, "none": null },
        "large": 9_007_199_254_740_993_i64,
        "fraction": 1.5,
        "negative": -7,
        "text": "ä \" \\ \n",
    });
    for (kind, body) in [
        (PROBES, json!({ "spec": data })),
        (
            kinds::CONTROLLER_REVISIONS,
            json!({ "revision": 1, "data": data }),
        ),
    ] {
        let field = if kind == PROBES { "spec" } else { "data" };
        let created = at.create(kind, "untouched", body).await;
        assert_eq!(created[field], data);
        assert_eq!(at.get(kind, "untouched").await[field], data);
    }
    let kept = json!({ "spec": data, "odd": { "top": "level" } });
    at.create(PROBES, "odd", kept).await;
    let label = json!([{ "op": "add", "path": "/metadata/labels", "value": { "a": "b" } }]);
    let patched = at.patch(PROBES, "odd", label).await;
    assert_eq!(patched["odd"], json!({ "top": "level" }));
    assert_eq!(patched["spec"], data);
}

async fn failed_test_is_invalid_and_changes_nothing(at: &Place<'_>) {
    let created = at
        .create(CONFIG_MAPS, "tested", json!({ "data": { "a": "1" } }))
        .await;
    let set = |value: &str| json!({ "op": "add", "path": "/data/a", "value": value });
    for failing in [
        json!({ "op": "test", "path": "/metadata/uid", "value": "another" }),
        json!({ "op": "test", "path": "/data/a", "value": null }),
        json!({ "op": "test", "path": "/data/b", "value": "1" }),
        // Null equals absent, but not below what is absent itself.
        json!({ "op": "test", "path": "/absent/b", "value": null }),
        json!({ "op": "remove", "path": "/data/b" }),
        json!({ "op": "replace", "path": "/absent/b", "value": "1" }),
        json!({ "op": "add", "path": "/absent/b", "value": "1" }),
    ] {
        let refused = at
            .try_patch(CONFIG_MAPS, "tested", json!([set("2"), failing]))
            .await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. })),
            "{failing}: {refused:?}"
        );
    }
    assert_eq!(at.get(CONFIG_MAPS, "tested").await, created);

    let uid = text(&created, "/metadata/uid");
    let guarded = json!([
        { "op": "test", "path": "/metadata/uid", "value": uid },
        // Null equals absent.
        { "op": "test", "path": "/data/b", "value": null },
        { "op": "test", "path": "/immutable", "value": null },
        { "op": "test", "path": "/data", "value": { "a": "1" } },
        set("2"),
        // Each operation sees what those before it did.
        { "op": "test", "path": "/data/a", "value": "2" },
    ]);
    let patched = at.patch(CONFIG_MAPS, "tested", guarded).await;
    assert_eq!(patched["data"], json!({ "a": "2" }));
    assert_ne!(
        patched["metadata"]["resourceVersion"],
        created["metadata"]["resourceVersion"]
    );

    let unchanged = at.patch(CONFIG_MAPS, "tested", json!([set("2")])).await;
    assert_eq!(unchanged, patched, "what changes nothing is not stored");
    let absent = at.try_patch(CONFIG_MAPS, "absent", json!([set("2")])).await;
    assert_eq!(absent, Err(Error::NotFound));
    let uid = json!([{ "op": "replace", "path": "/metadata/uid", "value": "another" }]);
    let refused = at.try_patch(CONFIG_MAPS, "tested", uid).await;
    assert!(
        matches!(refused, Err(Error::Invalid { .. } | Error::Conflict { .. })),
        "{refused:?}"
    );
}

async fn patch_of_a_stale_version_conflicts(at: &Place<'_>) {
    let created = at
        .create(CONFIG_MAPS, "stale", json!({ "data": { "a": "1" } }))
        .await;
    let stale = created["metadata"]["resourceVersion"].clone();
    let set = |version: &Value, value: &str| {
        json!([
            { "op": "replace", "path": "/metadata/resourceVersion", "value": version },
            { "op": "add", "path": "/data/a", "value": value },
        ])
    };
    let newer = at.patch(CONFIG_MAPS, "stale", set(&stale, "2")).await;
    let refused = at.try_patch(CONFIG_MAPS, "stale", set(&stale, "3")).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    assert_eq!(at.get(CONFIG_MAPS, "stale").await, newer);
}

async fn generation_follows_spec_and_annotations(at: &Place<'_>) {
    let kind = kinds::DEPLOYMENTS;
    at.create(kind, "generation", deployment("shop:1")).await;
    let steps = [
        ("/metadata/labels/tier", json!("web"), 1),
        ("/metadata/annotations", json!({ "note": "a" }), 2),
        ("/metadata/annotations/note", json!("b"), 3),
        ("/metadata/annotations/note", json!("b"), 3),
        ("/spec/replicas", json!(3), 4),
        (
            "/spec/template/metadata/annotations",
            json!({ "a": "b" }),
            5,
        ),
        ("/spec/paused", json!(true), 6),
        ("/spec/paused", json!(false), 7),
    ];
    for (path, value, expected) in steps {
        // The controller adds an annotation of its own, which must not be replaced.
        let whole = path == "/metadata/annotations";
        let (path, value) = match value["note"].as_str().filter(|_| whole) {
            Some(note) => {
                at.eventually("revision annotation", || async {
                    let found = at.get(kind, "generation").await;
                    found["metadata"]["annotations"].is_object().then_some(())
                })
                .await;
                ("/metadata/annotations/note", json!(note))
            }
            None => (path, value),
        };
        let step = json!([{ "op": "add", "path": path, "value": value }]);
        let patched = at.patch(kind, "generation", step).await;
        assert_eq!(generation(&patched), expected, "{path} {value}");
    }
    let settled = at
        .eventually("observed generation", || async {
            let found = at.get(kind, "generation").await;
            (found["status"]["observedGeneration"] == 7).then_some(found)
        })
        .await;
    assert_eq!(generation(&settled), 7, "status writes do not count");
    assert_eq!(settled["spec"].get("paused"), None, "false is absent");
}

async fn status_is_written_alone(at: &Place<'_>) {
    let body = json!({ "spec": { "a": 1 }, "status": { "forged": true } });
    let created = at.create(PROBES, "status", body).await;
    assert_eq!(created.get("status"), None, "creating writes no status");
    assert_eq!(generation(&created), 1);
    let probe = at.object(PROBES, "status");
    let version = text(&created, "/metadata/resourceVersion").to_owned();
    let status = json!({ "phase": "Open", "counts": [1, 2] });
    let written = at.cluster.status(&probe, &version, status.clone()).await;
    let written = written.unwrap();
    assert_eq!(written["status"], status);
    assert_eq!(written["spec"], json!({ "a": 1 }));
    assert_eq!(generation(&written), 1);

    let stale = at.cluster.status(&probe, &version, json!({})).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    let version = text(&written, "/metadata/resourceVersion").to_owned();
    let replaced = at
        .cluster
        .status(&probe, &version, json!({ "phase": "Done" }));
    let replaced = replaced.await.unwrap();
    assert_eq!(replaced["status"], json!({ "phase": "Done" }), "not merged");

    let both = json!([
        { "op": "add", "path": "/spec/a", "value": 2 },
        { "op": "add", "path": "/status/phase", "value": "Forged" },
    ]);
    let patched = at.patch(PROBES, "status", both).await;
    assert_eq!(patched["spec"], json!({ "a": 2 }));
    assert_eq!(patched["status"], json!({ "phase": "Done" }));
    assert_eq!(generation(&patched), 2);
    let note = json!([{ "op": "add", "path": "/metadata/annotations", "value": { "a": "b" } }]);
    let patched = at.patch(PROBES, "status", note).await;
    assert_eq!(
        generation(&patched),
        2,
        "annotations count for Deployments only"
    );

    let absent = at.object(PROBES, "absent");
    let absent = at.cluster.status(&absent, "1", json!({})).await;
    assert_eq!(absent, Err(Error::NotFound));
    let revision = at
        .create(
            kinds::CONTROLLER_REVISIONS,
            "stateless",
            json!({ "revision": 1, "data": {} }),
        )
        .await;
    let version = text(&revision, "/metadata/resourceVersion");
    let revision = at.object(kinds::CONTROLLER_REVISIONS, "stateless");
    let refused = at.cluster.status(&revision, version, json!({})).await;
    assert_eq!(refused, Err(Error::NotFound));
}

async fn replace_states_a_version(at: &Place<'_>) {
    let spec = |holder: &str| json!({ "holderIdentity": holder, "leaseDurationSeconds": 15 });
    let created = at
        .create(kinds::LEASES, "leader", json!({ "spec": spec("a") }))
        .await;
    let lease = at.object(kinds::LEASES, "leader");
    let mut next = created.clone();
    next["spec"] = spec("b");
    let taken = at.cluster.replace(&lease, next.clone()).await.unwrap();
    assert_eq!(taken["spec"], spec("b"));
    // Its version is now the one before.
    let stale = at.cluster.replace(&lease, next.clone()).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    next["metadata"]["resourceVersion"].take();
    let blind = at.cluster.replace(&lease, next).await;
    assert!(matches!(blind, Err(Error::Invalid { .. })), "{blind:?}");
    assert_eq!(at.get(kinds::LEASES, "leader").await, taken);
}

async fn recorded_data_cannot_change(at: &Place<'_>) {
    let kind = kinds::CONTROLLER_REVISIONS;
    let body = json!({ "revision": 1, "data": { "template": { "a": 1 } } });
    let recorded = at.create(kind, "recorded", body).await;
    let change = json!([{ "op": "add", "path": "/data/template/a", "value": 2 }]);
    let refused = at.try_patch(kind, "recorded", change).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    let label = json!([{ "op": "add", "path": "/metadata/labels", "value": { "a": "b" } }]);
    let labelled = at.patch(kind, "recorded", label).await;
    assert_eq!(labelled["metadata"]["labels"], json!({ "a": "b" }));
    assert_eq!(labelled["metadata"].get("generation"), None);

    let empty = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": { "name": "empty", "namespace": at.namespace },
        "revision": 1,
    });
    let refused = at.cluster.create(kind, empty).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");

    let sealed = json!({ "immutable": true, "data": { "a": "1" } });
    at.create(CONFIG_MAPS, "sealed", sealed).await;
    for change in [
        json!({ "op": "add", "path": "/data/a", "value": "2" }),
        json!({ "op": "add", "path": "/binaryData", "value": { "b": "eA==" } }),
        json!({ "op": "replace", "path": "/immutable", "value": false }),
    ] {
        let refused = at.try_patch(CONFIG_MAPS, "sealed", json!([change])).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    // Whose it is may change.
    let owner = json!({ "apiVersion": kind.api_version(), "kind": kind.kind, "name": "recorded",
        "uid": recorded["metadata"]["uid"], "controller": false, "blockOwnerDeletion": false });
    let adopt = json!([{ "op": "add", "path": "/metadata/ownerReferences", "value": [owner] }]);
    let adopted = at.patch(CONFIG_MAPS, "sealed", adopt).await;
    assert_eq!(adopted["metadata"]["ownerReferences"][0], owner);
}

async fn broken_deployments_are_refused(at: &Place<'_>) {
    let kind = kinds::DEPLOYMENTS;
    at.create(kind, "whole", deployment("shop:1")).await;
    for (path, value) in [
        ("/spec/selector/matchLabels/app", json!("other")),
        ("/spec/template/metadata/labels/app", json!("other")),
        ("/spec/template/spec/containers", json!([])),
        ("/spec/replicas", json!(-1)),
    ] {
        let change = json!([{ "op": "replace", "path": path, "value": value }]);
        let refused = at.try_patch(kind, "whole", change).await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. })),
            "{path}: {refused:?}"
        );
    }
    assert_eq!(generation(&at.get(kind, "whole").await), 1);
}

async fn selectors_choose(at: &Place<'_>) {
    for (name, labels) in [
        ("sel-1", json!({ "sel": "yes", "color": "red" })),
        ("sel-2", json!({ "sel": "yes", "color": "blue" })),
        ("sel-3", json!({ "sel": "yes" })),
    ] {
        let body = json!({ "metadata": { "labels": labels } });
        at.create(CONFIG_MAPS, name, body).await;
    }
    let list = async |labels: &str| {
        let selection = Selection {
            namespace: Some(at.namespace.to_owned()),
            labels: labels.to_owned(),
        };
        at.cluster.list(CONFIG_MAPS, &selection).await
    };
    for (labels, expected) in [
        ("sel=yes", &["sel-1", "sel-2", "sel-3"][..]),
        ("sel==yes,color=red", &["sel-1"]),
        ("sel,color in (red, blue)", &["sel-1", "sel-2"]),
        ("sel,color notin (red)", &["sel-2", "sel-3"]),
        ("sel,color!=red", &["sel-2", "sel-3"]),
        ("sel,color", &["sel-1", "sel-2"]),
        ("sel,!color", &["sel-3"]),
        ("sel=no", &[]),
    ] {
        let found = list(labels).await.unwrap();
        let names: Vec<&str> = found
            .iter()
            .map(|one| text(one, "/metadata/name"))
            .collect();
        assert_eq!(names, expected, "{labels:?}");
    }
    let found = list("sel=yes,color=red").await.unwrap();
    assert_eq!(
        found[0],
        at.get(CONFIG_MAPS, "sel-1").await,
        "a list shows what a GET does"
    );
    let refused = list("not a selector").await;
    assert!(
        matches!(refused, Err(Error::Unexpected { status: 400, .. })),
        "{refused:?}"
    );
    let everywhere = Selection {
        namespace: None,
        labels: "sel=yes".to_owned(),
    };
    let found = at.cluster.list(CONFIG_MAPS, &everywhere).await.unwrap();
    assert_eq!(found.len(), 3);

    let some =
        |fields: &'static str, most| at.cluster.list_some(CONFIG_MAPS, &everywhere, fields, most);
    let found = some("", 2).await.unwrap();
    assert_eq!(found.len(), 2, "no more than asked for");
    let found = some("metadata.name=sel-1", 10).await.unwrap();
    let names: Vec<&str> = found
        .iter()
        .map(|one| text(one, "/metadata/name"))
        .collect();
    assert!(names.contains(&"sel-1"), "others may come too: {names:?}");
}

async fn watch_tells_every_change(at: &Place<'_>) {
    let body = |labels: Value| json!({ "metadata": { "labels": labels } });
    at.create(kinds::LEASES, "w-1", body(json!({ "w": "in" })))
        .await;
    at.create(kinds::LEASES, "w-out", body(json!({ "w": "out" })))
        .await;
    let selection = Selection {
        namespace: Some(at.namespace.to_owned()),
        labels: "w=in".to_owned(),
    };
    let mut events = at.cluster.watch(kinds::LEASES, selection);
    assert_eq!(next(at, &mut events).await, WatchEvent::Restarted);
    let first = applied(next(at, &mut events).await);
    assert_eq!(text(&first, "/metadata/name"), "w-1");
    assert_eq!(text(&first, "/kind"), "Lease");
    assert_eq!(text(&first, "/apiVersion"), "coordination.k8s.io/v1");
    assert_eq!(first["metadata"].get("managedFields"), None);
    assert_eq!(next(at, &mut events).await, WatchEvent::Complete);

    let created = at
        .create(kinds::LEASES, "w-2", body(json!({ "w": "in" })))
        .await;
    let told = applied(next(at, &mut events).await);
    assert_eq!(told["metadata"]["uid"], created["metadata"]["uid"]);
    let spec = json!([{ "op": "add", "path": "/spec", "value": { "holderIdentity": "a" } }]);
    let patched = at.patch(kinds::LEASES, "w-2", spec).await;
    let told = applied(next(at, &mut events).await);
    assert_eq!(
        told["metadata"]["resourceVersion"],
        patched["metadata"]["resourceVersion"]
    );
    assert_eq!(told["spec"]["holderIdentity"], "a");

    let relabel = |to: &str| json!([{ "op": "add", "path": "/metadata/labels/w", "value": to }]);
    at.patch(kinds::LEASES, "w-2", relabel("out")).await;
    assert_eq!(
        deleted(next(at, &mut events).await),
        "w-2",
        "it fits no more"
    );
    at.patch(kinds::LEASES, "w-2", relabel("in")).await;
    assert_eq!(
        text(&applied(next(at, &mut events).await), "/metadata/name"),
        "w-2"
    );
    let lease = at.object(kinds::LEASES, "w-1");
    let uid = text(&first, "/metadata/uid");
    at.cluster.delete(&lease, uid).await.unwrap();
    assert_eq!(deleted(next(at, &mut events).await), "w-1");
}

async fn next(at: &Place<'_>, events: &mut BoxStream<'static, WatchEvent>) -> WatchEvent {
    let end = at.cluster.now() + PATIENCE;
    tokio::select! {
        event = events.next() => event.expect("a watch never ends"),
        () = at.cluster.sleep_until(end) => panic!("the watch tells nothing"),
    }
}

fn applied(event: WatchEvent) -> Value {
    let WatchEvent::Applied(object) = event else {
        panic!("unexpected {event:?}");
    };
    object
}

fn deleted(event: WatchEvent) -> String {
    let WatchEvent::Deleted(object) = event else {
        panic!("unexpected {event:?}");
    };
    text(&object, "/metadata/name").to_owned()
}

async fn only_the_object_of_that_uid_is_deleted(at: &Place<'_>) {
    let created = at.create(CONFIG_MAPS, "doomed", json!({})).await;
    let doomed = at.object(CONFIG_MAPS, "doomed");
    let other = "00000000-0000-4000-8000-000000000000";
    assert_eq!(at.cluster.delete(&doomed, other).await, Ok(()));
    assert_eq!(at.get(CONFIG_MAPS, "doomed").await, created);
    let uid = text(&created, "/metadata/uid");
    assert_eq!(at.cluster.delete(&doomed, uid).await, Ok(()));
    assert_eq!(at.cluster.get(&doomed).await, Ok(None));
    assert_eq!(
        at.cluster.delete(&doomed, uid).await,
        Ok(()),
        "twice is once"
    );

    let again = at.create(CONFIG_MAPS, "doomed", json!({})).await;
    assert_ne!(again["metadata"]["uid"], created["metadata"]["uid"]);
}

async fn owned_objects_go_with_their_owner(at: &Place<'_>) {
    let owner = at.create(CONFIG_MAPS, "owner", json!({})).await;
    let reference = json!([{
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": false,
    }]);
    let body = json!({
        "metadata": { "ownerReferences": reference },
        "revision": 1,
        "data": {},
    });
    at.create(kinds::CONTROLLER_REVISIONS, "owned", body).await;
    let object = at.object(CONFIG_MAPS, "owner");
    let uid = text(&owner, "/metadata/uid");
    at.cluster.delete(&object, uid).await.unwrap();
    let dependent = at.object(kinds::CONTROLLER_REVISIONS, "owned");
    at.eventually("owned object collected", || async {
        at.cluster
            .get(&dependent)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

async fn ownership_follows_changes_and_obeys_patches(at: &Place<'_>) {
    let kind = kinds::DEPLOYMENTS;
    let created = at.create(kind, "owned-fields", deployment("shop:1")).await;
    let own = |object: &Value| {
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        let fits = |entry: &&Value| {
            entry["manager"] == "astern"
                && entry["operation"] == "Update"
                && entry.get("subresource").is_none()
        };
        entries.iter().find(fits).cloned()
    };
    let entry = own(&created).expect("who creates owns");
    let container = r#"k:{"name":"app"}"#;
    let containers = "/fieldsV1/f:spec/f:template/f:spec/f:containers";
    let image = |entry: &Value| {
        let containers = entry.pointer(containers);
        containers.and_then(|all| all[container].get("f:image").cloned())
    };
    assert_eq!(image(&entry), Some(json!({})), "{entry:#}");

    // What somebody else owned before, the API server takes from the patch.
    let theirs = json!([{
        "manager": "deployer",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "time": "2026-01-05T10:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": { "f:spec": { "f:template": { "f:spec": { "f:containers": {
            container: { ".": {}, "f:name": {}, "f:image": {} },
        } } } } },
    }]);
    let restore = |image: Option<&str>| {
        let mut operations =
            vec![json!({ "op": "replace", "path": "/metadata/managedFields", "value": theirs })];
        if let Some(image) = image {
            let path = "/spec/template/spec/containers/0/image";
            operations.push(json!({ "op": "replace", "path": path, "value": image }));
        }
        Value::Array(operations)
    };
    let both = at
        .patch(kind, "owned-fields", restore(Some("shop:2")))
        .await;
    let entry = own(&both).expect("the change itself makes the entry anew");
    assert_eq!(image(&entry), Some(json!({})), "{entry:#}");

    let before = generation(&both);
    let alone = at.patch(kind, "owned-fields", restore(None)).await;
    assert_eq!(own(&alone), None);
    assert_eq!(generation(&alone), before);
    let entries = alone["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries[0]["manager"], "deployer");
    assert_eq!(image(&entries[0]), Some(json!({})));
}

async fn replica_sets(at: &Place<'_>, owner: &Value) -> Vec<Value> {
    let selection = Selection {
        namespace: Some(at.namespace.to_owned()),
        labels: String::new(),
    };
    let mut sets = at
        .cluster
        .list(kinds::REPLICA_SETS, &selection)
        .await
        .unwrap();
    sets.retain(|set| {
        set.pointer("/metadata/ownerReferences/0/uid") == owner.pointer("/metadata/uid")
    });
    sets
}

fn revision(object: &Value) -> &str {
    object["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        .as_str()
        .unwrap_or_default()
}

/// Waits until the controller has seen the newest spec and numbered it, and returns both objects.
async fn current(at: &Place<'_>, name: &str, number: &str) -> (Value, Value) {
    let what = format!("revision {number} of {name}");
    at.eventually(&what, || async {
        let found = at.get(kinds::DEPLOYMENTS, name).await;
        let observed = found["status"]["observedGeneration"] == found["metadata"]["generation"];
        let sets = replica_sets(at, &found).await;
        let set = sets.into_iter().find(|set| revision(set) == number)?;
        (observed && revision(&found) == number).then_some((found, set))
    })
    .await
}

async fn revisions_are_renumbered(at: &Place<'_>) {
    let kind = kinds::DEPLOYMENTS;
    let mut body = deployment("shop:1");
    body["metadata"]["annotations"] = json!({ "note": "first" });
    at.create(kind, "renumbered", body).await;
    let (first, set) = current(at, "renumbered", "1").await;
    assert_eq!(set["metadata"]["annotations"]["note"], "first", "copied");
    assert_eq!(set["metadata"]["ownerReferences"][0]["controller"], true);
    assert_eq!(set["metadata"]["ownerReferences"][0]["kind"], "Deployment");
    let hash = text(&set, "/metadata/labels/pod-template-hash");
    assert_eq!(text(&set, "/metadata/name"), format!("renumbered-{hash}"));
    assert_eq!(
        set["spec"]["selector"]["matchLabels"]["pod-template-hash"],
        hash
    );
    let mut template = set["spec"]["template"].clone();
    let labels = template["metadata"]["labels"].as_object_mut().unwrap();
    assert_eq!(labels.remove("pod-template-hash"), Some(json!(hash)));
    assert_eq!(
        template, first["spec"]["template"],
        "the hash is all that differs"
    );

    let image = |image: &str| {
        json!([{
            "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image,
        }])
    };
    at.patch(kind, "renumbered", image("shop:2")).await;
    let (_, second) = current(at, "renumbered", "2").await;
    assert_ne!(second["metadata"]["uid"], set["metadata"]["uid"]);
    let note = json!([{ "op": "add", "path": "/metadata/annotations/note", "value": "third" }]);
    at.patch(kind, "renumbered", note).await;
    at.patch(kind, "renumbered", image("shop:1")).await;
    let (third, back) = current(at, "renumbered", "3").await;
    assert_eq!(
        back["metadata"]["uid"], set["metadata"]["uid"],
        "used again"
    );
    let annotations = &back["metadata"]["annotations"];
    assert_eq!(
        annotations["deployment.kubernetes.io/revision-history"],
        "1"
    );
    assert_eq!(annotations["note"], "third");
    assert_eq!(third["spec"]["template"], first["spec"]["template"]);
    assert_eq!(replica_sets(at, &third).await.len(), 2);
}

async fn paused_deployment_gets_no_replica_set(at: &Place<'_>) {
    let kind = kinds::DEPLOYMENTS;
    let mut body = deployment("shop:1");
    body["spec"]["paused"] = true.into();
    let created = at.create(kind, "paused", body).await;
    let seen = at
        .eventually("the pause is seen", || async {
            let found = at.get(kind, "paused").await;
            (found["status"]["observedGeneration"] == 1).then_some(found)
        })
        .await;
    assert_eq!(revision(&seen), "");
    let conditions = seen["status"]["conditions"].as_array().unwrap();
    let progressing = conditions.iter().find(|one| one["type"] == "Progressing");
    let progressing = progressing.expect("a paused Deployment says so");
    assert_eq!(progressing["status"], "Unknown");
    assert_eq!(progressing["reason"], "DeploymentPaused");
    assert_eq!(replica_sets(at, &created).await, Vec::<Value>::new());
    at.patch(
        kind,
        "paused",
        json!([{ "op": "remove", "path": "/spec/paused" }]),
    )
    .await;
    current(at, "paused", "1").await;
}

async fn kinds_that_are_not_served_are_not_found(at: &Place<'_>) {
    let ghost = at.object(GHOSTS, "ghost");
    assert_eq!(at.cluster.get(&ghost).await, Ok(None));
    let selection = Selection::default();
    let listed = at.cluster.list(GHOSTS, &selection).await;
    assert_eq!(listed, Err(Error::NotFound));
    let body = json!({
        "apiVersion": GHOSTS.api_version(),
        "kind": GHOSTS.kind,
        "metadata": { "name": "ghost", "namespace": at.namespace },
    });
    let created = at.cluster.create(GHOSTS, body).await;
    assert_eq!(created, Err(Error::NotFound));
    let deleted = at.cluster.delete(&ghost, "any").await;
    assert_eq!(deleted, Ok(()));
}
