//! A local program that runs as the container of a pod.
//!
//! It is not isolated in any way: it sees the machine's files and network, and is told its pod's
//! address by its environment.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, atomic::Ordering},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
};
use tokio_util::sync::CancellationToken;

use crate::{
    behaviour::Program,
    node::{Simulation, credentials, environment::Environment, state::Pod},
};

/// Runs the program, says its process id, and sends it the signals that come in on standard input.
///
/// The end of the input, which is also what a killed simulator leaves behind, kills the program.
const SUPERVISOR: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null >>"$ASTERN_TESTBED_LOG" 2>&1 &
program=$!
echo "$program"
(
  while read -r signal <&3; do kill -s "$signal" "$program"; done
  kill -s KILL "$program"
) 2>/dev/null >/dev/null &
messenger=$!
wait "$program"
code=$?
kill -s KILL "$messenger" 2>/dev/null
exit "$code"
"#;

pub(crate) struct Process {
    pod: Arc<Pod>,
    index: usize,
    supervisor: Child,
    signals: ChildStdin,
}

impl Process {
    /// Starts the program with the arguments, the environment and the identity of its pod.
    ///
    /// # Errors
    ///
    /// When the API server gives no token, or the program cannot be started.
    pub(crate) async fn start(
        simulation: &Simulation,
        pod: &Arc<Pod>,
        index: usize,
        (program, environment): (&Program, Environment),
    ) -> anyhow::Result<Self> {
        let directory = pod_directory(&simulation.log_directory, pod);
        fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        let kubeconfig = credentials::write(simulation, pod, &directory).await?;

        let container = pod.container(index);
        let environment = environment.with_program(program);
        let log = directory.join(format!("{}.log", container.name));
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("failed to open {}", log.display()))?;

        let arguments = program.arguments.iter().chain(&container.args);
        let mut command = supervised(&program.path, &log);
        command
            .args(arguments.map(|argument| environment.expand(argument)))
            .envs(environment.variables())
            .env("KUBECONFIG", kubeconfig);
        let (supervisor, signals, process) = start_supervised(command).await?;
        pod.containers[index]
            .process
            .store(process, Ordering::Relaxed);
        Ok(Self {
            pod: Arc::clone(pod),
            index,
            supervisor,
            signals,
        })
    }

    pub(crate) async fn run(mut self, terminate: CancellationToken) -> i32 {
        // Waiting closes nothing by itself: the pipe has been taken out of the child.
        tokio::select! {
            status = self.supervisor.wait() => return exit_code(status),
            () = terminate.cancelled() => {}
        }
        // A write that fails means that the program has just ended.
        let _ = self.signals.write_all(b"TERM\n").await;
        exit_code(self.supervisor.wait().await)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing the pipe, which follows, kills the program.
        self.pod.containers[self.index]
            .process
            .store(0, Ordering::Relaxed);
    }
}

/// Returns the command that runs a program under its supervisor, without arguments as yet.
fn supervised(program: &Path, log: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", SUPERVISOR, "sh"])
        .arg(program)
        .env("ASTERN_TESTBED_LOG", log)
        // Control-C in a terminal is for the test bed, which then ends its pods in order.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Starts the supervisor, and returns the pipe for signals and the process of the program.
async fn start_supervised(mut command: Command) -> anyhow::Result<(Child, ChildStdin, u32)> {
    let mut supervisor = command.spawn().context("failed to start /bin/sh")?;
    let signals = supervisor.stdin.take().context("no standard input")?;
    let output = supervisor.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await?;
    let process = line
        .trim()
        .parse()
        .with_context(|| format!("no process id in {line:?}"))?;
    Ok((supervisor, signals, process))
}

fn exit_code(status: std::io::Result<std::process::ExitStatus>) -> i32 {
    // The supervisor reports a signal as 128 and its number, as container runtimes do.
    status.ok().and_then(|status| status.code()).unwrap_or(255)
}

/// Returns where the files of a pod are: its credentials and the output of its containers.
pub(crate) fn pod_directory(log_directory: &Path, pod: &Pod) -> PathBuf {
    log_directory.join(format!("{}_{}", pod.namespace, pod.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(script: &str) -> (Child, ChildStdin, u32) {
        let mut command = supervised(Path::new("/bin/sh"), Path::new("/dev/null"));
        command.args(["-c", script]);
        start_supervised(command).await.unwrap()
    }

    #[tokio::test]
    async fn an_exit_code_comes_through() {
        let (mut supervisor, _signals, _) = start("exit 7").await;
        assert_eq!(exit_code(supervisor.wait().await), 7);
    }

    #[tokio::test]
    async fn a_signal_reaches_the_program() {
        let (mut supervisor, mut signals, _) =
            start("trap 'exit 9' TERM; while :; do sleep 0.01; done").await;
        // A signal before the trap is set ends the program as well, but by another code.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        signals.write_all(b"TERM\n").await.unwrap();
        assert_eq!(exit_code(supervisor.wait().await), 9);
    }

    /// The pipe closes too when the simulator is killed, which nothing in it can handle.
    #[tokio::test]
    async fn a_closed_pipe_kills_the_program() {
        let (mut supervisor, signals, process) = start("trap '' TERM INT HUP; sleep 60").await;
        drop(signals);
        assert_eq!(exit_code(supervisor.wait().await), 137);
        assert!(!Path::new(&format!("/proc/{process}")).exists());
    }
}
