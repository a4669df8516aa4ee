//! What goes to stdout: text, tables, JSON and YAML.
//!
//! Colours only help to find what stands there in words anyway.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For people with a wide terminal.
    Wide,
    Json,
    Yaml,
}

/// Writes `text` to stdout at once.
///
/// # Errors
///
/// When stdout cannot be written. A reader that has seen enough is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns `value` as a document in `format`, or `None` where that is for people.
///
/// # Errors
///
/// When the value cannot be spelled, which would be a mistake in this program.
pub fn document<T: Serialize>(value: &T, format: Format) -> anyhow::Result<Option<String>> {
    Ok(match format {
        Format::Table | Format::Wide => None,
        Format::Json => Some(serde_json::to_string_pretty(value)? + "\n"),
        Format::Yaml => Some(serde_saphyr::to_string(value)?),
    })
}

/// Whether and how words stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colours(bool);

impl Colours {
    /// Colours stdout when it is a terminal and nobody has asked for none.
    #[must_use]
    pub fn of_stdout(refused: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(!refused && !unwanted && !dumb && io::stdout().is_terminal())
    }

    /// Colours nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(false)
    }

    /// Returns `text` in `colour`.
    #[must_use]
    pub fn paint(self, text: &str, colour: Colour) -> String {
        if self.0 {
            format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code())
        } else {
            text.to_owned()
        }
    }
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Good,
    Bad,
    Careful,
    Plain,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Careful => "33",
            Self::Plain => "0",
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub colour: Colour,
}

impl Cell {
    /// Returns a cell without a colour.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            colour: Colour::Plain,
        }
    }
}

/// Returns a table as kubectl prints it: three spaces between columns, none at the end of a line.
#[must_use]
pub fn table(titles: &[&str], rows: &[Vec<Cell>], colours: Colours) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.text.chars().count()).max();
        let title = titles.get(column).map_or(0, |title| title.chars().count());
        widest.unwrap_or_default().max(title)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let head: Vec<Cell> = titles.iter().map(|title| Cell::plain(*title)).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let last = row.len().saturating_sub(1);
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == last {
                0
            } else {
                width + 3 - cell.text.chars().count()
            };
            let painted = match cell.colour {
                Colour::Plain => cell.text.clone(),
                colour @ (Colour::Good | Colour::Bad | Colour::Careful) => {
                    colours.paint(&cell.text, colour)
                }
            };
            // Writing into a String cannot fail.
            let _ = write!(text, "{painted}{:gap$}", "");
        }
        text.push('\n');
    }
    text
}

/// Returns how long ago `since` was, as kubectl spells it in the column AGE.
#[must_use]
pub fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else {
        return "<unknown>".to_owned();
    };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |first: i64, unit: char, second: i64, smaller: char| match second {
        0 => format!("{first}{unit}"),
        second => format!("{first}{unit}{second}{smaller}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, 'd', hours % 24, 'h'),
        () => format!("{days}d"),
    }
}

/// As wide as terminals are that nobody has made wider.
const WIDTH: usize = 80;

/// Returns `text` in lines that end before the edge of a terminal, all of them indented, those after
/// the first by two more.
#[must_use]
pub fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            lines.push('\n');
            column = 0;
        }
        if column > 0 {
            lines.push(' ');
            column += 1;
        } else {
            let more = if lines.is_empty() { 0 } else { 2 };
            column = indent + more;
            lines.extend(std::iter::repeat_n(' ', column));
        }
        lines.push_str(word);
        column += width;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_looks_like_one_of_kubectl() {
        let rows = vec![
            vec![Cell::plain("7"), Cell::plain("checkout:v1")],
            vec![
                Cell {
                    text: "12".to_owned(),
                    colour: Colour::Bad,
                },
                Cell::plain("v2"),
            ],
        ];
        let text = table(&["RELEASE", "IMAGE"], &rows, Colours::none());
        assert_eq!(
            text,
            "RELEASE   IMAGE\n7         checkout:v1\n12        v2\n"
        );
        let text = table(&["RELEASE", "IMAGE"], &rows, Colours(true));
        assert!(
            text.contains("\u{1b}[31m12\u{1b}[0m        v2\n"),
            "{text:?}"
        );
    }

    #[test]
    fn long_lines_are_broken_between_words_and_long_words_are_not() {
        assert_eq!(wrapped("as it is", 2), "  as it is\n");
        let full = "x".repeat(40);
        let text = wrapped(&format!("{full} {full} {full}"), 0);
        assert_eq!(text, format!("{full}\n  {full}\n  {full}\n"));
        let fits = "y".repeat(39);
        assert_eq!(
            wrapped(&format!("{full} {fits}"), 0),
            format!("{full} {fits}\n")
        );
        assert_eq!(
            wrapped(&"z".repeat(99), 4),
            format!("    {}\n", "z".repeat(99))
        );
    }

    #[test]
    fn ages_are_spelled_as_by_kubectl() {
        for (seconds, expected) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (135, "2m15s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
        ] {
            let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(age(Some(Timestamp::UNIX_EPOCH), now), expected);
        }
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "<unknown>");
    }

    #[test]
    fn documents_are_for_programs_only() {
        let value = serde_json::json!({"releases": 2});
        assert_eq!(document(&value, Format::Table).expect("none"), None);
        assert_eq!(document(&value, Format::Wide).expect("none"), None);
        let json = document(&value, Format::Json).expect("JSON");
        assert_eq!(json.as_deref(), Some("{\n  \"releases\": 2\n}\n"));
        let yaml = document(&value, Format::Yaml).expect("YAML");
        assert_eq!(yaml.as_deref(), Some("releases: 2\n"));
    }
}
