//! What the operator costs and how fast it is, measured on its real binary.
//!
//! [`cost`] looks at hundreds of workloads that are all judged at once, [`detection`] at the time
//! from a client's first bad answer to the decision. Both say what they do while they do it, end
//! within a time limit, and leave nothing behind but a file with their figures.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Number, Value};
use tokio::time::{Instant, sleep};

use crate::signals::{INTERRUPTED, asked_to_end};
use crate::tools::Tools;

pub mod cost;
pub mod detection;
mod fleet;
mod requests;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Between two lines about something that is being waited for.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Numbers by name, as they go to a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(BTreeMap<String, f64>);

/// The most that a figure may be, and its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    pub figure: &'static str,
    pub most: f64,
    pub unit: &'static str,
}

impl Figures {
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    /// Returns a figure.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Returns a line for every promise that is not kept. A figure that is not there keeps none.
    #[must_use]
    pub fn broken(&self, promises: &[Promise]) -> Vec<String> {
        promises
            .iter()
            .filter_map(|Promise { figure, most, unit }| match self.get(figure) {
                Some(value) if value <= *most => None,
                Some(value) => Some(format!(
                    "{figure} is {value:.4} {unit}, the limit is {most}"
                )),
                None => Some(format!("{figure} is not known, the limit is {most} {unit}")),
            })
            .collect()
    }

    /// Reads what [`Figures::write`] wrote. What is no number is left out.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no JSON object.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let values: BTreeMap<String, Value> = serde_json::from_str(&text)
            .with_context(|| format!("{} is no flat JSON", file.display()))?;
        let numbers = values.into_iter();
        Ok(Self(
            numbers
                .filter_map(|(name, value)| Some((name, value.as_f64()?)))
                .collect(),
        ))
    }

    /// Takes in all figures of `others`.
    pub fn take_in(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Writes the figures as one flat JSON object.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.as_json())?;
        file.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(file, format!("{text}\n")))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// To a millionth, and whole numbers without a point.
    fn as_json(&self) -> BTreeMap<&str, Value> {
        let number = |value: f64| {
            let rounded = (value * 1e6).round() / 1e6;
            #[expect(clippy::cast_possible_truncation, reason = "checked to be the same")]
            let whole = rounded as i64;
            #[expect(clippy::cast_precision_loss, reason = "what is lost is not the same")]
            let is_whole = (whole as f64).total_cmp(&rounded).is_eq();
            let number = if is_whole {
                Some(whole.into())
            } else {
                Number::from_f64(rounded)
            };
            number.map_or(Value::Null, Value::Number)
        };
        let figures = self.0.iter();
        figures
            .map(|(name, value)| (name.as_str(), number(*value)))
            .collect()
    }
}

/// Prints the figures, writes them, and says whether every promise was kept.
///
/// # Errors
///
/// When the file cannot be written.
pub fn report(figures: &Figures, promises: &[Promise], output: &Path) -> anyhow::Result<bool> {
    println!();
    for (name, value) in figures.as_json() {
        println!("{name:<36} {value}");
    }
    figures.write(output)?;
    println!("\nThe same is in {}", output.display());
    let broken = figures.broken(promises);
    for line in &broken {
        println!("NOT KEPT  {line}");
    }
    Ok(broken.is_empty())
}

/// Measures, reports to `output`, and returns how the program ends: with a failure if a promise is broken
/// and somebody wants that checked.
///
/// # Errors
///
/// When nothing could be measured, or the file cannot be written.
pub async fn run(
    measured: impl Future<Output = anyhow::Result<Figures>>,
    promises: &[Promise],
    (output, check): (&Path, bool),
) -> anyhow::Result<ExitCode> {
    // Before signals are caught, so that Ctrl-C ends a long build.
    Tools::ready().await?;
    let figures = tokio::select! {
        figures = measured => figures?,
        () = asked_to_end()? => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let kept = report(&figures, promises, output)?;
    Ok(if kept || !check {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns where a benchmark writes its figures if nobody says otherwise.
#[must_use]
pub fn usual_output(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    target.join(format!("{name}.json"))
}

/// Tells people what is going on, with the time since the start.
#[derive(Clone, Copy, Debug)]
struct Progress(Instant);

impl Progress {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn say(&self, line: &str) {
        println!("{:7.1} s  {line}", self.seconds());
    }

    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    /// Waits until `count` reaches `wanted`, and tells now and then how far it is.
    async fn until(
        &self,
        what: &str,
        (wanted, patience): (usize, Duration),
        mut count: impl AsyncFnMut() -> anyhow::Result<usize>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut told = began;
        loop {
            let reached = count().await?;
            if reached >= wanted {
                self.say(&format!("{reached} {what}"));
                return Ok(());
            }
            ensure!(
                began.elapsed() < patience,
                "only {reached} of {wanted} {what} after {} s",
                patience.as_secs()
            );
            if told.elapsed() >= TELL_AGAIN {
                told = Instant::now();
                self.say(&format!("{reached} of {wanted} {what}"));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::default();
        figures.set("cores", 0.05);
        figures.set("requests", 1.0);
        figures
    }

    #[track_caller]
    fn check(figure: &'static str, most: f64, broken: &[&str]) {
        let promise = Promise {
            figure,
            most,
            unit: "x",
        };
        assert_eq!(figures().broken(&[promise]), broken);
    }

    #[test]
    fn a_promise_is_kept_up_to_its_limit() {
        check("cores", 0.05, &[]);
        check("cores", 0.049, &["cores is 0.0500 x, the limit is 0.049"]);
        check("seconds", 9.0, &["seconds is not known, the limit is 9 x"]);
    }

    #[test]
    fn what_was_written_is_read() {
        let name = format!("astern-figures-{}.json", std::process::id());
        let file = std::env::temp_dir().join(name);
        figures().write(&file).unwrap();
        let read = Figures::read(&file);
        fs::remove_file(&file).unwrap();
        assert_eq!(read.unwrap(), figures());
    }

    #[test]
    fn the_file_is_flat_and_whole_numbers_are_whole() {
        let text = serde_json::to_string(&figures().as_json()).unwrap();
        assert_eq!(text, r#"{"cores":0.05,"requests":1}"#);
    }
}
