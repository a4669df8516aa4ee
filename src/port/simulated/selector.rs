//! Label selectors in the API server's syntax: equality, set membership, presence.

use serde_json::Value;

use crate::port::Error;

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// All requirements of one selector. The empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads `text` the way the API server does.
    ///
    /// # Errors
    ///
    /// With the API server's 400 for what it would not understand either.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        split_outside_parentheses(text)
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| requirement(part).ok_or_else(|| malformed(text)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Says whether the labels of `object` meet every requirement.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                label(key).is_some_and(|value| values.iter().any(|one| one == value))
            }
            // An object without the label is selected too.
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|value| values.iter().all(|one| one != value))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some((head, tail)) = part.split_once('(') {
        let values = tail.strip_suffix(')')?;
        let values = values.split(',').map(|value| value.trim().to_owned());
        let values: Vec<String> = values.collect();
        let (key, operator) = head.trim().split_once(char::is_whitespace)?;
        return match operator.trim() {
            "in" => Some(Requirement::In(key.to_owned(), values)),
            "notin" => Some(Requirement::NotIn(key.to_owned(), values)),
            _ => None,
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(
            word(key)?,
            vec![value.trim().to_owned()],
        ));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(word(key)?, vec![value.trim().to_owned()]));
    }
    match part.strip_prefix('!') {
        Some(key) => word(key).map(Requirement::Absent),
        None => word(part).map(Requirement::Exists),
    }
}

fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let usable = !text.is_empty() && !text.contains(char::is_whitespace);
    usable.then(|| text.to_owned())
}

fn malformed(text: &str) -> Error {
    Error::Unexpected {
        status: 400,
        message: format!("unable to parse requirement: {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(selector: &str, selected: bool) {
        let object = json!({ "metadata": { "labels": { "app": "checkout", "tier": "web" } } });
        let selector = Selector::parse(selector).unwrap();
        assert_eq!(selector.selects(&object), selected, "{selector:?}");
    }

    #[test]
    fn every_operator_selects_and_leaves_out() {
        check("", true);
        check("app=checkout", true);
        check("app==checkout,tier=web", true);
        check("app=checkout,tier=batch", false);
        check("app!=checkout", false);
        check("gone!=checkout", true);
        check("app in (cart, checkout), tier", true);
        check("app in (cart)", false);
        check("app notin (cart)", true);
        check("app notin (cart,checkout)", false);
        check("app", true);
        check("gone", false);
        check("!gone", true);
        check("!app", false);
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["app like x", "=x", "app in (x", "app within (x)"] {
            assert!(Selector::parse(text).is_err(), "{text:?}");
        }
    }
}
