//! Looks at the rows as the operator does: its port, its rights, its feeds.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, anyhow};
use astern::api::parse;
use astern::decide::{
    Attention, Current, Evidence, Memory, Observed, Pod, RevisionMemory, Workload,
};
use astern::observe::evidence::{Asked, evidence};
use astern::observe::pods::OldPod;
use astern::observe::prometheus::feeds::Feeds;
use astern::observe::sources::{FindSource, Sources};
use astern::observe::store::Store;
use astern::observe::{Eyes, workload::Deployment};
use astern::port::kube::{KubePort, MetricsPort};
use astern::port::{Cluster, Outside};
use astern_testbed::bed::Bed;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use super::row::{NEW, NEWER, OLD, Row};
use crate::operator::granted;

/// Where the account lives that has the chart's rights.
const HOME: &str = "presets";

/// Eyes that are kept open until this is dropped.
pub(crate) struct Open {
    eyes: Eyes,
    asking: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// Opens the eyes of an operator with the chart's rights in the namespaces of `rows`, which asks
/// Prometheus at `url`.
pub(crate) async fn open(bed: &Bed, rows: &[Row], url: &str) -> anyhow::Result<Open> {
    let config = kube::Config::from_custom_kubeconfig(
        kube::config::Kubeconfig::read_from(account(bed, rows).await?)?,
        &kube::config::KubeConfigOptions::default(),
    )
    .await?;
    let cluster: Arc<dyn Cluster> = Arc::new(KubePort::with_config(config)?);
    let outside: Arc<dyn Outside> = Arc::new(MetricsPort::new()?);
    let source = json!({"metadata": {"name": "default"}, "spec": {"url": url}});
    let source = parse::metric_source(&source).map_err(|errors| anyhow!("{errors:?}"))?;
    let source = Arc::new(source);
    let find: FindSource = Arc::new(move |_| Ok(Arc::clone(&source)));
    let sources = Arc::new(Sources::new(Arc::clone(&cluster), HOME.to_owned(), find));
    let feeds = Arc::new(Feeds::default());
    let eyes = Eyes {
        config: Arc::default(),
        secrets: astern::observe::config::Secrets::NotGranted,
        namespace: "astern-system".to_owned(),
        cluster: Arc::clone(&cluster),
        store: Arc::new(Store::default()),
        feeds: Arc::clone(&feeds),
        sources: Arc::clone(&sources),
        argo_cd_namespace: "argocd".to_owned(),
        pause_applications: Vec::new(),
        accept_unverified_approvals: false,
    };
    let (sender, mut news) = mpsc::channel(64);
    let asking = tokio::spawn(async move {
        let listening = async { while news.recv().await.is_some() {} };
        tokio::join!(feeds.run(cluster, outside, sources, sender), listening);
    });
    Ok(Open { eyes, asking })
}

/// Makes an account with what the chart grants in the namespaces of `rows`.
async fn account(bed: &Bed, rows: &[Row]) -> anyhow::Result<std::path::PathBuf> {
    let namespaces: Vec<String> = rows.iter().map(Row::namespace).collect();
    let granted = granted(bed, HOME, &namespaces.join(",")).await?;
    bed.apply(&granted).await?;
    bed.service_account_kubeconfig(HOME, &format!("{HOME}-astern"))
        .await
}

impl Open {
    /// Returns what is known about each trigger of `row`, whose release was at `release`.
    pub(crate) async fn look(
        &self,
        row: &Row,
        release: Timestamp,
    ) -> anyhow::Result<BTreeMap<String, Evidence>> {
        let deployment = deployment(row)?;
        let policy = parse::rollback_policy(&row.policy())
            .map_err(|errors| anyhow!("{}: {errors:?}", row.name))?;
        let observed = observed(&deployment, release);
        let old = [OldPod {
            name: OLD.to_owned(),
            born: release - SignedDuration::from_hours(1),
            gone: None,
            replica_set: "b".to_owned(),
        }];
        let asked = Asked {
            deployment: &deployment,
            replica_set: None,
            policy: &policy,
            observed: &observed,
            attention: Attention::Close,
            old: &old,
        };
        Ok(evidence(&self.eyes, &asked).await)
    }
}

fn deployment(row: &Row) -> anyhow::Result<Deployment> {
    let object = json!({
        "metadata": {
            "namespace": row.namespace(), "name": "checkout", "uid": "a", "resourceVersion": "1",
        },
        "spec": {
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {"metadata": {"labels": {"app": "checkout"}}, "spec": {"containers": []}},
        },
    });
    Deployment::read(&object).context("no Deployment")
}

fn observed(deployment: &Deployment, release: Timestamp) -> Observed {
    let template = deployment.template.clone();
    let memory = RevisionMemory {
        since: release,
        number: 2,
        ..RevisionMemory::default()
    };
    let pod = |name: &str| Pod {
        name: name.to_owned(),
        born: release,
        ..Pod::default()
    };
    Observed {
        workload: Workload {
            template: template.clone(),
            current: Some(Current {
                number: 2,
                created: release,
            }),
            ..Workload::default()
        },
        memory: Memory {
            revisions: BTreeMap::from([(template, memory)]),
            incident: None,
        },
        pods: vec![pod(NEW), pod(NEWER)],
        ..Observed::default()
    }
}
