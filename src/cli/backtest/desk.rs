//! Asks for what was recorded around one release.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::history::Release;
use super::kube_state::{self, KubeState};
use super::recording::{Recorded, Recording};
use super::replay::Subject;
use super::rows::{Row, Rows};
use super::series::{narrowings, pods, pods_of, series};
use super::source::Source;
use super::span::Span;
use crate::api::promql;
use crate::decide::{PromQl, Requests, Shape, Trigger, TriggerKind, Unknown};
use crate::observe::evidence::wanted::{BEFORE_THE_WINDOW, candidates, window};
use crate::observe::prometheus::answer::Sink;
use crate::observe::prometheus::buffer::{Buffer, Owner};
use crate::observe::prometheus::feeds::{FreeQuery, HISTORY_MAX};
use crate::observe::prometheus::histogram::{in_unit, needed_edges};
use crate::observe::prometheus::presets::SpecId;
use crate::observe::prometheus::reader::{Edges, Reader, Role};
use crate::observe::prometheus::selector::{STEP, over, subquery};
use crate::observe::prometheus::series::{self as shapes, Metric, Narrowed, Series};
use crate::observe::prometheus::worst::Worst;

/// One answer holds this much of each series: an hour of a scrape a second is 3600 samples.
const PIECE: SignedDuration = SignedDuration::from_hours(1);

/// Questions at a time; each may be asked in several pieces.
const AT_ONCE: usize = 4;

/// A name that nothing escapes and no query holds.
const STAND_IN: &str = "asternbacktestpods";

/// What to ask, and where.
pub struct Desk<'a> {
    pub source: &'a Source,
    pub subject: &'a Subject,
    pub triggers: &'a [Trigger],
    /// Whether kube-state-metrics has anything about the Deployment.
    pub has_kube_state: bool,
    /// Between two values of a user's own query; the operator's own if absent.
    pub step: Option<SignedDuration>,
}

/// Which part of the past to ask about.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub release: &'a Release,
    pub span: Span,
    /// The shapes that were found before, by trigger.
    pub known: &'a BTreeMap<String, SpecId>,
}

impl Desk<'_> {
    /// Returns how much of the past a decision may rest on: what the operator keeps of metrics, and as
    /// much of what Kubernetes said as the triggers look back.
    #[must_use]
    pub fn reach(&self) -> SignedDuration {
        let longest = self.triggers.iter().map(|trigger| match &trigger.kind {
            TriggerKind::Restarts(rule) => rule.window,
            TriggerKind::Unavailable(rule) => rule.sustained,
            TriggerKind::ErrorRate(_)
            | TriggerKind::Latency(_)
            | TriggerKind::ProbeFailures(_)
            | TriggerKind::RolloutStalled
            | TriggerKind::PromQl(_)
            | TriggerKind::Alert(_) => window(trigger),
        });
        let longest = longest.max().unwrap_or_default();
        longest.saturating_add(BEFORE_THE_WINDOW).max(HISTORY_MAX)
    }

    /// Reads all that was recorded about the pods of a release and those beside them.
    ///
    /// # Errors
    ///
    /// When the source does not answer: a hole in the past must not look like quiet.
    pub async fn record(&self, about: About<'_>) -> anyhow::Result<Recording> {
        let by_trigger = self.triggers.iter().map(|trigger| async move {
            let found = self.of_trigger(trigger, about).await?;
            Ok::<_, anyhow::Error>((trigger.name.clone(), found))
        });
        let found: Vec<(String, Option<Recorded>)> = stream::iter(by_trigger)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let found = found
            .into_iter()
            .filter_map(|(trigger, found)| Some((trigger, found?)));
        let kube = self.kube_state(about.span).await?;
        Ok(Recording::new(
            found.collect(),
            kube,
            self.subject,
            about.span.from,
        ))
    }

    async fn of_trigger(
        &self,
        trigger: &Trigger,
        about: About<'_>,
    ) -> anyhow::Result<Option<Recorded>> {
        let known = about.known.get(&trigger.name).copied();
        Ok(Some(match &trigger.kind {
            TriggerKind::ErrorRate(rule) => match &rule.requests {
                Requests::Preset(shape) => self.shaped((shape, None), known, about.span).await?,
                Requests::Custom { total, errors } => self.custom(total, errors, about).await?,
            },
            TriggerKind::Latency(rule) => {
                let shape = (&rule.shape, Some(rule.threshold));
                self.shaped(shape, known, about.span).await?
            }
            TriggerKind::ProbeFailures(rule) => {
                let series = series(Metric::Probes(rule.probe), None);
                Recorded::Probes(self.samples(&Sought::plain(&series), about.span).await?)
            }
            TriggerKind::Alert(rule) => {
                let series = series(Metric::Alert(rule.labels.clone()), None);
                Recorded::Alert(self.samples(&Sought::plain(&series), about.span).await?)
            }
            TriggerKind::PromQl(rule) => self.values(rule, about).await?,
            TriggerKind::Restarts(_)
            | TriggerKind::RolloutStalled
            | TriggerKind::Unavailable(_) => return Ok(None),
        }))
    }

    /// Returns the first shape that has data, and the data. What was found before is tried first, as
    /// the operator stays with it.
    async fn shaped(
        &self,
        (shape, slower_than): (&Shape, Option<SignedDuration>),
        known: Option<SpecId>,
        span: Span,
    ) -> anyhow::Result<Recorded> {
        let candidates = candidates(shape, slower_than.is_some());
        let others = candidates.iter().filter(|id| Some(**id) != known);
        for id in known.iter().chain(others) {
            let (slower, buffer) = if let Some(threshold) = slower_than {
                self.latency(*id, shape, threshold, span).await?
            } else {
                let series = series(Metric::Requests(*id), Some(shape));
                let in_front = self.subject.in_front(id.spec().identity);
                let sought = Sought {
                    in_front: &in_front,
                    ..Sought::plain(&series)
                };
                (None, self.samples(&sought, span).await?)
            };
            if !buffer.is_empty() {
                return Ok(Recorded::Shape {
                    id: *id,
                    slower,
                    buffer,
                });
            }
        }
        Ok(Recorded::Missing(match &self.subject.paths {
            Err(cause) if candidates.iter().all(|id| !is_by_pod(*id)) => Unknown::NoSource {
                cause: cause.clone(),
            },
            Ok(_) | Err(_) => Unknown::NoData,
        }))
    }

    /// Asks which buckets there are, and then for those around the threshold.
    async fn latency(
        &self,
        id: SpecId,
        shape: &Shape,
        threshold: SignedDuration,
        span: Span,
    ) -> anyhow::Result<(Option<f64>, Buffer)> {
        let Some(histogram) = id.spec().latency else {
            return Ok((None, Buffer::default()));
        };
        let threshold = in_unit(threshold, histogram.unit);
        let series = series(Metric::Latency(id), Some(shape));
        let in_front = self.subject.in_front(id.spec().identity);
        let mut sought = Sought {
            in_front: &in_front,
            thresholds: &[threshold],
            ..Sought::plain(&series)
        };
        let edges = self.edges(&sought, span).await?;
        sought.edges = needed_edges([threshold].into_iter(), &edges);
        let buffer = self.samples(&sought, span).await?;
        Ok((Some(threshold), buffer))
    }

    async fn edges(&self, sought: &Sought<'_>, span: Span) -> anyhow::Result<BTreeSet<String>> {
        let mut edges = Edges {
            series: sought.series,
            found: BTreeMap::new(),
        };
        for narrowing in self.narrowings(sought) {
            let narrowed = Narrowed {
                namespaces: std::slice::from_ref(&self.subject.namespace),
                forced: &narrowing,
                ..Narrowed::default()
            };
            // Where a shape has no histogram, nothing is asked for by it.
            let query =
                |length| shapes::edges(sought.series, &narrowed, Some(length)).unwrap_or_default();
            self.ask(span, &query, &mut edges).await?;
        }
        Ok(edges.found.into_values().flatten().collect())
    }

    /// Returns the samples of a shape that are about the Deployment.
    async fn samples(&self, sought: &Sought<'_>, span: Span) -> anyhow::Result<Buffer> {
        let mut buffer = Buffer::default();
        for narrowing in self.narrowings(sought) {
            let selector = sought.series.selector(&Narrowed {
                namespaces: std::slice::from_ref(&self.subject.namespace),
                edges: sought.edges.clone(),
                forced: &narrowing,
            });
            let reader = Reader::new(sought.series, Role::Shape, &mut buffer);
            let mut reader = reader.cut_at(sought.thresholds);
            self.ask(span, &|length| over(&selector, length), &mut reader)
                .await?;
        }
        Ok(buffer)
    }

    /// What leaves of a series what is about the Deployment, with what the source forces into all.
    fn narrowings(&self, sought: &Sought<'_>) -> Vec<String> {
        let forced = self.source.matchers();
        let narrowings = narrowings(sought.series, &self.subject.name, sought.in_front);
        let narrowings = narrowings.into_iter().map(|own| match (own, &forced) {
            (own, forced) if forced.is_empty() => own,
            (own, forced) if own.is_empty() => forced.clone(),
            (own, forced) => format!("{own},{forced}"),
        });
        narrowings.collect()
    }

    async fn custom(
        &self,
        total: &str,
        errors: &str,
        about: About<'_>,
    ) -> anyhow::Result<Recorded> {
        let mut buffer = Buffer::default();
        let metric = Metric::Custom {
            total: total.to_owned(),
            errors: errors.to_owned(),
        };
        let series = series(metric, None);
        for (text, role) in [(total, Role::Total), (errors, Role::Errors)] {
            let text = self.prepared(text, about.release)?;
            let reader = Reader::new(&series, role, &mut buffer);
            let mut reader = reader.within(&self.subject.namespace);
            self.ask(
                about.span,
                &|length| subquery(&text, length, STEP),
                &mut reader,
            )
            .await?;
        }
        Ok(Recorded::Custom(buffer))
    }

    async fn values(&self, rule: &PromQl, about: About<'_>) -> anyhow::Result<Recorded> {
        let text = self.prepared(&rule.query, about.release)?;
        let range = rule.sustained + BEFORE_THE_WINDOW;
        let query = FreeQuery::new(text, rule.bound, range);
        let step = self.step.unwrap_or(query.step);
        let mut worst = Worst::new(rule.bound);
        self.ask(
            about.span,
            &|length| subquery(&query.text, length, step),
            &mut worst,
        )
        .await?;
        Ok(Recorded::Values {
            values: worst.values(),
            range: range.max(step + BEFORE_THE_WINDOW),
        })
    }

    /// Returns a user's own query as the operator would send it, with a pattern for the names of the
    /// release's pods.
    fn prepared(&self, query: &str, release: &Release) -> anyhow::Result<String> {
        let query = self.source.confined(query, &self.subject.namespace)?;
        let query = promql::with_pods(&query, &[STAND_IN.to_owned()]);
        Ok(query.replace(STAND_IN, &pods_of(&release.set)))
    }

    async fn kube_state(&self, span: Span) -> anyhow::Result<KubeState> {
        if !self.has_kube_state {
            return Ok(KubeState::default());
        }
        let Subject {
            namespace, name, ..
        } = self.subject;
        let deployment = kube_state::deployment_selector(namespace, name);
        let mut rows = self.rows(&deployment, span).await?;
        let pods = kube_state::pods_selector(namespace, &pods(name));
        rows.extend(self.rows(&pods, span).await?);
        Ok(KubeState::of(&rows))
    }

    async fn rows(&self, selector: &str, span: Span) -> anyhow::Result<Vec<Row>> {
        let selector = self.source.forced(selector)?;
        let mut rows = Rows::with(kube_state::LABELS);
        self.ask(span, &|length| over(&selector, length), &mut rows)
            .await?;
        Ok(rows.rows)
    }

    async fn ask(
        &self,
        span: Span,
        query: &(dyn Fn(SignedDuration) -> String + Sync),
        sink: &mut (dyn Sink + Send),
    ) -> anyhow::Result<()> {
        let source = self.source;
        source
            .over((span, PIECE), query, sink, &mut |_, _| ())
            .await
    }

    /// Returns from when on samples are needed for decisions from `at` on.
    #[must_use]
    pub fn lead(&self, at: Timestamp) -> Timestamp {
        super::span::earlier(at, self.reach())
    }
}

/// What to look for under one shape.
struct Sought<'a> {
    series: &'a Series,
    in_front: &'a [Owner],
    edges: BTreeSet<String>,
    thresholds: &'a [f64],
}

impl<'a> Sought<'a> {
    const fn plain(series: &'a Series) -> Self {
        Self {
            series,
            in_front: &[],
            edges: BTreeSet::new(),
            thresholds: &[],
        }
    }
}

fn is_by_pod(id: SpecId) -> bool {
    id.spec().identity.tells_revisions_apart()
}
