//! What an answer may look like, and what it must not do.

use super::*;

/// The pod, its values, its histograms.
type Kept = (
    String,
    Vec<(Millisecond, f64)>,
    Vec<(Millisecond, NativeHistogram)>,
);

#[derive(Debug, Default, PartialEq)]
struct Rows(Vec<Kept>);

impl Sink for Rows {
    fn keeps(&self, label: &str) -> bool {
        label == "pod"
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let pod = row.labels.get("pod").unwrap_or("-").to_owned();
        self.0
            .push((pod, row.values.clone(), row.histograms.clone()));
        Ok(())
    }
}

fn rows(rows: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{rows}]}}}}"#)
}

#[track_caller]
fn reading(body: &str) -> Rows {
    let mut found = Rows::default();
    read(body.as_bytes(), false, &mut found).expect("samples");
    found
}

#[track_caller]
fn check_unknown(body: &str, expected: &str) {
    let unknown = read(body.as_bytes(), false, &mut Rows::default()).expect_err("says nothing");
    assert_eq!(unknown.name(), expected, "{body:.60}");
}

#[test]
fn samples_come_with_the_labels_that_are_kept() {
    let found = reading(&rows(
        r#"{"metric":{"pod":"checkout-\u0031","code":"200"},"values":[[1700000000.123,"1"],[1700000005.123,"1.5e2"]]},
           {"values":[[1,"2"]],"metric":{"code":"500"}}"#,
    ));
    assert_eq!(found.0[0].0, "checkout-1");
    assert_eq!(
        found.0[0].1,
        [(1_700_000_000_123, 1.0), (1_700_000_005_123, 150.0)]
    );
    assert_eq!(found.0[1], ("-".to_owned(), vec![(1000, 2.0)], Vec::new()));
}

#[test]
fn a_vector_is_a_row_of_one() {
    let found = reading(
        r#"{"data":{"result":[{"metric":{"pod":"a"},"value":[7,"1"]}],"resultType":"vector"},"status":"success"}"#,
    );
    assert_eq!(found.0, [("a".to_owned(), vec![(7000, 1.0)], Vec::new())]);
}

#[test]
fn native_histograms_come_with_their_buckets() {
    let found = reading(&rows(
        r#"{"metric":{"pod":"a"},"histograms":[[7,{"count":"5","sum":"3.1","buckets":[[3,"-0.001","0.001","2"],[0,"0.5","1","3"]]}],[8,{"count":"5","sum":"0"}]]}"#,
    ));
    let (at, histogram) = &found.0[0].2[0];
    assert_eq!((*at, histogram.count), (7000, 5.0));
    assert_eq!(
        histogram.buckets[1],
        NativeBucket {
            lower: 0.5,
            upper: 1.0,
            count: 3.0
        }
    );
    assert!(found.0[0].2[1].1.buckets.is_empty());
}

#[test]
fn samples_out_of_order_and_twice_are_put_in_order() {
    let found = reading(&rows(
        r#"{"metric":{"pod":"a"},"values":[[9,"3"],[7,"1"],[7,"1"],[8,"2"]]}"#,
    ));
    assert_eq!(found.0[0].1, [(7000, 1.0), (8000, 2.0), (9000, 3.0)]);
}

#[test]
fn nothing_found_is_an_answer() {
    assert_eq!(reading(&rows("")), Rows::default());
}

#[test]
fn what_makes_no_sense_is_not_understood() {
    for body in [
        "",
        "<html>",
        "{}",
        "null",
        r#"{"status":"error","error":"secret","data":null}"#,
        r#"{"status":"success"}"#,
        r#"{"status":"success","data":null}"#,
        r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":null}}"#,
    ] {
        check_unknown(body, "AnswerNotUnderstood");
    }
    for values in [
        r#"[1e308,"1"]"#,
        r#"[-1,"1"]"#,
        r#"[1,"one"]"#,
        "[1,1]",
        "[1]",
        "1",
    ] {
        let row = format!(r#"{{"metric":{{}},"values":[{values}]}}"#);
        check_unknown(&rows(&row), "AnswerNotUnderstood");
    }
    check_unknown(&format!("{} ", rows("")).repeat(2), "AnswerNotUnderstood");
}

#[test]
fn depth_and_numbers_of_things_are_bounded() {
    check_unknown(&"[".repeat(1_000_000), "AnswerNotUnderstood");
    let deep = format!(r#"{{"status":"success","other":{}"#, "[".repeat(1_000_000));
    check_unknown(&deep, "AnswerNotUnderstood");
    let many = r#"[1,"1"],"#.repeat(SAMPLES_MAX + 1);
    let row = format!(
        r#"{{"metric":{{}},"values":[{}]}}"#,
        many.trim_end_matches(',')
    );
    check_unknown(&rows(&row), "AnswerNotUnderstood");
    let many = r#"{"metric":{},"values":[]},"#.repeat(SERIES_MAX + 1);
    check_unknown(&rows(many.trim_end_matches(',')), "AnswerNotUnderstood");
}

#[test]
fn a_warning_means_incomplete_unless_partial_answers_are_accepted() {
    let body = r#"{"status":"success","warnings":["partial"],"infos":["x"],"data":{"resultType":"matrix","result":[]}}"#;
    check_unknown(body, "AnswerIncomplete");
    assert_eq!(read(body.as_bytes(), true, &mut Rows::default()), Ok(()));
    let infos = body.replace(r#""partial""#, "");
    assert_eq!(reading(&infos), Rows::default());
}

#[test]
fn what_is_not_finite_is_passed_on_to_be_judged() {
    let found = reading(&rows(
        r#"{"metric":{},"values":[[1,"NaN"],[2,"+Inf"],[3,"-Inf"]]}"#,
    ));
    assert!(found.0[0].1.iter().all(|(_, value)| !value.is_finite()));
}

#[test]
fn the_body_never_shows_in_the_cause() {
    let body = br#"{"status":"secret","data":{"resultType":"secret"}}"#;
    let unknown = read(body, false, &mut Rows::default()).expect_err("no answer");
    assert!(!unknown.to_string().contains("secret"));
}
