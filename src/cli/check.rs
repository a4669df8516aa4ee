//! `kubectl astern check`: what Astern has left behind, and the command to end each.
//!
//! Reads only, and needs no operator: it is for before and after an uninstallation.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::answer::state;
use super::connection::Connection;
use super::output;
use super::session::{DryRun, Session, titled};
use crate::api::config::{Standing, standing, uses};
use crate::api::record::{annotation, pause, text};
use crate::api::{names, record};
use crate::decide::gitops::Tool;
use crate::decide::{ConfigKind, ConfigName, State};
use crate::port::{self, Kind, ObjectRef, Selection, kinds};

const EXAMPLES: &str = "\
Examples:
  # Is anything left on this namespace's workloads?
  kubectl astern check --leftovers

  # Anywhere? Ends with 1 when something is
  kubectl astern check --leftovers -A";

/// Finds what Astern has left behind.
///
/// Rollouts and GitOps tools that Astern has paused, copies of ConfigMaps, and Rollbacks that are open,
/// with the command to end each. Ends with 1 when something is left.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Look for what is left on workloads.
    #[arg(long, required = true)]
    leftovers: bool,

    /// All namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    #[command(flatten)]
    connection: Connection,
}

/// Something that is left, and how to end it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leftover {
    object: ObjectRef,
    what: String,
    /// What to type.
    command: String,
}

/// Looks, and prints what is left.
///
/// # Errors
///
/// When the API server cannot be asked: then nobody knows what is left.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let session = Session::open(&arguments.connection, DryRun::None).await?;
    let namespace = (!arguments.all_namespaces).then(|| session.namespace.clone());
    let selection = Selection {
        namespace,
        labels: String::new(),
    };
    let list = async |kind: Kind| listed(&session, kind, &selection).await;
    let deployments = list(kinds::DEPLOYMENTS).await?;
    let mut left: Vec<Leftover> = deployments.iter().flat_map(of_deployment).collect();
    let config_maps = list(kinds::CONFIG_MAPS).await?;
    left.extend(
        config_maps
            .iter()
            .filter_map(|copy| of_copy(copy, &deployments)),
    );
    left.extend(list(kinds::ROLLBACKS).await?.iter().filter_map(of_rollback));
    left.extend(
        applications(&session)
            .await?
            .iter()
            .filter_map(of_application),
    );
    if left.is_empty() {
        output::print("Nothing is left.\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let text: Vec<String> = left.iter().map(printed).collect();
    output::print(&text.concat())?;
    Ok(ExitCode::FAILURE)
}

/// A kind that is not served has left nothing.
async fn listed(
    session: &Session,
    kind: Kind,
    selection: &Selection,
) -> anyhow::Result<Vec<Value>> {
    match session.cluster.list(kind, selection).await {
        Err(port::Error::NotFound) => Ok(Vec::new()),
        found => found.with_context(|| format!("cannot list {}", kind.plural)),
    }
}

/// Applications live where Argo CD does, whatever the namespace of the workload is. Whoever may not
/// list them is told so, and sees the rest.
async fn applications(session: &Session) -> anyhow::Result<Vec<Value>> {
    let everywhere = Selection::default();
    match session.cluster.list(kinds::APPLICATIONS, &everywhere).await {
        Err(port::Error::NotFound) => Ok(Vec::new()),
        Err(port::Error::Forbidden { .. }) => {
            eprintln!(
                "warning: applications.argoproj.io were not looked at: you may not list them"
            );
            Ok(Vec::new())
        }
        found => found.context("cannot list applications"),
    }
}

fn reference(kind: Kind, object: &Value) -> ObjectRef {
    let part = |path| text(object, path).unwrap_or_default();
    ObjectRef::new(kind, part("/metadata/namespace"), part("/metadata/name"))
}

fn of_deployment(live: &Value) -> Vec<Leftover> {
    let object = reference(kinds::DEPLOYMENTS, live);
    let ObjectRef {
        namespace, name, ..
    } = &object;
    let mut left = Vec::new();
    let paused = live.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
    if let Some(by) = annotation(live, names::PAUSED_BY).filter(|_| paused) {
        left.push(Leftover {
            what: format!("its rollout was paused for the rollback {by}"),
            command: format!(
                "kubectl -n {namespace} rollout resume deployment/{name} && kubectl -n {namespace} annotate deployment/{name} {}-",
                names::PAUSED_BY
            ),
            object: object.clone(),
        });
    }
    if let Some(by) = pause::mark(live) {
        let keys = Tool::ALL.into_iter().filter_map(|tool| {
            let (key, value) = tool.pause_annotation()?;
            (annotation(live, key) == Some(value)).then(|| format!("{key}- "))
        });
        let keys: String = keys.collect();
        left.push(Leftover {
            what: format!(
                "GitOps is kept away from it for the rollback {}",
                by.rollback
            ),
            command: format!(
                "kubectl -n {namespace} annotate deployment/{name} {keys}{}-",
                names::GITOPS_PAUSED_BY
            ),
            object,
        });
    }
    left
}

fn of_copy(copy: &Value, deployments: &[Value]) -> Option<Leftover> {
    let Standing::Copy { of } = standing(copy) else {
        return None;
    };
    let object = reference(kinds::CONFIG_MAPS, copy);
    let ObjectRef {
        namespace, name, ..
    } = &object;
    let wanted = ConfigName {
        kind: ConfigKind::ConfigMap,
        name: name.clone(),
    };
    let refers = |live: &&Value| {
        let template = live.pointer("/spec/template");
        text(live, "/metadata/namespace") == Some(namespace)
            && template.is_some_and(|template| uses(template).contains_key(&wanted))
    };
    let users: Vec<String> = deployments
        .iter()
        .filter(refers)
        .filter_map(|live| Some(format!("deployment/{}", text(live, "/metadata/name")?)))
        .collect();
    let delete = format!("kubectl -n {namespace} delete configmap {name}");
    Some(if users.is_empty() {
        Leftover {
            what: format!("a copy of the ConfigMap {of} that no Deployment refers to"),
            command: delete,
            object,
        }
    } else {
        let users = users.join(", ");
        Leftover {
            what: format!("a copy of the ConfigMap {of} that {users} runs on"),
            command: format!("# deploy {users} with {of} again, and then: {delete}"),
            object,
        }
    })
}

fn of_rollback(rollback: &Value) -> Option<Leftover> {
    let object = reference(kinds::ROLLBACKS, rollback);
    let ObjectRef {
        namespace, name, ..
    } = &object;
    let state = match state(rollback) {
        Some(state) if !state.is_open() => return None,
        state => state,
    };
    let (what, command) = match state {
        Some(State::AwaitingApproval) => (
            "it awaits approval".to_owned(),
            format!("kubectl astern -n {namespace} reject {name}"),
        ),
        Some(state) => (
            format!("it is {}", state.name()),
            format!("kubectl -n {namespace} get rollback {name} --watch"),
        ),
        None => (
            "nobody has answered this request".to_owned(),
            format!("kubectl -n {namespace} delete rollback {name}"),
        ),
    };
    Some(Leftover {
        object,
        what,
        command,
    })
}

const ENABLED: &str = "/spec/syncPolicy/automated/enabled";

fn of_application(live: &Value) -> Option<Leftover> {
    let marks = pause::marks(live);
    if marks.is_empty() {
        return None;
    }
    let object = reference(kinds::APPLICATIONS, live);
    let ObjectRef {
        namespace, name, ..
    } = &object;
    let path = |key| record::annotation_pointer(key);
    let mut operations = vec![json!({"op": "remove", "path": path(names::GITOPS_PAUSED_BY)})];
    let before = annotation(live, names::GITOPS_ENABLED_BEFORE);
    if before.is_some() {
        operations.push(json!({"op": "remove", "path": path(names::GITOPS_ENABLED_BEFORE)}));
    }
    if live.pointer(ENABLED) == Some(&json!(false)) {
        operations.push(match before {
            Some("true") => json!({"op": "replace", "path": ENABLED, "value": true}),
            _ => json!({"op": "remove", "path": ENABLED}),
        });
    }
    let held: Vec<&str> = marks.iter().map(|mark| mark.rollback.as_str()).collect();
    Some(Leftover {
        what: format!(
            "its automated sync was switched off for {}",
            held.join(", ")
        ),
        command: format!(
            "kubectl -n {namespace} patch application {name} --type=json --patch '{}'",
            Value::Array(operations)
        ),
        object,
    })
}

fn printed(leftover: &Leftover) -> String {
    let Leftover {
        object,
        what,
        command,
    } = leftover;
    format!(
        "{} in namespace {}: {what}\n  {command}\n",
        titled(object),
        object.namespace
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(annotations: &Value, paused: bool) -> Value {
        json!({"metadata": {"namespace": "shop", "name": "checkout", "annotations": annotations},
            "spec": {"paused": paused}})
    }

    #[track_caller]
    fn check(live: &Value, expected: &[&str]) {
        let left: Vec<String> = of_deployment(live).iter().map(printed).collect();
        assert_eq!(left.len(), expected.len(), "{left:?}");
        for (left, part) in left.iter().zip(expected) {
            assert!(left.contains(part), "{part:?} is not in {left:?}");
        }
    }

    #[test]
    fn only_our_own_pauses_are_left_over() {
        check(&live(&json!({}), true), &[]);
        check(&live(&json!({names::PAUSED_BY: "checkout-1"}), false), &[]);
        check(
            &live(&json!({names::PAUSED_BY: "checkout-1"}), true),
            &[
                "rollout resume deployment/checkout && kubectl -n shop annotate deployment/checkout astern.dev/paused-by-",
            ],
        );
        let flux = json!({names::GITOPS_PAUSED_BY: "checkout-1@main",
            "kustomize.toolkit.fluxcd.io/reconcile": "disabled"});
        check(
            &live(&flux, false),
            &[
                "annotate deployment/checkout kustomize.toolkit.fluxcd.io/reconcile- astern.dev/gitops-paused-by-",
            ],
        );
        let theirs = json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"});
        check(&live(&theirs, false), &[]);
    }

    #[test]
    fn a_copy_that_is_in_use_is_not_to_be_deleted() {
        let original = json!({"metadata": {"namespace": "shop", "name": "settings"},
            "data": {"mode": "fast"}});
        let copy = crate::api::config::copy(&original, &[]);
        let name = text(&copy, "/metadata/name").expect("a name");
        let left = of_copy(&copy, &[]).expect("left");
        assert!(
            left.command
                .starts_with("kubectl -n shop delete configmap settings-astern-")
        );
        let user = json!({"metadata": {"namespace": "shop", "name": "checkout"},
            "spec": {"template": {"spec": {"containers": [
                {"envFrom": [{"configMapRef": {"name": name}}]}]}}}});
        let left = of_copy(&copy, &[user]).expect("left");
        assert!(
            left.command
                .starts_with("# deploy deployment/checkout with settings"),
            "{left:?}"
        );
        assert_eq!(of_copy(&original, &[]), None);
    }

    #[test]
    fn what_is_open_is_ended_by_an_answer() {
        let rollback = |status: Value| json!({"metadata": {"namespace": "shop", "name": "r-1"}, "status": status});
        let state = |name| json!({"conditions": [{"type": "Complete", "reason": name}]});
        let command = |status| of_rollback(&rollback(status)).map(|left| left.command);
        let awaiting = command(state("AwaitingApproval")).expect("left");
        assert_eq!(awaiting, "kubectl astern -n shop reject r-1");
        assert!(
            command(state("Verifying"))
                .expect("left")
                .ends_with("--watch")
        );
        assert!(
            command(json!({}))
                .expect("left")
                .contains("delete rollback")
        );
        assert_eq!(command(state("Recovered")), None);
    }

    #[test]
    fn an_application_gets_back_what_it_had() {
        let application = |before: &str| {
            json!({"metadata": {"namespace": "argocd", "name": "shop", "annotations": {
                names::GITOPS_PAUSED_BY: "shop/checkout-1@main",
                names::GITOPS_ENABLED_BEFORE: before}},
                "spec": {"syncPolicy": {"automated": {"enabled": false}}}})
        };
        let on = of_application(&application("true")).expect("left").command;
        assert!(on.contains(r#""value":true"#), "{on}");
        let absent = of_application(&application("absent"))
            .expect("left")
            .command;
        assert!(!absent.contains("value"), "{absent}");
        assert_eq!(of_application(&json!({"metadata": {}})), None);
    }
}
