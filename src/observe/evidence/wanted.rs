//! What the judgement of a trigger needs to know: which shapes to try, and how far back.

use jiff::{SignedDuration, Timestamp};

use crate::decide::{Limit, Observed, Rate, Requests, Shape, Trigger, TriggerKind};
use crate::observe::prometheus::presets::SpecId;

/// Samples before the window are needed to know what a counter stood at when it began; this many
/// seconds hold at least two of them up to a scrape interval of 30 seconds.
pub const BEFORE_THE_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// What the revision before did, from this long before the release.
pub const BEFORE_THE_RELEASE: SignedDuration = SignedDuration::from_mins(5);

/// Says whether a metric source is asked for the evidence of a trigger.
#[must_use]
pub const fn reads_metrics(trigger: &Trigger) -> bool {
    match trigger.kind {
        TriggerKind::ErrorRate(_)
        | TriggerKind::Latency(_)
        | TriggerKind::ProbeFailures(_)
        | TriggerKind::PromQl(_)
        | TriggerKind::Alert(_) => true,
        TriggerKind::Restarts(_) | TriggerKind::RolloutStalled | TriggerKind::Unavailable(_) => {
            false
        }
    }
}

/// Returns the shape that a trigger reads, if it reads one.
#[must_use]
pub const fn shape(trigger: &Trigger) -> Option<&Shape> {
    match &trigger.kind {
        TriggerKind::ErrorRate(rule) => match &rule.requests {
            Requests::Preset(shape) => Some(shape),
            Requests::Custom { .. } => None,
        },
        TriggerKind::Latency(rule) => Some(&rule.shape),
        TriggerKind::ProbeFailures(_)
        | TriggerKind::Restarts(_)
        | TriggerKind::RolloutStalled
        | TriggerKind::Unavailable(_)
        | TriggerKind::PromQl(_)
        | TriggerKind::Alert(_) => None,
    }
}

/// Says whether one of the triggers may read a shape that is counted in front of the pods.
#[must_use]
pub fn needs_paths(triggers: &[Trigger]) -> bool {
    triggers
        .iter()
        .filter_map(shape)
        .any(|shape| SpecId::of(shape.preset).any(|id| !id.spec().identity.tells_revisions_apart()))
}

/// Returns what a preset may stand for, in the order in which it is tried; with a histogram for
/// `latency`.
#[must_use]
pub fn candidates(shape: &Shape, latency: bool) -> Vec<SpecId> {
    SpecId::of(shape.preset)
        .filter(|id| id.tells(latency))
        .filter(|id| id.fits(&shape.labels))
        .collect()
}

/// Returns how far back a trigger that reads metrics looks.
#[must_use]
pub const fn window(trigger: &Trigger) -> SignedDuration {
    match &trigger.kind {
        TriggerKind::ErrorRate(rule) => of_rate(&rule.rate),
        TriggerKind::Latency(rule) => rule.window.saturating_add(rule.sustained),
        TriggerKind::ProbeFailures(rule) => rule.window,
        TriggerKind::PromQl(rule) => rule.sustained,
        TriggerKind::Alert(_) => BEFORE_THE_RELEASE,
        TriggerKind::Restarts(_) | TriggerKind::RolloutStalled | TriggerKind::Unavailable(_) => {
            SignedDuration::ZERO
        }
    }
}

const fn of_rate(rate: &Rate) -> SignedDuration {
    match rate.limit {
        Limit::Threshold { sustained, .. } => rate.window.saturating_add(sustained),
        Limit::WorseThanBefore { .. } => rate.window,
    }
}

/// Returns the oldest samples that matter at `now` for a judgement over `window`: back to before the
/// `release` while it is judged, else to what the window needs.
#[must_use]
pub fn oldest(window: SignedDuration, release: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let window = window.saturating_add(BEFORE_THE_WINDOW);
    let recent = earlier(now, window);
    release.map_or(recent, |release| {
        recent.min(earlier(release, window.max(BEFORE_THE_RELEASE)))
    })
}

/// Returns when what is judged began.
#[must_use]
pub fn release(observed: &Observed, now: Timestamp) -> Timestamp {
    let since = observed.current_memory().map(|memory| memory.since);
    let current = observed.workload.current.as_ref();
    since
        .or(current.map(|current| current.created))
        .unwrap_or(now)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}
