//! A Prometheus that says nothing, or nonsense.

use anyhow::{Context as _, ensure};
use astern_testbed::{
    bed::Bed,
    fault_proxy::{Fault, FaultProxy, Matcher, Rule},
};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    objects::{Kind, condition, word},
    stage::{POLICY, Stage},
    support::{ERRING, GOOD, installed, run},
};

#[derive(Clone, Copy, Debug)]
enum Blindness {
    Stopped,
    Overloaded,
    Garbage,
    Empty,
    NotANumber,
    Warnings,
}

impl Blindness {
    /// Returns what the policy calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Stopped | Self::Overloaded => "MetricSourceUnavailable",
            Self::Garbage => "AnswerNotUnderstood",
            Self::Empty => "NoData",
            Self::NotANumber => "NotANumber",
            Self::Warnings => "AnswerIncomplete",
        }
    }

    fn begin(self, prometheus: &FaultProxy) {
        let fault = match self {
            Self::Stopped => return prometheus.block(),
            Self::Overloaded => Fault::status(503, "text/plain", "too many queries"),
            Self::Garbage => Fault::status(200, "text/html", "<html>log in first</html>"),
            Self::Empty => Fault::json(&json!({
                "status": "success", "data": {"resultType": "matrix", "result": []},
            })),
            Self::NotANumber => rewritten(|answer| {
                let series = answer["data"]["result"].as_array_mut();
                for sample in series
                    .into_iter()
                    .flatten()
                    .filter_map(|series| series["values"].as_array_mut())
                    .flatten()
                {
                    sample[1] = json!("NaN");
                }
            }),
            Self::Warnings => rewritten(|answer| answer["warnings"] = json!(["a store is down"])),
        };
        prometheus.add(Rule::every(Matcher::any(), fault));
    }
}

fn rewritten(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::rewrite(move |body| {
        let mut answer = serde_json::from_slice(body).unwrap_or_default();
        change(&mut answer);
        answer.to_string().into_bytes()
    })
}

#[test]
fn whatever_prometheus_says_only_numbers_roll_back() {
    run(async {
        let bed = installed().await?;
        let all = [
            Blindness::Stopped,
            Blindness::Overloaded,
            Blindness::Garbage,
            Blindness::Empty,
            Blindness::NotANumber,
            Blindness::Warnings,
        ];
        try_join_all(all.map(|blindness| story(bed, blindness))).await?;
        Ok(())
    });
}

async fn story(bed: &Bed, blindness: Blindness) -> anyhow::Result<()> {
    let stage = Stage::set(bed, "blind").await?;
    stage.settle("Automatic", GOOD).await?;
    blindness.begin(&stage.prometheus);
    stage.deploy(ERRING).await?;
    let what = format!("the policy says {}", blindness.name());
    stage
        .until(&what, async || {
            let policy = stage.get(Kind::Policies, POLICY).await?;
            let guarding = condition(&policy, "Guarding");
            let reading = reading(&policy);
            Ok(guarding["status"] == "False"
                && guarding["reason"] == "Partial"
                && word(&guarding["message"]).contains(blindness.name())
                && reading["reading"] == "Unknown"
                && word(&reading["message"]).contains(blindness.name()))
        })
        .await?;
    // With sight it would have taken half as long.
    stage.heartbeats(8).await?;
    let policy = stage.get(Kind::Policies, POLICY).await?;
    let condition = condition(&policy, "Accepted");
    ensure!(condition["status"] == "True", "{blindness:?}: {condition}");
    ensure!(stage.states().await?.is_empty(), "{blindness:?}");
    ensure!(stage.image().await? == ERRING, "{blindness:?}");

    stage.prometheus.clear();
    stage.prometheus.unblock();
    stage
        .until_states(&["Recovered"])
        .await
        .with_context(|| format!("{blindness:?}"))?;
    ensure!(stage.image().await? == GOOD, "{blindness:?}");
    Ok(())
}

/// Returns what the policy says about the trigger that asks Prometheus.
fn reading(policy: &Value) -> Value {
    let readings = policy["status"]["targets"][0]["readings"].as_array();
    let mut readings = readings.into_iter().flatten();
    let found = readings.find(|reading| reading["trigger"] == "server-errors");
    found.cloned().unwrap_or_default()
}
