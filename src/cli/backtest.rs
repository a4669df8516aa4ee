//! `kubectl astern backtest`: what a policy would have done to the releases of the past.
//!
//! Reads the cluster and a metric source, writes nothing, needs no operator. The releases come from
//! [`history`], what was recorded about each from [`recording`]; [`replay`] runs the operator's own
//! decisions over it, and [`aftermath`] says whether they would have been right.

pub mod aftermath;
pub mod changes;
mod command;
pub mod find;
pub mod history;
pub mod judged;
pub mod kube_state;
pub mod matrix;
mod print;
pub mod recording;
pub mod replay;
pub mod report;
pub mod series;
pub mod source;
pub mod span;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::find::Found;
use self::history::Release;
use self::judged::Judged;
use self::recording::{Desk, Recording};
use self::replay::Replay;
use self::report::{Finding, Report, TriggerNote};
use self::source::Source;
use self::span::{Span, earlier, later};
use super::progress::Progress;
use crate::api::parse::ParsedPolicy;
use crate::decide::{Attention, Mode, Policy, Requests, Trigger, TriggerKind};
use crate::port::Cluster;

pub use command::{Arguments, run};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub namespace: String,
    pub deployment: String,
    pub policy: ParsedPolicy,
    pub range: Span,
    /// Between two values of a user's own query; the scrape interval if absent.
    pub step: Option<SignedDuration>,
    /// Also looks at what came after the probation of each release.
    pub full: bool,
}

/// Who is asked.
pub struct World {
    /// Absent where nobody knows the cluster any more.
    pub cluster: Option<Arc<dyn Cluster>>,
    pub source: Source,
}

/// Prometheus' own default for evaluations, where nothing was asked for.
const STEP: SignedDuration = SignedDuration::from_secs(15);

/// Kubernetes' own limit for a rollout, where nobody saw the end of it.
const ROLLOUT: SignedDuration = SignedDuration::from_mins(10);

/// A probation ends with the first look after it, and an outage of the source draws it out.
const AFTER_PROBATION: SignedDuration = SignedDuration::from_mins(5);

/// As much is kept in memory at a time.
const SLICE: SignedDuration = SignedDuration::from_hours(6);

/// A release whose probation does not end, because its rollout does not or its traffic is too thin, is
/// looked at for this long.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// The operator's own pace after the probation.
const SLOW: SignedDuration = SignedDuration::from_mins(1);

/// Answers `question`.
///
/// # Errors
///
/// When the source or the cluster gives no answer, or there is nothing to replay. The message says
/// what to do.
pub async fn replayed(
    world: &World,
    question: &Question,
    progress: &mut dyn Progress,
) -> anyhow::Result<Report> {
    let found = find::releases(world, question, progress).await?;
    let (policy, not_replayed) = replayable(&question.policy.policy, found.has_kube_state);
    if policy.triggers.is_empty() {
        let notes: Vec<String> = not_replayed.iter().map(spelled).collect();
        anyhow::bail!("no trigger can be replayed: {}", notes.join("; "));
    }
    let desk = Desk {
        source: &world.source,
        namespace: &question.namespace,
        deployment: &question.deployment,
        triggers: &policy.triggers,
        has_kube_state: found.has_kube_state,
    };
    let findings = findings(&desk, &policy, question, &found, progress).await?;
    progress.end();
    let releases = report::releases(&findings, question.range);
    Ok(Report {
        namespace: question.namespace.clone(),
        deployment: question.deployment.clone(),
        policy: policy.name.clone(),
        mode: policy.mode.name(),
        from: question.range.from,
        until: question.range.until,
        history: found.notes,
        summary: report::summary(&releases),
        never_had_data: report::never_had_data(&findings),
        releases,
        not_replayed,
    })
}

fn spelled(note: &TriggerNote) -> String {
    format!("{}: {}", note.trigger, note.because)
}

async fn findings(
    desk: &Desk<'_>,
    policy: &Policy,
    question: &Question,
    found: &Found,
    progress: &mut dyn Progress,
) -> anyhow::Result<Vec<Finding>> {
    let mut replay = Replay::new(&found.subject, policy);
    let mut findings = Vec::new();
    let mut shapes = BTreeMap::new();
    let all = found.releases.len();
    for (done, release) in found.releases.iter().enumerate() {
        progress.step("replayed releases", done, all);
        let mut judged = Judged::default();
        replay.begin();
        let mut slices = Slices::of(release, policy, question, desk.reach());
        let mut last = None;
        while let Some(slice) = slices.next(replay.attention(release)) {
            let lead = Span {
                from: earlier(slice.from, desk.reach()),
                until: slice.until,
            };
            let step = question.step.unwrap_or(STEP);
            let recording = desk.record(release, lead, step, &shapes).await?;
            shapes.extend(recording.shapes.clone());
            let slow = question.full.then_some(SLOW);
            replay.run((release, &recording), slice, slow, &mut judged);
            last = Some(recording);
            if replay.has_acted() {
                break;
            }
        }
        let recording = last.unwrap_or_default();
        replay.at_timeout(
            (release, &recording),
            release.end(question.range),
            &mut judged,
        );
        let aftermath = aftermath(desk, &replay, (release, &recording), &judged, question).await?;
        findings.push(Finding {
            release: release.clone(),
            judged,
            aftermath,
        });
    }
    progress.step("replayed releases", all, all);
    Ok(findings)
}

async fn aftermath(
    desk: &Desk<'_>,
    replay: &Replay<'_>,
    (release, recording): (&Release, &Recording),
    judged: &Judged,
    question: &Question,
) -> anyhow::Result<Option<aftermath::Aftermath>> {
    let Some(step) = report::decisive(&judged.steps) else {
        return Ok(None);
    };
    let found = aftermath::of(desk, replay, (release, recording), step, question.range);
    Ok(Some(found.await?))
}

/// The parts of a release's time that are looked at, one after another.
struct Slices {
    from: Timestamp,
    /// Until when it is looked at in any case.
    close: Timestamp,
    /// Until when it is looked at while it is still judged.
    patient: Timestamp,
    end: Timestamp,
    full: bool,
    begun: bool,
}

impl Slices {
    fn of(release: &Release, policy: &Policy, question: &Question, reach: SignedDuration) -> Self {
        let from = release.from.max(question.range.from);
        let rolled_out = release.rolled_out.unwrap_or_else(|| later(from, ROLLOUT));
        let needed = policy.probation + reach + AFTER_PROBATION;
        let close = later(rolled_out.max(from), needed);
        Self {
            from,
            close,
            patient: later(close, PATIENCE),
            end: release.end(question.range),
            full: question.full,
            begun: false,
        }
    }

    fn next(&mut self, attention: Attention) -> Option<Span> {
        let wanted = match (self.begun, attention, self.full) {
            (false, _, _) => self.close,
            (true, Attention::Close, false) => self.patient,
            (true, Attention::Close | Attention::Seldom, true) => self.end,
            (true, Attention::Seldom, false) | (true, Attention::None, _) => return None,
        };
        self.begun = true;
        let until = wanted.min(self.end).min(later(self.from, SLICE));
        let slice = Span {
            from: self.from,
            until,
        };
        self.from = until;
        (slice.until > slice.from).then_some(slice)
    }
}

/// Returns the policy with the triggers whose evidence can be had, and why the others are left out.
///
/// They are left out, and not taken for silent, so that they do not make every target one that was
/// never proven.
#[must_use]
pub fn replayable(policy: &Policy, has_kube_state: bool) -> (Policy, Vec<TriggerNote>) {
    let mut replayed = policy.clone();
    let mut notes = Vec::new();
    replayed.triggers.retain(|trigger| {
        let obstacle = obstacle(trigger, has_kube_state);
        notes.extend(obstacle.map(|because| TriggerNote {
            trigger: trigger.name.clone(),
            because: because.to_owned(),
        }));
        obstacle.is_none()
    });
    (replayed, notes)
}

fn obstacle(trigger: &Trigger, has_kube_state: bool) -> Option<&'static str> {
    if trigger.mode == Some(Mode::Disabled) {
        return Some("it is disabled");
    }
    match &trigger.kind {
        TriggerKind::Restarts(_) | TriggerKind::RolloutStalled | TriggerKind::Unavailable(_) => {
            (!has_kube_state).then_some(
                "what Kubernetes said in the past is known only where kube-state-metrics was scraped",
            )
        }
        TriggerKind::ErrorRate(rule) if matches!(rule.requests, Requests::Custom { .. }) => {
            Some("custom expressions are not replayed; use a preset, or a promql trigger")
        }
        TriggerKind::ErrorRate(_) | TriggerKind::Latency(_) | TriggerKind::ProbeFailures(_) => {
            series::shapes(trigger)
                .is_empty()
                .then_some("its preset does not tell the pods of a revision apart")
        }
        TriggerKind::PromQl(_) | TriggerKind::Alert(_) => None,
    }
}

#[cfg(test)]
mod tests;
