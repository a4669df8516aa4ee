//! Reading the triggers of a policy.

mod queries;
mod requests;
mod running;

use std::collections::BTreeSet;

use super::field::{Field, Problems, cut};
use crate::api::v1alpha1::bounds::{TRIGGER_NAME_LENGTH, TRIGGERS};
use crate::decide::{Mode, Trigger, TriggerKind};

/// Keys of a trigger that are quoted when none of them is a kind.
const KEYS: usize = 4;

/// Returns the triggers of the policy, or the default ones when it has none.
pub(super) fn parsed(spec: &Field<'_>, problems: &Problems) -> Vec<Trigger> {
    let list = spec.child("triggers");
    let items = list.items(TRIGGERS, problems);
    let mut names = BTreeSet::new();
    let triggers: Vec<Trigger> = items
        .iter()
        .filter_map(|item| trigger(item, problems).map(|trigger| (item, trigger)))
        .map(|(item, trigger)| {
            if !names.insert(trigger.name.clone()) {
                let problem = format!("{} is the name of another trigger too", cut(&trigger.name));
                item.child("name")
                    .wrong(problem, "a name of its own", problems);
            }
            trigger
        })
        .collect();
    if items.is_empty() {
        defaults()
    } else {
        triggers
    }
}

/// What a policy of nothing but a target guards.
fn defaults() -> Vec<Trigger> {
    let nothing = serde_json::Value::Null;
    let empty = Field::root(&nothing).child("");
    // Nothing can be wrong with fields that are not there.
    let problems = Problems::default();
    let trigger = |name: &str, kind| Trigger {
        name: name.to_owned(),
        mode: None,
        kind,
    };
    vec![
        trigger(
            "crashes",
            TriggerKind::Restarts(running::restarts(&empty, &problems)),
        ),
        trigger("stuck", TriggerKind::RolloutStalled),
        trigger(
            "down",
            TriggerKind::Unavailable(running::unavailable(&empty, &problems)),
        ),
        trigger(
            "server-errors",
            TriggerKind::ErrorRate(requests::usual_error_rate(&empty, &problems)),
        ),
    ]
}

fn trigger(field: &Field<'_>, problems: &Problems) -> Option<Trigger> {
    let good = r#"{"name": "crashes", "restarts": {}}"#;
    if !field.object(good, problems) {
        return None;
    }
    let name = name(&field.child("name"), problems);
    let mode = field.child("mode");
    let mode = mode
        .given()
        .then(|| mode.one_of(&MODES, Mode::Observe, problems));
    let kinds: Vec<(Field<'_>, Kind)> = KINDS
        .iter()
        .map(|(name, kind)| (field.child(name), *kind))
        .filter(|(kind, _)| kind.given())
        .collect();
    let kind = match kinds.as_slice() {
        [(field, kind)] => field
            .object("{}", problems)
            .then(|| kind(field, problems))?,
        [] => {
            let problem = format!("has no kind that is known{}", other_keys(field));
            field.wrong(problem, &kind_names(), problems);
            return None;
        }
        [_, _, ..] => {
            let given: Vec<&str> = kinds.iter().map(|(kind, _)| kind.name()).collect();
            let problem = format!("has more than one kind: {}", given.join(", "));
            field.wrong(problem, &kind_names(), problems);
            return None;
        }
    };
    Some(Trigger {
        name: name.unwrap_or_default(),
        mode,
        kind,
    })
}

/// The spelling of every mode.
pub(super) const MODES: [(&str, Mode); 4] = [
    (Mode::Disabled.name(), Mode::Disabled),
    (Mode::Observe.name(), Mode::Observe),
    (Mode::RequireApproval.name(), Mode::RequireApproval),
    (Mode::Automatic.name(), Mode::Automatic),
];

type Kind = fn(&Field<'_>, &Problems) -> TriggerKind;

const KINDS: &[(&str, Kind)] = &[
    ("errorRate", |field, problems| {
        TriggerKind::ErrorRate(requests::error_rate(field, problems))
    }),
    ("latency", |field, problems| {
        TriggerKind::Latency(requests::latency(field, problems))
    }),
    ("probeFailures", |field, problems| {
        TriggerKind::ProbeFailures(running::probe_failures(field, problems))
    }),
    ("restarts", |field, problems| {
        TriggerKind::Restarts(running::restarts(field, problems))
    }),
    ("rolloutStalled", |_, _| TriggerKind::RolloutStalled),
    ("unavailable", |field, problems| {
        TriggerKind::Unavailable(running::unavailable(field, problems))
    }),
    ("promql", |field, problems| {
        TriggerKind::PromQl(queries::promql(field, problems))
    }),
    ("alert", |field, problems| {
        TriggerKind::Alert(queries::alert(field, problems))
    }),
];

/// Names what stands where a kind should: a spelling mistake, or a kind of a newer version.
fn other_keys(field: &Field<'_>) -> String {
    let others: Vec<String> = field
        .keys()
        .filter(|key| !["name", "mode"].contains(key))
        .take(KEYS)
        .map(cut)
        .collect();
    if others.is_empty() {
        String::new()
    } else {
        format!(": {} is none", others.join(", "))
    }
}

fn kind_names() -> String {
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    format!("exactly one of {}", names.join(", "))
}

fn name(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let text = field.required(TRIGGER_NAME_LENGTH, "server-errors", problems)?;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = [text.bytes().next(), text.bytes().next_back()];
    let good = text.bytes().all(|byte| letter(byte) || byte == b'-')
        && edges.into_iter().flatten().all(letter);
    if !good {
        let problem = format!(
            "{} is no name of lower-case letters, digits and dashes",
            cut(text)
        );
        field.wrong(problem, "server-errors", problems);
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests;
