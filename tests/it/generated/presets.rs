//! The table of presets, for people.

use std::collections::BTreeSet;

use astern::observe::prometheus::presets::{Failed, Histogram, Identity, SPECS, Spec, Unit};

/// Returns the table, in the order in which `Auto` looks: one row per preset.
pub(super) fn table() -> String {
    let mut table = String::from(
        "\n| preset | requests | failed | latency | labels | tells revisions apart |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for specs in SPECS.chunk_by(|one, other| one.preset == other.preset) {
        let cells = [
            format!("`{}`", specs[0].preset.name()),
            lines(specs.iter().flat_map(counters)),
            failed(specs[0].failed),
            lines(specs.iter().filter_map(|spec| spec.latency).map(histogram)),
            lines(specs.iter().map(|spec| labels(spec.identity))),
            apart(specs[0].identity).to_owned(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        table.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    table.push('\n');
    table
}

/// Returns each line once, in order.
fn lines(all: impl Iterator<Item = String>) -> String {
    let mut seen = BTreeSet::new();
    let lines: Vec<String> = all.filter(|line| seen.insert(line.clone())).collect();
    lines.join("<br>")
}

fn counters(spec: &Spec) -> impl Iterator<Item = String> {
    let own = if spec.own.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", spec.own)
    };
    let classic = spec.counters.iter().map({
        let own = own.clone();
        move |name| format!("`{name}{own}`")
    });
    let native = spec.native_counters.iter();
    classic.chain(native.map(move |name| format!("`{name}{own}` (native)")))
}

fn failed(failed: Failed) -> String {
    let names = |names: &[&str]| {
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    };
    match failed {
        Failed::Code(labels) if labels.len() == 1 => format!("{} begins with 5", names(labels)),
        Failed::Code(labels) => format!("the first of {} begins with 5", names(labels)),
        Failed::Grpc(labels) => format!("the first of {} is the server's fault", names(labels)),
        Failed::Istio => {
            "`response_code` begins with 5, or `grpc_response_status` is the server's fault".to_owned()
        }
        Failed::Linkerd => "`classification` is `failure`".to_owned(),
        Failed::OpenTelemetry => {
            "the first of `http_response_status_code`, `http_status_code` begins with 5; without either, there is an `error_type`"
                .to_owned()
        }
        Failed::Micrometer => {
            "`status` begins with 5, or `outcome` is `SERVER_ERROR`".to_owned()
        }
    }
}

fn histogram(histogram: Histogram) -> String {
    let unit = match histogram.unit {
        Unit::Seconds => "seconds",
        Unit::Milliseconds => "milliseconds",
    };
    format!("`{}` ({unit})", histogram.name)
}

fn labels(identity: Identity) -> String {
    match identity {
        Identity::Pod { namespace, pod } => format!("`{namespace}`, `{pod}`"),
        Identity::Istio { pod } => format!(
            "`destination_workload_namespace`, `{pod}`; of waypoints `destination_workload`"
        ),
        Identity::Service { namespace, service } => format!("`{namespace}`, `{service}`"),
        Identity::Traefik { service } => {
            format!("`{service}`: `<namespace>-<service>-<port>@kubernetes…`")
        }
        Identity::ContourCluster => {
            "`envoy_cluster_name`: `<namespace>_<service>_<port>`".to_owned()
        }
        Identity::EnvoyGatewayCluster => {
            "`envoy_cluster_name`: `httproute/<namespace>/<route>/rule/<number>`".to_owned()
        }
    }
}

fn apart(identity: Identity) -> &'static str {
    if matches!(identity, Identity::Istio { .. }) {
        "yes; waypoints no"
    } else if identity.tells_revisions_apart() {
        "yes"
    } else {
        "no"
    }
}
