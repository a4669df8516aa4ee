//! Every shape that is known, with the names and labels that the products really use.
//!
//! docs/presets.md is made of this. A test on a real Prometheus scrapes each of them.

use super::{Failed, Histogram, Identity, Spec, Unit};
use crate::decide::Preset;

const POD: Identity = Identity::Pod {
    namespace: "namespace",
    pod: "pod",
};

/// How the client libraries that people use most name the label of the status code.
pub(super) const HTTP_CODES: &[&str] = &[
    "code",
    "status",
    "status_code",
    "http_status",
    "response_code",
];

const ENVOY_CODES: &[&str] = &["envoy_response_code", "envoy_response_code_class"];
/// The second counts by class and is there where the first is filtered out.
const ENVOY_COUNTERS: &[&str] = &["envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_xx"];
const ENVOY_LATENCY: Histogram = Histogram {
    name: "envoy_cluster_upstream_rq_time",
    unit: Unit::Milliseconds,
};

/// What the conventions ask for is called that where a collector makes labels of resource attributes.
const K8S_POD: Identity = Identity::Pod {
    namespace: "k8s_namespace_name",
    pod: "k8s_pod_name",
};

const INGRESS_NGINX: Spec = Spec {
    preset: Preset::IngressNginx,
    counters: &["nginx_ingress_controller_requests"],
    native_counters: &[],
    own: "",
    failed: Failed::Code(&["status"]),
    latency: Some(Histogram {
        name: "nginx_ingress_controller_request_duration_seconds",
        unit: Unit::Seconds,
    }),
    identity: Identity::Service {
        namespace: "exported_namespace",
        service: "exported_service",
    },
    one_target: false,
};

const TRAEFIK: Spec = Spec {
    preset: Preset::Traefik,
    counters: &["traefik_service_requests_total"],
    native_counters: &[],
    own: "",
    failed: Failed::Code(&["code"]),
    latency: Some(Histogram {
        name: "traefik_service_request_duration_seconds",
        unit: Unit::Seconds,
    }),
    identity: Identity::Traefik {
        service: "exported_service",
    },
    one_target: false,
};

const OPEN_TELEMETRY: Spec = Spec {
    preset: Preset::OpenTelemetry,
    counters: &[
        "http_server_request_duration_seconds_count",
        // The conventions before they were stable.
        "http_server_duration_milliseconds_count",
    ],
    native_counters: &[
        "http_server_request_duration_seconds",
        "http_server_duration_milliseconds",
    ],
    own: "",
    failed: Failed::OpenTelemetry,
    latency: Some(Histogram {
        name: "http_server_request_duration_seconds",
        unit: Unit::Seconds,
    }),
    identity: POD,
    one_target: false,
};

const OPEN_TELEMETRY_BEFORE: Spec = Spec {
    counters: &[],
    native_counters: &[],
    latency: Some(Histogram {
        name: "http_server_duration_milliseconds",
        unit: Unit::Milliseconds,
    }),
    ..OPEN_TELEMETRY
};

const HTTP_REQUESTS: Spec = Spec {
    preset: Preset::HttpRequests,
    counters: &[
        "http_requests_total",
        "http_request_duration_seconds_count",
        "http_server_requests_total",
        "http_request_total",
        // prometheus-net, and the exporters for Flask and Django.
        "http_requests_received_total",
        "flask_http_request_total",
        "django_http_responses_total_by_status_total",
        "http_request_duration_milliseconds_count",
    ],
    native_counters: &["http_request_duration_seconds"],
    own: "",
    failed: Failed::Code(HTTP_CODES),
    latency: Some(Histogram {
        name: "http_request_duration_seconds",
        unit: Unit::Seconds,
    }),
    identity: POD,
    one_target: false,
};

const GRPC: Spec = Spec {
    preset: Preset::Grpc,
    counters: &["grpc_server_handled_total"],
    native_counters: &[],
    own: "",
    // The second is what Java and Python said at first.
    failed: Failed::Grpc(&["grpc_code", "code"]),
    latency: Some(Histogram {
        name: "grpc_server_handling_seconds",
        unit: Unit::Seconds,
    }),
    identity: POD,
    one_target: false,
};

/// In the order in which `Auto` looks: meshes first, whose proxies count also what the app could not
/// answer; then what the apps count themselves; last what is counted in front of them, which does not
/// tell revisions apart. A preset with more than one entry is labelled in more than one way.
pub const SPECS: &[Spec] = &[
    Spec {
        preset: Preset::Istio,
        counters: &["istio_requests_total"],
        native_counters: &[],
        // What the source reports is about this pod too, and would count everything twice.
        own: r#"reporter=~"destination|waypoint""#,
        failed: Failed::Istio,
        latency: Some(Histogram {
            name: "istio_request_duration_milliseconds",
            unit: Unit::Milliseconds,
        }),
        identity: Identity::Istio { pod: "pod" },
        one_target: true,
    },
    Spec {
        preset: Preset::Linkerd,
        counters: &["response_total"],
        native_counters: &[],
        own: r#"direction="inbound""#,
        failed: Failed::Linkerd,
        latency: Some(Histogram {
            name: "response_latency_ms",
            unit: Unit::Milliseconds,
        }),
        identity: POD,
        one_target: true,
    },
    OPEN_TELEMETRY,
    Spec {
        identity: K8S_POD,
        ..OPEN_TELEMETRY
    },
    OPEN_TELEMETRY_BEFORE,
    Spec {
        identity: K8S_POD,
        ..OPEN_TELEMETRY_BEFORE
    },
    Spec {
        preset: Preset::Micrometer,
        counters: &["http_server_requests_seconds_count"],
        native_counters: &["http_server_requests_seconds"],
        own: "",
        failed: Failed::Micrometer,
        latency: Some(Histogram {
            name: "http_server_requests_seconds",
            unit: Unit::Seconds,
        }),
        identity: POD,
        one_target: false,
    },
    HTTP_REQUESTS,
    Spec {
        counters: &[],
        native_counters: &[],
        latency: Some(Histogram {
            name: "flask_http_request_duration_seconds",
            unit: Unit::Seconds,
        }),
        ..HTTP_REQUESTS
    },
    Spec {
        counters: &[],
        native_counters: &[],
        latency: Some(Histogram {
            name: "http_request_duration_milliseconds",
            unit: Unit::Milliseconds,
        }),
        ..HTTP_REQUESTS
    },
    GRPC,
    // Java, and Python at first.
    Spec {
        counters: &[],
        latency: Some(Histogram {
            name: "grpc_server_handled_latency_seconds",
            unit: Unit::Seconds,
        }),
        ..GRPC
    },
    INGRESS_NGINX,
    // Found by its pod, which has a namespace and no Service.
    Spec {
        identity: Identity::Service {
            namespace: "exported_namespace",
            service: "service",
        },
        ..INGRESS_NGINX
    },
    // Scraped with honorLabels: nothing had to be renamed.
    Spec {
        identity: Identity::Service {
            namespace: "namespace",
            service: "service",
        },
        ..INGRESS_NGINX
    },
    TRAEFIK,
    Spec {
        identity: Identity::Traefik { service: "service" },
        ..TRAEFIK
    },
    Spec {
        preset: Preset::Contour,
        counters: ENVOY_COUNTERS,
        native_counters: &[],
        own: "",
        failed: Failed::Code(ENVOY_CODES),
        latency: Some(ENVOY_LATENCY),
        identity: Identity::ContourCluster,
        one_target: false,
    },
    Spec {
        preset: Preset::EnvoyGateway,
        counters: ENVOY_COUNTERS,
        native_counters: &[],
        own: "",
        failed: Failed::Code(ENVOY_CODES),
        latency: Some(ENVOY_LATENCY),
        identity: Identity::EnvoyGatewayCluster,
        one_target: false,
    },
];
