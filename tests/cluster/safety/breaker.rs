//! Most of a namespace goes bad at once.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use kube::{
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};

use super::policy;
use crate::{
    objects::{Kind, image_of, state, word},
    stage::Stage,
    support::{CRASHING, GOOD, installed, run},
};

/// What the flags say by default.
const ALLOWED: usize = 10;
const BREAKER: &str = "astern.dev/breaker";

#[test]
fn a_storm_of_bad_releases_trips_the_breaker_after_the_allowed_number() {
    run(async {
        // The other rule of the breaker, a share of all, would be first here.
        let flags = ["--breaker-share=100"];
        let stage = Stage::prepare_with(installed().await?, "storm", &flags).await?;
        stage.operator.start().await?;
        let fleet = Fleet::settle(&stage, 40).await?;
        fleet.deploy(0..30, CRASHING).await?;
        stage
            .until("every bad release is dealt with", async || {
                let states = fleet.states().await?;
                let waiting = states.get("AwaitingApproval").copied();
                let done = states.get("Recovered").copied();
                Ok(waiting.unwrap_or(0) + done.unwrap_or(0) == 30)
            })
            .await?;
        stage.heartbeats(2).await?;
        let states = fleet.states().await?;
        ensure!(states.get("Recovered") == Some(&ALLOWED), "{states:?}");
        ensure!(fleet.running(GOOD).await? == 10 + ALLOWED);
        ensure!(fleet.patched() == ALLOWED, "{:?}", stage.writes());
        for rollback in stage.list(Kind::Rollbacks).await? {
            let caps = rollback["status"]["caps"].to_string();
            let asks = state(&rollback) == "AwaitingApproval";
            ensure!(caps.contains("BreakerOpen") == asks, "{rollback}");
        }
        let notes = super::told(&stage, "BreakerOpened").await?;
        ensure!(notes.len() == 1, "{notes:?}");
        ensure!(notes[0].contains("10 automatic rollbacks"), "{notes:?}");

        fleet.reset().await?;
        fleet.deploy(30..31, CRASHING).await?;
        stage
            .until("the next one acts", async || {
                Ok(fleet.states().await?.get("Recovered") == Some(&(ALLOWED + 1)))
            })
            .await?;
        let lease = fleet.lease().await?;
        ensure!(
            lease["metadata"]["annotations"][BREAKER].is_null(),
            "{lease}"
        );
        Ok(())
    });
}

/// Many Deployments under one policy.
pub(super) struct Fleet<'a> {
    stage: &'a Stage<'a>,
}

impl<'a> Fleet<'a> {
    /// Deploys `count` and waits until all are known good.
    pub(super) async fn settle(stage: &'a Stage<'a>, count: usize) -> anyhow::Result<Self> {
        let mut policy = policy(stage, "Automatic");
        if let Some(spec) = policy["spec"].as_object_mut() {
            spec.remove("targetRefs");
        }
        policy["spec"]["selector"] = json!({"matchLabels": {"fleet": "shop"}});
        stage.bed.apply(&policy.to_string()).await?;
        let deployments = (0..count).map(|index| Self::deployment(stage, index).to_string());
        let applied = deployments.map(|text| async move { stage.bed.apply(&text).await });
        try_join_all(applied).await?;
        stage
            .until("the whole fleet is known good", async || {
                let verdicts = stage.verdicts().await?;
                let good = verdicts.iter().filter(|(_, verdict)| verdict == "Good");
                Ok(good.count() == count)
            })
            .await?;
        Ok(Self { stage })
    }

    fn deployment(stage: &Stage<'_>, index: usize) -> Value {
        let name = Self::name(index);
        let mut deployment = stage.deployment(GOOD);
        deployment["metadata"]["name"] = json!(name);
        deployment["metadata"]["labels"] = json!({"fleet": "shop"});
        let spec = &mut deployment["spec"];
        spec["replicas"] = json!(1);
        spec["selector"]["matchLabels"] = json!({"app": name});
        spec["template"]["metadata"] = json!({"labels": {"app": name}});
        let container = &mut spec["template"]["spec"]["containers"][0];
        container["livenessProbe"] = Value::Null;
        container["readinessProbe"] = Value::Null;
        deployment
    }

    fn name(index: usize) -> String {
        format!("shop-{index}")
    }

    /// Deploys another image to some.
    pub(super) async fn deploy(
        &self,
        which: std::ops::Range<usize>,
        image: &str,
    ) -> anyhow::Result<()> {
        let container = json!({"name": "app", "image": image});
        let change = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        for index in which {
            let request = Request::new(Kind::Deployments.path(&self.stage.namespace));
            let change = Patch::Strategic(&change);
            let request = request.patch(&Self::name(index), &PatchParams::default(), &change)?;
            self.stage.bed.client().request::<Value>(request).await?;
        }
        Ok(())
    }

    /// Returns how many Rollbacks are in which state.
    pub(super) async fn states(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for state in self.stage.states().await? {
            *counts.entry(state).or_default() += 1;
        }
        Ok(counts)
    }

    async fn running(&self, image: &str) -> anyhow::Result<usize> {
        let deployments = self.stage.list(Kind::Deployments).await?;
        let running = deployments.iter().map(|deployment| {
            let data = json!({"data": {"template": deployment["spec"]["template"]}});
            image_of(&data)
        });
        Ok(running.filter(|running| running == image).count())
    }

    /// Returns how many Deployments were written to.
    fn patched(&self) -> usize {
        let writes = self.stage.writes();
        let own = writes.iter().filter(|write| write.was_taken());
        let own = own.filter(|write| write.resource == "deployments");
        let names: std::collections::BTreeSet<_> = own.map(|write| &write.name).collect();
        names.len()
    }

    async fn lease(&self) -> anyhow::Result<Value> {
        let name = format!("{}-astern", self.stage.namespace);
        self.stage.get(Kind::Leases, &name).await
    }

    /// Does what the Lease and the documentation say to a person.
    async fn reset(&self) -> anyhow::Result<()> {
        let lease = self.lease().await?;
        let open = word(&lease["metadata"]["annotations"][BREAKER]);
        let (opened, why) = open.split_once(' ').context("the Lease says nothing")?;
        ensure!(why.contains("10 automatic rollbacks"), "{open}");
        let reset = format!("{BREAKER}-reset={opened}:alice: the database was down");
        let name = format!("{}-astern", self.stage.namespace);
        super::kubectl(self.stage, &["annotate", "lease", &name, &reset]).await?;
        Ok(())
    }
}
