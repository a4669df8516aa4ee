//! Which revision a Deployment runs: its template, together with the config that its pods started with.
//!
//! The Deployment says nothing about config, so the records tell: one that is known to have become
//! current with this revision number, or one whose config is what the config holds now. A restart that
//! brings changed config is neither, and so a release of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::workload::{Deployment, ReplicaSet};
use crate::api::record::revision::RevisionRecord;
use crate::api::template;
use crate::decide::config::{fingerprint, same, used};
use crate::decide::{Config, Incident, Revision};

/// Returns the revision that `deployment` runs or is about to run.
#[must_use]
pub fn revision(
    deployment: &Deployment,
    current: Option<&ReplicaSet>,
    records: &BTreeMap<Revision, Arc<RevisionRecord>>,
    open: Option<&Incident>,
    config: Option<&Config>,
) -> Revision {
    let of_template: Vec<&Arc<RevisionRecord>> = records
        .values()
        .filter(|record| record.template == deployment.template)
        .collect();
    let numbered = current.and_then(|current| {
        let mut records = of_template.iter();
        records.find(|record| record.memory.number == current.number)
    });
    if let Some(record) = numbered {
        return record.revision.clone();
    }
    // While it goes back, config may differ from what the target ran with; it is the target all the same.
    let restored = open.and_then(|incident| {
        let mut records = of_template.iter();
        records.find(|record| record.revision == *incident.target())
    });
    if let Some(record) = restored {
        return record.revision.clone();
    }
    let uses = &deployment.template_facts().uses;
    let fits = |record: &&&Arc<RevisionRecord>| {
        config.is_none_or(|config| same(uses, &record.memory.config, config))
    };
    let newest = of_template
        .iter()
        .filter(fits)
        .max_by_key(|record| (record.memory.number, record.memory.since));
    if let Some(record) = newest {
        return record.revision.clone();
    }
    let read = config.map(|config| used(uses, config)).unwrap_or_default();
    let digest = (!read.is_empty()).then(|| template::digest(&fingerprint(&read)));
    template::with_config(&deployment.template, digest.as_deref())
}

#[cfg(test)]
mod tests;
