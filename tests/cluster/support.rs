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
use astern_testbed::{
    bed::{Bed, Options, Output},
    behaviour::{Behaviour, Crash, Images, Probed},
    node::{Nodes, NodesOptions},
};
use tokio::{
    runtime::Runtime,
    sync::OnceCell,
    time::{sleep, timeout},
};

/// Answers every request well.
pub(crate) const GOOD: &str = "registry.example/checkout:v1.0.0";
/// Answers 30 % of the requests by an error.
pub(crate) const ERRING: &str = "registry.example/checkout:v1.1.0";
/// Fails its liveness probe.
pub(crate) const FAILING_PROBES: &str = "registry.example/checkout:v1.2.0";
/// Exits a second after each start.
pub(crate) const CRASHING: &str = "registry.example/checkout:v1.4.0";
/// No registry has it.
pub(crate) const MISSING: &str = "registry.example/checkout:v1.5.0";
/// Answers every request well again.
pub(crate) const FIXED: &str = "registry.example/checkout:v1.3.0";

/// How often Prometheus asks the pods.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(2);

/// How long a condition may take to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shared too: connections of the bed's client die with the runtime that opened them.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a process may have threads"));
static SHARED: OnceCell<(Bed, Nodes)> = OnceCell::const_new();

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

/// Returns the bed that all tests share, with Prometheus and nodes. `deploy/install.yaml` was applied
/// to it with kubectl.
///
/// Its processes end with this one, whatever way that ends.
pub(crate) async fn installed() -> anyhow::Result<&'static Bed> {
    let shared = SHARED.get_or_try_init(|| async {
        let shared = own_with_nodes("cluster").await?;
        install(&shared.0).await?;
        anyhow::Ok(shared)
    });
    Ok(&shared.await?.0)
}

/// Starts a bed with Prometheus, and with nodes that run the images of the stories.
pub(crate) async fn own_with_nodes(label: &str) -> anyhow::Result<(Bed, Nodes)> {
    let bed = Bed::start(Options {
        label: label.to_owned(),
        prometheus: true,
        scrape_interval: SCRAPE_INTERVAL,
        // The logs of the operators, for whoever wonders why a test failed.
        keep_directory: std::env::var_os("KEEP").is_some(),
        ..Options::default()
    })
    .await?;
    let options = NodesOptions {
        nodes: 2,
        images: images(),
        backoff_factor: 0.1,
        log_directory: bed.directory().join("pods"),
        api_server: bed.api_server().to_owned(),
        ca_pem: bed.ca_pem().to_owned(),
    };
    let nodes = Nodes::start(bed.client(), options).await?;
    Ok((bed, nodes))
}

fn images() -> Images {
    let erring = Behaviour {
        error_rate: 0.3,
        ..Behaviour::default()
    };
    let failing = Behaviour {
        liveness: Probed {
            fail_after: Some(Duration::from_secs(3)),
            recover_after: None,
        },
        ..Behaviour::default()
    };
    let crashing = Behaviour {
        crash: Some(Crash {
            after: Duration::from_secs(1),
            exit_code: 3,
            out_of_memory: false,
        }),
        ..Behaviour::default()
    };
    let listed = [
        (GOOD, Behaviour::default()),
        (ERRING, erring),
        (FAILING_PROBES, failing),
        (CRASHING, crashing),
        (MISSING, Behaviour::missing()),
        (FIXED, Behaviour::default()),
    ];
    Images::new(listed.map(|(image, behaviour)| (image.to_owned(), behaviour)))
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
    condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    within(PATIENCE, what, condition).await
}

/// Does the same for something that takes its time even where nothing slows it.
pub(crate) async fn within(
    patience: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let asking = async {
        while !condition().await? {
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    timeout(patience, asking)
        .await
        .with_context(|| format!("{what}: not so after {} seconds", patience.as_secs()))?
}

/// Returns a path in this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
