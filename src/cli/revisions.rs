//! The recorded revisions of a Deployment, and the one that a person means.

use std::cmp::Reverse;

use anyhow::Context as _;
use serde_json::Value;

use super::session::Session;
use crate::api::record::revision::{self, RevisionRecord};
use crate::api::record::text;
use crate::api::{names, template};
use crate::port::{Selection, kinds};

/// A revision that Astern has recorded.
#[derive(Clone, Debug)]
pub struct Known {
    pub record: RevisionRecord,
    /// It is what the Deployment asks for now.
    pub runs: bool,
}

/// Returns the recorded revisions of `live`, newest first.
///
/// # Errors
///
/// When they cannot be read.
pub async fn of(session: &Session, live: &Value) -> anyhow::Result<Vec<Known>> {
    let uid = text(live, "/metadata/uid").context("the Deployment has no UID")?;
    let selection = Selection {
        namespace: Some(session.namespace.clone()),
        labels: format!("{}={uid}", names::DEPLOYMENT_UID),
    };
    let objects = session
        .cluster
        .list(kinds::CONTROLLER_REVISIONS, &selection);
    let objects = objects.await.context("cannot list controllerrevisions")?;
    Ok(known(live, &objects))
}

fn known(live: &Value, objects: &[Value]) -> Vec<Known> {
    let uid = text(live, "/metadata/uid");
    let template = live.pointer("/spec/template").map(template::revision);
    let mut known: Vec<Known> = objects
        .iter()
        .filter_map(|object| {
            let record = revision::read(object)?;
            let recorded = object.pointer("/data/template").map(template::revision);
            let runs = recorded.is_some() && recorded == template;
            (Some(record.deployment_uid.as_str()) == uid).then_some(Known { record, runs })
        })
        .collect();
    known.sort_by_key(|known| Reverse(known.record.memory.number));
    // One template can be several revisions, with config of different times: the newest one runs.
    let mut found = false;
    for known in &mut known {
        known.runs &= !found;
        found |= known.runs;
    }
    known
}

/// Shorter, and it could be a number.
const DIGEST_LEAST: usize = 6;

/// Astern takes no shorter names in annotations.
const PREFIX_LEAST: usize = 8;

/// Returns the one of `known` that `wanted` names, by number or by the beginning of its digest.
///
/// # Errors
///
/// When it names none, or several. The message lists what there is.
pub fn resolve<'a>(known: &'a [Known], wanted: &str) -> anyhow::Result<&'a Known> {
    let number = wanted.parse::<i64>().ok();
    let found: Vec<&Known> = known
        .iter()
        .filter(|known| {
            let digest = &known.record.revision.0;
            let by_digest = wanted.len() >= DIGEST_LEAST && digest.starts_with(wanted);
            by_digest || Some(known.record.memory.number) == number
        })
        .collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] if known.is_empty() => anyhow::bail!(
            "no revision is recorded yet; Astern records those of Deployments that a RollbackPolicy covers"
        ),
        [] => anyhow::bail!(
            "no revision {wanted:?} is recorded; there are: {}",
            listed(known)
        ),
        several => anyhow::bail!(
            "{wanted:?} could be any of {} revisions; give more of the digest",
            several.len()
        ),
    }
}

fn listed(known: &[Known]) -> String {
    let names: Vec<String> = known
        .iter()
        .map(|known| {
            let record = &known.record;
            format!("{} ({})", record.memory.number, record.revision.short())
        })
        .collect();
    names.join(", ")
}

/// Returns the beginning of the digest of `one` that names no other of `known`.
#[must_use]
pub fn prefix<'a>(known: &[Known], one: &'a Known) -> &'a str {
    let digest = &one.record.revision.0;
    let names_one = |length: &usize| {
        let prefix = digest.get(..*length).unwrap_or(digest);
        let begins = |known: &&Known| known.record.revision.0.starts_with(prefix);
        known.iter().filter(begins).count() <= 1
    };
    let length = (PREFIX_LEAST..digest.len()).find(names_one);
    digest
        .get(..length.unwrap_or(digest.len()))
        .unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(image: &str) -> Value {
        json!({"metadata": {"uid": "5eed0007", "name": "checkout", "namespace": "shop"},
            "spec": {"template": {"spec": {"containers": [{"image": image}]}}}})
    }

    fn recorded(image: &str, number: i64) -> Value {
        let template = &live(image)["spec"]["template"];
        json!({
            "metadata": {"name": image, "namespace": "shop", "resourceVersion": "1",
                "labels": {names::DEPLOYMENT_UID: "5eed0007", names::VERDICT: "Good"},
                "annotations": {names::NUMBER: number.to_string(),
                    names::DIGEST: template::revision(template).0,
                    names::SINCE: "2026-11-23T05:00:00Z"},
                "ownerReferences": [{"kind": "Deployment", "name": "checkout",
                    "uid": "5eed0007", "controller": true}]},
            "data": {"template": template},
        })
    }

    fn both() -> Vec<Known> {
        known(&live("v2"), &[recorded("v1", 7), recorded("v2", 9)])
    }

    #[test]
    fn the_newest_comes_first_and_the_one_that_runs_is_known() {
        let known = both();
        let shown: Vec<_> = known
            .iter()
            .map(|known| (known.record.memory.number, known.runs))
            .collect();
        assert_eq!(shown, [(9, true), (7, false)]);
        let mut other = live("v2");
        other["metadata"]["uid"] = json!("5eed0008");
        assert_eq!(super::known(&other, &[recorded("v1", 7)]).len(), 0);
    }

    #[track_caller]
    fn check(wanted: &str, expected: Result<i64, &str>) {
        let known = both();
        match (resolve(&known, wanted), expected) {
            (Ok(found), Ok(number)) => assert_eq!(found.record.memory.number, number),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{wanted}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_revision_is_named_by_number_or_digest() {
        let known = both();
        let digest = known.first().expect("two").record.revision.0.clone();
        check("7", Ok(7));
        check("9", Ok(9));
        check(&digest, Ok(9));
        check(&digest[..6], Ok(9));
        check(&digest[..5], Err("there are: 9 ("));
        check("8", Err("there are: 9 ("));
        check("", Err("no revision \"\""));
        let error = resolve(&[], "7").expect_err("none").to_string();
        assert!(error.contains("RollbackPolicy"), "{error}");
    }

    #[test]
    fn a_prefix_grows_until_it_names_one_revision() {
        let mut known = both();
        let first = known.first().expect("two").clone();
        assert_eq!(prefix(&known, &first), first.record.revision.short());
        let mut twin = first.clone();
        twin.record.revision.0.replace_range(12..13, "-");
        known.push(twin);
        assert_eq!(prefix(&known, &first), &first.record.revision.0[..13]);
        known.push(first.clone());
        assert_eq!(prefix(&known, &first), first.record.revision.0);
    }
}
