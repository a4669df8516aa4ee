//! Judges the current revision by every trigger.
//!
//! What follows from a breach is not said here. One file per kind of evidence: `requests` counts
//! them, `running` looks at pods and rollout, `queries` at what the user asks for.

mod queries;
pub mod requests;
mod running;

use jiff::{SignedDuration, Timestamp};

use self::requests::Case;
use super::detectors::{counted, newest_sample, scrape_interval};
use super::{
    Bad, Counted, Counters, Evidence, Measurement, Mode, Observed, PodCounters, Policy, Preset,
    ProbeFailures, Reading, Sample, Trigger, TriggerKind, TriggerReading, Unknown, Verdict,
};

/// A pod is scraped once an interval, and two scrapes may be lost before its samples are stale.
const STALE_AFTER_SCRAPES: i32 = 3;

/// Whoever is through probation is asked for once a minute, and looked at once a minute.
const ASKED_LATELY: SignedDuration = SignedDuration::from_mins(3);

/// Prometheus' own default, until two samples tell the real one.
const SCRAPE_INTERVAL_UNKNOWN: SignedDuration = SignedDuration::from_secs(60);

/// Returns what each trigger of `policy` says, in the policy's order.
#[must_use]
pub fn readings(observed: &Observed, policy: &Policy, now: Timestamp) -> Vec<TriggerReading> {
    policy
        .triggers
        .iter()
        .map(|trigger| TriggerReading {
            trigger: trigger.name.clone(),
            mode: mode(observed, policy, trigger),
            cannot_run: trigger.kind.cannot_run(),
            preset: found_preset(observed, trigger),
            reading: reading(observed, trigger, now),
        })
        .collect()
}

fn found_preset(observed: &Observed, trigger: &Trigger) -> Option<Preset> {
    match observed.evidence.get(&trigger.name)? {
        Evidence::Counters(counters) => counters.preset,
        Evidence::Values(_) | Evidence::Firing(_) | Evidence::Missing(_) => None,
    }
}

/// The policy's mode, capped by the trigger's own and, for a revision that is through its probation,
/// by what the policy says of that.
fn mode(observed: &Observed, policy: &Policy, trigger: &Trigger) -> Mode {
    let cap = if is_good(observed) {
        policy.after_probation
    } else {
        Mode::Automatic
    };
    let own = trigger.mode.unwrap_or(Mode::Automatic);
    policy.mode.min(own).min(cap)
}

/// Through its probation, and not part of an incident, where it is judged as closely as before.
fn is_good(observed: &Observed) -> bool {
    let open = observed
        .memory
        .incident
        .as_ref()
        .is_some_and(|incident| incident.state.is_open());
    let good = observed
        .current_memory()
        .is_some_and(|memory| memory.verdict == Verdict::Good);
    good && !open
}

fn reading(observed: &Observed, trigger: &Trigger, now: Timestamp) -> Reading {
    let evidence = observed.evidence.get(&trigger.name);
    match &trigger.kind {
        TriggerKind::ErrorRate(rule) => by_counters(observed, trigger, now, |case| {
            requests::judge(case, &rule.rate, Bad::Failed)
        }),
        TriggerKind::Latency(rule) => by_counters(observed, trigger, now, |case| {
            requests::judge(case, &rule.rate(), Bad::SlowerThan(rule.threshold))
        }),
        TriggerKind::ProbeFailures(rule) => by_counters(observed, trigger, now, |case| {
            probe_failures(&case.counters.new, case.newest, rule)
        }),
        // Pods are watched only where somebody is looked at closely.
        TriggerKind::Restarts(_) if is_good(observed) => Reading::Unknown(Unknown::NotWatched),
        TriggerKind::Restarts(rule) => running::restarts(observed, rule, now),
        TriggerKind::RolloutStalled => running::rollout_stalled(observed, now),
        TriggerKind::Unavailable(rule) => match running::unavailable(observed, rule, now) {
            // Without the pods nobody knows whose doing it is.
            Reading::Breached(_) | Reading::Unknown(Unknown::NotLongEnough { .. })
                if is_good(observed) =>
            {
                Reading::Unknown(Unknown::NotWatched)
            }
            reading @ (Reading::Passing(_) | Reading::Breached(_) | Reading::Unknown(_)) => reading,
        },
        TriggerKind::PromQl(rule) => queries::promql(observed, evidence, rule, now),
        TriggerKind::Alert(rule) => queries::alert(observed, evidence, rule, now),
    }
}

/// Judges by counters, unless they say nothing about now.
fn by_counters(
    observed: &Observed,
    trigger: &Trigger,
    now: Timestamp,
    judge: impl Fn(&Case<'_>) -> Reading,
) -> Reading {
    let counters = match observed.evidence.get(&trigger.name) {
        Some(Evidence::Counters(counters)) => counters,
        Some(Evidence::Missing(unknown)) => return Reading::Unknown(unknown.clone()),
        Some(Evidence::Values(_) | Evidence::Firing(_)) | None => {
            return Reading::Unknown(Unknown::NoData);
        }
    };
    // What is remembered of an earlier time that it was current compares it with somebody else.
    let number = observed.workload.current.as_ref().map(|now| now.number);
    let memory = observed
        .current_memory()
        .filter(|memory| Some(memory.number) == number);
    let baseline = memory.and_then(|memory| memory.baseline.get(&trigger.name));
    match fresh(counters, now) {
        Ok((newest, interval)) => judge(&Case {
            counters,
            baseline: baseline.copied().or_else(|| counted_before(counters)),
            newest,
            interval,
        }),
        Err(unknown) => Reading::Unknown(unknown),
    }
}

/// Returns the time of the newest sample and the scrape interval, unless they say nothing about now.
fn fresh(counters: &Counters, now: Timestamp) -> Result<(Timestamp, SignedDuration), Unknown> {
    let mut samples = counters.new.iter().flat_map(|pod| &pod.samples);
    let finite = samples.all(Sample::is_finite);
    if !finite {
        return Err(Unknown::NotANumber);
    }
    let newest = newest_sample(&counters.new).ok_or(Unknown::NoData)?;
    let interval = scrape_interval(&counters.new)
        .or_else(|| scrape_interval(&counters.old))
        .unwrap_or(SCRAPE_INTERVAL_UNKNOWN);
    let asked = counters.asked.unwrap_or(now);
    let age = now.duration_since(newest);
    let is_stale = asked.duration_since(newest) > interval * STALE_AFTER_SCRAPES;
    if is_stale || now.duration_since(asked) > ASKED_LATELY {
        return Err(Unknown::Stale { age });
    }
    Ok((newest, interval))
}

/// As much of the revision before as says how it did, and not how it did last week.
const BASELINE: SignedDuration = SignedDuration::from_mins(10);

/// Returns what the revision before counted last; `None` when it had no requests.
pub(super) fn counted_before(counters: &Counters) -> Option<Counted> {
    let newest = newest_sample(&counters.old)?;
    let before = counted(&counters.old, BASELINE, newest);
    let is_finite = before.total.is_finite() && before.failed.is_finite();
    (is_finite && before.total > 0.0).then_some(before)
}

fn probe_failures(pods: &[PodCounters], newest: Timestamp, rule: &ProbeFailures) -> Reading {
    // Of the worst pod: one failure each while many pods start is not a pod that fails.
    let worst = pods
        .iter()
        .map(|pod| counted(std::slice::from_ref(pod), rule.window, newest))
        .max_by(|left, right| {
            let by_total = left.total.total_cmp(&right.total);
            left.failed.total_cmp(&right.failed).then(by_total)
        });
    let counted = worst.unwrap_or_default();
    let measurement = Measurement::Probes {
        probe: rule.probe.name(),
        counted,
        threshold: rule.threshold,
        window: rule.window,
    };
    if counted.failed >= f64::from(rule.threshold) {
        Reading::Breached(measurement)
    } else if counted.total > 0.0 {
        Reading::Passing(measurement)
    } else {
        Reading::Unknown(Unknown::NoData)
    }
}

#[cfg(test)]
mod tests;
