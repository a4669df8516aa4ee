//! The simulated nodes on a real control plane: what is seen from outside is what a kubelet does.

#[path = "nodes/config.rs"]
mod config;
#[path = "nodes/images.rs"]
mod images;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use astern_testbed::{
    bed::{Bed, Options},
    behaviour::{Behaviour, Images, Program},
    node::{Nodes, NodesOptions},
    traffic::{Traffic, TrafficOptions},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `look` finds what it looks for.
async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < deadline, "never seen: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn deployment(name: &str, image: &str, replicas: u32) -> String {
    let probe = json!({"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1});
    let liveness = json!({
        "httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2,
    });
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
                },
                "spec": {"containers": [{
                    "name": "app", "image": image,
                    "args": ["--name=$(NAME)"],
                    "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "readinessProbe": probe, "livenessProbe": liveness,
                }]},
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    format!("{object}\n---\n{service}\n")
}

async fn rolled_out(bed: &Bed, name: &str) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::default_namespaced(bed.client());
    eventually(&format!("{name} rolled out"), async || {
        let deployment = api.get(name).await?;
        let wanted = deployment.spec.and_then(|spec| spec.replicas);
        let status = deployment.status.unwrap_or_default();
        let done = status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == wanted
            && status.available_replicas == wanted
            && status.replicas == wanted;
        Ok(done.then_some(()))
    })
    .await
}

async fn container_status(bed: &Bed, app: &str) -> anyhow::Result<Value> {
    let api: Api<Pod> = Api::default_namespaced(bed.client());
    let pods = api
        .list(&ListParams::default().labels(&format!("app={app}")))
        .await?;
    let pod = pods.items.first().map(serde_json::to_value).transpose()?;
    let status = pod.and_then(|pod| pod.pointer("/status/containerStatuses/0").cloned());
    Ok(status.unwrap_or_default())
}

fn registry() -> Images {
    let server = Program {
        path: PathBuf::from("python3"),
        arguments: [
            "-c",
            "import http.server, os, sys\n\
             print('i am', sys.argv[1], os.environ['KUBECONFIG'], flush=True)\n\
             class Answer(http.server.BaseHTTPRequestHandler):\n \
              def do_GET(self): self.send_response(200); self.end_headers()\n\
             http.server.HTTPServer((os.environ['LISTEN'], 8080), Answer).serve_forever()",
        ]
        .map(str::to_owned)
        .to_vec(),
        environment: [("LISTEN".to_owned(), "$(POD_IP)".to_owned())].into(),
    };
    let listed = [
        ("shop/checkout:v1", "{}"),
        ("shop/checkout:v2", "{startup: 500ms}"),
        ("shop/hung:v1", "{liveness: {failAfter: 1s}, drain: 0s}"),
        ("shop/crashing:v1", "{crash: {after: 200ms, exitCode: 3}}"),
        (
            "shop/hungry:v1",
            "{crash: {after: 200ms, outOfMemory: true}}",
        ),
        ("shop/greedy:v1", "{evictedAfter: 1s}"),
        ("shop/refused:v1", "{create: Fails}"),
        ("shop/withdrawn:v1", "{}"),
        (
            "shop/toggled:v1",
            "{when: [{variable: FEATURE, equals: 'on', errorRate: 100%}]}",
        ),
    ];
    let images = Images::new(listed.map(|(image, text)| {
        let behaviour = serde_saphyr::from_str(text).expect("a behaviour");
        (image.to_owned(), behaviour)
    }));
    let program = Behaviour {
        program: Some(server),
        ..Behaviour::default()
    };
    images.set("shop/program:v1", program);
    images
}

async fn start() -> anyhow::Result<(Bed, Nodes)> {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    let bed = Bed::start(Options {
        label: "nodes".to_owned(),
        prometheus: true,
        scrape_interval: Duration::from_secs(1),
        ..Options::default()
    })
    .await?;
    let options = NodesOptions {
        nodes: 3,
        images: registry(),
        backoff_factor: 0.05,
        log_directory: bed.directory().join("pods"),
        api_server: bed.api_server().to_owned(),
        ca_pem: bed.ca_pem().to_owned(),
    };
    let nodes = Nodes::start(bed.client(), options).await?;
    Ok((bed, nodes))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_run_pods_as_a_kubelet_does() -> anyhow::Result<()> {
    let (bed, nodes) = start().await?;
    tokio::try_join!(
        a_rolling_update_loses_no_request(&bed),
        a_failing_liveness_probe_restarts_with_back_off(&bed),
        a_crash_leaves_its_exit_code(&bed),
        a_missing_image_is_reported(&bed, &nodes),
        images::an_image_that_a_node_has_outlives_the_registry(&bed, &nodes),
        what_cannot_be_created_says_why(&bed, &nodes),
        an_evicted_pod_is_replaced(&bed),
        config::an_image_does_what_its_config_says(&bed),
        config::a_volume_without_its_config_map_keeps_the_pod_pending(&bed),
        a_program_runs_as_its_pod(&bed, &nodes),
    )?;
    images::nodes_tell_which_images_they_have(&bed).await?;
    // Last, since it is about all pods of a node.
    pods_of_a_lost_node_are_not_ready_until_it_is_back(&bed, &nodes).await?;
    nodes.stop().await;
    bed.stop().await?;
    Ok(())
}

async fn a_rolling_update_loses_no_request(bed: &Bed) -> anyhow::Result<()> {
    bed.apply(&deployment("checkout", "shop/checkout:v1", 3))
        .await?;
    rolled_out(bed, "checkout").await?;

    let traffic = Traffic::start(
        bed.client(),
        TrafficOptions::new("default", "checkout", 100.0),
    );
    eventually("traffic on three endpoints", async || {
        let ready = traffic.endpoints().len() == 3;
        Ok((ready && traffic.snapshot(..).total > 100).then_some(()))
    })
    .await?;
    let api: Api<Deployment> = Api::default_namespaced(bed.client());
    let container = json!({"name": "app", "image": "shop/checkout:v2"});
    let release = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    api.patch(
        "checkout",
        &PatchParams::default(),
        &Patch::Strategic(release),
    )
    .await?;
    rolled_out(bed, "checkout").await?;
    let pods: Api<Pod> = Api::default_namespaced(bed.client());
    eventually("the old pods gone", async || {
        let pods = pods
            .list(&ListParams::default().labels("app=checkout"))
            .await?;
        Ok((pods.items.len() == 3).then_some(()))
    })
    .await?;
    traffic.stop().await;
    let seen = traffic.snapshot(..);
    assert_eq!(
        (seen.failed, &seen.causes),
        (0, &std::collections::BTreeMap::new())
    );

    let prometheus = bed.prometheus().context("no Prometheus")?;
    eventually("the requests in Prometheus", async || {
        let answer = prometheus
            .query("sum(http_requests_total{pod=~\"checkout-.+\",code=\"200\"})")
            .await?;
        Ok((!is_empty(&answer)).then_some(()))
    })
    .await
}

async fn a_failing_liveness_probe_restarts_with_back_off(bed: &Bed) -> anyhow::Result<()> {
    bed.apply(&deployment("hung", "shop/hung:v1", 1)).await?;
    let status = eventually("CrashLoopBackOff", async || {
        let status = container_status(bed, "hung").await?;
        let reason = status.pointer("/state/waiting/reason");
        Ok((reason == Some(&json!("CrashLoopBackOff"))).then_some(status))
    })
    .await?;
    assert!(status["restartCount"].as_u64() >= Some(1), "{status}");
    assert_eq!(
        status.pointer("/lastState/terminated/exitCode"),
        Some(&json!(143))
    );
    let events: Api<Event> = Api::default_namespaced(bed.client());
    for reason in ["Unhealthy", "Killing", "BackOff"] {
        eventually(&format!("event {reason}"), async || {
            let about = ListParams::default().fields(&format!("reason={reason}"));
            let mut events = events.list(&about).await?.items.into_iter();
            let name = |event: Event| event.involved_object.name.unwrap_or_default();
            Ok(events
                .any(|event| name(event).starts_with("hung-"))
                .then_some(()))
        })
        .await?;
    }

    let prometheus = bed.prometheus().context("no Prometheus")?;
    eventually("failed probes in Prometheus", async || {
        let answer = prometheus
            .query(
                "sum(prober_probe_total{probe_type=\"Liveness\",result=\"failed\",\
                 namespace=\"default\",pod=~\"hung-.+\",container=\"app\"}) > 1",
            )
            .await?;
        Ok((!is_empty(&answer)).then_some(()))
    })
    .await
}

async fn a_crash_leaves_its_exit_code(bed: &Bed) -> anyhow::Result<()> {
    for (name, exit_code, reason) in [("crashing", 3, "Error"), ("hungry", 137, "OOMKilled")] {
        bed.apply(&deployment(name, &format!("shop/{name}:v1"), 1))
            .await?;
        let last = eventually("a restart", async || {
            let status = container_status(bed, name).await?;
            let last = status.pointer("/lastState/terminated").cloned();
            Ok(last.filter(|_| status["restartCount"].as_u64() >= Some(2)))
        })
        .await?;
        assert_eq!(
            (&last["exitCode"], &last["reason"]),
            (&json!(exit_code), &json!(reason))
        );
    }
    Ok(())
}

async fn waits_for(bed: &Bed, app: &str, reason: &str) -> anyhow::Result<String> {
    eventually(&format!("{app}: {reason}"), async || {
        let status = container_status(bed, app).await?;
        let waiting = &status["state"]["waiting"];
        let message = waiting["message"].as_str().unwrap_or_default().to_owned();
        Ok((waiting["reason"] == reason).then_some(message))
    })
    .await
}

async fn what_cannot_be_created_says_why(bed: &Bed, nodes: &Nodes) -> anyhow::Result<()> {
    bed.apply(&deployment("refused", "shop/refused:v1", 1))
        .await?;
    bed.apply(&deployment("misnamed", "shop/Misnamed:v1", 1))
        .await?;
    let wants = r#"[{"configMapKeyRef": {"name": "limits", "key": "requests"}}]"#;
    let wants: Value = serde_json::from_str(wants)?;
    let yaml = deployment("unconfigured", "shop/checkout:v1", 1);
    let plain = r#"{"fieldRef":{"fieldPath":"metadata.name"}}"#;
    assert!(yaml.contains(plain));
    bed.apply(&yaml.replace(plain, &wants[0].to_string()))
        .await?;

    waits_for(bed, "refused", "CreateContainerError").await?;
    waits_for(bed, "misnamed", "InvalidImageName").await?;
    let message = waits_for(bed, "unconfigured", "CreateContainerConfigError").await?;
    assert_eq!(message, "configmap \"limits\" not found");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "limits", "namespace": "default"}, "data": {"requests": "7"},
    });
    bed.apply(&map.to_string()).await?;
    rolled_out(bed, "unconfigured").await?;
    nodes.set_image("shop/refused:v1", Behaviour::default());
    rolled_out(bed, "refused").await
}

async fn an_evicted_pod_is_replaced(bed: &Bed) -> anyhow::Result<()> {
    bed.apply(&deployment("greedy", "shop/greedy:v1", 1))
        .await?;
    let api: Api<Pod> = Api::default_namespaced(bed.client());
    let of_app = ListParams::default().labels("app=greedy");
    eventually("an evicted pod and its successor", async || {
        let pods = api.list(&of_app).await?.items;
        let evicted = pods.iter().any(|pod| {
            let status = pod.status.clone().unwrap_or_default();
            let disrupted = status.conditions.iter().flatten().any(|condition| {
                condition.type_ == "DisruptionTarget" && condition.status == "True"
            });
            status.phase.as_deref() == Some("Failed")
                && status.reason.as_deref() == Some("Evicted")
                && disrupted
        });
        Ok((evicted && pods.len() > 1).then_some(()))
    })
    .await?;
    let deployments: Api<Deployment> = Api::default_namespaced(bed.client());
    deployments
        .delete("greedy", &kube::api::DeleteParams::default())
        .await?;
    eventually("the end of the evicted pods", async || {
        Ok(api.list(&of_app).await?.items.is_empty().then_some(()))
    })
    .await
}

async fn pods_of_a_lost_node_are_not_ready_until_it_is_back(
    bed: &Bed,
    nodes: &Nodes,
) -> anyhow::Result<()> {
    let node = nodes
        .pods()
        .into_iter()
        .find(|pod| pod.name.starts_with("checkout-") && pod.ready)
        .context("no pod")?
        .node;
    let ready = async |kind: &str, path: &str| -> anyhow::Result<Value> {
        let url = format!("{path}?fieldSelector={kind}={node}");
        let request = axum::http::Request::get(url).body(Vec::new())?;
        let list: Value = bed.client().request(request).await?;
        let items = list["items"].as_array().into_iter().flatten();
        let conditions = items
            .filter(|item| {
                kind == "metadata.name" || item["metadata"]["labels"]["app"] == "checkout"
            })
            .flat_map(|item| {
                item["status"]["conditions"]
                    .as_array()
                    .into_iter()
                    .flatten()
            });
        Ok(conditions
            .filter(|condition| condition["type"] == "Ready")
            .map(|condition| condition["status"].clone())
            .collect())
    };
    let seen = async |of_node: &str, of_pods: &str| {
        eventually(&format!("node {of_node}, pods {of_pods}"), async || {
            let node = ready("metadata.name", "/api/v1/nodes").await?;
            let pods = ready("spec.nodeName", "/api/v1/namespaces/default/pods").await?;
            let pods = pods.as_array().cloned().unwrap_or_default();
            let all = !pods.is_empty() && pods.iter().all(|status| status == of_pods);
            Ok((node == json!([of_node]) && all).then_some(()))
        })
        .await
    };
    seen("True", "True").await?;
    nodes.lose(&node).await?;
    seen("Unknown", "False").await?;
    nodes.recover(&node).await?;
    seen("True", "True").await
}

async fn a_missing_image_is_reported(bed: &Bed, nodes: &Nodes) -> anyhow::Result<()> {
    bed.apply(&deployment("missing", "shop/missing:v1", 1))
        .await?;
    eventually("ImagePullBackOff", async || {
        let status = container_status(bed, "missing").await?;
        let reason = status.pointer("/state/waiting/reason");
        Ok((reason == Some(&json!("ImagePullBackOff"))).then_some(()))
    })
    .await?;
    nodes.set_image("shop/missing:v1", Behaviour::default());
    rolled_out(bed, "missing").await
}

async fn a_program_runs_as_its_pod(bed: &Bed, nodes: &Nodes) -> anyhow::Result<()> {
    bed.apply(&deployment("program", "shop/program:v1", 1))
        .await?;
    rolled_out(bed, "program").await?;
    let pods = nodes.pods();
    let pod = pods
        .iter()
        .find(|pod| pod.name.starts_with("program-"))
        .context("no pod")?;
    let log = std::fs::read_to_string(nodes.log_of("default", &pod.name, "app"))?;
    assert!(log.contains(&format!("i am --name={}", pod.name)), "{log}");

    let process = nodes.pid_of("default", &pod.name).context("no process")?;
    let alive = || std::path::Path::new(&format!("/proc/{process}")).exists();
    assert!(alive());
    let api: Api<Deployment> = Api::default_namespaced(bed.client());
    api.delete("program", &kube::api::DeleteParams::default())
        .await?;
    eventually("the end of the process", async || {
        Ok((!alive()).then_some(()))
    })
    .await
}

fn is_empty(answer: &Value) -> bool {
    let result = answer
        .pointer("/data/result")
        .or_else(|| answer.pointer("/result"))
        .unwrap_or(answer);
    result.as_array().is_none_or(Vec::is_empty)
}
