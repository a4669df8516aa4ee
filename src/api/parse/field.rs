//! Reading one field after the other, and gathering what is wrong with them.

use std::cell::RefCell;
use std::fmt;

use jiff::SignedDuration;
use serde_json::Value;

use super::duration;
use crate::api::v1alpha1::bounds::{Count, DURATION_LENGTH, Decimal, PERCENTAGE_LENGTH, Span};
use crate::decide::Ratio;

/// Problems that are told of one object. Nobody reads more, and an object may hold a megabyte of them.
const PROBLEMS: usize = 16;
/// Characters of a wrong value that are quoted.
const QUOTED: usize = 40;

/// What is wrong with a field, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: `spec.triggers[0].errorRate.threshold`.
    pub field: String,
    pub problem: String,
    pub good_value: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            problem,
            good_value,
        } = self;
        write!(
            formatter,
            "{field}: {problem}; a good value is {good_value}"
        )
    }
}

/// What is wrong with an object. Shared by all who read parts of it.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<FieldError>>);

impl Problems {
    /// Returns `value`, unless something was wrong.
    pub(super) fn unless_any<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        let found = self.0.into_inner();
        if found.is_empty() {
            Ok(value)
        } else {
            Err(found)
        }
    }
}

/// One place in an object. A field that is missing and one that is null are the same.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    path: String,
    value: Option<&'a Value>,
}

impl<'a> Field<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            path: String::new(),
            value: Some(value),
        }
    }

    pub(super) fn given(&self) -> bool {
        self.value.is_some()
    }

    pub(super) fn child(&self, name: &str) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        let value = self
            .value
            .and_then(|value| value.get(name))
            .filter(|value| !value.is_null());
        Self { path, value }
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Returns whether nothing is there, not even a wrong value.
    pub(super) fn is_empty(&self) -> bool {
        self.value
            .is_none_or(|value| value.as_object().is_some_and(serde_json::Map::is_empty))
    }

    /// Returns the keys of an object that have a value; none of anything else.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        let map = self.value.and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| key.as_str())
    }

    /// Notes that this field must not stand beside `other`, if it does.
    pub(super) fn excluded_by(&self, other: &str, problems: &Problems) {
        if self.given() {
            let problem = format!("excludes {other}; keep one of them");
            self.wrong(problem, &format!("no {}", self.name()), problems);
        }
    }

    /// Notes a problem with this field.
    pub(super) fn wrong(&self, problem: impl Into<String>, good_value: &str, problems: &Problems) {
        let mut found = problems.0.borrow_mut();
        if found.len() < PROBLEMS {
            found.push(FieldError {
                field: self.path.clone(),
                problem: problem.into(),
                good_value: good_value.to_owned(),
            });
        }
    }

    /// Returns whether this is an object; one that is missing counts as empty.
    pub(super) fn object(&self, good_value: &str, problems: &Problems) -> bool {
        match self.value {
            None => true,
            Some(value) if value.is_object() => true,
            Some(value) => {
                self.wrong(
                    format!("{} is no object", quoted(value)),
                    good_value,
                    problems,
                );
                false
            }
        }
    }

    /// Returns the keys and values of an object, at most `most` of them.
    pub(super) fn entries(&self, most: u32, problems: &Problems) -> Vec<(&'a str, Self)> {
        if !self.object("{}", problems) {
            return Vec::new();
        }
        let Some(map) = self.value.and_then(Value::as_object) else {
            return Vec::new();
        };
        if map.len() > most as usize {
            let problem = format!("has {} entries, {most} are allowed", map.len());
            self.wrong(problem, "fewer entries", problems);
        }
        map.iter()
            .take(most as usize)
            .map(|(key, value)| {
                let path = format!("{}.{}", self.path, shown(key));
                let entry = Self {
                    path,
                    value: Some(value),
                };
                (key.as_str(), entry)
            })
            .collect()
    }

    /// Returns the items of a list, at most `most` of them.
    pub(super) fn items(&self, most: u32, problems: &Problems) -> Vec<Self> {
        let items = match self.value {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(value) => {
                self.wrong(format!("{} is no list", quoted(value)), "[]", problems);
                return Vec::new();
            }
        };
        if items.len() > most as usize {
            let problem = format!("has {} items, {most} are allowed", items.len());
            self.wrong(problem, "fewer items", problems);
        }
        items
            .iter()
            .take(most as usize)
            .enumerate()
            .map(|(index, value)| Self {
                path: format!("{}[{index}]", self.path),
                value: Some(value),
            })
            .collect()
    }

    /// Returns a text of at most `most` characters, if there is one.
    pub(super) fn text(&self, most: u32, good: &str, problems: &Problems) -> Option<&'a str> {
        let value = self.value?;
        let Some(text) = value.as_str() else {
            self.wrong(format!("{} is no text", quoted(value)), good, problems);
            return None;
        };
        // Bytes are at least as many as characters, so most texts need not be counted.
        if text.len() > most as usize && text.chars().count() > most as usize {
            let problem = format!("has more than {most} characters");
            self.wrong(problem, good, problems);
            return None;
        }
        Some(text)
    }

    /// Returns a text that must be there.
    pub(super) fn required(&self, most: u32, good: &str, problems: &Problems) -> Option<&'a str> {
        if self.value.is_none() {
            self.wrong("is missing", good, problems);
        }
        let text = self.text(most, good, problems)?;
        if text.is_empty() {
            self.wrong("is empty", good, problems);
            return None;
        }
        Some(text)
    }

    /// Returns what the text stands for; `default` when it is missing or wrong.
    pub(super) fn one_of<T: Copy>(
        &self,
        known: &[(&str, T)],
        default: T,
        problems: &Problems,
    ) -> T {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let good = names.join(", ");
        let Some(text) = self.text(64, &good, problems) else {
            return default;
        };
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
            return *value;
        }
        let problem = format!("{} is not known", cut(text));
        self.wrong(problem, &format!("one of {good}"), problems);
        default
    }

    /// Returns a duration within `span`; the usual one when it is missing or wrong.
    pub(super) fn duration(&self, span: Span, problems: &Problems) -> SignedDuration {
        let usual = duration::parse(span.usual).unwrap_or(span.most);
        let Some(text) = self.text(DURATION_LENGTH, span.usual, problems) else {
            return usual;
        };
        match duration::parse(text) {
            Ok(duration) if duration < span.least || duration > span.most => {
                let least = duration::format(span.least);
                let most = duration::format(span.most);
                let problem = format!("{} is not between {least} and {most}", cut(text));
                self.wrong(problem, span.usual, problems);
                usual
            }
            Ok(duration) => duration,
            Err(duration::NotADuration) => {
                let problem = format!("{} is no duration", cut(text));
                self.wrong(problem, span.usual, problems);
                usual
            }
        }
    }

    /// Returns a number within `count`; the usual one when it is missing or wrong.
    pub(super) fn count(&self, count: Count, problems: &Problems) -> u32 {
        let usual = count.usual.unsigned_abs();
        let Some(value) = self.value else {
            return usual;
        };
        let good = count.usual.to_string();
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        match number {
            Some(number) if number >= count.least && number <= count.most => number.unsigned_abs(),
            Some(_) | None => {
                let Count { least, most, .. } = count;
                let problem = format!("{} is no number from {least} to {most}", quoted(value));
                self.wrong(problem, &good, problems);
                usual
            }
        }
    }

    /// Returns a percentage, if there is one.
    pub(super) fn percentage(&self, good: &str, problems: &Problems) -> Option<Ratio> {
        let text = self.text(PERCENTAGE_LENGTH, good, problems)?;
        let ratio = ratio(text);
        if ratio.is_none() {
            let problem = format!("{} is no percentage above 0% and up to 100%", cut(text));
            self.wrong(problem, good, problems);
        }
        ratio
    }

    /// Returns a number within `decimal`; the usual one when it is missing or wrong.
    pub(super) fn decimal(&self, decimal: Decimal, problems: &Problems) -> f64 {
        let usual = number(decimal.usual, decimal).unwrap_or(decimal.most);
        let good = format!("{:?}", decimal.usual);
        let length = u32::try_from(decimal.length()).unwrap_or(u32::MAX);
        let Some(text) = self.text(length, &good, problems) else {
            return usual;
        };
        number(text, decimal).unwrap_or_else(|| {
            let problem = format!("{} is not {}", cut(text), decimal.words);
            self.wrong(problem, &good, problems);
            usual
        })
    }

    /// Returns yes or no; no when it is missing or wrong.
    pub(super) fn fact(&self, problems: &Problems) -> bool {
        match self.value {
            None => false,
            Some(Value::Bool(fact)) => *fact,
            Some(value) => {
                let problem = format!("{} is neither true nor false", quoted(value));
                self.wrong(problem, "false", problems);
                false
            }
        }
    }

    /// Returns the text as it is, for metadata that the API server has checked already.
    pub(super) fn metadata(&self) -> Option<&'a str> {
        self.value.and_then(Value::as_str)
    }

    /// Returns the number as it is, for metadata that the API server has checked already.
    pub(super) fn number(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }
}

/// Reads digits by hand: a parser of floats would take `1e2`, `inf` and `NaN`.
pub(super) fn ratio(text: &str) -> Option<Ratio> {
    let (whole, part) = match text.strip_suffix('%')?.split_once('.') {
        Some((whole, part)) if (1..=4).contains(&part.len()) => (whole, part),
        Some(_) => return None,
        None => (text.strip_suffix('%')?, ""),
    };
    if !(1..=3).contains(&whole.len()) {
        return None;
    }
    let digits = format!("{whole}{part:0<4}");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millionths: u32 = digits.parse().ok()?;
    (1..=1_000_000)
        .contains(&millionths)
        .then(|| Ratio(f64::from(millionths) / 1_000_000.0))
}

/// Looks at the digits by hand: a parser of floats would take `1e2`, `inf`, `NaN` and `+1` too.
pub(super) fn number(text: &str, decimal: Decimal) -> Option<f64> {
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let unsigned = match text.strip_prefix('-') {
        Some(unsigned) if decimal.signed => unsigned,
        Some(_) => return None,
        None => text,
    };
    let (whole, part) = unsigned
        .split_once('.')
        .map_or((unsigned, None), |(whole, part)| (whole, Some(part)));
    let good = digits(whole, decimal.whole) && part.is_none_or(|part| digits(part, decimal.part));
    let number: f64 = text.parse().ok().filter(|_| good)?;
    (decimal.least..=decimal.most)
        .contains(&number)
        .then_some(number)
}

/// Returns the beginning of a key. Keys are text of the user too: a terminal obeys control characters,
/// and marks of direction turn a line round.
fn shown(key: &str) -> String {
    let letters = key.chars().take(QUOTED);
    letters.flat_map(char::escape_debug).collect()
}

/// Returns the beginning of a text in quotes, with control characters escaped.
pub(super) fn cut(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{dots}")
}

fn quoted(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(fact) => fact.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => cut(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
