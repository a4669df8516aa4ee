//! Reading a `RollbackPolicy`.

use jiff::Timestamp;

use super::field::{Field, Problems, cut};
use super::trigger::MODES;
use super::{ParsedPolicy, Targets, duration, selector, trigger};
use crate::api::schedule::{NotASchedule, Schedule};
use crate::api::v1alpha1::bounds::{
    APPROVAL_TIMEOUT, BUDGET_COUNT, BUDGET_PER, DEADLINE, EXCLUDED, FOR, METRIC_SOURCE,
    NAME_LENGTH, PROBATION, QUARANTINE, REQUIRED, SCHEDULE_LENGTH, SERVICE_ACCOUNT_LENGTH,
    SERVICE_ACCOUNTS, TARGETS, TIME_ZONE_LENGTH,
};
use crate::decide::gitops::OnRollback;
use crate::decide::{
    ApprovalTerms, Budget, ConfigMode, ConfigTerms, DrillTerms, Enforcement, Mode, OnTimeout,
    Policy, QuarantineTerms, RollbackTerms,
};

pub(super) fn parsed(object: &Field<'_>, problems: &Problems) -> ParsedPolicy {
    let metadata = object.child("metadata");
    let text = |name: &str| {
        metadata
            .child(name)
            .metadata()
            .unwrap_or_default()
            .to_owned()
    };
    let created = text("creationTimestamp").parse();
    let spec = object.child("spec");
    if !spec.given() {
        spec.wrong("is missing", "{}", problems);
    }
    spec.object("{}", problems);
    let name = text("name");
    ParsedPolicy {
        namespace: text("namespace"),
        uid: text("uid"),
        generation: metadata.child("generation").number().unwrap_or(0),
        created: created.unwrap_or(Timestamp::MAX),
        targets: targets(&spec, problems),
        metric_source: object_name(&spec.child("metricSource"), problems)
            .unwrap_or_else(|| METRIC_SOURCE.to_owned()),
        policy: policy(&spec, name.clone(), problems),
        name,
    }
}

fn policy(spec: &Field<'_>, name: String, problems: &Problems) -> Policy {
    let approval = spec.child("approval");
    approval.object("{}", problems);
    let silence = [
        ("Escalate", OnTimeout::Escalate),
        ("RollBack", OnTimeout::RollBack),
        ("Release", OnTimeout::Release),
    ];
    Policy {
        name,
        mode: spec.child("mode").one_of(&MODES, Mode::Observe, problems),
        probation: spec.child("probation").duration(PROBATION, problems),
        triggers: trigger::parsed(spec, problems),
        approval: ApprovalTerms {
            required: approval.child("required").count(REQUIRED, problems),
            timeout: approval
                .child("timeout")
                .duration(APPROVAL_TIMEOUT, problems),
            on_timeout: approval
                .child("onTimeout")
                .one_of(&silence, OnTimeout::Escalate, problems),
            service_accounts: service_accounts(&approval.child("serviceAccounts"), problems),
        },
        pause_rollout: spec.child("pauseRollout").fact(problems),
        rollback: rollback(&spec.child("rollback"), problems),
        after_probation: spec
            .child("afterProbation")
            .one_of(&MODES, Mode::Observe, problems),
        budget: budget(&spec.child("rollback").child("budget"), problems),
        persistent_volumes: spec.child("rollback").child("persistentVolumes").one_of(
            &MODES,
            Mode::RequireApproval,
            problems,
        ),
        config: config(&spec.child("config"), problems),
        quarantine: quarantine(&spec.child("quarantine"), problems),
        on_rollback: on_rollback(&spec.child("gitOps"), problems),
        drill: drill(&spec.child("drill"), problems),
    }
}

const GOOD_SCHEDULE: &str = "\"0 9 * * MON-FRI\"";
const GOOD_TIME_ZONE: &str = "Europe/Berlin";

fn drill(field: &Field<'_>, problems: &Problems) -> Option<DrillTerms> {
    if !field.given() || !field.object(r#"{"schedule": "0 9 * * MON-FRI"}"#, problems) {
        return None;
    }
    let (schedule, zone) = (field.child("schedule"), field.child("timeZone"));
    let text = schedule.required(SCHEDULE_LENGTH, GOOD_SCHEDULE, problems)?;
    let time_zone = if zone.given() {
        zone.required(TIME_ZONE_LENGTH, GOOD_TIME_ZONE, problems)?
    } else {
        "UTC"
    };
    match Schedule::parse(text, time_zone) {
        Ok(_) => (),
        Err(why @ (NotASchedule::Fields | NotASchedule::Never)) => {
            schedule.wrong(format!("{} {why}", cut(text)), GOOD_SCHEDULE, problems);
        }
        Err(why @ NotASchedule::TimeZone) => {
            zone.wrong(
                format!("{} {why}", cut(time_zone)),
                GOOD_TIME_ZONE,
                problems,
            );
        }
    }
    Some(DrillTerms {
        schedule: text.to_owned(),
        time_zone: time_zone.to_owned(),
    })
}

fn budget(field: &Field<'_>, problems: &Problems) -> Budget {
    field.object("{}", problems);
    Budget {
        count: field.child("count").count(BUDGET_COUNT, problems),
        per: field.child("per").duration(BUDGET_PER, problems),
    }
}

fn config(field: &Field<'_>, problems: &Problems) -> ConfigTerms {
    field.object("{}", problems);
    let modes = [
        ("Ignore", ConfigMode::Ignore),
        ("Check", ConfigMode::Check),
        ("Restore", ConfigMode::Restore),
    ];
    let excluded = field.child("exclude").items(EXCLUDED, problems);
    let excluded = excluded.iter();
    ConfigTerms {
        mode: field
            .child("mode")
            .one_of(&modes, ConfigMode::Check, problems),
        exclude: excluded
            .filter_map(|name| object_name(name, problems))
            .collect(),
    }
}

fn on_rollback(field: &Field<'_>, problems: &Problems) -> OnRollback {
    field.object("{}", problems);
    let known = [
        ("Auto", OnRollback::Auto),
        ("Hold", OnRollback::Hold),
        ("Pause", OnRollback::Pause),
        ("Proceed", OnRollback::Proceed),
    ];
    let asked = field.child("onRollback");
    asked.one_of(&known, OnRollback::Auto, problems)
}

fn quarantine(field: &Field<'_>, problems: &Problems) -> QuarantineTerms {
    field.object("{}", problems);
    let enforcement = [Enforcement::Disabled, Enforcement::Warn, Enforcement::Deny]
        .map(|enforcement| (enforcement.name(), enforcement));
    QuarantineTerms {
        lasting: field.child("for").duration(QUARANTINE, problems),
        enforcement: field
            .child("enforcement")
            .one_of(&enforcement, Enforcement::Warn, problems),
    }
}

fn rollback(field: &Field<'_>, problems: &Problems) -> RollbackTerms {
    field.object("{}", problems);
    let recovery = field.child("recovery");
    recovery.object("{}", problems);
    let terms = RollbackTerms {
        deadline: field.child("deadline").duration(DEADLINE, problems),
        recovery: recovery.child("for").duration(FOR, problems),
    };
    if terms.recovery >= terms.deadline {
        let deadline = duration::format(terms.deadline);
        let problem = format!(
            "is not shorter than the deadline of {deadline}, so no recovery could be verified"
        );
        recovery.child("for").wrong(problem, "2m of 10m", problems);
    }
    terms
}

fn targets(spec: &Field<'_>, problems: &Problems) -> Targets {
    let list = spec.child("targetRefs");
    let references = list.items(TARGETS, problems);
    let labels = spec.child("selector");
    if labels.given() {
        if !references.is_empty() {
            labels.excluded_by("targetRefs", problems);
        }
        return Targets::Selector(selector::parsed(&labels, problems));
    }
    if references.is_empty() {
        return Targets::ByAnnotation;
    }
    let names = references
        .iter()
        .filter_map(|reference| target(reference, problems));
    Targets::Names(names.collect())
}

fn target(field: &Field<'_>, problems: &Problems) -> Option<String> {
    if !field.object(r#"{"name": "checkout"}"#, problems) {
        return None;
    }
    field.child("group").one_of(&[("apps", ())], (), problems);
    field
        .child("kind")
        .one_of(&[("Deployment", ())], (), problems);
    let name = field.child("name");
    if !name.given() {
        name.wrong("is missing", "checkout", problems);
    }
    object_name(&name, problems)
}

/// Names become parts of URL paths, so what is no name must not come that far.
fn service_accounts(field: &Field<'_>, problems: &Problems) -> Vec<String> {
    let listed = field.items(SERVICE_ACCOUNTS, problems);
    listed
        .iter()
        .filter_map(|account| service_account(account, problems))
        .collect()
}

fn service_account(field: &Field<'_>, problems: &Problems) -> Option<String> {
    const GOOD: &str = "ci/release-bot";
    let text = field.text(SERVICE_ACCOUNT_LENGTH, GOOD, problems)?;
    let good = text.split_once('/').is_some_and(|(namespace, name)| {
        is_object_name(namespace) && !namespace.contains('.') && is_object_name(name)
    });
    if !good {
        let problem = format!("{} is no <namespace>/<name> of a ServiceAccount", cut(text));
        field.wrong(problem, GOOD, problems);
    }
    good.then(|| text.to_owned())
}

fn object_name(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let text = field.text(NAME_LENGTH, "checkout", problems)?;
    if !is_object_name(text) {
        field.wrong(
            format!("{} is no name of an object", cut(text)),
            "checkout",
            problems,
        );
        return None;
    }
    Some(text.to_owned())
}

fn is_object_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = text.bytes().next().zip(text.bytes().next_back());
    edges.is_some_and(|(first, last)| letter(first) && letter(last))
        && text
            .bytes()
            .all(|byte| letter(byte) || byte == b'-' || byte == b'.')
}
