//! One release after another on the simulated cluster, in virtual time.

use std::sync::Arc;

use astern::api::names;
use astern::port::simulated::{Crash, MetricsFault, SimulatedCluster};
use astern::port::{ObjectRef, kinds};
use jiff::SignedDuration;

use crate::operator::{
    ERRING, FAILING_PROBES, FIXED, GOOD, Mortal, NAME, NAMESPACE, Operator, apply_policy, approve,
    cluster, image, label, mark, own_writes, revisions, rollbacks, states, template_writes, until,
    until_good, until_states, verdicts,
};

fn deploy(cluster: &SimulatedCluster, image: &str) {
    cluster.set_image(NAMESPACE, NAME, image).expect("deployed");
}

/// The first release becomes known good.
async fn settle(cluster: &SimulatedCluster, mode: &str) {
    apply_policy(cluster, mode);
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    until_good(cluster, GOOD).await;
}

/// A source that has no series is no outage, so probation must outlast the blindness.
fn lengthen_probation(cluster: &SimulatedCluster) {
    let policy = ObjectRef::new(kinds::ROLLBACK_POLICIES, NAMESPACE, "checkout-policy");
    cluster
        .edit(&policy, |object| object["spec"]["probation"] = "10m".into())
        .expect("edited");
}

async fn automatic(cluster: &SimulatedCluster) {
    deploy(cluster, ERRING);
    until_states(cluster, &["Recovered"]).await;
}

async fn approved(cluster: &SimulatedCluster) {
    deploy(cluster, FAILING_PROBES);
    until(cluster, "it asks", 180, |cluster| {
        states(cluster).contains(&"AwaitingApproval".to_owned())
    })
    .await;
    approve(cluster).await;
    until_states(cluster, &["Recovered", "Recovered"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_rolled_back_once_and_the_record_is_complete() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Automatic").await;
    cluster.scale(NAMESPACE, NAME, 5).expect("scaled");
    cluster
        .annotate(&crate::operator::deployment(), "team", Some("shop"))
        .expect("annotated");
    automatic(&cluster).await;

    assert_eq!(image(&cluster), GOOD);
    assert_eq!(template_writes(&cluster).len(), 1);
    assert_eq!(mark(&cluster, "team").as_deref(), Some("shop"));
    let (name, _, status) = rollbacks(&cluster).remove(0);
    assert_eq!(mark(&cluster, names::ROLLED_BACK_BY), Some(name));
    assert_eq!(status["trigger"], "server-errors");
    assert_eq!(status["from"]["images"][0], ERRING);
    assert_eq!(status["to"]["images"][0], GOOD);
    for time in ["proposedTime", "decidedTime", "patchedTime", "endedTime"] {
        assert!(status["timings"][time].is_string(), "{time} is missing");
    }
    assert_eq!(
        verdicts(&cluster),
        [(GOOD.to_owned(), "Good"), (ERRING.to_owned(), "Bad")]
    );
    // `kubectl describe` finds Events by the UID of what they are about.
    for event in cluster.objects(kinds::EVENTS, NAMESPACE) {
        assert!(event["regarding"]["uid"].is_string(), "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_in_steady_state() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Automatic").await;
    automatic(&cluster).await;
    cluster.run_for(SignedDuration::from_secs(30)).await;
    let before = own_writes(&cluster).len();
    cluster.run_for(SignedDuration::from_hours(2)).await;
    let after = own_writes(&cluster).split_off(before);
    assert_eq!(after, []);
}

#[tokio::test(start_paused = true)]
async fn a_paused_rollout_waits_for_a_person_and_leaves_no_trace() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Automatic").await;
    deploy(&cluster, FAILING_PROBES);
    until(&cluster, "the rollout stands still", 180, |cluster| {
        mark(cluster, names::PAUSED_BY).is_some()
    })
    .await;
    cluster.run_for(SignedDuration::from_secs(120)).await;
    assert_eq!(image(&cluster), FAILING_PROBES, "nobody has approved");
    approve(&cluster).await;
    until_states(&cluster, &["Recovered"]).await;

    let live = cluster
        .object(&crate::operator::deployment())
        .expect("there");
    assert_eq!(live["spec"].get("paused"), None);
    assert_eq!(mark(&cluster, names::PAUSED_BY), None);
    until(&cluster, "the label is gone", 30, |cluster| {
        let objects = cluster.objects(kinds::ROLLBACKS, NAMESPACE);
        objects
            .iter()
            .all(|object| label(object, names::AWAITING_APPROVAL).is_none())
    })
    .await;
    deploy(&cluster, FIXED);
    until_good(&cluster, FIXED).await;
    assert_eq!(image(&cluster), FIXED);
}

#[tokio::test(start_paused = true)]
async fn observing_never_writes_to_the_deployment() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "Observe").await;
    deploy(&cluster, ERRING);
    until_states(&cluster, &["Observed"]).await;
    cluster.run_for(SignedDuration::from_secs(300)).await;
    let to_deployment = own_writes(&cluster)
        .into_iter()
        .filter(|write| write.kind == kinds::DEPLOYMENTS);
    assert_eq!(to_deployment.count(), 0);
    assert_eq!(states(&cluster), ["Observed"]);
    assert_eq!(image(&cluster), ERRING);
}

#[tokio::test(start_paused = true)]
async fn whatever_prometheus_says_only_numbers_roll_back() {
    for fault in [
        MetricsFault::Down,
        MetricsFault::Garbage,
        MetricsFault::Empty,
        MetricsFault::NotANumber,
        MetricsFault::Warning,
        MetricsFault::Status(503),
    ] {
        let cluster = cluster();
        let _operator = Operator::start(Arc::new(cluster.clone()));
        settle(&cluster, "Automatic").await;
        lengthen_probation(&cluster);
        cluster.break_metrics(fault.clone());
        deploy(&cluster, ERRING);
        cluster.run_for(SignedDuration::from_secs(120)).await;
        assert_eq!(states(&cluster), Vec::<String>::new(), "{fault:?}");
        let policies = cluster.objects(kinds::ROLLBACK_POLICIES, NAMESPACE);
        let guarding = &policies[0]["status"]["conditions"][2];
        assert_eq!(guarding["reason"], "Partial", "{fault:?}: {guarding}");

        cluster.break_metrics(MetricsFault::None);
        until_states(&cluster, &["Recovered"]).await;
        assert_eq!(image(&cluster), GOOD);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_starts_late_adopts_what_runs_and_rolls_back_to_it() {
    let cluster = cluster();
    apply_policy(&cluster, "Automatic");
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    cluster.run_for(SignedDuration::from_secs(60)).await;
    let _operator = Operator::start(Arc::new(cluster.clone()));
    until_good(&cluster, GOOD).await;
    automatic(&cluster).await;
    assert_eq!(image(&cluster), GOOD);
}

#[tokio::test(start_paused = true)]
async fn a_newer_deploy_wins() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    settle(&cluster, "RequireApproval").await;
    deploy(&cluster, ERRING);
    until_states(&cluster, &["AwaitingApproval"]).await;
    deploy(&cluster, FIXED);
    until_states(&cluster, &["Superseded"]).await;
    until_good(&cluster, FIXED).await;
    assert_eq!(image(&cluster), FIXED);
    assert_eq!(template_writes(&cluster).len(), 0);
    assert_eq!(mark(&cluster, names::PAUSED_BY), None);
}

/// What must be the same, however often the operator died.
fn outcome(cluster: &SimulatedCluster) -> impl PartialEq + std::fmt::Debug {
    let proofs: Vec<_> = revisions(cluster)
        .into_iter()
        .map(|(image, record)| (image, record.memory.verdict))
        .collect();
    let names: Vec<_> = rollbacks(cluster)
        .into_iter()
        .map(|(_, state, status)| (state, status["trigger"].clone(), status["attempt"].clone()))
        .collect();
    (
        image(cluster),
        proofs,
        names,
        template_writes(cluster).len(),
    )
}

async fn story(cluster: &SimulatedCluster) {
    settle(cluster, "Automatic").await;
    automatic(cluster).await;
    approved(cluster).await;
    deploy(cluster, FIXED);
    until_good(cluster, FIXED).await;
    cluster.run_for(SignedDuration::from_secs(10)).await;
}

/// Runs the story with an operator that dies at `crash` and is followed by another.
async fn story_with(crash: Crash) -> (SimulatedCluster, usize) {
    let cluster = cluster();
    let mortal = Mortal::start(&cluster, crash);
    story(&cluster).await;
    (cluster, mortal.writes())
}

async fn every_crash(crash: fn(usize) -> Crash) {
    let (cluster, writes) = story_with(Crash::Never).await;
    let expected = format!("{:?}", outcome(&cluster));
    assert!(writes > 10, "the story has {writes} writes");
    for write in 1..=writes {
        let (cluster, _) = story_with(crash(write)).await;
        assert_eq!(
            format!("{:?}", outcome(&cluster)),
            expected,
            "write {write}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn dying_before_any_write_changes_nothing_in_the_outcome() {
    every_crash(Crash::Before).await;
}

#[tokio::test(start_paused = true)]
async fn dying_after_any_write_changes_nothing_in_the_outcome() {
    every_crash(Crash::After).await;
}
