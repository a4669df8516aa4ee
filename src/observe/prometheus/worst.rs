//! The worst value of an expression at each time.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::answer::{Millisecond, Row, Sink};
use crate::decide::{Bound, ValueAt};

/// Keeps of all rows the value that comes nearest to a breach.
pub struct Worst {
    bound: Bound,
    values: BTreeMap<Millisecond, f64>,
}

impl Worst {
    /// Returns one that has seen nothing.
    #[must_use]
    pub fn new(bound: Bound) -> Self {
        Self {
            bound,
            values: BTreeMap::new(),
        }
    }

    /// Returns the worst value at each time, in order.
    #[must_use]
    pub fn values(self) -> Vec<ValueAt> {
        let values = self.values.into_iter();
        values
            .filter_map(|(at, value)| {
                let at = Timestamp::from_millisecond(at).ok()?;
                Some(ValueAt { at, value })
            })
            .collect()
    }
}

impl Sink for Worst {
    fn keeps(&self, _: &str) -> bool {
        false
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        if !row.histograms.is_empty() {
            return Err("the query gives histograms; use histogram_quantile or histogram_fraction");
        }
        for (at, value) in &row.values {
            let worst = self.values.entry(*at).or_insert(*value);
            // Not a number is never dropped: nothing is known about what it stands for.
            let is_nearer = match self.bound {
                Bound::Above(_) => *value > *worst,
                Bound::Below(_) => *value < *worst,
            };
            if value.is_nan() || (is_nearer && !worst.is_nan()) {
                *worst = *value;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bound: Bound, values: &[f64], expected: f64) {
        let mut worst = Worst::new(bound);
        for value in values {
            let row = Row {
                values: vec![(1000, *value)],
                ..Row::default()
            };
            worst.row(&row).expect("values");
        }
        let found = worst.values()[0].value;
        assert!(
            found.total_cmp(&expected).is_eq(),
            "{found} instead of {expected}"
        );
    }

    #[test]
    fn the_value_nearest_to_a_breach_counts() {
        check(Bound::Above(10.0), &[3.0, 12.0, 7.0], 12.0);
        check(Bound::Below(10.0), &[3.0, 12.0, 7.0], 3.0);
    }

    #[test]
    fn not_a_number_is_not_hidden_by_a_number() {
        check(Bound::Above(10.0), &[3.0, f64::NAN, 7.0], f64::NAN);
        check(Bound::Below(10.0), &[f64::NAN, 7.0], f64::NAN);
    }
}
