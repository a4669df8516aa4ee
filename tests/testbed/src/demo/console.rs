//! What a person sees: lines that stay, and on a terminal one live line below them.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _, stdout},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

/// Where text begins, behind time and speaker.
const INDENT: usize = 20;
/// Lines of a file or a pipe are not broken.
const UNLIMITED: usize = usize::MAX;
const WIDTH_UNKNOWN: usize = 100;

/// Who or what a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    Bed,
    Deploy,
    Person,
    Kubernetes,
    Clients,
    Astern,
}

/// How a line feels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Plain,
    Good,
    Bad,
    Quiet,
}

/// Standard output, shared by all who have something to say.
#[derive(Clone)]
pub(super) struct Console(Arc<Mutex<Screen>>);

struct Screen {
    began: Instant,
    styled: bool,
    width: usize,
    live: String,
}

impl Console {
    /// Looks at what standard output is. `plain` wins over it.
    pub(super) fn new(plain: bool) -> Self {
        let terminal = !plain && stdout().is_terminal();
        let styled = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let screen = Screen {
            began: Instant::now(),
            styled,
            width: if terminal { width() } else { UNLIMITED },
            live: String::new(),
        };
        Self(Arc::new(Mutex::new(screen)))
    }

    /// Whether lines may be written over.
    pub(super) fn is_terminal(&self) -> bool {
        self.lock().width != UNLIMITED
    }

    /// The window has another size now.
    pub(super) fn resized(&self) {
        let mut screen = self.lock();
        if screen.width != UNLIMITED {
            screen.width = width();
        }
    }

    /// Writes a line that stays, with the time since the start.
    pub(super) fn say(&self, speaker: Speaker, mood: Mood, text: &str) {
        let screen = self.lock();
        let seconds = screen.began.elapsed().as_secs();
        let head = format!("{:>3}:{:02}  ", seconds / 60, seconds % 60);
        let name = format!("{:<INDENT$}", speaker.name(), INDENT = INDENT - head.len());
        let room = screen.width.saturating_sub(INDENT).max(30);
        let mut lines = String::new();
        for (index, line) in wrapped(text, room).iter().enumerate() {
            let line = screen.styled_as(mood.code(), line);
            let _ = if index == 0 {
                let head = screen.styled_as("2", &head);
                let name = screen.styled_as(speaker.code(), &name);
                writeln!(lines, "{head}{name}{line}")
            } else {
                writeln!(lines, "{:INDENT$}{line}", "")
            };
        }
        screen.put(&lines);
    }

    /// Writes the title of what follows.
    pub(super) fn title(&self, text: &str) {
        let screen = self.lock();
        let bar = screen
            .width
            .min(90)
            .saturating_sub(text.chars().count() + 4);
        let line = screen.styled_as("1", &format!("── {text} {}", "─".repeat(bar)));
        screen.put(&format!("\n{line}\n"));
    }

    /// Writes text that stays, as it is.
    pub(super) fn text(&self, mood: Mood, text: &str) {
        let screen = self.lock();
        let text = screen.styled_as(mood.code(), text);
        screen.put(&format!("{text}\n"));
    }

    /// Replaces the live line. Does nothing where lines stay.
    pub(super) fn live(&self, text: &str) {
        let mut screen = self.lock();
        if screen.width == UNLIMITED {
            return;
        }
        screen.live = text.chars().take(screen.width.saturating_sub(1)).collect();
        screen.put("");
    }

    fn lock(&self) -> MutexGuard<'_, Screen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Screen {
    /// Writes whole lines above the live one. That nobody reads any more is no reason to stop.
    fn put(&self, lines: &str) {
        let mut out = stdout().lock();
        let _ = if self.width == UNLIMITED {
            write!(out, "{lines}")
        } else {
            write!(out, "\r\x1b[K{lines}{}", self.live)
        };
        let _ = out.flush();
    }

    fn styled_as(&self, code: &str, text: &str) -> String {
        if self.styled && !code.is_empty() && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Speaker {
    const fn name(self) -> &'static str {
        match self {
            Self::Bed => "test bed",
            Self::Deploy => "deploy",
            Self::Person => "person",
            Self::Kubernetes => "kubernetes",
            Self::Clients => "clients",
            Self::Astern => "astern",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Bed => "2",
            Self::Deploy => "1;34",
            Self::Person => "1;36",
            Self::Kubernetes => "34",
            Self::Clients => "",
            Self::Astern => "1;35",
        }
    }
}

impl Mood {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Quiet => "2",
        }
    }
}

/// Breaks a text between words, so that no line is longer than `room` if that is possible.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let length = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if length <= room {
            let _ = write!(line, " {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Asks the terminal how wide it is. No standard library tells.
fn width() -> usize {
    let output = Command::new("stty")
        .args(["-F", "/dev/tty", "size"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let columns = output.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.split_whitespace().nth(1)?.parse().ok()
    });
    columns
        .filter(|columns| *columns > 0)
        .unwrap_or(WIDTH_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn what_nobody_may_write_over_is_not_broken() {
        assert_eq!(wrapped("one two three", UNLIMITED), ["one two three"]);
    }
}
