//! The flags of the operator; each can be set by an environment variable as well.

use std::net::SocketAddr;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::api::parse::duration;
use crate::api::schedule::Schedule;
use crate::decide::{BreakerTerms, DrillTerms, Ratio};

/// Puts the last revision of a Deployment that is known to have worked back in place.
#[derive(Clone, Debug, Parser)]
#[command(name = "astern", version)]
pub struct Flags {
    /// Where to serve /metrics, /healthz and /readyz.
    #[arg(long, env = "ASTERN_LISTEN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen_address: SocketAddr,

    /// Namespace that Astern itself runs in; its Lease lives there.
    #[arg(long, env = "ASTERN_NAMESPACE", default_value = "astern-system")]
    pub namespace: String,

    /// Namespaces to work in, separated by commas; all if empty.
    #[arg(
        long,
        env = "ASTERN_WATCH_NAMESPACES",
        value_delimiter = ',',
        default_value = "",
        hide_default_value = true
    )]
    pub watch_namespaces: Vec<String>,

    /// Name of the Lease by which replicas agree on who acts.
    #[arg(long, env = "ASTERN_LEASE_NAME", default_value = "astern")]
    pub lease_name: String,

    /// Name of this replica in the Lease and in Events; the host's name if empty.
    #[arg(
        long,
        env = "ASTERN_IDENTITY",
        default_value = "",
        hide_default_value = true
    )]
    pub identity: String,

    /// Count approvals even where the API server does not check who writes them.
    #[arg(long, env = "ASTERN_ACCEPT_UNVERIFIED_APPROVALS")]
    pub accept_unverified_approvals: bool,

    /// Rollbacks that nobody is asked for within the window before the breaker opens and every
    /// rollback has to be approved.
    #[arg(long, env = "ASTERN_BREAKER_COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub breaker_count: u32,

    /// Share of the watched workloads, in percent, that opens the breaker when they go bad within the
    /// window.
    #[arg(long, env = "ASTERN_BREAKER_SHARE", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub breaker_share: u32,

    /// The window of the breaker, such as 10m.
    #[arg(long, env = "ASTERN_BREAKER_WINDOW", default_value = "10m", value_parser = window)]
    pub breaker_window: SignedDuration,

    /// When to drill under policies that say nothing of it: five fields as in cron, such as
    /// "0 9 * * MON-FRI". Empty: only where a policy asks.
    #[arg(
        long,
        env = "ASTERN_DRILL_SCHEDULE",
        value_parser = schedule,
        default_value = "",
        hide_default_value = true
    )]
    pub drill_schedule: String,

    /// The time zone of that schedule, by its name in the IANA database.
    #[arg(long, env = "ASTERN_DRILL_TIME_ZONE", default_value = "UTC", value_parser = time_zone)]
    pub drill_time_zone: String,

    /// Namespace of Argo CD, where Applications live unless their names say otherwise.
    #[arg(
        long = "argocd-namespace",
        env = "ASTERN_ARGOCD_NAMESPACE",
        default_value = "argocd"
    )]
    pub argo_cd_namespace: String,

    /// Namespaces, separated by commas, in which the automated sync of Argo CD Applications may be
    /// switched off while a rollback must stay.
    #[arg(
        long,
        env = "ASTERN_PAUSE_APPLICATIONS",
        value_delimiter = ',',
        default_value = "",
        hide_default_value = true
    )]
    pub pause_applications: Vec<String>,

    /// Tell whether Secrets that pod templates refer to have changed. Needs the right to read them.
    #[arg(long, env = "ASTERN_CHECK_SECRETS")]
    pub check_secrets: bool,

    /// How to write logs.
    #[arg(long, env = "ASTERN_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What to log: error, warn, info, debug, or a filter such as `astern=debug,kube=warn`.
    #[arg(long, env = "ASTERN_LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// Something to do instead of running as the operator.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What the program can do besides being the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Ends every pause of Astern's on Deployments and Applications, and stops. For uninstalling.
    Release,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Flags {
    /// Reads the command line and the environment; prints help or errors and exits where asked.
    #[must_use]
    pub fn read() -> Self {
        let mut flags = Self::parse();
        flags.watch_namespaces.retain(|name| !name.is_empty());
        flags.pause_applications.retain(|name| !name.is_empty());
        flags
    }

    /// Returns when the breaker opens.
    #[must_use]
    pub fn breaker_terms(&self) -> BreakerTerms {
        BreakerTerms {
            count: self.breaker_count,
            window: self.breaker_window,
            share: Ratio(f64::from(self.breaker_share) / 100.0),
            ..BreakerTerms::default()
        }
    }

    /// Returns when to drill under policies that say nothing of it.
    #[must_use]
    pub fn drill_terms(&self) -> Option<DrillTerms> {
        (!self.drill_schedule.is_empty()).then(|| DrillTerms {
            schedule: self.drill_schedule.clone(),
            time_zone: self.drill_time_zone.clone(),
        })
    }

    /// Returns the name of this replica.
    #[must_use]
    pub fn identity(&self) -> String {
        if !self.identity.is_empty() {
            return self.identity.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}-{}", host.trim(), std::process::id())
    }
}

/// Longer than a day, yesterday's rollbacks would stop today's.
const WINDOW_MAX: SignedDuration = SignedDuration::from_hours(24);

fn window(text: &str) -> Result<SignedDuration, String> {
    let window = duration::parse(text).map_err(|problem| problem.to_string())?;
    if window.is_positive() && window <= WINDOW_MAX {
        Ok(window)
    } else {
        Err("must be between 1s and 24h, such as 10m".to_owned())
    }
}

fn schedule(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        Schedule::parse(text, "UTC")
            .map_err(|why| format!("{why}, such as \"0 9 * * MON-FRI\""))?;
    }
    Ok(text.to_owned())
}

fn time_zone(text: &str) -> Result<String, String> {
    let parsed = Schedule::parse("0 9 * * *", text);
    parsed.map_err(|why| format!("{why}, such as Europe/Berlin"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_make_sense() {
        Flags::command().debug_assert();
    }

    #[test]
    fn a_schedule_of_drills_is_checked_at_the_start() {
        let parsed = |flags: &[&str]| Flags::try_parse_from([&["astern"], flags].concat());
        let none = parsed(&[]).expect("flags");
        assert_eq!(none.drill_terms(), None);
        let daily = parsed(&["--drill-schedule=0 9 * * *"]).expect("flags");
        let terms = daily.drill_terms().expect("terms");
        assert_eq!((&*terms.schedule, &*terms.time_zone), ("0 9 * * *", "UTC"));
        for wrong in ["--drill-schedule=daily", "--drill-time-zone=Mars/Olympus"] {
            let error = parsed(&[wrong]).expect_err("it makes no sense").to_string();
            assert!(error.contains("such as"), "{error}");
        }
    }
}
