//! The reconciler and the kinds of GitOps tools on a real API server.

use std::time::Duration;

use anyhow::Context as _;
use astern_testbed::{
    audit::{self, Tally},
    bed::{Bed, Options},
    gitops,
    reconciler::{KUSTOMIZE_PAUSE, Pace, Reconciler, ReconcilerOptions},
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// Who the client of a bed is.
const ADMIN: &str = "astern-testbed-admin";

const GIT: &str = "shop/checkout:v2";
const ROLLED_BACK: &str = "shop/checkout:v1";

async fn eventually(
    what: &str,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let asking = async {
        while !holds().await? {
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(60), asking)
        .await
        .with_context(|| format!("never seen: {what}"))?
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": GIT}]},
            },
        },
    })
}

/// A Deployment that something fights over.
struct Field {
    api: Api<Deployment>,
    name: &'static str,
}

impl Field {
    /// Changes the image by a JSON Patch, as a rollback does.
    async fn roll_back(&self) -> anyhow::Result<()> {
        let image = "/spec/template/spec/containers/0/image";
        let change = json!([{"op": "replace", "path": image, "value": ROLLED_BACK}]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(change)?);
        self.api
            .patch(self.name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    async fn annotate(&self, key: &str, value: Option<&str>) -> anyhow::Result<()> {
        let change = json!({"metadata": {"annotations": {key: value}}});
        self.api
            .patch(self.name, &PatchParams::default(), &Patch::Merge(change))
            .await?;
        Ok(())
    }

    async fn until_image(&self, wanted: &str) -> anyhow::Result<()> {
        eventually(wanted, async || {
            let live = self.api.get_opt(self.name).await?;
            let Some(live) = live else { return Ok(false) };
            let live = serde_json::to_value(live)?;
            Ok(live["spec"]["template"]["spec"]["containers"][0]["image"] == wanted)
        })
        .await
    }
}

fn field(bed: &Bed, name: &'static str) -> Field {
    Field {
        api: Api::default_namespaced(bed.client()),
        name,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciler_insists_and_gitops_kinds_are_served() -> anyhow::Result<()> {
    let bed = Bed::start(Options {
        label: "reconciler".to_owned(),
        audit: true,
        ..Options::default()
    })
    .await?;
    tokio::try_join!(
        each_change_is_put_back_by_one_write(&bed),
        a_paused_object_is_left_alone(&bed),
        a_bound_ends_even_the_most_stubborn(&bed),
        every_kind_takes_any_object(&bed),
    )?;
    bed.stop().await
}

async fn each_change_is_put_back_by_one_write(bed: &Bed) -> anyhow::Result<()> {
    let field = field(bed, "insisted");
    let options = ReconcilerOptions::relentless(600);
    let reconciler = Reconciler::start(bed.client(), deployment(field.name), options)?;
    field.until_image(GIT).await?;
    let (pause, disabled) = KUSTOMIZE_PAUSE;
    field.annotate(pause, Some(disabled)).await?;
    for round in 2..=4 {
        field.roll_back().await?;
        eventually("one more write", async || {
            Ok(reconciler.done().writes == round)
        })
        .await?;
        field.until_image(GIT).await?;
    }
    let live = serde_json::to_value(field.api.get(field.name).await?)?;
    let managers = live["metadata"]["managedFields"].as_array();
    let owner = managers
        .into_iter()
        .flatten()
        .find(|entry| entry["manager"] == "kustomize-controller" && entry["operation"] == "Apply");
    assert!(owner.is_some(), "{live}");

    let mut next = deployment(field.name);
    next["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/checkout:v3");
    reconciler.commit(next);
    field.until_image("shop/checkout:v3").await?;
    reconciler.stop().await;
    assert_eq!(reconciler.done().writes, 5);

    // Those five, the annotation and three rollbacks, and none of the dry runs.
    eventually("nine writes on record", async || {
        let mut writes = audit::recorded(&bed.audit_log(), ADMIN)?;
        writes.retain(|write| write.name == field.name);
        let tally = Tally::of(&writes);
        anyhow::ensure!(tally.on("deployments") <= 9, "{tally}");
        Ok(tally.to_string() == "9 patch deployments")
    })
    .await
}

async fn a_paused_object_is_left_alone(bed: &Bed) -> anyhow::Result<()> {
    let field = field(bed, "paused");
    let options = ReconcilerOptions::kustomize_controller(600);
    let reconciler = Reconciler::start(bed.client(), deployment(field.name), options)?;
    field.until_image(GIT).await?;
    let (pause, disabled) = KUSTOMIZE_PAUSE;
    field.annotate(pause, Some(disabled)).await?;
    eventually("the annotation was seen", async || {
        Ok(reconciler.done().held > 0)
    })
    .await?;
    let held = reconciler.done().held;
    field.roll_back().await?;
    eventually("the rollback was seen", async || {
        Ok(reconciler.done().held > held)
    })
    .await?;
    field.until_image(ROLLED_BACK).await?;
    assert_eq!(reconciler.done().writes, 1);

    field.annotate(pause, None).await?;
    field.until_image(GIT).await?;
    reconciler.stop().await;
    assert_eq!(reconciler.done().writes, 2);
    Ok(())
}

async fn a_bound_ends_even_the_most_stubborn(bed: &Bed) -> anyhow::Result<()> {
    let field = field(bed, "stubborn");
    let options = ReconcilerOptions {
        pace: Pace::Always,
        ..ReconcilerOptions::relentless(20)
    };
    let reconciler = Reconciler::start(bed.client(), deployment(field.name), options)?;
    eventually("twenty writes", async || Ok(reconciler.done().writes == 20)).await?;
    field.roll_back().await?;
    field.until_image(ROLLED_BACK).await?;
    reconciler.stop().await;
    assert_eq!(reconciler.done().writes, 20);
    field.until_image(ROLLED_BACK).await
}

async fn every_kind_takes_any_object(bed: &Bed) -> anyhow::Result<()> {
    gitops::install(bed, gitops::KINDS).await?;
    for kind in gitops::KINDS {
        let object = json!({
            "apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": {"name": "shop", "namespace": "default"},
            "spec": {"interval": "10m", "targetRef": {"name": "checkout"}},
        });
        bed.apply(&object.to_string()).await?;
        let (version, plural) = (kind.api_version(), kind.plural);
        let collection = format!("/apis/{version}/namespaces/default/{plural}");
        let status = json!({"status": {"lastAttemptedRevision": "main@sha1:1"}});
        let parameters = PatchParams::default();
        let patch = Patch::Merge(&status);
        let request = Request::new(&collection);
        let request = if kind.status {
            request.patch_subresource("status", "shop", &parameters, &patch)?
        } else {
            request.patch("shop", &parameters, &patch)?
        };
        let stored: Value = bed.client().request(request).await?;
        assert_eq!(stored["status"], status["status"], "{stored}");
        assert_eq!(stored["spec"], object["spec"], "{stored}");
    }
    Ok(())
}
