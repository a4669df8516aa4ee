//! `kubectl astern backtest`: what a policy would have done to the releases of the past.
//!
//! Reads the cluster and a metric source, writes nothing, needs no operator. [`find`] looks for the
//! releases, [`history`] puts them in order; [`desk`] asks for what was recorded about each, in the
//! operator's own words, and [`recording`] keeps it; [`replay`] runs the operator's own decisions over
//! it, and [`mod@aftermath`] says whether they would have been right.

pub mod aftermath;
pub mod changes;
mod command;
pub mod desk;
pub mod find;
pub mod history;
pub mod judged;
pub mod kube_state;
pub mod print;
pub mod recording;
pub mod replay;
pub mod report;
pub mod rows;
pub mod series;
pub mod source;
pub mod span;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::desk::{About, Desk};
use self::find::Found;
use self::history::Release;
use self::judged::Judged;
use self::recording::Recording;
use self::replay::Replay;
use self::report::{Finding, Report, TriggerNote};
use self::source::Source;
use self::span::{Span, later};
use super::progress::Progress;
use crate::api::parse::ParsedPolicy;
use crate::decide::{Attention, Mode, Policy, Preset, Trigger, TriggerKind};
use crate::observe::evidence::wanted;
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
    let (policy, not_replayed) = replayable(&question.policy.policy, &found);
    if policy.triggers.is_empty() {
        let notes: Vec<String> = not_replayed.iter().map(spelled).collect();
        anyhow::bail!("no trigger can be replayed: {}", notes.join("; "));
    }
    let desk = Desk {
        source: &world.source,
        subject: &found.subject,
        triggers: &policy.triggers,
        has_kube_state: found.has_kube_state,
        step: question.step,
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
        let mut slices = Slices::of(release, policy, question);
        let mut last = None;
        while let Some(slice) = slices.next(replay.attention(release)) {
            let about = About {
                release,
                span: Span {
                    from: desk.lead(slice.from),
                    until: slice.until,
                },
                known: &shapes,
            };
            let recording = desk.record(about).await?;
            shapes.extend(recording.shapes().map(|(name, id)| (name.clone(), id)));
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
        replay.note_known(release, &mut judged);
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
    fn of(release: &Release, policy: &Policy, question: &Question) -> Self {
        let from = release.from.max(question.range.from);
        let rolled_out = release.rolled_out.unwrap_or_else(|| later(from, ROLLOUT));
        let needed = policy.probation + AFTER_PROBATION;
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
pub fn replayable(policy: &Policy, found: &Found) -> (Policy, Vec<TriggerNote>) {
    let mut replayed = policy.clone();
    let mut notes = Vec::new();
    replayed.triggers.retain(|trigger| {
        let obstacle = obstacle(trigger, found);
        notes.extend(obstacle.as_ref().map(|because| TriggerNote {
            trigger: trigger.name.clone(),
            because: because.clone(),
        }));
        obstacle.is_none()
    });
    (replayed, notes)
}

fn obstacle(trigger: &Trigger, found: &Found) -> Option<String> {
    if trigger.mode == Some(Mode::Disabled) {
        return Some("it is disabled".to_owned());
    }
    match &trigger.kind {
        TriggerKind::Restarts(_) | TriggerKind::RolloutStalled | TriggerKind::Unavailable(_) => {
            (!found.has_kube_state).then(|| {
                "what Kubernetes said in the past is known only where kube-state-metrics was scraped"
                    .to_owned()
            })
        }
        TriggerKind::ErrorRate(_) | TriggerKind::Latency(_) => {
            let cause = found.subject.paths.as_ref().err()?;
            let is_by_pod = wanted::shape(trigger)
                .is_none_or(|shape| shape.preset == Preset::Auto || !series::by_pod(trigger).is_empty());
            (!is_by_pod).then(|| format!("its preset counts in front of the pods, and {cause}"))
        }
        TriggerKind::ProbeFailures(_) | TriggerKind::PromQl(_) | TriggerKind::Alert(_) => None,
    }
}

#[cfg(test)]
mod tests;
