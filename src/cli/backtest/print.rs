//! The answer for people: a table of the releases, then a paragraph for each that would have been
//! acted on, then all of it in a few lines.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::aftermath::{ENDED, Judgement, STAYED};
use super::report::{AftermathReport, ReleaseReport, Report, StepReport, Verdict};
use super::span::Spelled;
use crate::cli::output::{Cell, Colour, Colours, table};

/// Returns `report` as text.
pub(super) fn text(report: &Report, wide: bool, colours: Colours) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(
        text,
        "Deployment {}/{}, policy {}, mode {}, from {} to {}\n",
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
        "IMAGE",
        "FROM",
        "LASTED",
        "VERDICT",
        "AFTER",
        "SAVED",
        "JUDGEMENT",
    ];
    if wide {
        titles.extend(["REPLICASET", "DATED", "PROOF", "TO"]);
    }
    let row = |release: &ReleaseReport| {
        let step = decisive(release);
        let aftermath = release.aftermath.as_ref();
        let until = release.until.unwrap_or(report.until);
        let mut row = vec![
            Cell::plain(release.release.clone()),
            Cell::plain(images(release, wide)),
            Cell::plain(second(release.from)),
            Cell::plain(lasted(release, until)),
            Cell {
                text: release.verdict.name().to_owned(),
                colour: verdict_colour(release.verdict),
            },
            Cell::plain(step.map_or_else(none, |step| spelled(step.after_seconds))),
            Cell::plain(
                aftermath
                    .and_then(|aftermath| aftermath.saved_requests)
                    .map_or_else(none, |saved| saved.to_string()),
            ),
            aftermath.map_or_else(
                || Cell::plain(none()),
                |aftermath| judgement(aftermath.judgement),
            ),
        ];
        if wide {
            row.extend([
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

/// The registry says little about a release, and takes the most room.
fn images(release: &ReleaseReport, wide: bool) -> String {
    let short = |image: &String| {
        if wide {
            image.clone()
        } else {
            image.rsplit('/').next().unwrap_or_default().to_owned()
        }
    };
    let images: Vec<String> = release.images.iter().map(short).collect();
    match images.as_slice() {
        [] => "<unknown>".to_owned(),
        all if wide => all.join(","),
        [first] => first.clone(),
        [first, rest @ ..] => format!("{first},+{}", rest.len()),
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
        images(release, true),
        second(release.from)
    );
    for step in &release.steps {
        let _ = writeln!(
            text,
            "  {} at {}, {} after it began",
            would_have(step),
            second(step.at),
            spelled(step.after_seconds)
        );
        if !step.evidence.is_empty() {
            let _ = writeln!(text, "    {}: {}", step.trigger, step.evidence);
        }
        for because in &step.because {
            let _ = writeln!(text, "    because {because}");
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
    match (aftermath.failed_requests, aftermath.requests) {
        (Some(failed), Some(all)) => {
            let saved = aftermath.saved_requests.unwrap_or_default();
            let part = if aftermath.counted_in_part {
                ", and it went on"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  {failed} of {all} requests failed from then until {}{part}; up to {saved} would have been saved",
                second(aftermath.counted_until)
            );
        }
        _ => {
            let _ = writeln!(
                text,
                "  How many requests failed is not known: no trigger of the policy counted them"
            );
        }
    }
    let _ = writeln!(
        text,
        "  {}: {}",
        aftermath.judgement.name(),
        aftermath.because
    );
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
    let _ = writeln!(text, "{releases}: {}.", parts.join(", "));
    let decisions = sum.justified + sum.false_alarms + sum.unclear;
    if decisions > 0 {
        let _ = writeln!(
            text,
            "{}: {} justified, {}, {} unclear. Up to {} would have been saved.",
            plural(decisions, "decision"),
            sum.justified,
            plural(sum.false_alarms, "false alarm"),
            sum.unclear,
            plural_of(sum.saved_requests, "failed request"),
        );
        let _ = writeln!(
            text,
            "A decision counts as a false alarm when its trigger passes again by itself within {} and the release stays for {}.",
            Spelled(ENDED),
            Spelled(STAYED)
        );
    }
}

fn notes(text: &mut String, report: &Report) {
    let mut list = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{title}:");
        for line in lines {
            let _ = writeln!(text, "  {line}");
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

/// Nobody reads milliseconds.
fn second(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second());
    whole.unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests;
