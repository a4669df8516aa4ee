//! Finds which shape has data for a workload, for `Auto` and for shapes that are labelled in more than
//! one way.
//!
//! Every candidate is asked for once, over all namespaces that need it, and again, ever more seldom,
//! where nothing was found. What was found holds as long as the workload is judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::namespace::FORGET_AFTER;
use crate::decide::Unknown;
use crate::observe::prometheus::buffer::{Owner, Subject};
use crate::observe::prometheus::presets::SpecId;
use crate::observe::prometheus::series::{Metric, Series};

/// Series may appear with the first scrape, so that the wait begins short, and doubles.
const AGAIN_FIRST: SignedDuration = SignedDuration::from_secs(5);
/// Or with the first request, which may be long after.
const AGAIN_MAX: SignedDuration = SignedDuration::from_secs(60);
/// After an answer that was none.
const AGAIN_AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(10);

/// What to look for: the shapes in order, and for whom.
#[derive(Clone, Debug)]
pub struct Sought<'a> {
    /// With the first candidate as its metric.
    pub series: Series,
    /// In the order in which they are preferred.
    pub candidates: Vec<SpecId>,
    pub namespace: &'a str,
    pub workload: &'a str,
}

#[derive(Debug)]
struct Seeking {
    wanted: Timestamp,
    asked: Option<Timestamp>,
    /// From one time it is asked to the next.
    wait: SignedDuration,
    /// Namespaces are asked for together, and each candidate by itself.
    left: BTreeSet<SpecId>,
    problem: Option<Unknown>,
}

/// What was found for one series, whatever its shape.
#[derive(Debug, Default)]
struct Search {
    candidates: Vec<SpecId>,
    namespaces: BTreeMap<String, Seeking>,
    found: HashMap<SpecId, BTreeSet<Owner>>,
    asking: usize,
}

/// Who has chosen what.
type Choices = HashMap<(Series, String, String), (SpecId, Timestamp)>;

/// All searches.
#[derive(Debug, Default)]
pub(super) struct Finder {
    searches: BTreeMap<Series, Search>,
    chosen: Choices,
}

impl Finder {
    /// Returns the first candidate that has data about any of its `owners`.
    ///
    /// # Errors
    ///
    /// Why none is known, which is data for the caller; asking has been started where needed.
    pub(super) fn wanted(
        &mut self,
        sought: &Sought<'_>,
        owners: &dyn Fn(SpecId) -> Vec<Owner>,
        now: Timestamp,
    ) -> Result<SpecId, Unknown> {
        if let [only] = sought.candidates.as_slice() {
            return Ok(*only);
        }
        let choice = (
            sought.series.clone(),
            sought.namespace.to_owned(),
            sought.workload.to_owned(),
        );
        if let Some((chosen, wanted)) = self.chosen.get_mut(&choice) {
            *wanted = now;
            return Ok(*chosen);
        }
        let search = self.searches.entry(sought.series.clone()).or_default();
        search.candidates.clone_from(&sought.candidates);
        let seeking = search
            .namespaces
            .entry(sought.namespace.to_owned())
            .or_insert_with(|| Seeking {
                wanted: now,
                asked: None,
                wait: AGAIN_FIRST,
                left: BTreeSet::new(),
                problem: None,
            });
        seeking.wanted = now;
        if seeking.asked.is_none() {
            return Err(Unknown::NoData);
        }
        for candidate in &sought.candidates {
            if seeking.left.contains(candidate) {
                // Something that comes first may have data.
                return Err(seeking.problem.clone().unwrap_or(Unknown::NoData));
            }
            let found = search.found.get(candidate);
            if found.is_some_and(|found| owners(*candidate).iter().any(|one| found.contains(one))) {
                self.chosen.insert(choice, (*candidate, now));
                return Ok(*candidate);
            }
        }
        Err(Unknown::NoData)
    }

    pub(super) fn tidy(&mut self, now: Timestamp) {
        let fresh = |wanted: Timestamp| now.duration_since(wanted) <= FORGET_AFTER;
        self.chosen.retain(|_, (_, wanted)| fresh(*wanted));
        for search in self.searches.values_mut() {
            search.namespaces.retain(|_, seeking| fresh(seeking.wanted));
        }
        self.searches
            .retain(|_, search| !search.namespaces.is_empty() || search.asking > 0);
    }

    /// Returns when there is something to ask.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.searches.values().filter(|search| search.asking == 0);
        idle.flat_map(|search| search.namespaces.values())
            // Who has chosen is not looking any more.
            .filter(|seeking| now.duration_since(seeking.wanted) <= AGAIN_MAX)
            .map(|seeking| seeking.due().unwrap_or(now))
            .min()
    }

    /// Returns what to ask now: one question per candidate, over all namespaces that are due.
    pub(super) fn start(&mut self, now: Timestamp) -> Vec<(Series, Series, Vec<String>)> {
        let mut questions = Vec::new();
        for (series, search) in &mut self.searches {
            if search.asking > 0 {
                continue;
            }
            let mut namespaces = Vec::new();
            for (name, seeking) in &mut search.namespaces {
                let looking = now.duration_since(seeking.wanted) <= AGAIN_MAX;
                if looking && seeking.due().is_none_or(|due| due <= now) {
                    seeking.ask(&search.candidates, now);
                    namespaces.push(name.clone());
                }
            }
            if namespaces.is_empty() {
                continue;
            }
            for candidate in &search.candidates {
                search.asking += 1;
                let asked = with_shape(series, *candidate);
                questions.push((series.clone(), asked, namespaces.clone()));
            }
        }
        questions
    }

    /// Takes in an answer about `candidate`. Returns the namespaces that may know more now.
    pub(super) fn take_in(
        &mut self,
        series: &Series,
        candidate: SpecId,
        namespaces: &[String],
        found: Result<BTreeSet<Owner>, Unknown>,
    ) -> Vec<String> {
        let Some(search) = self.searches.get_mut(series) else {
            return Vec::new();
        };
        search.asking = search.asking.saturating_sub(1);
        let problem = found.as_ref().err().cloned();
        for name in namespaces {
            if let Some(seeking) = search.namespaces.get_mut(name) {
                match &problem {
                    None => drop(seeking.left.remove(&candidate)),
                    Some(problem) => seeking.problem = Some(problem.clone()),
                }
            }
        }
        if let Ok(found) = found {
            let known = search.found.entry(candidate).or_default();
            known.retain(|owner| !is_asked_for(owner, namespaces));
            known.extend(found);
        }
        if search.asking > 0 {
            return Vec::new();
        }
        namespaces.to_vec()
    }
}

/// Says whether a question about `namespaces` was also one about `owner`.
fn is_asked_for((namespace, subject): &Owner, namespaces: &[String]) -> bool {
    let Subject::TraefikService(service) = subject else {
        return namespaces.contains(namespace);
    };
    // Where the name of the namespace ends cannot be told. The question asked for all that begin so.
    namespaces.iter().any(|namespace| {
        let rest = service.strip_prefix(namespace.as_str());
        rest.is_some_and(|rest| rest.starts_with(['-', '_']))
    })
}

impl Seeking {
    fn ask(&mut self, candidates: &[SpecId], now: Timestamp) {
        if self.asked.is_some() {
            self.wait = (self.wait * 2).min(AGAIN_MAX);
        }
        self.asked = Some(now);
        self.problem = None;
        self.left = candidates.iter().copied().collect();
    }

    fn due(&self) -> Option<Timestamp> {
        let again = if self.problem.is_some() {
            AGAIN_AFTER_FAILURE
        } else {
            self.wait
        };
        self.asked.map(|asked| asked + again)
    }
}

/// Returns `series` with another shape of the same kind.
#[must_use]
pub fn with_shape(series: &Series, shape: SpecId) -> Series {
    Series {
        metric: match &series.metric {
            Metric::Latency(_) => Metric::Latency(shape),
            Metric::Requests(_) | Metric::Probes(_) | Metric::Alert(_) | Metric::Custom { .. } => {
                Metric::Requests(shape)
            }
        },
        ..series.clone()
    }
}

#[cfg(test)]
mod tests;
