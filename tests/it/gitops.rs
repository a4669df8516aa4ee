//! A GitOps reconciler deploys the workload: what Astern does about it, in virtual time.

use std::sync::Arc;

use astern::api::names;
use astern::api::record::{annotation, text};
use astern::port::simulated::SimulatedCluster;
use astern::port::{Cluster as _, Kind, ObjectRef, kinds};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::operator::{
    ERRING, GOOD, NAME, NAMESPACE, Operator, apply_policy, approve, cluster, deployment, image,
    mark, rollbacks, states, template_writes, until_good, until_states,
};

const PAUSE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
const COMMITS: [&str; 3] = [
    "main@sha1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "main@sha1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "main@sha1:cccccccccccccccccccccccccccccccccccccccc",
];

/// A GitOps tool, with what stands in Git.
struct Tool {
    cluster: SimulatedCluster,
    /// What it writes as.
    hands: SimulatedCluster,
    object: ObjectRef,
    git: &'static str,
    heeds_pause: bool,
}

impl Tool {
    /// Deploys the good revision by the tool that `object` configures.
    async fn deploying(
        cluster: &SimulatedCluster,
        (kind, manager): (Kind, &str),
        (object, marks): (Value, Value),
    ) -> Self {
        let namespace = text(&object, "/metadata/namespace").expect("it has one");
        let name = text(&object, "/metadata/name").expect("it has one");
        let tool = Self {
            cluster: cluster.clone(),
            hands: cluster.acting_as(manager),
            object: ObjectRef::new(kind, namespace, name),
            git: GOOD,
            heeds_pause: true,
        };
        cluster.put(kind, object).expect("put");
        tool.tries(COMMITS[0]).await;
        cluster.deploy(NAMESPACE, NAME, GOOD, 4).expect("deployed");
        let fields = marks.as_object().expect("metadata");
        let operations: Vec<Value> = fields
            .iter()
            .map(|(field, value)| {
                json!({"op": "add", "path": format!("/metadata/{field}"), "value": value})
            })
            .collect();
        let target = deployment();
        let written = tool.hands.json_patch(&target, operations.into());
        written.await.expect("marked");
        tool
    }

    /// Says in its own status what it tries to deploy.
    async fn tries(&self, commit: &str) {
        let object = self.cluster.object(&self.object).expect("it is there");
        let version = text(&object, "/metadata/resourceVersion").expect("stored");
        let status = if object["kind"] == "Application" {
            json!({"sync": {"revision": commit}})
        } else {
            json!({"lastAttemptedRevision": commit})
        };
        let written = self.hands.status(&self.object, version, status).await;
        written.expect("told");
    }

    /// Commits a revision of the Deployment, of which the tool knows at once.
    async fn commit(&mut self, commit: &str, image: &'static str) {
        self.tries(commit).await;
        self.git = image;
        self.reconcile().await;
    }

    /// Puts the Deployment back to what Git says, unless the tool is told not to.
    async fn reconcile(&self) {
        let live = self.cluster.object(&deployment()).expect("it is there");
        let object = self.cluster.object(&self.object).expect("it is there");
        let off = object.pointer("/spec/syncPolicy/automated/enabled") == Some(&json!(false));
        let paused = annotation(&live, PAUSE) == Some("disabled") || off;
        if (self.heeds_pause && paused) || image(&self.cluster) == self.git {
            return;
        }
        let field = "/spec/template/spec/containers/0/image";
        let patch = json!([{"op": "replace", "path": field, "value": self.git}]);
        let written = self.hands.json_patch(&deployment(), patch).await;
        written.expect("written");
    }

    /// Lets time pass, in which the tool looks every ten seconds.
    async fn run(&self, seconds: i64) {
        for _ in 0..seconds / 10 {
            self.cluster.run_for(SignedDuration::from_secs(10)).await;
            self.reconcile().await;
        }
    }

    /// Does so until `condition` holds.
    async fn until(&self, what: &str, condition: impl Fn(&SimulatedCluster) -> bool) {
        for _ in 0..60 {
            if condition(&self.cluster) {
                return;
            }
            self.run(10).await;
        }
        let rollbacks = rollbacks(&self.cluster);
        assert!(
            condition(&self.cluster),
            "{what}: never; rollbacks {rollbacks:?}"
        );
    }
}

fn kustomization() -> (Value, Value) {
    let object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"namespace": "flux-system", "name": "apps"},
        "spec": {"interval": "10m"},
    });
    let labels = json!({"app": NAME,
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    (object, json!({"labels": labels}))
}

const KUSTOMIZE: (Kind, &str) = (kinds::KUSTOMIZATIONS, "kustomize-controller");

fn has_states(expected: &'static [&'static str]) -> impl Fn(&SimulatedCluster) -> bool {
    move |cluster| states(cluster) == expected
}

fn message(cluster: &SimulatedCluster) -> String {
    let (_, _, status) = rollbacks(cluster).pop().expect("a Rollback");
    let message = text(&status, "/conditions/0/message");
    message.expect("a message").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_kustomization_is_kept_away_until_git_moves_and_once_more_after_that() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, "Automatic");
    let mut flux = Tool::deploying(&cluster, KUSTOMIZE, kustomization()).await;
    until_good(&cluster, GOOD).await;

    flux.commit(COMMITS[1], ERRING).await;
    flux.until("it recovers", has_states(&["Recovered"])).await;
    let writes = template_writes(&cluster);
    assert_eq!(writes.len(), 1);
    let written = writes[0].body.to_string();
    assert!(written.contains(&PAUSE.replace('/', "~1")), "{written}");
    assert_eq!(mark(&cluster, PAUSE).as_deref(), Some("disabled"));
    let told = message(&cluster);
    assert!(told.contains(&format!("{PAUSE}-")), "{told}");
    let (_, _, status) = rollbacks(&cluster).pop().expect("a Rollback");
    let range = format!("{}..{}", "a".repeat(40), "b".repeat(40));
    assert_eq!(status["gitRange"], json!(range));
    assert!(told.contains(&range), "{told}");

    // As long as Git stands still, so does everything.
    flux.run(1800).await;
    assert_eq!(image(&cluster), GOOD);
    assert_eq!(template_writes(&cluster).len(), 1);

    flux.commit(COMMITS[2], ERRING).await;
    flux.until("the pause ends", |cluster| mark(cluster, PAUSE).is_none())
        .await;
    assert_eq!(mark(&cluster, names::GITOPS_PAUSED_BY), None);
    flux.until("once more", has_states(&["Recovered", "Recovered"]))
        .await;
    assert_eq!(mark(&cluster, PAUSE).as_deref(), Some("disabled"));
    flux.run(1800).await;
    assert_eq!(image(&cluster), GOOD);
    assert_eq!(template_writes(&cluster).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_ignores_the_pause_gets_one_write() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, "Automatic");
    let mut flux = Tool::deploying(&cluster, KUSTOMIZE, kustomization()).await;
    until_good(&cluster, GOOD).await;
    flux.heeds_pause = false;
    flux.commit(COMMITS[1], ERRING).await;
    flux.run(4 * 3600).await;
    assert_eq!(template_writes(&cluster).len(), 1);
    assert_eq!(states(&cluster), ["Superseded", "AwaitingApproval"]);
    let events = cluster.objects(kinds::EVENTS, NAMESPACE);
    let fighting = events
        .iter()
        .any(|event| text(event, "/reason") == Some("RollbackFighting"));
    assert!(fighting);
}

#[tokio::test(start_paused = true)]
async fn a_person_who_ends_the_pause_is_obeyed() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, "Automatic");
    let mut flux = Tool::deploying(&cluster, KUSTOMIZE, kustomization()).await;
    until_good(&cluster, GOOD).await;
    flux.commit(COMMITS[1], ERRING).await;
    flux.until("it recovers", has_states(&["Recovered"])).await;
    let lifted = cluster.annotate(&deployment(), PAUSE, None);
    lifted.expect("annotated");
    flux.run(600).await;
    assert_eq!(mark(&cluster, PAUSE), None);
    assert_eq!(mark(&cluster, names::GITOPS_PAUSED_BY), None);
    assert_eq!(image(&cluster), ERRING);
    assert_eq!(template_writes(&cluster).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_helm_release_without_drift_correction_needs_no_pause() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, "Automatic");
    let object = json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"namespace": "flux-system", "name": "shop"},
        "spec": {"interval": "10m"},
    });
    let labels = json!({"app": NAME,
        "helm.toolkit.fluxcd.io/name": "shop",
        "helm.toolkit.fluxcd.io/namespace": "flux-system"});
    let kind = (kinds::HELM_RELEASES, "helm-controller");
    let marks = json!({"labels": labels});
    let mut helm = Tool::deploying(&cluster, kind, (object, marks)).await;
    until_good(&cluster, GOOD).await;
    helm.commit("1.1.0", ERRING).await;
    until_states(&cluster, &["Recovered"]).await;
    assert_eq!(template_writes(&cluster).len(), 1);
    assert_eq!(mark(&cluster, names::GITOPS_PAUSED_BY), None);
}

async fn argo(cluster: &SimulatedCluster) -> Tool {
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"namespace": "argocd", "name": "shop"},
        "spec": {"syncPolicy": {"automated": {"selfHeal": true}}},
    });
    let id = format!("shop:apps/Deployment:{NAMESPACE}/{NAME}");
    let marks = json!({"annotations": {"argocd.argoproj.io/tracking-id": id}});
    let kind = (kinds::APPLICATIONS, "argocd-controller");
    Tool::deploying(cluster, kind, (object, marks)).await
}

#[tokio::test(start_paused = true)]
async fn an_application_that_must_not_be_paused_is_named_and_people_decide() {
    let cluster = cluster();
    let _operator = Operator::start(Arc::new(cluster.clone()));
    apply_policy(&cluster, "Automatic");
    let mut argo = argo(&cluster).await;
    until_good(&cluster, GOOD).await;
    argo.commit(COMMITS[1], ERRING).await;
    until_states(&cluster, &["AwaitingApproval"]).await;
    approve_named(&cluster, "Argo CD Application argocd/shop").await;
    // It sticks for as long as Argo CD does not look.
    until_states(&cluster, &["Recovered"]).await;
    assert_eq!(template_writes(&cluster).len(), 1);
    assert_eq!(image(&cluster), GOOD);
}

async fn approve_named(cluster: &SimulatedCluster, who: &str) {
    let before = cluster.now();
    cluster.run_for(SignedDuration::from_secs(10)).await;
    let told = message(cluster);
    assert!(told.contains(who), "{before}: {told}");
    approve(cluster).await;
}

#[tokio::test(start_paused = true)]
async fn an_application_that_may_be_paused_is_off_until_git_moves() {
    let cluster = cluster();
    let port = Arc::new(cluster.clone());
    let _operator = Operator::pausing(port, vec!["argocd".to_owned()]);
    apply_policy(&cluster, "Automatic");
    let mut argo = argo(&cluster).await;
    let application = argo.object.clone();
    let is_off = move |cluster: &SimulatedCluster| {
        let object = cluster.object(&application).expect("it is there");
        object.pointer("/spec/syncPolicy/automated/enabled") == Some(&json!(false))
    };
    until_good(&cluster, GOOD).await;
    argo.commit(COMMITS[1], ERRING).await;
    argo.until("it recovers", has_states(&["Recovered"])).await;
    assert!(is_off(&cluster));
    argo.run(600).await;
    assert!(is_off(&cluster));
    argo.commit(COMMITS[2], GOOD).await;
    argo.until("it is on again", |cluster| !is_off(cluster))
        .await;
    argo.until("no mark is left", |cluster| {
        mark(cluster, names::GITOPS_PAUSED_BY).is_none()
    })
    .await;
    assert_eq!(image(&cluster), GOOD);
    assert_eq!(template_writes(&cluster).len(), 1);
}
