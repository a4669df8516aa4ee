//! The forms of query that the simulated source understands:
//!
//! - `metric{label="value", …}[60s]`, which gives the samples as they are;
//! - `group by (label, …) (metric{…})`, which gives one series per combination;
//! - `(expression)[60s:5s]`, where the expression is a selector, or `sum`, `min` or `max` of one, with or
//!   without `by (label, …)`, and is taken at whole multiples of the step.

use std::collections::BTreeMap;

use jiff::SignedDuration;

/// A query of one of the forms that are understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Range(Range),
    Group {
        by: Vec<String>,
        selector: Selector,
    },
    Subquery {
        expression: Expression,
        length: SignedDuration,
        step: SignedDuration,
    },
}

/// What a subquery is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expression {
    pub(super) selector: Selector,
    /// `None` for the selector itself.
    pub(super) fold: Option<(Fold, Vec<String>)>,
}

/// How several series become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fold {
    Sum,
    Min,
    Max,
}

impl Form {
    /// Reads `query`, or returns `None` if it has any other form.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let query = query.trim();
        if let Some(rest) = query.strip_prefix("group by") {
            let (by, rest) = label_list(rest)?;
            let selector = Selector::parse(bracketed(rest)?)?;
            return Some(Self::Group { by, selector });
        }
        let (before, length) = query.strip_suffix(']')?.rsplit_once('[')?;
        let Some((length, step)) = length.split_once(':') else {
            return Range::parse(query).map(Self::Range);
        };
        Some(Self::Subquery {
            expression: Expression::parse(bracketed(before)?)?,
            length: duration(length.trim())?,
            step: duration(step.trim())?,
        })
    }
}

impl Expression {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let folds = [("sum", Fold::Sum), ("min", Fold::Min), ("max", Fold::Max)];
        for (name, fold) in folds {
            let Some(rest) = text.strip_prefix(name) else {
                continue;
            };
            let rest = rest.trim_start();
            let (by, rest) = match rest.strip_prefix("by") {
                Some(rest) => label_list(rest)?,
                None => (Vec::new(), rest),
            };
            if rest.trim_start().starts_with('(') {
                let selector = Selector::parse(bracketed(rest)?)?;
                let fold = Some((fold, by));
                return Some(Self { selector, fold });
            }
        }
        let selector = Selector::parse(text)?;
        let fold = None;
        Some(Self { selector, fold })
    }
}

fn bracketed(text: &str) -> Option<&str> {
    text.trim().strip_prefix('(')?.strip_suffix(')')
}

fn label_list(text: &str) -> Option<(Vec<String>, &str)> {
    let (labels, rest) = text.trim_start().strip_prefix('(')?.split_once(')')?;
    let labels = labels.split(',').map(|label| label.trim().to_owned());
    Some((labels.collect(), rest))
}

/// A range selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    selector: Selector,
    pub(super) length: SignedDuration,
}

/// A selector of series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    matchers: Vec<Matcher>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Matcher {
    label: String,
    pattern: String,
    is_regex: bool,
    negated: bool,
}

impl Range {
    /// Reads `query`, or returns `None` if it has any other form.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let (selector, length) = query.trim().strip_suffix(']')?.rsplit_once('[')?;
        let length = duration(length.trim())?;
        let selector = Selector::parse(selector)?;
        Some(Self { selector, length })
    }

    /// Says whether every matcher accepts `labels`.
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.selects(labels)
    }
}

impl Selector {
    fn parse(selector: &str) -> Option<Self> {
        let selector = selector.trim();
        let (metric, rest) = match selector.split_once('{') {
            Some((metric, rest)) => (metric, rest.strip_suffix('}')?),
            None => (selector, ""),
        };
        let mut matchers = matchers(rest)?;
        let metric = metric.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
        if !metric.bytes().all(plain) || (metric.is_empty() && matchers.is_empty()) {
            return None;
        }
        if !metric.is_empty() {
            matchers.push(Matcher {
                label: "__name__".to_owned(),
                pattern: metric.to_owned(),
                is_regex: false,
                negated: false,
            });
        }
        Some(Self { matchers })
    }

    /// Says whether every matcher accepts `labels`. An absent label counts as empty.
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = labels.get(&matcher.label).map_or("", String::as_str);
            let matched = if matcher.is_regex {
                matches_regex(&matcher.pattern, value)
            } else {
                matcher.pattern == value
            };
            matched != matcher.negated
        })
    }
}

fn matchers(text: &str) -> Option<Vec<Matcher>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let operator = rest.find(['=', '!'])?;
        let (label, tail) = rest.split_at(operator);
        let (operator, tail) = tail.split_at(tail.find('"')?);
        let (is_regex, negated) = match operator.trim() {
            "=" => (false, false),
            "!=" => (false, true),
            "=~" => (true, false),
            "!~" => (true, true),
            _ => return None,
        };
        let (pattern, tail) = quoted(tail)?;
        found.push(Matcher {
            label: label.trim().to_owned(),
            pattern,
            is_regex,
            negated,
        });
        let tail = tail.trim_start();
        rest = tail.strip_prefix(',').map_or(tail, str::trim_start);
    }
    Some(found)
}

/// Reads a quoted string with escapes; returns it and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            _ => value.push(character),
        }
    }
    None
}

/// Reads `1h30m`, `60s` or `500ms`.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut total = SignedDuration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (count, tail) = rest.split_at(digits);
        let unit = tail
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let count: i64 = count.parse().ok()?;
        total += match unit {
            "ms" => SignedDuration::from_millis(count),
            "s" => SignedDuration::from_secs(count),
            "m" => SignedDuration::from_mins(count),
            "h" => SignedDuration::from_hours(count),
            _ => return None,
        };
        rest = tail;
    }
    (total > SignedDuration::ZERO).then_some(total)
}

/// Matches the whole of `text`. Understands alternatives, `.`, `*`, `+`, `?`, classes and escapes,
/// but no groups: more than any preset uses.
fn matches_regex(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    alternatives(pattern)
        .iter()
        .any(|one| matches_atoms(one, &text))
}

#[derive(Clone, Debug)]
enum Atom {
    One(char),
    Any,
    Class {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

#[derive(Clone, Debug)]
struct Repeated {
    atom: Atom,
    minimum: usize,
    most: usize,
}

fn alternatives(pattern: &str) -> Vec<Vec<Repeated>> {
    let mut found = vec![Vec::new()];
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        let atom = match character {
            '|' => {
                found.push(Vec::new());
                continue;
            }
            '.' => Atom::Any,
            '\\' => Atom::One(characters.next().unwrap_or('\\')),
            '[' => class(&mut characters),
            other => Atom::One(other),
        };
        let (minimum, most) = repetition(&mut characters);
        if let Some(atoms) = found.last_mut() {
            atoms.push(Repeated {
                atom,
                minimum,
                most,
            });
        }
    }
    found
}

/// Reads what follows an atom: how often it may stand there.
fn repetition(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> (usize, usize) {
    let (minimum, most) = match characters.peek() {
        Some('*') => (0, usize::MAX),
        Some('+') => (1, usize::MAX),
        Some('?') => (0, 1),
        Some('{') => {
            let inside: String = characters.take_while(|one| *one != '}').skip(1).collect();
            let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
            let number = |text: &str, otherwise| text.trim().parse().unwrap_or(otherwise);
            return (number(least, 0), number(most, usize::MAX));
        }
        _ => return (1, 1),
    };
    characters.next();
    (minimum, most)
}

fn class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Atom {
    let negated = characters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while let Some(first) = characters.next().filter(|one| *one != ']') {
        let last = match characters.next_if_eq(&'-') {
            Some(_) => characters.next().unwrap_or(first),
            None => first,
        };
        ranges.push((first, last));
    }
    Atom::Class { ranges, negated }
}

fn matches_atoms(atoms: &[Repeated], text: &[char]) -> bool {
    let Some((first, rest)) = atoms.split_first() else {
        return text.is_empty();
    };
    let fitting = text
        .iter()
        .take(first.most)
        .take_while(|character| fits(&first.atom, **character))
        .count();
    (first.minimum..=fitting).any(|taken| matches_atoms(rest, &text[taken..]))
}

fn fits(atom: &Atom, character: char) -> bool {
    match atom {
        Atom::One(one) => *one == character,
        Atom::Any => true,
        Atom::Class { ranges, negated } => {
            let inside = |(first, last): &(char, char)| (*first..=*last).contains(&character);
            ranges.iter().any(inside) != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, selected: bool) {
        let labels = [
            ("__name__", "http_requests_total"),
            ("namespace", "shop"),
            ("pod", "checkout-7d9f8b6c5d-abcde"),
            ("code", "503"),
        ];
        let owned = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let range = Range::parse(query).unwrap();
        assert_eq!(range.selects(&BTreeMap::from(owned)), selected, "{query}");
    }

    #[test]
    fn matchers_select_and_leave_out() {
        check("http_requests_total[60s]", true);
        check("other_total[60s]", false);
        check(
            r#"http_requests_total{namespace=~"cart|shop",code=~"5.."}[1m]"#,
            true,
        );
        check(r#"http_requests_total{namespace=~"sho"}[1m]"#, false);
        check(r#"http_requests_total{ code !~ "5.*" }[1m]"#, false);
        check(r#"http_requests_total{code!="200"}[1m]"#, true);
        check(r#"{__name__="http_requests_total",gone=""}[1m]"#, true);
        check(
            r#"http_requests_total{pod=~"checkout-[a-z0-9]+-.+"}[1m]"#,
            true,
        );
        check(
            r#"http_requests_total{pod=~"checkout-7d9f8b6c5d-[^a]+"}[1m]"#,
            false,
        );
        check(
            r#"http_requests_total{pod=~"checkout-[a-z0-9]{1,10}-[a-e]{5}"}[1m]"#,
            true,
        );
        check(
            r#"http_requests_total{pod=~"checkout-[a-z0-9]{1,9}-[a-e]{5}"}[1m]"#,
            false,
        );
    }

    #[test]
    fn lengths_add_up() {
        let length = |query| Range::parse(query).map(|range| range.length);
        assert_eq!(length("up[1m30s]"), Some(SignedDuration::from_secs(90)));
        assert_eq!(length("up[500ms]"), Some(SignedDuration::from_millis(500)));
        assert_eq!(length("up[0s]"), None);
        assert_eq!(length("up[1x]"), None);
    }

    #[test]
    fn an_empty_alternative_stands_for_a_label_that_is_not_there() {
        check(r#"http_requests_total{le=~"\\+Inf|"}[1m]"#, true);
        check(r#"http_requests_total{code=~"200|"}[1m]"#, false);
    }

    #[test]
    fn groups_and_subqueries_are_understood() {
        let form = Form::parse(r#"group by (namespace, pod) (up{namespace=~"shop"})"#);
        assert!(matches!(form, Some(Form::Group { by, .. }) if by == ["namespace", "pod"]));
        for (query, folded) in [
            ("(up{a=\"1\"})[60s:5s]", None),
            ("(sum(up))[60s:5s]", Some((Fold::Sum, Vec::new()))),
            (
                "(max by (pod) (up))[60s:5s]",
                Some((Fold::Max, vec!["pod".to_owned()])),
            ),
        ] {
            let Some(Form::Subquery { expression, .. }) = Form::parse(query) else {
                unreachable!("{query}");
            };
            assert_eq!(expression.fold, folded, "{query}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for query in [
            "up",
            "rate(up[1m])",
            "sum by (pod) (up)",
            "up{a=1}[1m]",
            "(rate(up[1m]))[60s:5s]",
            "",
        ] {
            assert_eq!(Form::parse(query), None, "{query:?}");
        }
    }
}
