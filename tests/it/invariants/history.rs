//! Random policies, and what may happen to a Deployment under them.

use std::collections::BTreeSet;

use astern::decide::gitops::OnRollback;
use astern::decide::{
    Alert, ApprovalTerms, Bound, Budget, ConfigMode, ConfigTerms, Enforcement, EntryKind,
    ErrorRate, LabelNames, Limit, Mode, OnTimeout, Policy, Preset, Probe, ProbeFailures, PromQl,
    QuarantineTerms, Rate, Ratio, Requests, Restarts, Revision, RollbackTerms, Shape, Trigger,
    TriggerKind,
};
use jiff::SignedDuration;
use proptest::prelude::*;

use crate::world::{Behaviour, Metrics, revision};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// Nothing, for so many ticks.
    Wait(u8),
    Deploy(Revision),
    /// From now on the revision does so.
    Behave(Revision, Behaviour),
    /// A new release that does so is deployed.
    Release(Revision, Behaviour),
    /// Somebody deploys again what Astern took back last.
    Again,
    Pause,
    Resume,
    Scale(u32),
    Metrics(Metrics),
    Answer(EntryKind, &'static str),
    /// An entry that quotes the right rollback and a code from thin air.
    Forge(&'static str),
    /// The operator stops between two writes, and starts again.
    Restart,
    Mode(Mode),
}

impl Happening {
    pub(super) fn bad_release() -> Self {
        let behaviour = Behaviour {
            errors: 0.5,
            ..Behaviour::default()
        };
        Self::Release(revision("v2"), behaviour)
    }

    pub(super) fn all_clear() -> Self {
        Self::Metrics(Metrics::Working)
    }
}

/// Deploys again what Astern took back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Robot {
    /// The revision that was there.
    PutsBack,
    /// Yet another one.
    DeploysAnother,
}

impl Arbitrary for Robot {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        prop_oneof![Just(Self::PutsBack), Just(Self::DeploysAnother)].boxed()
    }
}

fn seconds(range: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = SignedDuration> {
    range.prop_map(SignedDuration::from_secs)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        1 => Just(Mode::Disabled),
        2 => Just(Mode::Observe),
        4 => Just(Mode::RequireApproval),
        6 => Just(Mode::Automatic),
    ]
}

fn requests() -> Requests {
    Requests::Preset(Shape {
        preset: Preset::HttpRequests,
        matchers: String::new(),
        labels: LabelNames::default(),
    })
}

fn kind() -> impl Strategy<Value = TriggerKind> {
    let error_rate = (seconds(5..=60), seconds(0..=20), 1..=60_u32).prop_map(
        |(window, sustained, minimum_requests)| {
            TriggerKind::ErrorRate(ErrorRate {
                requests: requests(),
                rate: Rate {
                    limit: Limit::Threshold {
                        threshold: Ratio(0.05),
                        sustained,
                    },
                    window,
                    minimum_requests,
                },
            })
        },
    );
    let probes = (1..=4_u32, seconds(10..=60)).prop_map(|(threshold, window)| {
        TriggerKind::ProbeFailures(ProbeFailures {
            probe: Probe::Liveness,
            threshold,
            window,
        })
    });
    let restarts = (1..=3_u32, seconds(30..=120)).prop_map(|(threshold, window)| {
        TriggerKind::Restarts(Restarts {
            threshold,
            window,
            pods: Ratio(0.2),
        })
    });
    let promql = seconds(0..=20).prop_map(|sustained| {
        TriggerKind::PromQl(PromQl {
            query: "pool_pending".to_owned(),
            bound: Bound::Above(10.0),
            sustained,
        })
    });
    let alert = seconds(0..=20).prop_map(|sustained| {
        let labels = [("alertname".to_owned(), "CheckoutDown".to_owned())].into();
        TriggerKind::Alert(Alert { labels, sustained })
    });
    prop_oneof![
        4 => error_rate,
        1 => probes,
        1 => promql,
        1 => alert,
        2 => restarts,
        1 => Just(TriggerKind::RolloutStalled),
    ]
}

fn triggers() -> impl Strategy<Value = Vec<Trigger>> {
    prop::collection::vec((kind(), prop::option::weighted(0.2, mode())), 1..=4).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(index, (kind, mode))| Trigger {
                name: format!("trigger-{index}"),
                mode,
                kind,
            })
            .collect()
    })
}

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    let on_timeout = prop_oneof![
        2 => Just(OnTimeout::Escalate),
        1 => Just(OnTimeout::RollBack),
        1 => Just(OnTimeout::Release),
    ];
    let approval =
        (1..=2_u32, seconds(15..=120), on_timeout).prop_map(|(required, timeout, on_timeout)| {
            ApprovalTerms {
                required,
                timeout,
                on_timeout,
                service_accounts: Vec::new(),
            }
        });
    let rollback = (seconds(30..=240), seconds(0..=25))
        .prop_map(|(deadline, recovery)| RollbackTerms { deadline, recovery });
    (
        mode(),
        seconds(20..=120),
        triggers(),
        approval,
        any::<bool>(),
        rollback,
        prop_oneof![2 => Just(Mode::Observe), 1 => mode()],
        (1_u32..=4, seconds(60..=600)).prop_map(|(count, per)| Budget { count, per }),
        (seconds(60..=900), enforcement()).prop_map(|(lasting, enforcement)| QuarantineTerms {
            lasting,
            enforcement,
        }),
    )
        .prop_map(
            |(
                mode,
                probation,
                triggers,
                approval,
                pause_rollout,
                rollback,
                after_probation,
                budget,
                quarantine,
            )| {
                Policy {
                    name: "checkout-policy".to_owned(),
                    mode,
                    probation,
                    triggers,
                    approval,
                    pause_rollout,
                    rollback,
                    after_probation,
                    budget,
                    persistent_volumes: Mode::RequireApproval,
                    config: ConfigTerms {
                        mode: ConfigMode::Check,
                        exclude: BTreeSet::new(),
                    },
                    quarantine,
                    on_rollback: OnRollback::Auto,
                    drill: None,
                }
            },
        )
}

fn enforcement() -> impl Strategy<Value = Enforcement> {
    prop_oneof![
        Just(Enforcement::Disabled),
        Just(Enforcement::Warn),
        Just(Enforcement::Deny)
    ]
}

/// A policy that rolls back by itself when the error rate is too high, and nothing else.
pub(super) fn calm_policy() -> impl Strategy<Value = Policy> {
    let trigger = (seconds(5..=60), seconds(0..=20));
    (policy(), trigger).prop_map(|(policy, (window, sustained))| Policy {
        mode: Mode::Automatic,
        probation: SignedDuration::from_mins(30),
        triggers: vec![Trigger {
            name: "server-errors".to_owned(),
            mode: None,
            kind: TriggerKind::ErrorRate(ErrorRate {
                requests: requests(),
                rate: Rate {
                    limit: Limit::Threshold {
                        threshold: Ratio(0.05),
                        sustained,
                    },
                    window,
                    minimum_requests: 20,
                },
            }),
        }],
        ..policy
    })
}

fn any_revision() -> impl Strategy<Value = Revision> {
    prop_oneof![Just("v1"), Just("v2"), Just("v3")].prop_map(revision)
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let fine = Just(Behaviour::default());
    let errors = prop_oneof![Just(0.02), Just(0.1), Just(0.5), Just(1.0)];
    let failing =
        (errors, prop_oneof![Just(0.5), Just(20.0)]).prop_map(|(errors, requests)| Behaviour {
            requests,
            errors,
            ..Behaviour::default()
        });
    let otherwise = (
        any::<bool>(),
        prop_oneof![Just(0.0), Just(6.0)],
        any::<bool>(),
        prop_oneof![Just(0.0), Just(50.0)],
        any::<bool>(),
    )
        .prop_map(
            |(failing_probes, crashes, stalls, value, alert)| Behaviour {
                failing_probes,
                crashes,
                stalls,
                value,
                alert,
                ..Behaviour::default()
            },
        );
    prop_oneof![2 => fine, 2 => failing, 2 => otherwise, 4 => Just(hopeless())]
}

/// Whatever a trigger looks at, it finds fault with this.
fn hopeless() -> Behaviour {
    Behaviour {
        errors: 0.5,
        failing_probes: true,
        crashes: 6.0,
        value: 50.0,
        alert: true,
        ..Behaviour::default()
    }
}

fn metrics() -> impl Strategy<Value = Metrics> {
    prop_oneof![
        6 => Just(Metrics::Working),
        1 => Just(Metrics::Gone),
        1 => Just(Metrics::Empty),
        1 => Just(Metrics::Partial),
        1 => Just(Metrics::NotNumbers),
    ]
}

fn answer() -> impl Strategy<Value = Happening> {
    let who = prop_oneof![
        3 => Just("alice"),
        3 => Just("bob"),
        1 => Just("system:serviceaccount:shop:robot"),
    ];
    let kind = prop_oneof![4 => Just(EntryKind::Approve), 1 => Just(EntryKind::Reject)];
    (kind, who).prop_map(|(kind, who)| Happening::Answer(kind, who))
}

/// Several stories, each of a release and of what happens to it.
pub(super) fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let release = prop_oneof![
        4 => (any_revision(), behaviour()).prop_map(|(which, how)| Happening::Release(which, how)),
        2 => Just(Happening::Again),
        1 => any_revision().prop_map(Happening::Deploy),
    ];
    let happening = prop_oneof![
        2 => any_revision().prop_map(Happening::Deploy),
        2 => (any_revision(), behaviour()).prop_map(|(which, how)| Happening::Behave(which, how)),
        8 => answer(),
        1 => prop_oneof![Just("alice"), Just("bob")].prop_map(Happening::Forge),
        1 => Just(Happening::Pause),
        2 => Just(Happening::Resume),
        1 => prop_oneof![1 => Just(0), 3 => Just(2)].prop_map(Happening::Scale),
        2 => metrics().prop_map(Happening::Metrics),
        2 => Just(Happening::Restart),
        1 => mode().prop_map(Happening::Mode),
    ];
    let then = prop::collection::vec((happening, wait(8)), 0..5);
    let story = (release, wait(10), then);
    prop::collection::vec(story, 1..6).prop_map(|stories| {
        let mut happenings = Vec::new();
        for (release, wait, then) in stories {
            happenings.extend([release, wait]);
            happenings.extend(then.into_iter().flat_map(|(what, wait)| [what, wait]));
        }
        happenings
    })
}

fn wait(most: u8) -> impl Strategy<Value = Happening> {
    (0..=most).prop_map(Happening::Wait)
}

/// What may delay a rollback, but not prevent it.
pub(super) fn trouble() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        (1..=6_u8).prop_map(Happening::Wait),
        metrics().prop_map(Happening::Metrics),
        Just(Happening::Restart),
    ];
    prop::collection::vec(happening, 0..8)
}
