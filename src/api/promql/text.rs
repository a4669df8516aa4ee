//! The text of a query, before the parser sees it.
//!
//! It bounds what the parser has to take, and smooths out where the parser reads strings otherwise
//! than Prometheus does. It decides nothing about what a query may read: what it gets wrong, the
//! comparison after printing finds.

use promql_parser::util::{escape_string, unquote_string};

use super::{LEVELS, Problem, QUERY_LENGTH, pods, regexes};

/// Returns the query without comments, and with raw strings in double quotes.
///
/// The parser takes a backslash in back quotes for an escape, and so refuses `` `\d+` ``.
pub(super) fn plain(query: &str) -> Result<String, Problem> {
    if query.len() > QUERY_LENGTH {
        return Err(Problem::TooLong);
    }
    let mut plain = String::with_capacity(query.len());
    // What stands in no string.
    let mut code = String::with_capacity(query.len());
    let mut weight = 0;
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let tail = &rest[first.len_utf8()..];
        rest = match first {
            '#' => tail.find(['\r', '\n']).map_or("", |end| &tail[end..]),
            '"' | '\'' => {
                let inside = quoted(tail, first)?;
                let string = &rest[..inside.len() + 2];
                weight += weighed(&code, || unquote_string(string).ok())?;
                plain.push_str(string);
                code.push(' ');
                &tail[inside.len() + 1..]
            }
            '`' => {
                let (inside, tail) = tail.split_once('`').ok_or_else(unterminated)?;
                weight += weighed(&code, || Some(inside.to_owned()))?;
                plain.extend(["\"", &escape_string(inside), "\""]);
                code.push(' ');
                tail
            }
            other => {
                plain.push(other);
                code.push(other);
                tail
            }
        };
    }
    bounded(&code)?;
    if weight > regexes::WEIGHT {
        return Err(Problem::HeavyRegexes);
    }
    Ok(plain)
}

/// Returns the weight of a string that stands behind `code`, if it is a regular expression there.
fn weighed(code: &str, string: impl FnOnce() -> Option<String>) -> Result<u32, Problem> {
    if !code.trim_end().ends_with('~') {
        return Ok(0);
    }
    // An escape that is wrong is told of by the parser, which compiles nothing then.
    let Some(expression) = string() else {
        return Ok(0);
    };
    // `${name}` is a wrong regular expression too, but that is not what is wrong with it.
    match pods::other_variable(&expression) {
        Some(name) => Err(pods::outside_of_matchers(name)),
        None => regexes::weight(&expression),
    }
}

fn unterminated() -> Problem {
    Problem::NotUnderstood {
        cause: "a string has no end".to_owned(),
    }
}

/// Returns what stands before the closing quote.
fn quoted(text: &str, quote: char) -> Result<&str, Problem> {
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        if letter == quote {
            return Ok(&text[..index]);
        }
        if letter == '\\' {
            letters.next();
            // The parser makes a character of it, and Prometheus a byte.
            if is_numbered_byte(&text[index + 1..]) {
                return Err(Problem::NumberedByte);
            }
        }
    }
    Err(unterminated())
}

/// Whether what follows a backslash is the number of a byte that is no ASCII.
fn is_numbered_byte(text: &str) -> bool {
    match text.as_bytes() {
        [b'x', first, ..] => first.is_ascii_hexdigit() && !(b'0'..=b'7').contains(first),
        [b'2' | b'3', ..] => true,
        _ => false,
    }
}

/// Refuses what would be deep. `code` has no strings and no comments.
fn bounded(code: &str) -> Result<(), Problem> {
    if let Some(name) = pods::first_variable(code) {
        return Err(pods::outside_of_matchers(name));
    }
    let signs = code.chars().filter(|sign| "([{+-*/%^=!<>".contains(*sign));
    let words = code
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':')
        .filter(|word| {
            let word = word.to_ascii_lowercase();
            ["and", "or", "unless", "atan2"].contains(&word.as_str())
        });
    if signs.count() + words.count() > LEVELS {
        return Err(Problem::TooDeep);
    }
    Ok(())
}
