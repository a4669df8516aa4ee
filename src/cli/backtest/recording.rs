//! What was recorded around one release, and what of it could be seen at a moment.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::history::{Release, set_of};
use super::kube_state::{self, KubeState};
use super::matrix::{self, Row};
use super::series::{self, ByPod, Shape};
use super::source::Source;
use super::span::{Span, earlier};
use crate::decide::detectors::scrape_interval;
use crate::decide::{
    Alert, Bound, Counters, Evidence, Firing, PodCounters, Preset, Sample, Trigger, TriggerKind,
    ValueAt,
};

/// How much of the past a decision rests on at least: what the operator keeps to compare a release with
/// what ran before it.
const REACH: SignedDuration = SignedDuration::from_mins(20);

/// Samples before a window are needed to know what a counter stood at when it began.
const BEFORE_THE_WINDOW: SignedDuration = SignedDuration::from_mins(2);

/// One answer holds this much of each series: an hour of a scrape a second is 3600 samples.
const PIECE: SignedDuration = SignedDuration::from_hours(1);

/// Questions at a time; each may be asked in several pieces.
const AT_ONCE: usize = 4;

/// Prometheus' own default, until two samples tell the real one.
const INTERVAL_UNKNOWN: SignedDuration = SignedDuration::from_secs(60);

/// Letters of the names that Kubernetes makes up for ReplicaSets and pods. It leaves out vowels, so
/// `checkout-web-x2b4c` is no pod of a ReplicaSet `checkout-web` of the Deployment `checkout`.
const LETTERS: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// What to ask, and where.
pub struct Desk<'a> {
    pub source: &'a Source,
    pub namespace: &'a str,
    pub deployment: &'a str,
    pub triggers: &'a [Trigger],
    /// Whether kube-state-metrics has anything about the Deployment.
    pub has_kube_state: bool,
}

/// What was recorded around one release.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Between two scrapes.
    pub interval: SignedDuration,
    /// By trigger.
    recorded: BTreeMap<String, Recorded>,
    pub kube: KubeState,
    /// The shape that each trigger was found in.
    pub shapes: BTreeMap<String, usize>,
    begins: Option<Timestamp>,
    /// How much of it can be seen at one moment.
    reach: SignedDuration,
}

#[derive(Clone, Debug)]
enum Recorded {
    Counters { preset: Option<Preset>, pods: ByPod },
    Values(Vec<ValueAt>),
    Firing(Vec<Timestamp>),
}

impl Desk<'_> {
    /// Returns how much of the past a decision may rest on.
    #[must_use]
    pub fn reach(&self) -> SignedDuration {
        let longest = self.triggers.iter().map(series::reach).max();
        (longest.unwrap_or_default() + BEFORE_THE_WINDOW).max(REACH)
    }

    /// Returns a pattern for the names of all pods of the Deployment.
    #[must_use]
    pub fn pods(&self) -> String {
        format!("{}-{LETTERS}{{5}}", self.replica_sets())
    }

    /// Returns a pattern for the names of all its ReplicaSets.
    #[must_use]
    pub fn replica_sets(&self) -> String {
        // A backslash before the dot, and one before that for the string of PromQL.
        let name = self.deployment.replace('.', r"\\.");
        format!("{name}-{LETTERS}{{1,10}}")
    }

    /// Reads all that was recorded in `span`, about the pods of `release` and those beside them.
    /// `known` are the shapes that were found before.
    ///
    /// # Errors
    ///
    /// When the source does not answer: a hole in the past must not look like quiet.
    pub async fn record(
        &self,
        release: &Release,
        span: Span,
        step: SignedDuration,
        known: &BTreeMap<String, usize>,
    ) -> anyhow::Result<Recording> {
        let by_trigger = self.triggers.iter().map(|trigger| async move {
            let found = self.of_trigger(trigger, release, (span, step), known);
            Ok::<_, anyhow::Error>((trigger.name.clone(), found.await?))
        });
        let found: Vec<(String, Option<(usize, Recorded)>)> = stream::iter(by_trigger)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut recording = Recording {
            kube: self.kube_state(span).await?,
            begins: Some(span.from),
            reach: self.reach(),
            ..Recording::default()
        };
        for (trigger, found) in found {
            let Some((shape, recorded)) = found else {
                continue;
            };
            if matches!(&recorded, Recorded::Counters { pods, .. } if !pods.is_empty()) {
                recording.shapes.insert(trigger.clone(), shape);
            }
            recording.recorded.insert(trigger, recorded);
        }
        recording.interval = recording.scrape_interval().unwrap_or(INTERVAL_UNKNOWN);
        Ok(recording)
    }

    async fn of_trigger(
        &self,
        trigger: &Trigger,
        release: &Release,
        (span, step): (Span, SignedDuration),
        known: &BTreeMap<String, usize>,
    ) -> anyhow::Result<Option<(usize, Recorded)>> {
        Ok(match &trigger.kind {
            TriggerKind::ErrorRate(_) | TriggerKind::Latency(_) | TriggerKind::ProbeFailures(_) => {
                let found = self
                    .counters(trigger, span, known.get(&trigger.name))
                    .await?;
                found.map(|(place, preset, pods)| (place, Recorded::Counters { preset, pods }))
            }
            TriggerKind::PromQl(rule) => {
                let pods = pods_of(release);
                let query = self.source.confined(&rule.query, self.namespace, &pods)?;
                let rows = self.rows(&query, span, Some(step)).await?;
                Some((0, Recorded::Values(worst(&rows, rule.bound))))
            }
            TriggerKind::Alert(rule) => {
                let rows = self.rows(&alerts(rule, self.namespace), span, None).await?;
                let times = rows.iter().flat_map(|row| &row.values).map(|(at, _)| *at);
                let times: std::collections::BTreeSet<Timestamp> = times.collect();
                Some((0, Recorded::Firing(times.into_iter().collect())))
            }
            TriggerKind::Restarts(_)
            | TriggerKind::RolloutStalled
            | TriggerKind::Unavailable(_) => None,
        })
    }

    /// Returns the first shape that has data, and the data.
    async fn counters(
        &self,
        trigger: &Trigger,
        span: Span,
        known: Option<&usize>,
    ) -> anyhow::Result<Option<(usize, Option<Preset>, ByPod)>> {
        let shapes = series::shapes(trigger);
        for (place, shape) in shapes.iter().enumerate() {
            if known.is_some_and(|known| *known != place) {
                continue;
            }
            let pods = self.by_pod(shape, span).await?;
            if !pods.is_empty() || known.is_some() || place + 1 == shapes.len() {
                return Ok(Some((place, shape.preset, pods)));
            }
        }
        Ok(None)
    }

    async fn by_pod(&self, shape: &Shape, span: Span) -> anyhow::Result<ByPod> {
        let selector = shape.selector(self.namespace, &self.pods());
        let selector = self.source.forced(&selector)?;
        let mut found: BTreeMap<String, BTreeMap<Timestamp, Sample>> = BTreeMap::new();
        self.source
            .over(
                (span, PIECE),
                &|length| format!("{selector}[{}s]", length.as_secs()),
                &mut |body| {
                    for (pod, samples) in shape.read(body, self.namespace)? {
                        let known = found.entry(pod).or_default();
                        known.extend(samples.into_iter().map(|sample| (sample.at, sample)));
                    }
                    Ok(())
                },
                &mut |_, _| (),
            )
            .await?;
        let in_order = |(pod, samples): (String, BTreeMap<Timestamp, Sample>)| {
            (pod, samples.into_values().collect())
        };
        Ok(found.into_iter().map(in_order).collect())
    }

    async fn kube_state(&self, span: Span) -> anyhow::Result<KubeState> {
        if !self.has_kube_state {
            return Ok(KubeState::default());
        }
        let deployment = kube_state::deployment_selector(self.namespace, self.deployment);
        let mut rows = self.rows(&deployment, span, None).await?;
        let pods = kube_state::pods_selector(self.namespace, &self.pods());
        rows.extend(self.rows(&pods, span, None).await?);
        Ok(KubeState::of(&rows))
    }

    /// Asks for the raw samples of a selector, or for the values of an expression at each `step`.
    async fn rows(
        &self,
        expression: &str,
        span: Span,
        step: Option<SignedDuration>,
    ) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        // A query that is evaluated in steps is the user's, and confined already.
        let expression = match step {
            None => self.source.forced(expression)?,
            Some(_) => expression.to_owned(),
        };
        self.source
            .over(
                (span, PIECE),
                &|length| match step {
                    None => format!("{expression}[{}s]", length.as_secs()),
                    Some(step) => {
                        let step = step.as_secs().max(1);
                        format!("({expression})[{}s:{step}s]", length.as_secs())
                    }
                },
                &mut |body| {
                    rows.extend(matrix::read(body, self.source.accepts_partial())?);
                    Ok(())
                },
                &mut |_, _| (),
            )
            .await?;
        Ok(rows)
    }
}

/// Returns a pattern for the names of the revision's pods.
fn pods_of(release: &Release) -> String {
    let set = release.set.replace('.', r"\\.");
    format!("{set}-{LETTERS}{{5}}")
}

/// Returns the worst value of all series at each time.
fn worst(rows: &[Row], bound: Bound) -> Vec<ValueAt> {
    let mut worst: BTreeMap<Timestamp, f64> = BTreeMap::new();
    for (at, value) in rows.iter().flat_map(|row| &row.values) {
        let known = worst.entry(*at).or_insert(*value);
        *known = match bound {
            Bound::Above(_) => known.max(*value),
            Bound::Below(_) => known.min(*value),
        };
    }
    let values = worst.into_iter();
    values.map(|(at, value)| ValueAt { at, value }).collect()
}

fn alerts(rule: &Alert, namespace: &str) -> String {
    let quoted = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
    let labels: Vec<String> = rule
        .labels
        .iter()
        .map(|(name, value)| format!(",{name}=\"{}\"", quoted(value)))
        .collect();
    format!(
        r#"ALERTS{{alertstate="firing",namespace="{namespace}"{}}}"#,
        labels.concat()
    )
}

impl Recording {
    /// Returns a recording of one alert.
    #[cfg(test)]
    pub(super) fn firing(trigger: &str, times: Vec<Timestamp>, interval: SignedDuration) -> Self {
        Self {
            interval,
            recorded: BTreeMap::from([(trigger.to_owned(), Recorded::Firing(times))]),
            reach: REACH,
            ..Self::default()
        }
    }

    /// Returns what a source would have said at `now` about each trigger.
    #[must_use]
    pub fn evidence(&self, release: &Release, now: Timestamp) -> BTreeMap<String, Evidence> {
        let of_trigger = |(trigger, recorded): (&String, &Recorded)| {
            let evidence = match recorded {
                Recorded::Counters { preset, pods } => Evidence::Counters(Counters {
                    new: self.counted(pods, now, |pod| release.owns(pod)),
                    old: self.counted(pods, now, |pod| !release.owns(pod)),
                    preset: *preset,
                    before_and_after: false,
                }),
                Recorded::Values(values) => {
                    Evidence::Values(self.seen(values, now, |value| value.at))
                }
                Recorded::Firing(times) => Evidence::Firing(Firing {
                    seen: self.seen(times, now, |at| *at),
                    asked: Some(now),
                    interval: smallest_gap(times),
                }),
            };
            (trigger.clone(), evidence)
        };
        self.recorded.iter().map(of_trigger).collect()
    }

    /// Returns all counters of `trigger` that `owns` accepts, whole.
    #[must_use]
    pub fn counters(&self, trigger: &str, owns: impl Fn(&str) -> bool) -> Option<Vec<PodCounters>> {
        let Some(Recorded::Counters { pods, .. }) = self.recorded.get(trigger) else {
            return None;
        };
        let own = pods.iter().filter(|(pod, _)| owns(pod));
        Some(
            own.map(|(pod, samples)| PodCounters {
                pod: pod.clone(),
                born: self.born(pod, samples),
                samples: samples.clone(),
            })
            .collect(),
        )
    }

    /// Returns the pods that had been scraped lately at `now`, and since when they are known.
    #[must_use]
    pub fn scraped(&self, now: Timestamp) -> BTreeMap<&str, Timestamp> {
        let lately = earlier(now, self.interval * 3);
        let mut found = BTreeMap::new();
        for recorded in self.recorded.values() {
            let Recorded::Counters { pods, .. } = recorded else {
                continue;
            };
            for (pod, samples) in pods {
                let seen = samples.iter().any(|s| s.at > lately && s.at <= now);
                if seen {
                    found.insert(pod.as_str(), self.born(pod, samples));
                }
            }
        }
        found
    }

    /// Returns whether only pods of `release` were left, as far as anybody counted them.
    #[must_use]
    pub fn only(&self, release: &Release, now: Timestamp) -> Option<bool> {
        let any = self.recorded.values().any(
            |recorded| matches!(recorded, Recorded::Counters { pods, .. } if !pods.is_empty()),
        );
        let scraped = self.scraped(now);
        let all_own = scraped
            .keys()
            .all(|pod| set_of(pod) == Some(release.set.as_str()));
        any.then_some(all_own && !scraped.is_empty())
    }

    fn counted(
        &self,
        pods: &ByPod,
        now: Timestamp,
        owns: impl Fn(&str) -> bool,
    ) -> Vec<PodCounters> {
        pods.iter()
            .filter(|(pod, _)| owns(pod))
            .map(|(pod, samples)| PodCounters {
                pod: pod.clone(),
                born: self.born(pod, samples),
                samples: self.seen(samples, now, |sample| sample.at),
            })
            .filter(|pod| !pod.samples.is_empty())
            .collect()
    }

    /// Without kube-state-metrics a pod was born one scrape before its first sample, unless that is
    /// where the recording begins: then it is older.
    fn born(&self, pod: &str, samples: &[Sample]) -> Timestamp {
        if let Some(born) = self.kube.born(pod) {
            return born;
        }
        let first = samples.first().map_or(Timestamp::MIN, |sample| sample.at);
        let cut = self
            .begins
            .is_some_and(|begins| first.duration_since(begins) <= self.interval * 2);
        if cut {
            earlier(first, self.reach)
        } else {
            earlier(first, self.interval)
        }
    }

    /// Returns the part that could be seen at `now`, as far back as a decision may reach.
    fn seen<T: Clone>(&self, all: &[T], now: Timestamp, at: impl Fn(&T) -> Timestamp) -> Vec<T> {
        let start = earlier(now, self.reach);
        let first = all.partition_point(|one| at(one) <= start);
        let end = all.partition_point(|one| at(one) <= now);
        all.get(first..end).unwrap_or_default().to_vec()
    }

    fn scrape_interval(&self) -> Option<SignedDuration> {
        let intervals = self
            .recorded
            .values()
            .filter_map(|recorded| match recorded {
                Recorded::Counters { pods, .. } => {
                    let pods = pods.iter().map(|(pod, samples)| PodCounters {
                        pod: pod.clone(),
                        born: Timestamp::MIN,
                        samples: samples.clone(),
                    });
                    scrape_interval(&pods.collect::<Vec<_>>())
                }
                Recorded::Values(_) | Recorded::Firing(_) => None,
            });
        intervals.min()
    }
}

fn smallest_gap(times: &[Timestamp]) -> Option<SignedDuration> {
    let next = times.iter().skip(1);
    let gaps = times
        .iter()
        .zip(next)
        .map(|(first, next)| next.duration_since(*first));
    gaps.filter(SignedDuration::is_positive).min()
}

#[cfg(test)]
mod tests;
