//! Runs the files in `tests/timelines`: what happens to a Deployment over time, and what Astern does.
//!
//! A file is a bug report that runs. Its parts:
//!
//! - `story`: one sentence that would be false if the code broke;
//! - `policy`: the spec, as users write it;
//! - `releases`: how each release does; what is not said is fine, and so is a release not named here;
//! - `running`: what has been running for a day when Astern first looks;
//! - `steps`: what happens at a time, and what is expected after it. Times are multiples of 5 s, the
//!   time between two scrapes and between two looks.
//!
//! Effects add up until a step says with `did` what they were, and none may be left over at the end,
//! so nothing that Astern does goes unmentioned.

mod file;
mod run;

use std::fs;
use std::path::Path;

#[test]
fn timelines_go_as_they_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timelines");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    assert!(
        paths.len() >= 6,
        "the timelines have moved; this test guards nothing"
    );
    let failures: Vec<String> = paths
        .iter()
        .filter_map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(path).unwrap();
            let problem = run::run(&text).err()?;
            Some(format!("tests/timelines/{name}\n{problem}"))
        })
        .collect();
    assert!(failures.is_empty(), "\n\n{}", failures.join("\n\n"));
}

/// The runner itself would be worth nothing if it never complained.
#[test]
fn a_wrong_expectation_is_told_with_all_that_happened() {
    let text = "
story: The good release is taken for a bad one.
policy: {mode: Automatic, probation: 1m}
running: v1
steps:
- at: 10s
  deploy: v2
- at: 30s
  expect: {reason: RollingBack, running: v1, did: [RollBack v2 to v1]}
";
    let problem = run::run(text).unwrap_err();
    for part in [
        "The good release is taken for a bad one.",
        "at 30s: reason is OnProbation, expected RollingBack",
        "at 30s: running is v2, expected v1",
        "at 30s: did [], expected [RollBack v2 to v1]",
        "    10s  v2  OnProbation",
    ] {
        assert!(problem.contains(part), "{part:?} is not in:\n{problem}");
    }
}

#[test]
fn a_typing_error_in_a_timeline_is_told() {
    let misspelled = "
story: s
policy: {}
running: v1
steps: [{at: 5s, deplyo: v2}]
";
    assert!(run::run(misspelled).unwrap_err().contains("deplyo"));
    let off_beat = misspelled.replace("at: 5s, deplyo", "at: 7s, deploy");
    assert!(run::run(&off_beat).unwrap_err().contains("multiple of 5s"));
    let bad_policy = misspelled
        .replace("deplyo", "deploy")
        .replace("{}", "{mode: Off}");
    assert!(run::run(&bad_policy).unwrap_err().contains("spec.mode"));
}
