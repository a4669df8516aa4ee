//! Which request is spoiled, and how. Pure, but for the answers that a rule remembers.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::body::Bytes;
use serde_json::json;
use tokio::sync::watch;

use super::Seen;

/// What is done to a request.
#[derive(Clone)]
pub enum Fault {
    /// Passes it on later.
    Delay(Duration),
    /// Passes it on when this is true, or its sender gone, so that something can happen meanwhile.
    Hold(watch::Receiver<bool>),
    /// Closes the connection without an answer. The server never sees the request.
    Cut,
    /// Passes it on, and closes the connection instead of giving the answer.
    LoseResponse,
    /// Answers instead of the server.
    Answer(Answer),
    /// Gives the first answer again and again. Watches pass; freeze them.
    Stale,
    /// Begins the answer, and then neither sends anything nor ends: a watch that hears nothing.
    Freeze,
    /// Closes the connection in the middle of the answer, so long after its begin.
    CutAfter(Duration),
    /// Gives the server's answer with another body.
    Rewrite(Change),
}

/// Makes another body of the server's.
pub type Change = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// An answer that no server gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Fault {
    /// Answers with a status and a body of any kind.
    #[must_use]
    pub fn status(status: u16, content_type: &str, body: &str) -> Self {
        Self::Answer(answer(status, content_type, body))
    }

    /// Answers as the API server does when it refuses, such as 409 with `Conflict`.
    #[must_use]
    pub fn refusal(status: u16, reason: &str, message: &str) -> Self {
        Self::Answer(refusal(status, reason, message))
    }

    /// Answers 429, and asks to come again later.
    #[must_use]
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        let message = "the server has received too many requests";
        let mut answer = refusal(429, "TooManyRequests", message);
        let seconds = retry_after_seconds.to_string();
        answer.headers.push(("retry-after".to_owned(), seconds));
        Self::Answer(answer)
    }

    /// Answers with success and a body, such as an empty result of Prometheus.
    #[must_use]
    pub fn json(body: &serde_json::Value) -> Self {
        Self::status(200, "application/json", &body.to_string())
    }

    /// Gives the server's answer with a changed body.
    #[must_use]
    pub fn rewrite(change: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(change))
    }
}

fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    Answer {
        status,
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.to_owned(),
    }
}

fn refusal(status: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": status,
    });
    answer(status, "application/json", &body.to_string())
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => write!(formatter, "Delay({time:?})"),
            Self::Hold(_) => formatter.write_str("Hold"),
            Self::Cut => formatter.write_str("Cut"),
            Self::LoseResponse => formatter.write_str("LoseResponse"),
            Self::Answer(answer) => write!(formatter, "Answer({answer:?})"),
            Self::Stale => formatter.write_str("Stale"),
            Self::Freeze => formatter.write_str("Freeze"),
            Self::CutAfter(time) => write!(formatter, "CutAfter({time:?})"),
            Self::Rewrite(_) => formatter.write_str("Rewrite"),
        }
    }
}

type Test = Box<dyn Fn(&Seen, &[u8]) -> bool + Send>;

/// Which requests a rule is about: those that pass all its tests.
#[derive(Default)]
pub struct Matcher {
    tests: Vec<Test>,
}

impl Matcher {
    /// Matches every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Narrows to one method, such as `PATCH`.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        let method = method.to_owned();
        self.when(move |request, _| request.method == method)
    }

    /// Narrows to paths (with their query) that contain `part`.
    #[must_use]
    pub fn path(self, part: &str) -> Self {
        let part = part.to_owned();
        self.when(move |request, _| request.path.contains(&part))
    }

    /// Narrows to requests whose body contains `part`.
    #[must_use]
    pub fn body(self, part: &str) -> Self {
        let part = part.to_owned();
        self.when(move |_, body| String::from_utf8_lossy(body).contains(&part))
    }

    /// Narrows to watches, or to all but watches.
    #[must_use]
    pub fn watch(self, wanted: bool) -> Self {
        self.when(move |request, _| is_watch(request) == wanted)
    }

    /// Narrows by any test of request and body.
    #[must_use]
    pub fn when(mut self, test: impl Fn(&Seen, &[u8]) -> bool + Send + 'static) -> Self {
        self.tests.push(Box::new(test));
        self
    }

    fn matches(&self, request: &Seen, body: &[u8]) -> bool {
        self.tests.iter().all(|test| test(request, body))
    }
}

/// Which of the matching requests are spoiled, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Every,
    First(usize),
    Nth(usize),
    /// All but the first so many.
    After(usize),
}

impl Which {
    fn contains(self, number: usize) -> bool {
        match self {
            Self::Every => true,
            Self::First(count) => number <= count,
            Self::Nth(nth) => number == nth,
            Self::After(count) => number > count,
        }
    }
}

/// A fault, and the requests that meet it.
pub struct Rule {
    pub matcher: Matcher,
    pub which: Which,
    pub fault: Fault,
}

impl Rule {
    /// Spoils every request that matches.
    #[must_use]
    pub fn every(matcher: Matcher, fault: Fault) -> Self {
        let which = Which::Every;
        Self {
            matcher,
            which,
            fault,
        }
    }

    /// Spoils the first `count` requests that match.
    #[must_use]
    pub fn first(count: usize, matcher: Matcher, fault: Fault) -> Self {
        let which = Which::First(count);
        Self {
            matcher,
            which,
            fault,
        }
    }
}

/// Names a rule that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(usize);

/// Answers that a [`Fault::Stale`] rule gives again.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered(Arc<Mutex<HashMap<Key, Recording>>>);

/// Method, path and body: Prometheus is asked by POST, with the query in the body.
type Key = (String, String, Bytes);

/// An answer of the server.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub(super) status: hyper::StatusCode,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl Remembered {
    pub(super) fn get(&self, request: &Seen, body: &Bytes) -> Option<Recording> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(&key(request, body)).cloned()
    }

    pub(super) fn put(&self, request: &Seen, body: &Bytes, recording: Recording) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.entry(key(request, body)).or_insert(recording);
    }
}

/// What was decided about one request.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) fault: Fault,
    pub(super) remembered: Remembered,
}

/// The rules of a proxy, in the order in which they are asked.
#[derive(Default)]
pub(super) struct Rules {
    entries: Vec<Entry>,
    added: usize,
}

struct Entry {
    id: RuleId,
    rule: Rule,
    matched: usize,
    remembered: Remembered,
}

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) -> RuleId {
        self.added += 1;
        let id = RuleId(self.added);
        self.entries.push(Entry {
            id,
            rule,
            matched: 0,
            remembered: Remembered::default(),
        });
        id
    }

    pub(super) fn remove(&mut self, id: RuleId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// Returns the first fault that applies. Rules behind it do not count the request.
    pub(super) fn decide(&mut self, request: &Seen, body: &[u8]) -> Option<Decision> {
        for entry in &mut self.entries {
            let endless = matches!(entry.rule.fault, Fault::Stale) && is_watch(request);
            if endless || !entry.rule.matcher.matches(request, body) {
                continue;
            }
            entry.matched += 1;
            if entry.rule.which.contains(entry.matched) {
                return Some(Decision {
                    fault: entry.rule.fault.clone(),
                    remembered: entry.remembered.clone(),
                });
            }
        }
        None
    }
}

fn is_watch(request: &Seen) -> bool {
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    query
        .split('&')
        .any(|pair| pair == "watch=true" || pair == "watch=1")
}

fn key(request: &Seen, body: &Bytes) -> Key {
    (request.method.clone(), request.path.clone(), body.clone())
}

#[cfg(test)]
mod tests {
    use super::{Fault, Matcher, Rule, Rules, Which};
    use crate::fault_proxy::Seen;

    fn request(method: &str, path: &str) -> Seen {
        Seen {
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
        }
    }

    /// Says which of five equal requests a rule spoils.
    fn spoiled(which: Which) -> Vec<bool> {
        let mut rules = Rules::default();
        rules.add(Rule {
            matcher: Matcher::any(),
            which,
            fault: Fault::Cut,
        });
        let asked = request("GET", "/");
        (0..5)
            .map(|_| rules.decide(&asked, b"").is_some())
            .collect()
    }

    #[test]
    fn requests_are_counted_from_one() {
        assert_eq!(spoiled(Which::Every), [true; 5]);
        assert_eq!(spoiled(Which::First(2)), [true, true, false, false, false]);
        assert_eq!(spoiled(Which::Nth(2)), [false, true, false, false, false]);
        assert_eq!(spoiled(Which::After(2)), [false, false, true, true, true]);
    }

    #[test]
    fn every_test_of_a_matcher_must_pass() {
        let matcher = Matcher::any()
            .method("PATCH")
            .path("/deployments/")
            .body("bad");
        assert!(matcher.matches(&request("PATCH", "/a/deployments/b"), b"a bad one"));
        assert!(!matcher.matches(&request("GET", "/a/deployments/b"), b"a bad one"));
        assert!(!matcher.matches(&request("PATCH", "/a/pods/b"), b"a bad one"));
        assert!(!matcher.matches(&request("PATCH", "/a/deployments/b"), b"a good one"));
    }

    #[test]
    fn watches_are_told_from_lists() {
        for (path, expected) in [
            ("/pods?watch=true", true),
            ("/pods?a=b&watch=1", true),
            ("/pods?watch=false", false),
            ("/pods/watch=true", false),
        ] {
            let asked = request("GET", path);
            assert_eq!(Matcher::any().watch(true).matches(&asked, b""), expected);
            assert_eq!(Matcher::any().watch(false).matches(&asked, b""), !expected);
        }
    }

    #[test]
    fn the_first_rule_that_applies_is_used() {
        let mut rules = Rules::default();
        let first = rules.add(Rule::first(1, Matcher::any(), Fault::Cut));
        rules.add(Rule::every(Matcher::any(), Fault::Freeze));
        let asked = request("GET", "/");
        let faults: Vec<_> = (0..2)
            .filter_map(|_| Some(format!("{:?}", rules.decide(&asked, b"")?.fault)))
            .collect();
        assert_eq!(faults, ["Cut", "Freeze"]);
        rules.remove(first);
        assert_eq!(rules.entries.len(), 1);
    }

    #[test]
    fn stale_answers_leave_watches_alone() {
        let mut rules = Rules::default();
        rules.add(Rule::every(Matcher::any(), Fault::Stale));
        assert!(
            rules
                .decide(&request("GET", "/pods?watch=true"), b"")
                .is_none()
        );
        assert!(rules.decide(&request("GET", "/pods"), b"").is_some());
    }
}
