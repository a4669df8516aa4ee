//! A scenario file, carried out from its first to its last step.

use std::{collections::BTreeMap, path::Path};

use astern_testbed::{
    bed::{Bed, Options},
    scenario::{Director, Scenario},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_release_loses_no_request() -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/healthy.yaml");
    let scenario = Scenario::read(&file, &BTreeMap::new())?;
    let bed = Bed::start(Options {
        label: scenario.name.clone(),
        ..Options::default()
    })
    .await?;
    let mut director = Director::start(&bed, &scenario).await?;
    for step in &scenario.steps {
        director.carry_out(step).await?;
    }
    let seen = director.traffic()[0].1.snapshot(..);
    assert!(seen.total > 0);
    assert_eq!((seen.failed, &seen.causes), (0, &BTreeMap::new()));
    director.stop().await;
    bed.stop().await
}
