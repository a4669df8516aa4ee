//! Shows on standard error how far a build is.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_millis(500);
/// How often a line is written where lines stay.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// A build that is going on.
pub(super) struct Progress {
    shared: Arc<Shared>,
    painter: JoinHandle<()>,
}

struct Shared {
    label: String,
    estimate_minutes: u32,
    started: Instant,
    downloaded: AtomicUsize,
    compiled: AtomicUsize,
    finished: AtomicBool,
}

impl Progress {
    /// Begins to show a build.
    pub(super) fn start(label: String, estimate_minutes: u32) -> Self {
        let shared = Arc::new(Shared {
            label,
            estimate_minutes,
            started: Instant::now(),
            downloaded: AtomicUsize::new(0),
            compiled: AtomicUsize::new(0),
            finished: AtomicBool::new(false),
        });
        let painter = thread::spawn({
            let shared = Arc::clone(&shared);
            move || paint(&shared)
        });
        Self { shared, painter }
    }

    /// Counts one line of `go install -v`.
    pub(super) fn line(&self, line: &str) {
        let counter = if line.starts_with("go: downloading") {
            &self.shared.downloaded
        } else {
            &self.shared.compiled
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the last line.
    pub(super) fn finish(self) {
        self.shared.finished.store(true, Ordering::Relaxed);
        self.painter.thread().unpark();
        // A painter that panicked has nothing more to say.
        drop(self.painter.join());
    }
}

fn paint(shared: &Shared) {
    let terminal = stderr().is_terminal();
    let mut last_line: Option<Instant> = None;
    loop {
        let finished = shared.finished.load(Ordering::Relaxed);
        let text = shared.text();
        if terminal {
            // Back to the first column, and the rest of the old line away.
            eprint!("\r{text}\x1b[K");
            drop(stderr().flush());
        } else if finished || last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            eprintln!("{text}");
            last_line = Some(Instant::now());
        }
        if finished {
            break;
        }
        thread::park_timeout(TICK);
    }
    if terminal {
        eprintln!();
    }
}

impl Shared {
    fn text(&self) -> String {
        let elapsed = self.started.elapsed().as_secs();
        format!(
            "{}: {} modules downloaded, {} packages compiled, {}m{:02}s (about {} minutes the \
             first time on 2 cores)",
            self.label,
            self.downloaded.load(Ordering::Relaxed),
            self.compiled.load(Ordering::Relaxed),
            elapsed / 60,
            elapsed % 60,
            self.estimate_minutes,
        )
    }
}
