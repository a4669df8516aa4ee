//! Writes selectors of `PromQL`. Nothing that comes from an object goes unescaped into one.

use std::collections::BTreeMap;

use jiff::SignedDuration;

/// Between two evaluations of an expression. Prometheus takes whole multiples of it since 1970, so
/// that increments and both halves of a ratio meet.
pub const STEP: SignedDuration = SignedDuration::from_secs(5);

/// Returns the samples of a selector over a span.
#[must_use]
pub fn over(selector: &str, range: SignedDuration) -> String {
    format!("{selector}[{}]", span(range))
}

/// Returns an expression over a span, evaluated every `step`.
#[must_use]
pub fn subquery(expression: &str, range: SignedDuration, step: SignedDuration) -> String {
    format!("({expression})[{}:{}]", span(range), span(step))
}

/// Returns a length of time as `PromQL` spells it, rounded up to whole seconds.
fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs() + i64::from(length.subsec_nanos() > 0);
    format!("{seconds}s")
}

/// Returns the matchers of labels by their exact values; empty for none.
#[must_use]
pub fn matchers(labels: &BTreeMap<String, String>) -> String {
    let labels = labels.iter();
    let matchers = labels.map(|(label, value)| label_matcher(label, value));
    matchers.collect::<Vec<_>>().join(",")
}

/// Returns `text` as a regular expression that matches nothing else, ready to stand in double quotes.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if ".+*?()|[]{}^$\\".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    inside_quotes(&escaped)
}

/// Returns one of several regular expressions.
pub fn any_of(patterns: impl IntoIterator<Item = String>) -> String {
    patterns.into_iter().collect::<Vec<_>>().join("|")
}

/// Returns the matcher of one label by its exact value.
#[must_use]
pub fn label_matcher(label: &str, value: &str) -> String {
    format!("{label}=\"{}\"", inside_quotes(value))
}

/// Returns the selector of series with one of `names` that all of `matchers` accept. Matchers that are
/// empty are none.
#[must_use]
pub fn selector(names: &[String], matchers: &[String]) -> String {
    let matchers: Vec<&str> = matchers
        .iter()
        .map(String::as_str)
        .filter(|matcher| !matcher.is_empty())
        .collect();
    let matchers = matchers.join(",");
    if let [name] = names {
        return format!("{name}{{{matchers}}}");
    }
    let names = any_of(names.iter().map(|name| literal(name)));
    format!("{{__name__=~\"{names}\",{matchers}}}")
}

fn inside_quotes(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_regular_expression_or_of_quotes() {
        assert_eq!(literal("shop-2"), "shop-2");
        assert_eq!(literal("a.b"), r"a\\.b");
        assert_eq!(literal("a\"} or b{"), r#"a\"\\} or b\\{"#);
        assert_eq!(literal("a\nb\\"), r"a\nb\\\\");
        assert_eq!(
            label_matcher("alertname", "a\"b\\"),
            r#"alertname="a\"b\\""#
        );
    }

    #[test]
    fn one_name_stands_in_front_and_several_are_one_regular_expression() {
        let matchers = ["a=\"1\"".to_owned(), String::new(), "b=\"2\"".to_owned()];
        let names = ["up".to_owned(), "down".to_owned()];
        assert_eq!(selector(&names[..1], &matchers), r#"up{a="1",b="2"}"#);
        assert_eq!(
            selector(&names, &matchers),
            r#"{__name__=~"up|down",a="1",b="2"}"#
        );
    }
}
