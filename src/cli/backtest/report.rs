//! What a backtest found, as the document that `-o json` and `-o yaml` print.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::aftermath::{Aftermath, Judgement};
use super::history::Release;
use super::judged::{Judged, Said, Step, What};
use super::span::Span;
use crate::decide::{Proof, Revision};

/// All of it. The fields are described in docs/backtest.md; none is ever renamed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub namespace: String,
    pub deployment: String,
    pub policy: String,
    pub mode: &'static str,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Where the releases were found.
    pub history: Vec<String>,
    pub releases: Vec<ReleaseReport>,
    /// Triggers that were left out.
    pub not_replayed: Vec<TriggerNote>,
    /// Triggers that never passed nor were breached.
    pub never_had_data: Vec<TriggerNote>,
    pub summary: Summary,
}

/// A trigger and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TriggerNote {
    pub trigger: String,
    pub because: String,
}

/// One release.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseReport {
    /// The revision number, or the made-up part of the ReplicaSet's name.
    pub release: String,
    pub replica_set: String,
    pub images: Vec<String>,
    pub from: Timestamp,
    pub dated_by: &'static str,
    /// Absent while it is current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<&'static str>,
    pub steps: Vec<StepReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aftermath: Option<AftermathReport>,
    pub triggers: BTreeMap<String, TriggerReport>,
}

/// What would have become of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    WouldRollBack,
    WouldAsk,
    WouldObserve,
    /// Something was wrong, and Astern would have held back.
    WouldHold,
    Good,
    /// The next release came before its probation was over, or too little was known.
    Unproven,
}

impl Verdict {
    /// The spelling in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WouldRollBack => "WouldRollBack",
            Self::WouldAsk => "WouldAsk",
            Self::WouldObserve => "WouldObserve",
            Self::WouldHold => "WouldHold",
            Self::Good => "Good",
            Self::Unproven => "Unproven",
        }
    }
}

/// Something that would have happened.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    pub at: Timestamp,
    /// After the release became current.
    pub after_seconds: i64,
    pub what: &'static str,
    pub trigger: String,
    pub evidence: String,
    /// The release that it would have gone back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// What really happened after the first of the steps that act or ask.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AftermathReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_requests: Option<u64>,
    /// Less those that would have failed at the rate of the revision before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_requests: Option<u64>,
    pub counted_until: Timestamp,
    /// It failed for longer than it was counted.
    pub counted_in_part: bool,
    /// When the trigger passed again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by_itself: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_after_seconds: Option<i64>,
    pub judgement: Judgement,
    pub because: String,
}

/// How often a trigger said what.
#[derive(Clone, Debug, Serialize)]
pub struct TriggerReport {
    pub passing: usize,
    pub breached: usize,
    pub unknown: BTreeMap<&'static str, usize>,
}

/// All releases together.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub releases: usize,
    pub would_roll_back: usize,
    pub would_ask: usize,
    pub would_observe: usize,
    pub would_hold: usize,
    pub good: usize,
    pub unproven: usize,
    pub justified: usize,
    pub false_alarms: usize,
    pub unclear: usize,
    pub saved_requests: u64,
}

/// One release with all that was found out about it.
pub struct Finding {
    pub release: Release,
    pub judged: Judged,
    pub aftermath: Option<Aftermath>,
}

impl Finding {
    fn verdict(&self) -> Verdict {
        let did = |what: fn(What) -> bool| self.judged.steps.iter().any(|step| what(step.what));
        if did(|what| what == What::RolledBack) {
            Verdict::WouldRollBack
        } else if did(|what| what == What::Asked) {
            Verdict::WouldAsk
        } else if did(|what| what == What::Observed) {
            Verdict::WouldObserve
        } else if did(|what| matches!(what, What::Held(_))) {
            Verdict::WouldHold
        } else if self.judged.good.is_some() {
            Verdict::Good
        } else {
            Verdict::Unproven
        }
    }
}

/// Returns the step that would have changed something for people, if there is one.
#[must_use]
pub fn decisive(steps: &[Step]) -> Option<&Step> {
    let find = |wanted: What| steps.iter().find(|step| step.what == wanted);
    find(What::RolledBack)
        .or_else(|| find(What::Asked))
        .or_else(|| find(What::Observed))
}

/// Returns the reports on all releases, in their order.
#[must_use]
pub fn releases(findings: &[Finding], range: Span) -> Vec<ReleaseReport> {
    let next = findings.iter().skip(1).map(Some).chain([None]);
    findings
        .iter()
        .zip(next)
        .map(|(finding, next)| release(finding, next, findings, range))
        .collect()
}

fn release(
    finding: &Finding,
    next: Option<&Finding>,
    all: &[Finding],
    range: Span,
) -> ReleaseReport {
    let Finding {
        release,
        judged,
        aftermath,
    } = finding;
    let acted = decisive(&judged.steps);
    let aftermath = aftermath.as_ref().zip(acted).map(|(aftermath, step)| {
        let replaced = next.map(|next| &next.release);
        told(aftermath, step, replaced)
    });
    ReleaseReport {
        release: release.title(),
        replica_set: release.set.clone(),
        images: release.images.clone(),
        from: release.from,
        dated_by: release.dated.name(),
        until: release.until.filter(|until| *until <= range.until),
        verdict: finding.verdict(),
        good_since: judged.good.map(|(at, _)| at),
        proof: judged.good.and_then(|(_, proof)| proof).map(proof_name),
        steps: judged
            .steps
            .iter()
            .map(|step| step_report(step, release, all))
            .collect(),
        aftermath,
        triggers: judged
            .said
            .iter()
            .map(|(name, said)| (name.clone(), trigger_report(said)))
            .collect(),
    }
}

fn step_report(step: &Step, release: &Release, all: &[Finding]) -> StepReport {
    StepReport {
        at: step.at,
        after_seconds: step.at.duration_since(release.from).as_secs(),
        what: step.what.name(),
        trigger: step.trigger.clone(),
        evidence: step.evidence.clone(),
        to: step.to.as_ref().map(|to| title_of(to, step.at, all)),
        because: match step.what {
            What::Held(hold) => vec![hold.advice().to_owned()],
            What::RolledBack | What::Asked | What::Observed | What::LetGo => step.caps.clone(),
        },
    }
}

/// The newest release of the revision by then.
fn title_of(revision: &Revision, by: Timestamp, all: &[Finding]) -> String {
    let own = all
        .iter()
        .rev()
        .map(|finding| &finding.release)
        .find(|release| release.revision == *revision && release.from <= by);
    own.map(Release::title).unwrap_or_default()
}

fn told(aftermath: &Aftermath, step: &Step, next: Option<&Release>) -> AftermathReport {
    let counted = aftermath.counted;
    AftermathReport {
        requests: counted.map(|counted| whole(counted.total)),
        failed_requests: counted.map(|counted| whole(counted.failed)),
        saved_requests: aftermath.saved().map(whole),
        counted_until: aftermath.until,
        counted_in_part: aftermath.cut,
        ended_by_itself: aftermath.ended,
        replaced_by: next.map(Release::title),
        replaced_after_seconds: next.map(|next| next.from.duration_since(step.at).as_secs()),
        judgement: aftermath.judgement,
        because: aftermath.because.clone(),
    }
}

fn trigger_report(said: &Said) -> TriggerReport {
    TriggerReport {
        passing: said.passing,
        breached: said.breached,
        unknown: said
            .unknown
            .iter()
            .map(|(name, (count, _))| (*name, *count))
            .collect(),
    }
}

/// Returns the triggers that never said anything, with what would help.
#[must_use]
pub fn never_had_data(findings: &[Finding]) -> Vec<TriggerNote> {
    let mut all: BTreeMap<&str, Said> = BTreeMap::new();
    for (trigger, said) in findings.iter().flat_map(|finding| &finding.judged.said) {
        let sum = all.entry(trigger).or_default();
        sum.passing += said.passing;
        sum.breached += said.breached;
        for (name, (count, words)) in &said.unknown {
            let known = sum.unknown.entry(name).or_default();
            *known = (known.0 + count, words.clone());
        }
    }
    all.into_iter()
        .filter(|(_, said)| said.passing + said.breached == 0)
        .map(|(trigger, said)| {
            let most = said.unknown.values().max_by_key(|(count, _)| *count);
            TriggerNote {
                trigger: trigger.to_owned(),
                because: most.map(|(_, words)| words.clone()).unwrap_or_default(),
            }
        })
        .collect()
}

/// Returns all releases together.
#[must_use]
pub fn summary(releases: &[ReleaseReport]) -> Summary {
    let mut sum = Summary {
        releases: releases.len(),
        ..Summary::default()
    };
    for release in releases {
        *match release.verdict {
            Verdict::WouldRollBack => &mut sum.would_roll_back,
            Verdict::WouldAsk => &mut sum.would_ask,
            Verdict::WouldObserve => &mut sum.would_observe,
            Verdict::WouldHold => &mut sum.would_hold,
            Verdict::Good => &mut sum.good,
            Verdict::Unproven => &mut sum.unproven,
        } += 1;
        let Some(aftermath) = &release.aftermath else {
            continue;
        };
        *match aftermath.judgement {
            Judgement::Justified => &mut sum.justified,
            Judgement::FalseAlarm => &mut sum.false_alarms,
            Judgement::Unclear => &mut sum.unclear,
        } += 1;
        sum.saved_requests += aftermath.saved_requests.unwrap_or_default();
    }
    sum
}

impl What {
    /// The spelling in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RolledBack => "RollBack",
            Self::Asked => "Ask",
            Self::Observed => "Observe",
            Self::LetGo => "LetGo",
            Self::Held(hold) => hold.name(),
        }
    }
}

const fn proof_name(proof: Proof) -> &'static str {
    match proof {
        Proof::Full => "Full",
        Proof::Partial => "Partial",
        Proof::Vouched => "Vouched",
    }
}

/// Counts are sums of increases, and exact as long as nobody serves 2^53 requests.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, and a cast of a float to an integer saturates"
)]
fn whole(count: f64) -> u64 {
    count.round() as u64
}
