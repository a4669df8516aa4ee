//! The temporary directory of one bed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

const PREFIX: &str = "astern-bed-";
/// Held locked while a bed lives, so that others can tell a used directory from one left behind.
const LOCK: &str = "lock";
/// Marks a directory that somebody wants to look at later.
const KEEP: &str = "keep";

/// A directory that goes away with its owner.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes a directory whose name contains `label`, and removes those that dead beds left.
    pub(crate) fn create(label: &str, keep: bool) -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let label: String = label
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .take(40)
            .collect();
        let name = format!("{label}-{:08x}", rand::random::<u32>());
        // Under its final name only when locked, or another bed could sweep it away.
        let unlocked = parent.join(format!("astern-new-{name}"));
        let path = parent.join(format!("{PREFIX}{name}"));
        let advice = || {
            format!(
                "cannot make a directory for the bed in {}; set TMPDIR to one that you may write",
                parent.display(),
            )
        };
        fs::create_dir(&unlocked).with_context(advice)?;
        let lock = File::create(unlocked.join(LOCK)).with_context(advice)?;
        lock.lock().with_context(advice)?;
        if keep {
            File::create(unlocked.join(KEEP)).with_context(advice)?;
        }
        fs::rename(&unlocked, &path).with_context(advice)?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only this user may read, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

        let path = self.path.join(name);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| {
                fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&path)?
                    .write_all(text.as_bytes())
            });
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What a dying process still writes makes this fail; the next bed sweeps the rest.
        if !self.path.join(KEEP).exists() {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// Removes directories whose owners are dead. Best effort: they may belong to another user.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !ours || path.join(KEEP).exists() {
            continue;
        }
        // The lock goes first when a directory is removed half, so none means dead as well.
        let dead = match File::open(path.join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if dead {
            drop(fs::remove_dir_all(&path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Directory, KEEP};

    #[test]
    fn a_directory_goes_with_its_owner_and_not_before() {
        let first = Directory::create("directory one", false).unwrap();
        let second = Directory::create("directory-two", false).unwrap();
        let path = first.path().to_owned();
        assert!(path.exists() && second.path().exists() && path != second.path());
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }

    #[test]
    fn a_kept_directory_stays() {
        let directory = Directory::create("directory-kept", true).unwrap();
        let path = directory.path().to_owned();
        drop(directory);
        drop(Directory::create("directory-sweeper", false).unwrap());
        assert!(path.join(KEEP).exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_a_dead_bed_left_is_swept() {
        let dead = std::env::temp_dir().join("astern-bed-left-behind");
        fs::create_dir_all(dead.join("etcd")).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        drop(Directory::create("directory-after", false).unwrap());
        assert!(!dead.exists());
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = Directory::create("directory-private", false).unwrap();
        let path = directory.write("sub/key.pem", "secret").unwrap();
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
