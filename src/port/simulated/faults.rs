//! What can be made to go wrong.

use jiff::{SignedDuration, Timestamp};

use super::writes::Verb;
use crate::port::{Error, Kind};

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// Refused with this error, not carried out.
    Refused(Error),
    /// Not carried out, and the caller cannot know.
    RequestLost,
    /// Carried out, and the caller cannot know.
    AnswerLost,
    /// Not carried out, and the caller only knows when its time limit is over.
    Hangs,
}

/// Which calls a fault meets: after `skip` that fit, the next `times`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRule {
    /// `None`: every call.
    pub verb: Option<Verb>,
    /// `None`: every kind.
    pub kind: Option<Kind>,
    pub skip: u32,
    pub times: u32,
    pub fault: ApiFault,
}

impl ApiRule {
    /// Returns the rule that meets the next `verb` on `kind`, once.
    #[must_use]
    pub fn next(verb: Verb, kind: Kind, fault: ApiFault) -> Self {
        Self {
            verb: Some(verb),
            kind: Some(kind),
            skip: 0,
            times: 1,
            fault,
        }
    }
}

/// How the metric source answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MetricsFault {
    #[default]
    None,
    /// Refuses connections.
    Down,
    /// Answers after this time, or not within the caller's limit.
    Slow(SignedDuration),
    /// Answers with this HTTP status.
    Status(u16),
    /// Answers 200 with something that is no JSON.
    Garbage,
    /// Answers 200 with `"status": "error"`.
    Failing,
    /// Knows no series.
    Empty,
    /// Every value is not a number.
    NotANumber,
    /// The right answer, with a warning that it is partial.
    Warning,
    /// More than the caller wants to read.
    TooLarge,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) rules: Vec<ApiRule>,
    pub(super) metrics: MetricsFault,
    /// How often all watches were told that their place is forgotten.
    pub(super) watches_expired: u64,
    /// Until then no watch tells anything.
    pub(super) watches_stalled_until: Option<Timestamp>,
}

impl Faults {
    /// Returns what meets the call, and counts it.
    pub(super) fn meeting(&mut self, verb: Verb, kind: Kind) -> Option<ApiFault> {
        let fits = |rule: &ApiRule| {
            rule.verb.is_none_or(|one| one == verb) && rule.kind.is_none_or(|one| one == kind)
        };
        for rule in self.rules.iter_mut().filter(|rule| fits(rule)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }
}
