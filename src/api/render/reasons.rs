//! Every reason that people meet, in words: what it means, and what to do.
//!
//! `docs/reasons.md` is made of this. Each kind of reason has one function without a catch-all, so
//! that a new one does not compile before somebody has explained it.

mod drills;
mod events;

use std::fmt::Write as _;

use jiff::SignedDuration;

use crate::decide::{Hold, Measurement, Reason, State, Unknown, Weight};

pub use drills::of_outcome;
pub use events::{Told, of_announcement};

/// What a reason means, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub meaning: &'static str,
    pub advice: &'static str,
}

const fn text(meaning: &'static str, advice: &'static str) -> Text {
    Text { meaning, advice }
}

const NOTHING: &str = "Nothing.";

/// Explains where a workload stands; `None` where the reason has a table of its own.
#[must_use]
pub const fn of_reason(reason: &Reason) -> Option<Text> {
    Some(match reason {
        Reason::Disabled => text(
            "The policy's mode is `Disabled`: nothing is judged.",
            "Set another mode, `Observe` first.",
        ),
        Reason::RevisionNotKnownYet => text(
            "The Deployment controller has not made a ReplicaSet of the template yet.",
            "Wait. If it stays, look whether kube-controller-manager runs.",
        ),
        Reason::OnProbation => text(
            "The current revision is being judged; nothing was found against it.",
            "Wait until the probation is over.",
        ),
        Reason::RevisionGood => text(
            "The current revision was rolled out and went through its probation.",
            NOTHING,
        ),
        Reason::LetGo => text(
            "A person or the policy let this revision go on; it is not proposed again.",
            "Deploy a fix, or ask for a rollback by hand.",
        ),
        Reason::Held(_) | Reason::Incident(_) => return None,
    })
}

/// The reasons of [`of_reason`].
const REASONS: [Reason; 5] = [
    Reason::Disabled,
    Reason::RevisionNotKnownYet,
    Reason::OnProbation,
    Reason::RevisionGood,
    Reason::LetGo,
];

/// Explains where an incident stands.
#[must_use]
pub const fn of_state(state: State) -> Text {
    match state {
        State::Observed => text(
            "A trigger was breached, and the mode is `Observe`, or only a dry run was asked for: this is what would have been done.",
            "Look at the release. Choose another mode if Astern was right.",
        ),
        State::AwaitingApproval => text(
            "A rollback is proposed, and people have to agree.",
            "`kubectl astern approve NAME` or `kubectl astern reject NAME`.",
        ),
        State::RollingBack => text(
            "It is decided, and the template is being put back.",
            "Wait. The Rollback says what is in the way, if anything is.",
        ),
        State::Verifying => text(
            "The template is back. Rollout and triggers must pass for a while.",
            "Wait.",
        ),
        State::Recovered => text(
            "The restored revision works.",
            "Find out what was wrong with the other one, and revert it in Git.",
        ),
        State::NotRecovered => text(
            "The restored revision fails as well, so the release was hardly the cause.",
            "Look elsewhere: dependencies, traffic, nodes. The release may be deployed again.",
        ),
        State::Rejected => text("A person said no. The revision goes on.", NOTHING),
        State::Released => text(
            "Nobody answered in time, and the policy lets the revision go on.",
            "Look at the release all the same.",
        ),
        State::Superseded => text(
            "Somebody deployed something else meanwhile, which is judged for itself.",
            NOTHING,
        ),
        State::Failed => text(
            "The rollback could not be carried out, or not be verified in time.",
            "Read the message of the Rollback; it quotes what stood in the way.",
        ),
    }
}

/// Explains why a trigger says nothing.
#[must_use]
pub const fn of_unknown(unknown: &Unknown) -> Text {
    match unknown {
        Unknown::NoSource { .. } => text(
            "The policy names a MetricSource that does not exist or cannot be used.",
            "Create it, or set right what its status says.",
        ),
        Unknown::NoAnswer { .. } => text(
            "The metric source gave no answer.",
            "Look at the source and at the way there; the message names the kind of failure.",
        ),
        Unknown::NotUnderstood { .. } => text(
            "The metric source answered something else than Prometheus does.",
            "Check `spec.url` of the MetricSource: a login page or a proxy may stand there.",
        ),
        Unknown::Incomplete => text(
            "The metric source says itself that its answer is incomplete.",
            "Look at its stores; a partial answer is never counted.",
        ),
        Unknown::NotANumber => text(
            "A value is not a finite number.",
            "Look at the exporter, or at a division by zero in your own query.",
        ),
        Unknown::NoData => text(
            "The source has no series for any pod of the revision.",
            "Check the preset, and that the pods are scraped.",
        ),
        Unknown::Stale { .. } => text(
            "The newest sample is too old to say anything about now.",
            "Look at the scrape target in Prometheus.",
        ),
        Unknown::TooFewRequests { .. } => text(
            "There is too little traffic to tell.",
            "Take the window that the message names, or a smaller `minimumRequests`.",
        ),
        Unknown::NotLongEnough { .. } => text(
            "It is over the limit, but not for as long as `for` says.",
            "Wait.",
        ),
        Unknown::NoPods => text(
            "The revision has no pods.",
            "Look at the ReplicaSet: replicas, quota, admission.",
        ),
        Unknown::RolloutInProgress => text("The rollout still has time.", "Wait."),
        Unknown::Disrupted { .. } => text(
            "It is over the limit because pods were evicted or nodes are not ready, which is no release's fault.",
            "Look at the nodes.",
        ),
        Unknown::BadBefore { .. } => text(
            "It is over the limit, as the revision before was.",
            "Look for what both share: a dependency, or a limit that never fitted.",
        ),
        Unknown::NothingBefore => text(
            "There is no revision before to compare with.",
            "Give the trigger a threshold as well.",
        ),
        Unknown::NotConclusive { .. } => text("Over the limit, but it could be chance.", "Wait."),
        Unknown::FiringBefore => text(
            "The alert fired already before the release.",
            "Look at the alert; the release did not cause it.",
        ),
        Unknown::EmptyAnswer => text(
            "The query has no result.",
            "Write it so that it has one also when all is well, for instance with `or vector(0)`.",
        ),
        Unknown::NotWatched => text(
            "Pods are watched during probation and incidents only.",
            NOTHING,
        ),
    }
}

/// Returns one of each kind, in the order of the type: each names the one that follows it.
fn unknowns() -> Vec<Unknown> {
    let first = Unknown::NoSource {
        cause: String::new(),
    };
    std::iter::successors(Some(first), after).collect()
}

fn after(unknown: &Unknown) -> Option<Unknown> {
    let cause = String::new;
    let measurement = || {
        Box::new(Measurement::Rollout {
            complete: false,
            cause: None,
        })
    };
    let zero = SignedDuration::ZERO;
    Some(match unknown {
        Unknown::NoSource { .. } => Unknown::NoAnswer { cause: cause() },
        Unknown::NoAnswer { .. } => Unknown::NotUnderstood { cause: cause() },
        Unknown::NotUnderstood { .. } => Unknown::Incomplete,
        Unknown::Incomplete => Unknown::NotANumber,
        Unknown::NotANumber => Unknown::NoData,
        Unknown::NoData => Unknown::Stale { age: zero },
        Unknown::Stale { .. } => Unknown::TooFewRequests {
            seen: 0,
            needed: 0,
            window: zero,
        },
        Unknown::TooFewRequests { .. } => Unknown::NotLongEnough {
            measurement: measurement(),
            lasted: zero,
            needed: zero,
        },
        Unknown::NotLongEnough { .. } => Unknown::NoPods,
        Unknown::NoPods => Unknown::RolloutInProgress,
        Unknown::RolloutInProgress => Unknown::Disrupted {
            measurement: measurement(),
        },
        Unknown::Disrupted { .. } => Unknown::BadBefore {
            measurement: measurement(),
        },
        Unknown::BadBefore { .. } => Unknown::NothingBefore,
        Unknown::NothingBefore => Unknown::NotConclusive {
            measurement: measurement(),
        },
        Unknown::NotConclusive { .. } => Unknown::FiringBefore,
        Unknown::FiringBefore => Unknown::EmptyAnswer,
        Unknown::EmptyAnswer => Unknown::NotWatched,
        Unknown::NotWatched => return None,
    })
}

/// The reasons of a policy's conditions.
const POLICY: [(&str, Text); 6] = [
    ("Accepted", text("The spec is understood.", NOTHING)),
    (
        "Invalid",
        text(
            "The spec is not understood, so nothing is guarded.",
            "Set right the field that the message names.",
        ),
    ),
    ("Guarding", text("Every trigger has data.", NOTHING)),
    (
        "Partial",
        text(
            "Some triggers have no data.",
            "The message says which, and why.",
        ),
    ),
    (
        "NoData",
        text(
            "No trigger has data: nothing is really guarded.",
            "The message says why, trigger by trigger.",
        ),
    ),
    (
        "NoTarget",
        text(
            "No Deployment is covered.",
            "Check `targetRefs`, `selector`, or the annotation `astern.dev/policy`.",
        ),
    ),
];

/// Returns all of it as the tables of a page.
#[must_use]
pub fn page() -> String {
    let mut page = String::new();
    section(
        &mut page,
        "Where a Deployment stands",
        "`status.targets[].reason` of a RollbackPolicy, unless a hold or an incident says more.",
        REASONS
            .iter()
            .filter_map(|reason| Some((reason.name(), of_reason(reason)?)))
            .collect(),
    );
    holds(&mut page);
    section(
        &mut page,
        "Where a rollback stands",
        "The reason of the condition `Complete` of a Rollback, its column STATE, and Events.",
        State::ALL
            .iter()
            .map(|state| (state.name(), of_state(*state)))
            .collect(),
    );
    section(
        &mut page,
        "Why a trigger says nothing",
        "`status.targets[].triggers[]` of a RollbackPolicy. None of these ever leads to a rollback.",
        unknowns()
            .iter()
            .map(|unknown| (unknown.name(), of_unknown(unknown)))
            .collect(),
    );
    section(
        &mut page,
        "What else Events tell",
        "Events on the Deployment, and on the Rollback where there is one.",
        Told::ALL
            .iter()
            .map(|told| (told.name(), told.text()))
            .collect(),
    );
    section(
        &mut page,
        "How a policy stands",
        "The reasons of the conditions of a RollbackPolicy.",
        POLICY.to_vec(),
    );
    section(
        &mut page,
        "What drills find",
        "The reason of the condition `RollbackReady` of a RollbackPolicy, unless it is a hold.",
        drills::rows(),
    );
    page
}

fn section(page: &mut String, title: &str, place: &str, rows: Vec<(&'static str, Text)>) {
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(
        page,
        "\n## {title}\n\n{place}\n\n| reason | what it means | what to do |\n| --- | --- | --- |"
    );
    for (name, Text { meaning, advice }) in rows {
        let _ = writeln!(page, "| `{name}` | {meaning} | {advice} |");
    }
}

/// Holds say in one sentence what they mean and what to do, because people read it where they are.
fn holds(page: &mut String) {
    page.push_str(
        "\n## What keeps Astern from acting\n\nIn the order in which they are asked. One that *stops* holds whoever agrees; one that *asks* makes the rollback a proposal.\n\n| reason | | what it means, and what to do |\n| --- | --- | --- |\n",
    );
    for hold in Hold::ALL {
        let weight = match hold.weight() {
            Weight::Stops => "stops",
            Weight::Asks => "asks",
        };
        let _ = writeln!(
            page,
            "| `{}` | {weight} | {}. |",
            hold.name(),
            sentence(hold.advice())
        );
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::render::{breaker_opened, missing_policy, note};
    use crate::decide::{Announcement, DrillOutcome, Drilled, Mark, MarkWord, Revision};

    #[test]
    fn events_have_the_names_that_are_explained() {
        let mark = Mark {
            revision: "0a1b2c3d".to_owned(),
            word: MarkWord::Good,
            by: "alice".to_owned(),
            reason: "it works".to_owned(),
            value: String::new(),
        };
        let revision = Revision("0a1b2c3d".to_owned());
        for announcement in [
            Announcement::Escalate,
            Announcement::Good(revision.clone()),
            Announcement::Fighting,
            Announcement::ConfigChanged(Vec::new()),
            Announcement::BackFromQuarantine(revision),
            Announcement::Marked(mark.clone()),
            Announcement::MarkNotUnderstood(mark),
            Announcement::Drilled(drilled(DrillOutcome::Ready)),
            Announcement::Drilled(drilled(DrillOutcome::NoApprover)),
        ] {
            let told = of_announcement(&announcement).expect("an Event of its own");
            assert_eq!(note(&announcement, None).reason, told.name());
        }
        assert_eq!(missing_policy("p").reason, Told::PolicyNotFound.name());
        assert_eq!(breaker_opened("w").reason, Told::BreakerOpened.name());
    }

    fn drilled(outcome: DrillOutcome) -> Drilled {
        Drilled {
            at: jiff::Timestamp::UNIX_EPOCH,
            outcome,
            detail: String::new(),
        }
    }

    #[test]
    fn every_reason_has_a_row() {
        let page = page();
        let unknowns: BTreeSet<&str> = unknowns().iter().map(Unknown::name).collect();
        assert_eq!(unknowns.len(), 18, "a kind is left out of `after`");
        let names = Hold::ALL.iter().map(|hold| hold.name());
        let names = names.chain(State::ALL.iter().map(|state| state.name()));
        let names = names.chain(DrillOutcome::OWN.map(DrillOutcome::name));
        for name in names.chain(unknowns).chain(Told::ALL.map(Told::name)) {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
        assert!(!page.contains(".. |"), "a sentence ends with one full stop");
    }
}
