//! Pieces, halves, and what happens when one fails.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::cli::backtest::rows::Rows;
use crate::port::Query;

/// Answers with the length of the range, unless that is more than it can do.
struct Limited {
    longest: SignedDuration,
    error: QueryError,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Outside for Limited {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let text = query.form[0].1.clone();
        self.asked.lock().expect("whole").push(text.clone());
        let seconds: i64 = text.parse().expect("seconds");
        if SignedDuration::from_secs(seconds) > self.longest {
            return Err(self.error.clone());
        }
        Ok(answer(query, seconds).into_bytes())
    }
}

/// A sample a minute, closed on both sides as before Prometheus 3.
fn answer(query: &Query, seconds: i64) -> String {
    let end: Timestamp = query.form[1].1.parse().expect("a time");
    let times = (end.as_second() - seconds..=end.as_second()).filter(|at| at % 60 == 0);
    let values: Vec<String> = times.map(|at| format!("[{at},\"1\"]")).collect();
    let values = values.join(",");
    format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":[{values}]}}]}}}}"#
    )
}

/// Returns how many samples there were and how many pieces, or the error.
async fn check(longest_minutes: i64, error: QueryError) -> Result<(usize, usize), String> {
    let outside = Arc::new(Limited {
        longest: SignedDuration::from_mins(longest_minutes),
        error,
        asked: Mutex::new(Vec::new()),
    });
    let source = Source::plain(outside, "http://prometheus.example/", Access::default());
    let span = Span {
        from: Timestamp::UNIX_EPOCH,
        until: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(36),
    };
    let mut rows = Rows::with(&[]);
    let mut steps = Vec::new();
    source
        .over(
            (span, SignedDuration::from_hours(24)),
            &|length| length.as_secs().to_string(),
            &mut rows,
            &mut |done, all| steps.push((done, all)),
        )
        .await
        .map_err(|error| format!("{error:#}"))?;
    let (done, all) = *steps.last().expect("a step");
    assert_eq!(done, all, "the last step is the whole");
    let times: Vec<Timestamp> = rows
        .rows
        .iter()
        .flat_map(|row| &row.values)
        .map(|(at, _)| *at)
        .collect();
    let distinct: BTreeSet<&Timestamp> = times.iter().collect();
    assert_eq!(distinct.len(), times.len(), "no sample comes twice");
    Ok((times.len(), all))
}

#[tokio::test]
async fn a_long_range_is_asked_for_in_pieces() {
    let all = check(24 * 60, QueryError::TooLarge(1)).await;
    assert_eq!(all, Ok((36 * 60, 2)));
}

#[tokio::test]
async fn a_piece_that_is_too_much_is_halved_until_it_is_not() {
    let errors = [
        QueryError::TooLarge(1),
        QueryError::Status(422),
        QueryError::Timeout(TIMEOUT),
    ];
    for error in errors {
        assert_eq!(check(6 * 60, error).await, Ok((36 * 60, 6)));
    }
}

#[tokio::test]
async fn what_is_too_much_at_its_smallest_ends_it() {
    let problem = check(1, QueryError::TooLarge(7))
        .await
        .expect_err("too much");
    assert!(problem.contains("http://prometheus.example"), "{problem}");
    assert!(problem.contains("more than 7 bytes"), "{problem}");
}

#[tokio::test]
async fn a_hole_in_the_past_is_an_error() {
    let problem = check(1, QueryError::Unreachable).await.expect_err("a hole");
    assert!(problem.contains("cannot be reached"), "{problem}");
}

fn forcing(labels: &[(&str, &str)], confine: Option<&str>) -> Source {
    let outside = Arc::new(Limited {
        longest: SignedDuration::ZERO,
        error: QueryError::Unreachable,
        asked: Mutex::new(Vec::new()),
    });
    let mut source = Source::plain(outside, "http://prometheus.example", Access::default());
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    source.endpoint.match_labels = labels.collect();
    source.endpoint.confine = confine.map(str::to_owned);
    source
}

#[test]
fn what_an_admin_forces_into_queries_is_in_all_of_these() {
    let source = forcing(&[("cluster", "blue")], Some("namespace"));
    let counts = "max by (replicaset) (a{b=\"c\"}) > 0";
    assert_eq!(
        source.forced(counts).expect("PromQL"),
        "max by (replicaset) (a{b=\"c\",cluster=\"blue\"}) > 0"
    );
    assert_eq!(source.matchers(), "cluster=\"blue\"");
    let query = source.confined("max(pending)", "shop");
    assert_eq!(
        query.expect("PromQL"),
        "max(pending{cluster=\"blue\",namespace=\"shop\"})"
    );
    let free = forcing(&[], None);
    assert_eq!(free.forced("as it is").expect("nothing to do"), "as it is");
    assert!(free.confined("as it is", "shop").is_err());
}
