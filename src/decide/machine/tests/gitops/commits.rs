//! What is remembered of Git.

use super::*;

fn released() -> Observed {
    let mut observed = deployed_by(&kustomization(), false, breached());
    observed.evidence.clear();
    observed.inspections.clear();
    observed
}

fn commit(observed: &Observed, second: i64) -> (Option<String>, bool) {
    let decision = decided(observed, &policy(), second);
    let known = &decision.memory.revisions[&bad()];
    (known.git.clone(), looks(&decision))
}

#[test]
fn the_commit_that_brought_a_revision_is_looked_for_in_its_first_minutes() {
    let mut observed = released();
    let since = observed.memory.revisions[&bad()].since;
    assert_eq!(commit(&observed, 100), (None, true));
    // The reconciler is not there yet.
    seen(&mut observed, at(100), Some(deploying(BEFORE)));
    assert_eq!(commit(&observed, 110), (None, false));
    assert_eq!(commit(&observed, 160), (None, true));
    seen(&mut observed, at(160), Some(deploying(COMMIT)));
    assert_eq!(commit(&observed, 160), (Some(COMMIT.to_owned()), false));
    let late = since.duration_since(at(0)).as_secs() + 301;
    observed.reconciler = None;
    assert_eq!(commit(&observed, late), (None, false));
}

#[test]
fn an_incident_says_what_changed_in_git() {
    let mut observed = deployed_by(&kustomization(), false, breached());
    let commits = ["a".repeat(40), "b".repeat(40)];
    let [before, after] = commits.clone().map(|commit| format!("main@sha1:{commit}"));
    observed
        .memory
        .revisions
        .get_mut(&good())
        .expect("known")
        .git = Some(before);
    observed
        .memory
        .revisions
        .get_mut(&bad())
        .expect("known")
        .git = Some(after);
    let range = proposed(&observed, &policy()).git_range;
    assert_eq!(range, Some(commits.join("..")));
}
