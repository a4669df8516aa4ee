//! Finds the releases of a Deployment: asks the cluster what it still has, and the metric source for
//! what it recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use jiff::SignedDuration;
use serde_json::Value;

use super::history::{self, Activity, Known, Release, ReplicaSet};
use super::replay::Subject;
use super::rows::{Rows, whole};
use super::series;
use super::{Question, World};
use crate::api::names;
use crate::api::record::{revision, text, time};
use crate::cli::progress::Progress;
use crate::observe::evidence::wanted::needs_paths;
use crate::observe::prometheus::selector::subquery;
use crate::observe::prometheus::series::Narrowed;
use crate::observe::prometheus::services::{Paths, Services};
use crate::observe::workload::Deployment;
use crate::port::{Cluster, Error, ObjectRef, Selection, kinds};

/// What there is to replay.
#[derive(Clone, Debug)]
pub struct Found {
    pub subject: Subject,
    pub releases: Vec<Release>,
    pub has_kube_state: bool,
    /// Where it was found, for people.
    pub notes: Vec<String>,
}

/// Of the counts of pods: short enough for one answer, long enough for few questions.
const PIECE: SignedDuration = SignedDuration::from_hours(24);

/// Between two counts of pods: fine enough to place a release, which is then dated better where
/// something better is known; a day of it is 1440 values of one ReplicaSet or two.
const STEP_MAX: SignedDuration = SignedDuration::from_secs(60);
const STEP_MIN: SignedDuration = SignedDuration::from_secs(5);
const STEPS: i32 = 1440;

/// What Kubernetes itself takes when `progressDeadlineSeconds` is absent.
const PROGRESS_DEADLINE: SignedDuration = SignedDuration::from_secs(600);

/// Finds the releases in the range of `question`.
///
/// # Errors
///
/// When the cluster or the source gives no answer, or nothing is found; the message says what would
/// help.
pub async fn releases(
    world: &World,
    question: &Question,
    progress: &mut dyn Progress,
) -> anyhow::Result<Found> {
    let mut notes = Vec::new();
    let (subject, known) = match &world.cluster {
        Some(cluster) => of_cluster(cluster.as_ref(), question, &mut notes).await?,
        None => (unknown(question), Known::default()),
    };
    let (mut activity, has_kube_state) = recorded(world, question, &subject, progress).await?;
    if !known.sets.is_empty() {
        let sets = known.sets.len();
        notes.push(format!("ReplicaSets in the cluster: {sets}"));
    }
    if has_kube_state {
        notes.push("kube-state-metrics: which ReplicaSet had pods when".to_owned());
    } else if activity.pods.is_empty() {
        notes.push(
            "no kube-state-metrics and no series of pods: a return to an older revision is dated only where the cluster says it"
                .to_owned(),
        );
    } else {
        notes.push(
            "names of pods in the metrics of the policy: which ReplicaSet had pods when".to_owned(),
        );
    }
    // Whoever asked the cluster knows what belongs to the Deployment and what only looks like it.
    if world.cluster.is_some() && !has_kube_state {
        activity.forget_strangers(&known);
    }
    let releases = history::releases(&known, &activity, question.range);
    anyhow::ensure!(
        !releases.is_empty(),
        "found no release of deployment {:?} in namespace {:?}: neither ReplicaSets in the cluster, nor kube-state-metrics, nor metrics of its pods",
        question.deployment,
        question.namespace
    );
    Ok(Found {
        subject,
        releases,
        has_kube_state,
        notes,
    })
}

impl Activity {
    /// A ReplicaSet that was deleted long ago is no stranger, so only what is younger than the oldest
    /// that is left must be one of them.
    fn forget_strangers(&mut self, known: &Known) {
        let Some(oldest) = known.sets.values().map(|set| set.created).min() else {
            return;
        };
        for (at, pods) in &mut self.pods {
            if *at > oldest {
                pods.retain(|set, _| known.sets.contains_key(set));
            }
        }
        self.pods.retain(|_, pods| !pods.is_empty());
    }
}

fn unknown(question: &Question) -> Subject {
    Subject {
        namespace: question.namespace.clone(),
        name: question.deployment.clone(),
        uid: "backtest".to_owned(),
        labels: BTreeMap::new(),
        paths: Err("the Deployment is not there to be asked which Services lead to it".to_owned()),
        progress_deadline: PROGRESS_DEADLINE,
        rolling_update: true,
        kept_available: None,
    }
}

async fn of_cluster(
    cluster: &dyn Cluster,
    question: &Question,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Subject, Known)> {
    let Question {
        namespace,
        deployment: name,
        ..
    } = question;
    let object = ObjectRef::new(kinds::DEPLOYMENTS, namespace, name);
    let live = cluster
        .get(&object)
        .await
        .with_context(|| format!("cannot read deployment {name:?} in namespace {namespace:?}"))?;
    let Some((live, deployment)) = live.and_then(|live| {
        let deployment = Deployment::read(&live)?;
        Some((live, deployment))
    }) else {
        notes.push(format!(
            "deployment {name:?} is not in namespace {namespace:?} now; what was recorded of it is replayed"
        ));
        return Ok((unknown(question), Known::default()));
    };
    let selection = Selection {
        namespace: Some(namespace.clone()),
        labels: deployment.selector.clone(),
    };
    let listed = cluster
        .list(kinds::REPLICA_SETS, &selection)
        .await
        .with_context(|| format!("cannot list the ReplicaSets of namespace {namespace:?}"))?;
    let sets = listed
        .iter()
        .filter_map(|object| ReplicaSet::read(object, &deployment.uid))
        .map(|set| (set.name.clone(), set));
    let known = Known {
        sets: sets.collect(),
        recorded: of_operator(cluster, namespace, &deployment.uid, notes).await?,
        progressed: progressed(&live),
    };
    let workload = deployment.workload(None);
    let subject = Subject {
        namespace: namespace.clone(),
        name: name.clone(),
        labels: deployment.pod_labels.clone(),
        paths: paths(cluster, question).await,
        uid: deployment.uid.clone(),
        progress_deadline: workload.progress_deadline,
        rolling_update: workload.rolling_update,
        kept_available: Some((workload.kept_available, workload.replicas)),
    };
    Ok((subject, known))
}

/// Which Services lead to the pods is known of now only; they seldom change with a release.
async fn paths(cluster: &dyn Cluster, question: &Question) -> Result<Arc<Paths>, String> {
    if !needs_paths(&question.policy.policy.triggers) {
        return Ok(Arc::default());
    }
    let services = Services::default();
    services.paths(cluster, &question.namespace).await
}

/// Returns when revisions became current, where an operator has recorded it. Many users may not read
/// that, and it is no more than a help.
async fn of_operator(
    cluster: &dyn Cluster,
    namespace: &str,
    uid: &str,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<(crate::decide::Revision, jiff::Timestamp)>> {
    let selection = Selection {
        namespace: Some(namespace.to_owned()),
        labels: format!("{}={uid}", names::DEPLOYMENT_UID),
    };
    let listed = match cluster.list(kinds::CONTROLLER_REVISIONS, &selection).await {
        Ok(listed) => listed,
        Err(Error::Forbidden { .. }) => {
            notes.push("ControllerRevisions may not be read, and are left out".to_owned());
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context("cannot list the ControllerRevisions"),
    };
    let records = listed.iter().filter_map(revision::read);
    Ok(records
        .map(|record| (record.revision, record.memory.since))
        .collect())
}

fn progressed(live: &Value) -> Option<jiff::Timestamp> {
    let conditions = live.pointer("/status/conditions")?.as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| text(condition, "/type") == Some("Progressing"))?;
    time(condition, "/lastUpdateTime")
}

/// Returns how many pods each ReplicaSet had, and whether kube-state-metrics says so.
async fn recorded(
    world: &World,
    question: &Question,
    subject: &Subject,
    progress: &mut dyn Progress,
) -> anyhow::Result<(Activity, bool)> {
    let Question {
        namespace,
        deployment,
        ..
    } = question;
    let sets = series::replica_sets(deployment);
    let by_kube_state = format!(
        r#"max by (replicaset) (kube_replicaset_spec_replicas{{namespace="{namespace}",replicaset=~"{sets}"}}) > 0"#
    );
    let activity = counted(world, question, &by_kube_state, progress).await?;
    if !activity.pods.is_empty() {
        return Ok((activity, true));
    }
    for by_pods in by_pods(question, subject) {
        let activity = counted(world, question, &by_pods, progress).await?;
        if !activity.pods.is_empty() {
            return Ok((activity, false));
        }
    }
    Ok((Activity::default(), false))
}

/// Returns what may tell pods, each once: the metrics of the triggers, and what Prometheus itself says
/// of every target.
fn by_pods(question: &Question, subject: &Subject) -> Vec<String> {
    let mut queries = Vec::new();
    let triggers = question.policy.policy.triggers.iter();
    for series in triggers.flat_map(series::by_pod) {
        for narrowing in series::narrowings(&series, &subject.name, &[]) {
            let selector = series.selector(&Narrowed {
                namespaces: std::slice::from_ref(&subject.namespace),
                // Of every classic histogram one bucket is enough to see that it is there.
                edges: BTreeSet::from(["+Inf".to_owned()]),
                forced: &narrowing,
            });
            queries.push(sets_by(&selector, series.pod_label("pod")));
        }
    }
    let pods = series::pods(&subject.name);
    let targets = format!(r#"up{{namespace="{}",pod=~"{pods}"}}"#, subject.namespace);
    queries.push(sets_by(&targets, "pod"));
    let mut known = BTreeSet::new();
    queries.retain(|query| known.insert(query.clone()));
    queries
}

/// Returns a query for how many pods each ReplicaSet has among the series of a selector.
fn sets_by(selector: &str, pod: &str) -> String {
    format!(
        r#"count by (replicaset) (label_replace(group by ({pod}) ({selector}), "replicaset", "$1", "{pod}", "(.+)-[^-]+"))"#
    )
}

async fn counted(
    world: &World,
    question: &Question,
    expression: &str,
    progress: &mut dyn Progress,
) -> anyhow::Result<Activity> {
    let step = (question.range.length() / STEPS).clamp(STEP_MIN, STEP_MAX);
    let step = SignedDuration::from_secs(step.as_secs());
    let source = &world.source;
    let expression = source.forced(expression)?;
    let mut rows = Rows::with(&["replicaset"]);
    source
        .over(
            (question.range, PIECE),
            &|length| subquery(&expression, length, step),
            &mut rows,
            &mut |done, all| progress.step("looked for releases in days", done, all),
        )
        .await?;
    let mut pods: BTreeMap<jiff::Timestamp, BTreeMap<String, u32>> = BTreeMap::new();
    for row in &rows.rows {
        let set = row.label("replicaset");
        for (at, count) in row.values.iter().filter(|_| !set.is_empty()) {
            let known = pods.entry(*at).or_default();
            known.insert(set.to_owned(), whole(*count));
        }
    }
    Ok(Activity { pods, step })
}
