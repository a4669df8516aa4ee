//! A source may answer anything: nonsense, half an answer, or an attack.

use astern::decide::{LabelNames, Preset};
use astern::observe::prometheus::answer;
use astern::observe::prometheus::buffer::Buffer;
use astern::observe::prometheus::presets::SpecId;
use astern::observe::prometheus::reader::{Reader, Role};
use astern::observe::prometheus::series::{Metric, Series};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::config;

/// Reads an answer; returns how many pods it is about, or why it says nothing.
fn read_answer(body: &[u8]) -> Result<usize, String> {
    let shape = SpecId::of(Preset::HttpRequests).next();
    let series = Series {
        source: "default".to_owned(),
        tenant: None,
        metric: Metric::Requests(shape.expect("every preset has a shape")),
        matchers: String::new(),
        labels: LabelNames::default(),
    };
    let mut buffer = Buffer::default();
    let mut reader = Reader::new(&series, Role::Shape, &mut buffer);
    answer::read(body, false, &mut reader).map_err(|unknown| unknown.to_string())?;
    Ok(buffer.owners().count())
}

/// In every text of a body. An error that shows it shows what a source sent.
const MARK: &str = "hunter2";

fn refused(body: &[u8]) {
    let problem = read_answer(body).expect_err("it makes no sense");
    assert!(!problem.contains(MARK) && problem.len() < 200, "{problem}");
}

fn of_rows(rows: &Value) -> Value {
    json!({"status": "success", "data": {"resultType": "matrix", "result": rows}})
}

fn number() -> impl Strategy<Value = Value> {
    let texts = [
        "0", "1", "NaN", "+Inf", "-Inf", "1e308", "-1e308", "1e400", "5e-324", "-0", "0x1p3", "",
        MARK, "nan", "∞",
    ];
    let times = [
        0.0,
        1.7e9,
        1_700_000_000.123,
        -1.0,
        1e308,
        9.3e9,
        253_402_300_799.0,
        5e-324,
    ];
    prop_oneof![
        4 => select(texts.to_vec()).prop_map(Value::from),
        4 => select(times.to_vec()).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        Just(Value::from(MARK)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys = ["status", "data", "result", "metric", "values", "pod", MARK];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(select(keys.to_vec()), inner, 0..4)
                .prop_map(|map| json!(map)),
        ]
    })
}

fn row() -> impl Strategy<Value = Value> {
    let label = select(vec!["namespace", "pod", "code", "__name__", MARK]);
    let labels = prop::collection::btree_map(label, select(vec!["shop", "a-1", "500", MARK]), 0..5);
    let values = prop::collection::vec((number(), number()), 0..5);
    prop_oneof![
        6 => (labels, values).prop_map(|(metric, values)| json!({"metric": metric, "values": values})),
        1 => anything(),
    ]
}

/// Nearly an answer: any part of it may be anything.
fn body() -> impl Strategy<Value = Value> {
    let rows = prop::collection::vec(row(), 0..6).prop_map(Value::from);
    let keys = vec!["status", "warnings", "infos", "error", "data", MARK];
    let spoiled = prop::option::weighted(0.3, (select(keys), anything()));
    (prop_oneof![5 => rows, 1 => anything()], spoiled).prop_map(|(rows, spoiled)| {
        let mut body = of_rows(&rows);
        if let Some((key, value)) = spoiled {
            body[key] = value;
        }
        body
    })
}

/// Never more pods than rows, and never a word of the body in an error.
fn judged(body: &[u8], rows: usize) {
    match read_answer(body) {
        Ok(pods) => assert!(pods <= rows, "{pods} pods of {rows} rows"),
        Err(problem) => assert!(!problem.contains(MARK) && problem.len() < 200, "{problem}"),
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn no_answer_panics(body in body()) {
        let rows = body.pointer("/data/result").and_then(Value::as_array).map_or(0, Vec::len);
        judged(body.to_string().as_bytes(), rows);
    }

    /// A connection that ends early, and a proxy that flips bytes.
    #[test]
    fn no_torn_answer_panics(
        body in body(),
        end in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = body.to_string().into_bytes();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len() + 1));
        let rows = bytes.len();
        let whole: Vec<u8> = bytes.into_iter().filter(|byte| *byte != 0).collect();
        // Flips may write into the mark; what is left of it is not looked for.
        judged(&whole, rows);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        judged(&bytes, 0);
    }
}

#[test]
fn fifty_megabytes_of_brackets_are_refused() {
    const SIZE: usize = 50 << 20;
    refused("[".repeat(SIZE).as_bytes());
    refused("{\"a\":".repeat(SIZE / 5).as_bytes());
}

/// What nobody asks for is skipped, and skipping must not be deep either.
#[test]
fn deep_fields_that_nobody_reads_are_refused() {
    let deep = "[".repeat(1 << 20);
    for start in [
        r#"{"infos":"#,
        r#"{"status":"success","warnings":["#,
        r#"{"status":"success","data":{"resultType":"matrix","stats":"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":["#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"histograms":"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":"#,
    ] {
        refused(format!("{start}{deep}").as_bytes());
    }
}

/// One series of each of so many pods.
fn rows(count: usize) -> String {
    let row = |pod: usize| {
        format!(
            r#"{{"metric":{{"namespace":"shop","pod":"{pod}","code":"200"}},"values":[[1,"1"]]}}"#
        )
    };
    let rows: Vec<String> = (0..count).map(row).collect();
    let rows = rows.join(",");
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{rows}]}}}}"#)
}

#[test]
fn too_many_series_are_refused() {
    assert_eq!(read_answer(rows(1_000).as_bytes()), Ok(1_000));
    refused(rows(answer::SERIES_MAX + 1).as_bytes());
}

/// Prometheus never sends a series twice; a proxy over two of them does.
#[test]
fn a_series_that_comes_twice_is_one_pod() {
    let row = json!({
        "metric": {"namespace": "shop", "pod": "a-1", "code": "200"},
        "values": [[1, "1"], [1, "1e308"], [1, "NaN"], [2, "+Inf"]],
    });
    let body = of_rows(&Value::from(vec![row; 1_000])).to_string();
    assert!(matches!(read_answer(body.as_bytes()), Ok(1) | Err(_)));
}
