//! Drills, on the simulated cluster, in virtual time.

use std::sync::Arc;

use astern::api::names;
use astern::api::record::text;
use astern::decide::DrillTerms;
use astern::port::simulated::{MetricsFault, SimulatedCluster};
use astern::port::{Cluster as _, ObjectRef, kinds};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::operator::{
    FIXED, GOOD, NAME, NAMESPACE, Operator, apply_policy, cluster, own_writes, revisions,
    template_writes, until, until_good,
};

/// Two good releases, under a policy that drills every hour by the clocks of Kolkata, which are half an
/// hour off those of the cluster.
async fn settle(mode: &str) -> (SimulatedCluster, Operator) {
    let cluster = cluster();
    let operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, mode);
    cluster
        .edit(&policy(), |object| {
            object["spec"]["drill"] = json!({"schedule": "0 * * * *", "timeZone": "Asia/Kolkata"});
        })
        .expect("edited");
    release_twice(&cluster).await;
    (cluster, operator)
}

async fn release_twice(cluster: &SimulatedCluster) {
    cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
    until_good(cluster, GOOD).await;
    cluster.set_image(NAMESPACE, NAME, FIXED).expect("deployed");
    until_good(cluster, FIXED).await;
}

fn policy() -> ObjectRef {
    ObjectRef::new(kinds::ROLLBACK_POLICIES, NAMESPACE, "checkout-policy")
}

/// Reason and status of the condition.
fn ready(cluster: &SimulatedCluster) -> (String, String) {
    let policy = cluster.object(&policy()).expect("the policy");
    let conditions = policy["status"]["conditions"].as_array().cloned();
    let condition = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "RollbackReady")
        .unwrap_or_default();
    let field = |path: &str| text(&condition, path).unwrap_or_default().to_owned();
    (field("/status"), field("/reason"))
}

async fn until_ready(cluster: &SimulatedCluster, status: &str, reason: &str) {
    let expected = (status.to_owned(), reason.to_owned());
    let what = format!("{expected:?}");
    until(cluster, &what, 3_700, |cluster| ready(cluster) == expected).await;
}

/// The notes of the drills' Events, in order of time.
fn events(cluster: &SimulatedCluster) -> Vec<String> {
    let mut events: Vec<Value> = cluster
        .objects(kinds::EVENTS, NAMESPACE)
        .into_iter()
        .filter(|event| event["action"] == "Drill")
        .collect();
    events.sort_by_key(|event| event["eventTime"].to_string());
    let reason = |event: &Value| text(event, "/reason").unwrap_or_default().to_owned();
    events.iter().map(reason).collect()
}

/// When each revision was drilled last, of those that were.
fn drilled(cluster: &SimulatedCluster) -> Vec<jiff::Timestamp> {
    let records = revisions(cluster).into_iter();
    records
        .filter_map(|(_, record)| Some(record.memory.drilled?.at))
        .collect()
}

async fn hours(cluster: &SimulatedCluster, count: i64) {
    cluster.run_for(SignedDuration::from_hours(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_drill_runs_at_its_time_and_changes_nothing() {
    let (cluster, _operator) = settle("Automatic").await;
    assert_eq!(ready(&cluster), ("Unknown".into(), "NeverDrilled".into()));
    until_ready(&cluster, "True", "Ready").await;
    let [at] = drilled(&cluster)[..] else {
        panic!("one revision was drilled: {:?}", drilled(&cluster));
    };
    // 16:00 in Kolkata, and the minute over which the drills of a cluster are spread.
    let due: jiff::Timestamp = "2026-01-05T10:30:00Z".parse().expect("a time");
    let late = at.duration_since(due);
    assert!(
        (SignedDuration::ZERO..SignedDuration::from_secs(65)).contains(&late),
        "{at}"
    );
    assert_eq!(events(&cluster), ["RollbackReady"]);
    assert_eq!(template_writes(&cluster), []);

    // The same answer again is written down, and not told again.
    let before = own_writes(&cluster).len();
    hours(&cluster, 3).await;
    assert_eq!(events(&cluster), ["RollbackReady"]);
    let writes = &own_writes(&cluster)[before..];
    let records = writes
        .iter()
        .filter(|write| write.kind == kinds::CONTROLLER_REVISIONS);
    assert_eq!(records.count(), 3, "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_changes_is_told_once_each_way() {
    let (cluster, _operator) = settle("Automatic").await;
    until_ready(&cluster, "True", "Ready").await;
    cluster.revoke("patch", "deployments");
    until_ready(&cluster, "False", "RightsMissing").await;
    hours(&cluster, 2).await;
    cluster.grant("patch", "deployments");
    until_ready(&cluster, "True", "Ready").await;
    cluster.break_metrics(MetricsFault::Garbage);
    until_ready(&cluster, "False", "MetricSourceFailing").await;
    let told = [
        "RollbackReady",
        "RollbackNotReady",
        "RollbackReady",
        "RollbackNotReady",
    ];
    assert_eq!(events(&cluster), told);
    let status = cluster.object(&policy()).expect("the policy")["status"].clone();
    let target = text(&status, "/targets/0/rollbackReady").expect("text");
    assert!(target.starts_with("MetricSourceFailing at "), "{target}");
}

#[tokio::test(start_paused = true)]
async fn drills_that_were_missed_while_the_operator_was_down_run_once() {
    let (cluster, operator) = settle("Automatic").await;
    until_ready(&cluster, "True", "Ready").await;
    let before = own_writes(&cluster).len();
    drop(operator);
    cluster
        .run_for(SignedDuration::from_mins(5 * 60 + 10))
        .await;
    let returned = cluster.now();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    until(&cluster, "a drill makes up for them", 120, |cluster| {
        drilled(cluster).iter().any(|at| *at >= returned)
    })
    .await;
    cluster.run_for(SignedDuration::from_mins(15)).await;
    let writes = &own_writes(&cluster)[before..];
    let records = writes
        .iter()
        .filter(|write| write.kind == kinds::CONTROLLER_REVISIONS);
    assert_eq!(records.count(), 1, "{writes:?}");
}

fn bind(cluster: &SimulatedCluster, kind: &str, name: &str) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": NAMESPACE, "name": format!("approvers-{name}")},
        "subjects": [{"kind": kind, "name": name}],
        "roleRef": {"kind": "ClusterRole", "name": "astern-approver"},
    });
    cluster.put(kinds::ROLE_BINDINGS, binding).expect("bound");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_asks_needs_somebody_to_answer() {
    let (cluster, _operator) = settle("RequireApproval").await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "astern-approver"},
        "rules": [{"apiGroups": [names::GROUP], "resources": ["rollbacks"], "verbs": ["approve"]}],
    });
    cluster.put(kinds::CLUSTER_ROLES, role).expect("a role");
    bind(&cluster, "ServiceAccount", "pipeline");
    until_ready(&cluster, "False", "NoApprover").await;
    bind(&cluster, "User", "alice");
    until_ready(&cluster, "True", "Ready").await;
    let binding = ObjectRef::new(
        kinds::ADMISSION_POLICY_BINDINGS,
        "",
        names::APPROVALS_BINDING,
    );
    cluster.remove(&binding);
    until_ready(&cluster, "False", "NoApprover").await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_drills_where_a_policy_says_nothing_of_it() {
    let cluster = cluster();
    let terms = DrillTerms {
        schedule: "0 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    let _operator = Operator::start_drilling(Arc::new(cluster.clone()), Some(terms));
    apply_policy(&cluster, "Automatic");
    release_twice(&cluster).await;
    until_ready(&cluster, "True", "Ready").await;
    // What the policy says itself comes first.
    cluster
        .edit(&policy(), |object| {
            object["spec"]["drill"] = json!({"schedule": "0 0 1 1 *"});
        })
        .expect("edited");
    let before = drilled(&cluster);
    hours(&cluster, 3).await;
    assert_eq!(drilled(&cluster), before);
    cluster
        .edit(&policy(), |object| {
            object["spec"]["mode"] = json!("Disabled");
        })
        .expect("edited");
    hours(&cluster, 3).await;
    assert_eq!(drilled(&cluster), before);
}
