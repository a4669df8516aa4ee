//! What one request asks for, and what came back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::decide::Unknown;
use crate::observe::prometheus::buffer::Buffer;

/// What to ask a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) purpose: Purpose,
    /// In order.
    pub(super) namespaces: Vec<String>,
    pub(super) range: SignedDuration,
    pub(super) edges: BTreeSet<String>,
    /// As bits, since they are compared and never computed with.
    pub(super) thresholds: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Which buckets there are.
    Edges,
    /// Everything back to the releases.
    Backfill,
    /// What is new.
    Increment,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Outcome {
    Samples(Buffer),
    Edges(BTreeMap<String, BTreeSet<String>>),
    Failed {
        cause: Unknown,
        /// Asking for less would help.
        too_large: bool,
    },
}
