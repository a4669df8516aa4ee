//! The directory that keeps built tools between runs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::{Module, Tool};

/// Sources, Go's own build cache and the programs of all modules, with a margin.
const NEEDED_MEGABYTES: u64 = 6_000;

/// Where built tools are kept.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens the user's cache, and makes it if this is the first time.
    pub(super) fn open() -> anyhow::Result<Self> {
        let directory = directory(|name| std::env::var_os(name).map(PathBuf::from))?;
        Self::at(directory)
    }

    pub(super) fn at(directory: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&directory).with_context(|| {
            format!(
                "cannot create the cache {}; set ASTERN_TESTBED_CACHE to a directory that you may \
                 write",
                directory.display(),
            )
        })?;
        Ok(Self { directory })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns where the tools of `module` are, or will be.
    pub(super) fn module_directory(&self, module: &Module) -> PathBuf {
        self.directory
            .join(format!("{}-{}", module.name, fingerprint(module)))
    }

    /// Returns a tool that an earlier build has finished.
    ///
    /// Programs get their final name in one step, so one that is there is whole.
    pub(super) fn built(&self, tool: Tool) -> Option<PathBuf> {
        let path = self
            .module_directory(tool.module())
            .join("bin")
            .join(tool.program());
        path.is_file().then_some(path)
    }

    /// Waits until no other process builds. The lock ends with its holder, however that dies.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        let path = self.directory.join("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!("Waiting for another process that builds the tools of the test bed.");
            file.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }

    /// Checks that a build has room, so that it does not fail after ten minutes.
    pub(super) fn check_space(&self) -> anyhow::Result<()> {
        let asked = Command::new("df").arg("-Pm").arg(&self.directory).output();
        // A machine without `df` builds all the same.
        let Ok(output) = asked else { return Ok(()) };
        let free = free_megabytes(&String::from_utf8_lossy(&output.stdout));
        enough_space(free, &self.directory)
    }
}

fn enough_space(free: Option<u64>, directory: &Path) -> anyhow::Result<()> {
    if let Some(free) = free
        && free < NEEDED_MEGABYTES
    {
        bail!(
            "{} has {free} MB free, and building the tools of the test bed needs {NEEDED_MEGABYTES} \
             MB (with Go's own cache); free some space, or set ASTERN_TESTBED_CACHE and GOCACHE to \
             directories on a larger disk",
            directory.display(),
        );
    }
    Ok(())
}

/// Reads the fourth column of `df -P`.
fn free_megabytes(table: &str) -> Option<u64> {
    table
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()
}

fn directory(variable: impl Fn(&str) -> Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(chosen) = variable("ASTERN_TESTBED_CACHE") {
        return Ok(chosen);
    }
    variable("XDG_CACHE_HOME")
        // The specification of XDG says to ignore relative ones.
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("astern").join("testbed"))
        .context("HOME is not set; set ASTERN_TESTBED_CACHE to a directory that you may write")
}

/// Names everything that goes into a build.
fn fingerprint(module: &Module) -> String {
    let mut hasher = Sha256::new();
    for part in [module.go_mod, module.go_sum, module.linker_flags] {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    // Half of the digest is enough, and short enough for a directory.
    format!("{:x}", hasher.finalize())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{NEEDED_MEGABYTES, directory, enough_space, free_megabytes};

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &str) {
        let found = directory(|name| {
            let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
            Some(PathBuf::from(value))
        });
        assert_eq!(found.unwrap(), Path::new(expected));
    }

    #[test]
    fn cache_is_where_the_user_says() {
        let home = ("HOME", "/home/ana");
        check(&[home], "/home/ana/.cache/astern/testbed");
        check(&[home, ("XDG_CACHE_HOME", "/big")], "/big/astern/testbed");
        check(
            &[home, ("XDG_CACHE_HOME", "relative")],
            "/home/ana/.cache/astern/testbed",
        );
        check(
            &[
                home,
                ("XDG_CACHE_HOME", "/big"),
                ("ASTERN_TESTBED_CACHE", "/mine"),
            ],
            "/mine",
        );
    }

    #[test]
    fn without_a_home_the_variable_to_set_is_named() {
        let message = directory(|_| None).unwrap_err().to_string();
        assert!(message.contains("ASTERN_TESTBED_CACHE"), "{message}");
    }

    #[test]
    fn free_space_is_read_from_df() {
        let table = "Filesystem     1048576-blocks  Used Available Capacity Mounted on\n\
                     /dev/vda               257000 22000     70123      24% /\n";
        assert_eq!(free_megabytes(table), Some(70_123));
        assert_eq!(free_megabytes(""), None);
    }

    #[test]
    fn a_full_disk_is_refused_before_the_build() {
        let disk = Path::new("/small");
        assert!(enough_space(Some(NEEDED_MEGABYTES), disk).is_ok());
        assert!(enough_space(None, disk).is_ok());
        let message = enough_space(Some(NEEDED_MEGABYTES - 1), disk)
            .unwrap_err()
            .to_string();
        assert!(message.contains("free some space"), "{message}");
    }
}
