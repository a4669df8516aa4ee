//! What the records in the cluster say about one Deployment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::record::revision::RevisionRecord;
use crate::api::record::rollback::RollbackRecord;
use crate::decide::{Attempt, Memory, Revision, RevisionMemory};

/// What the records say about one Deployment.
#[derive(Debug, Default)]
pub struct Remembered {
    pub revisions: BTreeMap<Revision, Arc<RevisionRecord>>,
    /// The open incident; the oldest, should there ever be two.
    pub open: Option<Arc<RollbackRecord>>,
    /// What people and pipelines ask for, oldest first.
    pub requests: Vec<Arc<RollbackRecord>>,
    pub past: Vec<Attempt>,
    /// Name of the newest Rollback.
    pub last: Option<String>,
    /// Rollbacks that do not await approval any more and still carry the label.
    pub untidy: Vec<Arc<RollbackRecord>>,
}

impl Remembered {
    pub(super) fn new(
        revisions: Vec<Arc<RevisionRecord>>,
        rollbacks: &[Arc<RollbackRecord>],
    ) -> Self {
        let open = rollbacks
            .iter()
            .filter(|record| record.incident.as_ref().is_some_and(|i| i.state.is_open()))
            .min_by_key(|record| (record.created, record.name.clone()))
            .cloned();
        let mut requests: Vec<_> = rollbacks
            .iter()
            .filter(|record| record.request.is_some())
            .cloned()
            .collect();
        requests.sort_by_key(|record| (record.created, record.name.clone()));
        let own = || rollbacks.iter().filter(|record| record.request.is_none());
        Self {
            revisions: revisions
                .into_iter()
                .map(|record| (record.revision.clone(), record))
                .collect(),
            open,
            requests,
            past: rollbacks
                .iter()
                .filter_map(|record| record.closed())
                .collect(),
            last: own()
                .max_by_key(|record| (record.created, &record.name))
                .map(|record| record.name.clone()),
            untidy: rollbacks
                .iter()
                .filter(|record| record.is_untidy())
                .cloned()
                .collect(),
        }
    }

    /// Returns the part that decisions rest on.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let revisions = self.revisions.iter();
        let revisions: BTreeMap<Revision, RevisionMemory> = revisions
            .map(|(revision, record)| (revision.clone(), record.memory.clone()))
            .collect();
        Memory {
            revisions,
            incident: self
                .open
                .as_ref()
                .and_then(|record| record.incident.clone()),
        }
    }
}
