//! What really happened after a decision: how much failed, whether it ended by itself, and so whether
//! the decision would have been right.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::desk::{About, Desk};
use super::history::Release;
use super::judged::Step;
use super::recording::Recording;
use super::replay::Replay;
use super::span::{Span, Spelled, earlier, later};
use crate::decide::detectors::counted;
use crate::decide::{Counted, Counters, Ratio, Reading, Trigger, TriggerKind, Unknown};

/// A release that stays this long after the decision was not thought to be bad by anybody.
pub const STAYED: SignedDuration = SignedDuration::from_hours(1);

/// What is over within this time was over before most people would have found the release.
pub const ENDED: SignedDuration = SignedDuration::from_mins(30);

/// What failed is counted for this long: a release that fails for more than a day is known to.
pub const COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// Pods of a release that was replaced go on answering while the next one rolls out.
const DRAIN: SignedDuration = SignedDuration::from_mins(10);

/// Between two looks at what the trigger says afterwards. Finer than any `for` that matters here, and
/// finer still where there is less to look at.
const LOOK: SignedDuration = SignedDuration::from_secs(30);
const LOOK_MIN: SignedDuration = SignedDuration::from_secs(1);
const LOOKS: i32 = 40;

/// Whether a decision would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Judgement {
    /// What was wrong did not end by itself.
    Justified,
    /// It ended by itself soon, and the release stayed.
    FalseAlarm,
    /// Neither can be said.
    Unclear,
}

impl Judgement {
    /// The spelling in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Justified => "Justified",
            Self::FalseAlarm => "FalseAlarm",
            Self::Unclear => "Unclear",
        }
    }
}

/// What happened after a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Aftermath {
    pub counted: Option<Counted>,
    /// Those that would have failed at the rate of the revision before.
    pub expected: Option<f64>,
    /// Until when requests were counted.
    pub until: Timestamp,
    /// It went on failing for longer than it was counted.
    pub cut: bool,
    /// When the trigger passed for good, within the time that was looked at.
    pub ended: Option<Timestamp>,
    pub judgement: Judgement,
    /// In a sentence.
    pub because: String,
}

impl Aftermath {
    /// Returns how many failed requests a rollback at the time of the decision would have saved, at
    /// most: some fail while the rollback itself rolls out.
    #[must_use]
    pub fn saved(&self) -> Option<f64> {
        let counted = self.counted?;
        Some(match self.judgement {
            // What ended by itself would have ended without Astern too.
            Judgement::FalseAlarm => 0.0,
            Judgement::Justified | Judgement::Unclear => {
                (counted.failed - self.expected.unwrap_or_default()).max(0.0)
            }
        })
    }
}

/// What `step` led to, had it not been taken: the release as it really went on.
///
/// `before` is the recording in which the decision was made.
///
/// # Errors
///
/// When the source does not answer.
pub async fn of(
    desk: &Desk<'_>,
    replay: &Replay<'_>,
    (release, before): (&Release, &Recording),
    step: &Step,
    range: Span,
) -> anyhow::Result<Aftermath> {
    let gone = later(release.end(range), DRAIN).min(range.until);
    let until = gone.min(later(step.at, COUNTED));
    let known = before.shapes().map(|(name, id)| (name.clone(), id));
    let after = desk
        .record(About {
            release,
            span: Span {
                from: desk.lead(step.at),
                until,
            },
            known: &known.collect(),
        })
        .await?;
    let trigger = counting_trigger(desk, release, &after, step);
    let whole = |recording: &Recording| {
        trigger.and_then(|trigger| recording.whole(trigger, desk.subject, release))
    };
    // Where all revisions are counted together, the next one is not to be counted with this one.
    let all_together = whole(&after).is_some_and(|counters| counters.before_and_after);
    let until = if all_together {
        until.min(release.end(range))
    } else {
        until
    };
    let counted_after =
        whole(&after).map(|own| counted(&own.new, until.duration_since(step.at), until));
    let share = whole(before).and_then(|counters| share_before(&counters, release, step.at));
    let seen = Span {
        from: step.at,
        until: release.end(range).min(later(step.at, STAYED)).min(until),
    };
    let course = course(replay, (release, &after), &step.trigger, seen);
    let (judgement, because) = judged(course, (release, step.at), range);
    Ok(Aftermath {
        counted: counted_after,
        expected: counted_after
            .zip(share)
            .map(|(all, share)| all.total * share.0),
        until,
        cut: until < gone,
        ended: course.ended,
        judgement,
        because,
    })
}

/// The trigger that counts requests: the one that was breached, or else the first that has data.
fn counting_trigger<'a>(
    desk: &'a Desk<'_>,
    release: &Release,
    after: &Recording,
    step: &Step,
) -> Option<&'a Trigger> {
    let counts = |trigger: &&Trigger| {
        let whole = after.whole(trigger, desk.subject, release);
        whole.is_some_and(|counters| !counters.new.is_empty())
    };
    let is_rate = |trigger: &&Trigger| matches!(trigger.kind, TriggerKind::ErrorRate(_));
    let rates = desk.triggers.iter().filter(is_rate).filter(counts);
    let own = rates.clone().find(|trigger| trigger.name == step.trigger);
    own.or_else(|| rates.clone().next())
}

/// What the revisions before failed at, as far as they were still counted at the decision.
fn share_before(counters: &Counters, release: &Release, at: Timestamp) -> Option<Ratio> {
    let since = earlier(release.from, SignedDuration::from_mins(15));
    let counted = counted(&counters.old, at.duration_since(since), at);
    (counted.total > 0.0).then(|| counted.failed_share())
}

/// What a trigger said after the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Course {
    /// Whether it said anything at all.
    known: bool,
    /// The first time that it passed after the last time that it did not.
    ended: Option<Timestamp>,
}

fn course(
    replay: &Replay<'_>,
    (release, after): (&Release, &Recording),
    trigger: &str,
    seen: Span,
) -> Course {
    let mut course = Course::default();
    let look = (seen.length() / LOOKS).clamp(LOOK_MIN, LOOK);
    let mut now = later(seen.from, look);
    while now <= seen.until {
        match replay.reading((release, after), trigger, now) {
            Some(Reading::Passing(_)) => {
                course.known = true;
                course.ended = course.ended.or(Some(now));
            }
            Some(
                Reading::Breached(_)
                | Reading::Unknown(
                    Unknown::NotLongEnough { .. }
                    | Unknown::NotConclusive { .. }
                    | Unknown::BadBefore { .. },
                ),
            ) => {
                course.known = true;
                course.ended = None;
            }
            Some(Reading::Unknown(_)) | None => {}
        }
        now = later(now, look);
    }
    course
}

fn judged(
    course: Course,
    (release, at): (&Release, Timestamp),
    range: Span,
) -> (Judgement, String) {
    let stayed = release.end(range).duration_since(at);
    let is_replaced = release.until.is_some_and(|until| until <= range.until);
    if !course.known {
        let because = "nothing was recorded of what the trigger said afterwards";
        return (Judgement::Unclear, because.to_owned());
    }
    let Some(ended) = course.ended.map(|ended| ended.duration_since(at)) else {
        if !is_replaced && stayed < ENDED {
            let because = format!("the range ends {} after the decision", Spelled(stayed));
            return (Judgement::Unclear, because);
        }
        let until = if is_replaced && stayed <= STAYED {
            "until the release was replaced".to_owned()
        } else {
            format!("for {} at least", Spelled(stayed.min(STAYED)))
        };
        return (Judgement::Justified, format!("it went on {until}"));
    };
    if ended > ENDED {
        let because = format!("it ended by itself only after {}", Spelled(ended));
        return (Judgement::Justified, because);
    }
    if stayed >= STAYED {
        let because = format!(
            "it ended by itself after {}, and the release stayed",
            Spelled(ended)
        );
        return (Judgement::FalseAlarm, because);
    }
    let end = if is_replaced {
        "the release was replaced"
    } else {
        "the range ends"
    };
    let because = format!(
        "it ended by itself after {}, but {end} {} after the decision",
        Spelled(ended),
        Spelled(stayed)
    );
    (Judgement::Unclear, because)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::backtest::history::Dated;
    use crate::decide::Revision;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1_000_000 + minute)
    }

    /// A release that is decided on at minute 10, in a range of ten hours.
    #[track_caller]
    fn check(known: bool, ended: Option<i64>, until: Option<i64>, expected: Judgement, why: &str) {
        check_in(600, (known, ended, until), expected, why);
    }

    #[track_caller]
    fn check_in(
        range: i64,
        (known, ended, until): (bool, Option<i64>, Option<i64>),
        expected: Judgement,
        why: &str,
    ) {
        let release = Release {
            set: "checkout-b".to_owned(),
            revision: Revision("b".to_owned()),
            number: Some(2),
            images: Vec::new(),
            created: None,
            from: at(0),
            dated: Dated::Created,
            until: until.map(at),
            rolled_out: None,
        };
        let course = Course {
            known,
            ended: ended.map(at),
        };
        let range = Span {
            from: at(-600),
            until: at(range),
        };
        let (judgement, because) = judged(course, (&release, at(10)), range);
        assert_eq!(judgement, expected, "{because}");
        assert!(because.contains(why), "{because}");
    }

    #[test]
    fn what_ends_by_itself_while_the_release_stays_is_a_false_alarm() {
        check(true, Some(15), None, Judgement::FalseAlarm, "after 5m");
        check(true, Some(40), Some(70), Judgement::FalseAlarm, "stayed");
    }

    #[test]
    fn what_goes_on_or_ends_late_is_justified() {
        check(
            true,
            None,
            Some(30),
            Judgement::Justified,
            "until the release was replaced",
        );
        check(true, None, None, Judgement::Justified, "for 1h at least");
        check(true, Some(41), None, Judgement::Justified, "only after 31m");
    }

    #[test]
    fn what_was_not_seen_for_long_enough_is_unclear() {
        check(
            true,
            Some(15),
            Some(69),
            Judgement::Unclear,
            "was replaced 59m after",
        );
        check(
            false,
            None,
            None,
            Judgement::Unclear,
            "nothing was recorded",
        );
        let short = (true, None, None);
        check_in(30, short, Judgement::Unclear, "range ends 20m after");
        check_in(40, short, Judgement::Justified, "it went on");
        check_in(
            60,
            (true, Some(15), None),
            Judgement::Unclear,
            "the range ends 50m",
        );
    }

    #[test]
    fn what_would_have_failed_anyway_is_not_saved() {
        let aftermath = |failed, expected| Aftermath {
            counted: Some(Counted {
                total: 1000.0,
                failed,
            }),
            expected,
            until: at(20),
            cut: false,
            ended: None,
            judgement: Judgement::Justified,
            because: String::new(),
        };
        assert_eq!(aftermath(300.0, Some(10.0)).saved(), Some(290.0));
        assert_eq!(aftermath(300.0, None).saved(), Some(300.0));
        assert_eq!(aftermath(5.0, Some(10.0)).saved(), Some(0.0));
        let false_alarm = Aftermath {
            judgement: Judgement::FalseAlarm,
            ..aftermath(300.0, None)
        };
        assert_eq!(false_alarm.saved(), Some(0.0));
    }
}
