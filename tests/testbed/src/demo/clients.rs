//! What clients see, second by second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    clock::now,
    demo::console::{Console, Mood, Speaker},
    traffic::{Second, Seen, Traffic},
};

const LOOK: Duration = Duration::from_millis(500);
/// A line that stays tells of this much.
const SPAN: Duration = Duration::from_secs(2);
/// Ticks may be late by this much without making a span of two seconds one of two and a half.
const SLACK: Duration = Duration::from_millis(250);
/// On a terminal the live line tells the rest.
const QUIET_LINES_EVERY: u32 = 5;
/// Seconds in the strip of the live line.
const STRIP: u64 = 30;

/// Shows what clients see until it is dropped; nothing but news once the story is `over`.
pub(super) async fn show(console: Console, traffic: Arc<Traffic>, over: Arc<AtomicBool>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut told_until = now();
    let mut quiet = 0;
    loop {
        ticks.tick().await;
        let at = now();
        let latest = traffic.snapshot(at - SPAN..at);
        let strip = strip(
            &traffic.by_second(at - Duration::from_secs(STRIP + 1)..),
            at,
        );
        console.live(&format!("  {strip}  {}", words(&latest)));
        if at + SLACK < told_until + SPAN {
            continue;
        }
        let seen = traffic.snapshot(told_until..at);
        told_until = at;
        if seen.total == 0 {
            continue;
        }
        let mood = mood(&seen);
        quiet = if mood == Mood::Bad { 0 } else { quiet + 1 };
        // The first good line after bad ones is news.
        let news = quiet <= 1;
        let due = !console.is_terminal() || quiet % QUIET_LINES_EVERY == 0;
        if news || (due && !over.load(Ordering::Relaxed)) {
            console.say(Speaker::Clients, mood, &words(&seen));
        }
    }
}

fn mood(seen: &Seen) -> Mood {
    if seen.failed > 0 {
        Mood::Bad
    } else {
        Mood::Quiet
    }
}

fn words(seen: &Seen) -> String {
    let Some(rate) = seen.success_rate else {
        return "no requests yet".to_owned();
    };
    let milliseconds = |latency: Option<Duration>| {
        latency.map_or_else(String::new, |latency| {
            format!("{:.0} ms", latency.as_secs_f64() * 1000.0)
        })
    };
    let causes: Vec<String> = seen
        .causes
        .iter()
        .map(|(cause, count)| format!("{count} × {cause}"))
        .collect();
    let mut words = format!(
        "{:>5.1} % ok of {:>3}   p50 {:>5}  p99 {:>6}",
        rate * 100.0,
        seen.total,
        milliseconds(seen.p50),
        milliseconds(seen.p99)
    );
    if !causes.is_empty() {
        words.push_str("   ");
        words.push_str(&causes.join(", "));
    }
    words
}

/// One character per second, the latest last: full where every request went well.
fn strip(seconds: &[Second], end: Timestamp) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    (1..=STRIP)
        .rev()
        .map(|ago| (end - Duration::from_secs(ago)).as_second())
        .map(|second| {
            let found = seconds.iter().find(|known| known.at.as_second() == second);
            let Some(found) = found.filter(|found| found.total > 0) else {
                return ' ';
            };
            let good = found.total - found.failed;
            let bar = usize::try_from(good * 7 / found.total).unwrap_or_default();
            BARS.get(bar).copied().unwrap_or('█')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: i64, total: u64, failed: u64) -> Second {
        let at = Timestamp::from_second(at).unwrap();
        Second { at, total, failed }
    }

    #[test]
    fn the_strip_ends_with_the_last_whole_second() {
        let seconds = [
            second(96, 60, 60),
            second(98, 60, 1),
            second(99, 60, 0),
            second(100, 9, 9),
        ];
        let strip = strip(&seconds, Timestamp::from_second(100).unwrap());
        assert_eq!(strip.chars().count(), 30);
        assert!(strip.ends_with("▁ ▇█"), "{strip:?}");
    }
}
