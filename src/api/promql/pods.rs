//! The one variable of a query: `$pods`, the pods of the revision that is judged.
//!
//! Which pods those are is not known here.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, LabelModifier};

use super::{Problem, beginning, tree};

/// Uses in one query. Each becomes the names of all pods, and a revision may have thousands.
pub(super) const USES: usize = 16;

const PODS: &str = "$pods";
/// A character that is neither space nor anything else: there is none, so no text matches.
const NOTHING: &str = r"[^\s\S]";

/// Returns a query with `$pods` replaced by a regular expression that matches just the names in
/// `pods`, and nothing when there are none.
///
/// `query` must come from [`super::confined`]: there, `$pods` stands only in double quotes.
#[must_use]
pub fn with_pods(query: &str, pods: &[String]) -> String {
    let expression = if pods.is_empty() {
        NOTHING.to_owned()
    } else {
        let names: Vec<String> = pods.iter().map(|name| literally(name)).collect();
        format!("(?:{})", names.join("|"))
    };
    let replacement = promql_parser::util::escape_string(&expression);
    let mut parts = query.split(PODS);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A longer name is that of a capture group, in the replacement of label_replace().
        let longer = part.starts_with(is_word);
        text.push_str(if longer { PODS } else { &replacement });
        text.push_str(part);
    }
    text
}

/// Returns a regular expression that matches `text` alone.
fn literally(text: &str) -> String {
    let mut expression = String::with_capacity(text.len() + 4);
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            expression.push('\\');
        }
        expression.push(letter);
    }
    expression
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Returns the first variable of a text, such as `$pods` or `${__range}`. `$1` and a `$` at the end
/// of a regular expression are none.
pub(super) fn first_variable(text: &str) -> Option<&str> {
    variables(text).next()
}

/// Returns the first variable that is not `$pods`.
pub(super) fn other_variable(text: &str) -> Option<&str> {
    variables(text).find(|name| *name != PODS)
}

fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('$').filter_map(|(at, sign)| {
        let name = &text[at + sign.len()..];
        let inner = name.strip_prefix('{').unwrap_or(name);
        let first = inner.chars().next()?;
        (first.is_ascii_alphabetic() || first == '_').then(|| {
            let opened = sign.len() + (name.len() - inner.len());
            let length = inner.chars().take_while(|letter| is_word(*letter)).count();
            let closed = usize::from(inner[length..].starts_with('}') && opened > sign.len());
            &text[at..at + opened + length + closed]
        })
    })
}

/// What is wrong with a variable where none can be.
pub(super) fn outside_of_matchers(name: &str) -> Problem {
    if name == PODS {
        return Problem::MisplacedPods;
    }
    Problem::UnknownVariable {
        name: beginning(name),
    }
}

/// Checks all variables of a query, and returns whether there are any.
pub(super) fn checked(tree: &Expr) -> Result<bool, Problem> {
    let mut uses = 0;
    let mut problem = None;
    tree::each(tree, &mut |node| match in_node(node) {
        Ok(found) => uses += found,
        Err(found) => {
            problem.get_or_insert(found);
        }
    });
    match problem {
        Some(problem) => Err(problem),
        None if uses > USES => Err(Problem::TooManyPods),
        None => Ok(uses > 0),
    }
}

/// Returns how often a node itself uses `$pods`.
fn in_node(node: &Expr) -> Result<usize, Problem> {
    if let Some(selector) = tree::selector(node) {
        let alternatives = selector.matchers.or_matchers.iter().flatten();
        let matchers = selector.matchers.matchers.iter().chain(alternatives);
        return matchers.map(in_matcher).sum();
    }
    let labels: Vec<&String> = match node {
        Expr::StringLiteral(literal) => {
            // Other names are those of capture groups, in the replacement of label_replace().
            let pods = variables(&literal.val).any(|name| name == PODS);
            return if pods {
                Err(Problem::MisplacedPods)
            } else {
                Ok(0)
            };
        }
        Expr::Aggregate(aggregate) => labels_of(aggregate.modifier.as_ref()),
        Expr::Binary(binary) => binary.modifier.as_ref().map_or_else(Vec::new, |modifier| {
            let included = modifier.card.labels().into_iter();
            let included = included.flat_map(|labels| &labels.labels);
            let matching = labels_of(modifier.matching.as_ref());
            matching.into_iter().chain(included).collect()
        }),
        Expr::Unary(_)
        | Expr::Paren(_)
        | Expr::Subquery(_)
        | Expr::NumberLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Call(_)
        | Expr::Extension(_) => Vec::new(),
    };
    match labels.into_iter().find_map(|label| first_variable(label)) {
        Some(name) => Err(outside_of_matchers(name)),
        None => Ok(0),
    }
}

fn labels_of(modifier: Option<&LabelModifier>) -> Vec<&String> {
    modifier.map_or_else(Vec::new, |modifier| {
        modifier.labels().labels.iter().collect()
    })
}

fn in_matcher(matcher: &Matcher) -> Result<usize, Problem> {
    if let Some(name) = first_variable(&matcher.name) {
        return Err(outside_of_matchers(name));
    }
    if let Some(name) = other_variable(&matcher.value) {
        return Err(outside_of_matchers(name));
    }
    let uses = variables(&matcher.value).count();
    match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual if uses > 0 => Err(Problem::PodsNotMatched),
        MatchOp::Equal | MatchOp::NotEqual | MatchOp::Re(_) | MatchOp::NotRe(_) => Ok(uses),
    }
}
