//! One bed for all tests of this program, with Astern's manifests applied to it.
//!
//! Each test has a namespace of its own. A test that takes something away from everybody, such as a
//! kind, starts its own bed instead.

use std::{
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use astern_testbed::bed::{Bed, Options, Output};
use tokio::{
    runtime::Runtime,
    sync::OnceCell,
    time::{sleep, timeout},
};

/// How long a condition may take to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shared too: connections of the bed's client die with the runtime that opened them.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a process may have threads"));
static BED: OnceCell<Bed> = OnceCell::const_new();

/// Runs a test.
#[track_caller]
pub(crate) fn run(test: impl Future<Output = anyhow::Result<()>>) {
    let outcome = RUNTIME.block_on(test);
    // Without the backtrace that `{:?}` would add: it names the runtime, not the test.
    assert!(
        outcome.is_ok(),
        "{:#}",
        outcome.expect_err("it is no success")
    );
}

/// Returns the bed that all tests share. `deploy/install.yaml` was applied to it with kubectl.
///
/// Its processes end with this one, whatever way that ends.
pub(crate) async fn installed() -> anyhow::Result<&'static Bed> {
    BED.get_or_try_init(|| async {
        let bed = own("cluster").await?;
        install(&bed).await?;
        Ok(bed)
    })
    .await
}

/// Starts a bed with nothing on it.
pub(crate) async fn own(label: &str) -> anyhow::Result<Bed> {
    Bed::start(Options {
        label: label.to_owned(),
        ..Options::default()
    })
    .await
}

/// Installs Astern the way docs/installing.md tells people without Helm.
pub(crate) async fn install(bed: &Bed) -> anyhow::Result<Output> {
    let file = repository("deploy/install.yaml");
    let file = file.to_str().context("the path is no UTF-8")?;
    let arguments = ["apply", "--server-side", "-f", file];
    let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
    ensure!(output.status.success(), "{}", output.stderr);
    Ok(output)
}

/// Makes a namespace whose name nothing else has.
pub(crate) async fn namespace(bed: &Bed, label: &str) -> anyhow::Result<String> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("{label}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let manifest = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
    bed.apply(&manifest).await?;
    Ok(name)
}

/// Asks again and again until `condition` holds.
pub(crate) async fn eventually(
    what: &str,
    mut condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let asking = async {
        while !condition().await? {
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, asking)
        .await
        .with_context(|| format!("{what}: not so after {} seconds", PATIENCE.as_secs()))?
}

/// Returns a path in this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
