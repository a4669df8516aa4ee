//! What is wrong with a revision's pods, as far as the cluster tells: lines for people.
//!
//! Nothing is decided by them, and none of them shows what config holds. How they come about stands in
//! `observe::diagnosis`.

use std::collections::BTreeMap;

/// As many as people read, and as fit into a record of a few kilobytes.
pub const FINDINGS_MAX: usize = 16;

/// Characters of each text: a long line of a terminal, or two.
pub const TEXT_MAX: usize = 256;

/// One thing that was seen, and what to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Such as `pod/checkout-7d9f-x2`.
    pub about: String,
    pub saw: String,
    pub attempt: String,
}

/// How near a finding is to the cause, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It keeps pods from being made or started.
    Blocks,
    /// Containers end.
    Crashes,
    /// They run and do not get ready.
    Fails,
    /// The cluster warned of it.
    Warns,
    /// It is at work around the pods and may or may not have to do with it.
    Surrounds,
    /// It could not be looked at.
    Unseen,
}

/// A finding with what it is grouped and ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    pub weight: Weight,
    /// Findings of one weight and key are the same thing, seen on several objects.
    pub key: String,
    pub finding: Finding,
}

/// Returns one finding for each thing, the worst first, and of those of one weight what is seen most;
/// at most [`FINDINGS_MAX`], and each text at most [`TEXT_MAX`] characters long.
///
/// Of the same thing on several objects the first one speaks, and the others are counted.
#[must_use]
pub fn worst_first(found: impl IntoIterator<Item = Weighed>) -> Vec<Finding> {
    let mut groups: BTreeMap<(Weight, String), Group> = BTreeMap::new();
    for Weighed {
        weight,
        key,
        finding,
    } in found
    {
        let group = groups.entry((weight, key)).or_insert_with(|| Group {
            about: Vec::new(),
            finding: finding.clone(),
        });
        if !group.about.contains(&finding.about) {
            group.about.push(finding.about);
        }
    }
    let mut groups: Vec<((Weight, String), Group)> = groups.into_iter().collect();
    groups.sort_by_key(|((weight, _), group)| (*weight, usize::MAX - group.about.len()));
    let findings = groups.into_iter().map(|(_, group)| group.finding());
    findings.take(FINDINGS_MAX).collect()
}

struct Group {
    /// Every object that it was seen on.
    about: Vec<String>,
    finding: Finding,
}

impl Group {
    fn finding(self) -> Finding {
        let Finding {
            about,
            saw,
            attempt,
        } = self.finding;
        let about = match self.about.len().saturating_sub(1) {
            0 => about,
            more => format!("{about} and {more} more"),
        };
        Finding {
            about: line(&about, TEXT_MAX),
            saw: line(&saw, TEXT_MAX),
            attempt: line(&attempt, TEXT_MAX),
        }
    }
}

/// Returns `text` on one line of at most `limit` characters, without those that steer a terminal or
/// change the direction of writing.
#[must_use]
pub fn line(text: &str, limit: usize) -> String {
    let printable = text.chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    let printable: String = printable.filter(|character| !steers(*character)).collect();
    let words: Vec<&str> = printable.split_whitespace().collect();
    let mut line = words.join(" ");
    if line.chars().count() > limit {
        let kept = line.char_indices().nth(limit.saturating_sub(1));
        line.truncate(kept.map_or(0, |(end, _)| end));
        line.push('…');
    }
    line
}

/// Marks of no width, by which a text can look like another.
const fn steers(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(weight: Weight, key: &str, about: &str) -> Weighed {
        Weighed {
            weight,
            key: key.to_owned(),
            finding: Finding {
                about: about.to_owned(),
                saw: format!("{key} on {about}"),
                attempt: "look".to_owned(),
            },
        }
    }

    #[track_caller]
    fn check(found: Vec<Weighed>, expected: &[&str]) {
        let findings = worst_first(found);
        let about: Vec<&str> = findings.iter().map(|one| one.about.as_str()).collect();
        assert_eq!(about, expected);
    }

    #[test]
    fn the_worst_comes_first_and_then_what_is_seen_most() {
        check(
            vec![
                seen(Weight::Surrounds, "hpa", "hpa/a"),
                seen(Weight::Crashes, "exit", "pod/b"),
                seen(Weight::Blocks, "image", "pod/c"),
                seen(Weight::Blocks, "quota", "replicaset/d"),
                seen(Weight::Blocks, "quota", "replicaset/e"),
            ],
            &["replicaset/d and 1 more", "pod/c", "pod/b", "hpa/a"],
        );
    }

    #[test]
    fn the_same_on_one_object_is_one() {
        let twice = seen(Weight::Fails, "probe", "pod/a");
        check(vec![twice.clone(), twice], &["pod/a"]);
    }

    #[test]
    fn the_first_speaks_for_all() {
        let found = ["pod/a", "pod/b", "pod/c"].map(|about| seen(Weight::Fails, "probe", about));
        assert_eq!(
            worst_first(found),
            [Finding {
                about: "pod/a and 2 more".to_owned(),
                saw: "probe on pod/a".to_owned(),
                attempt: "look".to_owned(),
            }]
        );
    }

    #[test]
    fn the_number_of_findings_is_bounded() {
        let many = |count: usize| {
            let found =
                (0..count).map(|number| seen(Weight::Warns, &format!("{number:03}"), "pod/a"));
            worst_first(found).len()
        };
        assert_eq!((many(16), many(17)), (16, 16));
    }

    #[test]
    fn texts_are_lines_of_bounded_length() {
        for (text, limit, expected) in [
            ("plain", 5, "plain"),
            ("longer", 5, "long…"),
            ("größe!", 5, "größ…"),
            ("two\nlines\tand  spaces", 40, "two lines and spaces"),
            ("\u{1b}[31mred\u{0}", 40, "[31mred"),
            ("tx\u{202e}fdp.exe", 40, "txfdp.exe"),
            ("any", 0, "…"),
        ] {
            assert_eq!(line(text, limit), expected);
        }
        let mut long = seen(Weight::Warns, "key", "pod/a");
        long.finding.saw = "x".repeat(1000);
        assert_eq!(worst_first([long])[0].saw.chars().count(), TEXT_MAX);
    }
}
