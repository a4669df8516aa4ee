//! Judges by what the user asks the source: a query of their own, or an alert.

use jiff::Timestamp;

use crate::decide::{Alert, Evidence, Observed, PromQl, Reading, Unknown};

pub(super) fn promql(evidence: Option<&Evidence>, _: &PromQl, _: Timestamp) -> Reading {
    Reading::Unknown(missing(evidence))
}

pub(super) fn alert(_: &Observed, evidence: Option<&Evidence>, _: &Alert, _: Timestamp) -> Reading {
    Reading::Unknown(missing(evidence))
}

fn missing(evidence: Option<&Evidence>) -> Unknown {
    match evidence {
        Some(Evidence::Missing(unknown)) => unknown.clone(),
        Some(Evidence::Counters(_) | Evidence::Values(_) | Evidence::Firing(_)) | None => {
            Unknown::NoData
        }
    }
}
