//! When many workloads go bad at once, the fault is not in their releases.
//!
//! The breaker opens then, and everything becomes a proposal until a person resets it.

use jiff::SignedDuration;

use super::Ratio;

/// When the breaker opens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerTerms {
    /// This many rollbacks that nobody was asked for are let through within `window`.
    pub count: u32,
    pub window: SignedDuration,
    /// This share of the watched workloads going bad within `window` opens it too.
    pub share: Ratio,
    /// Fewer workloads than this are no share of anything: two of four may be two bad releases.
    pub least: u32,
}

impl Default for BreakerTerms {
    fn default() -> Self {
        Self {
            count: 10,
            window: SignedDuration::from_mins(10),
            share: Ratio(0.25),
            least: 5,
        }
    }
}

/// What went on in the cluster within the window, before the rollback that is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    /// Rollbacks that nobody was asked for.
    pub rollbacks: u32,
    /// Workloads that went bad, the one that is asked about included.
    pub bad: u32,
    pub watched: u32,
}

/// Returns, for people, why one more rollback that nobody is asked for would be too many.
#[must_use]
pub fn trips(terms: &BreakerTerms, storm: &Storm) -> Option<String> {
    if storm.rollbacks >= terms.count {
        return Some(format!(
            "{} automatic rollbacks within {:#}",
            storm.rollbacks, terms.window
        ));
    }
    let share = Ratio(f64::from(storm.bad) / f64::from(storm.watched.max(1)));
    (storm.bad >= terms.least && share >= terms.share).then(|| {
        format!(
            "{} of {} watched workloads went bad within {:#}",
            storm.bad, storm.watched, terms.window
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rollbacks: u32, bad: u32, watched: u32, is_open: bool) {
        let storm = Storm {
            rollbacks,
            bad,
            watched,
        };
        assert_eq!(
            trips(&BreakerTerms::default(), &storm).is_some(),
            is_open,
            "{storm:?}"
        );
    }

    #[test]
    fn the_allowed_number_goes_through_and_no_more() {
        check(0, 1, 1000, false);
        check(9, 10, 1000, false);
        check(10, 11, 1000, true);
    }

    #[test]
    fn a_share_of_all_workloads_opens_it_sooner() {
        check(2, 9, 40, false);
        check(2, 10, 40, true);
        check(1, 4, 4, false);
        check(1, 5, 5, true);
        check(0, 5, 0, true);
    }
}
