use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::decide::traffic::{Unseen, UnseenCause};
use crate::port::Error;
use crate::port::simulated::{ApiFault, ApiRule, Settings, SimulatedCluster, Verb};

const DEPLOYMENT: &str = "5eed0006";
const RESTORED: &str = "rs-restored";
const BAD: &str = "rs-bad";

fn deployment() -> Deployment {
    Deployment::read(&json!({
        "metadata": {"name": "checkout", "namespace": "shop", "uid": DEPLOYMENT, "resourceVersion": "7"},
        "spec": {"selector": {"matchLabels": {"app": "checkout"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "api"]}]},
            "template": {"metadata": {"labels": {"app": "checkout", "tier": "web", "color": "blue"}}}},
    }))
    .expect("a Deployment")
}

fn restored() -> ReplicaSet {
    ReplicaSet {
        name: "checkout-good1".to_owned(),
        uid: RESTORED.to_owned(),
        created: Timestamp::UNIX_EPOCH,
        number: 3,
    }
}

fn replica_set(name: &str, uid: &str, owner: &str) -> Value {
    json!({"metadata": {"name": name, "uid": uid, "namespace": "shop",
        "labels": {"app": "checkout", "tier": "web"},
        "ownerReferences": [{"controller": true, "uid": owner}]}})
}

fn pod(name: &str, owner: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop",
            "labels": {"app": "checkout", "tier": "web", "color": "blue", "pod-template-hash": "good1"},
            "ownerReferences": [{"controller": true, "uid": owner}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn service(name: &str, selector: &Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": "10.0.0.1", "selector": selector}})
}

fn slice(service: &str, pods: &[&str]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(
            |pod| json!({"conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod}}),
        )
        .collect();
    json!({"metadata": {"name": format!("{service}-x"), "namespace": "shop",
        "labels": {"kubernetes.io/service-name": service}}, "endpoints": endpoints})
}

/// One Service that leads to both restored pods, and nothing else.
fn settled() -> Objects {
    Objects {
        services: vec![service("checkout", &json!({"app": "checkout"}))],
        slices: vec![slice(
            "checkout",
            &["checkout-good1-aaaaa", "checkout-good1-bbbbb"],
        )],
        replica_sets: vec![
            replica_set("checkout-good1", RESTORED, DEPLOYMENT),
            replica_set("checkout-bad22", BAD, DEPLOYMENT),
            replica_set("checkout-canary-c3", "rs-canary", "another"),
        ],
        pods: vec![
            pod("checkout-good1-aaaaa", RESTORED),
            pod("checkout-good1-bbbbb", RESTORED),
            pod("checkout-canary-c3-ccccc", "rs-canary"),
        ],
    }
}

fn looked(objects: &Objects) -> Traffic {
    let bad = strings(Some(
        &json!({"app": "checkout", "tier": "web", "color": "green"}),
    ));
    let asked = Asked {
        deployment: &deployment(),
        restored: &restored(),
        bad_labels: Some(&bad),
    };
    of(&asked, objects)
}

fn serving_of(restored: usize, left: &[&str]) -> Vec<Serving> {
    vec![Serving {
        service: "checkout".to_owned(),
        headless: false,
        selects: true,
        restored,
        left: left.iter().map(|pod| (*pod).to_owned()).collect(),
    }]
}

#[test]
fn endpoints_that_are_restored_pods_are_counted() {
    let traffic = looked(&settled());
    assert_eq!(traffic.ready, 2);
    assert_eq!(traffic.services, serving_of(2, &[]));
    assert_eq!(traffic.elsewhere, []);
}

#[track_caller]
fn check_left(change: impl Fn(&mut Objects), restored: usize, left: &[&str]) {
    let mut objects = settled();
    change(&mut objects);
    assert_eq!(looked(&objects).services, serving_of(restored, left));
}

#[test]
fn an_endpoint_of_the_bad_revision_is_left() {
    let bad = "checkout-bad22-ddddd";
    let with = |pods: &[&str]| slice("checkout", pods);
    check_left(
        |objects| {
            objects.slices.push(with(&[bad]));
            objects.pods.push(pod(bad, BAD));
        },
        2,
        &[bad],
    );
    // Gone since, while the endpoint still names it.
    check_left(|objects| objects.slices.push(with(&[bad])), 2, &[bad]);
    // Of another Deployment that the Service selects as well.
    check_left(
        |objects| objects.slices.push(with(&["checkout-canary-c3-ccccc"])),
        2,
        &[],
    );
    // One that takes no new connections.
    check_left(
        |objects| {
            let mut ending = with(&[bad]);
            ending["endpoints"][0]["conditions"] =
                json!({"ready": false, "serving": true, "terminating": true});
            objects.slices.push(ending);
        },
        2,
        &[bad; 0],
    );
    // Absent means ready.
    check_left(
        |objects| {
            let mut silent = with(&[bad]);
            silent["endpoints"][0]["conditions"] = json!({});
            objects.slices.push(silent);
        },
        2,
        &[bad],
    );
}

#[test]
fn a_service_without_endpoints_leads_to_nothing() {
    check_left(|objects| objects.slices.clear(), 0, &[]);
}

#[test]
fn a_service_without_a_selector_counts_where_its_endpoints_are_our_pods() {
    let mut objects = settled();
    let by_hand = service("by-hand", &json!(null));
    objects.services.push(by_hand);
    assert_eq!(looked(&objects).services, serving_of(2, &[]));
    objects
        .slices
        .push(slice("by-hand", &["checkout-bad22-ddddd"]));
    let found = looked(&objects).services;
    assert_eq!(found[0].service, "by-hand");
    assert!(!found[0].selects);
    assert_eq!(found[0].left, ["checkout-bad22-ddddd"]);
}

#[test]
fn a_headless_service_is_known_as_one() {
    let mut objects = settled();
    objects.services[0]["spec"]["clusterIP"] = json!("None");
    assert!(looked(&objects).services[0].headless);
}

/// Whether a Service with this selector is said to be meant for the workload, and how surely.
#[track_caller]
fn check_elsewhere(selector: &Value, pods: &[&str], expected: Option<(&str, &str, bool)>) {
    let mut objects = settled();
    objects.services.push(service("other", selector));
    objects.slices.push(slice("other", pods));
    let found = looked(&objects).elsewhere;
    let expected: Vec<Elsewhere> = expected
        .into_iter()
        .map(|(key, value, selected_bad)| Elsewhere {
            service: "other".to_owned(),
            lacks: BTreeMap::from([(key.to_owned(), value.to_owned())]),
            selected_bad,
            routes: Vec::new(),
        })
        .collect();
    assert_eq!(found, expected, "{selector}");
}

#[test]
fn a_service_that_misses_the_restored_pods_is_meant_for_them_by_its_selector() {
    let green = json!({"app": "checkout", "color": "green"});
    check_elsewhere(&green, &[], Some(("color", "green", true)));
    check_elsewhere(
        &json!({"color": "green"}),
        &[],
        Some(("color", "green", true)),
    );
    check_elsewhere(
        &green,
        &["checkout-bad22-ddddd"],
        Some(("color", "green", true)),
    );
    let canary = json!({"app": "checkout", "track": "canary"});
    check_elsewhere(&canary, &[], Some(("track", "canary", false)));
    // Somebody else's pods are behind it.
    check_elsewhere(&canary, &["checkout-canary-c3-ccccc"], None);
    // Nothing says that it has to do with this workload.
    check_elsewhere(&json!({"app": "cart"}), &[], None);
    check_elsewhere(&json!({"tier": "web", "track": "canary"}), &[], None);
    check_elsewhere(&json!(null), &[], None);
    // The pods' own hash is among their labels.
    check_elsewhere(
        &json!({"app": "checkout", "pod-template-hash": "good1"}),
        &[],
        None,
    );
}

#[test]
fn routes_are_found_by_the_service_that_they_name() {
    let ingresses = [
        json!({"metadata": {"name": "shop"}, "spec": {"rules": [
            {"host": "shop.example"},
            {"http": {"paths": [{"backend": {"resource": {"name": "bucket"}}},
                {"backend": {"service": {"name": "other"}}}]}}]}}),
        json!({"metadata": {"name": "rest"}, "spec": {"defaultBackend": {"service": {"name": "other"}}}}),
        json!({"metadata": {"name": "cart"}, "spec": {"defaultBackend": {"service": {"name": "cart"}}}}),
    ];
    let route = |name: &str, backend: Value| {
        json!({"metadata": {"name": name, "namespace": "shop"},
            "spec": {"rules": [{"backendRefs": [backend]}]}})
    };
    let routes = [
        route("api", json!({"name": "other", "port": 80})),
        route("off", json!({"name": "other", "weight": 0})),
        route("away", json!({"name": "other", "namespace": "cart"})),
        route("kind", json!({"name": "other", "kind": "Backend"})),
    ];
    assert_eq!(
        leading_to("other", &ingresses, &routes),
        ["ingress/shop", "ingress/rest", "httproute/api"]
    );
}

#[tokio::test(start_paused = true)]
async fn traffic_is_read_at_the_api_server_and_what_is_refused_is_named() {
    let cluster = SimulatedCluster::new(Settings::default());
    cluster
        .deploy("shop", "checkout", "shop/checkout:1", 2)
        .expect("deployed");
    cluster.run_for(SignedDuration::from_secs(60)).await;
    let object = cluster.objects(kinds::DEPLOYMENTS, "shop").remove(0);
    let deployment = Deployment::read(&object).expect("a Deployment");
    let replica_sets = cluster.objects(kinds::REPLICA_SETS, "shop");
    let restored = deployment
        .current_replica_set(&replica_sets[0])
        .expect("current");
    let labels = json!(deployment.pod_labels);
    let pods = cluster.objects(kinds::PODS, "shop");
    let pods: Vec<&str> = pods
        .iter()
        .filter_map(|pod| text(pod, "/metadata/name"))
        .collect();
    let put = |kind, kind_name: &str, version: &str, mut body: Value| {
        body["kind"] = json!(kind_name);
        body["apiVersion"] = json!(version);
        cluster.put(kind, body).expect("stored")
    };
    put(
        kinds::SERVICES,
        "Service",
        "v1",
        service("checkout", &labels),
    );
    put(
        kinds::ENDPOINT_SLICES,
        "EndpointSlice",
        "discovery.k8s.io/v1",
        slice("checkout", &pods),
    );
    let mut canary = labels.clone();
    canary["track"] = json!("canary");
    put(kinds::SERVICES, "Service", "v1", service("canary", &canary));
    let ingress = json!({"metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"defaultBackend": {"service": {"name": "canary"}}}});
    put(kinds::INGRESSES, "Ingress", "networking.k8s.io/v1", ingress);
    let asked = Asked {
        deployment: &deployment,
        restored: &restored,
        bad_labels: None,
    };

    let seen = traffic(&cluster, &asked).await;
    assert_eq!((seen.ready, seen.services[0].restored), (2, 2));
    assert_eq!(seen.elsewhere[0].routes, ["ingress/shop"]);
    assert_eq!(seen.unseen, []);

    let forbidden = Error::Forbidden {
        message: "no".to_owned(),
    };
    cluster.break_api(ApiRule::next(
        Verb::List,
        kinds::ENDPOINT_SLICES,
        ApiFault::Refused(forbidden),
    ));
    let blind = traffic(&cluster, &asked).await;
    let unseen = Unseen {
        verb: "list",
        resource: "endpointslices.discovery.k8s.io".to_owned(),
        cause: UnseenCause::Forbidden,
    };
    assert_eq!(blind.unseen, [unseen]);
    assert_eq!(blind.services[0].restored, 0);
}
