//! Asks the metric sources: one request per source, shape and tick, whatever the number of workloads.
//!
//! A workload says what it [wants](Feeds::wanted) whenever it is looked at and takes what is there.
//! What nobody has wanted for a while is not asked for any more. Losing all of it loses nothing: the
//! first request for a namespace asks for everything back to its release.

mod ask;
mod feed;
mod finder;
mod free;
mod namespace;
mod plan;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};

use self::ask::{Answer, Done, Job, Question, ask};
use self::feed::Feed;
use self::finder::Finder;
use self::free::FreeQueries;
use super::buffer::{Buffer, Owner};
use super::presets::SpecId;
use super::series::{Metric, Series};
use super::services::Services;
use crate::decide::{Unknown, ValueAt};
use crate::observe::sources::Sources;
use crate::port::{Cluster, Outside};

pub use self::feed::{HISTORY_MAX, Need, Pace};
pub use self::finder::{Sought, with_shape};
pub use self::free::{FreeKey, FreeQuery};

/// Requests to one source at a time. Prometheus runs twenty queries at once, and others ask too.
const ASKING_MAX: usize = 4;
/// How long to wait when there is nothing to ask.
const IDLE: SignedDuration = SignedDuration::from_secs(15);

/// All series that some workload wants.
#[derive(Default)]
pub struct Feeds {
    state: Mutex<State>,
    wake: Notify,
    /// What leads to pods, for shapes that are counted in front of them.
    pub services: Services,
}

#[derive(Default)]
struct State {
    feeds: BTreeMap<Series, Feed>,
    finder: Finder,
    free: FreeQueries,
    /// Requests under way, by source.
    asking: HashMap<String, usize>,
}

/// A question with what it is the answer for.
struct Started {
    job: Job,
    /// The series under which a search is known.
    search: Option<Series>,
    free: Option<FreeKey>,
}

impl Feeds {
    /// Reads what is known about a namespace with `read`, which also gets the time of the last answer,
    /// and keeps it coming.
    ///
    /// # Errors
    ///
    /// Why nothing is known: no answer yet, or the source's last one was of no use.
    pub fn wanted<T>(
        &self,
        series: &Series,
        need: Need<'_>,
        now: Timestamp,
        read: impl FnOnce(&Buffer, Timestamp) -> T,
    ) -> Result<T, Unknown> {
        let mut state = self.lock();
        if !state.feeds.contains_key(series) {
            let is_free = matches!(series.metric, Metric::Custom { .. });
            if is_free && state.free_queries(&series.source) >= free::FREE_MAX {
                return Err(too_many());
            }
            state.feeds.insert(series.clone(), Feed::default());
        }
        let Some(feed) = state.feeds.get_mut(series) else {
            return Err(Unknown::NoData);
        };
        if feed.want(need, now) {
            self.wake.notify_one();
        }
        let until = feed.covers(need.namespace)?;
        Ok(read(&feed.buffer, until))
    }

    /// Returns the first candidate that has data for a workload, whose `owners` depend on the shape.
    ///
    /// # Errors
    ///
    /// Why none is known yet.
    pub fn find(
        &self,
        sought: &Sought<'_>,
        owners: &dyn Fn(SpecId) -> Vec<Owner>,
        now: Timestamp,
    ) -> Result<SpecId, Unknown> {
        let mut state = self.lock();
        let found = state.finder.wanted(sought, owners, now);
        if found.is_err() && state.finder.due(now).is_some_and(|due| due <= now) {
            self.wake.notify_one();
        }
        found
    }

    /// Returns the newest values of a query of a policy's own, and keeps them coming.
    ///
    /// # Errors
    ///
    /// Why there are none: no answer yet, or none of use.
    pub fn values(
        &self,
        key: &FreeKey,
        query: FreeQuery,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Vec<ValueAt>, Unknown> {
        let mut state = self.lock();
        let custom = state.free_queries(&key.source) - state.free.count(&key.source);
        if custom >= free::FREE_MAX {
            return Err(too_many());
        }
        let (answer, is_new) = state.free.wanted(key, query, pace, now);
        if is_new {
            self.wake.notify_one();
        }
        answer
    }

    /// Asks for ever. Sends the namespaces about which there is news to `news`.
    pub async fn run(
        self: Arc<Self>,
        cluster: Arc<dyn Cluster>,
        outside: Arc<dyn Outside>,
        sources: Arc<Sources>,
        news: mpsc::Sender<Vec<String>>,
    ) {
        let mut asking: FuturesUnordered<BoxFuture<'static, (Done, Started)>> =
            FuturesUnordered::new();
        loop {
            let (due, next) = self.due(cluster.now());
            for started in due {
                let (outside, sources) = (Arc::clone(&outside), Arc::clone(&sources));
                asking.push(Box::pin(async move {
                    let done = ask(started.job.clone(), outside, sources).await;
                    (done, started)
                }));
            }
            tokio::select! {
                Some((done, started)) = asking.next(), if !asking.is_empty() => {
                    let namespaces = self.take_in(done, &started);
                    if !namespaces.is_empty() {
                        // Nobody listens any more only when the process ends.
                        let _ = news.send(namespaces).await;
                    }
                }
                () = cluster.sleep_until(next) => (),
                () = self.wake.notified() => (),
            }
        }
    }

    /// Returns what to ask now, and when to look again.
    fn due(&self, now: Timestamp) -> (Vec<Started>, Timestamp) {
        let mut state = self.lock();
        let state = &mut *state;
        state.feeds.retain(|_, feed| feed.tidy(now));
        state.finder.tidy(now);
        state.free.tidy(now);
        let mut started = state.start_feeds(now);
        state.start_searches(now, &mut started);
        state.start_free(now, &mut started);
        let waiting = state
            .feeds
            .iter()
            .filter(|(series, feed)| !feed.asking && state.has_room(&series.source))
            .map(|(_, feed)| feed.due(now));
        let next = waiting
            .chain(state.finder.due(now))
            .chain(state.free.due(now))
            // What could not be started waits for an answer that makes room.
            .filter(|due| *due > now)
            .min();
        (started, next.unwrap_or(now + IDLE).min(now + IDLE))
    }

    fn take_in(&self, done: Done, started: &Started) -> Vec<String> {
        let mut state = self.lock();
        let Done { job, answer } = done;
        if let Some(count) = state.asking.get_mut(&job.series.source) {
            *count = count.saturating_sub(1);
        }
        match (job.question, answer) {
            (Question::Samples(plan), Answer::Samples(outcome)) => {
                let feed = state.feeds.get_mut(&job.series);
                feed.map_or_else(Vec::new, |feed| feed.take_in(&plan, job.at, outcome))
            }
            (Question::Find(namespaces), Answer::Found(found)) => {
                let candidate = match job.series.metric {
                    Metric::Requests(id) | Metric::Latency(id) => Some(id),
                    Metric::Probes(_) | Metric::Alert(_) | Metric::Custom { .. } => None,
                };
                let (Some(search), Some(candidate)) = (&started.search, candidate) else {
                    return Vec::new();
                };
                state.finder.take_in(search, candidate, &namespaces, found)
            }
            (Question::Free(query), Answer::Values(values)) => {
                let news = started
                    .free
                    .as_ref()
                    .filter(|key| state.free.take_in(key, &query, values));
                news.map(|key| key.namespace.clone()).into_iter().collect()
            }
            // A question has an answer of its own kind.
            (Question::Samples(_) | Question::Find(_) | Question::Free(_), _) => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the maps whole: every change is one insertion or assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn free_queries(&self, source: &str) -> usize {
        let custom = self.feeds.keys().filter(|series| {
            series.source == source && matches!(series.metric, Metric::Custom { .. })
        });
        custom.count() + self.free.count(source)
    }

    fn has_room(&self, source: &str) -> bool {
        self.asking.get(source).copied().unwrap_or_default() < ASKING_MAX
    }

    fn started(&mut self, source: &str) {
        *self.asking.entry(source.to_owned()).or_default() += 1;
    }

    fn start_feeds(&mut self, now: Timestamp) -> Vec<Started> {
        let mut started = Vec::new();
        let ready: Vec<Series> = self
            .feeds
            .iter()
            .filter(|(_, feed)| !feed.asking && feed.due(now) <= now)
            .map(|(series, _)| series.clone())
            .collect();
        for series in ready {
            if !self.has_room(&series.source) {
                continue;
            }
            let plan = self
                .feeds
                .get_mut(&series)
                .and_then(|feed| feed.plan(&series, now));
            if let Some(plan) = plan {
                self.started(&series.source);
                started.push(Started::of(series, Question::Samples(plan), now));
            }
        }
        started
    }

    /// A search is started whole: it is one question per shape, seldom.
    fn start_searches(&mut self, now: Timestamp, started: &mut Vec<Started>) {
        for (search, series, namespaces) in self.finder.start(now) {
            self.started(&series.source);
            let mut one = Started::of(series, Question::Find(namespaces), now);
            one.search = Some(search);
            started.push(one);
        }
    }

    fn start_free(&mut self, now: Timestamp, started: &mut Vec<Started>) {
        for key in self.free.ready(now) {
            if !self.has_room(&key.source) {
                continue;
            }
            let Some(query) = self.free.start(&key, now) else {
                continue;
            };
            self.started(&key.source);
            let series = Series {
                source: key.source.clone(),
                tenant: key.tenant.clone(),
                // What a free query asks for is in its text.
                metric: Metric::Alert(BTreeMap::new()),
                matchers: String::new(),
                labels: crate::decide::LabelNames::default(),
            };
            let mut one = Started::of(series, Question::Free(query), now);
            one.free = Some(key);
            started.push(one);
        }
    }
}

impl Started {
    fn of(series: Series, question: Question, at: Timestamp) -> Self {
        Self {
            job: Job {
                series,
                question,
                at,
            },
            search: None,
            free: None,
        }
    }
}

fn too_many() -> Unknown {
    Unknown::NoSource {
        cause: format!(
            "{} queries of policies' own are asked of it already, the most there may be; a preset is asked once for all workloads",
            free::FREE_MAX
        ),
    }
}
