//! What a pod template says about itself, as far as going back to it depends on it.

use std::collections::BTreeMap;
use std::fmt;

use super::ConfigUses;

/// What is known of a recorded template without looking anywhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Digest of what the pods run: the template without its labels and annotations.
    pub substance: String,
    /// The database schema that it migrates to.
    pub schema: Option<Schema>,
    /// The database schemas that it can run on.
    pub compatible: Option<Compatible>,
    /// The labels of its pods, by which Services select them.
    pub labels: BTreeMap<String, String>,
    /// Persistent volume claims that its pods mount by name.
    pub claims: Vec<String>,
    /// The ConfigMaps and Secrets that its pods read.
    pub uses: ConfigUses,
}

/// A database schema, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    Number(u64),
    /// What stands there is no number.
    NotUnderstood(String),
}

/// The schemas that a version can run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compatible {
    /// Inclusive ranges.
    Ranges(Vec<(u64, u64)>),
    /// What stands there are no numbers or ranges.
    NotUnderstood(String),
}

/// How the schema that the database has now fits a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Nobody said anything, or it fits.
    Fits,
    /// It does not; the text names the boundary.
    Incompatible(String),
    /// It cannot be told; the text says what is missing.
    Unknown(String),
}

/// More ranges than anybody writes down by hand.
const RANGES_MAX: usize = 32;

impl Schema {
    /// Reads `astern.dev/schema`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        text.trim()
            .parse()
            .map_or_else(|_| Self::NotUnderstood(cut(text)), Self::Number)
    }
}

impl Compatible {
    /// Reads `astern.dev/compatible-schema`: numbers and ranges, separated by commas.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let ranges: Option<Vec<(u64, u64)>> =
            text.split(',').take(RANGES_MAX + 1).map(range).collect();
        match ranges {
            Some(ranges) if ranges.len() <= RANGES_MAX => Self::Ranges(ranges),
            Some(_) | None => Self::NotUnderstood(cut(text)),
        }
    }
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last))
}

impl fmt::Display for Compatible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ranges(ranges) => {
                for (index, (first, last)) in ranges.iter().enumerate() {
                    if index > 0 {
                        write!(formatter, ",")?;
                    }
                    if first == last {
                        write!(formatter, "{first}")?;
                    } else {
                        write!(formatter, "{first}-{last}")?;
                    }
                }
                Ok(())
            }
            Self::NotUnderstood(text) => write!(formatter, "{text:?}"),
        }
    }
}

/// Returns whether `target` can run on the schema that the revisions which `ran` have brought the
/// database to.
///
/// Migrations only go forward, so the highest one counts. A target that says nothing about
/// compatibility runs on its own schema only.
#[must_use]
pub fn fit<'a>(ran: impl Iterator<Item = &'a Facts>, target: &Facts) -> Fit {
    let mut highest = None;
    for facts in ran {
        match &facts.schema {
            None => (),
            Some(Schema::NotUnderstood(text)) => {
                return Fit::Unknown(format!(
                    "the schema of a revision that ran, {text:?}, is not a number such as 42"
                ));
            }
            Some(Schema::Number(number)) => highest = highest.max(Some(*number)),
        }
    }
    let Some(now) = highest else {
        return Fit::Fits;
    };
    match (&target.compatible, &target.schema) {
        (Some(compatible @ Compatible::Ranges(ranges)), _) => {
            if ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&now))
            {
                Fit::Fits
            } else {
                Fit::Incompatible(format!(
                    "the database is at schema {now}, and the target runs on {compatible}"
                ))
            }
        }
        (Some(compatible @ Compatible::NotUnderstood(_)), _) => Fit::Unknown(format!(
            "the schemas that the target runs on, {compatible}, are not numbers or ranges such as 40-42"
        )),
        (None, Some(Schema::Number(own))) if *own == now => Fit::Fits,
        (None, Some(Schema::Number(own))) => Fit::Incompatible(format!(
            "the database is at schema {now}, and the target names no other than its own, {own}"
        )),
        (None, Some(Schema::NotUnderstood(text))) => Fit::Unknown(format!(
            "the schema of the target, {text:?}, is not a number such as 42"
        )),
        (None, None) => Fit::Unknown(format!(
            "the database is at schema {now}, and the target does not say what it runs on"
        )),
    }
}

/// Enough to find it again, and short enough for a message.
fn cut(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    text.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(schema: &str, compatible: &str) -> Facts {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Facts {
            schema: given(schema).map(|text| Schema::read(&text)),
            compatible: given(compatible).map(|text| Compatible::read(&text)),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check(current: &str, target: (&str, &str), expected: &str) {
        let fit = fit([facts(current, "")].iter(), &facts(target.0, target.1));
        let text = match fit {
            Fit::Fits => "fits".to_owned(),
            Fit::Incompatible(text) => format!("no: {text}"),
            Fit::Unknown(text) => format!("?: {text}"),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn a_target_must_run_on_the_schema_that_the_database_has() {
        check("", ("41", "40-41"), "fits");
        check("42", ("41", "40-42"), "fits");
        check("42", ("41", "39, 41-42"), "fits");
        check("42", ("42", ""), "fits");
        check(
            "43",
            ("41", "40-42"),
            "no: the database is at schema 43, and the target runs on 40-42",
        );
        check(
            "43",
            ("41", "39,41-42"),
            "no: the database is at schema 43, and the target runs on 39,41-42",
        );
        check(
            "42",
            ("41", ""),
            "no: the database is at schema 42, and the target names no other than its own, 41",
        );
    }

    #[test]
    fn what_cannot_be_told_is_not_taken_to_fit() {
        for (current, target) in [
            ("42", ("", "")),
            ("42", ("41", "forty")),
            ("42", ("41", "42-40")),
            ("42", ("4x", "")),
            ("latest", ("41", "40-42")),
        ] {
            let fit = fit([facts(current, "")].iter(), &facts(target.0, target.1));
            assert!(
                matches!(fit, Fit::Unknown(_)),
                "{current} {target:?}: {fit:?}"
            );
        }
    }

    #[test]
    fn the_database_stands_where_the_furthest_migration_brought_it() {
        let ran = [
            facts("41", ""),
            facts("43", ""),
            facts("", ""),
            facts("42", ""),
        ];
        let fit = fit(ran.iter(), &facts("41", "40-42"));
        let Fit::Incompatible(text) = fit else {
            panic!("{fit:?}");
        };
        assert!(text.contains("schema 43"), "{text}");
    }

    #[test]
    fn endless_lists_are_not_understood() {
        let many = vec!["1"; 33].join(",");
        assert!(matches!(
            Compatible::read(&many),
            Compatible::NotUnderstood(_)
        ));
        let fits = vec!["1"; 32].join(",");
        assert!(matches!(Compatible::read(&fits), Compatible::Ranges(_)));
    }
}
