//! Kinds of text in a `MetricSource`, each as its pattern in `bounds` describes it.
//!
//! Written out by hand: a regular expression per field would be a dependency more.

use std::path::PathBuf;

use super::{GOOD_LABEL, LABEL_NAME_LENGTH, bounds, cut};
use crate::api::parse::field::{Field, Problems};
use crate::api::v1alpha1::bounds::NAME_LENGTH;

pub(super) fn is_metric_label(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let length = text.len() <= bounds::METRIC_LABEL_LENGTH as usize;
    length
        && text.bytes().all(letter)
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
}

pub(super) fn is_parameter(text: &str) -> bool {
    let name = text.strip_suffix("[]").unwrap_or(text);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= bounds::PARAMETER_NAME_LENGTH as usize
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(letter)
}

/// Returns a value of a label of metrics.
pub(super) fn metric_value(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let good = "eu-1";
    let text = field.text(bounds::METRIC_VALUE_LENGTH, good, problems)?;
    if text.chars().any(|letter| letter.is_ascii_control()) {
        field.wrong("holds control characters", good, problems);
        return None;
    }
    Some(text.to_owned())
}

/// Returns what may stand in a header.
pub(super) fn header_value(field: &Field<'_>, good: &str, problems: &Problems) -> Option<String> {
    let text = field.required(bounds::VALUE_LENGTH, good, problems)?;
    if !is_header_value(text) {
        let problem = "is more than visible ASCII with spaces inside";
        field.wrong(problem, good, problems);
        return None;
    }
    Some(text.to_owned())
}

fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.trim() == text
}

/// Returns the name of a label of Kubernetes objects.
pub(super) fn object_label(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let text = field.required(LABEL_NAME_LENGTH, GOOD_LABEL, problems)?;
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let good =
        prefix.is_none_or(|prefix| is_edged(prefix, b"-.", false)) && is_edged(name, b"-_.", true);
    if !good {
        let problem = format!("{} is no name of a label", cut(text));
        field.wrong(problem, GOOD_LABEL, problems);
        return None;
    }
    Some(text.to_owned())
}

/// Letters and digits, with `inner` allowed between the first and the last.
fn is_edged(text: &str, inner: &[u8], upper: bool) -> bool {
    let letter = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || upper && byte.is_ascii_uppercase()
    };
    let edges = text.bytes().next().zip(text.bytes().next_back());
    edges.is_some_and(|(first, last)| letter(first) && letter(last))
        && text
            .bytes()
            .all(|byte| letter(byte) || inner.contains(&byte))
}

pub(super) fn is_namespace(text: &str) -> bool {
    is_edged(text, b"-", false)
}

/// Returns the name of a Secret. It becomes part of a path at the API server.
pub(super) fn secret_name(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let good = "prometheus-credentials";
    let text = field.required(NAME_LENGTH, good, problems)?;
    if !is_edged(text, b"-.", false) {
        let problem = format!("{} is no name of an object", cut(text));
        field.wrong(problem, good, problems);
        return None;
    }
    Some(text.to_owned())
}

/// Returns the key in a Secret, or `usual` if none is given.
pub(super) fn secret_key(field: &Field<'_>, usual: &str, problems: &Problems) -> Option<String> {
    if !field.given() && !usual.is_empty() {
        return Some(usual.to_owned());
    }
    let good = if usual.is_empty() { "token" } else { usual };
    let text = field.required(bounds::SECRET_KEY_LENGTH, good, problems)?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !text.bytes().all(letter) {
        field.wrong(
            format!("{} is no key of a Secret", cut(text)),
            good,
            problems,
        );
        return None;
    }
    Some(text.to_owned())
}

/// Returns the path of a file that was mounted for metric sources.
pub(super) fn file(field: &Field<'_>, problems: &Problems) -> Option<PathBuf> {
    let good = "/etc/astern/prometheus/token";
    let text = field.required(bounds::FILE_LENGTH, good, problems)?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(letter);
    let inside = text.strip_prefix("/etc/astern/");
    if !inside.is_some_and(|path| path.split('/').all(part)) {
        let problem = format!("{} is no file below /etc/astern", cut(text));
        field.wrong(problem, good, problems);
        return None;
    }
    Some(PathBuf::from(text))
}

/// Returns a name as in DNS.
pub(super) fn server_name(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let good = "prometheus.example.com";
    let text = field.required(bounds::SERVER_NAME_LENGTH, good, problems)?;
    let (front, last) = text.rsplit_once('.').unwrap_or(("", text));
    let letter = |byte: u8| byte.is_ascii_alphanumeric();
    let good_part = |part: &str| {
        part.bytes()
            .next()
            .is_some_and(|first| letter(first) || first == b'_')
            && part.bytes().next_back().is_some_and(letter)
            && part
                .bytes()
                .all(|byte| letter(byte) || b"-_".contains(&byte))
    };
    let fine = (front.is_empty() && !text.starts_with('.') || front.split('.').all(good_part))
        && is_edged(last, b"-", true)
        && last.starts_with(|first: char| first.is_ascii_alphabetic());
    if !fine {
        let problem = format!("{} is no name of a server", cut(text));
        field.wrong(problem, good, problems);
        return None;
    }
    Some(text.to_owned())
}

/// Returns a scope of OAuth 2.0.
pub(super) fn scope(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let good = "metrics.read";
    let text = field.required(bounds::SCOPE_LENGTH, good, problems)?;
    let fine = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
    if !text.bytes().all(fine) {
        field.wrong(format!("{} is no scope", cut(text)), good, problems);
        return None;
    }
    Some(text.to_owned())
}
