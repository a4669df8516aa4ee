//! What a process takes of the machine, by the kernel's account.

use std::{fs, time::Duration};

use anyhow::Context as _;
use tokio::time::Instant;

/// Ticks of processor time a second, the same on every Linux.
const TICKS: f64 = 100.0;

/// Memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub resident_bytes: u64,
    /// The most that it ever had resident.
    pub peak_bytes: u64,
}

/// Reads what memory a process has.
///
/// # Errors
///
/// When there is no such process; it may have ended.
pub fn memory(process: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let bytes = |field: &str| -> anyhow::Result<u64> {
        let kibibytes: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|line| line.split_whitespace().next())
            .with_context(|| format!("no {field:?} in {path}"))?
            .parse()?;
        Ok(kibibytes * 1024)
    };
    Ok(Memory {
        resident_bytes: bytes("VmRSS:")?,
        peak_bytes: bytes("VmHWM:")?,
    })
}

/// Reads how much processor time a process has taken, by itself and in the kernel.
///
/// # Errors
///
/// When there is no such process; it may have ended.
pub fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name of the program, in brackets, may contain anything. User and system time are the
    // 12th and 13th field after it.
    let (_, fields) = text.rsplit_once(')').context("unknown format")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(Duration::from_secs_f64(ticks.iter().sum::<f64>() / TICKS))
}

/// Watches the processor time of one process from the moment it is made.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    process: u32,
    before: Duration,
    since: Instant,
}

impl Processor {
    /// Starts to watch.
    ///
    /// # Errors
    ///
    /// When there is no such process; it may have ended.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        Ok(Self {
            process,
            before: processor_time(process)?,
            since: Instant::now(),
        })
    }

    /// Returns how many processors it has kept busy since then, on average.
    ///
    /// # Errors
    ///
    /// When the process has ended meanwhile.
    pub fn cores(&self) -> anyhow::Result<f64> {
        let taken = processor_time(self.process)?.saturating_sub(self.before);
        Ok(taken.as_secs_f64() / self.since.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_never_below_what_is_resident() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident_bytes > 0 && memory.peak_bytes >= memory.resident_bytes);
    }

    #[test]
    fn work_takes_processor_time_and_a_dead_process_has_none() {
        let before = processor_time(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while processor_time(std::process::id()).unwrap() == before {
            sum = (0..10_000).fold(sum, u64::wrapping_add);
        }
        assert!(processor_time(u32::MAX).is_err(), "{sum}");
    }
}
