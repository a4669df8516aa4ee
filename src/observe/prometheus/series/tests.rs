//! What is asked for, and what a series is about.

use super::*;
use crate::decide::Preset;

fn shapes(preset: Preset) -> Vec<SpecId> {
    SpecId::of(preset).collect()
}

fn series(metric: Metric) -> Series {
    Series {
        source: "default".to_owned(),
        tenant: None,
        metric,
        matchers: String::new(),
        labels: LabelNames::default(),
    }
}

fn narrowed(namespaces: &[String]) -> Narrowed<'_> {
    Narrowed {
        namespaces,
        ..Narrowed::default()
    }
}

fn namespaces() -> Vec<String> {
    vec!["pay-ments".to_owned(), "shop".to_owned()]
}

#[track_caller]
fn check(metric: Metric, expected: &str) {
    let selector = series(metric).selector(&narrowed(&namespaces()));
    assert_eq!(selector, expected);
}

#[track_caller]
fn check_requests(preset: Preset, expected: &[&str]) {
    for (id, expected) in shapes(preset).into_iter().zip(expected) {
        check(Metric::Requests(id), expected);
    }
}

#[test]
fn one_selector_serves_all_namespaces() {
    check_requests(
        Preset::Istio,
        &[
            r#"istio_requests_total{destination_workload_namespace=~"pay-ments|shop",reporter=~"destination|waypoint"}"#,
        ],
    );
    check_requests(
        Preset::Linkerd,
        &[r#"response_total{namespace=~"pay-ments|shop",direction="inbound"}"#],
    );
    check_requests(
        Preset::HttpRequests,
        &[
            r#"{__name__=~"http_requests_total|http_request_duration_seconds_count|http_server_requests_total|http_request_total|http_requests_received_total|flask_http_request_total|django_http_responses_total_by_status_total|http_request_duration_milliseconds_count|http_request_duration_seconds",namespace=~"pay-ments|shop"}"#,
        ],
    );
    check_requests(
        Preset::IngressNginx,
        &[
            r#"nginx_ingress_controller_requests{exported_namespace=~"pay-ments|shop"}"#,
            r#"nginx_ingress_controller_requests{exported_namespace=~"pay-ments|shop"}"#,
            r#"nginx_ingress_controller_requests{namespace=~"pay-ments|shop"}"#,
        ],
    );
    check_requests(
        Preset::Traefik,
        &[
            r#"traefik_service_requests_total{exported_service=~"pay-ments[-_].+|shop[-_].+"}"#,
            r#"traefik_service_requests_total{service=~"pay-ments[-_].+|shop[-_].+"}"#,
        ],
    );
    check_requests(
        Preset::Contour,
        &[
            r#"{__name__=~"envoy_cluster_upstream_rq|envoy_cluster_upstream_rq_xx",envoy_cluster_name=~"pay-ments_.+|shop_.+"}"#,
        ],
    );
    check_requests(
        Preset::EnvoyGateway,
        &[
            r#"{__name__=~"envoy_cluster_upstream_rq|envoy_cluster_upstream_rq_xx",envoy_cluster_name=~"httproute/pay-ments/.+|httproute/shop/.+"}"#,
        ],
    );
    check(
        Metric::Probes(Probe::Liveness),
        r#"prober_probe_total{namespace=~"pay-ments|shop",probe_type="Liveness"}"#,
    );
}

#[test]
fn an_alert_is_asked_for_by_its_labels_and_only_while_it_fires() {
    let labels = BTreeMap::from([("alertname".to_owned(), "Checkout\"Down".to_owned())]);
    check(
        Metric::Alert(labels),
        r#"ALERTS{namespace=~"pay-ments|shop",alertstate="firing",alertname="Checkout\"Down"}"#,
    );
}

#[test]
fn of_a_histogram_only_the_edges_that_are_needed_are_asked_for() {
    let id = shapes(Preset::Grpc)[0];
    let selector = series(Metric::Latency(id)).selector(&Narrowed {
        namespaces: &namespaces(),
        edges: BTreeSet::from(["0.5".to_owned(), "+Inf".to_owned()]),
        forced: "",
    });
    assert_eq!(
        selector,
        r#"{__name__=~"grpc_server_handling_seconds_bucket|grpc_server_handling_seconds",namespace=~"pay-ments|shop",le=~"\\+Inf|0\\.5|"}"#
    );
}

#[test]
fn matchers_of_the_policy_and_of_the_admin_come_along() {
    let selector = Series {
        matchers: r#"route="/pay""#.to_owned(),
        ..series(Metric::Requests(shapes(Preset::Grpc)[0]))
    }
    .selector(&Narrowed {
        namespaces: &namespaces()[1..],
        edges: BTreeSet::new(),
        forced: r#"cluster="eu""#,
    });
    assert_eq!(
        selector,
        r#"grpc_server_handled_total{namespace=~"shop",route="/pay",cluster="eu"}"#
    );
}

#[test]
fn labels_may_be_named_otherwise() {
    let series = Series {
        labels: LabelNames {
            pod: Some("kubernetes_pod_name".to_owned()),
            namespace: Some("kubernetes_namespace".to_owned()),
        },
        ..series(Metric::Requests(shapes(Preset::Micrometer)[0]))
    };
    let selector = series.selector(&narrowed(&namespaces()));
    assert!(
        selector.contains(r#",kubernetes_namespace=~"pay-ments|shop"}"#),
        "{selector}"
    );
    let labels: Labels<'_> = [
        ("namespace", "monitoring"),
        ("kubernetes_namespace", "shop"),
        ("kubernetes_pod_name", "checkout-1"),
    ]
    .into_iter()
    .collect();
    assert_eq!(
        series.owner(&labels),
        Some(("shop".to_owned(), Subject::Pod("checkout-1".to_owned())))
    );
}

#[track_caller]
fn check_owner(id: SpecId, labels: &[(&str, &str)], expected: Option<(&str, Subject)>) {
    let labels: Labels<'_> = labels.iter().copied().collect();
    let owner = series(Metric::Requests(id)).owner(&labels);
    assert_eq!(
        owner,
        expected.map(|(namespace, subject)| (namespace.to_owned(), subject))
    );
}

#[test]
fn what_a_series_is_about_is_in_its_labels() {
    let pod = || Subject::Pod("checkout-1".to_owned());
    check_owner(
        shapes(Preset::Linkerd)[0],
        &[("namespace", "shop"), ("pod", "checkout-1")],
        Some(("shop", pod())),
    );
    check_owner(shapes(Preset::Linkerd)[0], &[("namespace", "shop")], None);
    let istio = shapes(Preset::Istio)[0];
    check_owner(
        istio,
        &[
            ("reporter", "destination"),
            ("pod", "checkout-1"),
            ("destination_workload", "checkout"),
            ("destination_workload_namespace", "shop"),
        ],
        Some(("shop", pod())),
    );
    check_owner(
        istio,
        &[
            ("reporter", "waypoint"),
            ("pod", "waypoint-7"),
            ("namespace", "istio-system"),
            ("destination_workload", "checkout"),
            ("destination_workload_namespace", "shop"),
        ],
        Some(("shop", Subject::Workload("checkout".to_owned()))),
    );
    check_owner(
        shapes(Preset::OpenTelemetry)[1],
        &[
            ("k8s_namespace_name", "shop"),
            ("k8s_pod_name", "checkout-1"),
        ],
        Some(("shop", Subject::Pod("checkout-1".to_owned()))),
    );
}

#[test]
fn what_is_counted_in_front_of_pods_is_about_services_or_routes() {
    let service = || Subject::Service("checkout".to_owned());
    check_owner(
        shapes(Preset::IngressNginx)[0],
        &[
            ("namespace", "ingress-nginx"),
            ("exported_namespace", "shop"),
            ("exported_service", "checkout"),
        ],
        Some(("shop", service())),
    );
    check_owner(
        shapes(Preset::IngressNginx)[1],
        &[("exported_namespace", "shop"), ("service", "checkout")],
        Some(("shop", service())),
    );
    check_owner(
        shapes(Preset::IngressNginx)[2],
        &[("namespace", "shop"), ("service", "checkout")],
        Some(("shop", service())),
    );
    check_owner(
        shapes(Preset::Traefik)[1],
        &[("service", "shop-checkout-80@kubernetescrd")],
        Some(("", Subject::TraefikService("shop-checkout-80".to_owned()))),
    );
    check_owner(
        shapes(Preset::Traefik)[1],
        &[("service", "api@internal")],
        None,
    );
    check_owner(
        shapes(Preset::Contour)[0],
        &[("envoy_cluster_name", "shop_checkout_80")],
        Some(("shop", service())),
    );
    check_owner(
        shapes(Preset::Contour)[0],
        &[("envoy_cluster_name", "contour")],
        None,
    );
    check_owner(
        shapes(Preset::EnvoyGateway)[0],
        &[("envoy_cluster_name", "httproute/shop/checkout/rule/0")],
        Some(("shop", Subject::Route("checkout/rule/0".to_owned()))),
    );
    check_owner(
        shapes(Preset::EnvoyGateway)[0],
        &[("envoy_cluster_name", "grpcroute/shop/checkout/rule/0")],
        None,
    );
}

#[test]
fn names_of_objects_never_leave_their_quotes() {
    let hostile = vec![r#"a"}) or vector(1) or up{b=~"#.to_owned()];
    for id in SpecId::of(Preset::Auto) {
        let selector = series(Metric::Requests(id)).selector(&narrowed(&hostile));
        let mut escaped = false;
        let quotes = selector.chars().filter(|character| {
            let is_quote = *character == '"' && !escaped;
            escaped = *character == '\\' && !escaped;
            is_quote
        });
        assert_eq!(quotes.count() % 2, 0, "{selector}");
        assert!(!selector.contains("vector(1)"), "{selector}");
    }
}

#[test]
fn a_search_names_each_owner_and_what_tells_failures() {
    let id = shapes(Preset::Istio)[0];
    assert_eq!(
        finding(&series(Metric::Requests(id)), &narrowed(&namespaces()[1..])),
        r#"group by (reporter, destination_workload, destination_workload_namespace, pod, response_code, grpc_response_status) (istio_requests_total{destination_workload_namespace=~"shop",reporter=~"destination|waypoint"})"#
    );
    let id = shapes(Preset::Contour)[0];
    assert_eq!(
        edges(
            &series(Metric::Latency(id)),
            &narrowed(&namespaces()[1..]),
            None
        )
        .as_deref(),
        Some(
            r#"group by (le) (envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~"shop_.+"})"#
        )
    );
    let minute = Some(SignedDuration::from_secs(60));
    assert_eq!(
        edges(
            &series(Metric::Latency(id)),
            &narrowed(&namespaces()[1..]),
            minute
        )
        .as_deref(),
        Some(
            r#"group by (le) (last_over_time(envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~"shop_.+"}[60s]))"#
        )
    );
}
