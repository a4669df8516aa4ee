//! What is said about GitOps: who would undo a rollback, who is kept away, and what to do in Git.

use super::Place;
use crate::decide::gitops::{Met, Pause};
use crate::decide::{Hold, Incident};

/// What approving agrees to besides the rollback, for a proposal.
pub(super) fn consent(incident: &Incident) -> String {
    let met = incident.reconciler.as_ref();
    let pause = met.and_then(|met| Some((met, met.pause.as_ref()?)));
    let Some((met, pause)) = pause else {
        let undone = Hold::WouldBeUndone.name();
        let cap = incident.caps.iter().find(|cap| cap.starts_with(undone));
        return cap.map_or_else(String::new, |cap| format!("; {cap}"));
    };
    let until = until(met);
    match pause {
        Pause::Annotation { key, value } => format!(
            "; approving also keeps {} away from the Deployment {until}, by the annotation {key}: {value}",
            met.title
        ),
        Pause::Application { .. } => format!(
            "; approving also switches the automated sync of {} off {until}, for all that belongs to it",
            met.title
        ),
    }
}

/// Who is kept away, and how that ends, for a rollback that was written.
pub(super) fn kept_away(incident: &Incident, place: &Place<'_>) -> String {
    let met = incident.reconciler.as_ref();
    let pause = met.and_then(|met| Some((met, met.pause.as_ref()?)));
    let Some((met, pause)) = pause else {
        return String::new();
    };
    let until = until(met);
    match pause {
        Pause::Annotation { key, .. } => format!(
            "; {} is kept away {until}; to end that now: kubectl -n {} annotate deployment {} {key}-",
            met.title, place.namespace, place.deployment
        ),
        Pause::Application { namespace, name } => format!(
            r#"; the automated sync of {} is off {until}; to end that now: kubectl -n {namespace} patch application {name} --type merge -p '{{"spec":{{"syncPolicy":{{"automated":{{"enabled":true}}}}}}}}'"#,
            met.title
        ),
    }
}

/// Without a revision nobody can tell when Git moves.
fn until(met: &Met) -> &'static str {
    if met.revision.is_some() {
        "until Git moves"
    } else {
        "until you end that"
    }
}

/// The changes to look into.
pub(super) fn revert(incident: &Incident) -> String {
    let range = incident.git_range.as_deref();
    range.map_or_else(String::new, |range| format!("; in Git, revert {range}"))
}
