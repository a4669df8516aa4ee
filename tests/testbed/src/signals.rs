//! How people and programs ask this one to end.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// What shells report for a program that Ctrl-C has ended.
pub const INTERRUPTED: u8 = 130;

/// Returns what waits for a signal. From here on nothing but the end of `main` ends the program.
///
/// # Errors
///
/// When the kernel refuses; nothing that the caller could do would help.
pub fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
