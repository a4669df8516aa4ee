//! Selecting Deployments by label, as every Kubernetes API does.

use std::collections::BTreeMap;

use super::field::{Field, Problems};
use crate::api::v1alpha1::bounds::{LABEL_NAME_LENGTH, LABEL_VALUE_LENGTH, LABELS};

/// Which labels a Deployment must have. Empty: every Deployment of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Returns whether all requirements hold for `labels`.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, label: Option<&String>) -> bool {
        let listed = label.is_some_and(|label| self.values.contains(label));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}

pub(super) fn parsed(field: &Field<'_>, problems: &Problems) -> Selector {
    let good = r#"{"matchLabels": {"team": "checkout"}}"#;
    if !field.object(good, problems) {
        return Selector::default();
    }
    let labels = field.child("matchLabels").entries(LABELS, problems);
    let mut requirements: Vec<Requirement> = labels
        .into_iter()
        .map(|(key, value)| Requirement {
            key: key.to_owned(),
            operator: Operator::In,
            values: label_value(&value, problems).into_iter().collect(),
        })
        .collect();
    let expressions = field.child("matchExpressions").items(LABELS, problems);
    requirements.extend(
        expressions
            .iter()
            .filter_map(|expression| requirement(expression, problems)),
    );
    Selector { requirements }
}

fn requirement(field: &Field<'_>, problems: &Problems) -> Option<Requirement> {
    let good = r#"{"key": "team", "operator": "Exists"}"#;
    if !field.object(good, problems) {
        return None;
    }
    let key = field
        .child("key")
        .required(LABEL_NAME_LENGTH, "team", problems)?
        .to_owned();
    let known = [
        ("In", Operator::In),
        ("NotIn", Operator::NotIn),
        ("Exists", Operator::Exists),
        ("DoesNotExist", Operator::DoesNotExist),
    ];
    let operator = field.child("operator");
    if !operator.given() {
        operator.wrong("is missing", "Exists", problems);
        return None;
    }
    let operator = operator.one_of(&known, Operator::In, problems);
    let values: Vec<String> = field
        .child("values")
        .items(LABELS, problems)
        .iter()
        .filter_map(|value| label_value(value, problems))
        .collect();
    let compares = matches!(operator, Operator::In | Operator::NotIn);
    if compares == values.is_empty() {
        let problem = if compares {
            "is missing"
        } else {
            "makes no sense with this operator"
        };
        let good = if compares { r#"["checkout"]"# } else { "[]" };
        field.child("values").wrong(problem, good, problems);
    }
    Some(Requirement {
        key,
        operator,
        values,
    })
}

fn label_value(field: &Field<'_>, problems: &Problems) -> Option<String> {
    field
        .text(LABEL_VALUE_LENGTH, "checkout", problems)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(selector: &Value, labels: &[(&str, &str)], matching: bool) {
        let problems = Problems::default();
        let parsed = parsed(&Field::root(selector), &problems);
        let parsed = problems.unless_any(parsed).unwrap();
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(parsed.matches(&labels), matching, "{selector} {labels:?}");
    }

    #[test]
    fn an_empty_selector_matches_everything() {
        check(&json!({}), &[], true);
        check(&json!({}), &[("team", "shop")], true);
    }

    #[test]
    fn every_requirement_must_hold() {
        let both = json!({
            "matchLabels": {"team": "shop"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "api"]}],
        });
        check(&both, &[("team", "shop"), ("tier", "api")], true);
        check(&both, &[("team", "shop"), ("tier", "batch")], false);
        check(&both, &[("team", "pay"), ("tier", "api")], false);
        check(&both, &[("tier", "api")], false);
    }

    #[test]
    fn a_missing_label_is_in_no_set() {
        let not_in =
            json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]});
        check(&not_in, &[], true);
        check(&not_in, &[("tier", "api")], true);
        check(&not_in, &[("tier", "web")], false);
        let exists = json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]});
        check(&exists, &[("tier", "")], true);
        check(&exists, &[], false);
        let missing = json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]});
        check(&missing, &[], true);
        check(&missing, &[("tier", "web")], false);
    }
}
