//! Our mark on what we keep a GitOps reconciler away from.

use std::fmt;

use serde_json::Value;

use super::annotation;
use crate::api::names;

pub use crate::decide::gitops::PauseMark;

impl PauseMark {
    /// Reads a mark. Revisions may hold an `@` of their own, names of Rollbacks cannot.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rollback, revision) = text.split_once('@')?;
        (!rollback.is_empty()).then(|| Self {
            rollback: rollback.to_owned(),
            revision: revision.to_owned(),
        })
    }
}

impl fmt::Display for PauseMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.rollback, self.revision)
    }
}

/// Returns our mark on `object`, a Deployment.
#[must_use]
pub fn mark(object: &Value) -> Option<PauseMark> {
    PauseMark::parse(annotation(object, names::GITOPS_PAUSED_BY)?)
}

/// Returns our marks on `object`, an Argo CD Application: one for each rollback of a workload in it.
#[must_use]
pub fn marks(object: &Value) -> Vec<PauseMark> {
    let text = annotation(object, names::GITOPS_PAUSED_BY).unwrap_or_default();
    let marks = text.split_ascii_whitespace();
    marks.filter_map(PauseMark::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for revision in ["", "main@sha1:1234", "6.5.4#sha256:5678", "aa,bb"] {
            let mark = PauseMark {
                rollback: "checkout-1".to_owned(),
                revision: revision.to_owned(),
            };
            assert_eq!(PauseMark::parse(&mark.to_string()), Some(mark));
        }
    }

    #[test]
    fn what_is_no_mark_is_not_taken_for_one() {
        assert_eq!(PauseMark::parse("by hand"), None);
        assert_eq!(PauseMark::parse("@main"), None);
    }
}
