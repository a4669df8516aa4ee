//! What others wrote, made fit for a record: one line, bounded, and without what looks like a secret.
//!
//! It is a net and no proof: an application that prints its secrets has published them in its logs.

use crate::decide::diagnosis::line;

/// Of an application's last words: enough for an error and where it happened.
const LAST_WORDS_MAX: usize = 200;

/// A key whose value is not shown, if it holds one of these.
const SECRET_KEYS: [&str; 8] = [
    "password", "passwd", "pwd", "secret", "token", "apikey", "api_key", "api-key",
];

/// What signs an address of cloud storage.
const SIGNATURES: [&str; 2] = ["sig=", "signature="];

/// Stands for what is not shown.
const HIDDEN: &str = "***";

/// Returns what an application said last. Where the kubelet took the end of its log, the end says most;
/// what it wrote on purpose, it wrote from the beginning.
pub(super) fn last_words(message: &str, from_log: bool) -> String {
    let words = hidden(message);
    if !from_log {
        return line(&words, LAST_WORDS_MAX);
    }
    let all = line(&words, usize::MAX);
    let length = all.chars().count();
    if length <= LAST_WORDS_MAX {
        return all;
    }
    let end: String = all.chars().skip(length - LAST_WORDS_MAX + 1).collect();
    format!("…{end}")
}

/// Returns what a component of Kubernetes said about `name`, an object that the finding names already:
/// the same words for every object, so that they can be told as one.
pub(super) fn said(message: &str, names: &[&str], limit: usize) -> String {
    let mut words = hidden(message);
    for name in names.iter().filter(|name| !name.is_empty()) {
        words = words.replace(name, "…");
    }
    line(&words, limit)
}

/// Replaces passwords in addresses, and the values of keys that name a secret.
fn hidden(message: &str) -> String {
    let words = message.split_inclusive(char::is_whitespace);
    let mut hides_next = false;
    let mut shown = String::with_capacity(message.len());
    for word in words {
        let bare = word.trim_end();
        let space = &word[bare.len()..];
        if hides_next && !bare.is_empty() {
            shown.push_str(HIDDEN);
            // `Authorization: Bearer <token>`: the scheme is not the secret.
            hides_next = is_scheme(bare);
        } else {
            let (text, next) = without_secret(bare);
            shown.push_str(&text);
            hides_next = next || (hides_next && bare.is_empty());
        }
        shown.push_str(space);
    }
    shown
}

fn is_scheme(word: &str) -> bool {
    ["bearer", "basic"].contains(&word.to_ascii_lowercase().as_str())
}

/// Returns the word without its secret, and whether the next word is one.
fn without_secret(word: &str) -> (String, bool) {
    if word.contains("://") {
        return (without_query(&without_userinfo(word)), false);
    }
    let Some((key, value)) = word.split_once(['=', ':']) else {
        return (word.to_owned(), false);
    };
    if !names_secret(key) {
        return (word.to_owned(), false);
    }
    let kept = &word[..=key.len()];
    if value.trim_matches(['"', '\'', ',']).is_empty() {
        (kept.to_owned(), true)
    } else {
        (format!("{kept}{HIDDEN}"), false)
    }
}

/// A path is no key, but the name of an image.
fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let names = SECRET_KEYS.iter().any(|secret| key.contains(secret)) || key == "authorization";
    names && !key.contains('/')
}

fn without_userinfo(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}{}", &rest[at..]),
        None => word.to_owned(),
    }
}

fn without_query(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let is_secret = |query: &str| {
        let signs = SIGNATURES.iter().any(|signs| query.contains(signs));
        signs || names_secret(query)
    };
    match lower.split_once('?') {
        Some((address, query)) if is_secret(query) => {
            format!("{}?{HIDDEN}", &word[..address.len()])
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (message, expected) in [
            ("plain words: nothing=hidden", "plain words: nothing=hidden"),
            (
                "dial postgres://shop:hunter2@db:5432/shop failed",
                "dial postgres://***@db:5432/shop failed",
            ),
            ("redis://:p@ss@cache/0", "redis://***@cache/0"),
            ("DB_PASSWORD=hunter2 is wrong", "DB_PASSWORD=*** is wrong"),
            ("password: hunter2", "password: ***"),
            ("{\"token\":\"abc\"}", "{\"token\":***"),
            (
                "Authorization: Bearer abc.def rest",
                "Authorization: *** *** rest",
            ),
            (
                "GET https://s3/x?sig=abc&a=1 failed",
                "GET https://s3/x?*** failed",
            ),
            ("https://db/x?a=1", "https://db/x?a=1"),
            ("invalid token", "invalid token"),
            (
                "[signal SIGSEGV: segmentation]",
                "[signal SIGSEGV: segmentation]",
            ),
            (
                "r.example/token-issuer:1.2 is",
                "r.example/token-issuer:1.2 is",
            ),
        ] {
            assert_eq!(hidden(message), expected);
        }
    }

    #[test]
    fn last_words_are_bounded_at_the_side_that_says_less() {
        let long = format!("begin {} end", "x".repeat(300));
        let written = last_words(&long, false);
        assert!(
            written.starts_with("begin x") && written.ends_with("x…"),
            "{written}"
        );
        let logged = last_words(&long, true);
        assert!(
            logged.starts_with("…x") && logged.ends_with("x end"),
            "{logged}"
        );
        for words in [written, logged] {
            assert_eq!(words.chars().count(), LAST_WORDS_MAX);
        }
        assert_eq!(last_words("short\u{7}", true), "short");
    }

    #[test]
    fn names_of_objects_are_left_out() {
        let message = "Back-off restarting app in pod checkout-7d9f-x2_shop(5eed)";
        assert_eq!(
            said(message, &["checkout-7d9f-x2", "", "5eed"], 100),
            "Back-off restarting app in pod …_shop(…)"
        );
        assert_eq!(
            said("GET http://me:pw@db/x", &[], 100),
            "GET http://***@db/x"
        );
    }
}
