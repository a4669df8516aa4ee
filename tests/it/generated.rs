//! Files that are generated from the code are up to date. `UPDATE=1` rewrites them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that finds no files to look at has failed"
)]

use std::fs;
use std::path::Path;

/// Compares the files of a directory with what they should be.
#[track_caller]
fn check(directory: &str, files: &[(String, String)]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let mut outdated = Vec::new();
    for (name, text) in files {
        let path = directory.join(name);
        if fs::read_to_string(&path).is_ok_and(|found| found == *text) {
            continue;
        }
        if update {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&path, text).unwrap();
        } else {
            outdated.push(path);
        }
    }
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name();
        if !files.iter().any(|(known, _)| name == known.as_str()) {
            outdated.push(directory.join(name));
        }
    }
    assert!(
        outdated.is_empty(),
        "out of date or not generated any more: {outdated:?}; run UPDATE=1 cargo test --test it, and remove what is left over"
    );
}

#[test]
fn resource_definitions_are_up_to_date() {
    check("crds", &astern::api::crds::all().unwrap());
}
