//! Writes native histograms as `io.prometheus.client.MetricFamily`: text has no notation for them.
//!
//! In the files they are spelled as in Prometheus' own tests of queries.

use anyhow::Context as _;

/// Bytes of a message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    /// A field of numbers that are never negative.
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    /// A field of numbers that may be negative: `sint32`, `sint64`.
    fn signed(&mut self, field: u64, value: i64) {
        self.number(field, ((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }
}

/// Returns a page of native histograms. What is none is left out.
pub(crate) fn encoded(page: &str) -> Vec<u8> {
    let mut all = Message::default();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let family = family(line).expect("the files of these tests are well formed");
        all.varint(family.0.len() as u64);
        all.0.extend(family.0);
    }
    all.0
}

/// `name{a="b",c="d"} {{schema:0 offset:-3 buckets:[1 2 3]}}`
fn family(line: &str) -> anyhow::Result<Message> {
    const HISTOGRAM: u64 = 4;
    let (series, value) = line.split_once("} {{").context("no value")?;
    let (name, labels) = series.split_once('{').context("no labels")?;
    let mut metric = Message::default();
    for (label, value) in labels
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""))
    {
        let mut pair = Message::default();
        pair.bytes(1, label.as_bytes());
        pair.bytes(2, value.trim_end_matches('"').as_bytes());
        metric.bytes(1, &pair.0);
    }
    metric.bytes(7, &histogram(value)?.0);
    let mut family = Message::default();
    family.bytes(1, name.as_bytes());
    family.number(3, HISTOGRAM);
    family.bytes(4, &metric.0);
    Ok(family)
}

fn histogram(text: &str) -> anyhow::Result<Message> {
    let field = |name: &str| -> anyhow::Result<i64> {
        let (_, rest) = text.split_once(name).context("a field is missing")?;
        Ok(rest.split(' ').next().unwrap_or_default().parse()?)
    };
    let (_, buckets) = text.split_once("buckets:[").context("no buckets")?;
    let (buckets, _) = buckets.split_once(']').context("buckets do not end")?;
    let buckets: Vec<i64> = buckets
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut histogram = Message::default();
    histogram.number(1, buckets.iter().sum::<i64>().cast_unsigned());
    histogram.double(2, 1.0);
    histogram.signed(5, field("schema:")?);
    histogram.double(6, 1e-128);
    let mut span = Message::default();
    span.signed(1, field("offset:")?);
    span.number(2, buckets.len() as u64);
    histogram.bytes(12, &span.0);
    let mut before = 0;
    for count in buckets {
        histogram.signed(13, count - before);
        before = count;
    }
    Ok(histogram)
}
