//! What people write on objects in annotations: the kill switch, and words about revisions.
//!
//! What is spelled wrong is never taken for something else, and never stops the reading.

use serde_json::Value;

use super::annotation;
use crate::api::names;
use crate::decide::{Mark, MarkWord, Suspension};

/// Enough for a sentence; the API server takes 256 KiB of annotations.
const REASON_MAX: usize = 256;

/// Returns the kill switch on `object`, which people know as `place`.
///
/// One whose time cannot be read still holds: whoever pulls a kill switch must not be let down by a
/// typing error.
#[must_use]
pub fn suspension(object: &Value, place: &str) -> Option<Suspension> {
    let value = annotation(object, names::SUSPEND)?.trim();
    let (until, reason) = value.split_once(' ').unwrap_or((value, ""));
    let reason = if reason.trim().is_empty() {
        "no reason given"
    } else {
        reason.trim()
    };
    Some(Suspension {
        place: place.to_owned(),
        until: until.parse().ok(),
        reason: reason.chars().take(REASON_MAX).collect(),
    })
}

/// Returns what a person says about a revision of `object`, a Deployment:
/// `<digest>/<word>:<username>: <reason>`. `None` where nothing is said.
///
/// What cannot be read names no revision, so that people are told.
#[must_use]
pub fn mark(object: &Value) -> Option<Mark> {
    let value = annotation(object, names::MARK)?;
    Some(read_mark(value).unwrap_or_else(|| Mark {
        revision: String::new(),
        word: MarkWord::Lifted,
        by: String::new(),
        reason: String::new(),
        value: value.to_owned(),
    }))
}

fn read_mark(value: &str) -> Option<Mark> {
    let (revision, rest) = value.split_once('/')?;
    let (word, rest) = rest.split_once(':')?;
    // Usernames may hold colons, but hardly one with a space behind it.
    let (by, reason) = rest.split_once(": ")?;
    let word = MarkWord::ALL
        .into_iter()
        .find(|known| known.name() == word)?;
    let fits = !by.is_empty() && !reason.trim().is_empty();
    fits.then(|| Mark {
        revision: revision.chars().take(64).collect(),
        word,
        by: by.chars().take(REASON_MAX).collect(),
        reason: reason.trim().chars().take(REASON_MAX).collect(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotated(key: &str, value: &str) -> Value {
        json!({"metadata": {"annotations": {key: value}}})
    }

    #[track_caller]
    fn check_suspension(value: &str, until: Option<&str>, reason: &str) {
        let suspension = suspension(&annotated(names::SUSPEND, value), "here").expect("it holds");
        assert_eq!(
            (
                suspension.until.map(|until| until.to_string()),
                suspension.reason
            ),
            (until.map(str::to_owned), reason.to_owned())
        );
    }

    #[test]
    fn a_kill_switch_holds_also_with_a_typing_error() {
        let until = "2026-11-23T18:00:00Z";
        check_suspension("2026-11-23T18:00:00Z big sale", Some(until), "big sale");
        check_suspension("2026-11-23T18:00:00Z", Some(until), "no reason given");
        check_suspension("tomorrow  big sale ", None, "big sale");
        check_suspension("", None, "no reason given");
        assert_eq!(suspension(&json!({}), "here"), None);
    }

    #[track_caller]
    fn check_mark(value: &str, expected: Option<(&str, MarkWord, &str, &str)>) {
        let mark = mark(&annotated(names::MARK, value)).expect("something is said");
        let mark = Some(&mark)
            .filter(|mark| !mark.revision.is_empty())
            .map(|mark| {
                (
                    mark.revision.as_str(),
                    mark.word,
                    mark.by.as_str(),
                    mark.reason.as_str(),
                )
            });
        assert_eq!(mark, expected, "{value}");
    }

    #[test]
    fn a_mark_names_revision_word_person_and_reason() {
        check_mark(
            "1a2b3c4d/Good:alice: it serves",
            Some(("1a2b3c4d", MarkWord::Good, "alice", "it serves")),
        );
        check_mark(
            "1a2b3c4d/Lifted:system:admin: fixed: the cause",
            Some((
                "1a2b3c4d",
                MarkWord::Lifted,
                "system:admin",
                "fixed: the cause",
            )),
        );
        for wrong in [
            "",
            "1a2b3c4d",
            "1a2b3c4d/Good",
            "1a2b3c4d/good:alice: it serves",
            "1a2b3c4d/Good:alice",
            "1a2b3c4d/Good:alice: ",
            "1a2b3c4d/Good:: it serves",
        ] {
            check_mark(wrong, None);
        }
    }
}
