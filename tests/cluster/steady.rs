//! An operator that has nothing to do.

use anyhow::{Context as _, ensure};

use crate::{
    stage::Stage,
    support::{ERRING, FIXED, GOOD, installed, run},
};

/// What a small cluster shall cost, and what the documentation says.
const MEMORY_MAX: u64 = 40 * 1024 * 1024;

#[test]
fn in_steady_state_nothing_but_the_lease_is_written() {
    run(async {
        let stage = Stage::set(installed().await?, "steady").await?;
        stage.settle("Automatic", GOOD).await?;
        stage.deploy(ERRING).await?;
        stage.until_states(&["Recovered"]).await?;
        nothing_is_written(&stage).await?;
        // Judged again and again, always with the same result.
        stage.deploy(FIXED).await?;
        stage.until_passed(FIXED).await?;
        nothing_is_written(&stage).await?;
        let memory = stage.operator.memory_bytes().await;
        let memory = memory.context("the operator has stopped")?;
        ensure!(memory < MEMORY_MAX, "{memory} bytes");
        Ok(())
    });
}

async fn nothing_is_written(stage: &Stage<'_>) -> anyhow::Result<()> {
    // The last status of the policy comes a little later than what it is about.
    stage.heartbeats(4).await?;
    stage.api_server.forget();
    stage.heartbeats(10).await?;
    let requests = stage.api_server.requests();
    let writes: Vec<_> = requests
        .iter()
        .filter(|seen| seen.is_write() && !seen.path.contains("/leases/"))
        .collect();
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}
