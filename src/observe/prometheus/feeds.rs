//! Asks the metric sources: one request per source, metric and tick.
//!
//! A workload says what it [wants](Feeds::wanted) whenever it is looked at and takes what is there.
//! What nobody has wanted for a while is not asked for any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};

use super::answer::{self, Samples};
use super::presets::Series;
use crate::decide::Unknown;
use crate::port::{Cluster, Outside, Query, QueryError};

/// A workload is looked at every 30 seconds at the latest, so this means that it was not on
/// probation the last three times.
const FORGET_AFTER: SignedDuration = SignedDuration::from_secs(90);

/// Between two requests for the same series until the scrape interval is known.
const TICK_UNKNOWN: SignedDuration = SignedDuration::from_secs(2);
/// Half a scrape interval, so that a sample is at most that old when it is used, within these.
const TICK_MIN: SignedDuration = SignedDuration::from_secs(1);
const TICK_MAX: SignedDuration = SignedDuration::from_secs(15);

/// One answer: 5,000 pods with a dozen series of a dozen samples each stay below.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where a named source is, as an admin set it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Without `/api/v1/query`.
    pub url: String,
    pub timeout: SignedDuration,
}

/// What the last request for a series brought.
#[derive(Debug)]
pub struct Answer {
    pub at: Timestamp,
    pub samples: Result<Samples, Unknown>,
}

#[derive(Default)]
struct Feed {
    /// Namespaces, and when they were wanted last.
    wanted: HashMap<String, Timestamp>,
    range: SignedDuration,
    asked: Option<Timestamp>,
    asking: bool,
    interval: Option<SignedDuration>,
    answer: Option<Arc<Answer>>,
}

/// All series that some workload wants.
#[derive(Default)]
pub struct Feeds {
    feeds: Mutex<HashMap<Series, Feed>>,
    wake: Notify,
}

/// Finds a source by name; the error says why it cannot be used.
pub type FindSource = Arc<dyn Fn(&str) -> Result<Endpoint, String> + Send + Sync>;

impl Feeds {
    /// Returns the newest answer for `series`, and keeps it coming for `namespace` over at least
    /// `range`. `None` until the first answer that covers the namespace.
    #[must_use]
    pub fn wanted(
        &self,
        series: &Series,
        namespace: &str,
        range: SignedDuration,
        now: Timestamp,
    ) -> Option<Arc<Answer>> {
        let mut feeds = self.lock();
        let feed = feeds.entry(series.clone()).or_default();
        let known = feed.wanted.insert(namespace.to_owned(), now);
        if known.is_none() || feed.range < range {
            // The answer that is there does not cover it.
            feed.range = feed.range.max(range);
            feed.asked = None;
            self.wake.notify_one();
            return None;
        }
        feed.answer.clone()
    }

    /// Asks for ever. Sends the namespaces of each new answer to `news`.
    pub async fn run(
        self: Arc<Self>,
        cluster: Arc<dyn Cluster>,
        outside: Arc<dyn Outside>,
        find_source: FindSource,
        news: mpsc::Sender<Vec<String>>,
    ) {
        let mut asking: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        loop {
            let (due, next) = self.due(cluster.now());
            for job in due {
                asking.push(Box::pin(ask(
                    job,
                    Arc::clone(&outside),
                    Arc::clone(&find_source),
                )));
            }
            tokio::select! {
                Some(done) = asking.next(), if !asking.is_empty() => {
                    let namespaces = self.take_in(done, cluster.now());
                    // Nobody listens any more only when the process ends.
                    let _ = news.send(namespaces).await;
                }
                () = cluster.sleep_until(next) => (),
                () = self.wake.notified() => (),
            }
        }
    }

    /// Returns what to ask now, and when to look again.
    fn due(&self, now: Timestamp) -> (Vec<Job>, Timestamp) {
        let mut feeds = self.lock();
        for feed in feeds.values_mut() {
            feed.wanted
                .retain(|_, wanted| now.duration_since(*wanted) <= FORGET_AFTER);
        }
        feeds.retain(|_, feed| !feed.wanted.is_empty() || feed.asking);
        let mut jobs = Vec::new();
        let mut next = now + TICK_MAX;
        for (series, feed) in feeds.iter_mut().filter(|(_, feed)| !feed.asking) {
            let due = feed.asked.map_or(now, |asked| asked + feed.tick());
            if due > now {
                next = next.min(due);
                continue;
            }
            feed.asked = Some(now);
            feed.asking = true;
            jobs.push(Job {
                series: series.clone(),
                namespaces: feed.wanted.keys().cloned().collect(),
                range: feed.range,
                at: now,
            });
        }
        (jobs, next)
    }

    fn take_in(&self, done: Done, now: Timestamp) -> Vec<String> {
        let mut feeds = self.lock();
        let Some(feed) = feeds.get_mut(&done.job.series) else {
            return Vec::new();
        };
        feed.asking = false;
        if let Ok(samples) = &done.samples {
            feed.interval = interval(samples).or(feed.interval);
        }
        feed.answer = Some(Arc::new(Answer {
            at: now,
            samples: done.samples,
        }));
        done.job.namespaces
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Series, Feed>> {
        // A panic elsewhere leaves the map whole: every change is one insertion or assignment.
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    fn tick(&self) -> SignedDuration {
        self.interval.map_or(TICK_UNKNOWN, |interval| {
            (interval / 2).clamp(TICK_MIN, TICK_MAX)
        })
    }
}

/// The smallest gap between two scrapes of one pod.
fn interval(samples: &Samples) -> Option<SignedDuration> {
    samples
        .values()
        .flat_map(|samples| samples.windows(2))
        .filter_map(|pair| match pair {
            [first, second] => Some(second.at.duration_since(first.at)),
            _ => None,
        })
        .filter(SignedDuration::is_positive)
        .min()
}

struct Job {
    series: Series,
    namespaces: Vec<String>,
    range: SignedDuration,
    at: Timestamp,
}

struct Done {
    job: Job,
    samples: Result<Samples, Unknown>,
}

async fn ask(job: Job, outside: Arc<dyn Outside>, find_source: FindSource) -> Done {
    let samples = match find_source(&job.series.source) {
        Ok(endpoint) => ask_source(&job, &endpoint, outside.as_ref()).await,
        Err(cause) => Err(Unknown::NoSource { cause }),
    };
    Done { job, samples }
}

async fn ask_source(
    job: &Job,
    endpoint: &Endpoint,
    outside: &dyn Outside,
) -> Result<Samples, Unknown> {
    let mut namespaces = job.namespaces.clone();
    namespaces.sort();
    let selector = job.series.selector(namespaces.iter().map(String::as_str));
    let range = job.range.as_secs();
    let query = Query {
        url: format!("{}/api/v1/query", endpoint.url.trim_end_matches('/')),
        form: vec![
            ("query", format!("{selector}[{range}s]")),
            ("time", format!("{}", job.at)),
            ("timeout", format!("{}s", endpoint.timeout.as_secs().max(1))),
        ],
        access: Arc::default(),
        timeout: endpoint.timeout,
        bytes_max: BYTES_MAX,
    };
    let body = outside
        .query(&query)
        .await
        .map_err(|error| Unknown::NoAnswer {
            cause: cause(&error),
        })?;
    answer::read(&body, &job.series)
}

fn cause(error: &QueryError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
