//! The command line of `backtest`: flags, the policy, the way to the metric source.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::source::flags::SourceFlags;
use super::span::{self, Length, Span, earlier};
use super::{Question, World, print, replayed};
use crate::api::parse::{self, ParsedPolicy, Targets, duration};
use crate::cli::connection::{Connected, Connection};
use crate::cli::output::{self, Colours, Format};
use crate::cli::{progress, target};
use crate::decide;
use crate::port::{Cluster, ObjectRef, kinds};

const EXAMPLES: &str = "\
Examples:
  # What would this policy have done to the releases of the last month?
  kubectl astern backtest -f policy.yaml deployment/checkout --since 30d

  # Ask a Prometheus that this machine reaches, with no operator and no policy in the cluster
  kubectl astern backtest -f policy.yaml deployment/checkout --prometheus http://localhost:9090

  # Ask a Prometheus in the cluster, through the API server
  kubectl astern backtest -f policy.yaml deployment/checkout --service monitoring/prometheus:9090

  # The policy that is in the cluster, as if it acted by itself
  kubectl astern backtest --policy checkout deployment/checkout --mode Automatic

  # For a program
  kubectl astern backtest -f policy.yaml deployment/checkout -o json";

/// Says what a policy would have done to the releases of the past.
///
/// Replays the operator's own decisions over what Prometheus has recorded, release by release: when
/// it would have acted, on what evidence, how many failed requests that would have saved, and whether
/// it would have been a false alarm. Reads only; needs no operator.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The Deployment, as deployment/NAME.
    #[arg(required = true, num_args = 1..=2, value_name = "deployment/NAME")]
    target: Vec<String>,

    /// File with the RollbackPolicy; - for stdin.
    #[arg(
        short = 'f',
        long,
        value_name = "FILE",
        required_unless_present = "policy"
    )]
    filename: Option<PathBuf>,

    /// RollbackPolicy of the namespace, instead of a file.
    #[arg(long, value_name = "NAME", conflicts_with = "filename")]
    policy: Option<String>,

    /// How far back to look, such as 30d or 12h.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = span::length)]
    since: Length,

    /// Where to stop, such as 2026-11-23T06:00:00Z; now if not given.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,

    /// Replay with this mode instead of the policy's own.
    #[arg(long, value_enum)]
    mode: Option<Mode>,

    /// Look at all the time of a release, not only at its probation.
    #[arg(long)]
    full: bool,

    /// Time between two values of a promql trigger, such as 15s.
    #[arg(long, value_name = "TIME", value_parser = step)]
    step: Option<SignedDuration>,

    /// Do not ask the cluster; needs --prometheus, and finds releases in kube-state-metrics or in the
    /// names of pods.
    #[arg(long, requires = "prometheus", requires = "filename")]
    no_cluster: bool,

    /// How to write the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,

    /// Write no colours.
    #[arg(long)]
    no_color: bool,

    #[command(flatten)]
    source: SourceFlags,

    #[command(flatten)]
    connection: Connection,
}

/// The modes that make sense to replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Mode {
    Observe,
    RequireApproval,
    Automatic,
}

impl From<Mode> for decide::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Observe => Self::Observe,
            Mode::RequireApproval => Self::RequireApproval,
            Mode::Automatic => Self::Automatic,
        }
    }
}

/// Answers the command line.
///
/// # Errors
///
/// When it could not be replayed. The message says what to set right.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let deployment = target::deployment(&arguments.target)?;
    let connected = if arguments.no_cluster {
        None
    } else {
        Some(
            arguments
                .connection
                .open()
                .await
                .context("to replay without a cluster, give --prometheus and --no-cluster")?,
        )
    };
    let namespace = connected.as_ref().map_or_else(
        || arguments.connection.namespace_or("default"),
        |connected| connected.namespace.clone(),
    );
    let mut policy = arguments
        .parsed_policy(connected.as_ref(), &namespace, &deployment)
        .await?;
    if let Some(mode) = arguments.mode {
        policy.policy.mode = mode.into();
    }
    anyhow::ensure!(
        policy.policy.mode != decide::Mode::Disabled,
        "the policy is disabled; replay it with --mode Observe"
    );
    let until = arguments.until.unwrap_or_else(now);
    let question = Question {
        namespace,
        deployment,
        range: Span {
            from: earlier(until, arguments.since.0),
            until,
        },
        step: arguments.step,
        full: arguments.full,
        policy,
    };
    let timeout = arguments.connection.request_timeout.0;
    let timeout = timeout.and_then(|limit| SignedDuration::try_from(limit).ok());
    let whose = (
        question.policy.metric_source.as_str(),
        question.namespace.as_str(),
    );
    let source = arguments
        .source
        .source(connected.as_ref(), whose, timeout)
        .await?;
    let cluster = connected.map(|connected| Arc::new(connected.port) as Arc<dyn Cluster>);
    let world = World { cluster, source };
    let mut progress = progress::on_stderr();
    let answer = replayed(&world, &question, progress.as_mut()).await;
    progress.end();
    let report = answer?;
    let document = output::document(&report, arguments.output)?;
    let text = document.unwrap_or_else(|| {
        let colours = Colours::of_stdout(arguments.no_color);
        print::text(&report, arguments.output == Format::Wide, colours)
    });
    output::print(&text)
}

#[expect(
    clippy::disallowed_methods,
    reason = "where no cluster is asked, there is no port that tells the time"
)]
fn now() -> Timestamp {
    let now = Timestamp::now();
    // Nobody reads more digits, and sources keep fewer.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn step(text: &str) -> Result<SignedDuration, String> {
    let step = duration::parse(text).map_err(|problem| problem.to_string())?;
    let good = SignedDuration::from_secs(1)..=SignedDuration::from_hours(1);
    if good.contains(&step) {
        Ok(step)
    } else {
        Err(format!("{text:?} is not between 1s and 1h"))
    }
}

impl Arguments {
    async fn parsed_policy(
        &self,
        connected: Option<&Connected>,
        namespace: &str,
        deployment: &str,
    ) -> anyhow::Result<ParsedPolicy> {
        let (object, origin) = match (&self.policy, &self.filename) {
            (Some(name), _) => {
                let connected = connected.context("--policy needs a cluster; use -f")?;
                let object = ObjectRef::new(kinds::ROLLBACK_POLICIES, namespace, name);
                let found = connected.port.get(&object).await;
                let found =
                    found.with_context(|| format!("cannot read rollbackpolicy {name:?}"))?;
                let found = found.with_context(|| {
                    format!(
                        "rollbackpolicies.astern.dev {name:?} not found in namespace {namespace:?}"
                    )
                })?;
                (found, format!("rollbackpolicy/{name}"))
            }
            (None, Some(path)) => (
                chosen(&text(path)?, deployment).with_context(|| format!("{}", path.display()))?,
                path.display().to_string(),
            ),
            // Clap asks for one of them.
            (None, None) => anyhow::bail!("give a policy with -f"),
        };
        parsed(&object, &origin)
    }
}

fn lines<T: ToString>(problems: &[T]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

fn text(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .take(FILE_MAX)
            .read_to_string(&mut text)
            .context("cannot read stdin")?;
        return Ok(text);
    }
    let file = std::fs::File::open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let mut text = String::new();
    file.take(FILE_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// What the API server takes in one request; no policy is larger.
const FILE_MAX: u64 = 3 << 20;

/// Returns the one policy in `text` that is about the Deployment: the only one, or the one that names
/// it.
fn chosen(text: &str, deployment: &str) -> anyhow::Result<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("it is no YAML")?;
    let mut policies: Vec<Value> = documents
        .into_iter()
        .filter(|document| document["kind"] == kinds::ROLLBACK_POLICIES.kind)
        .collect();
    if policies.len() > 1 {
        policies.retain(|policy| {
            let parsed = parse::rollback_policy(policy);
            let names = parsed.map(|parsed| parsed.targets);
            matches!(names, Ok(Targets::Names(names)) if names.iter().any(|name| name == deployment))
        });
    }
    let found = policies.len();
    match (policies.pop(), found) {
        (Some(policy), 1) => Ok(policy),
        (None, _) => anyhow::bail!("it holds no RollbackPolicy for deployment {deployment:?}"),
        (Some(_), _) => anyhow::bail!(
            "{found} RollbackPolicies in it name deployment {deployment:?}; leave one"
        ),
    }
}

fn parsed(object: &Value, origin: &str) -> anyhow::Result<ParsedPolicy> {
    parse::rollback_policy(object)
        .map_err(|problems| anyhow::anyhow!("{origin}: {}", lines(&problems)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, target: &str) -> String {
        format!(
            "apiVersion: astern.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: {name}}}\nspec: {{targetRefs: [{{name: {target}}}]}}\n"
        )
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = chosen(text, "checkout");
        match (found, expected) {
            (Ok(policy), Ok(name)) => assert_eq!(policy["metadata"]["name"], name),
            (Err(error), Err(part)) => {
                let error = format!("{error:#}");
                assert!(error.contains(part), "{error}");
            }
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn the_policy_of_the_deployment_is_taken_from_a_file_of_many() {
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: checkout}\n";
        check(&policy("any", "payments"), Ok("any"));
        check(
            &[service, &policy("any", "checkout")].join("---\n"),
            Ok("any"),
        );
        let two = [policy("one", "payments"), policy("two", "checkout")].join("---\n");
        check(&two, Ok("two"));
        let same = [policy("one", "checkout"), policy("two", "checkout")].join("---\n");
        check(&same, Err("2 RollbackPolicies"));
        check(service, Err("no RollbackPolicy"));
        check("{", Err("no YAML"));
    }

    #[test]
    fn a_step_has_bounds() {
        assert_eq!(step("15s"), Ok(SignedDuration::from_secs(15)));
        assert!(step("500ms").is_err() && step("2h").is_err() && step("fast").is_err());
    }
}
