//! What a person sees whose machine lacks something.

#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PROGRAMS: &[(&str, &str)] = &[
    ("etcd", "etcd Version: 3.7.0"),
    ("helm", "v4.3.1"),
    ("helm3", "v3.22.0"),
    ("kube-apiserver", "Kubernetes v1.37.2"),
    ("kube-controller-manager", "Kubernetes v1.37.2"),
    ("kube-scheduler", "Kubernetes v1.37.2"),
    ("kubectl", "Client Version: v1.37.2"),
    ("prometheus", "prometheus, version 3.7.0"),
];

/// A machine with nothing on `PATH` but what a test puts there, and an empty cache.
struct Machine(PathBuf);

impl Machine {
    fn empty(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        fs::create_dir_all(directory.join("bin")).unwrap();
        Self(directory)
    }

    /// Puts a program on `PATH` that prints one line, whatever it is asked.
    fn install(&self, program: &str, prints: &str) {
        let file = self.0.join("bin").join(program);
        fs::write(&file, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn tools(&self, cache: &Path) -> Output {
        Command::new(env!("CARGO_BIN_EXE_testbed"))
            .arg("tools")
            .env("PATH", self.0.join("bin"))
            .env("ASTERN_TESTBED_CACHE", cache)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn check_advice(&self, cache: &Path, words: &[&str]) {
        let output = self.tools(cache);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        for word in words {
            assert!(message.contains(word), "no {word:?} in {message}");
        }
    }
}

#[test]
fn without_go_the_message_says_what_to_install() {
    let machine = Machine::empty("no-go");
    machine.check_advice(&machine.0.join("cache"), &["install Go 1.26", "go.dev/dl"]);
}

#[test]
fn an_old_go_is_named() {
    let machine = Machine::empty("old-go");
    machine.install("go", "go1.25.3");
    let words = ["go1.25.3", "install Go 1.26"];
    machine.check_advice(&machine.0.join("cache"), &words);
}

#[test]
fn a_full_disk_is_found_before_the_build() {
    let machine = Machine::empty("full-disk");
    machine.install("go", "go1.26.8");
    // The first line is a header; the program prints both.
    machine.install("df", "Filesystem\n/dev/small 9000 8000 1000 89% /");
    let words = ["1000 MB free", "free some space"];
    machine.check_advice(&machine.0.join("cache"), &words);
}

#[test]
fn a_failed_build_shows_what_go_said() {
    let machine = Machine::empty("failed-build");
    let script = "go1.26.8'; [ \"$1\" = env ] || { echo 'no such host' >&2; exit 1; }; echo '";
    machine.install("go", script);
    let words = ["no such host", "check the network"];
    machine.check_advice(&machine.0.join("cache"), &words);
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let machine = Machine::empty("no-cache");
    let words = ["/dev/null/cache", "ASTERN_TESTBED_CACHE"];
    machine.check_advice(Path::new("/dev/null/cache"), &words);
}

#[test]
fn tools_on_the_path_are_taken_instead_of_built() {
    let machine = Machine::empty("all-there");
    for (program, prints) in PROGRAMS {
        machine.install(program, prints);
    }
    let output = machine.tools(&machine.0.join("cache"));
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    for (program, _) in PROGRAMS {
        let path = machine.0.join("bin").join(program);
        assert!(listed.contains(&path.display().to_string()), "{listed}");
    }

    // One that does not fit would have to be built.
    machine.install("kubectl", "Client Version: v1.32.4");
    machine.check_advice(&machine.0.join("cache"), &["install Go 1.26"]);
}
