//! How much work the regular expressions of a query are.
//!
//! The parser of PromQL compiles each of them, within limits that are wide: `\w{100}` is five bytes and
//! takes milliseconds. Nothing here says whether an expression makes sense.

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{Ast, ClassSet, ClassSetItem, RepetitionKind, RepetitionRange};

use super::Problem;

/// All of one query. Half a second at worst where nothing is optimised, a few hundredths elsewhere.
pub(super) const WEIGHT: u32 = 65_536;
/// What one expression weighs by being there.
const EXPRESSION: u32 = 256;
/// It may have two cases.
const LETTER: u32 = 4;
/// `.`, and what stands in brackets.
const BRACKETS: u32 = 32;
/// `\w` and `\pL` are hundreds of ranges of characters.
const CLASS: u32 = 1024;

/// Returns the weight of an expression.
pub(super) fn weight(expression: &str) -> Result<u32, Problem> {
    // What this does not read is not compiled either: Rust's parser comes first there, too, and
    // gives the same answer.
    let tree = Parser::new()
        .parse(expression)
        .map_err(|_| Problem::NotUnderstood {
            cause: "a regular expression is wrong".to_owned(),
        })?;
    Ok(of(&tree).saturating_add(EXPRESSION).min(WEIGHT + 1))
}

/// The parser bounds how deep a tree is.
fn of(tree: &Ast) -> u32 {
    let sum = |trees: &[Ast]| trees.iter().map(of).fold(0, u32::saturating_add);
    match tree {
        Ast::Empty(_) | Ast::Flags(_) => 0,
        Ast::Literal(_) | Ast::Assertion(_) => LETTER,
        Ast::Dot(_) => BRACKETS,
        Ast::ClassUnicode(_) | Ast::ClassPerl(_) => CLASS,
        Ast::ClassBracketed(class) => of_class(&class.kind),
        Ast::Repetition(repetition) => {
            let times = match &repetition.op.kind {
                RepetitionKind::ZeroOrOne
                | RepetitionKind::ZeroOrMore
                | RepetitionKind::OneOrMore => 1,
                RepetitionKind::Range(
                    RepetitionRange::Exactly(most)
                    | RepetitionRange::AtLeast(most)
                    | RepetitionRange::Bounded(_, most),
                ) => *most,
            };
            of(&repetition.ast).saturating_mul(times.saturating_add(1))
        }
        Ast::Group(group) => of(&group.ast),
        Ast::Alternation(alternation) => sum(&alternation.asts),
        Ast::Concat(concat) => sum(&concat.asts),
    }
}

fn of_class(set: &ClassSet) -> u32 {
    match set {
        ClassSet::Item(item) => of_item(item),
        ClassSet::BinaryOp(operation) => {
            of_class(&operation.lhs).saturating_add(of_class(&operation.rhs))
        }
    }
}

fn of_item(item: &ClassSetItem) -> u32 {
    match item {
        ClassSetItem::Empty(_)
        | ClassSetItem::Literal(_)
        | ClassSetItem::Range(_)
        | ClassSetItem::Ascii(_) => BRACKETS,
        ClassSetItem::Unicode(_) | ClassSetItem::Perl(_) => CLASS,
        ClassSetItem::Bracketed(class) => of_class(&class.kind),
        ClassSetItem::Union(union) => {
            let weights = union.items.iter().map(of_item);
            weights.fold(BRACKETS, u32::saturating_add)
        }
    }
}
