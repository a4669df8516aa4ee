//! The verbs of the plugin with their flags, as `--help` says them.

use std::fmt::Write as _;

use clap::Command;

/// Flags that every verb has, and that are described once.
const COMMON: &str = "Cluster";

pub(super) fn all() -> String {
    let mut command = astern::cli::command();
    command.build();
    let mut page = String::new();
    describe(&command, "kubectl", &mut page);
    page
}

fn describe(command: &Command, before: &str, page: &mut String) {
    let name = format!(
        "{before} {}",
        command.get_name().trim_start_matches("kubectl ")
    );
    let verbs: Vec<&Command> = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
        .collect();
    if verbs.is_empty() {
        verb(command, &name, page);
    }
    for verb in verbs {
        describe(verb, &name, page);
    }
}

fn verb(command: &Command, name: &str, page: &mut String) {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(page, "\n## {name}\n\n{}", about.trim());
    let flags: Vec<_> = command
        .get_arguments()
        .filter(|flag| flag.get_help_heading() != Some(COMMON))
        .filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
        .collect();
    if !flags.is_empty() {
        page.push_str("\n| | |\n| --- | --- |\n");
    }
    for flag in flags {
        let long = flag.get_long().map(|long| format!("--{long}"));
        let short = flag.get_short().map(|short| format!("-{short}"));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let value = flag.get_value_names().unwrap_or_default();
        let value: Vec<&str> = value.iter().map(clap::builder::Str::as_str).collect();
        let value = value.join(" ");
        let spelled = match names.join(", ") {
            names if names.is_empty() => value,
            names if flag.get_action().takes_values() && !value.is_empty() => {
                format!("{names} {value}")
            }
            names => names,
        };
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "| `{spelled}` | {} |", help.replace('\n', " "));
    }
    let after = command.get_after_help().map(ToString::to_string);
    let examples = after
        .as_deref()
        .and_then(|after| after.strip_prefix("Examples:\n"));
    if let Some(examples) = examples {
        let lines: Vec<&str> = examples
            .lines()
            .map(|line| line.strip_prefix("  ").unwrap_or(line))
            .collect();
        let _ = writeln!(page, "\n```sh\n{}\n```", lines.join("\n"));
    }
}
