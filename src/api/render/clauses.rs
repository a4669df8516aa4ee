//! What was found out, as clauses of the messages about an incident. A message becomes an Event, whose
//! note ends after 1,024 bytes, so each clause has its share of that.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::decide::diagnosis::line;
use crate::decide::{Found, Impact};

/// Of what ended an incident or was measured. A refusal by admission may be as long as it likes; the
/// record has all of it.
const TEXT_MAX: usize = 400;
/// Of what was seen, and of what to try.
const SAW_MAX: usize = 160;
const ATTEMPT_MAX: usize = 180;
/// Of a name. Longer ones are rare, and the record has them whole.
const NAME_MAX: usize = 63;

/// Returns `text` as short as a message wants it.
pub(super) fn short(text: &str) -> String {
    line(text, TEXT_MAX)
}

/// Says that the pods read copies of ConfigMaps, after a semicolon; empty where they do not.
pub(super) fn pinned(copies: &BTreeMap<String, String>) -> String {
    let Some((first, copy)) = copies.first_key_value() else {
        return String::new();
    };
    let more = match copies.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "; its pods read the pinned copy {} of configmap {}{more}, until the next deploy",
        line(copy, NAME_MAX),
        line(first, NAME_MAX)
    )
}

/// Returns what a revision cost and what to try about it, each after a semicolon; empty where nothing
/// was found.
pub(super) fn found(found: &Found) -> String {
    let cost = found.impact.filter(|impact| impact.failed > 0);
    let cost = cost.map(|impact| format!("; {}", cost_of(&impact)));
    format!(
        "{}{}",
        cost.unwrap_or_default(),
        cause(found).unwrap_or_default()
    )
}

fn cost_of(impact: &Impact) -> String {
    let at_least = if impact.at_least { "at least " } else { "" };
    let requests = if impact.failed == 1 {
        "request"
    } else {
        "requests"
    };
    let together = if impact.all_revisions {
        ", all revisions counted together"
    } else {
        ""
    };
    let same_day = date(impact.from) == date(impact.until);
    let time = |time: Timestamp| {
        let shape = if same_day {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        time.strftime(shape).to_string()
    };
    format!(
        "{at_least}{} {requests} failed between {} and {} UTC{together}",
        impact.failed,
        time(impact.from),
        time(impact.until),
    )
}

fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// The first finding is the nearest to the cause. One that only says what Astern may not look at helps
/// nobody here.
fn cause(found: &Found) -> Option<String> {
    let first = found.diagnosis.first()?;
    (first.about != "astern").then(|| {
        format!(
            "; {}: {}; try: {}",
            line(&first.about, SAW_MAX),
            line(&first.saw, SAW_MAX),
            line(&first.attempt, ATTEMPT_MAX)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Finding;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn impact() -> Impact {
        Impact {
            failed: 412,
            total: 2000,
            from: at("2026-11-23T10:01:30.4Z"),
            until: at("2026-11-23T10:02:10Z"),
            at_least: false,
            all_revisions: false,
        }
    }

    #[track_caller]
    fn check(impact: Impact, expected: &str) {
        let clauses = found(&Found {
            impact: Some(impact),
            ..Found::default()
        });
        assert_eq!(clauses, expected);
    }

    #[test]
    fn the_cost_is_one_clause_and_nothing_where_nothing_failed() {
        check(
            impact(),
            "; 412 requests failed between 10:01:30 and 10:02:10 UTC",
        );
        check(
            Impact {
                failed: 0,
                ..impact()
            },
            "",
        );
        check(
            Impact {
                failed: 1,
                at_least: true,
                all_revisions: true,
                ..impact()
            },
            "; at least 1 request failed between 10:01:30 and 10:02:10 UTC, all revisions counted together",
        );
        check(
            Impact {
                from: at("2026-11-22T23:59:59Z"),
                ..impact()
            },
            "; 412 requests failed between 2026-11-22 23:59:59 and 2026-11-23 10:02:10 UTC",
        );
    }

    #[test]
    fn the_first_finding_says_what_to_try_unless_it_is_about_rights() {
        let finding = |about: &str| Finding {
            about: about.to_owned(),
            saw: "container \"app\" ends with exit code 3".to_owned(),
            attempt: "read its log".to_owned(),
        };
        let with = |findings: Vec<Finding>| {
            found(&Found {
                diagnosis: findings,
                ..Found::default()
            })
        };
        assert_eq!(
            with(vec![finding("pod/a"), finding("pod/b")]),
            "; pod/a: container \"app\" ends with exit code 3; try: read its log"
        );
        assert_eq!(with(vec![finding("astern")]), "");
        assert_eq!(with(Vec::new()), "");
    }

    #[test]
    fn pinned_config_is_one_clause() {
        let copies = |names: &[&str]| {
            let copies = names.iter();
            copies
                .map(|name| ((*name).to_owned(), format!("{name}-astern-1")))
                .collect()
        };
        assert_eq!(pinned(&copies(&[])), "");
        assert_eq!(
            pinned(&copies(&["web"])),
            "; its pods read the pinned copy web-astern-1 of configmap web, until the next deploy"
        );
        assert_eq!(
            pinned(&copies(&["web", "www"])),
            "; its pods read the pinned copy web-astern-1 of configmap web and 1 more, until the next deploy"
        );
    }

    #[test]
    fn all_clauses_fit_an_event() {
        let long = "x".repeat(5000);
        let clauses = found(&Found {
            impact: Some(impact()),
            diagnosis: vec![Finding {
                about: format!("pod/{}", "p".repeat(60)),
                saw: long.clone(),
                attempt: long.clone(),
            }],
            ..Found::default()
        });
        assert!(
            clauses.len() + short(&long).len() < 940,
            "{}",
            clauses.len()
        );
    }
}
