//! Nothing that comes out of `confined` reads more than it may.

use std::collections::BTreeMap;

use astern::api::promql::{Confinement, Problem, check, confined, with_pods};
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::{config, lexer, queries};

fn confinement() -> impl Strategy<Value = Confinement> {
    let label = select(vec!["namespace", "exported_namespace", "NAMESPACE"]);
    let namespace = (label, select(vec!["shop", "a", "x-1"]));
    let values = select(vec!["", "a", "\"", "\\", "\n", "\"} or secret{a=\"", "é"]);
    let labels = prop::collection::btree_map(select(vec!["cluster", "zone", "by"]), values, 0..3);
    (namespace, labels).prop_map(|((label, value), labels)| Confinement {
        namespace: Some((label.to_owned(), value.to_owned())),
        labels: labels
            .into_iter()
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .collect(),
    })
}

/// Returns every label and value that a confinement forces.
fn forced(confinement: &Confinement) -> Vec<(&str, &str)> {
    let namespace = confinement.namespace.iter();
    namespace
        .map(|(label, value)| (label.as_str(), value.as_str()))
        .chain(
            confinement
                .labels
                .iter()
                .map(|(label, value)| (label.as_str(), value.as_str())),
        )
        .collect()
}

/// Returns every group of matchers that selects series by itself.
///
/// The visitor of the parser's crate is not used: it passes over parameters of aggregations.
fn groups(tree: &Expr) -> Vec<&[Matcher]> {
    let selector = match tree {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(range) => &range.vs,
        Expr::Aggregate(aggregate) => {
            let parameter = aggregate.param.iter().flat_map(|node| groups(node));
            return parameter.chain(groups(&aggregate.expr)).collect();
        }
        Expr::Unary(unary) => return groups(&unary.expr),
        Expr::Binary(binary) => {
            return [groups(&binary.lhs), groups(&binary.rhs)].concat();
        }
        Expr::Paren(inner) => return groups(&inner.expr),
        Expr::Subquery(subquery) => return groups(&subquery.expr),
        Expr::Call(call) => {
            assert_ne!(call.func.name, "info", "it reads without a selector");
            return call
                .args
                .args
                .iter()
                .flat_map(|node| groups(node))
                .collect();
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => return Vec::new(),
        Expr::Extension(_) => unreachable!("the parser makes no extensions"),
    };
    let alternatives = &selector.matchers.or_matchers;
    if alternatives.is_empty() {
        vec![&selector.matchers.matchers]
    } else {
        assert!(selector.matchers.matchers.is_empty(), "beside alternatives");
        alternatives.iter().map(Vec::as_slice).collect()
    }
}

/// Judges a text that would be sent.
fn judged(text: &str, confinement: &Confinement) -> Result<(), TestCaseError> {
    let tree = parser::parse(text).map_err(TestCaseError::fail)?;
    for (label, value) in forced(confinement) {
        for group in groups(&tree) {
            let carried = group.iter().any(|matcher| {
                matcher.op == MatchOp::Equal && matcher.name == label && matcher.value == value
            });
            prop_assert!(carried, "{label} is not forced in {group:?} of {text}");
        }
        let leak = lexer::leak(text, label, value);
        prop_assert!(leak.is_none(), "{leak:?} in {text}");
    }
    Ok(())
}

/// Judges what becomes of a text, whatever it is.
fn outcome(query: &str, confinement: &Confinement) -> Result<(), TestCaseError> {
    match confined(query, confinement) {
        Ok(text) => {
            judged(&text, confinement)?;
            let again = confined(&text, confinement);
            prop_assert_eq!(again.as_deref(), Ok(text.as_str()), "not confined yet");
            let pods = ["a-1".to_owned(), "\"} or secret{a=\"".to_owned()];
            for pods in [&pods[..], &[]] {
                if !text.contains("$pods") {
                    break;
                }
                let text = with_pods(&text, pods);
                prop_assert!(!text.contains("$pods\""), "{text}");
                judged(&text, confinement)?;
            }
        }
        Err(problem) => {
            let shown = problem.to_string();
            prop_assert!(shown.len() < 600, "{shown}");
            prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
            let letters: Vec<char> = query.chars().collect();
            for window in letters.windows(41) {
                let window: String = window.iter().collect();
                prop_assert!(!shown.contains(&window), "{shown}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn no_query_leaves_its_namespace(query in queries::query(), confinement in confinement()) {
        outcome(&query, &confinement)?;
    }

    #[test]
    fn no_torn_query_leaves_its_namespace(query in queries::torn(), confinement in confinement()) {
        outcome(&query, &confinement)?;
    }

    #[test]
    fn no_rubble_leaves_its_namespace(query in queries::rubble(), confinement in confinement()) {
        outcome(&query, &confinement)?;
    }

    /// Without what was forced, what is sent is what was written.
    #[test]
    fn nothing_but_the_forced_labels_is_changed(query in queries::query()) {
        let confinement = Confinement {
            namespace: Some(("forced".to_owned(), "shop".to_owned())),
            labels: BTreeMap::new(),
        };
        if let (Ok(confined), Ok(plain)) = (
            confined(&query, &confinement),
            confined(&query, &Confinement::default()),
        ) {
            let forced = r#"forced="shop""#;
            let without = confined
                .replace(&format!("{{{forced}}}"), "")
                .replace(&format!(", {forced}"), "")
                .replace(&format!(",{forced}"), "")
                .replace(&format!("{forced},"), "");
            prop_assert_eq!(without, plain);
        }
    }

    /// Whatever the API server calls a pod, a query finds that pod and no other.
    #[test]
    fn pods_are_matched_by_their_names_alone(
        pods in prop::collection::vec(".{1,20}", 0..5),
        other in ".{0,20}",
    ) {
        let text = confined("x{pod=~\"$pods\"}", &Confinement::default());
        let text = with_pods(&text.expect("a query"), &pods);
        let tree = parser::parse(&text).map_err(TestCaseError::fail)?;
        let groups = groups(&tree);
        let [[matcher]] = groups.as_slice() else {
            return Err(TestCaseError::fail(text));
        };
        for pod in &pods {
            prop_assert!(matcher.is_match(pod), "{pod:?} {text}");
        }
        prop_assert_eq!(matcher.is_match(&other), pods.contains(&other), "{} {}", other, text);
    }
}

/// Otherwise the properties above might hold of nothing.
#[test]
fn most_queries_by_the_grammar_are_taken() {
    let mut runner = TestRunner::deterministic();
    let strategy = queries::query();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..400 {
        let query = strategy.new_tree(&mut runner).expect("a query").current();
        if let Err(problem) = check(&query) {
            *refused.entry(problem.to_string()).or_default() += 1;
        }
    }
    assert!(refused.values().sum::<usize>() < 120, "{refused:#?}");
}

#[test]
fn rubble_is_no_query() {
    let problem = check("} or secret{").expect_err("no query");
    assert!(
        matches!(problem, Problem::NotUnderstood { .. }),
        "{problem}"
    );
}
