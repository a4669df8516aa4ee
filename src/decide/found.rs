//! What is found out about an incident besides its evidence: what is wrong with the pods, what the bad
//! revision cost, and where the traffic of the restored one leads.
//!
//! All of it is for people, but for one thing: recovery waits until traffic leads to the restored
//! revision. When it is looked for stands in [`super::machine`].

use jiff::{SignedDuration, Timestamp};

use super::diagnosis::{FINDINGS_MAX, Finding, line};
use super::traffic::{Traffic, told};
use super::{Impact, Observed, Revision};

/// What an incident has brought to light so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Names of the ReplicaSets, by which pods of a revision are found when it is not current any more.
    pub from_replica_set: Option<String>,
    pub to_replica_set: Option<String>,
    /// The worst first.
    pub diagnosis: Vec<Finding>,
    /// What the bad revision cost, as far as it was counted.
    pub impact: Option<Impact>,
    /// What people should know of the traffic, a line each.
    pub traffic: Vec<String>,
}

/// An answer to [`super::Effect::Diagnose`]. Process memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosed {
    pub at: Timestamp,
    pub revision: Revision,
    pub findings: Vec<Finding>,
}

/// An answer to [`super::Effect::FollowTraffic`]. Process memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    pub at: Timestamp,
    pub to: Revision,
    pub traffic: Traffic,
}

/// How long after an answer pods may still be as it says. The same as for other costly looks.
pub(super) const DIAGNOSIS_FRESH: SignedDuration = SignedDuration::from_secs(30);

/// Endpoints follow pods within a second or two, and a look costs five lists.
pub(super) const TRAFFIC_FRESH: SignedDuration = SignedDuration::from_secs(10);

/// Lines about traffic that a record takes, and characters of each.
pub const TRAFFIC_LINES_MAX: usize = 8;
pub const TRAFFIC_LINE_MAX: usize = 512;

/// Returns what was last said of `revision`, if that was at `since` or later.
pub(super) fn diagnosed<'a>(
    observed: &'a Observed,
    revision: &Revision,
    since: Timestamp,
) -> Option<&'a Diagnosed> {
    let answers = observed.diagnosed.iter();
    let newest = answers.filter(|answer| answer.revision == *revision);
    newest
        .max_by_key(|answer| answer.at)
        .filter(|answer| answer.at >= since)
}

/// Returns where the traffic led, if that was seen lately.
pub(super) fn followed<'a>(
    observed: &'a Observed,
    to: &Revision,
    now: Timestamp,
) -> Option<&'a Traffic> {
    let answer = observed.followed.as_ref()?;
    let fresh = now.duration_since(answer.at) < TRAFFIC_FRESH;
    (answer.to == *to && fresh).then_some(&answer.traffic)
}

/// Returns `first` followed by what `then` says besides, within the limit of a record.
pub(super) fn joined(first: &[Finding], then: &[Finding]) -> Vec<Finding> {
    let more = then.iter().filter(|finding| !first.contains(finding));
    first
        .iter()
        .chain(more)
        .take(FINDINGS_MAX)
        .cloned()
        .collect()
}

/// Returns what people should know of `traffic`, within the limits of a record.
pub(super) fn traffic_lines(traffic: &Traffic) -> Vec<String> {
    let lines = told(traffic).into_iter().take(TRAFFIC_LINES_MAX);
    lines.map(|text| line(&text, TRAFFIC_LINE_MAX)).collect()
}
