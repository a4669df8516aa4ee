//! A GitOps reconciler that deploys the Deployment, on a real API server.

use anyhow::ensure;
use astern_testbed::{
    bed::Bed,
    gitops::{self, KUSTOMIZATION},
    reconciler::{KUSTOMIZE_PAUSE, Pace, Reconciler, ReconcilerOptions},
};
use kube::{
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};
use tokio::try_join;

use crate::{
    objects::Kind,
    stage::Stage,
    support::{ERRING, GOOD, installed, run},
};

const GOOD_COMMIT: &str = "main@sha1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BAD_COMMIT: &str = "main@sha1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn a_reconciler_gets_one_write_whether_it_heeds_the_pause_or_not() {
    run(async {
        let bed = installed().await?;
        gitops::install(bed, gitops::KINDS).await?;
        let (heeding, relentless) =
            try_join!(Stage::set(bed, "heeding"), Stage::set(bed, "relentless"))?;
        try_join!(
            a_pause_holds_until_git_moves(&heeding),
            who_never_gives_up_is_not_fought(&relentless),
        )?;
        Ok(())
    });
}

/// What Git says: the Deployment of the story as a Kustomization applies it.
fn manifest(stage: &Stage<'_>, image: &str) -> Value {
    let mut deployment = stage.deployment(image);
    deployment["metadata"]["labels"] = json!({
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "kustomize.toolkit.fluxcd.io/namespace": stage.namespace,
    });
    deployment
}

async fn kustomization(bed: &Bed, namespace: &str, commit: &str) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": KUSTOMIZATION.api_version(), "kind": KUSTOMIZATION.kind,
        "metadata": {"name": "apps", "namespace": namespace},
        "spec": {"interval": "10m"},
    });
    bed.apply(&object.to_string()).await?;
    let (version, plural) = (KUSTOMIZATION.api_version(), KUSTOMIZATION.plural);
    let collection = format!("/apis/{version}/namespaces/{namespace}/{plural}");
    let status = json!({"status": {"lastAttemptedRevision": commit}});
    let request = Request::new(&collection);
    let request = request.patch_subresource(
        "status",
        "apps",
        &PatchParams::default(),
        &Patch::Merge(status),
    )?;
    bed.client().request::<Value>(request).await?;
    Ok(())
}

/// Makes the good revision known by a Kustomization, and commits the bad one.
async fn released(stage: &Stage<'_>, options: ReconcilerOptions) -> anyhow::Result<Reconciler> {
    kustomization(stage.bed, &stage.namespace, GOOD_COMMIT).await?;
    let good = manifest(stage, GOOD);
    let flux = Reconciler::start(stage.bed.client(), good.clone(), options)?;
    stage.settle_with("Automatic", &good).await?;
    kustomization(stage.bed, &stage.namespace, BAD_COMMIT).await?;
    flux.commit(manifest(stage, ERRING));
    Ok(flux)
}

async fn a_pause_holds_until_git_moves(stage: &Stage<'_>) -> anyhow::Result<()> {
    let options = ReconcilerOptions::kustomize_controller(600);
    let flux = released(stage, options).await?;
    stage.until_states(&["Recovered"]).await?;
    ensure!(stage.image().await? == GOOD);
    let changes = stage.changes_of_deployment();
    ensure!(changes == 2, "{:?}", stage.writes_to_deployment());
    let (key, value) = KUSTOMIZE_PAUSE;
    let live = stage.live().await?;
    ensure!(live["metadata"]["annotations"][key] == value, "{live}");

    kustomization(stage.bed, &stage.namespace, "main@sha1:cccc").await?;
    flux.commit(manifest(stage, GOOD));
    stage
        .until("the pause ends", async || {
            let live = stage.live().await?;
            Ok(live["metadata"]["annotations"][key].is_null())
        })
        .await?;
    ensure!(stage.image().await? == GOOD);
    flux.stop().await;
    Ok(())
}

/// It writes 600 times in all, as fast as the API server answers, and the rollback falls in between.
async fn who_never_gives_up_is_not_fought(stage: &Stage<'_>) -> anyhow::Result<()> {
    let flux = released(stage, ReconcilerOptions::relentless(600)).await?;
    let mut rollback = stage.hold_write();
    rollback.arrived().await?;
    flux.stop().await;
    let options = ReconcilerOptions {
        pace: Pace::Always,
        ..ReconcilerOptions::relentless(600)
    };
    let stubborn = Reconciler::start(stage.bed.client(), manifest(stage, ERRING), options)?;
    let wrote = async |count: usize| {
        let what = format!("it wrote {count} times");
        let enough = async || Ok(stubborn.done().writes >= count);
        stage.until(&what, enough).await
    };
    wrote(50).await?;
    rollback.release();
    wrote(600).await?;
    stage
        .until_states(&["Superseded", "AwaitingApproval"])
        .await?;
    stage.heartbeats(3).await?;
    let changes = stage.changes_of_deployment();
    ensure!(changes == 1, "{:?}", stage.writes_to_deployment());
    ensure!(stage.image().await? == ERRING);
    ensure!(stage.states().await? == ["Superseded", "AwaitingApproval"]);
    stage
        .until("people are told of the fight", async || {
            let events = stage.list(Kind::Events).await?;
            Ok(events
                .iter()
                .any(|event| event["reason"] == "RollbackFighting"))
        })
        .await?;
    stubborn.stop().await;
    Ok(())
}
