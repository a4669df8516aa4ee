//! Reading the triggers that ask the metric source in the user's own words.

use std::collections::BTreeMap;

use super::super::field::{Field, Problems};
use super::super::matchers;
use crate::api::promql;
use crate::api::v1alpha1::bounds::{
    ALERT_FOR, ALERT_LABELS, ALERT_RESERVED, ALERT_VALUE_LENGTH, FOR, METRIC_LABEL_LENGTH,
    QUERY_LENGTH, VALUE,
};
use crate::decide::{Alert, Bound, PromQl};

const GOOD_QUERY: &str = r#"'max by (pod) (hikaricp_connections_pending{pod=~"$pods"})'"#;
const GOOD_LABELS: &str = "{alertname: CheckoutDown}";

pub(super) fn promql(field: &Field<'_>, problems: &Problems) -> PromQl {
    PromQl {
        query: expression(&field.child("query"), GOOD_QUERY, problems),
        bound: bound(field, problems),
        sustained: field.child("for").duration(FOR, problems),
    }
}

/// Returns an expression in `PromQL`, as the user wrote it. It is confined to a namespace where it is
/// asked: only there it is known to what.
pub(super) fn expression(field: &Field<'_>, good: &str, problems: &Problems) -> String {
    let Some(text) = field.required(QUERY_LENGTH, good, problems) else {
        return String::new();
    };
    if let Err(problem) = promql::check(text) {
        field.wrong(problem.to_string(), good, problems);
    }
    text.to_owned()
}

fn bound(field: &Field<'_>, problems: &Problems) -> Bound {
    let (above, below) = (field.child("above"), field.child("below"));
    match (above.given(), below.given()) {
        (true, true) => below.excluded_by("above", problems),
        (false, false) => above.wrong("is missing, and so is below", "\"10\"", problems),
        (true, false) | (false, true) => {}
    }
    if above.given() {
        Bound::Above(above.decimal(VALUE, problems))
    } else {
        Bound::Below(below.decimal(VALUE, problems))
    }
}

pub(super) fn alert(field: &Field<'_>, problems: &Problems) -> Alert {
    let labels = field.child("matchLabels");
    let given = labels.entries(ALERT_LABELS, problems);
    if labels.is_empty() {
        labels.wrong("names no label", GOOD_LABELS, problems);
    }
    let labels: BTreeMap<String, String> = given
        .into_iter()
        .filter_map(|(name, value)| {
            let value = alert_label(name, &value, problems)?;
            Some((name.to_owned(), value))
        })
        .collect();
    Alert {
        labels,
        sustained: field.child("for").duration(ALERT_FOR, problems),
    }
}

/// An empty value would match alerts without the label, and a reserved name would fight with what is
/// asked for anyway.
fn alert_label(name: &str, value: &Field<'_>, problems: &Problems) -> Option<String> {
    if ALERT_RESERVED.contains(&name) {
        let problem = "is set already: firing alerts of the policy's namespace";
        value.wrong(problem, GOOD_LABELS, problems);
        return None;
    }
    if name.len() > METRIC_LABEL_LENGTH as usize || !matchers::is_label_name(name) {
        value.wrong("is no name of a label", GOOD_LABELS, problems);
        return None;
    }
    let text = value.required(ALERT_VALUE_LENGTH, "CheckoutDown", problems)?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests;
