//! Files that are generated from the code are up to date. `UPDATE=1` rewrites them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that finds no files to look at has failed"
)]

mod commands;
mod presets;

use std::fs;
use std::path::Path;

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// Compares the files of a directory with what they should be.
#[track_caller]
fn check(directory: &str, files: &[(String, String)]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut outdated = Vec::new();
    for (name, text) in files {
        let path = directory.join(name);
        if fs::read_to_string(&path).is_ok_and(|found| found == *text) {
            continue;
        }
        if updating() {
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

/// Compares a part of a page, between two comments that name it, with what it should be.
#[track_caller]
fn check_part(page: &str, part: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- {part}: begin -->\n"),
        format!("<!-- {part}: end -->"),
    );
    let (before, rest) = text.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    if updating() {
        fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert!(
            found == expected,
            "the part {part:?} of {page} is out of date; run UPDATE=1 cargo test --test it"
        );
    }
}

#[test]
fn the_table_of_presets_is_up_to_date() {
    check_part("docs/presets.md", "presets", &presets::table());
}

#[test]
fn every_reason_is_explained_on_its_page() {
    let page = astern::api::render::reasons::page();
    check_part("docs/reasons.md", "reasons", &page);
}

#[test]
fn the_page_of_the_plugin_is_up_to_date() {
    check_part("docs/cli.md", "commands", &commands::all());
}
