//! The holds one by one.

use super::{Held, Hold, Question};
use crate::decide::facts::{Fit, fit};
use crate::decide::inspection::lately;
use crate::decide::restoring::{Restoration, restoration};
use crate::decide::{ConfigChange, Mode, Observed, Verdict, budget, target};

pub(super) fn suspended(question: &Question<'_>) -> Option<Held> {
    let own = question.observed.workload.suspension.iter();
    let inspections = lately(question.observed, question.now);
    let others = inspections.flat_map(|inspection| &inspection.suspensions);
    let held = own
        .chain(others)
        .find(|suspension| suspension.holds(question.now))?;
    let until = held.until.map_or_else(
        || {
            "without an end that is understood (write a time such as 2026-01-31T18:00:00Z first)"
                .to_owned()
        },
        |until| format!("until {until}"),
    );
    Some(Held {
        hold: Hold::Suspended,
        detail: format!("{} is suspended {until} ({})", held.place, held.reason),
    })
}

pub(super) fn opted_out(question: &Question<'_>) -> Option<Held> {
    question
        .observed
        .workload
        .opted_out
        .then(|| Hold::OptedOut.into())
}

pub(super) fn deleting(question: &Question<'_>) -> Option<Held> {
    question
        .observed
        .workload
        .deleting
        .then(|| Hold::Deleting.into())
}

pub(super) fn paused_by_person(question: &Question<'_>) -> Option<Held> {
    let workload = &question.observed.workload;
    (workload.paused && workload.paused_by.is_none()).then(|| Hold::PausedByPerson.into())
}

pub(super) fn no_replicas(question: &Question<'_>) -> Option<Held> {
    (question.observed.workload.replicas == 0).then(|| Hold::NoReplicas.into())
}

pub(super) fn other_controller(question: &Question<'_>) -> Option<Held> {
    let inspections = lately(question.observed, question.now);
    let mut others = inspections.filter_map(|inspection| inspection.other_controller.as_ref());
    others.next().map(|other| Held {
        hold: Hold::OtherController,
        detail: other.clone(),
    })
}

pub(super) fn no_target(observed: &Observed) -> Option<Held> {
    target::newest_good(observed)
        .is_none()
        .then(|| Hold::NoTarget.into())
}

pub(super) fn target_quarantined(question: &Question<'_>) -> Option<Held> {
    let to = question.to?;
    let memory = question.observed.memory.revisions.get(to)?;
    let convicted = match memory.verdict {
        Verdict::Bad => "Astern went back from it",
        Verdict::Withdrawn => "a person went back from it",
        Verdict::Unproven | Verdict::Good => return None,
    };
    Some(Held {
        hold: Hold::TargetQuarantined,
        detail: format!("{}: {convicted}", to.short()),
    })
}

pub(super) fn target_is_current(question: &Question<'_>) -> Option<Held> {
    (*question.to? == question.observed.workload.template).then(|| Hold::TargetIsCurrent.into())
}

pub(super) fn image_unavailable(question: &Question<'_>) -> Option<Held> {
    let why = question.inspection()?.image_unavailable.clone()?;
    Some(Held {
        hold: Hold::ImageUnavailable,
        detail: why,
    })
}

pub(super) fn schema_fits(question: &Question<'_>) -> Option<Held> {
    let target = question.facts(question.to?)?;
    // A revision that never ran has migrated nothing.
    let memory = &question.observed.memory.revisions;
    let ran = question.observed.facts.iter().filter(|(revision, _)| {
        **revision == question.observed.workload.template
            || memory.get(revision).is_some_and(|known| known.number > 0)
    });
    let (hold, detail) = match fit(ran.map(|(_, facts)| facts), target) {
        Fit::Fits => return None,
        Fit::Incompatible(detail) => (Hold::SchemaIncompatible, detail),
        Fit::Unknown(detail) => (Hold::SchemaUnknown, detail),
    };
    Some(Held { hold, detail })
}

pub(super) fn persistent_volumes(question: &Question<'_>) -> Option<Held> {
    if question.policy.persistent_volumes == Mode::Automatic {
        return None;
    }
    let claims = &question.facts(question.to?)?.claims;
    (!claims.is_empty()).then(|| Held {
        hold: Hold::PersistentVolumes,
        detail: format!("claims {}", claims.join(", ")),
    })
}

fn config(question: &Question<'_>) -> Option<Restoration> {
    let to = question.to?;
    let secrets = question.inspection().map(|seen| seen.secrets.clone());
    let secrets = secrets.unwrap_or_default();
    Some(restoration(
        question.observed,
        question.policy,
        to,
        &secrets,
    ))
}

pub(super) fn config_missing(question: &Question<'_>) -> Option<Held> {
    let missing = config(question)?.missing;
    (!missing.is_empty()).then(|| Held {
        hold: Hold::ConfigMissing,
        detail: named(&missing),
    })
}

pub(super) fn config_changed(question: &Question<'_>) -> Option<Held> {
    let changed = config(question)?.changed;
    (!changed.is_empty()).then(|| Held {
        hold: Hold::ConfigChanged,
        detail: named(&changed),
    })
}

/// More objects than anybody reads about in one line.
const CHANGES_NAMED: usize = 4;

fn named(changes: &[ConfigChange]) -> String {
    let mut named: Vec<String> = changes
        .iter()
        .take(CHANGES_NAMED)
        .map(ToString::to_string)
        .collect();
    if let more @ 1.. = changes.len().saturating_sub(CHANGES_NAMED) {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

/// What the pods run is the same, so whatever fails now would fail after going back as well.
pub(super) fn only_metadata_changed(question: &Question<'_>) -> Option<Held> {
    let to = question.facts(question.to?)?;
    let from = question.facts(&question.observed.workload.template)?;
    if to.substance.is_empty() || to.substance != from.substance {
        return None;
    }
    let config = config(question)?;
    if !config.repoint.is_empty() {
        return None;
    }
    let hold = if config.changed.is_empty() {
        Hold::OnlyMetadataChanged
    } else {
        Hold::OnlyConfigChanged
    };
    Some(Held {
        hold,
        detail: named(&config.changed),
    })
}

pub(super) fn budget_spent(question: &Question<'_>) -> Option<Held> {
    let Question {
        observed,
        policy,
        now,
        ..
    } = question;
    budget::spent(&policy.budget, &observed.past, *now).map(|detail| Held {
        hold: Hold::BudgetSpent,
        detail,
    })
}

pub(super) fn breaker_open(question: &Question<'_>) -> Option<Held> {
    question.observed.breaker.clone().map(|detail| Held {
        hold: Hold::BreakerOpen,
        detail,
    })
}
