//! What a long answer says on stderr while it is worked on.
//!
//! One line that rewrites itself, on a terminal. In a log it would only be in the way.

use std::io::{self, IsTerminal as _, Write as _};

/// Hears how far the work is.
pub trait Progress: Send {
    /// `done` of `whole` steps are done of what `task` names.
    fn step(&mut self, task: &str, done: usize, whole: usize);

    /// Nothing more comes, and what is printed next stands alone.
    fn end(&mut self);
}

/// Returns what suits stderr: a line where it is a terminal, else silence.
#[must_use]
pub fn on_stderr() -> Box<dyn Progress> {
    if io::stderr().is_terminal() {
        Box::new(Line { shown: false })
    } else {
        Box::new(Silent)
    }
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _: &str, _: usize, _: usize) {}
    fn end(&mut self) {}
}

/// One line that rewrites itself, and leaves nothing behind.
struct Line {
    shown: bool,
}

impl Progress for Line {
    fn step(&mut self, task: &str, done: usize, whole: usize) {
        self.shown = true;
        write(&format!("\r\u{1b}[K{}", spelled(task, done, whole)));
    }

    fn end(&mut self) {
        if self.shown {
            write("\r\u{1b}[K");
        }
        self.shown = false;
    }
}

fn spelled(task: &str, done: usize, whole: usize) -> String {
    format!("{task}: {done} of {whole}")
}

fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    // Who does not listen need not know.
    drop(stderr.write_all(text.as_bytes()));
    drop(stderr.flush());
}
