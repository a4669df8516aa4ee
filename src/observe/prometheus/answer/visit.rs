//! The JSON of an answer, visited once.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::{
    BUCKETS_MAX, LABELS_MAX, Labels, NativeBucket, NativeHistogram, Row, SAMPLES_MAX, SERIES_MAX,
    Sink, millisecond,
};

/// What an answer says about itself.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) success: bool,
    pub(super) warned: bool,
    pub(super) has_result: bool,
}

/// Visits the whole answer. `problem` is set where there is more to say than that it is no answer.
pub(super) struct Body<'a> {
    pub(super) sink: &'a mut dyn Sink,
    pub(super) problem: &'a mut Option<&'static str>,
}

/// A string that borrows from the body where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = Head;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Head, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Head;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head::default();
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                "status" => head.success = map.next_value::<Text<'_>>()?.0 == "success",
                "warnings" => {
                    let warnings: Option<Vec<IgnoredAny>> = map.next_value()?;
                    head.warned = warnings.is_some_and(|list| !list.is_empty());
                }
                "data" => {
                    head.has_result = map.next_value_seed(Data {
                        sink: &mut *self.sink,
                        problem: &mut *self.problem,
                    })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(head)
    }
}

struct Data<'a> {
    sink: &'a mut dyn Sink,
    problem: &'a mut Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        // An error comes with `"data": null` from some.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("data")
    }

    fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut has_result = false;
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                "resultType" => {
                    let kind = map.next_value::<Text<'_>>()?.0;
                    if !["matrix", "vector"].contains(&kind.as_ref()) {
                        *self.problem = Some("it is neither a range of samples nor a vector");
                        return Err(A::Error::custom("result type"));
                    }
                }
                "result" => {
                    map.next_value_seed(Rows {
                        sink: &mut *self.sink,
                        problem: &mut *self.problem,
                    })?;
                    has_result = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(has_result)
    }
}

struct Rows<'a> {
    sink: &'a mut dyn Sink,
    problem: &'a mut Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        // One row is used again and again, so that memory is asked for once.
        let mut row = Row::default();
        let mut count = 0;
        while rows
            .next_element_seed(OneRow {
                row: &mut row,
                sink: &*self.sink,
            })?
            .is_some()
        {
            count += 1;
            let taken = if count > SERIES_MAX {
                Err("it has too many series")
            } else {
                self.sink.row(&row)
            };
            if let Err(problem) = taken {
                *self.problem = Some(problem);
                return Err(A::Error::custom("row"));
            }
        }
        Ok(())
    }
}

struct OneRow<'a, 'de> {
    row: &'a mut Row<'de>,
    sink: &'a dyn Sink,
}

impl<'de> DeserializeSeed<'de> for OneRow<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.row.labels.0.clear();
        self.row.values.clear();
        self.row.histograms.clear();
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRow<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a series")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let row = self.row;
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                "metric" => map.next_value_seed(Metric {
                    labels: &mut row.labels,
                    sink: self.sink,
                })?,
                "values" => {
                    map.next_value_seed(Samples::<Plain<'_>>(&mut row.values, PhantomData))?;
                }
                "histograms" => {
                    map.next_value_seed(Samples::<Native<'_>>(&mut row.histograms, PhantomData))?;
                }
                "value" => row
                    .values
                    .push(map.next_value::<Plain<'_>>()?.sample().map_err(custom)?),
                "histogram" => row
                    .histograms
                    .push(map.next_value::<Native<'_>>()?.sample().map_err(custom)?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        in_order(&mut row.values);
        in_order(&mut row.histograms);
        Ok(())
    }
}

/// Prometheus sends them in order; others may not.
fn in_order<T>(samples: &mut Vec<(i64, T)>) {
    if !samples.is_sorted_by(|left, right| left.0 < right.0) {
        samples.sort_by_key(|(at, _)| *at);
        samples.dedup_by_key(|(at, _)| *at);
    }
}

struct Metric<'a, 'de> {
    labels: &'a mut Labels<'de>,
    sink: &'a dyn Sink,
}

impl<'de> DeserializeSeed<'de> for Metric<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metric<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            if self.labels.0.len() < LABELS_MAX && self.sink.keeps(&key) {
                self.labels.0.push((key, map.next_value::<Text<'_>>()?.0));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

fn custom<E: Error>(problem: &'static str) -> E {
    E::custom(problem)
}

type Plain<'a> = (f64, Text<'a>);
type Native<'a> = (f64, WireHistogram<'a>);

/// One sample as it is sent.
trait Wire<'de>: Deserialize<'de> {
    type Value;

    fn sample(self) -> Result<(i64, Self::Value), &'static str>;
}

impl<'de> Wire<'de> for (f64, Text<'de>) {
    type Value = f64;

    fn sample(self) -> Result<(i64, f64), &'static str> {
        let at = millisecond(self.0).ok_or("a sample has no time")?;
        Ok((at, number(&self.1.0)?))
    }
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().map_err(|_| "a sample is no number")
}

#[derive(Deserialize)]
struct WireHistogram<'a> {
    #[serde(borrow)]
    count: Text<'a>,
    /// Which edges belong to the bucket, its edges, and how much it holds.
    #[serde(borrow, default)]
    buckets: Vec<(u8, Text<'a>, Text<'a>, Text<'a>)>,
}

impl<'de> Wire<'de> for (f64, WireHistogram<'de>) {
    type Value = NativeHistogram;

    fn sample(self) -> Result<(i64, NativeHistogram), &'static str> {
        let (seconds, wire) = self;
        let at = millisecond(seconds).ok_or("a sample has no time")?;
        if wire.buckets.len() > BUCKETS_MAX {
            return Err("a histogram has too many buckets");
        }
        let buckets = wire.buckets.iter().map(|(_, lower, upper, count)| {
            Ok::<_, &'static str>(NativeBucket {
                lower: number(&lower.0)?,
                upper: number(&upper.0)?,
                count: number(&count.0)?,
            })
        });
        let histogram = NativeHistogram {
            count: number(&wire.count.0)?,
            buckets: buckets.collect::<Result<_, _>>()?,
        };
        Ok((at, histogram))
    }
}

/// Reads the samples of one series into a vector that is already there.
struct Samples<'a, 'de, W: Wire<'de>>(&'a mut Vec<(i64, W::Value)>, PhantomData<&'de W>);

impl<'de, W: Wire<'de>> DeserializeSeed<'de> for Samples<'_, 'de, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, W: Wire<'de>> Visitor<'de> for Samples<'_, 'de, W> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("samples")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut samples: A) -> Result<(), A::Error> {
        while let Some(sample) = samples.next_element::<W>()? {
            if self.0.len() >= SAMPLES_MAX {
                return Err(custom("a series has too many samples"));
            }
            self.0.push(sample.sample().map_err(custom)?);
        }
        Ok(())
    }
}
