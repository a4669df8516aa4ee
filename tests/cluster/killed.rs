//! The operator dies by `kill -9` at every write of a story, and another one goes on.

use anyhow::ensure;
use astern_testbed::{bed::Bed, fault_proxy::Moment};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    config,
    objects::{Kind, state, word},
    safety,
    stage::{DEPLOYMENT, Stage},
    support::{CRASHING, ERRING, FIXED, GOOD, installed, run},
};

/// How many stories run side by side. All, unless the story grows.
const AT_ONCE: usize = 30;

/// What happens to the bad release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plot {
    Automatic,
    /// The rollout is paused, and a person approves.
    Approved,
    /// A person asks for it, with a short record.
    Requested,
}

#[test]
fn dying_before_or_after_any_write_changes_nothing_in_the_outcome() {
    run(dying_changes_nothing(Plot::Automatic));
}

#[test]
fn dying_while_people_are_asked_changes_nothing_in_the_outcome() {
    run(dying_changes_nothing(Plot::Approved));
}

#[test]
fn dying_while_a_request_is_carried_out_changes_nothing_in_the_outcome() {
    run(dying_changes_nothing(Plot::Requested));
}

async fn dying_changes_nothing(plot: Plot) -> anyhow::Result<()> {
    let bed = installed().await?;
    let undisturbed = story(bed, plot, None).await?;
    // Before the first one, and after each. Between a write and the next one nothing happens
    // that another operator could see, so these are all points at which it can die.
    let points: Vec<_> = [(1, Moment::Before)]
        .into_iter()
        .chain((1..=undisturbed.writes).map(|write| (write, Moment::After)))
        .collect();
    ensure!(points.len() > 10, "only {} writes", undisturbed.writes);
    let mut missed = Vec::new();
    for points in points.chunks(AT_ONCE) {
        let stories = points.iter().map(|point| story(bed, plot, Some(*point)));
        let ends = try_join_all(stories).await?;
        for (point, end) in points.iter().zip(ends) {
            ensure!(
                end.outcome == undisturbed.outcome,
                "{plot:?} {point:?}: {:#?} instead of {:#?}",
                end.outcome,
                undisturbed.outcome
            );
            if !end.died {
                missed.push(*point);
            }
        }
    }
    // How often the status of the policy is written depends on the hour, so the last points may
    // not be reached. They are few, or the test would show nothing.
    ensure!(missed.len() <= 3, "never reached: {missed:?}");
    Ok(())
}

/// How a story ended.
struct End {
    outcome: Outcome,
    writes: usize,
    /// Whether the operator was killed at all.
    died: bool,
}

/// What must be the same, however often the operator died.
#[derive(Debug, PartialEq)]
struct Outcome {
    image: String,
    /// It counts the writes of the template: both releases, and the rollback.
    generation: Value,
    /// The ConfigMap that its pods read, where they read one.
    config: String,
    /// A rollout that stays paused would be nobody's.
    paused: Value,
    verdicts: Vec<(String, String)>,
    /// State, trigger and number of the attempt of each Rollback.
    rollbacks: Vec<(String, Value, Value)>,
    /// Who owns fields of the Deployment.
    owners: Vec<Value>,
}

/// Plays the story with an operator that dies at a write, and is followed by another at once.
async fn story(bed: &Bed, plot: Plot, point: Option<(usize, Moment)>) -> anyhow::Result<End> {
    let stage = Stage::prepare(bed, "killed").await?;
    if let Some((write, moment)) = point {
        let operator = stage.operator.clone();
        let die = async move {
            operator.kill().await.expect("a process can be killed");
            operator.start().await.expect("a process can be started");
        };
        stage
            .api_server
            .on_write(write, moment, move || Box::pin(die));
    }
    stage.operator.start().await?;
    match plot {
        Plot::Automatic => automatic(&stage).await?,
        Plot::Approved => approved(&stage).await?,
        Plot::Requested => requested(&stage).await?,
    }
    stage.until_states(&["Recovered"]).await?;
    // What follows from the end is written a little later.
    stage.heartbeats(3).await?;
    Ok(End {
        outcome: outcome(&stage).await?,
        writes: stage.api_server.writes(),
        died: point.is_some() && !stage.api_server.hook_waits(),
    })
}

async fn automatic(stage: &Stage<'_>) -> anyhow::Result<()> {
    let mut policy = stage.policy("Automatic");
    // By the clock: each write of the policy would be followed by one of its status.
    policy["spec"]["probation"] = json!("20s");
    stage.bed.apply(&stage.service()).await?;
    safety::settle(stage, &policy, &stage.deployment(GOOD)).await?;
    stage.deploy(ERRING).await
}

async fn approved(stage: &Stage<'_>) -> anyhow::Result<()> {
    let mut policy = safety::policy(stage, "RequireApproval");
    policy["spec"]["pauseRollout"] = json!(true);
    policy["spec"]["config"] = json!({"mode": "Restore"});
    config::write(stage, config::OLD).await?;
    let deployment = config::reading(safety::slow_to_roll_out(stage));
    safety::settle(stage, &policy, &deployment).await?;
    config::until_kept(stage).await?;
    config::write(stage, config::NEW).await?;
    stage.deploy(CRASHING).await?;
    stage.until_states(&["AwaitingApproval"]).await?;
    stage
        .until("the rollout is paused", async || {
            Ok(stage.live().await?["spec"]["paused"] == true)
        })
        .await?;
    let rollback = safety::the_rollback(stage).await?;
    safety::approve(stage, &word(&rollback["metadata"]["name"])).await
}

async fn requested(stage: &Stage<'_>) -> anyhow::Result<()> {
    let policy = safety::policy(stage, "Observe");
    safety::settle(stage, &policy, &stage.deployment(GOOD)).await?;
    stage.deploy(FIXED).await?;
    stage.until_verdict(FIXED, "Good").await?;
    let ask = json!({
        "apiVersion": "astern.dev/v1alpha1", "kind": "Rollback", "metadata": {"name": "please"},
        "spec": {"deployment": {"name": DEPLOYMENT}, "reason": "customers complain"},
    });
    safety::create(stage, Kind::Rollbacks, &ask).await
}

async fn outcome(stage: &Stage<'_>) -> anyhow::Result<Outcome> {
    let live = stage.live().await?;
    let rollbacks = stage.list(Kind::Rollbacks).await?;
    let rollbacks = rollbacks.iter().map(|rollback| {
        let status = &rollback["status"];
        (
            state(rollback),
            status["trigger"].clone(),
            status["attempt"].clone(),
        )
    });
    let managed = live["metadata"]["managedFields"].as_array();
    let owners = managed.into_iter().flatten();
    let mut owners: Vec<_> = owners.map(|entry| entry["manager"].clone()).collect();
    owners.sort_by_key(Value::to_string);
    Ok(Outcome {
        image: stage.image().await?,
        generation: live["metadata"]["generation"].clone(),
        config: config::read_by(stage).await?,
        paused: live["spec"]["paused"].clone(),
        verdicts: stage.verdicts().await?,
        rollbacks: rollbacks.collect(),
        owners,
    })
}
