//! What the operator asks of Prometheus, by metric and by tick.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use reqwest::Url;

use crate::fault_proxy::Passage;

/// Requests of a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    /// When each metric was asked for. What is no query stands under its path.
    by_name: BTreeMap<String, Vec<Timestamp>>,
    pub(super) bytes: u64,
}

impl Requests {
    /// Sorts out what passed the proxy.
    pub(super) fn of<'a>(passages: impl IntoIterator<Item = &'a Passage>) -> Self {
        let mut requests = Self::default();
        for passage in passages {
            requests.bytes += passage.answer_bytes.load(Ordering::Relaxed);
            let name = asked_for(&passage.path, &passage.body);
            requests.by_name.entry(name).or_default().push(passage.at);
        }
        for times in requests.by_name.values_mut() {
            times.sort_unstable();
        }
        requests
    }

    pub(super) fn count(&self) -> usize {
        self.by_name.values().map(Vec::len).sum()
    }

    /// Returns how often each metric was asked for.
    pub(super) fn counts(&self) -> BTreeMap<&str, usize> {
        let by_name = self.by_name.iter();
        by_name
            .map(|(name, times)| (name.as_str(), times.len()))
            .collect()
    }

    /// Returns the largest number of requests for one metric within any `window`.
    pub(super) fn most_within(&self, window: Duration) -> usize {
        let most = |times: &Vec<Timestamp>| {
            let within = |(first, start): (usize, &Timestamp)| {
                let after = *start + window;
                times.partition_point(|time| *time < after) - first
            };
            times.iter().enumerate().map(within).max().unwrap_or(0)
        };
        self.by_name.values().map(most).max().unwrap_or(0)
    }

    /// Returns how often the operator set out to ask: what follows within `window` belongs together.
    pub(super) fn ticks(&self, window: Duration) -> usize {
        let mut times: Vec<Timestamp> = self.by_name.values().flatten().copied().collect();
        times.sort_unstable();
        let mut ticks = 0;
        let mut until = Timestamp::MIN;
        for time in times {
            if time >= until {
                ticks += 1;
                until = time + window;
            }
        }
        ticks
    }
}

/// Returns the metrics of a query, or the path where there is none.
fn asked_for(path: &str, body: &[u8]) -> String {
    let (path, in_path) = path.split_once('?').unwrap_or((path, ""));
    let form = format!("{in_path}&{}", String::from_utf8_lossy(body));
    let Ok(url) = Url::parse(&format!("http://prometheus/?{form}")) else {
        return path.to_owned();
    };
    let query = url
        .query_pairs()
        .find(|(name, _)| name == "query" || name == "match[]")
        .map(|(_, query)| query.into_owned());
    query.map_or_else(|| path.to_owned(), |query| metrics(&query).join(","))
}

/// Returns the names of the metrics in a query of PromQL: what stands before a brace, and what a
/// matcher of `__name__` says. A query without any is named by itself.
fn metrics(query: &str) -> Vec<String> {
    let part_of_name = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
    let mut names: Vec<String> = query
        .match_indices('{')
        .map(|(position, _)| {
            let (before, after) = query.split_at(position);
            let start = before
                .rfind(|letter: char| !part_of_name(letter))
                .map_or(0, |position| position + 1);
            let name = &before[start..];
            let matcher = after
                .split_once("__name__")
                .and_then(|(_, rest)| rest.split('"').nth(1));
            matcher
                .filter(|_| name.is_empty())
                .unwrap_or(name)
                .to_owned()
        })
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        names.push(query.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(milliseconds: i64, body: &str) -> Passage {
        Passage {
            at: Timestamp::from_millisecond(milliseconds).unwrap(),
            path: "/api/v1/query".to_owned(),
            body: body.to_owned().into(),
            answer_bytes: std::sync::Arc::new(100.into()),
        }
    }

    #[test]
    fn metrics_are_found_in_the_form() {
        for (path, body, expected) in [
            (
                "/api/v1/query",
                "time=1&query=http_requests_total%7Bnamespace%3D~%22a%7Cb%22%7D%5B200s%5D",
                "http_requests_total",
            ),
            (
                "/api/v1/query?query=sum(rate(b{}[1m]))/sum(rate(a:b{}[1m]))",
                "",
                "a:b,b",
            ),
            (
                "/api/v1/query",
                "query=%7B__name__%3D~%22a%7Cb%22%7D",
                "a|b",
            ),
            ("/api/v1/query", "query=vector(1)", "vector(1)"),
            ("/api/v1/status/buildinfo", "", "/api/v1/status/buildinfo"),
        ] {
            assert_eq!(asked_for(path, body.as_bytes()), expected);
        }
    }

    #[test]
    fn requests_of_a_tick_are_counted_whatever_its_phase() {
        let (a, b) = ("query=a{}", "query=b{}");
        let passages = [
            passage(0, a),
            passage(20, b),
            passage(7_480, a),
            passage(7_500, b),
            passage(15_020, a),
        ];
        let requests = Requests::of(&passages);
        let window = Duration::from_secs(5);
        assert_eq!(requests.most_within(window), 1);
        assert_eq!(requests.most_within(Duration::from_secs(15)), 2);
        assert_eq!((requests.ticks(window), requests.count()), (3, 5));
        assert_eq!(requests.counts(), BTreeMap::from([("a", 3), ("b", 2)]));
        assert_eq!(requests.bytes, 500);

        let twice = [passage(0, a), passage(4_999, a)];
        assert_eq!(Requests::of(&twice).most_within(window), 2);
        assert_eq!(Requests::of(&[]).most_within(window), 0);
    }
}
