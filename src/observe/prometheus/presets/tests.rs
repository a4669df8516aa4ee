//! Which requests each shape takes to have failed.

use super::specs::HTTP_CODES;
use super::*;

#[track_caller]
fn check(preset: Preset, labels: &[(&str, &str)], failed: bool) {
    for id in SpecId::of(preset) {
        let labels: Labels<'_> = labels.iter().copied().collect();
        assert_eq!(id.spec().failed.is_failed(&labels), failed, "{labels:?}");
    }
}

#[test]
fn every_preset_but_auto_has_a_shape_and_auto_has_all() {
    for preset in Preset::ALL {
        let count = SpecId::of(preset).count();
        assert!(count > 0, "{preset:?}");
        if preset == Preset::Auto {
            assert_eq!(count, SPECS.len());
        }
    }
}

#[test]
fn codes_and_classes_of_http_tell_failures() {
    for label in HTTP_CODES {
        check(Preset::HttpRequests, &[(label, "503")], true);
        check(Preset::HttpRequests, &[(label, "5xx")], true);
        check(Preset::HttpRequests, &[(label, "404")], false);
    }
    check(Preset::HttpRequests, &[], false);
    check(Preset::IngressNginx, &[("status", "502")], true);
    check(Preset::IngressNginx, &[("status", "499")], false);
    check(Preset::Traefik, &[("code", "500")], true);
    check(Preset::Contour, &[("envoy_response_code", "503")], true);
    check(
        Preset::EnvoyGateway,
        &[("envoy_response_code_class", "5")],
        true,
    );
    check(
        Preset::EnvoyGateway,
        &[("envoy_response_code_class", "2")],
        false,
    );
}

#[test]
fn the_first_label_that_is_there_decides() {
    check(
        Preset::HttpRequests,
        &[("code", "200"), ("status", "500")],
        false,
    );
    check(
        Preset::HttpRequests,
        &[("code", ""), ("status", "500")],
        true,
    );
}

#[test]
fn grpc_codes_that_are_the_servers_fault_fail_however_they_are_spelled() {
    for code in [
        "Unknown",
        "DeadlineExceeded",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
    ] {
        check(Preset::Grpc, &[("grpc_code", code)], true);
    }
    for code in ["DEADLINE_EXCEEDED", "DATA_LOSS", "UNAVAILABLE"] {
        check(Preset::Grpc, &[("grpc_code", code)], true);
    }
    for code in [
        "OK",
        "Canceled",
        "InvalidArgument",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unauthenticated",
    ] {
        check(Preset::Grpc, &[("grpc_code", code)], false);
    }
}

#[test]
fn grpc_codes_are_found_under_the_name_that_java_and_python_gave_them_first() {
    check(Preset::Grpc, &[("code", "INTERNAL")], true);
    check(Preset::Grpc, &[("code", "OK")], false);
    check(
        Preset::Grpc,
        &[("code", "INTERNAL"), ("grpc_code", "OK")],
        false,
    );
}

#[track_caller]
fn check_told(preset: Preset, labels: &[(&str, &str)], told: bool) {
    for id in SpecId::of(preset) {
        let labels: Labels<'_> = labels.iter().copied().collect();
        assert_eq!(id.spec().failed.is_told(&labels), told, "{labels:?}");
    }
}

#[test]
fn a_series_without_an_outcome_does_not_count_as_success() {
    let method = ("method", "GET");
    check_told(Preset::HttpRequests, &[method], false);
    check_told(Preset::HttpRequests, &[method, ("code", "")], false);
    check_told(Preset::HttpRequests, &[method, ("status", "200")], true);
    check_told(Preset::Grpc, &[("grpc_method", "Pay")], false);
    // Ruby's middleware has a histogram of the same name, without the status.
    check_told(Preset::OpenTelemetry, &[method, ("path", "/pay")], false);
    check_told(
        Preset::OpenTelemetry,
        &[("http_request_method", "GET")],
        true,
    );
}

#[test]
fn istio_counts_grpc_that_failed_behind_a_200() {
    check(Preset::Istio, &[("response_code", "500")], true);
    check(Preset::Istio, &[("code", "500")], false);
    check(
        Preset::Istio,
        &[("response_code", "200"), ("grpc_response_status", "14")],
        true,
    );
    check(
        Preset::Istio,
        &[("response_code", "200"), ("grpc_response_status", "5")],
        false,
    );
    // The client went away.
    check(Preset::Istio, &[("response_code", "0")], false);
}

#[test]
fn shapes_with_words_of_their_own_are_understood() {
    check(Preset::Linkerd, &[("classification", "failure")], true);
    check(
        Preset::Linkerd,
        &[("classification", "success"), ("status_code", "500")],
        false,
    );
    check(
        Preset::Micrometer,
        &[("status", "500"), ("outcome", "SERVER_ERROR")],
        true,
    );
    check(
        Preset::Micrometer,
        &[("status", "404"), ("outcome", "CLIENT_ERROR")],
        false,
    );
    check(
        Preset::OpenTelemetry,
        &[("http_response_status_code", "500")],
        true,
    );
    check(
        Preset::OpenTelemetry,
        &[("http_response_status_code", "404"), ("error_type", "404")],
        false,
    );
    check(
        Preset::OpenTelemetry,
        &[("error_type", "java.net.SocketException")],
        true,
    );
    check(Preset::OpenTelemetry, &[("http_status_code", "503")], true);
}

#[test]
fn a_label_that_a_policy_names_leaves_one_spelling_of_a_shape() {
    let named = LabelNames {
        pod: None,
        namespace: Some("kubernetes_namespace".to_owned()),
    };
    for preset in Preset::ALL {
        let fitting = SpecId::of(preset).filter(|id| id.fits(&named)).count();
        // Those whose latency has more than one name are more than one shape, however labelled.
        let expected = match preset {
            Preset::Auto => 14,
            Preset::HttpRequests => 3,
            Preset::OpenTelemetry | Preset::Grpc => 2,
            Preset::Istio
            | Preset::Linkerd
            | Preset::Micrometer
            | Preset::IngressNginx
            | Preset::Traefik
            | Preset::Contour
            | Preset::EnvoyGateway => 1,
        };
        assert_eq!(fitting, expected, "{preset:?}");
    }
}
