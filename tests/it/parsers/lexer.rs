//! A lexer for what is sent to a source, written against the one of Prometheus and no other.
//!
//! It knows how strings end, what a name is, and which words are no names. It knows no grammar, so
//! that no trick of the grammar can deceive it.

/// Words that Prometheus does not read as names of metrics.
const WORDS: &[&str] = &[
    "and",
    "or",
    "unless",
    "atan2",
    "bool",
    "offset",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "inf",
    "nan",
];
/// Words with a list of labels in parentheses.
const GROUPINGS: &[&str] = &[
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    /// With its quotes, as it stands there.
    String(String),
    Number,
    Sign(char),
}

/// Returns the tokens of `text`, or nothing when a string has no end.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest)?,
            'a'..='z' | 'A'..='Z' | '_' | ':' | '0'..='9' => rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
                .unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        let (token, tail) = rest.split_at(length);
        rest = tail;
        match first {
            '"' => tokens.push(Token::String(token.to_owned())),
            '0'..='9' => tokens.push(Token::Number),
            'a'..='z' | 'A'..='Z' | '_' | ':' => tokens.push(Token::Name(token.to_owned())),
            ' ' => {}
            sign => tokens.push(Token::Sign(sign)),
        }
    }
    Some(tokens)
}

fn string_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            // A string in double quotes ends with its line.
            b'\n' => return None,
            _ => at += 1,
        }
    }
}

/// Returns what lets series through that do not carry `label="value"`, if anything does.
pub(super) fn leak(text: &str, label: &str, value: &str) -> Option<String> {
    let Some(tokens) = tokens(text) else {
        return Some("a string without an end".to_owned());
    };
    let mut rest = tokens.as_slice();
    let mut before = "";
    // How many parentheses of a list of labels are open.
    let mut grouping = 0;
    while let [token, tail @ ..] = rest {
        rest = tail;
        match token {
            Token::Sign('{') => {
                let Some(end) = tail.iter().position(|token| *token == Token::Sign('}')) else {
                    return Some("a brace without an end".to_owned());
                };
                if !tail[..end]
                    .split(is_or)
                    .all(|group| carries(group, label, value))
                {
                    return Some(format!("a selector without {label}={value}"));
                }
                rest = &tail[end + 1..];
            }
            Token::Sign('}' | '#' | '`' | '\'') => return Some(format!("{token:?}")),
            Token::Sign('(') if grouping > 0 || GROUPINGS.contains(&before) => grouping += 1,
            Token::Sign(')') if grouping > 0 => grouping -= 1,
            Token::Name(name) if grouping == 0 => {
                let called = tail.first() == Some(&Token::Sign('('));
                let selected = tail.first() == Some(&Token::Sign('{'));
                let aggregates = matches!(tail.first(), Some(Token::Name(next)) if next == "by" || next == "without");
                let preset = before == "@";
                let word = WORDS.contains(&name.to_ascii_lowercase().as_str());
                if !(called || selected || aggregates || preset || word) {
                    return Some(format!("the bare name {name}"));
                }
            }
            Token::Name(_) | Token::String(_) | Token::Number | Token::Sign(_) => {}
        }
        before = match token {
            Token::Name(name) => name,
            Token::Sign('@') => "@",
            Token::String(_) | Token::Number | Token::Sign(_) => "",
        };
    }
    None
}

fn is_or(token: &Token) -> bool {
    matches!(token, Token::Name(name) if name.eq_ignore_ascii_case("or"))
}

fn carries(group: &[Token], label: &str, value: &str) -> bool {
    let wanted = Token::String(format!("{:?}", Plain(value)));
    group
        .split(|token| *token == Token::Sign(','))
        .any(|matcher| {
            matches!(matcher, [Token::Name(name), Token::Sign('='), string]
            if name == label && *string == wanted)
        })
}

/// A text in the only escapes that a printed query has.
struct Plain<'a>(&'a str);

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let escaped: String = self
            .0
            .chars()
            .map(|letter| match letter {
                '\\' => r"\\".to_owned(),
                '"' => r#"\""#.to_owned(),
                '\n' => r"\n".to_owned(),
                '\r' => r"\r".to_owned(),
                '\t' => r"\t".to_owned(),
                other => other.to_string(),
            })
            .collect();
        write!(formatter, "\"{escaped}\"")
    }
}

#[test]
fn leaks_are_seen() {
    let sound = [
        r#"a{namespace="shop"} + b{c="d",namespace="shop"}"#,
        r#"sum by (pod, or) (rate({namespace="shop"}[5m] @ end() offset 1h30m))"#,
        r#"a{b="1", namespace="shop" or namespace="shop"} > bool 1e3"#,
        r#"label_replace(a{b="}",namespace="shop"}, "x\"}", "", "", "")"#,
    ];
    for text in sound {
        assert_eq!(leak(text, "namespace", "shop"), None, "{text}");
    }
    let leaky = [
        "a",
        "sum(a)",
        r#"a{namespace="shop"} + b"#,
        r#"a{namespace="shop"} or b{c="namespace=\"shop\""}"#,
        r#"a{namespace="shop" or b="c"}"#,
        r#"a{namespace=~"shop"}"#,
        r#"a{namespace!="shop"}"#,
        r#"a{namespace="shopping"}"#,
        r#"a{x="\"} or b{namespace="shop"}"#,
        r#"sum by (pod) (a) + a{namespace="shop"}"#,
        r#"a{namespace="shop"} # "#,
    ];
    for text in leaky {
        assert!(leak(text, "namespace", "shop").is_some(), "{text}");
    }
}
