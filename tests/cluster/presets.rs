//! Every preset against a real Prometheus that scrapes what the products really expose, labelled as
//! their usual set-ups label it.
//!
//! The text of a row is in `presets/<name>.prom`, and what must be known of it here.

mod exposition;
mod eyes;
mod native;
mod row;
mod scraper;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use astern::decide::Preset;
use astern_testbed::bed::Bed;
use jiff::Timestamp;
use serde_json::json;

use self::{
    exposition::{Exposition, Target},
    eyes::Open,
    row::{Known, Row},
    scraper::Scraper,
};
use crate::{
    objects::Kind,
    stage::{POLICY, Stage},
    support::{GOOD, installed, run, within},
};

/// Two scrapes for each of three phases, on a loaded machine.
const PHASES: Duration = Duration::from_secs(60);
/// Every shape is asked for at least once a minute, and what was found right away.
const LOOKING: Duration = Duration::from_secs(90);

macro_rules! row {
    ($name:literal, $preset:ident, $known:expr) => {
        Row::new(
            $name,
            include_str!(concat!("presets/", $name, ".prom")),
            Preset::$preset,
            $known,
        )
    };
}

const fn pods(old: (f64, f64), new: (f64, f64)) -> Known {
    Known::Pods { old, new }
}

const fn times(before: (f64, f64), after: (f64, f64)) -> Known {
    Known::BeforeAndAfter { before, after }
}

/// What most files say.
const PODS: Known = pods((1000.0, 10.0), (500.0, 65.0));
const SLOW_PODS: Known = pods((1000.0, 20.0), (500.0, 100.0));
const TIMES: Known = times((1000.0, 10.0), (500.0, 65.0));
const SLOW_TIMES: Known = times((1000.0, 20.0), (500.0, 100.0));

const ROWS: &[Row] = &[
    row!("istio-sidecar", Istio, PODS).latency("250ms", pods((1000.0, 20.0), (300.0, 40.0))),
    row!(
        "istio-waypoint",
        Istio,
        times((1000.0, 10.0), (500.0, 50.0))
    )
    .latency("250ms", times((1000.0, 20.0), (500.0, 120.0))),
    // The app counts too, but not what it could not answer.
    row!(
        "istio-before-the-app",
        Istio,
        pods((0.0, 0.0), (100.0, 20.0))
    ),
    // Half way between two buckets.
    row!("linkerd", Linkerd, PODS).latency("250ms", pods((1000.0, 30.0), (500.0, 90.0))),
    row!("opentelemetry", OpenTelemetry, PODS).latency("250ms", SLOW_PODS),
    row!("opentelemetry-by-a-collector", OpenTelemetry, PODS)
        .latency("250ms", pods((990.0, 20.0), (500.0, 120.0))),
    row!("opentelemetry-before-stable", OpenTelemetry, PODS).latency("250ms", SLOW_PODS),
    row!("opentelemetry-native", OpenTelemetry, PODS).latency("250ms", SLOW_PODS),
    row!("micrometer", Micrometer, PODS).latency("250ms", SLOW_PODS),
    row!("http-go", HttpRequests, PODS).latency("250ms", SLOW_PODS),
    row!("http-express", HttpRequests, PODS).latency("250ms", SLOW_PODS),
    row!("http-fastapi", HttpRequests, PODS).latency("500ms", SLOW_PODS),
    row!("http-aspnet", HttpRequests, PODS),
    row!("http-rack", HttpRequests, PODS),
    row!("http-flask", HttpRequests, PODS).latency("250ms", SLOW_PODS),
    row!("http-django", HttpRequests, PODS),
    row!("http-request-total", HttpRequests, PODS),
    row!("http-milliseconds", HttpRequests, PODS).latency("250ms", SLOW_PODS),
    row!("http-converted", HttpRequests, PODS).latency("250ms", SLOW_PODS),
    row!("http-native", HttpRequests, PODS).latency("250ms", SLOW_PODS),
    row!("http-old-labels", HttpRequests, PODS)
        .labels("kubernetes_pod_name", "kubernetes_namespace"),
    row!("http-exported-labels", HttpRequests, PODS).labels("exported_pod", "exported_namespace"),
    row!("http-one-route", HttpRequests, PODS).matchers("path=\"/pay\""),
    // Two jobs scrape the same pods, which counts once.
    row!("http-twice", HttpRequests, PODS),
    row!("http-without-codes", HttpRequests, Known::Nothing),
    row!("grpc-go", Grpc, PODS).latency("250ms", SLOW_PODS),
    row!("grpc-java", Grpc, PODS).latency("250ms", SLOW_PODS),
    row!("ingress-nginx-service-monitor", IngressNginx, TIMES).latency("250ms", SLOW_TIMES),
    row!("ingress-nginx-pods", IngressNginx, TIMES).latency("250ms", SLOW_TIMES),
    row!("ingress-nginx-honoring", IngressNginx, TIMES).latency("250ms", SLOW_TIMES),
    row!("traefik-ingress", Traefik, TIMES).latency("300ms", SLOW_TIMES),
    row!("traefik-ingress-route", Traefik, TIMES).latency("300ms", SLOW_TIMES),
    row!("contour", Contour, TIMES).latency("250ms", SLOW_TIMES),
    row!("contour-by-class", Contour, TIMES).latency("250ms", SLOW_TIMES),
    row!("envoy-gateway", EnvoyGateway, TIMES).latency("250ms", SLOW_TIMES),
];

#[test]
fn every_preset_counts_what_its_product_exposes() {
    run(async {
        let bed = installed().await?;
        prepare(bed).await?;
        let targets: Vec<Target> = ROWS
            .iter()
            .map(exposition::targets)
            .collect::<anyhow::Result<Vec<_>>>()?
            .concat();
        let exposition = Exposition::start(bed.free_port()?, &targets).await?;
        let prometheus = Scraper::start(bed, &targets, exposition.address).await?;
        within(PHASES, "every target is scraped", async || {
            Ok(exposition.moved_on())
        })
        .await
        .with_context(|| format!("not scraped: {:?}", exposition.waiting()))?;
        let eyes = eyes::open(bed, ROWS, &prometheus.url).await?;
        let mut wrong = Vec::new();
        let looked = within(LOOKING, "every preset counts right", async || {
            wrong = look(&eyes, &exposition).await?;
            Ok(wrong.is_empty())
        })
        .await;
        looked.with_context(|| wrong.join("\n"))
    });
}

/// Returns what is not as it must be.
async fn look(eyes: &Open, exposition: &Exposition) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for row in ROWS {
        let release: Timestamp = exposition.release(row).context("never scraped")?;
        let evidence = eyes.look(row, release).await?;
        for (trigger, evidence) in &evidence {
            let problem = row.wrong(trigger, evidence);
            wrong.extend(problem.map(|problem| format!("{} {trigger}: {problem}", row.name)));
        }
    }
    Ok(wrong)
}

/// Makes what leads to the pods of each row: a Service, and routes of each kind.
async fn prepare(bed: &Bed) -> anyhow::Result<()> {
    bed.apply(ROUTES).await?;
    let mut objects = vec![named("v1", "Namespace", "", "presets")];
    for row in ROWS {
        let namespace = row.namespace();
        objects.push(named("v1", "Namespace", "", &namespace));
        for app in ["checkout", "other"] {
            let mut service = named("v1", "Service", &namespace, app);
            service["spec"] = json!({
                "selector": {"app": app}, "ports": [{"name": "http", "port": 80}],
            });
            objects.push(service);
        }
        let mut route = named(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            &namespace,
            "checkout",
        );
        route["spec"] = json!({"rules": [
            {"backendRefs": [{"name": "other", "port": 80}]},
            {"backendRefs": [{"name": "checkout", "port": 80}]},
        ]});
        objects.push(route);
        let mut route = named(
            "traefik.io/v1alpha1",
            "IngressRoute",
            &namespace,
            "checkout",
        );
        route["spec"] = json!({"routes": [{
            "kind": "Rule", "match": "Host(`shop.example.com`)",
            "services": [{"name": "checkout", "port": 80}],
        }]});
        objects.push(route);
    }
    let texts: Vec<String> = objects.iter().map(ToString::to_string).collect();
    bed.apply(&texts.join("\n---\n")).await
}

fn named(version: &str, kind: &str, namespace: &str, name: &str) -> serde_json::Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// The kinds of routes, without their schemas.
const ROUTES: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations:
    api-approved.kubernetes.io: unapproved, part of a test
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: HTTPRoute, plural: httproutes}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: ingressroutes.traefik.io
spec:
  group: traefik.io
  scope: Namespaced
  names: {kind: IngressRoute, plural: ingressroutes}
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn the_preset_that_auto_has_found_is_in_the_status_of_the_policy() {
    run(async {
        let stage = Stage::set(installed().await?, "auto").await?;
        let policy = stage.policy("Observe");
        let rule = &policy["spec"]["triggers"][0]["errorRate"];
        ensure!(rule["preset"].is_null(), "not Auto: {rule}");
        for object in [
            policy.to_string(),
            stage.service(),
            stage.deployment(GOOD).to_string(),
        ] {
            stage.bed.apply(&object).await?;
        }
        let shown = async || {
            let policy = stage.get(Kind::Policies, POLICY).await?;
            let readings = policy["status"]["targets"][0]["readings"].as_array();
            Ok(readings.into_iter().flatten().any(|reading| {
                reading["trigger"] == "server-errors" && reading["preset"] == "HTTPRequests"
            }))
        };
        stage
            .until("the status shows what Auto has found", shown)
            .await?;
        Ok(())
    });
}
