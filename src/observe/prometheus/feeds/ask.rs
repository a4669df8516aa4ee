//! Turns what is to be asked into queries, sends them, and reads the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;

use super::free::FreeQuery;
use super::plan::{Outcome, Plan, Purpose};
use crate::api::parse::PartialAnswers;
use crate::decide::{Unknown, ValueAt};
use crate::observe::prometheus::answer::{self, Row, Sink};
use crate::observe::prometheus::buffer::{Buffer, Owner};
use crate::observe::prometheus::reader::{Edges, Finds, Reader, Role};
use crate::observe::prometheus::selector::{STEP, matchers, over, subquery};
use crate::observe::prometheus::series::{self, Metric, Narrowed, Series};
use crate::observe::prometheus::worst::Worst;
use crate::observe::sources::{Endpoint, Sources};
use crate::port::{Outside, Query, QueryError};

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Samples(Plan),
    /// Whether there is anything about these namespaces.
    Find(Vec<String>),
    Free(FreeQuery),
}

/// One thing to ask of one source.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) series: Series,
    pub(super) question: Question,
    pub(super) at: Timestamp,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    Samples(Outcome),
    Found(Result<BTreeSet<Owner>, Unknown>),
    Values(Result<Vec<ValueAt>, Unknown>),
}

pub(super) struct Done {
    pub(super) job: Job,
    pub(super) answer: Answer,
}

/// Asks `job` of the source that it names.
pub(super) async fn ask(job: Job, outside: Arc<dyn Outside>, sources: Arc<Sources>) -> Done {
    let tenant = job.series.tenant.as_deref();
    let answer = match sources.resolve(&job.series.source, tenant).await {
        Ok(endpoint) => {
            let source = Source {
                forced: matchers(&endpoint.match_labels),
                endpoint,
                outside,
                sources: &sources,
            };
            source.answer(&job).await
        }
        Err(cause) => failed(&job, Problem::from(Unknown::NoSource { cause })),
    };
    Done { job, answer }
}

/// Why there is no answer, and whether asking for less would help.
struct Problem {
    cause: Unknown,
    too_large: bool,
}

impl From<Unknown> for Problem {
    fn from(cause: Unknown) -> Self {
        Self {
            cause,
            too_large: false,
        }
    }
}

fn failed(job: &Job, problem: Problem) -> Answer {
    let Problem { cause, too_large } = problem;
    match job.question {
        Question::Samples(_) => Answer::Samples(Outcome::Failed { cause, too_large }),
        Question::Find(_) => Answer::Found(Err(cause)),
        Question::Free(_) => Answer::Values(Err(cause)),
    }
}

/// A source that is being asked.
struct Source<'a> {
    endpoint: Endpoint,
    /// The matchers that the admin forces into every query.
    forced: String,
    outside: Arc<dyn Outside>,
    sources: &'a Sources,
}

impl Source<'_> {
    async fn answer(&self, job: &Job) -> Answer {
        let series = &job.series;
        let answer = match &job.question {
            Question::Samples(plan) if plan.purpose == Purpose::Edges => {
                let edges = self.edges(series, plan).await;
                edges.map(|edges| Answer::Samples(Outcome::Edges(edges)))
            }
            Question::Samples(plan) => {
                let samples = self.samples(series, plan).await;
                samples.map(|buffer| Answer::Samples(Outcome::Samples(buffer)))
            }
            Question::Find(namespaces) => {
                let found = self.found(series, namespaces).await;
                found.map(|found| Answer::Found(Ok(found)))
            }
            Question::Free(query) => {
                let mut worst = Worst::new(query.bound);
                let text = subquery(&query.text, query.range, query.step);
                let read = self.read(text, &mut worst).await;
                read.map(|()| Answer::Values(Ok(worst.values())))
            }
        };
        answer.unwrap_or_else(|problem| failed(job, problem))
    }

    async fn samples(&self, series: &Series, plan: &Plan) -> Result<Buffer, Problem> {
        let mut buffer = Buffer::default();
        if let Metric::Custom { total, errors } = &series.metric {
            let namespace = plan.namespaces.first().map_or("", String::as_str);
            for (text, role) in [(total, Role::Total), (errors, Role::Errors)] {
                let mut reader = Reader::new(series, role, &mut buffer).within(namespace);
                self.read(subquery(text, plan.range, STEP), &mut reader)
                    .await?;
            }
            return Ok(buffer);
        }
        let selector = series.selector(&Narrowed {
            namespaces: &plan.namespaces,
            edges: plan.edges.clone(),
            forced: &self.forced,
        });
        let thresholds: Vec<f64> = plan
            .thresholds
            .iter()
            .map(|bits| f64::from_bits(*bits))
            .collect();
        let mut reader = Reader::new(series, Role::Shape, &mut buffer).cut_at(&thresholds);
        self.read(over(&selector, plan.range), &mut reader).await?;
        Ok(buffer)
    }

    async fn edges(
        &self,
        series: &Series,
        plan: &Plan,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, Problem> {
        let narrowed = Narrowed {
            namespaces: &plan.namespaces,
            forced: &self.forced,
            ..Narrowed::default()
        };
        let mut edges = Edges {
            series,
            found: BTreeMap::new(),
        };
        if let Some(text) = series::edges(series, &narrowed, None) {
            self.read(text, &mut edges).await?;
        }
        Ok(edges.found)
    }

    async fn found(
        &self,
        series: &Series,
        namespaces: &[String],
    ) -> Result<BTreeSet<Owner>, Problem> {
        let narrowed = Narrowed {
            namespaces,
            // Of every classic histogram one bucket is enough to see that it is there.
            edges: BTreeSet::from(["+Inf".to_owned()]),
            forced: &self.forced,
        };
        let mut finds = Finds {
            series,
            found: BTreeSet::new(),
        };
        self.read(series::finding(series, &narrowed), &mut finds)
            .await?;
        Ok(finds.found)
    }

    async fn read(&self, text: String, sink: &mut (dyn Sink + Send)) -> Result<(), Problem> {
        let body = self.send(text).await?;
        let accept_partial = self.endpoint.partial_answers == PartialAnswers::Accept;
        let mut sink = Limited {
            sink,
            left: self.endpoint.limits.series,
        };
        Ok(answer::read(&body, accept_partial, &mut sink)?)
    }

    /// Sends one query. Without a time: the source's own clock is the one that stamps the samples.
    async fn send(&self, text: String) -> Result<Vec<u8>, Problem> {
        let seconds = self.endpoint.timeout.as_secs().max(1);
        let form = vec![("query", text), ("timeout", format!("{seconds}s"))];
        let outside = Noting {
            outside: Arc::clone(&self.outside),
            too_large: AtomicBool::new(false),
        };
        let answer = self
            .sources
            .ask(&outside, &self.endpoint, "api/v1/query", form);
        answer.await.map_err(|cause| Problem {
            cause: Unknown::NoAnswer { cause },
            too_large: outside.too_large.load(Ordering::Relaxed),
        })
    }
}

/// Notes when an answer is too large: the one failure that asking for less can help.
struct Noting {
    outside: Arc<dyn Outside>,
    too_large: AtomicBool,
}

#[async_trait]
impl Outside for Noting {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let answer = self.outside.query(query).await;
        let too_large = matches!(answer, Err(QueryError::TooLarge(_)));
        self.too_large.fetch_or(too_large, Ordering::Relaxed);
        answer
    }
}

/// Takes no more series than the admin lets a source answer with.
struct Limited<'a> {
    sink: &'a mut (dyn Sink + Send),
    left: usize,
}

impl Sink for Limited<'_> {
    fn keeps(&self, label: &str) -> bool {
        self.sink.keeps(label)
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or("it has more series than limits.series of its MetricSource")?;
        self.sink.row(row)
    }
}
