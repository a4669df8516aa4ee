//! The GitOps reconciler that a rollback met, in `status.gitOps`.

use serde_json::{Value, json};

use crate::api::record::text;
use crate::decide::Incident;
use crate::decide::gitops::{Met, Pause, Tool};

/// What the schema takes.
const TITLE_MAX: usize = 1024;
const RANGE_MAX: usize = 2048;

pub(super) fn met(status: &Value) -> Option<Met> {
    let met = status.get("gitOps")?;
    let annotation = text(met, "/annotation").and_then(annotation);
    let application = text(met, "/application").and_then(application);
    Some(Met {
        title: text(met, "/reconciler")?.to_owned(),
        revision: text(met, "/revision").map(str::to_owned),
        pause: annotation.or(application),
    })
}

fn annotation(key: &str) -> Option<Pause> {
    let mut known = Tool::ALL.into_iter().filter_map(Tool::pause_annotation);
    let (key, value) = known.find(|(known, _)| *known == key)?;
    Some(Pause::Annotation { key, value })
}

fn application(path: &str) -> Option<Pause> {
    let (namespace, name) = path.split_once('/')?;
    Some(Pause::Application {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

pub(super) fn status(met: &Met) -> Value {
    let (annotation, application) = match &met.pause {
        Some(Pause::Annotation { key, .. }) => (Some(*key), None),
        Some(Pause::Application { namespace, name }) => (None, Some(format!("{namespace}/{name}"))),
        None => (None, None),
    };
    json!({
        "reconciler": met.title.chars().take(TITLE_MAX).collect::<String>(),
        "revision": met.revision,
        "annotation": annotation,
        "application": application,
    })
}

/// A range that does not fit is none: half a digest leads astray.
pub(super) fn range(incident: &Incident) -> Option<&str> {
    let range = incident.git_range.as_deref()?;
    (range.len() <= RANGE_MAX).then_some(range)
}
