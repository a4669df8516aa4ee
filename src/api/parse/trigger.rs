//! Reading the triggers of a policy.

use std::collections::BTreeSet;

use super::field::{Field, Problems, cut, ratio};
use super::matchers;
use crate::api::v1alpha1::bounds::{
    FOR, MATCHERS_LENGTH, MINIMUM_REQUESTS, PODS, PROBE_WINDOW, RATE_WINDOW, RESTART_WINDOW,
    THRESHOLD, TRIGGER_NAME_LENGTH, TRIGGERS,
};
use crate::decide::{
    ErrorRate, LabelNames, Limit, Mode, Preset, Probe, ProbeFailures, Rate, Ratio, Requests,
    Restarts, Shape, Trigger, TriggerKind,
};

const GOOD_THRESHOLD: &str = "\"5%\"";
const DEFAULT_THRESHOLD: Ratio = Ratio(0.05);
const GOOD_MATCHERS: &str = r#"'route="/pay",method!="GET"'"#;

/// Returns the triggers of the policy, or the default ones when it has none.
pub(super) fn parsed(spec: &Field<'_>, problems: &Problems) -> Vec<Trigger> {
    let list = spec.child("triggers");
    let items = list.items(TRIGGERS, problems);
    let mut names = BTreeSet::new();
    let triggers: Vec<Trigger> = items
        .iter()
        .filter_map(|item| trigger(item, problems).map(|trigger| (item, trigger)))
        .map(|(item, trigger)| {
            if !names.insert(trigger.name.clone()) {
                let problem = format!("{} is the name of another trigger too", cut(&trigger.name));
                item.child("name")
                    .wrong(problem, "a name of its own", problems);
            }
            trigger
        })
        .collect();
    if items.is_empty() {
        defaults()
    } else {
        triggers
    }
}

/// What a policy of nothing but a target guards.
fn defaults() -> Vec<Trigger> {
    let nothing = serde_json::Value::Null;
    let empty = Field::root(&nothing).child("");
    // Nothing can be wrong with fields that are not there.
    let problems = Problems::default();
    let trigger = |name: &str, kind| Trigger {
        name: name.to_owned(),
        mode: None,
        kind,
    };
    vec![
        trigger(
            "crashes",
            TriggerKind::Restarts(restarts(&empty, &problems)),
        ),
        trigger("stuck", TriggerKind::RolloutStalled),
        trigger(
            "server-errors",
            TriggerKind::ErrorRate(rate(&empty, DEFAULT_THRESHOLD, &problems)),
        ),
    ]
}

fn trigger(field: &Field<'_>, problems: &Problems) -> Option<Trigger> {
    let good = r#"{"name": "crashes", "restarts": {}}"#;
    if !field.object(good, problems) {
        return None;
    }
    let name = name(&field.child("name"), problems);
    let mode = field.child("mode");
    let mode = mode
        .given()
        .then(|| mode.one_of(&MODES, Mode::Observe, problems));
    let kinds: Vec<(Field<'_>, Kind)> = KINDS
        .iter()
        .map(|(name, kind)| (field.child(name), *kind))
        .filter(|(kind, _)| kind.given())
        .collect();
    let kind = match kinds.as_slice() {
        [(field, kind)] => field
            .object("{}", problems)
            .then(|| kind(field, problems))?,
        [] => {
            field.wrong("has no kind that is known", &kind_names(), problems);
            return None;
        }
        [_, _, ..] => {
            field.wrong("has more than one kind", &kind_names(), problems);
            return None;
        }
    };
    Some(Trigger {
        name: name.unwrap_or_default(),
        mode,
        kind,
    })
}

/// The spelling of every mode.
pub(super) const MODES: [(&str, Mode); 4] = [
    (Mode::Disabled.name(), Mode::Disabled),
    (Mode::Observe.name(), Mode::Observe),
    (Mode::RequireApproval.name(), Mode::RequireApproval),
    (Mode::Automatic.name(), Mode::Automatic),
];

type Kind = fn(&Field<'_>, &Problems) -> TriggerKind;

const KINDS: &[(&str, Kind)] = &[
    ("errorRate", |field, problems| {
        TriggerKind::ErrorRate(error_rate(field, problems))
    }),
    ("probeFailures", |field, problems| {
        TriggerKind::ProbeFailures(probe_failures(field, problems))
    }),
    ("restarts", |field, problems| {
        TriggerKind::Restarts(restarts(field, problems))
    }),
    ("rolloutStalled", |_, _| TriggerKind::RolloutStalled),
];

fn kind_names() -> String {
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    format!("exactly one of {}", names.join(", "))
}

fn name(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let text = field.required(TRIGGER_NAME_LENGTH, "server-errors", problems)?;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = [text.bytes().next(), text.bytes().next_back()];
    let good = text.bytes().all(|byte| letter(byte) || byte == b'-')
        && edges.into_iter().flatten().all(letter);
    if !good {
        let problem = format!(
            "{} is no name of lower-case letters, digits and dashes",
            cut(text)
        );
        field.wrong(problem, "server-errors", problems);
    }
    Some(text.to_owned())
}

fn error_rate(field: &Field<'_>, problems: &Problems) -> ErrorRate {
    let limit = field.child("threshold");
    if !limit.given() {
        limit.wrong("is missing", GOOD_THRESHOLD, problems);
    }
    let threshold = limit.percentage(GOOD_THRESHOLD, problems);
    rate(field, threshold.unwrap_or(DEFAULT_THRESHOLD), problems)
}

fn rate(field: &Field<'_>, threshold: Ratio, problems: &Problems) -> ErrorRate {
    let presets = [
        ("HTTPRequests", Preset::HttpRequests),
        ("Istio", Preset::Istio),
    ];
    let more = field.child("match");
    let matchers = more
        .text(MATCHERS_LENGTH, GOOD_MATCHERS, problems)
        .unwrap_or_default();
    if let Some(problem) = matchers::problem(matchers) {
        more.wrong(
            format!("{} {problem}", cut(matchers)),
            GOOD_MATCHERS,
            problems,
        );
    }
    ErrorRate {
        requests: Requests::Preset(Shape {
            preset: field
                .child("preset")
                .one_of(&presets, Preset::HttpRequests, problems),
            matchers: matchers.strip_suffix(',').unwrap_or(matchers).to_owned(),
            labels: LabelNames::default(),
        }),
        rate: Rate {
            limit: Limit::Threshold {
                threshold,
                sustained: field.child("for").duration(FOR, problems),
            },
            window: field.child("window").duration(RATE_WINDOW, problems),
            minimum_requests: field
                .child("minimumRequests")
                .count(MINIMUM_REQUESTS, problems),
        },
    }
}

fn probe_failures(field: &Field<'_>, problems: &Problems) -> ProbeFailures {
    let probes =
        [Probe::Liveness, Probe::Readiness, Probe::Startup].map(|probe| (probe.name(), probe));
    ProbeFailures {
        probe: field
            .child("probe")
            .one_of(&probes, Probe::Liveness, problems),
        threshold: field.child("threshold").count(THRESHOLD, problems),
        window: field.child("window").duration(PROBE_WINDOW, problems),
    }
}

fn restarts(field: &Field<'_>, problems: &Problems) -> Restarts {
    let pods = field.child("pods").percentage(PODS, problems);
    Restarts {
        threshold: field.child("threshold").count(THRESHOLD, problems),
        window: field.child("window").duration(RESTART_WINDOW, problems),
        pods: pods.or_else(|| ratio(PODS)).unwrap_or(Ratio(1.0)),
    }
}
