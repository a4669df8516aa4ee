//! Which names in metrics lead to a Deployment.

use serde_json::json;

use super::*;
use crate::decide::Preset;
use crate::observe::prometheus::presets::SpecId;

fn paths() -> Paths {
    let service = |name: &str, app: &str| {
        json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": app}, "ports": [{"port": 80, "name": "http"}, {"port": 9090}]},
        })
    };
    let headless = json!({"metadata": {"name": "outside"}, "spec": {"externalName": "example"}});
    let route = json!({
        "metadata": {"name": "front", "namespace": "shop"},
        "spec": {"rules": [
            {"backendRefs": [{"name": "other"}]},
            {"backendRefs": [{"name": "checkout"}, {"name": "other"}]},
            {"backendRefs": [{"name": "checkout", "namespace": "elsewhere"}]},
            {"backendRefs": [{"name": "checkout", "kind": "Bucket"}]},
            {},
        ]},
    });
    let services = [
        service("checkout", "checkout"),
        service("other", "other"),
        headless,
    ];
    let nonsense = [json!({"spec": 1}), json!(null)];
    let routes = [&[route][..], &nonsense].concat();
    let ingress_routes = [&[ingress_route()][..], &nonsense].concat();
    Paths::read(&services, &routes, &ingress_routes)
}

fn ingress_route() -> Value {
    json!({
        "metadata": {"name": "test.route", "namespace": "shop"},
        "spec": {"routes": [
            {"match": "Host(`a`)", "services": [{"name": "other", "port": 80}]},
            {
                "match": "Host(`foo.com`) && PathPrefix(`/bar`)",
                "services": [{"name": "checkout", "port": 80}],
            },
            {"match": "Host(`b`)", "services": [{"name": "checkout"}, {"name": "other"}]},
            {"match": "Host(`c`)", "services": [{"name": "checkout", "kind": "TraefikService"}]},
            {"match": "Host(`d`)", "services": [{"name": "checkout", "namespace": "elsewhere"}]},
            {"services": [{"name": "checkout"}]},
        ]},
    })
}

#[track_caller]
fn check(preset: Preset, expected: &[(&str, Subject)]) {
    let labels = BTreeMap::from([
        ("app".to_owned(), "checkout".to_owned()),
        ("tier".to_owned(), "web".to_owned()),
    ]);
    for id in SpecId::of(preset) {
        let owners = paths().owners(id.spec().identity, "shop", &labels);
        let expected: Vec<Owner> = expected
            .iter()
            .map(|(namespace, subject)| ((*namespace).to_owned(), subject.clone()))
            .collect();
        assert_eq!(owners, expected, "{preset:?}");
    }
}

#[test]
fn services_are_joined_by_what_they_select() {
    let service = Subject::Service("checkout".to_owned());
    check(Preset::IngressNginx, &[("shop", service.clone())]);
    check(Preset::Contour, &[("shop", service)]);
}

#[test]
fn traefik_names_ports_by_number_or_by_name_and_routes_by_their_rule_or_number() {
    let names = [
        "shop-checkout-80",
        "shop_checkout_80",
        "shop-checkout-http",
        "shop_checkout_http",
        "shop-checkout-9090",
        "shop_checkout_9090",
        // The digest is what Traefik's own tests expect for this rule.
        "shop-test-route-6b204d94623b3df4370c",
        "shop_test.route_1",
    ];
    let expected = names.map(|name| ("", Subject::TraefikService(name.to_owned())));
    check(Preset::Traefik, &expected);
}

#[test]
fn rules_of_routes_are_joined_by_the_services_that_they_lead_to() {
    let rule = Subject::Route("front/rule/1".to_owned());
    check(Preset::EnvoyGateway, &[("shop", rule)]);
}

#[test]
fn what_counts_by_pod_needs_no_service() {
    check(Preset::Linkerd, &[]);
}
