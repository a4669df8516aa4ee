//! Drills, with the chart's own rights: what they find out, and when.
//!
//! How an outcome comes about is told in virtual time, by `tests/it/drills.rs`. What only a real API server
//! knows is here: who may do what, and whether it would take the patch.

use anyhow::{Context as _, ensure};
use astern_testbed::clock::now;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::try_join;

use crate::{
    objects::{Kind, condition, image_of, word},
    safety::{kubectl, policy, settle},
    stage::{POLICY, Stage},
    support::{FIXED, GOOD, installed, run},
};

const EVERY_MINUTE: &str = "* * * * *";
/// The next one is months away, the last one was before anything here was deployed.
const AT_NEW_YEAR: &str = "0 0 1 1 *";
const DRILLED: &str = "astern.dev/drilled";

#[test]
fn a_drill_names_what_a_rollback_would_lack() {
    run(async {
        try_join!(rights_and_metrics(), config())?;
        Ok(())
    });
}

async fn rights_and_metrics() -> anyhow::Result<()> {
    let stage = Stage::set(installed().await?, "drills").await?;
    stage.settle("Automatic", GOOD).await?;
    stage.deploy(FIXED).await?;
    stage.prove(FIXED).await?;
    schedule(&stage, EVERY_MINUTE).await?;
    until_answer(&stage, "True", "Ready").await?;

    let role = format!("{}-astern", stage.namespace);
    let rules = stage.get(Kind::Roles, &role).await?["rules"].clone();
    let fewer = without(&rules, "deployments", "patch");
    ensure!(fewer != rules, "the role grants no patch of deployments");
    grant(&stage, &role, &fewer).await?;
    until_answer(&stage, "False", "RightsMissing").await?;
    let policy = stage.get(Kind::Policies, POLICY).await?;
    let message = word(&condition(&policy, "RollbackReady")["message"]);
    ensure!(message.contains("patch deployments"), "{message}");
    ensure!(!message.contains("patch controllerrevisions"), "{message}");

    grant(&stage, &role, &rules).await?;
    until_answer(&stage, "True", "Ready").await?;
    stage.prometheus.block();
    until_answer(&stage, "False", "MetricSourceFailing").await?;

    let told = told(&stage).await?;
    let expected = [
        ("RollbackReady", "yes, Ready: would go back to revision"),
        (
            "RollbackNotReady",
            "no, RightsMissing: patch deployments: Astern lacks",
        ),
        ("RollbackReady", "yes, Ready: would go back to revision"),
        ("RollbackNotReady", "no, MetricSourceFailing: "),
    ];
    ensure!(told.len() == expected.len(), "{told:?}");
    for ((reason, note), (expected, says)) in told.iter().zip(expected) {
        ensure!(reason == expected && note.contains(says), "{told:?}");
    }
    let writes = stage.writes_to_deployment();
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}

async fn config() -> anyhow::Result<()> {
    let stage = Stage::set(installed().await?, "drills").await?;
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": stage.namespace, "name": "settings"},
        "data": {"currency": "EUR"},
    });
    stage.bed.apply(&settings.to_string()).await?;
    let mut first = stage.deployment(GOOD);
    let container = &mut first["spec"]["template"]["spec"]["containers"][0];
    container["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    let mut policy = policy(&stage, "Automatic");
    policy["spec"]["config"] = json!({"mode": "Check"});
    settle(&stage, &policy, &first).await?;
    // The second release reads no config, so that it does not miss it.
    let second = stage.deployment(FIXED);
    stage.bed.apply(&second.to_string()).await?;
    stage.until_verdict(FIXED, "Good").await?;
    schedule(&stage, EVERY_MINUTE).await?;
    until_answer(&stage, "True", "Ready").await?;
    kubectl(&stage, &["delete", "configmap", "settings"]).await?;
    until_answer(&stage, "False", "ConfigMissing").await?;
    let told = told(&stage).await?;
    let (reason, note) = told.last().context("nothing was told")?;
    ensure!(reason == "RollbackNotReady", "{told:?}");
    ensure!(note.contains("settings"), "{told:?}");
    Ok(())
}

#[test]
fn drills_that_were_missed_are_made_up_for_by_one() {
    run(async {
        let stage = Stage::set(installed().await?, "missed").await?;
        settle(
            &stage,
            &policy(&stage, "Automatic"),
            &stage.deployment(GOOD),
        )
        .await?;
        stage.deploy(FIXED).await?;
        stage.until_verdict(FIXED, "Good").await?;
        schedule(&stage, AT_NEW_YEAR).await?;
        until_answer(&stage, "Unknown", "NeverDrilled").await?;
        stage.heartbeats(2).await?;
        ensure!(drilled(&stage).await?.is_none());

        stage.operator.kill().await?;
        let name = current(&stage).await?;
        let before = "2020-01-01T00:00:07Z NoTarget no revision is known";
        let change = json!({"metadata": {"annotations": {DRILLED: before}}});
        stage.merge(Kind::Revisions, &name, change).await?;
        let written = stage.writes().len();
        let started = now();
        stage.operator.start().await?;
        until_answer(&stage, "True", "Ready").await?;
        stage.heartbeats(4).await?;
        let at = drilled(&stage).await?.context("no drill is remembered")?;
        ensure!(at >= started, "{at}");
        let writes = stage.writes();
        let records = writes[written..]
            .iter()
            .filter(|write| write.resource == "controllerrevisions");
        ensure!(records.count() == 1, "{:?}", &writes[written..]);
        let told = told(&stage).await?;
        ensure!(told.len() == 1 && told[0].0 == "RollbackReady", "{told:?}");
        Ok(())
    });
}

/// Asks for drills, as the owner of the policy does.
async fn schedule(stage: &Stage<'_>, schedule: &str) -> anyhow::Result<()> {
    let change = json!({"spec": {"drill": {"schedule": schedule, "timeZone": "Asia/Kolkata"}}});
    stage.merge(Kind::Policies, POLICY, change).await
}

/// Waits until the policy says so of its last drill.
async fn until_answer(stage: &Stage<'_>, status: &str, reason: &str) -> anyhow::Result<()> {
    let what = format!("RollbackReady is {status} by {reason}");
    stage
        .until(&what, async || {
            let policy = stage.get(Kind::Policies, POLICY).await?;
            let answer = condition(&policy, "RollbackReady");
            Ok(answer["status"] == status && answer["reason"] == reason)
        })
        .await
}

/// Returns reasons and notes of the Events that drills led to, in order of time.
async fn told(stage: &Stage<'_>) -> anyhow::Result<Vec<(String, String)>> {
    let events = stage.list(Kind::Events).await?;
    let mut own: Vec<&Value> = events
        .iter()
        .filter(|event| event["action"] == "Drill")
        .collect();
    own.sort_by_key(|event| word(&event["eventTime"]));
    let text = |event: &&Value| (word(&event["reason"]), word(&event["note"]));
    Ok(own.iter().map(text).collect())
}

/// Returns when the last drill was.
async fn drilled(stage: &Stage<'_>) -> anyhow::Result<Option<Timestamp>> {
    let revisions = stage.list(Kind::Revisions).await?;
    let texts = revisions
        .iter()
        .map(|revision| word(&revision["metadata"]["annotations"][DRILLED]));
    let times = texts.filter_map(|text| text.split(' ').next()?.parse().ok());
    Ok(times.max())
}

/// Returns the name of the record of the release that runs.
async fn current(stage: &Stage<'_>) -> anyhow::Result<String> {
    let revisions = stage.list(Kind::Revisions).await?;
    let current = revisions
        .iter()
        .find(|revision| image_of(revision) == FIXED);
    let current = current.context("the release is not on record")?;
    Ok(word(&current["metadata"]["name"]))
}

/// Returns the rules without one verb on one resource.
fn without(rules: &Value, resource: &str, verb: &str) -> Value {
    let mut rules = rules.clone();
    let all = rules.as_array_mut().into_iter().flatten();
    for rule in all.filter(|rule| rule["resources"] == json!([resource])) {
        if let Some(verbs) = rule["verbs"].as_array_mut() {
            verbs.retain(|known| known != verb);
        }
    }
    rules
}

/// Gives a role these rules, as an administrator does.
async fn grant(stage: &Stage<'_>, role: &str, rules: &Value) -> anyhow::Result<()> {
    let change = json!({"rules": rules});
    stage.merge(Kind::Roles, role, change).await
}
