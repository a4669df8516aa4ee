//! The last drill, as an annotation: `<time> <outcome> <detail>`.

use crate::decide::{DrillOutcome, Drilled};

/// Returns the annotation that remembers `drilled`.
#[must_use]
pub fn to_text(drilled: &Drilled) -> String {
    let Drilled {
        at,
        outcome,
        detail,
    } = drilled;
    format!("{at} {} {detail}", outcome.name())
}

/// Returns what `text` remembers. What makes no sense is as good as no drill: the next one is due sooner.
#[must_use]
pub fn from_text(text: &str) -> Option<Drilled> {
    let (at, rest) = text.split_once(' ')?;
    let (outcome, detail) = rest.split_once(' ')?;
    Some(Drilled {
        at: at.parse().ok()?,
        outcome: DrillOutcome::named(outcome)?,
        detail: detail.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::decide::Hold;

    #[test]
    fn a_drill_is_read_as_it_was_written() {
        let outcomes = [DrillOutcome::Ready, DrillOutcome::NoApprover];
        let holds = Hold::ALL.into_iter().map(DrillOutcome::Held);
        for outcome in outcomes.into_iter().chain(holds) {
            for detail in ["", "no revision is known: deploy one"] {
                let drilled = Drilled {
                    at: Timestamp::UNIX_EPOCH,
                    outcome,
                    detail: detail.to_owned(),
                };
                assert_eq!(from_text(&to_text(&drilled)), Some(drilled));
            }
        }
        for text in ["", "yesterday Ready ", "1970-01-01T00:00:00Z Splendid "] {
            assert_eq!(from_text(text), None, "{text:?}");
        }
    }
}
