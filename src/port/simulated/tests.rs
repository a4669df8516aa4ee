//! What the simulated cluster does by itself: rollouts, failures, metrics, faults, crashes.
//!
//! What it has in common with a real one is checked by the contract tests.

use futures::StreamExt;

use super::*;
use crate::port::kinds;

const NAMESPACE: &str = "shop";
const NAME: &str = "checkout";

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn with_images(images: &[(&str, Behaviour)]) -> SimulatedCluster {
    let images = images.iter().cloned();
    SimulatedCluster::new(Settings {
        images: images.map(|(name, one)| (name.to_owned(), one)).collect(),
        ..Settings::default()
    })
}

/// Three pods of `good:1`, rolled out.
async fn deployed(images: &[(&str, Behaviour)]) -> SimulatedCluster {
    let cluster = with_images(images);
    cluster.deploy(NAMESPACE, NAME, "good:1", 3).unwrap();
    cluster.run_for(seconds(30)).await;
    cluster
}

fn reference() -> ObjectRef {
    ObjectRef::new(kinds::DEPLOYMENTS, NAMESPACE, NAME)
}

fn deployment(cluster: &SimulatedCluster) -> Value {
    cluster.object(&reference()).unwrap()
}

fn condition<'a>(object: &'a Value, name: &str) -> &'a Value {
    let conditions = fields::items(object, "/status/conditions");
    let found = conditions.iter().find(|one| one["type"] == name);
    found.unwrap_or(&Value::Null)
}

fn pods_of(cluster: &SimulatedCluster, image: &str) -> Vec<Value> {
    let mut pods = cluster.objects(kinds::PODS, NAMESPACE);
    pods.retain(|pod| pod["spec"]["containers"][0]["image"] == image);
    pods
}

#[tokio::test(start_paused = true)]
async fn rollout_completes_and_replaces_every_pod() {
    let cluster = deployed(&[]).await;
    cluster.set_image(NAMESPACE, NAME, "good:2").unwrap();
    let before = deployment(&cluster);
    assert_ne!(
        before["status"]["observedGeneration"],
        before["metadata"]["generation"]
    );
    cluster.run_for(seconds(60)).await;
    let after = deployment(&cluster);
    assert_eq!(after["status"]["availableReplicas"], 3);
    assert_eq!(after["status"]["updatedReplicas"], 3);
    assert_eq!(after["status"].get("unavailableReplicas"), None);
    let progressing = condition(&after, "Progressing");
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(pods_of(&cluster, "good:1"), Vec::<Value>::new());
    let pods = pods_of(&cluster, "good:2");
    assert_eq!(pods.len(), 3);
    for pod in pods {
        let hash = &pod["metadata"]["labels"]["pod-template-hash"];
        let owner = fields::text(&pod, "/metadata/ownerReferences/0/name");
        assert_eq!(owner, format!("{NAME}-{}", hash.as_str().unwrap()));
        assert_eq!(condition(&pod, "Ready")["status"], "True");
    }
}

#[tokio::test(start_paused = true)]
async fn rollout_that_never_gets_ready_stands_and_exceeds_its_deadline() {
    let cluster = deployed(&[("stuck:2", Behaviour::never_ready())]).await;
    cluster
        .edit(&reference(), |value| {
            value["spec"]["progressDeadlineSeconds"] = 60.into();
        })
        .unwrap();
    cluster.set_image(NAMESPACE, NAME, "stuck:2").unwrap();
    cluster.run_for(seconds(55)).await;
    let progressing = condition(&deployment(&cluster), "Progressing").clone();
    assert_eq!(progressing["status"], "True");
    cluster.run_for(seconds(15)).await;
    let after = deployment(&cluster);
    let progressing = condition(&after, "Progressing");
    assert_eq!(progressing["reason"], "ProgressDeadlineExceeded");
    assert_eq!(progressing["status"], "False");
    // A quarter more, rounded up, none less, rounded down.
    assert_eq!(pods_of(&cluster, "good:1").len(), 3);
    assert_eq!(pods_of(&cluster, "stuck:2").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn paused_rollout_stands_where_it_was() {
    let cluster = deployed(&[("stuck:2", Behaviour::never_ready())]).await;
    cluster.set_image(NAMESPACE, NAME, "stuck:2").unwrap();
    cluster.run_for(seconds(5)).await;
    cluster.pause(NAMESPACE, NAME, true).unwrap();
    cluster.set_image(NAMESPACE, NAME, "good:3").unwrap();
    cluster.run_for(seconds(900)).await;
    let paused = deployment(&cluster);
    assert_eq!(
        condition(&paused, "Progressing")["reason"],
        "DeploymentPaused"
    );
    assert_eq!(pods_of(&cluster, "good:3").len(), 0);
    assert_eq!(pods_of(&cluster, "stuck:2").len(), 1);
    cluster.pause(NAMESPACE, NAME, false).unwrap();
    cluster.run_for(seconds(60)).await;
    assert_eq!(pods_of(&cluster, "good:3").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn scaling_during_a_rollout_keeps_the_mixture() {
    let cluster = deployed(&[("stuck:2", Behaviour::never_ready())]).await;
    cluster.set_image(NAMESPACE, NAME, "stuck:2").unwrap();
    cluster.run_for(seconds(10)).await;
    cluster.scale(NAMESPACE, NAME, 12).unwrap();
    cluster.run_for(seconds(30)).await;
    let (old, new) = (pods_of(&cluster, "good:1"), pods_of(&cluster, "stuck:2"));
    // 12 and a quarter of them; at least three quarters of 12 serve.
    assert_eq!(old.len() + new.len(), 15);
    assert!(old.len() >= 9, "{} old, {} new", old.len(), new.len());
    cluster.scale(NAMESPACE, NAME, 0).unwrap();
    cluster.run_for(seconds(30)).await;
    assert_eq!(cluster.objects(kinds::PODS, NAMESPACE), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn recreate_starts_nothing_beside_the_old() {
    let cluster = deployed(&[]).await;
    cluster
        .edit(&reference(), |value| {
            value["spec"]["strategy"] = json!({ "type": "Recreate" });
            value["spec"]["template"]["spec"]["containers"][0]["image"] = "good:2".into();
        })
        .unwrap();
    for _ in 0..100 {
        cluster.run_for(SignedDuration::from_millis(200)).await;
        let (old, new) = (pods_of(&cluster, "good:1"), pods_of(&cluster, "good:2"));
        assert!(old.is_empty() || new.is_empty());
    }
    assert_eq!(pods_of(&cluster, "good:2").len(), 3);
    assert_eq!(deployment(&cluster)["status"]["availableReplicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn history_is_cut_to_its_limit() {
    let cluster = deployed(&[]).await;
    cluster
        .edit(&reference(), |value| {
            value["spec"]["revisionHistoryLimit"] = 1.into();
        })
        .unwrap();
    for image in ["good:2", "good:3", "good:4"] {
        cluster.set_image(NAMESPACE, NAME, image).unwrap();
        cluster.run_for(seconds(60)).await;
    }
    let sets = cluster.objects(kinds::REPLICA_SETS, NAMESPACE);
    let revision = |set: &Value| set["metadata"]["annotations"][deployments::REVISION].clone();
    let mut revisions: Vec<Value> = sets.iter().map(revision).collect();
    revisions.sort_by_key(ToString::to_string);
    assert_eq!(revisions, [json!("3"), json!("4")]);
}

#[tokio::test(start_paused = true)]
async fn crash_loop_restarts_later_and_later() {
    let cluster = with_images(&[("crash:1", Behaviour::crashing(seconds(5)))]);
    cluster.deploy(NAMESPACE, NAME, "crash:1", 1).unwrap();
    let restarts = || {
        let pods = cluster.objects(kinds::PODS, NAMESPACE);
        fields::number(&pods[0], "/status/containerStatuses/0/restartCount")
    };
    // Starts: 1, 7 (1 + 5 + 1), 22 (+ 5 + 10), 47 (+ 5 + 20).
    for (at, expected) in [(5, 0), (10, 1), (20, 1), (30, 2), (50, 3)] {
        let passed = cluster.now().duration_since(BEGINNING);
        cluster.run_for(seconds(at) - passed).await;
        assert_eq!(restarts(), expected, "after {at} s");
    }
    cluster.run_for(seconds(5)).await;
    let pods = cluster.objects(kinds::PODS, NAMESPACE);
    let status = &pods[0]["status"]["containerStatuses"][0];
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(condition(&pods[0], "Ready")["status"], "False");
}

#[tokio::test(start_paused = true)]
async fn image_that_does_not_exist_is_said_so() {
    let cluster = with_images(&[("gone:1", Behaviour::missing())]);
    cluster.deploy(NAMESPACE, NAME, "gone:1", 1).unwrap();
    cluster.run_for(seconds(300)).await;
    let pods = cluster.objects(kinds::PODS, NAMESPACE);
    assert_eq!(pods[0]["status"]["phase"], "Pending");
    let state = &pods[0]["status"]["containerStatuses"][0]["state"];
    assert_eq!(state["waiting"]["reason"], "ErrImagePull");
}

async fn series(cluster: &SimulatedCluster, query: &str) -> Vec<Value> {
    let answer = asked(cluster, query).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["data"]["resultType"], "matrix");
    fields::items(&answer, "/data/result").to_vec()
}

async fn asked(cluster: &SimulatedCluster, query: &str) -> Result<Vec<u8>, QueryError> {
    let time = cluster.now().duration_since(Timestamp::UNIX_EPOCH);
    let query = Query {
        url: "http://prometheus.example/api/v1/query".to_owned(),
        form: vec![
            ("query", query.to_owned()),
            ("time", time.as_secs_f64().to_string()),
        ],
        access: std::sync::Arc::default(),
        timeout: seconds(10),
        bytes_max: 1 << 20,
    };
    cluster.query(&query).await
}

fn increase(series: &Value) -> f64 {
    let values = series["values"].as_array().unwrap();
    let value = |at: usize| values[at][1].as_str().unwrap().parse::<f64>().unwrap();
    value(values.len() - 1) - value(0)
}

#[tokio::test(start_paused = true)]
async fn errors_show_in_the_scrapes_of_the_pods_that_make_them() {
    let cluster = deployed(&[("bad:2", Behaviour::erring(0.3))]).await;
    cluster.set_image(NAMESPACE, NAME, "bad:2").unwrap();
    cluster.run_for(seconds(180)).await;
    let selector = r#"http_requests_total{namespace=~"shop|cart"}[60s]"#;
    let series = series(&cluster, selector).await;
    assert_eq!(series.len(), 6, "two codes of three pods");
    for one in series {
        assert_eq!(one["values"].as_array().unwrap().len(), 12, "every 5 s");
        // 55 s between the first and the last scrape, at 20 per second.
        let expected = if one["metric"]["code"] == "500" {
            330.0
        } else {
            770.0
        };
        assert!((increase(&one) - expected).abs() <= 2.0, "{one}");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_probes_are_counted_and_kill_the_container() {
    let bad = Behaviour::failing_liveness(seconds(20));
    let cluster = with_images(&[("deaf:1", bad)]);
    cluster.deploy(NAMESPACE, NAME, "deaf:1", 1).unwrap();
    cluster.run_for(seconds(120)).await;
    let selector = r#"prober_probe_total{probe_type="Liveness",result="failed"}[120s]"#;
    let failed = series(&cluster, selector).await;
    assert_eq!(failed.len(), 1);
    assert!(increase(&failed[0]) >= 2.0);
    let pods = cluster.objects(kinds::PODS, NAMESPACE);
    let status = &pods[0]["status"]["containerStatuses"][0];
    assert!(status["restartCount"].as_i64().unwrap() >= 2);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 137);
}

#[tokio::test(start_paused = true)]
async fn metric_faults_look_like_those_of_a_real_source() {
    let cluster = deployed(&[]).await;
    let query = "http_requests_total[60s]";
    for (fault, expected) in [
        (MetricsFault::Down, QueryError::Unreachable),
        (MetricsFault::Status(503), QueryError::Status(503)),
        (
            MetricsFault::Slow(seconds(60)),
            QueryError::Timeout(seconds(10)),
        ),
        (MetricsFault::TooLarge, QueryError::TooLarge(1 << 20)),
    ] {
        cluster.break_metrics(fault);
        assert_eq!(asked(&cluster, query).await, Err(expected));
    }
    cluster.break_metrics(MetricsFault::Empty);
    assert_eq!(series(&cluster, query).await, Vec::<Value>::new());
    cluster.break_metrics(MetricsFault::NotANumber);
    assert_eq!(series(&cluster, query).await[0]["values"][0][1], "NaN");
    cluster.break_metrics(MetricsFault::None);
    assert_eq!(series(&cluster, query).await.len(), 3);
    assert_eq!(asked(&cluster, "up").await, Err(QueryError::Status(400)));
}

fn annotate(value: &str) -> Value {
    json!([{ "op": "add", "path": "/metadata/annotations/seen", "value": value }])
}

#[tokio::test(start_paused = true)]
async fn lost_answer_is_a_write_and_lost_request_is_none() {
    let cluster = deployed(&[]).await;
    let seen = || deployment(&cluster)["metadata"]["annotations"]["seen"].clone();
    for (fault, value, expected) in [
        (ApiFault::RequestLost, "a", Value::Null),
        (ApiFault::Hangs, "b", Value::Null),
        (ApiFault::AnswerLost, "c", json!("c")),
    ] {
        let rule = ApiRule::next(Verb::JsonPatch, kinds::DEPLOYMENTS, fault);
        cluster.break_api(rule);
        let outcome = cluster.json_patch(&reference(), annotate(value)).await;
        assert!(matches!(outcome, Err(Error::Unavailable { .. })));
        assert_eq!(seen(), expected);
    }
    let writes = cluster.writes();
    assert_eq!(writes.len(), 1, "what never arrived is no write");
    assert_eq!(writes[0].outcome, Ok(()));
    assert_eq!(writes[0].object, reference());
    assert_eq!(writes[0].body, annotate("c"));
    assert!(
        cluster
            .json_patch(&reference(), annotate("d"))
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn expired_watch_starts_over_and_stalled_one_catches_up() {
    let cluster = deployed(&[]).await;
    let mut events = cluster.watch(kinds::DEPLOYMENTS, Selection::default());
    for _ in 0..3 {
        events.next().await;
    }
    cluster.expire_watches();
    assert_eq!(events.next().await, Some(WatchEvent::Restarted));
    for _ in 0..2 {
        events.next().await;
    }
    cluster.stall_watches(seconds(50));
    cluster.scale(NAMESPACE, NAME, 4).unwrap();
    let stalled = cluster.now();
    let event = events.next().await;
    assert!(matches!(event, Some(WatchEvent::Applied(_))));
    assert!(cluster.now().duration_since(stalled) >= seconds(50));
}

#[tokio::test(start_paused = true)]
async fn dead_port_writes_no_more_and_says_nothing() {
    for (crash, expected) in [
        (Crash::Before(2), vec!["a"]),
        (Crash::After(2), vec!["a", "b"]),
        (Crash::Never, vec!["a", "b", "c"]),
    ] {
        let cluster = deployed(&[]).await;
        cluster.annotate(&reference(), "note", Some("x")).unwrap();
        let port = CrashingPort::new(Arc::new(cluster.clone()), crash);
        let work = async {
            for value in ["a", "b", "c"] {
                port.json_patch(&reference(), annotate(value))
                    .await
                    .unwrap();
            }
        };
        tokio::select! {
            () = work => assert_eq!(crash, Crash::Never),
            () = port.crashed() => assert!(port.is_dead()),
        }
        let bodies: Vec<Value> = cluster.writes().into_iter().map(|it| it.body).collect();
        let expected: Vec<Value> = expected.into_iter().map(annotate).collect();
        assert_eq!(bodies, expected, "{crash:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn same_seed_makes_the_same_history() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let cluster = deployed(&[("bad:2", Behaviour::crashing(seconds(3)))]).await;
        cluster.set_image(NAMESPACE, NAME, "bad:2").unwrap();
        cluster.run_for(seconds(600)).await;
        let pods = cluster.objects(kinds::PODS, NAMESPACE);
        let series = series(&cluster, "http_requests_total[600s]").await;
        histories.push((deployment(&cluster), pods, series));
    }
    assert_eq!(histories[0], histories[1]);
}

#[tokio::test(start_paused = true)]
async fn still_cluster_writes_nothing() {
    let cluster = deployed(&[]).await;
    let before = cluster.world().store.changes_made();
    cluster.run_for(SignedDuration::from_hours(1)).await;
    assert_eq!(cluster.world().store.changes_made(), before);
}

#[tokio::test(start_paused = true)]
async fn deleted_deployment_takes_its_objects_along() {
    let cluster = deployed(&[]).await;
    cluster.remove(&reference());
    cluster.run_for(seconds(10)).await;
    assert_eq!(cluster.objects(kinds::REPLICA_SETS, NAMESPACE).len(), 0);
    assert_eq!(cluster.objects(kinds::PODS, NAMESPACE).len(), 0);
}
