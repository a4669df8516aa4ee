//! The answer for people: a table of the releases, then a paragraph for each that would have been
//! acted on, then all of it in a few lines.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::aftermath::{ENDED, Judgement, STAYED};
use super::report::{AftermathReport, ReleaseReport, Report, StepReport, Verdict};
use super::span::Spelled;
use crate::cli::output::{Cell, Colour, Colours, table, wrapped};

/// Returns `report` as text.
#[must_use]
pub fn text(report: &Report, wide: bool, colours: Colours) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(
        text,
        "Deployment {}/{}, policy {}, mode {}\nfrom {} to {}\n",
        report.namespace,
        report.deployment,
        report.policy,
        report.mode,
        second(report.from),
        second(report.until)
    );
    text.push_str(&releases(report, wide, colours));
    for release in report.releases.iter().filter(|one| !one.steps.is_empty()) {
        text.push('\n');
        paragraph(&mut text, report, release, colours);
    }
    text.push('\n');
    summary(&mut text, report);
    notes(&mut text, report);
    text
}

fn releases(report: &Report, wide: bool, colours: Colours) -> String {
    let mut titles = vec![
        "RELEASE",
        "TAG",
        "FROM",
        "VERDICT",
        "AFTER",
        "SAVED",
        "JUDGEMENT",
    ];
    if wide {
        titles[1] = "IMAGE";
        titles.extend(["LASTED", "REPLICASET", "DATED", "PROOF", "TO"]);
    }
    let row = |release: &ReleaseReport| {
        let step = decisive(release);
        let aftermath = release.aftermath.as_ref();
        let until = release.until.unwrap_or(report.until);
        let saved = aftermath.and_then(|aftermath| aftermath.saved_requests);
        let mut row = vec![
            Cell::plain(release.release.clone()),
            Cell::plain(if wide { images(release) } else { tags(release) }),
            Cell::plain(if wide {
                second(release.from)
            } else {
                minute(release.from)
            }),
            Cell {
                text: release.verdict.name().to_owned(),
                colour: verdict_colour(release.verdict),
            },
            Cell::plain(step.map_or_else(none, |step| spelled(step.after_seconds))),
            Cell::plain(saved.map_or_else(none, |saved| saved.to_string())),
            aftermath.map_or_else(
                || Cell::plain(none()),
                |aftermath| judgement(aftermath.judgement),
            ),
        ];
        if wide {
            row.extend([
                Cell::plain(lasted(release, until)),
                Cell::plain(release.replica_set.clone()),
                Cell::plain(release.dated_by),
                Cell::plain(release.proof.unwrap_or("<none>")),
                Cell::plain(step.and_then(|step| step.to.clone()).unwrap_or_else(none)),
            ]);
        }
        row
    };
    let rows: Vec<Vec<Cell>> = report.releases.iter().map(row).collect();
    table(&titles, &rows, colours)
}

fn none() -> String {
    "<none>".to_owned()
}

fn lasted(release: &ReleaseReport, until: Timestamp) -> String {
    let length = Spelled(until.duration_since(release.from));
    // A plus says that it goes on.
    let more = if release.until.is_some() { "" } else { "+" };
    format!("{length}{more}")
}

fn images(release: &ReleaseReport) -> String {
    if release.images.is_empty() {
        return "<unknown>".to_owned();
    }
    release.images.join(",")
}

/// A tag that is longer is cut: it is the hash of a commit, of which the first letters are enough.
const TAG_MAX: usize = 12;

/// Registry and name are the same for all releases, and take the most room.
fn tags(release: &ReleaseReport) -> String {
    let tag = |image: &str| -> String {
        let name = image.rsplit('/').next().unwrap_or_default();
        let tag = match name.split_once('@') {
            Some((_, digest)) => digest.rsplit(':').next().unwrap_or_default(),
            None => name.split_once(':').map_or("latest", |(_, tag)| tag),
        };
        tag.chars().take(TAG_MAX).collect()
    };
    match release.images.as_slice() {
        [] => "<unknown>".to_owned(),
        [first] => tag(first),
        [first, rest @ ..] => format!("{},+{}", tag(first), rest.len()),
    }
}

fn verdict_colour(verdict: Verdict) -> Colour {
    match verdict {
        Verdict::WouldRollBack => Colour::Bad,
        Verdict::WouldAsk | Verdict::WouldObserve | Verdict::WouldHold => Colour::Careful,
        Verdict::Good => Colour::Good,
        Verdict::Unproven => Colour::Plain,
    }
}

fn judgement(judgement: Judgement) -> Cell {
    Cell {
        text: judgement.name().to_owned(),
        colour: match judgement {
            Judgement::Justified => Colour::Good,
            Judgement::FalseAlarm => Colour::Bad,
            Judgement::Unclear => Colour::Careful,
        },
    }
}

/// The step that changes something for people; those that ask or observe come first in the list.
fn decisive(release: &ReleaseReport) -> Option<&StepReport> {
    let find = |what: &str| release.steps.iter().find(|step| step.what == what);
    find("RollBack")
        .or_else(|| find("Ask"))
        .or_else(|| find("Observe"))
}

fn paragraph(text: &mut String, report: &Report, release: &ReleaseReport, colours: Colours) {
    let title = format!("Release {}", release.release);
    let _ = writeln!(
        text,
        "{}, {}, from {}",
        colours.paint(&title, verdict_colour(release.verdict)),
        images(release),
        second(release.from)
    );
    for step in &release.steps {
        let what = format!(
            "{} at {}, {} after the release",
            would_have(step),
            second(step.at),
            spelled(step.after_seconds)
        );
        text.push_str(&wrapped(&what, 2));
        if !step.evidence.is_empty() {
            let evidence = format!("{}: {}", step.trigger, step.evidence);
            text.push_str(&wrapped(&evidence, 4));
        }
        for because in &step.because {
            text.push_str(&wrapped(&format!("because {because}"), 4));
        }
    }
    if let Some(aftermath) = &release.aftermath {
        what_happened(text, report, aftermath);
    }
}

fn would_have(step: &StepReport) -> String {
    let to = step
        .to
        .as_deref()
        .map_or_else(String::new, |to| format!(" to release {to}"));
    match step.what {
        "RollBack" => format!("Would have rolled back{to}"),
        "Ask" => format!("Would have asked to roll back{to}"),
        "Observe" => format!("Would have recorded that it would roll back{to}"),
        "LetGo" => "Would have let it go on, as nobody answered,".to_owned(),
        hold => format!("Would have held back ({hold})"),
    }
}

fn what_happened(text: &mut String, report: &Report, aftermath: &AftermathReport) {
    match (&aftermath.replaced_by, aftermath.replaced_after_seconds) {
        (Some(next), Some(after)) => {
            let after = spelled(after);
            let _ = writeln!(text, "  In fact release {next} came {after} after that");
        }
        _ => {
            let _ = writeln!(text, "  In fact it stayed until {}", second(report.until));
        }
    }
    let counted = match (aftermath.failed_requests, aftermath.requests) {
        (Some(failed), Some(all)) => {
            let part = if aftermath.counted_in_part {
                ", and it went on"
            } else {
                ""
            };
            let saved = match (aftermath.judgement, aftermath.saved_requests) {
                (Judgement::FalseAlarm, _) | (_, None) => String::new(),
                (_, Some(saved)) => format!("; up to {saved} would have been saved"),
            };
            format!(
                "{failed} of {all} requests failed from then until {}{part}{saved}",
                second(aftermath.counted_until)
            )
        }
        _ => "How many requests failed is not known: no trigger of the policy counted them"
            .to_owned(),
    };
    text.push_str(&wrapped(&counted, 2));
    let judgement = format!("{}: {}", aftermath.judgement.name(), aftermath.because);
    text.push_str(&wrapped(&judgement, 2));
}

fn summary(text: &mut String, report: &Report) {
    let sum = &report.summary;
    let acted = [
        (sum.would_roll_back, "would have been rolled back"),
        (sum.would_ask, "would have been asked about"),
        (sum.would_observe, "would have been recorded as bad"),
        (
            sum.would_hold,
            "would have been bad with nothing to do about it",
        ),
        (sum.good, "would have been known good"),
        (sum.unproven, "would not have been judged to the end"),
    ];
    let parts: Vec<String> = acted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let releases = plural(sum.releases, "release");
    text.push_str(&wrapped(&format!("{releases}: {}.", parts.join(", ")), 0));
    let decisions = sum.justified + sum.false_alarms + sum.unclear;
    if decisions > 0 {
        let decided = format!(
            "{}: {} justified, {}, {} unclear. Up to {} would have been saved.",
            plural(decisions, "decision"),
            sum.justified,
            plural(sum.false_alarms, "false alarm"),
            sum.unclear,
            plural_of(sum.saved_requests, "failed request"),
        );
        text.push_str(&wrapped(&decided, 0));
    }
    if sum.false_alarms > 0 {
        let why = format!(
            "A decision counts as a false alarm when its trigger passes again by itself within {} and the release stays for {}.",
            Spelled(ENDED),
            Spelled(STAYED)
        );
        text.push_str(&wrapped(&why, 0));
    }
}

fn notes(text: &mut String, report: &Report) {
    let mut list = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{title}:");
        for line in lines {
            text.push_str(&wrapped(&line, 2));
        }
    };
    let spelled = |notes: &[super::report::TriggerNote]| {
        let lines = notes
            .iter()
            .map(|note| format!("{}: {}", note.trigger, note.because));
        lines.collect()
    };
    list(
        "Triggers that never had data",
        spelled(&report.never_had_data),
    );
    list(
        "Triggers that were not replayed",
        spelled(&report.not_replayed),
    );
    list("Releases were found in", report.history.clone());
}

fn plural(count: usize, noun: &str) -> String {
    plural_of(u64::try_from(count).unwrap_or(u64::MAX), noun)
}

fn plural_of(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

fn spelled(seconds: i64) -> String {
    Spelled(SignedDuration::from_secs(seconds)).to_string()
}

/// A release is found by its minute, and the year stands above.
fn minute(at: Timestamp) -> String {
    at.strftime("%m-%dT%H:%MZ").to_string()
}

/// Nobody reads milliseconds.
fn second(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second());
    whole.unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests;
