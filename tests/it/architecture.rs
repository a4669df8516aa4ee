//! Checks properties of the code itself, so that reviewers need not.

#![expect(
    clippy::unwrap_used,
    reason = "a test that finds no files to look at has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the pure half must not know about.
const FORBIDDEN_IN_DECIDE: &[&str] = &[
    "kube::",
    "k8s_openapi",
    "serde",
    "tokio",
    "async ",
    "Timestamp::now",
    "SystemTime",
    "Instant::",
    "tracing::",
    "std::env",
    "std::fs",
    "std::thread",
    "rand::",
    "println!",
    "crate::port",
];

/// Who may know whom: a module may use those in lines below its own.
const LAYERS: &[&[&str]] = &[
    &["bin"],
    &["app"],
    &["controller", "cli"],
    &["observe", "act"],
    // `api` takes the kinds of objects from `port`, which knows nothing of ours.
    &["api"],
    &["port"],
    &["decide"],
];

/// Calls of the port that change something in the cluster.
const WRITES: &[&str] = &[
    ".create(",
    ".json_patch(",
    ".status(",
    ".replace(",
    ".delete(",
];

/// Lines of a file without its tests.
const LINES: usize = 400;

/// A file of the repository.
struct Source {
    /// Relative to the repository, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// Returns the path of the module within its crate: `src/act/patches.rs` is `act::patches`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.split_once("src/").map_or("", |(_, path)| path);
        path.trim_end_matches(".rs").split('/').collect()
    }

    fn is_test(&self) -> bool {
        self.module().last() == Some(&"tests")
    }

    /// Returns the lines with their numbers, without comments and without the module of tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("#[cfg(test)]\nmod tests {");
        let text = &self.text[..tests.unwrap_or(self.text.len())];
        let lines = text.lines().enumerate();
        lines
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files below `directory`, and the file of its own name beside it.
#[track_caller]
fn rust_files(directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut left = vec![repository().join(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let beside = repository().join(format!("{directory}.rs"));
    found.extend(beside.is_file().then_some(beside));
    assert!(
        !found.is_empty(),
        "{directory} has moved; this test guards nothing"
    );
    found.sort();
    found.iter().map(read).collect()
}

fn read(path: &PathBuf) -> Source {
    let relative = path.strip_prefix(repository()).unwrap();
    Source {
        path: relative.to_str().unwrap().replace('\\', "/"),
        text: fs::read_to_string(path).unwrap(),
    }
}

/// Fails with all that was found: who moves code wants to know all of it at once.
#[track_caller]
fn check(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}

#[test]
fn decide_is_pure() {
    let mut broken = Vec::new();
    for source in rust_files("src/decide") {
        for word in FORBIDDEN_IN_DECIDE {
            if source.text.contains(word) {
                broken.push(format!("{} mentions {word:?}", source.path));
            }
        }
        for (line, used) in used_crates(&source) {
            if !["std", "jiff", "crate", "super", "self"].contains(&used.as_str()) {
                broken.push(format!("{}:{line} uses {used}", source.path));
            }
        }
    }
    check("src/decide knows std and jiff, and does no I/O:", &broken);
}

/// Returns the first word of every import.
fn used_crates(source: &Source) -> Vec<(usize, String)> {
    source
        .code()
        .filter_map(|(line, text)| {
            let path = text.trim_start().trim_start_matches("pub ");
            let path = path.strip_prefix("use ")?;
            let local = path.starts_with(|first: char| !first.is_ascii_lowercase());
            // `pub use detectors::…` in the folder's own file names a module beside it.
            let beside = text.trim_start().starts_with("pub use");
            (!local && !beside).then(|| (line, first_word(path)))
        })
        .collect()
}

fn first_word(path: &str) -> String {
    path.chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
        .collect()
}

#[test]
fn modules_know_only_what_is_below_them() {
    let known: BTreeSet<&str> = LAYERS.iter().copied().flatten().copied().collect();
    let mut broken = Vec::new();
    for source in rust_files("src") {
        let module = source.module();
        let [own, ..] = module.as_slice() else {
            continue;
        };
        if *own == "lib" {
            continue;
        }
        assert!(
            known.contains(own),
            "{}: which layer is it in?",
            source.path
        );
        let own_layer = layer(own);
        for (line, used) in used_modules(&source) {
            let fine = used == *own || !known.contains(used.as_str()) || layer(&used) > own_layer;
            if !fine {
                broken.push(format!("{}:{line} uses {used}", source.path));
            }
        }
    }
    check(
        "who may know whom: bin, app, controller and cli, observe and act, api, port, decide:",
        &broken,
    );
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or(usize::MAX)
}

/// Returns every module of the crate's top that the code names, however it spells the path.
fn used_modules(source: &Source) -> Vec<(usize, String)> {
    let module = source.module();
    let depth = module.len();
    let root = if module.first() == Some(&"bin") {
        "astern::"
    } else {
        "crate::"
    };
    let climb = "super::".repeat(depth);
    let mut used = Vec::new();
    for (line, text) in source.code() {
        for (at, _) in text.match_indices(root) {
            if text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            used.extend(named(&text[at + root.len()..]).map(|name| (line, name)));
        }
        // A path that climbs to the top is another spelling of `crate::`.
        if let Some(at) = text.find(&climb) {
            used.extend(named(&text[at + climb.len()..]).map(|name| (line, name)));
        }
    }
    used
}

/// Returns the modules that a path begins with: one, or several in braces.
fn named(path: &str) -> impl Iterator<Item = String> {
    let braced = path.strip_prefix('{');
    let parts = match braced {
        Some(list) => top_level(list),
        None => vec![path],
    };
    let words: Vec<String> = parts
        .into_iter()
        .map(|part| first_word(part.trim()))
        .collect();
    words.into_iter().filter(|word| !word.is_empty())
}

/// Splits a list at the commas that stand in no inner braces.
fn top_level(list: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    list.split(|letter: char| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    })
    .collect()
}

#[test]
fn imports_from_the_top_stand_in_one_line() {
    let broken: Vec<String> = rust_files("src")
        .iter()
        .flat_map(|source| {
            source
                .code()
                .filter(|(_, text)| text.trim_end().ends_with("use crate::{"))
                .map(|(line, _)| format!("{}:{line}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    check(
        "one `use crate::…` per module, or the test for layers misses them:",
        &broken,
    );
}

#[test]
fn only_act_writes() {
    let mut broken = Vec::new();
    let readers = ["controller", "cli", "observe", "app", "api", "bin"];
    for source in rust_files("src") {
        let module = source.module();
        let lease = module.starts_with(&["app", "lease"]);
        if !module.first().is_some_and(|own| readers.contains(own)) || lease || source.is_test() {
            continue;
        }
        // Many types have methods of these names; whoever has no port cannot mean the port's.
        if !source.text.contains("cluster") {
            continue;
        }
        let code: Vec<(usize, &str)> = source.code().collect();
        for (index, (line, text)) in code.iter().enumerate() {
            let before = index.checked_sub(1).map_or("", |index| code[index].1);
            let of_port = [*text, before].iter().any(|part| part.contains("cluster"));
            let writes = WRITES.iter().any(|call| text.contains(call));
            if of_port && writes {
                broken.push(format!("{}:{line} {}", source.path, text.trim()));
            }
        }
    }
    check(
        "src/act is the only place that writes, besides the lease in src/app:",
        &broken,
    );
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for source in programs() {
        let text = source.text.split("#[cfg(test)]\nmod tests {").next();
        let lines = text.unwrap_or_default().lines().count();
        if lines > LINES && !source.is_test() {
            broken.push(format!("{}: {lines} lines", source.path));
        }
    }
    check("a file has at most 400 lines without its tests:", &broken);
}

#[test]
fn modules_say_what_they_are() {
    let broken: Vec<String> = all_sources()
        .into_iter()
        .filter(|source| !source.is_test() && !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    check("the first line of a module says what it is:", &broken);
}

#[test]
fn no_module_is_called_mod() {
    let broken: Vec<String> = all_sources()
        .into_iter()
        .filter(|source| source.path.ends_with("/mod.rs"))
        .map(|source| source.path)
        .collect();
    check("foo.rs stands beside foo/:", &broken);
}

fn all_sources() -> Vec<Source> {
    let tests = ["tests/it", "tests/cluster"]
        .into_iter()
        .flat_map(rust_files);
    programs().into_iter().chain(tests).collect()
}

fn programs() -> Vec<Source> {
    ["src", "tests/testbed/src"]
        .into_iter()
        .flat_map(rust_files)
        .collect()
}

/// Crates of one family share the reason of the first.
#[test]
fn every_dependency_has_a_reason() {
    let mut broken = Vec::new();
    for file in ["Cargo.toml", "tests/testbed/Cargo.toml"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        let mut section = "";
        let mut before = "";
        let mut reason_for = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            let name = line.split([' ', '.', '=']).next().unwrap_or_default();
            // The reason of what comes from the workspace's list stands there.
            let local = line.contains("workspace = true") || line.contains("path = ");
            let dependency = section.ends_with("dependencies") && !name.is_empty();
            if dependency && !line.starts_with(['#', '[']) && !local {
                if before.starts_with("# ") {
                    reason_for = name;
                } else if reason_for.is_empty() || !name.starts_with(reason_for) {
                    broken.push(format!("{file}: {name}"));
                }
            }
            before = line;
        }
    }
    check(
        "a comment above each dependency says why it is there:",
        &broken,
    );
}
