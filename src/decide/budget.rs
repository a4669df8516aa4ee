//! How many rollbacks of one workload go ahead before people are asked.

use jiff::Timestamp;

use super::{Attempt, Budget};

/// Returns, for people, why nothing is left of `budget` at `now`; `None` where there is.
///
/// Every rollback that was decided counts, whoever decided it: releases that fail again and again are
/// a matter for people.
#[must_use]
pub fn spent(budget: &Budget, past: &[Attempt], now: Timestamp) -> Option<String> {
    let since = now.saturating_sub(budget.per).unwrap_or(Timestamp::MIN);
    let counted = past
        .iter()
        .filter(|attempt| attempt.decided.is_some_and(|decided| decided > since))
        .count();
    let counted = u32::try_from(counted).unwrap_or(u32::MAX);
    (counted >= budget.count).then(|| {
        format!(
            "{counted} rollbacks within {:#}, and the budget is {}",
            budget.per, budget.count
        )
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    #[track_caller]
    fn check(decided: &[Option<i64>], now: i64, is_spent: bool) {
        let budget = Budget {
            count: 2,
            per: SignedDuration::from_mins(60),
        };
        let past: Vec<Attempt> = decided
            .iter()
            .map(|minute| Attempt {
                decided: minute.map(at),
                ..Attempt::default()
            })
            .collect();
        assert_eq!(spent(&budget, &past, at(now)).is_some(), is_spent);
    }

    #[test]
    fn only_rollbacks_of_the_last_while_count() {
        check(&[], 100, false);
        check(&[Some(90)], 100, false);
        check(&[Some(90), Some(99)], 100, true);
        check(&[Some(40), Some(99)], 100, false);
        check(&[Some(41), Some(99)], 100, true);
        check(&[None, None, Some(99)], 100, false);
    }
}
