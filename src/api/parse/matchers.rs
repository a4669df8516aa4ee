//! Label matchers, and names of labels, that a policy adds to a query.
//!
//! They are pasted between the braces of a selector, so what is let through must not be able to
//! close them.

/// Returns whether `text` is the name of a label, as Prometheus has them without quotes.
pub(super) fn is_label_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(letter)
        && text
            .bytes()
            .all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// Returns what is wrong with `text`, if anything is.
pub(super) fn problem(text: &str) -> Option<String> {
    let mut rest = text;
    while !rest.is_empty() {
        rest = match after_matcher(rest) {
            Ok(tail) => tail,
            Err(problem) => return Some(problem),
        };
    }
    None
}

/// Returns what follows the first matcher and its comma.
fn after_matcher(text: &str) -> Result<&str, String> {
    let letters = text
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        .count();
    let (name, rest) = text.split_at(letters);
    if !is_label_name(name) {
        return Err("does not begin with the name of a label".to_owned());
    }
    if name == "__name__" {
        return Err("must not name the metric, which the preset does".to_owned());
    }
    // The longer ones first: `=` begins `=~` too.
    let rest = ["=~", "!~", "!=", "="]
        .iter()
        .find_map(|operator| rest.strip_prefix(operator))
        .ok_or_else(|| "lacks one of =, !=, =~ and !~ after the name of a label".to_owned())?;
    let rest = rest
        .strip_prefix('"')
        .ok_or_else(|| "lacks a value in double quotes".to_owned())?;
    let rest = after_value(rest).ok_or_else(|| "lacks a closing double quote".to_owned())?;
    match rest.strip_prefix(',') {
        Some(tail) => Ok(tail),
        None if rest.is_empty() => Ok(rest),
        None => Err("lacks a comma after a value".to_owned()),
    }
}

/// Returns what follows the closing quote. A backslash takes the next character with it.
fn after_value(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return text.get(index + 1..),
            '\n' => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_let_through() {
        for text in [
            "",
            r#"route="/pay""#,
            r#"route="/pay","#,
            r#"route="/pay",method!="GET",code=~"5..",host!~"a|b""#,
            r#"path=~"/a{2}/\"b\"""#,
            r#"request_protocol="http""#,
        ] {
            assert_eq!(problem(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_closes_the_braces() {
        for text in [
            "}",
            r#"a="b"} or vector(1) or up{c="d""#,
            r#"a="b\"}"#,
            r#"a="b"c="d""#,
            r#"a="b""c""#,
            "a='b'",
            "a=`b`",
            "a",
            "a=",
            "a=“b”",
            r#"1a="b""#,
            r#"__name__="up""#,
            r#"a="b", c="d""#,
            r#""a"="b""#,
            "a=\"b\nc\"",
            "a=\"b\\",
        ] {
            assert!(problem(text).is_some(), "{text}");
        }
    }
}
