//! Builds tools with the Go toolchain.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, anyhow, bail};

use super::{Module, Tool, cache::Cache, progress::Progress};

/// The version that the modules ask for.
const NEEDED: (u32, u32) = (1, 26);
/// Lines of Go's output that an error shows.
const TAIL: usize = 12;
const INSTALL: &str = "install Go 1.26 or newer from https://go.dev/dl and put its `bin` on PATH";

/// Checks that a Go toolchain of a sufficient version is there.
pub(super) fn check_toolchain() -> anyhow::Result<()> {
    let output = Command::new("go")
        .args(["env", "GOVERSION"])
        // A `go.mod` in the working directory could ask for a download of another toolchain.
        .env("GOTOOLCHAIN", "local")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            anyhow!("the tools of the test bed are built with Go, which does not start ({error}); {INSTALL}")
        })?;
    sufficient(String::from_utf8_lossy(&output.stdout).trim())
}

fn sufficient(version: &str) -> anyhow::Result<()> {
    let mut numbers = version
        .strip_prefix("go")
        .unwrap_or_default()
        .split(|character: char| !character.is_ascii_digit())
        .map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("cannot read the version of Go from {version:?}; {INSTALL}");
    };
    if (major, minor) < NEEDED {
        bail!("the tools of the test bed need Go 1.26, and this is {version:?}; {INSTALL}");
    }
    Ok(())
}

/// Builds `tools` of one module into the cache.
///
/// The caller holds the lock of the cache.
pub(super) fn build(
    cache: &Cache,
    module: &Module,
    tools: &[Tool],
    label: &str,
) -> anyhow::Result<()> {
    let target = cache.module_directory(module);
    let work = target.join("unfinished");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    let bin = target.join("bin");
    for directory in [&work, &bin] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    // Go writes into the directory of a module, and the sources may be read-only.
    for (name, text) in [("go.mod", module.go_mod), ("go.sum", module.go_sum)] {
        fs::write(work.join(name), text)
            .with_context(|| format!("cannot write {}", work.join(name).display()))?;
    }
    install(module, tools, &work, label)?;
    for &tool in tools {
        let from = work.join("bin").join(tool.built_as());
        let to = bin.join(tool.program());
        fs::rename(&from, &to)
            .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    }
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

fn install(module: &Module, tools: &[Tool], work: &Path, label: &str) -> anyhow::Result<()> {
    let mut child = Command::new("go")
        .args(["install", "-v", "-trimpath", "-buildvcs=false", "-ldflags"])
        .arg(module.linker_flags)
        .args(tools.iter().map(|tool| tool.package()))
        .current_dir(work)
        .env("GOBIN", work.join("bin"))
        .env("GOFLAGS", "-mod=readonly")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        // Set for another system, they would build programs that do not run here.
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start Go")?;
    let tail = watch(&mut child, module, label);
    let status = child.wait().context("cannot wait for Go")?;
    if status.success() {
        return Ok(());
    }
    let tail = Vec::from(tail).join("\n");
    bail!(
        "building the module {:?} of the test bed failed: {}\nGo said:\n{tail}",
        module.name,
        advice(&tail),
    );
}

/// Shows progress until Go closes its output, and returns its last lines.
fn watch(child: &mut Child, module: &Module, label: &str) -> VecDeque<String> {
    let mut tail = VecDeque::new();
    let Some(output) = child.stderr.take() else {
        return tail;
    };
    let progress = Progress::start(label.to_owned(), module.first_build_minutes);
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        progress.line(&line);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    progress.finish();
    tail
}

/// Says what to do about the failures that people meet.
fn advice(output: &str) -> &'static str {
    let has = |word: &str| output.contains(word);
    if has("no space left on device") {
        "the disk is full; free some space, or set ASTERN_TESTBED_CACHE, GOCACHE and GOMODCACHE to \
         directories on a larger one"
    } else if has("dial tcp") || has("no such host") || has("i/o timeout") {
        "a module could not be downloaded; check the network, or set GOPROXY to a proxy that you \
         can reach"
    } else if has("checksum mismatch") || has("SECURITY ERROR") {
        "a downloaded module is not the one that was recorded; check GOPROXY, and run \
         `go clean -modcache`"
    } else if has("signal: killed") || has("cannot allocate memory") {
        "the machine ran out of memory; the build needs about 3 GB, or set GOMAXPROCS=1"
    } else {
        "its output follows; what was compiled so far is kept, so running again is cheap"
    }
}

#[cfg(test)]
mod tests {
    use super::{advice, sufficient};

    #[test]
    fn go_must_be_new_enough() {
        for version in ["go1.26", "go1.26.8", "go1.30rc1", "go2.0", "go1.26-devel"] {
            assert!(sufficient(version).is_ok(), "{version}");
        }
        for version in ["go1.25.9", "go1.9", ""] {
            let message = sufficient(version).unwrap_err().to_string();
            assert!(message.contains("install Go 1.26"), "{message}");
        }
    }

    #[test]
    fn failures_that_people_meet_have_advice() {
        for (output, word) in [
            ("write /tmp/x: no space left on device", "free some space"),
            ("dial tcp: lookup proxy.golang.org: no such host", "GOPROXY"),
            ("compile: signal: killed", "memory"),
            ("syntax error", "output follows"),
        ] {
            assert!(advice(output).contains(word), "{output}");
        }
    }
}
