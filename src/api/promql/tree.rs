//! The tree of a query: every selector in it, and what is forced into each.
//!
//! The parser's own visitor is not used: it leaves out the parameter of an aggregation, and
//! `topk(scalar(other_series), x)` reads `other_series`.

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::{Expr, VectorSelector};

/// Adds `forced` to every selector, in each of its alternatives.
pub(super) fn force(tree: &mut Expr, forced: &[Matcher]) {
    if let Expr::VectorSelector(selector) = tree {
        force_selector(selector, forced);
    } else if let Expr::MatrixSelector(range) = tree {
        force_selector(&mut range.vs, forced);
    }
    for child in children_mut(tree) {
        force(child, forced);
    }
}

fn force_selector(selector: &mut VectorSelector, forced: &[Matcher]) {
    let Matchers {
        matchers,
        or_matchers,
    } = &mut selector.matchers;
    if or_matchers.is_empty() {
        force_all(matchers, forced);
        // They are printed in this order, and the tree is compared with what is read of that.
        matchers.sort_by_cached_key(ToString::to_string);
    }
    for alternative in or_matchers {
        force_all(alternative, forced);
    }
}

fn force_all(matchers: &mut Vec<Matcher>, forced: &[Matcher]) {
    for matcher in forced {
        if !matchers.contains(matcher) {
            matchers.push(matcher.clone());
        }
    }
}

/// Whether every selector holds all of `forced`, in each of its alternatives.
///
/// It shares nothing with [`force`] but the type of the tree.
pub(super) fn carries(tree: &Expr, forced: &[Matcher]) -> bool {
    let holds = |matchers: &[Matcher]| {
        forced.iter().all(|wanted| {
            matchers.iter().any(|matcher| {
                matcher.op == MatchOp::Equal
                    && matcher.name == wanted.name
                    && matcher.value == wanted.value
            })
        })
    };
    let mut all = true;
    each(tree, &mut |node| {
        if let Some(selector) = selector(node) {
            let Matchers {
                matchers,
                or_matchers,
            } = &selector.matchers;
            all &= if or_matchers.is_empty() {
                holds(matchers)
            } else {
                // With alternatives, matchers beside them would not be printed.
                matchers.is_empty() && or_matchers.iter().all(|matchers| holds(matchers))
            };
        }
        all &= !matches!(node, Expr::Extension(_));
    });
    all
}

/// Returns the first label of a matcher that an operator is called, too.
pub(super) fn operator_as_label(tree: &Expr) -> Option<&str> {
    let mut found = None;
    each(tree, &mut |node| {
        let matchers = selector(node).map(|selector| &selector.matchers);
        let all = matchers.into_iter().flat_map(|matchers| {
            let alternatives = matchers.or_matchers.iter().flatten();
            matchers.matchers.iter().chain(alternatives)
        });
        for matcher in all {
            if is_operator(&matcher.name) {
                found.get_or_insert(matcher.name.as_str());
            }
        }
    });
    found
}

/// Whether a name stands between alternatives where selectors have them.
pub(super) fn is_operator(name: &str) -> bool {
    name.eq_ignore_ascii_case("or")
}

/// Returns the name of the first function that is not in `known`.
pub(super) fn function_outside_of(tree: &Expr, known: &[&str]) -> Option<&'static str> {
    let mut found = None;
    each(tree, &mut |node| {
        if let Expr::Call(call) = node
            && !known.contains(&call.func.name)
        {
            found.get_or_insert(call.func.name);
        }
    });
    found
}

/// Returns the selector that a node is.
pub(super) fn selector(node: &Expr) -> Option<&VectorSelector> {
    match node {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(range) => Some(&range.vs),
        Expr::Aggregate(_)
        | Expr::Unary(_)
        | Expr::Binary(_)
        | Expr::Paren(_)
        | Expr::Subquery(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::Call(_)
        | Expr::Extension(_) => None,
    }
}

/// Calls `visit` with every node.
pub(super) fn each<'a>(tree: &'a Expr, visit: &mut impl FnMut(&'a Expr)) {
    visit(tree);
    let children: Vec<&Expr> = match tree {
        Expr::Aggregate(aggregate) => {
            let parameter = aggregate.param.as_deref();
            parameter.into_iter().chain([&*aggregate.expr]).collect()
        }
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Paren(inner) => vec![&inner.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Call(call) => call.args.args.iter().map(|argument| &**argument).collect(),
        // The parser makes no extensions.
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    };
    for child in children {
        each(child, visit);
    }
}

fn children_mut(tree: &mut Expr) -> Vec<&mut Expr> {
    match tree {
        Expr::Aggregate(aggregate) => {
            let parameter = aggregate.param.as_deref_mut();
            let operand = &mut *aggregate.expr;
            parameter.into_iter().chain([operand]).collect()
        }
        Expr::Unary(unary) => vec![&mut unary.expr],
        Expr::Binary(binary) => vec![&mut binary.lhs, &mut binary.rhs],
        Expr::Paren(inner) => vec![&mut inner.expr],
        Expr::Subquery(subquery) => vec![&mut subquery.expr],
        Expr::Call(call) => call.args.args.iter_mut().map(|node| &mut **node).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    }
}
