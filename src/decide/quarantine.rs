//! Which revisions should not be deployed again for a while, and what people say about revisions.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use super::model::Announcement;
use super::{
    Enforcement, Mark, MarkWord, Memory, Observed, Policy, Proof, Revision, RevisionMemory, Verdict,
};

/// Fewer characters name no revision for sure.
const PREFIX_LEAST: usize = 8;

/// Returns `observed` with what people say about revisions taken in, and what to tell about it.
#[must_use]
pub fn with_marks(observed: &Observed, now: Timestamp) -> (Cow<'_, Observed>, Vec<Announcement>) {
    let mut marked = Cow::Borrowed(observed);
    let mut told = Vec::new();
    for mark in &observed.marks {
        let known = &marked.memory.revisions;
        let Some(revision) = meant(known.keys(), mark) else {
            told.push(Announcement::MarkNotUnderstood(mark.clone()));
            continue;
        };
        if known
            .get(&revision)
            .is_some_and(|known| known.mark.as_ref() == Some(&mark.value))
        {
            // Taken in before; an undo may have brought the annotation back.
            continue;
        }
        if let Some(memory) = marked.to_mut().memory.revisions.get_mut(&revision) {
            take_in(memory, mark, now);
        }
        told.push(Announcement::Marked(mark.clone()));
    }
    (marked, told)
}

fn meant<'a>(mut known: impl Iterator<Item = &'a Revision>, mark: &Mark) -> Option<Revision> {
    let begins = |revision: &&Revision| {
        mark.revision.len() >= PREFIX_LEAST && revision.0.starts_with(&mark.revision)
    };
    let first = known.by_ref().find(begins)?.clone();
    known.find(begins).is_none().then_some(first)
}

fn take_in(memory: &mut RevisionMemory, mark: &Mark, now: Timestamp) {
    memory.mark = Some(mark.value.clone());
    match mark.word {
        MarkWord::Good => {
            memory.verdict = Verdict::Good;
            memory.proof = Some(Proof::Vouched);
            memory.convicted = None;
        }
        MarkWord::Bad => convict(memory, Verdict::Bad, now),
        MarkWord::Withdrawn => convict(memory, Verdict::Withdrawn, now),
        MarkWord::Lifted => memory.convicted = None,
    }
}

/// Notes that Astern or a person went back from a revision: its quarantine begins.
pub fn convict(memory: &mut RevisionMemory, verdict: Verdict, now: Timestamp) {
    if memory.verdict != verdict {
        memory.convicted = Some(now);
    }
    memory.verdict = verdict;
    memory.proof = None;
}

/// Brings the quarantine of every revision up to date. Returns when the next one is over.
///
/// Where a GitOps tool deploys the workload, nothing is denied: one Deployment that is refused stops
/// all that comes with it.
pub fn update(
    memory: &mut Memory,
    policy: &Policy,
    reconciled: bool,
    now: Timestamp,
) -> Option<SignedDuration> {
    let terms = &policy.quarantine;
    let enforcement = match terms.enforcement {
        Enforcement::Deny if reconciled => Enforcement::Warn,
        given @ (Enforcement::Deny | Enforcement::Warn | Enforcement::Disabled) => given,
    };
    let mut next: Option<SignedDuration> = None;
    for known in memory.revisions.values_mut() {
        if known.verdict == Verdict::Good {
            known.convicted = None;
        }
        let left = known.convicted.map(|convicted| {
            let end = convicted
                .saturating_add(terms.lasting)
                .unwrap_or(Timestamp::MAX);
            end.duration_since(now)
        });
        let left = left.filter(SignedDuration::is_positive);
        known.quarantine = left
            .map(|_| enforcement)
            .filter(|enforcement| *enforcement > Enforcement::Disabled);
        if known.quarantine.is_some() {
            next = next.into_iter().chain(left).min();
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::decide::machine::tests::policy;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn revision(name: &str) -> Revision {
        Revision(name.repeat(8))
    }

    fn memory(verdict: Verdict, convicted: Option<i64>) -> Memory {
        let known = RevisionMemory {
            verdict,
            convicted: convicted.map(at),
            ..RevisionMemory::default()
        };
        Memory {
            revisions: BTreeMap::from([(revision("bad0"), known)]),
            incident: None,
        }
    }

    #[track_caller]
    fn check(
        (verdict, convicted): (Verdict, Option<i64>),
        enforcement: Enforcement,
        expected: Option<Enforcement>,
    ) {
        let mut policy = policy();
        policy.quarantine.enforcement = enforcement;
        policy.quarantine.lasting = SignedDuration::from_mins(60);
        let mut memory = memory(verdict, convicted);
        let next = update(&mut memory, &policy, false, at(100));
        assert_eq!(memory.revisions[&revision("bad0")].quarantine, expected);
        assert_eq!(next.is_some(), expected.is_some());
    }

    #[test]
    fn a_bad_revision_is_in_quarantine_for_its_time() {
        use Enforcement::{Deny, Disabled, Warn};
        check((Verdict::Bad, Some(90)), Deny, Some(Deny));
        check((Verdict::Withdrawn, Some(90)), Warn, Some(Warn));
        check((Verdict::Bad, Some(40)), Deny, None);
        check((Verdict::Bad, Some(41)), Deny, Some(Deny));
        check((Verdict::Bad, Some(90)), Disabled, None);
        check((Verdict::Bad, None), Deny, None);
        check((Verdict::Good, Some(90)), Deny, None);
        // Deployed again, and judged again: still in quarantine.
        check((Verdict::Unproven, Some(90)), Deny, Some(Deny));
    }

    #[test]
    fn nothing_is_denied_where_a_gitops_tool_deploys() {
        let mut policy = policy();
        for (enforcement, expected) in [
            (Enforcement::Deny, Some(Enforcement::Warn)),
            (Enforcement::Warn, Some(Enforcement::Warn)),
            (Enforcement::Disabled, None),
        ] {
            policy.quarantine.enforcement = enforcement;
            let mut memory = memory(Verdict::Bad, Some(90));
            update(&mut memory, &policy, true, at(100));
            assert_eq!(memory.revisions[&revision("bad0")].quarantine, expected);
        }
    }

    fn mark(revision: &str, word: MarkWord) -> Mark {
        Mark {
            revision: revision.to_owned(),
            word,
            by: "alice".to_owned(),
            reason: "seen to work".to_owned(),
            value: format!("{revision}/{}:alice: seen to work", word.name()),
        }
    }

    fn marked(verdict: Verdict, mark: Mark) -> (RevisionMemory, Vec<Announcement>) {
        let observed = Observed {
            memory: memory(verdict, Some(90)),
            marks: vec![mark],
            ..Observed::default()
        };
        let (observed, told) = with_marks(&observed, at(100));
        (observed.memory.revisions[&revision("bad0")].clone(), told)
    }

    #[test]
    fn people_have_the_last_word_about_a_revision() {
        let (known, _) = marked(Verdict::Bad, mark("bad0bad0", MarkWord::Good));
        assert_eq!(
            (known.verdict, known.proof, known.convicted),
            (Verdict::Good, Some(Proof::Vouched), None)
        );
        let (known, _) = marked(Verdict::Good, mark("bad0bad0", MarkWord::Withdrawn));
        assert_eq!(
            (known.verdict, known.convicted),
            (Verdict::Withdrawn, Some(at(100)))
        );
        let (known, told) = marked(Verdict::Bad, mark("bad0bad0", MarkWord::Lifted));
        assert_eq!((known.verdict, known.convicted), (Verdict::Bad, None));
        assert!(matches!(told[..], [Announcement::Marked(_)]));
    }

    #[test]
    fn the_same_words_count_once() {
        let word = mark("bad0bad0", MarkWord::Good);
        let mut observed = Observed {
            memory: memory(Verdict::Bad, Some(90)),
            marks: vec![word.clone()],
            ..Observed::default()
        };
        let known = observed
            .memory
            .revisions
            .get_mut(&revision("bad0"))
            .expect("known");
        known.mark = Some(word.value);
        let (after, told) = with_marks(&observed, at(100));
        assert_eq!(after.memory, observed.memory);
        assert_eq!(told, []);
    }

    #[test]
    fn a_mark_that_names_no_revision_is_told() {
        for name in ["900d900d", "bad0", ""] {
            let (known, told) = marked(Verdict::Bad, mark(name, MarkWord::Good));
            assert_eq!(known.verdict, Verdict::Bad, "{name:?}");
            assert!(
                matches!(told[..], [Announcement::MarkNotUnderstood(_)]),
                "{name:?}"
            );
        }
    }
}
