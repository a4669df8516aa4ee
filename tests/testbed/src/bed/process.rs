//! Programs that never outlive this one.
//!
//! A process cannot clean up after `kill -9`, so the cleaning is left to a shell that stands
//! between: it holds one end of a pipe, this program the other. The kernel closes ours however we
//! die, and the shell then kills its whole process group. The same pipe carries signals by name, so
//! that no unsafe code is needed to send one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::usage;

/// Starts the program behind `$1` (its log), tells its process id, and waits for it.
///
/// Background jobs of a shell get an empty standard input, hence the detour over descriptor 3.
const SUPERVISOR: &str = r#"
log=$1
shift
exec 3<&0
"$@" 3<&- </dev/null >>"$log" 2>&1 &
child=$!
echo "$child"
{
    while read -r signal; do kill -s "$signal" "$child"; done <&3
    kill -s KILL 0
} >/dev/null 2>&1 &
watcher=$!
wait "$child"
status=$?
kill -s KILL "$watcher"
exit "$status"
"#;

/// How long a shell may take to start a program.
const START: Duration = Duration::from_secs(20);
/// How long the kernel may take to end a killed process.
const DEATH: Duration = Duration::from_secs(10);
/// Lines of a log that an error shows.
const TAIL: usize = 15;

/// What to run, and where its output goes.
#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// Set in addition to what this process has.
    pub environment: Vec<(String, String)>,
    pub working_directory: PathBuf,
    pub log: PathBuf,
}

/// A running program, killed when this is dropped and when this process ends in any way.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    id: u32,
    supervisor: Child,
    signals: ChildStdin,
}

impl Process {
    /// Starts a program in a process group of its own, so that Ctrl-C does not reach it.
    ///
    /// # Errors
    ///
    /// When there is no shell or no descriptor left. A program that cannot be started shows as a
    /// process that has [`exited`](Self::exited) with status 126 or 127.
    pub async fn start(program: &Program) -> anyhow::Result<Self> {
        let mut supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(&program.log)
            .arg(&program.path)
            .args(&program.arguments)
            // What the person at the keyboard works with is none of a bed's business.
            .env_remove("KUBECONFIG")
            .envs(program.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(&program.working_directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start a shell for {:?}", program.name))?;
        let (Some(signals), Some(output)) = (supervisor.stdin.take(), supervisor.stdout.take())
        else {
            bail!("the shell of {:?} has no pipes", program.name);
        };
        let mut line = String::new();
        let mut output = BufReader::new(output);
        timeout(START, output.read_line(&mut line))
            .await
            .ok()
            .and_then(Result::ok)
            .with_context(|| format!("the shell of {:?} did not start it", program.name))?;
        let id = line
            .trim()
            .parse()
            .with_context(|| format!("the shell of {:?} told no process id", program.name))?;
        Ok(Self {
            name: program.name.clone(),
            log: program.log.clone(),
            id,
            supervisor,
            signals,
        })
    }

    /// Returns the name that errors and logs use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process id of the program itself.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the file with everything that the program wrote.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal by its name without `SIG`, such as `TERM` or `KILL`.
    ///
    /// A program that has ended gets none, and that is no error.
    pub async fn signal(&mut self, name: &str) {
        drop(self.signals.write_all(format!("{name}\n").as_bytes()).await);
    }

    /// Returns how the program ended, or `None` while it runs. Killed by signal n counts as 128 + n.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.supervisor.try_wait().ok().flatten()
    }

    /// Waits until the program ends by itself.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to tell, which ends the test.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        // Not `Child::wait`: it closes the pipe first, which kills.
        loop {
            match self.supervisor.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot wait for {:?}", self.name));
                }
            }
        }
    }

    /// Kills the program as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it hangs in the kernel; there is nothing that the caller could do but say so.
    pub async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal("KILL").await;
        timeout(DEATH, self.wait())
            .await
            .with_context(|| format!("{:?} does not die", self.name))?
    }

    /// Asks the program to end, and kills it when it has not after `grace`.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub async fn stop(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        self.signal("TERM").await;
        match timeout(grace, self.wait()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }

    /// Returns the resident memory in bytes, or `None` when the program has ended.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        usage::memory(self.id)
            .ok()
            .map(|memory| memory.resident_bytes)
    }

    /// Returns the last lines of the log, for a message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        time::Duration,
    };

    use tokio::time::{sleep, timeout};

    use super::{Process, Program};
    use crate::bed::directory::Directory;

    fn shell(directory: &Directory, script: &str) -> Program {
        Program {
            name: "shell".to_owned(),
            path: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("GREETING".to_owned(), "hello".to_owned())],
            working_directory: directory.path().to_owned(),
            log: directory.path().join("shell.log"),
        }
    }

    async fn gone(id: u32) {
        let wait = async {
            while alive(id) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), wait).await.unwrap();
    }

    /// A process that only waits to be reaped is dead.
    fn alive(id: u32) -> bool {
        fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn output_and_status_of_a_program_are_kept() {
        let directory = Directory::create("process-status", false).unwrap();
        let program = shell(&directory, "echo $GREETING; echo world >&2; exit 7");
        let mut process = Process::start(&program).await.unwrap();
        assert_eq!(process.wait().await.unwrap().code(), Some(7));
        assert_eq!(process.log_tail(), "hello\nworld");
    }

    #[tokio::test]
    async fn a_program_that_handles_term_is_not_killed() {
        let directory = Directory::create("process-term", false).unwrap();
        let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        let mut process = Process::start(&shell(&directory, script)).await.unwrap();
        while process.log_tail() != "ready" {
            sleep(Duration::from_millis(10)).await;
        }
        let status = process.stop(Duration::from_secs(20)).await.unwrap();
        assert_eq!(status.code(), Some(3));
    }

    #[tokio::test]
    async fn a_program_that_ignores_term_is_killed() {
        let directory = Directory::create("process-stubborn", false).unwrap();
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let mut process = Process::start(&shell(&directory, script)).await.unwrap();
        while process.log_tail() != "ready" {
            sleep(Duration::from_millis(10)).await;
        }
        let status = process.stop(Duration::from_millis(100)).await.unwrap();
        assert_eq!(status.code(), Some(128 + 9));
        gone(process.id()).await;
    }

    #[tokio::test]
    async fn a_dropped_program_dies_with_its_children() {
        let directory = Directory::create("process-drop", false).unwrap();
        let script = "sleep 1000 & echo $!; wait";
        let process = Process::start(&shell(&directory, script)).await.unwrap();
        let child = loop {
            if let Ok(id) = process.log_tail().parse() {
                break id;
            }
            sleep(Duration::from_millis(10)).await;
        };
        assert!(alive(child) && process.memory_bytes() > Some(0));
        let id = process.id();
        drop(process);
        gone(id).await;
        gone(child).await;
    }

    #[tokio::test]
    async fn a_missing_program_exits_with_a_status_and_a_log() {
        let directory = Directory::create("process-missing", false).unwrap();
        let program = Program {
            path: PathBuf::from("/nowhere/at-all"),
            ..shell(&directory, "")
        };
        let mut process = Process::start(&program).await.unwrap();
        assert_eq!(process.wait().await.unwrap().code(), Some(127));
    }
}
