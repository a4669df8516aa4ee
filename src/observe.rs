//! Reads the world through the port; writes nothing, decides nothing.
//!
//! [`observe`] puts together what one decision rests on: what the watches have seen, read again at
//! the API server where an incident is open, and what the metric sources last said.

pub mod attachment;
pub mod cache;
pub mod config;
pub mod diagnosis;
pub mod drills;
pub mod evidence;
pub mod gitops;
pub mod history;
pub mod identity;
pub mod inspect;
mod looks;
pub mod pods;
pub mod prometheus;
pub mod sources;
pub mod store;
mod surroundings;
pub mod traffic;
pub mod workload;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::cache::Key;
use self::config::{ConfigStore, Secrets};
use self::prometheus::feeds::Feeds;
use self::sources::Sources;
use self::store::{Remembered, Store};
use self::surroundings::{config_now, config_since, copies, facts};
use self::workload::{Deployment, ReplicaSet};
use crate::api::names;
use crate::api::parse::ParsedPolicy;
use crate::api::record::revision::RevisionRecord;
use crate::api::record::time;
use crate::decide::gitops::Seen;
use crate::decide::{
    Attention, Config, Diagnosed, Entry, Followed, Inspection, Observed, Policy, Request, State,
    Verdict, Workload,
};
use crate::port::{self, Cluster, ObjectRef, Selection, kinds};

/// Why the world could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read deployment {name:?}")]
    GetDeployment {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to list the replica sets of deployment {name:?}")]
    ListReplicaSets {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to look at what a rollback of deployment {name:?} would meet")]
    Inspect {
        name: String,
        #[source]
        source: port::Error,
    },
    #[error("failed to find out who deploys deployment {name:?}")]
    FindReconciler {
        name: String,
        #[source]
        source: gitops::Error,
    },
    #[error("failed to read the binding of the admission policy for approvals")]
    GetApprovalsBinding {
        #[source]
        source: port::Error,
    },
}

/// Where to look.
#[derive(Clone)]
pub struct Eyes {
    pub cluster: Arc<dyn Cluster>,
    pub store: Arc<Store>,
    pub feeds: Arc<Feeds>,
    pub sources: Arc<Sources>,
    pub config: Arc<ConfigStore>,
    /// Whether Secrets that templates refer to may be asked for.
    pub secrets: Secrets,
    /// Astern's own namespace.
    pub namespace: String,
    /// Where Argo CD runs.
    pub argo_cd_namespace: String,
    /// Namespaces in which Applications may be switched off.
    pub pause_applications: Vec<String>,
    /// Approvals count even where the API server does not check who writes them.
    pub accept_unverified_approvals: bool,
}

/// What the process itself remembers about a workload. Losing it loses nothing.
#[derive(Clone, Debug, Default)]
pub struct Volatile {
    pub passing_since: Option<Timestamp>,
    pub refusal: Option<String>,
    pub inspections: Vec<Inspection>,
    /// What config held when it was last seen to change, and when that was.
    pub config: Option<(Config, Timestamp)>,
    pub reconciler: Option<Seen>,
    /// Its Argo CD cannot be switched off, as was seen when it was tried.
    pub cannot_pause: bool,
    pub diagnosed: Vec<Diagnosed>,
    pub followed: Option<Followed>,
}

/// What was seen of one workload.
pub struct Look {
    pub deployment: Arc<Deployment>,
    pub remembered: Remembered,
    pub observed: Observed,
}

/// Looks at the Deployment under `key`, which `policy` governs. `None` when it is gone.
///
/// # Errors
///
/// When the API server gives no answer. The caller tries again later; nothing was changed.
pub async fn observe(
    eyes: &Eyes,
    key: &Key,
    policy: &ParsedPolicy,
    volatile: &Volatile,
    fresh_code: String,
) -> Result<Option<Look>, Error> {
    let Some(mut deployment) = eyes.store.deployment(key) else {
        return Ok(None);
    };
    let remembered = eyes.store.remembered(&deployment);
    if remembered.open.is_some() || !remembered.requests.is_empty() {
        match read_now(eyes, key).await? {
            // Deleted and made anew: the watch will say so, and what is remembered is not its own.
            Some(now) if now.uid != deployment.uid => return Ok(None),
            Some(now) => deployment = Arc::new(now),
            None => return Ok(None),
        }
    }
    let current = current_replica_set(eyes, &deployment).await?;
    if came_back(&remembered, &deployment, current.as_ref())
        && let Some(now) = read_now(eyes, key).await?
        && now.uid == deployment.uid
    {
        // Who wrote a template is not in what the watches bring.
        deployment = Arc::new(now);
    }
    let now = eyes.cluster.now();
    let mut observed = put_together(
        eyes,
        (&deployment, current.as_ref(), &remembered),
        (&policy.policy, volatile),
        fresh_code,
    );
    let attention = observed.attention(&policy.policy);
    let mut old = Vec::new();
    if attention == Attention::Close
        && let Some(replica_set) = &current
    {
        let pods = eyes.store.pods_of(&deployment, replica_set, now);
        observed.workload.disrupted = pods.disrupted;
        observed.pods = pods.current;
        old = pods.old;
    }
    if attention > Attention::None {
        let asked = evidence::Asked {
            deployment: &deployment,
            replica_set: current.as_ref(),
            policy,
            observed: &observed,
            attention,
            old: &old,
        };
        observed.evidence = evidence::evidence(eyes, &asked).await;
    }
    observed.approvals_are_checked = approvals_are_checked(eyes, &observed).await?;
    Ok(Some(Look {
        deployment,
        remembered,
        observed,
    }))
}

/// Puts together what is known without asking anybody.
fn put_together(
    eyes: &Eyes,
    (deployment, current, remembered): (&Deployment, Option<&ReplicaSet>, &Remembered),
    (policy, volatile): (&Policy, &Volatile),
    fresh_code: String,
) -> Observed {
    let now = eyes.cluster.now();
    let history = eyes.store.history(deployment, now);
    let config = config_now(eyes, deployment, remembered, policy);
    let open = remembered.open.as_ref();
    let template = identity::revision(
        deployment,
        current,
        &remembered.revisions,
        open.and_then(|open| open.incident.as_ref()),
        config.as_ref(),
    );
    Observed {
        workload: Workload {
            availability: history.availability,
            progressed: Some(history.progressed),
            template: template.clone(),
            ..deployment.workload(current)
        },
        fresh_code,
        facts: facts(deployment, template, remembered),
        copies: copies(eyes, &deployment.namespace, remembered),
        config_since: config_since(config.as_ref(), volatile, now),
        drills: policy
            .drill
            .as_ref()
            .map(|terms| drills::times(terms, &deployment.uid, now)),
        config,
        ..remembered_of(deployment, remembered, volatile)
    }
}

/// What the objects and the process remember, without what must be looked at now.
fn remembered_of(
    deployment: &Deployment,
    remembered: &Remembered,
    volatile: &Volatile,
) -> Observed {
    Observed {
        memory: remembered.memory(),
        past: remembered.past.clone(),
        entries: entries(deployment, remembered),
        recorded: remembered.open.as_ref().map(|record| record.created),
        passing_since: volatile.passing_since,
        refusal: volatile.refusal.clone(),
        inspections: volatile.inspections.clone(),
        reconciler: volatile.reconciler.clone(),
        diagnosed: volatile.diagnosed.clone(),
        followed: volatile.followed.clone(),
        requests: requests(remembered),
        marks: deployment.marks.clone(),
        ..Observed::default()
    }
}

/// Whether a revision that had worked runs anew.
fn came_back(
    remembered: &Remembered,
    deployment: &Deployment,
    current: Option<&ReplicaSet>,
) -> bool {
    let Some(current) = current else {
        return false;
    };
    let mut records = remembered.revisions.values();
    let of_template = |known: &&Arc<RevisionRecord>| known.template == deployment.template;
    let is_known = records
        .clone()
        .filter(of_template)
        .any(|known| known.memory.number == current.number);
    !is_known && records.any(|known| of_template(&known) && known.memory.verdict == Verdict::Good)
}

fn requests(remembered: &Remembered) -> Vec<Request> {
    let records = remembered.requests.iter();
    records
        .filter_map(|record| record.request.clone())
        .collect()
}

/// While an incident is open, what the watch has seen is not new enough to act on.
async fn read_now(eyes: &Eyes, key: &Key) -> Result<Option<Deployment>, Error> {
    let object = ObjectRef::new(kinds::DEPLOYMENTS, &key.namespace, &key.name);
    let live = eyes
        .cluster
        .get(&object)
        .await
        .map_err(|source| Error::GetDeployment {
            name: key.name.clone(),
            source,
        })?;
    Ok(live.as_ref().and_then(Deployment::read))
}

async fn current_replica_set(
    eyes: &Eyes,
    deployment: &Deployment,
) -> Result<Option<ReplicaSet>, Error> {
    if !deployment.seen_by_controller {
        return Ok(None);
    }
    if let Some(known) = eyes.store.replica_set(deployment) {
        return Ok(Some(known));
    }
    let selection = Selection {
        namespace: Some(deployment.namespace.clone()),
        labels: deployment.selector.clone(),
    };
    let listed = eyes
        .cluster
        .list(kinds::REPLICA_SETS, &selection)
        .await
        .map_err(|source| Error::ListReplicaSets {
            name: deployment.name.clone(),
            source,
        })?;
    let current = listed
        .iter()
        .find_map(|object| deployment.current_replica_set(object));
    if let Some(replica_set) = &current {
        let controlled: Vec<&str> = listed
            .iter()
            .filter_map(|object| deployment.owned_replica_set(object))
            .collect();
        eyes.store
            .found_replica_sets(deployment, replica_set, &controlled);
    }
    Ok(current)
}

fn entries(deployment: &Deployment, remembered: &Remembered) -> Vec<Entry> {
    let on_rollback = remembered.open.iter().flat_map(|record| &record.entries);
    deployment
        .entries
        .iter()
        .chain(on_rollback)
        .cloned()
        .collect()
}

/// The API server was seen to enforce a new binding 18 seconds after the kind it reads appeared.
pub(crate) const BINDING_IN_FORCE: SignedDuration = SignedDuration::from_secs(30);

/// A look that costs a request, so it is taken only when a code is due or an answer has come.
async fn approvals_are_checked(eyes: &Eyes, observed: &Observed) -> Result<bool, Error> {
    let asking = observed.memory.incident.as_ref().is_some_and(|incident| {
        let due = incident.code.is_none() || !observed.entries.is_empty();
        incident.state == State::AwaitingApproval && due
    });
    if eyes.accept_unverified_approvals || !asking {
        return Ok(true);
    }
    let binding = ObjectRef::new(
        kinds::ADMISSION_POLICY_BINDINGS,
        "",
        names::APPROVALS_BINDING,
    );
    let found = eyes
        .cluster
        .get(&binding)
        .await
        .map_err(|source| Error::GetApprovalsBinding { source })?;
    let created = found.and_then(|binding| time(&binding, "/metadata/creationTimestamp"));
    let now = eyes.cluster.now();
    Ok(created.is_some_and(|created| now.duration_since(created) >= BINDING_IN_FORCE))
}
