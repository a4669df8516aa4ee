//! Evidence by expressions that a policy brings itself.

use jiff::SignedDuration;

use super::{Asking, Found, said_at};
use crate::api::promql::{self, Confinement};
use crate::decide::{Evidence, PromQl, Unknown};
use crate::observe::prometheus::feeds::{FreeKey, FreeQuery};
use crate::observe::prometheus::series::Metric;

impl Asking<'_> {
    /// Counters by two expressions: by pod where they have its label, else before and after.
    pub(super) fn custom(&self, total: &str, errors: &str, window: SignedDuration) -> Found {
        let metric = Metric::Custom {
            total: self.prepared(total)?,
            errors: self.prepared(errors)?,
        };
        let series = self.series(metric, None);
        let need = self.need(window, None);
        let feeds = &self.eyes.feeds;
        feeds.wanted(&series, need, self.now, |buffer, asked| {
            let counters = self.join().custom(buffer, need.from);
            counters.map(|counters| said_at(asked, counters))
        })?
    }

    /// The worst values of a query.
    pub(super) fn values(&self, trigger: &str, rule: &PromQl) -> Found {
        let key = FreeKey {
            source: self.asked.policy.metric_source.clone(),
            tenant: self.tenant(),
            namespace: self.namespace().to_owned(),
            workload: self.asked.deployment.name.clone(),
            trigger: trigger.to_owned(),
        };
        let text = self.prepared(&rule.query)?;
        let range = rule.sustained + super::wanted::BEFORE_THE_WINDOW;
        let query = FreeQuery::new(text, rule.bound, range);
        let feeds = &self.eyes.feeds;
        let values = feeds.values(&key, query, self.pace(), self.now)?;
        if values.is_empty() {
            return Err(Unknown::EmptyAnswer);
        }
        Ok(Evidence::Values(values))
    }

    /// Returns a query that is kept within the namespace, with the names of the pods in it.
    fn prepared(&self, query: &str) -> Result<String, Unknown> {
        let source = &self.asked.policy.metric_source;
        let source = self.eyes.store.source(source);
        let source = source.map_err(|cause| Unknown::NoSource { cause })?;
        let confinement = Confinement {
            namespace: source
                .confine
                .as_ref()
                .map(|label| (label.clone(), self.namespace().to_owned())),
            labels: source.match_labels.clone(),
        };
        let query = promql::confined(query, &confinement).map_err(|problem| Unknown::NoSource {
            cause: format!("the query {problem}"),
        })?;
        let pods: Vec<String> = self.new.iter().map(|pod| pod.name.clone()).collect();
        Ok(promql::with_pods(&query, &pods))
    }
}
