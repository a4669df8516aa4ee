//! Rows of an answer kept with their labels, for what only a backtest asks: kube-state-metrics, and
//! counts of pods.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::observe::prometheus::answer;

/// One series: its labels, and its values in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub labels: BTreeMap<&'static str, String>,
    pub values: Vec<(Timestamp, f64)>,
}

impl Row {
    /// Returns the value of a label; empty where it is absent, as in `PromQL`.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Returns a value as a number of things. What is negative or no number counts nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float to an integer saturates, and takes NaN for zero"
)]
#[must_use]
pub const fn whole(value: f64) -> u32 {
    value as u32
}

/// Takes rows, and of each the labels that matter.
#[derive(Debug)]
pub struct Rows {
    labels: &'static [&'static str],
    pub rows: Vec<Row>,
}

impl Rows {
    /// Returns none yet, of which `labels` will matter.
    #[must_use]
    pub const fn with(labels: &'static [&'static str]) -> Self {
        Self {
            labels,
            rows: Vec::new(),
        }
    }
}

impl answer::Sink for Rows {
    fn keeps(&self, label: &str) -> bool {
        self.labels.contains(&label)
    }

    fn row(&mut self, row: &answer::Row<'_>) -> Result<(), &'static str> {
        let labels = self.labels.iter();
        let values = row.values.iter();
        self.rows.push(Row {
            labels: labels
                .filter_map(|name| Some((*name, row.labels.get(name)?.to_owned())))
                .collect(),
            values: values
                .filter_map(|(at, value)| Some((Timestamp::from_millisecond(*at).ok()?, *value)))
                .collect(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_that_matter_are_kept_with_the_values() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"pod":"a","uid":"5eed"},"values":[[1700000000.25,"3"]]}]}}"#;
        let mut rows = Rows::with(&["pod", "container"]);
        answer::read(body, false, &mut rows).expect("rows");
        let [row] = &rows.rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!(
            (row.label("pod"), row.label("container"), row.label("uid")),
            ("a", "", "")
        );
        let at: Timestamp = "2023-11-14T22:13:20.25Z".parse().expect("a time");
        assert_eq!(row.values, [(at, 3.0)]);
    }
}
