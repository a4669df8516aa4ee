//! How a row of an answer is understood.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::answer::{Labels, Row, Sink};
use super::buffer::{Bound, Buffer, Column, Owner, Subject, Target};
use super::histogram;
use super::series::{Metric, Series};

/// Which query a row answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What the shape says.
    Shape,
    /// The total of two expressions.
    Total,
    /// The errors of two expressions.
    Errors,
}

/// Reads the rows of one answer into a buffer.
pub struct Reader<'a> {
    series: &'a Series,
    role: Role,
    /// The namespace of the policy, for expressions whose result need not name it.
    namespace: Option<&'a str>,
    /// In the unit of the histogram: where native ones are cut.
    thresholds: &'a [f64],
    buffer: &'a mut Buffer,
    names: Vec<String>,
    labels: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    /// Returns a reader of the answer to a query about `series`.
    #[must_use]
    pub fn new(series: &'a Series, role: Role, buffer: &'a mut Buffer) -> Self {
        let mut labels = vec!["__name__", "job", "instance", "le", "result"];
        labels.extend(series.identity_labels());
        labels.extend(series.outcome_labels());
        Self {
            series,
            role,
            namespace: None,
            thresholds: &[],
            buffer,
            names: series.names(),
            labels,
        }
    }

    /// Takes every row to be about `namespace`, whatever it says itself.
    #[must_use]
    pub fn within(mut self, namespace: &'a str) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Cuts native histograms at `thresholds`, which are in their unit.
    #[must_use]
    pub fn cut_at(mut self, thresholds: &'a [f64]) -> Self {
        self.thresholds = thresholds;
        self
    }
}

impl Sink for Reader<'_> {
    fn keeps(&self, label: &str) -> bool {
        self.labels.contains(&label)
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let owner = if let Some(namespace) = self.namespace {
            let pod = row.labels.get(self.series.pod_label("pod"));
            let subject = pod.map_or(Subject::All, |pod| Subject::Pod(pod.to_owned()));
            Some((namespace.to_owned(), subject))
        } else {
            self.series.owner(&row.labels)
        };
        if let Some(owner) = owner {
            self.counted(owner, row);
        }
        Ok(())
    }
}

impl Reader<'_> {
    fn counted(&mut self, owner: Owner, row: &Row<'_>) {
        if !self.series.is_told(&row.labels) {
            return;
        }
        let target = self.target(&row.labels);
        match (&self.series.metric, self.role) {
            (Metric::Custom { .. }, Role::Errors) => {
                self.buffer
                    .stream(owner, target)
                    .add(Column::Failed, &row.values);
            }
            (Metric::Custom { .. }, Role::Total | Role::Shape) | (Metric::Alert(_), _) => {
                self.buffer
                    .stream(owner, target)
                    .add(Column::Total, &row.values);
            }
            (Metric::Latency(_), _) => self.took(owner, target, row),
            (Metric::Probes(_), _) => {
                let column = match row.labels.get("result") {
                    Some("successful") => Column::Succeeded,
                    Some("failed") => Column::Failed,
                    // The kubelet could not tell.
                    Some(_) | None => return,
                };
                self.buffer.stream(owner, target).add(column, &row.values);
            }
            (Metric::Requests(id), _) => {
                let spec = id.spec();
                let column = if spec.failed.is_failed(&row.labels) {
                    Column::Failed
                } else {
                    Column::Succeeded
                };
                if usize::from(target.rank) < spec.counters.len() {
                    self.buffer.stream(owner, target).add(column, &row.values);
                } else if !row.histograms.is_empty() {
                    let counts = histogram::counts(&row.histograms);
                    self.buffer.stream(owner, target).add(column, &counts);
                }
            }
        }
    }

    /// A row of a histogram: one bucket of a classic one, or a native one whole.
    fn took(&mut self, owner: Owner, target: Target, row: &Row<'_>) {
        if let Some(edge) = row.labels.get("le").and_then(|edge| edge.parse().ok()) {
            let column = Column::AtMost(Bound(edge));
            self.buffer.stream(owner, target).add(column, &row.values);
        } else if !row.histograms.is_empty() {
            let counts = histogram::counts(&row.histograms);
            let stream = self.buffer.stream(owner, target);
            stream.add(Column::AtMost(Bound(f64::INFINITY)), &counts);
            for threshold in self.thresholds {
                let within = histogram::native_within(&row.histograms, *threshold);
                stream.add(Column::AtMost(Bound(*threshold)), &within);
            }
        }
    }

    fn target(&self, labels: &Labels<'_>) -> Target {
        let name = labels.get("__name__").unwrap_or_default();
        let rank = self.names.iter().position(|known| *known == name);
        // A result of an expression has no name, or any.
        let rank = u8::try_from(rank.unwrap_or(0)).unwrap_or(u8::MAX);
        Target {
            rank,
            instance: digest(labels.get("instance")),
            job: digest(labels.get("job")),
        }
    }
}

fn digest(text: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Reads the edges of buckets by namespace, as the source spells them.
pub struct Edges<'a> {
    pub series: &'a Series,
    /// Under the empty namespace for shapes that do not name it by itself.
    pub found: BTreeMap<String, BTreeSet<String>>,
}

impl Sink for Edges<'_> {
    fn keeps(&self, label: &str) -> bool {
        label == "le" || self.series.plain_namespace_label() == Some(label)
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let label = self.series.plain_namespace_label();
        let namespace = label.and_then(|label| row.labels.get(label));
        if let Some(edge) = row.labels.get("le") {
            let edges = self.found.entry(namespace.unwrap_or_default().to_owned());
            edges.or_default().insert(edge.to_owned());
        }
        Ok(())
    }
}

/// Reads what there is something about.
pub struct Finds<'a> {
    pub series: &'a Series,
    pub found: BTreeSet<Owner>,
}

impl Sink for Finds<'_> {
    fn keeps(&self, label: &str) -> bool {
        self.series.identity_labels().contains(&label)
            || self.series.outcome_labels().contains(&label)
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        if !self.series.is_told(&row.labels) {
            return Ok(());
        }
        self.found.extend(self.series.owner(&row.labels));
        Ok(())
    }
}
