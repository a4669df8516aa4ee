//! A bad release on a real cluster, with real metrics: what is written, and what is left alone.

use anyhow::ensure;
use serde_json::json;

use crate::{
    operator::{Kind, Stage},
    support::{ERRING, GOOD, installed, run},
};

#[test]
fn a_bad_release_is_rolled_back_once() {
    run(async {
        let stage = Stage::set(installed().await?, "rollback").await?;
        stage.settle("Automatic", GOOD).await?;
        stage.deploy(ERRING).await?;
        stage.until_states(&["Recovered"]).await?;
        ensure!(stage.image().await? == GOOD);
        // One for the template, one for its owners.
        ensure!(stage.writes_to_deployment() == [200, 200]);
        let _ = (Kind::Rollbacks, json!({}));
        Ok(())
    });
}
