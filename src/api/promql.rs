//! The PromQL of a policy: what is taken, and how it is kept within its namespace.
//!
//! A query is read into a tree, changed there, printed, read again, and compared. So what is sent is
//! never the text that somebody wrote, and no trick of writing can mean one thing here and another at
//! the source. Nothing here asks a source: whether series exist is seen at the first query, and what a
//! query costs is the concern of the limits of the source.

mod functions;
mod pods;
mod regexes;
mod text;
mod tree;

use std::collections::BTreeMap;

use promql_parser::label::{METRIC_NAME, MatchOp, Matcher};
use promql_parser::parser::{self, Expr, value::ValueType};

pub use pods::with_pods;

/// Bytes of a query. The parser's stack grows with the text, and nobody reads a longer one.
pub const QUERY_LENGTH: usize = 8 * 1024;
/// Operators and brackets of a query outside of its strings. Each is at most one level of the tree,
/// and everything that walks a tree is recursive: 256 levels take a quarter of the stack of a thread
/// of tokio, in a build without optimisation.
const LEVELS: usize = 256;
/// Bytes of a query with all that was forced into it: 256 selectors times the labels of a source could
/// be megabytes.
const CONFINED_LENGTH: usize = 64 * 1024;
/// Characters of a query that an error quotes in one piece. It is shown in status and Events.
const QUOTED: usize = 40;
/// Characters of what the parser says.
const CAUSE: usize = 120;

/// What is wrong with a query. Reads on from the name of its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("has more than {QUERY_LENGTH} bytes")]
    TooLong,

    #[error("has more than {LEVELS} operators and brackets")]
    TooDeep,

    #[error(
        "has regular expressions that are too large: repeat less, and write [a-z0-9] rather than \\w"
    )]
    HeavyRegexes,

    #[error("has more than {CONFINED_LENGTH} bytes with the matchers that its source forces")]
    TooLongConfined,

    /// The parser cannot tell a mistake from a language that is newer than it is.
    #[error("is not understood: {cause}; it is a mistake, or newer than Prometheus 3.8")]
    NotUnderstood { cause: String },

    #[error("gives a {given}, and must give an instant vector or a scalar")]
    WrongType { given: &'static str },

    /// `{a="1",or="2"}`: some sources would read two alternatives.
    #[error("has a label named {name:?}, which is an operator there")]
    OperatorAsLabel { name: String },

    #[error("has a byte by its number, such as \\xe9 or \\351: write the character")]
    NumberedByte,

    #[error("has the variable {name:?}, and $pods is the only one")]
    UnknownVariable { name: String },

    #[error("has $pods outside of the value of a matcher: write it as in pod=~\"$pods\"")]
    MisplacedPods,

    #[error("compares with $pods by = or !=, and $pods is a regular expression: write =~ or !~")]
    PodsNotMatched,

    #[error("has $pods more than {} times", pods::USES)]
    TooManyPods,

    #[error("calls {name}(), which is not known to read only what its arguments select")]
    Function { name: String },

    /// The text that would be sent does not mean what was read.
    #[error(
        "does not survive being read and written; leave out what changes nothing, such as by () and ignoring ()"
    )]
    NotPrintable,

    /// The mistake is that of the source, or of who calls this.
    #[error("cannot be confined: {label:?} with the value {value:?} is no label to force")]
    NotForceable { label: String, value: String },
}

/// What every selector of a query must be narrowed to.
///
/// Empty for a source whose admin lets policies read everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// The label that tells namespaces apart, and the policy's namespace.
    pub namespace: Option<(String, String)>,
    /// Labels of the source, such as the cluster in a store of many.
    pub labels: BTreeMap<String, String>,
}

impl Confinement {
    /// Returns the matchers to force, the namespace first.
    fn matchers(&self) -> Result<Vec<Matcher>, Problem> {
        let namespace = self.namespace.iter().map(|(label, value)| (label, value));
        namespace
            .clone()
            .chain(&self.labels)
            .map(|(label, value)| {
                let is_namespace = namespace.clone().any(|(own, _)| own == label);
                // Without a value it would select the series of no namespace: those of the cluster.
                let empty = is_namespace && value.is_empty();
                let name = is_label(label) && label != METRIC_NAME && !tree::is_operator(label);
                if empty || !name || pods::first_variable(value).is_some() {
                    return Err(Problem::NotForceable {
                        label: beginning(label),
                        value: beginning(value),
                    });
                }
                Ok(Matcher::new(MatchOp::Equal, label, value))
            })
            .collect()
    }
}

/// Checks that `query` is PromQL which gives an instant vector or a scalar, with no variable but
/// `$pods`.
///
/// # Errors
///
/// What is wrong. The caller should tell the user, and not ask the query. Syntax that is newer than
/// the parser cannot be told from a mistake.
pub fn check(query: &str) -> Result<(), Problem> {
    confined(query, &Confinement::default()).map(drop)
}

/// Returns `query` with the confinement forced into every selector, and `$pods` still in it.
///
/// The user's matchers stay, on the same label too: all of a selector's matchers must hold, so they
/// can only narrow. With nothing to force, the query is read and printed all the same: what
/// [`with_pods`] writes is escaped for the double quotes of what is printed here.
///
/// # Errors
///
/// What is wrong. The caller should tell the user, and not ask the query.
pub fn confined(query: &str, confinement: &Confinement) -> Result<String, Problem> {
    let forced = confinement.matchers()?;
    let mut tree = read(query)?;
    if !forced.is_empty()
        && let Some(name) = tree::function_outside_of(&tree, functions::READ_ONLY_ARGUMENTS)
    {
        return Err(Problem::Function {
            name: beginning(name),
        });
    }
    if let Some(name) = tree::operator_as_label(&tree) {
        return Err(Problem::OperatorAsLabel {
            name: beginning(name),
        });
    }
    let uses_pods = pods::checked(&tree)?;
    tree::force(&mut tree, &forced);
    let printed = tree.to_string();
    if printed.len() > CONFINED_LENGTH {
        return Err(Problem::TooLongConfined);
    }
    // The proof: not that the tree was changed well, but that the text which is sent says so.
    let again = parsed(&printed).map_err(|_| Problem::NotPrintable)?;
    if again != tree || !tree::carries(&again, &forced) {
        return Err(Problem::NotPrintable);
    }
    if uses_pods {
        let sample = ["checkout-5d9c".to_owned(), "checkout.1".to_owned()];
        parsed(&with_pods(&printed, &sample))?;
    }
    Ok(printed)
}

/// Reads a query that somebody wrote.
fn read(query: &str) -> Result<Expr, Problem> {
    let tree = parsed(&text::plain(query)?)?;
    let given = match tree.value_type() {
        ValueType::Vector | ValueType::Scalar => return Ok(tree),
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
    };
    Err(Problem::WrongType { given })
}

/// Calls the parser, which panics on some numbers: `x[1e300]` is more seconds than a duration holds.
fn parsed(text: &str) -> Result<Expr, Problem> {
    let read = std::panic::catch_unwind(|| parser::parse(text));
    let cause = match read {
        Ok(Ok(tree)) => return Ok(tree),
        Ok(Err(message)) => cause(&message, text),
        Err(_) => "a number is out of range".to_owned(),
    };
    Err(Problem::NotUnderstood { cause })
}

/// Returns what the parser said, up to where it begins to quote `text` at length.
fn cause(message: &str, text: &str) -> String {
    match message {
        "invalid promql query" => return "a syntax error".to_owned(),
        // It would quote the expression as the parser compiles it, not as it was written.
        message if message.starts_with("illegal regex") => {
            return "a regular expression is wrong".to_owned();
        }
        _ => {}
    }
    let message: Vec<char> = message.chars().take(CAUSE).collect();
    let quoted = message.windows(QUOTED + 1).position(|window| {
        let window: String = window.iter().collect();
        text.contains(&window)
    });
    let end = quoted.map_or(message.len(), |start| start + QUOTED);
    let shown = message[..end].iter();
    shown
        .flat_map(|letter| match letter {
            letter if letter.is_control() => letter.escape_default().collect(),
            letter => vec![*letter],
        })
        .collect()
}

/// Returns as much of a text as an error may quote.
fn beginning(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

/// Whether it can stand in front of a matcher's operator as it is.
fn is_label(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.bytes().all(letter) && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
