//! What a metric source answered: samples per pod, or why not.
//!
//! No part of a body ever goes into an error: it may be anything that the address leads to.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::presets::{Outcome, Series};
use crate::decide::{Sample, Unknown};

/// Samples by namespace and pod, in order of time.
pub type Samples = HashMap<(String, String), Vec<Sample>>;

/// One answer may hold this many series: 5,000 pods with a dozen status codes each. More is a
/// selector that went wrong, and would fill the memory.
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
    result: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// Reads the answer to a query for a range of `series`.
///
/// # Errors
///
/// Why it says nothing. The caller treats the error as data.
pub fn read(body: &[u8], series: &Series) -> Result<Samples, Unknown> {
    let body: Body =
        serde_json::from_slice(body).map_err(|_| not_understood("not the JSON of a query"))?;
    if body.status != "success" {
        return Err(not_understood("it reports an error"));
    }
    if !body.warnings.is_empty() {
        return Err(Unknown::Incomplete);
    }
    let data = body.data.ok_or_else(|| not_understood("it has no data"))?;
    if data.result_type != "matrix" {
        return Err(not_understood("it is not a range of samples"));
    }
    if data.result.len() > SERIES_MAX {
        return Err(not_understood("it has too many series"));
    }
    let mut sums: HashMap<(String, String), BTreeMap<Timestamp, Sample>> = HashMap::new();
    for row in &data.result {
        add(row, series, &mut sums)?;
    }
    let samples = sums
        .into_iter()
        .map(|(pod, samples)| (pod, samples.into_values().collect()));
    Ok(samples.collect())
}

/// Adds one series to its pod. All series of one scrape carry the same time, so sums by time are
/// sums over status codes.
fn add(
    row: &Row,
    series: &Series,
    sums: &mut HashMap<(String, String), BTreeMap<Timestamp, Sample>>,
) -> Result<(), Unknown> {
    let (Some(namespace), Some(pod)) = (row.metric.get("namespace"), row.metric.get("pod")) else {
        return Ok(());
    };
    let outcome = series.outcome(&row.metric);
    if outcome == Outcome::Neither {
        return Ok(());
    }
    let sums = sums.entry((namespace.clone(), pod.clone())).or_default();
    for (seconds, text) in &row.values {
        let at = timestamp(*seconds).ok_or_else(|| not_understood("a sample has no time"))?;
        let value: f64 = text
            .parse()
            .map_err(|_| not_understood("a sample is no number"))?;
        let sum = sums.entry(at).or_insert(Sample {
            at,
            total: 0.0,
            failed: 0.0,
        });
        sum.total += value;
        if outcome == Outcome::Failed {
            sum.failed += value;
        }
    }
    Ok(())
}

/// Prometheus keeps milliseconds and sends seconds as a float.
fn timestamp(seconds: f64) -> Option<Timestamp> {
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
    use crate::decide::Preset;
    use crate::observe::prometheus::presets::Metric;

    fn series() -> Series {
        Series {
            source: "default".to_owned(),
            metric: Metric::Requests(Preset::HttpRequests),
            matchers: String::new(),
        }
    }

    fn rows(rows: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{rows}]}}}}"#)
    }

    fn row(code: &str, values: &str) -> String {
        format!(
            r#"{{"metric":{{"namespace":"shop","pod":"checkout-1","code":"{code}"}},"values":[{values}]}}"#
        )
    }

    #[track_caller]
    fn check_unknown(body: &str, expected: &str) {
        let unknown = read(body.as_bytes(), &series()).expect_err("says nothing");
        assert_eq!(unknown.name(), expected);
    }

    #[test]
    fn codes_of_one_scrape_add_up() {
        let body = rows(&format!(
            "{},{}",
            row("200", r#"[1700000000.123,"100"],[1700000005.123,"150"]"#),
            row("500", r#"[1700000005.123,"7"]"#)
        ));
        let samples = read(body.as_bytes(), &series()).expect("samples");
        let pod = &samples[&("shop".to_owned(), "checkout-1".to_owned())];
        let numbers: Vec<_> = pod.iter().map(|s| (s.total, s.failed)).collect();
        assert_eq!(numbers, [(100.0, 0.0), (157.0, 7.0)]);
        assert_eq!(pod[0].at.as_millisecond(), 1_700_000_000_123);
    }

    #[test]
    fn nothing_found_is_an_answer_without_samples() {
        assert!(
            read(rows("").as_bytes(), &series())
                .expect("samples")
                .is_empty()
        );
        let nameless = r#"{"metric":{"code":"200"},"values":[[1,"1"]]}"#;
        assert!(
            read(rows(nameless).as_bytes(), &series())
                .expect("samples")
                .is_empty()
        );
    }

    #[test]
    fn what_makes_no_sense_is_not_understood() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"status":"error","error":"secret"}"#,
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
        ] {
            check_unknown(body, "AnswerNotUnderstood");
        }
        check_unknown(&rows(&row("200", r#"[1e308,"1"]"#)), "AnswerNotUnderstood");
        check_unknown(&rows(&row("200", r#"[-1,"1"]"#)), "AnswerNotUnderstood");
        check_unknown(&rows(&row("200", r#"[1,"one"]"#)), "AnswerNotUnderstood");
        check_unknown(&"[".repeat(100_000), "AnswerNotUnderstood");
    }

    #[test]
    fn a_warning_means_incomplete() {
        let body = r#"{"status":"success","warnings":["partial"],"data":{"resultType":"matrix","result":[]}}"#;
        check_unknown(body, "AnswerIncomplete");
    }

    #[test]
    fn what_is_not_finite_is_passed_on_to_be_judged() {
        let body = rows(&row("500", r#"[1,"NaN"],[2,"+Inf"]"#));
        let samples = read(body.as_bytes(), &series()).expect("samples");
        assert!(
            samples
                .values()
                .flatten()
                .all(|sample| !sample.failed.is_finite())
        );
    }

    #[test]
    fn the_body_never_shows_in_the_cause() {
        let unknown = read(br#"{"status":"secret"}"#, &series()).expect_err("no answer");
        assert!(!unknown.to_string().contains("secret"));
    }
}
