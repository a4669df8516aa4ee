//! Series as a metric source sends them, for what only a backtest asks: kube-state-metrics, counts of
//! pods, a user's own query.
//!
//! No part of a body ever goes into an error: it may be anything that the address leads to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::decide::Unknown;

/// One series: its labels, and its values in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub labels: BTreeMap<String, String>,
    pub values: Vec<(Timestamp, f64)>,
}

impl Row {
    /// Returns the value of a label; empty where it is absent, as in `PromQL`.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// One answer may hold this many series. More is a selector that went wrong, and would fill the
/// memory: a Deployment of a thousand pods has a few thousand series of each kind.
const SERIES_MAX: usize = 60_000;

#[derive(Deserialize)]
struct Body {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    warnings: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// Reads the answer to a query for a range. `accept_partial` takes one that says itself that it is
/// incomplete.
///
/// # Errors
///
/// Why it says nothing. The caller should tell the user.
pub fn read(body: &[u8], accept_partial: bool) -> Result<Vec<Row>, Unknown> {
    let body: Body =
        serde_json::from_slice(body).map_err(|_| not_understood("not the JSON of a query"))?;
    if body.status != "success" {
        return Err(not_understood("it reports an error"));
    }
    if !body.warnings.is_empty() && !accept_partial {
        return Err(Unknown::Incomplete);
    }
    let data = body.data.ok_or_else(|| not_understood("it has no data"))?;
    if data.result_type != "matrix" {
        return Err(not_understood("it is not a range of samples"));
    }
    if data.result.len() > SERIES_MAX {
        return Err(not_understood("it has too many series"));
    }
    data.result.into_iter().map(row).collect()
}

fn row(series: Series) -> Result<Row, Unknown> {
    let values = series.values.iter().map(|(seconds, text)| {
        let at = timestamp(*seconds).ok_or_else(|| not_understood("a sample has no time"))?;
        let value = text
            .parse()
            .map_err(|_| not_understood("a sample is no number"))?;
        Ok((at, value))
    });
    Ok(Row {
        values: values.collect::<Result<_, Unknown>>()?,
        labels: series.metric,
    })
}

/// Returns the time of a sample: Prometheus keeps milliseconds and sends seconds as a float.
#[must_use]
pub fn timestamp(seconds: f64) -> Option<Timestamp> {
    const YEAR_9999: f64 = 253_402_300_799.0;
    if !(0.0..YEAR_9999).contains(&seconds) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be within range"
    )]
    let milliseconds = (seconds * 1000.0).round() as i64;
    Timestamp::from_millisecond(milliseconds).ok()
}

fn not_understood(cause: &str) -> Unknown {
    Unknown::NotUnderstood {
        cause: cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}"#)
    }

    #[test]
    fn series_keep_their_labels_and_milliseconds() {
        let body = answer(r#"{"metric":{"pod":"a"},"values":[[1700000000.25,"3"]]}"#);
        let rows = read(body.as_bytes(), false).expect("rows");
        assert_eq!(rows[0].label("pod"), "a");
        assert_eq!(rows[0].label("container"), "");
        let at: Timestamp = "2023-11-14T22:13:20.25Z".parse().expect("a time");
        assert_eq!(rows[0].values, [(at, 3.0)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_without_showing_it() {
        for body in [
            "secret",
            r#"{"status":"error","error":"secret"}"#,
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
            &answer(r#"{"metric":{},"values":[[-1,"3"]]}"#),
            &answer(r#"{"metric":{},"values":[[1,"secret"]]}"#),
            &"[".repeat(100_000),
        ] {
            let unknown = read(body.as_bytes(), false).expect_err("no sense");
            assert_eq!(unknown.name(), "AnswerNotUnderstood");
            assert!(!unknown.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_warning_means_incomplete() {
        let body =
            r#"{"status":"success","warnings":["w"],"data":{"resultType":"matrix","result":[]}}"#;
        assert_eq!(read(body.as_bytes(), false), Err(Unknown::Incomplete));
        assert_eq!(read(body.as_bytes(), true), Ok(Vec::new()));
    }
}
