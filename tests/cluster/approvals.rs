//! Whether anybody can answer a proposal in another's name: real users, real API server.
//!
//! Everybody here may write Deployments, Rollbacks and their status in the test's namespace. Only
//! the approvers have the verb `approve`.

use anyhow::{Context as _, ensure};
use astern_testbed::bed::{Bed, User};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{eventually, install, installed, namespace, own, repository, run};

const APPROVE: &str = "astern.dev/approve";
const REJECT: &str = "astern.dev/reject";
const AWAITING: &str = "astern.dev/awaiting-approval";
const CODE: &str = "k7m2";
const DEPLOYMENT: &str = "checkout";
/// With everything in it that separates parts of an entry.
const ODD_NAME: &str = "oidc:team/a,b:carol";

/// Where an answer can be written.
#[derive(Clone, Copy, Debug)]
enum Place {
    Deployment,
    DeploymentStatus,
    Rollback,
    RollbackStatus,
}

use Place::{Deployment as OnDeployment, DeploymentStatus, Rollback as OnRollback, RollbackStatus};

/// A namespace with a Deployment whose rollback awaits approval, and people.
struct Stage {
    namespace: String,
    rollback: String,
    alice: User,
    bob: User,
    carol: User,
    /// May write everything, and approve nothing.
    mallory: User,
    admin: Client,
}

impl Stage {
    /// Sets the stage, and waits until the API server knows what awaits approval.
    async fn set(bed: &Bed) -> anyhow::Result<Self> {
        let stage = Self::unguarded(bed).await?;
        eventually("forgery is refused", async || {
            let entry = stage.entry("alice");
            let outcome = stage.try_out(&stage.mallory, &entry).await;
            Ok(outcome.is_err())
        })
        .await?;
        for (user, name) in [
            (&stage.alice, "alice"),
            (&stage.bob, "bob"),
            (&stage.carol, ODD_NAME),
        ] {
            eventually("approvers have their right", async || {
                let entry = stage.entry(name);
                Ok(stage.try_out(user, &entry).await.is_ok())
            })
            .await?;
        }
        Ok(stage)
    }

    /// Sets the stage without waiting for a policy.
    async fn unguarded(bed: &Bed) -> anyhow::Result<Self> {
        let namespace = namespace(bed, "approvals").await?;
        bed.apply(&people(&namespace)).await?;
        bed.apply(&deployment(&namespace)).await?;
        let stage = Self {
            rollback: format!("{DEPLOYMENT}-0a1b2c3d-4e5f6071-1"),
            namespace,
            alice: bed.user("alice", &[]).await?,
            bob: bed.user("bob", &[]).await?,
            carol: bed.user(ODD_NAME, &[]).await?,
            mallory: bed.user("mallory", &[]).await?,
            admin: bed.client(),
        };
        eventually("people have their rights", async || {
            let written = stage.annotate(&stage.mallory, OnDeployment, "team", "shop");
            Ok(written.await.is_ok())
        })
        .await?;
        if kinds_exist(bed).await? {
            stage.propose(&stage.rollback).await?;
        }
        Ok(stage)
    }

    /// Makes a Rollback that awaits approval, as Astern would.
    async fn propose(&self, name: &str) -> anyhow::Result<()> {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "astern.dev/v1alpha1",
            "kind": "Rollback",
            "metadata": {"name": name, "labels": {AWAITING: "true"}},
            "spec": {"deployment": {"name": DEPLOYMENT}, "reason": "it answers with errors"},
        }))?;
        let api = rollbacks(&self.admin, &self.namespace);
        api.create(&PostParams::default(), &object)
            .await
            .context("cannot make a Rollback")?;
        Ok(())
    }

    fn entry(&self, username: &str) -> String {
        format!("{}/{CODE}:{username}", self.rollback)
    }

    /// Asks the API server what it would say, and leaves no trace.
    async fn try_out(&self, user: &User, entry: &str) -> Result<(), String> {
        let patch = Patch::Merge(annotation(APPROVE, &json!(entry)));
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let api: Api<Deployment> = Api::namespaced(user.client.clone(), &self.namespace);
        let outcome = api.patch(DEPLOYMENT, &parameters, &patch).await;
        outcome.map(drop).map_err(|error| said(&error))
    }

    async fn annotate(
        &self,
        user: &User,
        place: Place,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<(), String> {
        let patch = annotation(key, &value.into());
        self.patch(user, place, &patch).await
    }

    async fn patch(&self, user: &User, place: Place, patch: &Value) -> Result<(), String> {
        let parameters = PatchParams::default();
        let patch = Patch::Merge(patch);
        let deployments: Api<Deployment> = Api::namespaced(user.client.clone(), &self.namespace);
        let rollbacks = rollbacks(&user.client, &self.namespace);
        match place {
            OnDeployment => deployments
                .patch(DEPLOYMENT, &parameters, &patch)
                .await
                .map(drop),
            DeploymentStatus => deployments
                .patch_status(DEPLOYMENT, &parameters, &patch)
                .await
                .map(drop),
            OnRollback => rollbacks
                .patch(&self.rollback, &parameters, &patch)
                .await
                .map(drop),
            RollbackStatus => rollbacks
                .patch_status(&self.rollback, &parameters, &patch)
                .await
                .map(drop),
        }
        .map_err(|error| said(&error))
    }

    /// Returns what stands under `key` on the Rollback.
    async fn on_rollback(&self, key: &str) -> anyhow::Result<Option<String>> {
        let api = rollbacks(&self.admin, &self.namespace);
        let object = api.get(&self.rollback).await?;
        Ok(object
            .metadata
            .annotations
            .and_then(|all| all.get(key).cloned()))
    }

    #[track_caller]
    fn check_refused(outcome: Result<(), String>, fragment: &str) {
        let message = outcome.err().unwrap_or_else(|| "let through".to_owned());
        assert!(message.contains(fragment), "{message}");
    }
}

#[test]
fn people_answer_in_their_own_name_on_deployment_and_rollback() {
    run(async {
        let stage = Stage::set(installed().await?).await?;
        for place in [OnDeployment, OnRollback] {
            for key in [APPROVE, REJECT] {
                for (user, name) in [
                    (&stage.alice, "alice"),
                    (&stage.bob, "bob"),
                    (&stage.carol, ODD_NAME),
                ] {
                    let outcome = stage.annotate(user, place, key, stage.entry(name)).await;
                    assert_eq!(outcome, Ok(()), "{name} {key} {place:?}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn nobody_answers_in_another_name_or_twice() {
    run(async {
        let stage = Stage::set(installed().await?).await?;
        let entries = [
            stage.entry("bob"),
            stage.entry("x:alice"),
            stage.entry(":alice"),
            stage.entry("Alice"),
            stage.entry("alice "),
            stage.entry(""),
            format!("{} {}", stage.entry("bob"), stage.entry("alice")),
            format!("{},{}", stage.entry("alice"), stage.entry("bob")),
            format!("{}\n{}", stage.entry("bob"), stage.entry("alice")),
            format!("{}/alice", stage.rollback),
        ];
        for place in [OnDeployment, DeploymentStatus, OnRollback] {
            for key in [APPROVE, REJECT] {
                for entry in &entries {
                    let outcome = stage.annotate(&stage.alice, place, key, entry.as_str());
                    Stage::check_refused(outcome.await, "you are alice");
                }
            }
        }
        Ok(())
    });
}

/// The own name behind the last colon is not enough either when the name itself has colons.
#[test]
fn part_of_a_username_is_not_the_username() {
    run(async {
        let stage = Stage::set(installed().await?).await?;
        for name in ["carol", "team/a,b:carol", "x:oidc:team/a,b:carol"] {
            let outcome = stage.annotate(&stage.carol, OnDeployment, APPROVE, stage.entry(name));
            Stage::check_refused(outcome.await, &format!("you are {ODD_NAME}"));
        }
        Ok(())
    });
}

#[test]
fn an_answer_needs_the_verb_approve() {
    run(async {
        let stage = Stage::set(installed().await?).await?;
        for place in [OnDeployment, DeploymentStatus, OnRollback] {
            for key in [APPROVE, REJECT] {
                let own = stage.entry("mallory");
                let outcome = stage.annotate(&stage.mallory, place, key, own);
                Stage::check_refused(outcome.await, "mallory may not answer proposals here");
            }
        }
        Ok(())
    });
}

/// What an API server does with metadata in a write to the status differs: it keeps annotations of
/// Deployments, and drops those of custom resources.
#[test]
fn the_status_is_no_way_around() {
    run(async {
        let stage = Stage::set(installed().await?).await?;
        let forged = stage.entry("alice");
        let outcome = stage.annotate(&stage.mallory, DeploymentStatus, APPROVE, forged.as_str());
        Stage::check_refused(outcome.await, "you are mallory");

        let outcome = stage.annotate(&stage.mallory, RollbackStatus, APPROVE, forged.as_str());
        drop(outcome.await);
        assert_eq!(stage.on_rollback(APPROVE).await?, None);
        Ok(())
    });
}

/// Without its label a Rollback is nothing that the policy for approvals looks at.
#[test]
fn nobody_takes_a_proposal_out_of_sight() {
    run(async {
        let bed = installed().await?;
        let stage = Stage::set(bed).await?;
        let clerk = bed.user("clerk", &[]).await?;
        for value in [Value::Null, json!("false"), json!("")] {
            let patch = json!({"metadata": {"labels": {AWAITING: value}}});
            let outcome = stage.patch(&clerk, OnRollback, &patch).await;
            Stage::check_refused(outcome, "Only Astern sets the label");
        }
        let other = json!({"metadata": {"labels": {"team": "shop"}}});
        assert_eq!(stage.patch(&clerk, OnRollback, &other).await, Ok(()));
        // Astern takes it away when the answer is there. The admin has the same right here.
        let api = rollbacks(&stage.admin, &stage.namespace);
        let patch = json!({"metadata": {"labels": {AWAITING: null}}});
        api.patch(
            &stage.rollback,
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
        Ok(())
    });
}

#[test]
fn anybody_may_remove_an_answer_and_write_what_is_none() {
    run(async {
        let stage = Stage::set(installed().await?).await?;
        let answer = stage.entry("alice");
        for place in [OnDeployment, OnRollback] {
            let written = stage.annotate(&stage.alice, place, APPROVE, answer.as_str());
            assert_eq!(written.await, Ok(()));
            // An unrelated change carries the answer along, as every apply does.
            let unrelated = stage.annotate(&stage.mallory, place, "team", "billing");
            assert_eq!(unrelated.await, Ok(()));
            let removed = stage.annotate(&stage.mallory, place, APPROVE, Value::Null);
            assert_eq!(removed.await, Ok(()));
            // What names no open proposal proves nothing, and must not stand in the way: an undo
            // brings such entries back.
            let closed = format!("{}0/aaaa:alice", stage.rollback);
            for stale in [closed.as_str(), "nonsense", ""] {
                let outcome = stage.annotate(&stage.mallory, place, APPROVE, stale);
                assert_eq!(outcome.await, Ok(()), "{stale:?}");
            }
            // And bringing one back that was removed is forging it.
            let again = stage.annotate(&stage.mallory, place, APPROVE, answer.as_str());
            Stage::check_refused(again.await, "you are mallory");
        }
        Ok(())
    });
}

/// One proposal's name may begin another's, and several may be open at once.
#[test]
fn several_open_proposals_do_not_get_in_each_others_way() {
    run(async {
        let stage = Stage::set(installed().await?).await?;
        let longer = format!("{}0", stage.rollback);
        stage.propose(&longer).await?;
        eventually("forgery for the second is refused", async || {
            let entry = format!("{longer}/{CODE}:bob");
            Ok(stage.try_out(&stage.mallory, &entry).await.is_err())
        })
        .await?;
        for rollback in [&stage.rollback, &longer] {
            let own = format!("{rollback}/{CODE}:alice");
            let outcome = stage.annotate(&stage.alice, OnDeployment, APPROVE, own);
            assert_eq!(outcome.await, Ok(()), "{rollback}");
            let forged = format!("{rollback}/{CODE}:bob");
            let outcome = stage.annotate(&stage.alice, OnDeployment, APPROVE, forged);
            Stage::check_refused(outcome.await, "you are alice");
        }
        Ok(())
    });
}

#[test]
fn what_the_refusal_says_to_type_works() {
    run(async {
        let bed = installed().await?;
        let stage = Stage::set(bed).await?;
        for place in [OnDeployment, OnRollback] {
            let outcome = stage.annotate(&stage.alice, place, APPROVE, stage.entry("bob"));
            let refusal = outcome.await.err().context("let through")?;
            let (_, command) = refusal
                .split_once("type: kubectl ")
                .with_context(|| refusal.clone())?;
            let command = command.replace('\'', "");
            let words: Vec<&str> = command.split_whitespace().collect();
            let output = bed.kubectl(&stage.alice.kubeconfig, &words, None).await?;
            ensure!(output.status.success(), "{command}: {}", output.stderr);
        }
        let expected = Some(stage.entry("alice"));
        assert_eq!(stage.on_rollback(APPROVE).await?, expected);
        Ok(())
    });
}

/// With `failurePolicy: Fail` the API server would refuse every Deployment in the cluster here.
#[test]
fn deployments_stay_writable_without_the_kind_before_and_after() {
    run(async {
        let bed = own("order").await?;
        let manifest = std::fs::read_to_string(repository("deploy/install.yaml"))?;
        let policies: Vec<&str> = manifest
            .split("\n---\n")
            .filter(|text| text.contains("\nkind: ValidatingAdmissionPolicy"))
            .collect();
        ensure!(!policies.is_empty(), "the manifest has no admission policy");
        let apply = ["apply", "--server-side", "-f", "-"];
        let text = policies.join("\n---\n");
        let output = bed.kubectl(bed.kubeconfig(), &apply, Some(&text)).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        let early = Stage::unguarded(&bed).await?;
        early.stays_writable("before its kind").await?;

        install(&bed).await?;
        let stage = Stage::set(&bed).await?;
        let own = stage.annotate(&stage.alice, OnDeployment, APPROVE, stage.entry("alice"));
        assert_eq!(own.await, Ok(()));

        let delete = [
            "delete",
            "crd",
            "rollbacks.astern.dev",
            "rollbackpolicies.astern.dev",
        ];
        let output = bed.kubectl(bed.kubeconfig(), &delete, None).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        stage.stays_writable("after its kind").await?;
        bed.stop().await
    });
}

impl Stage {
    /// Writes for longer than the API server takes to notice that a kind has come or gone.
    async fn stays_writable(&self, when: &str) -> anyhow::Result<()> {
        let mut interval = tokio::time::interval(std::time::Duration::from_millis(250));
        for round in 0..40 {
            interval.tick().await;
            // An answer too: it is what the policy looks at.
            for (key, value) in [
                ("round", format!("{when} {round}")),
                (APPROVE, self.entry(&round.to_string())),
            ] {
                let outcome = self.annotate(&self.alice, OnDeployment, key, value).await;
                ensure!(outcome == Ok(()), "{when}, round {round}: {outcome:?}");
            }
        }
        Ok(())
    }
}

fn annotation(key: &str, value: &Value) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn rollbacks(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("astern.dev", "v1alpha1", "Rollback");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rollbacks");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn kinds_exist(bed: &Bed) -> anyhow::Result<bool> {
    let arguments = [
        "get",
        "crd",
        "rollbacks.astern.dev",
        "--ignore-not-found",
        "-o",
        "name",
    ];
    let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    Ok(!output.stdout.is_empty())
}

/// Returns the message of an answer that is an error.
fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        status.message.clone()
    } else {
        error.to_string()
    }
}

fn people(namespace: &str) -> String {
    format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: developer, namespace: {namespace}}}
rules:
- apiGroups: [apps]
  resources: [deployments, deployments/status]
  verbs: [get, list, create, update, patch]
- apiGroups: [astern.dev]
  resources: [rollbacks]
  verbs: [get, list, create, update, patch]
---
# Apart from the rest, because who may write the status may also close a proposal.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: status-writer, namespace: {namespace}}}
rules:
- apiGroups: [astern.dev]
  resources: [rollbacks/status]
  verbs: [get, update, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: developer, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: developer}}
subjects:
- {{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:authenticated'}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: status-writer, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: status-writer}}
subjects:
- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}}
---
# The very role that the chart installs for this.
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: approvers, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: astern-approver}}
subjects:
- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}}
- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}}
- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: '{ODD_NAME}'}}
"
    )
}

fn deployment(namespace: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {DEPLOYMENT}, namespace: {namespace}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {DEPLOYMENT}}}}}
  template:
    metadata: {{labels: {{app: {DEPLOYMENT}}}}}
    spec: {{containers: [{{name: app, image: shop/checkout:v1}}]}}
"
    )
}
