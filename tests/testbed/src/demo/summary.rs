//! What the incidents cost, and whether that is good enough.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    demo::{
        audit::{Purpose, Write},
        workload::tag,
    },
    scenario::{Limits, look_up},
    traffic::Traffic,
};

/// What is written to `summary.json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    pub(super) incidents: Vec<Incident>,
    pub(super) operator_memory_mib: Option<f64>,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) failed_requests: u64,
    /// What was promised and not kept; empty when all is well.
    pub(super) broken: Vec<String>,
}

/// One bad release. A time is nothing when what it is about never happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Incident {
    pub(crate) release: String,
    pub(crate) restored: String,
    pub(crate) trigger: String,
    pub(crate) evidence: String,
    pub(crate) state: String,
    /// The people who were asked and said yes.
    pub(crate) approved_by: Vec<String>,
    pub(crate) first_bad_to_decision_s: Option<f64>,
    pub(crate) deploy_to_decision_s: Option<f64>,
    /// Includes the time that people took to answer.
    pub(crate) decision_to_patch_s: Option<f64>,
    pub(crate) decision_to_approval_s: Option<f64>,
    pub(crate) approval_to_patch_s: Option<f64>,
    pub(crate) decision_to_last_bad_s: Option<f64>,
    pub(crate) first_bad_to_last_bad_s: Option<f64>,
    pub(crate) failed_requests: u64,
    pub(crate) template_writes: usize,
    pub(crate) ownership_writes: usize,
    pub(crate) foreign_writes: usize,
}

/// A release that was deployed, until the next one.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) tag: String,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// Puts together what clients, Astern and the API server say about one incident.
pub(crate) fn incident(
    rollback: &Value,
    release: &Release,
    traffic: Option<&Traffic>,
    writes: &[Write],
) -> Incident {
    let text = |pointer: &str| {
        let found = look_up(rollback, pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let time = |pointer: &str| text(pointer).parse::<Timestamp>().ok();
    let approvals = rollback
        .pointer("/status/approvals")
        .and_then(Value::as_array);
    let approved_by: Vec<String> = approvals
        .into_iter()
        .flatten()
        .filter_map(|approval| Some(approval["username"].as_str()?.to_owned()))
        .collect();
    let seen = traffic
        .map(|traffic| traffic.snapshot(release.from..release.to))
        .unwrap_or_default();
    let own: Vec<&Write> = writes
        .iter()
        .filter(|write| release.from <= write.at && write.at < release.to)
        .collect();
    let how_many = |purpose| own.iter().filter(|write| write.purpose == purpose).count();
    let patched = own
        .iter()
        .find(|write| write.purpose == Purpose::Template)
        .map(|write| write.at);
    let decision = time("/status/timings/proposedTime");
    let approval = time("/status/timings/decidedTime").filter(|_| !approved_by.is_empty());
    Incident {
        release: release.tag.clone(),
        restored: tag(&text("/status/to/images/0")).to_owned(),
        trigger: text("/status/trigger"),
        evidence: text("/status/evidence/summary"),
        state: text("/status/conditions/type=Complete/reason"),
        approved_by,
        first_bad_to_decision_s: seconds(seen.first_bad, decision),
        deploy_to_decision_s: seconds(Some(release.from), decision),
        decision_to_patch_s: seconds(decision, patched),
        decision_to_approval_s: seconds(decision, approval),
        approval_to_patch_s: seconds(approval, patched),
        decision_to_last_bad_s: seconds(decision, seen.last_bad),
        first_bad_to_last_bad_s: seconds(seen.first_bad, seen.last_bad),
        failed_requests: seen.failed,
        template_writes: how_many(Purpose::Template),
        ownership_writes: how_many(Purpose::Ownership),
        foreign_writes: how_many(Purpose::Foreign),
    }
}

/// To a thousandth: the clocks of the parts do not agree better.
fn seconds(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    let seconds = to?.duration_since(from?).as_secs_f64();
    Some((seconds * 1000.0).round() / 1000.0)
}

impl Summary {
    /// Returns what was promised and not kept, a line each.
    pub(super) fn check(&self, limits: &Limits) -> Vec<String> {
        let mut broken = Vec::new();
        if let Some(wanted) = limits.incidents
            && self.incidents.len() != wanted
        {
            broken.push(format!(
                "{} incidents instead of {wanted}",
                self.incidents.len()
            ));
        }
        for incident in &self.incidents {
            let of = |what: String| format!("{}: {what}", incident.release);
            broken.extend(incident.check(limits).into_iter().map(of));
        }
        let mut most = |what: &str, value: Option<f64>, limit: Option<f64>, unit: &str| {
            if let Some(line) = over(what, value, limit, unit) {
                broken.push(line);
            }
        };
        let memory = limits.operator_memory_mib.map(f64::from);
        most(
            "memory of the operator",
            self.operator_memory_mib,
            memory,
            "MiB",
        );
        let whole = limits.whole.map(|whole| whole.as_secs_f64());
        most("the whole run", Some(self.seconds), whole, "s");
        broken
    }
}

impl Incident {
    fn check(&self, limits: &Limits) -> Vec<String> {
        let mut broken = Vec::new();
        if self.state != "Recovered" {
            broken.push(format!("ended {:?} instead of Recovered", self.state));
        }
        for (what, count, wanted) in [
            ("template writes", self.template_writes, 1),
            ("ownership writes", self.ownership_writes, 1),
            ("writes to fields of others", self.foreign_writes, 0),
        ] {
            if count != wanted {
                broken.push(format!("{count} {what} instead of {wanted}"));
            }
        }
        if self.approved_by.is_empty() {
            let limit = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64());
            let decision = limit(limits.decision);
            let relief = limit(limits.relief);
            broken.extend(over(
                "first bad answer to decision",
                self.first_bad_to_decision_s,
                decision,
                "s",
            ));
            broken.extend(over(
                "decision to last bad answer",
                self.decision_to_last_bad_s,
                relief,
                "s",
            ));
        }
        broken
    }

    /// Returns the story in lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} → {}   {}   {}: {}",
            self.release, self.restored, self.state, self.trigger, self.evidence
        )];
        let mut row = |what: &str, value: String| lines.push(format!("  {what:<36}{value}"));
        if self.first_bad_to_decision_s.is_some() {
            row(
                "first bad answer to decision",
                shown(self.first_bad_to_decision_s),
            );
        } else {
            row("deploy to decision", shown(self.deploy_to_decision_s));
        }
        if self.approved_by.is_empty() {
            row("decision to patch", shown(self.decision_to_patch_s));
        } else {
            let by = self.approved_by.join(", ");
            let asked = shown(self.decision_to_approval_s);
            row("decision to approval", format!("{asked} (by {by})"));
            row("approval to patch", shown(self.approval_to_patch_s));
        }
        if self.failed_requests > 0 {
            row(
                "first to last bad answer",
                shown(self.first_bad_to_last_bad_s),
            );
        }
        row("failed requests", self.failed_requests.to_string());
        let writes = format!(
            "{} template, {} ownership",
            self.template_writes, self.ownership_writes
        );
        row("writes to the Deployment", writes);
        lines
    }
}

fn shown(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// A number that is not known does not keep a limit either.
fn over(what: &str, value: Option<f64>, limit: Option<f64>, unit: &str) -> Option<String> {
    let limit = limit?;
    match value {
        Some(value) if value <= limit => None,
        Some(value) => Some(format!(
            "{what} {value:.1} {unit}, the limit is {limit:.0} {unit}"
        )),
        None => Some(format!(
            "{what} is not known, the limit is {limit:.0} {unit}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            decision: Some(Duration::from_secs(25)),
            relief: Some(Duration::from_secs(15)),
            whole: Some(Duration::from_secs(240)),
            operator_memory_mib: Some(40),
            incidents: Some(1),
        }
    }

    /// A run that keeps every limit, some just so.
    fn summary() -> Summary {
        Summary {
            incidents: vec![Incident {
                release: "v1.1.0".to_owned(),
                restored: "v1.0.0".to_owned(),
                trigger: "server-errors".to_owned(),
                evidence: String::new(),
                state: "Recovered".to_owned(),
                approved_by: Vec::new(),
                first_bad_to_decision_s: Some(25.0),
                deploy_to_decision_s: Some(26.0),
                decision_to_patch_s: Some(0.2),
                decision_to_approval_s: None,
                approval_to_patch_s: None,
                decision_to_last_bad_s: Some(15.0),
                first_bad_to_last_bad_s: Some(40.0),
                failed_requests: 400,
                template_writes: 1,
                ownership_writes: 1,
                foreign_writes: 0,
            }],
            operator_memory_mib: Some(40.0),
            seconds: 240.0,
            requests: 9000,
            failed_requests: 400,
            broken: Vec::new(),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Summary), expected: &str) {
        let mut summary = summary();
        change(&mut summary);
        let broken = summary.check(&limits()).join("\n");
        assert!(
            broken.contains(expected),
            "{expected:?} is not in {broken:?}"
        );
    }

    #[test]
    fn limits_that_are_kept_are_not_mentioned() {
        assert_eq!(summary().check(&limits()), Vec::<String>::new());
        assert_eq!(summary().check(&Limits::default()), Vec::<String>::new());
    }

    #[test]
    fn every_broken_limit_is_named() {
        check(|run| run.incidents.clear(), "0 incidents instead of 1");
        check(|run| run.seconds = 240.2, "the whole run 240.2 s");
        check(
            |run| run.operator_memory_mib = None,
            "memory of the operator is not known",
        );
        check(
            |run| run.incidents[0].state = "Failed".to_owned(),
            "v1.1.0: ended \"Failed\"",
        );
        check(
            |run| run.incidents[0].template_writes = 2,
            "2 template writes instead of 1",
        );
        check(
            |run| run.incidents[0].ownership_writes = 0,
            "0 ownership writes",
        );
        check(
            |run| run.incidents[0].foreign_writes = 1,
            "1 writes to fields of others",
        );
        check(
            |run| run.incidents[0].first_bad_to_decision_s = Some(25.1),
            "first bad answer to decision 25.1 s",
        );
        check(
            |run| run.incidents[0].decision_to_last_bad_s = None,
            "decision to last bad answer is not known",
        );
    }

    #[test]
    fn who_was_asked_may_take_time() {
        let mut run = summary();
        run.incidents[0].approved_by.push("alice".to_owned());
        run.incidents[0].first_bad_to_decision_s = None;
        assert_eq!(run.check(&limits()), Vec::<String>::new());
    }
}
