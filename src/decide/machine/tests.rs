//! One base fixture that would act; each case changes one thing.

mod gitops;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::decide;
use crate::decide::config::WHOLE;
use crate::decide::gitops::OnRollback;
use crate::decide::restoring::{Restoration, restoration};
use crate::decide::traffic::{Serving, Traffic, Unseen, UnseenCause};
use crate::decide::{
    Announcement, Approval, ApprovalTerms, Asked, Attempt, Budget, Compatible, Config, ConfigMode,
    ConfigName, ConfigTerms, ConfigUse, ConfigUses, Contents, Counters, Current, Decision,
    Diagnosed, Effect, Enforcement, Entry, EntryKind, ErrorRate, Evidence, Facts, Finding,
    Followed, Found, Hold, Impact, Incident, Inspection, LabelNames, Limit, Memory, Mode, Observed,
    OnTimeout, Pod, PodCounters, Policy, Preset, Proof, QuarantineTerms, Rate, Ratio, Reason,
    Request, Requests, RestartCount, Restarts, Revision, RevisionMemory, RollbackTerms, Sample,
    Schema, Shape, State, Suspension, Timings, Trigger, TriggerKind, Unknown, Verdict, Workload,
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

pub(super) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

pub(super) fn good() -> Revision {
    Revision("900d900d900d900d".to_owned())
}

pub(super) fn bad() -> Revision {
    Revision("bad0bad0bad0bad0".to_owned())
}

pub(super) fn other() -> Revision {
    Revision("07e407e407e407e4".to_owned())
}

pub(in crate::decide) fn policy() -> Policy {
    Policy {
        name: "checkout-policy".to_owned(),
        mode: Mode::Automatic,
        probation: seconds(900),
        triggers: vec![
            Trigger {
                name: "server-errors".to_owned(),
                mode: None,
                kind: TriggerKind::ErrorRate(ErrorRate {
                    requests: Requests::Preset(Shape {
                        preset: Preset::HttpRequests,
                        matchers: String::new(),
                        labels: LabelNames::default(),
                    }),
                    rate: Rate {
                        limit: Limit::Threshold {
                            threshold: Ratio(0.05),
                            sustained: seconds(10),
                        },
                        window: seconds(60),
                        minimum_requests: 20,
                    },
                }),
            },
            Trigger {
                name: "crashes".to_owned(),
                mode: None,
                kind: TriggerKind::Restarts(Restarts {
                    threshold: 3,
                    window: seconds(300),
                    pods: Ratio(0.2),
                }),
            },
        ],
        approval: ApprovalTerms {
            required: 1,
            timeout: seconds(1800),
            on_timeout: OnTimeout::Escalate,
            service_accounts: Vec::new(),
        },
        pause_rollout: true,
        rollback: RollbackTerms {
            deadline: seconds(600),
            recovery: seconds(120),
        },
        after_probation: Mode::Observe,
        budget: Budget {
            count: 3,
            per: seconds(86_400),
        },
        persistent_volumes: Mode::RequireApproval,
        config: ConfigTerms {
            mode: ConfigMode::Check,
            exclude: BTreeSet::new(),
        },
        quarantine: QuarantineTerms {
            lasting: seconds(604_800),
            enforcement: Enforcement::Warn,
        },
        on_rollback: OnRollback::Auto,
        drill: None,
    }
}

fn asking() -> Policy {
    Policy {
        mode: Mode::RequireApproval,
        ..policy()
    }
}

fn counters(failed: f64) -> Evidence {
    let samples = [85, 90, 95, 100]
        .iter()
        .zip(1..)
        .map(|(second, n)| Sample {
            at: at(*second),
            total: 100.0 * f64::from(n),
            failed: failed * f64::from(n),
        })
        .collect();
    Evidence::Counters(Counters {
        new: vec![PodCounters {
            pod: "checkout-bad-x".to_owned(),
            born: at(80),
            samples,
        }],
        ..Counters::default()
    })
}

/// A breached revision that nothing holds back, at second 100.
pub(super) fn breached() -> Observed {
    Observed {
        workload: Workload {
            uid: "5eed0001-aaaa-bbbb".to_owned(),
            name: "checkout".to_owned(),
            template: bad(),
            current: Some(Current {
                number: 2,
                created: at(70),
            }),
            replicas: 4,
            rolling_update: true,
            progress_deadline: seconds(600),
            ..Workload::default()
        },
        memory: Memory {
            revisions: BTreeMap::from([
                (good(), known(Verdict::Good, 1, 0)),
                (bad(), known(Verdict::Unproven, 2, 70)),
            ]),
            incident: None,
        },
        past: Vec::new(),
        pods: vec![Pod {
            name: "checkout-bad-x".to_owned(),
            born: at(80),
            restarts: vec![RestartCount {
                at: at(80),
                count: 0,
            }],
            ..Pod::default()
        }],
        evidence: BTreeMap::from([("server-errors".to_owned(), counters(30.0))]),
        entries: Vec::new(),
        recorded: None,
        approvals_are_checked: true,
        fresh_code: "k7x2m9".to_owned(),
        inspections: vec![Inspection {
            at: at(100),
            from: bad(),
            to: good(),
            ..Inspection::default()
        }],
        ..Observed::default()
    }
}

pub(super) fn known(verdict: Verdict, number: i64, since: i64) -> RevisionMemory {
    RevisionMemory {
        verdict,
        proof: (verdict == Verdict::Good).then_some(Proof::Full),
        number,
        since: at(since),
        rolled_out: (verdict == Verdict::Good).then_some(at(since)),
        ..RevisionMemory::default()
    }
}

pub(super) fn healthy() -> Observed {
    let mut observed = breached();
    observed.evidence = BTreeMap::from([("server-errors".to_owned(), counters(0.0))]);
    observed.workload.rolled_out = true;
    observed
}

/// An incident that was proposed at second 100.
fn incident(state: State) -> Incident {
    Incident {
        attempt: 1,
        from: bad(),
        to: good(),
        trigger: "server-errors".to_owned(),
        request: None,
        repoint: std::collections::BTreeMap::new(),
        restored: None,
        restored_by: None,
        mode: Mode::Automatic,
        caps: Vec::new(),
        state,
        evidence: "30% of 400 requests failed".to_owned(),
        outcome: String::new(),
        approval: policy().approval,
        rollback: policy().rollback,
        pause_rollout: true,
        paused: false,
        code: None,
        approvals: Vec::new(),
        rejected_by: None,
        escalated: false,
        reconciler: None,
        git_range: None,
        found: Found::default(),
        timings: Timings {
            proposed: at(100),
            decided: (state != State::AwaitingApproval).then_some(at(100)),
            patched: None,
            ended: None,
        },
    }
}

fn during(state: State) -> Observed {
    let mut observed = breached();
    observed.memory.incident = Some(incident(state));
    observed.recorded = Some(at(100));
    observed
}

pub(super) fn awaiting() -> Observed {
    let mut observed = during(State::AwaitingApproval);
    if let Some(incident) = &mut observed.memory.incident {
        incident.code = Some("k7x2m9".to_owned());
    }
    observed
}

fn entry(kind: EntryKind, username: &str) -> Entry {
    let name = incident(State::AwaitingApproval).name(&breached().workload);
    Entry {
        kind,
        value: format!("{name}/k7x2m9:{username}"),
        reason: None,
    }
}

/// Verifying at second 110, with the good revision back.
fn verifying() -> Observed {
    let mut observed = during(State::Verifying);
    observed.workload.template = good();
    observed.workload.current = Some(Current {
        number: 3,
        created: at(0),
    });
    observed.workload.rolled_out = true;
    observed.evidence = BTreeMap::from([("server-errors".to_owned(), counters(0.0))]);
    observed.followed = Some(Followed {
        to: good(),
        ..Followed::default()
    });
    observed
}

/// The only place that calls `decide`, so its signature can change without touching the cases.
#[track_caller]
pub(super) fn decided(observed: &Observed, policy: &Policy, second: i64) -> Decision {
    let mut observed = observed.clone();
    for inspection in &mut observed.inspections {
        // Taken right before, as the controller does.
        inspection.at = at(second);
    }
    if let Some(followed) = &mut observed.followed {
        followed.at = at(second);
    }
    decide(&observed, policy, at(second))
}

/// Writes, without what people are told.
fn writes(decision: &Decision) -> Vec<&Effect> {
    decision
        .effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Announce(_)))
        .collect()
}

#[track_caller]
fn check_quiet(observed: &Observed, policy: &Policy, reason: &Reason) {
    let decision = decided(observed, policy, 100);
    assert_eq!((&decision.reason, writes(&decision)), (reason, vec![]));
    assert_eq!(decision.memory.incident, None);
}

#[track_caller]
fn check_opens(observed: &Observed, policy: &Policy, state: State) -> Incident {
    let decision = decided(observed, policy, 100);
    assert_eq!(decision.reason, Reason::Incident(state));
    assert_eq!(
        writes(&decision),
        Vec::<&Effect>::new(),
        "the record comes first"
    );
    let incident = decision.memory.incident.expect("an incident is opened");
    assert_eq!((&incident.from, &incident.to), (&bad(), &good()));
    assert_eq!(incident.state, state);
    incident
}

#[track_caller]
fn check_closes(observed: &Observed, second: i64, state: State) -> Incident {
    let decision = decided(observed, &policy(), second);
    assert_eq!(writes(&decision), Vec::<&Effect>::new());
    let incident = decision
        .memory
        .incident
        .expect("the incident is written down");
    assert_eq!(incident.state, state);
    assert_eq!(incident.timings.ended, Some(at(second)));
    incident
}

fn verdict(decision: &Decision, revision: &Revision) -> Verdict {
    decision.memory.revisions[revision].verdict
}

#[test]
fn a_breach_is_written_down_before_anything_is_written() {
    let incident = check_opens(&breached(), &policy(), State::RollingBack);
    assert_eq!(incident.trigger, "server-errors");
    assert_eq!(incident.timings.decided, Some(at(100)));
    assert_eq!(
        incident.evidence,
        "30% of 400 requests failed in 1m (limit 5%)"
    );
}

#[test]
fn a_recorded_rollback_is_carried_out_and_the_revision_marked_first() {
    let decision = decided(&during(State::RollingBack), &policy(), 101);
    assert_eq!(
        writes(&decision),
        [&Effect::RollBack {
            from: bad(),
            to: good(),
            pause: None,
        }]
    );
    assert_eq!(verdict(&decision, &bad()), Verdict::Bad);
}

#[test]
fn modes_tell_ask_and_act() {
    check_opens(&breached(), &asking(), State::AwaitingApproval);
    let observing = Policy {
        mode: Mode::Observe,
        ..policy()
    };
    check_opens(&breached(), &observing, State::Observed);
    let disabled = Policy {
        mode: Mode::Disabled,
        ..policy()
    };
    check_quiet(&breached(), &disabled, &Reason::Disabled);
}

#[test]
fn a_trigger_caps_the_mode() {
    let mut capped = policy();
    capped.triggers[0].mode = Some(Mode::RequireApproval);
    let incident = check_opens(&breached(), &capped, State::AwaitingApproval);
    assert_eq!(
        incident.caps,
        ["trigger server-errors has mode RequireApproval"]
    );
    let mut raised = asking();
    raised.triggers[0].mode = Some(Mode::Automatic);
    check_opens(&breached(), &raised, State::AwaitingApproval);
}

#[test]
fn an_observed_breach_is_recorded_once_and_never_counts_as_good() {
    let observing = Policy {
        mode: Mode::Observe,
        ..policy()
    };
    let mut observed = breached();
    observed.past.push(attempt(State::Observed, false));
    let decision = decided(&observed, &observing, 100);
    assert_eq!(decision.memory.incident, None);

    let mut later = healthy();
    later.past.push(attempt(State::Observed, false));
    let decision = decided(&later, &observing, 101);
    assert_eq!(verdict(&decision, &bad()), Verdict::Unproven);
}

fn attempt(state: State, wrote_unasked: bool) -> Attempt {
    Attempt {
        from: bad(),
        attempt: 1,
        state,
        wrote_unasked,
        ..Attempt::default()
    }
}

#[test]
fn unknown_metrics_never_roll_back() {
    for unknown in [
        Unknown::NoAnswer {
            cause: "cannot be reached".to_owned(),
        },
        Unknown::NotUnderstood {
            cause: "no JSON".to_owned(),
        },
        Unknown::Incomplete,
        Unknown::NoData,
    ] {
        let mut observed = breached();
        observed.evidence =
            BTreeMap::from([("server-errors".to_owned(), Evidence::Missing(unknown))]);
        check_quiet(&observed, &policy(), &Reason::OnProbation);
    }
}

#[test]
fn a_breach_must_last() {
    let mut observed = breached();
    let Some(Evidence::Counters(counters)) = observed.evidence.get_mut("server-errors") else {
        unreachable!("the fixture has counters");
    };
    // The first samples are clean, so the row over the threshold starts at second 95.
    for sample in &mut counters.new[0].samples[..2] {
        sample.failed = 0.0;
    }
    check_quiet(&observed, &policy(), &Reason::OnProbation);
}

#[test]
fn samples_of_the_past_do_not_judge() {
    let decision = decided(&breached(), &policy(), 116);
    assert_eq!(decision.reason, Reason::OnProbation);
    assert_eq!(
        decided(&breached(), &policy(), 115).reason,
        Reason::Incident(State::RollingBack)
    );
}

#[test]
fn holds_come_in_the_order_people_should_read_them() {
    let mut observed = breached();
    observed.memory.revisions.remove(&good());
    check_quiet(&observed, &policy(), &Reason::Held(Hold::NoTarget));
    observed.workload.replicas = 0;
    check_quiet(&observed, &policy(), &Reason::Held(Hold::NoReplicas));
    observed.workload.paused = true;
    check_quiet(&observed, &policy(), &Reason::Held(Hold::PausedByPerson));
    observed.workload.deleting = true;
    check_quiet(&observed, &policy(), &Reason::Held(Hold::Deleting));
}

#[test]
fn only_a_good_revision_is_a_target() {
    for verdict in [Verdict::Unproven, Verdict::Bad, Verdict::Withdrawn] {
        let mut observed = breached();
        observed
            .memory
            .revisions
            .insert(good(), known(verdict, 1, 0));
        check_quiet(&observed, &policy(), &Reason::Held(Hold::NoTarget));
    }
}

#[test]
fn the_newest_good_revision_is_the_target() {
    let mut observed = breached();
    observed
        .memory
        .revisions
        .insert(good(), known(Verdict::Good, 1, 0));
    observed
        .memory
        .revisions
        .insert(other(), known(Verdict::Good, 0, 50));
    check_opens(&observed, &policy(), State::RollingBack);
}

#[test]
fn a_partly_proven_target_needs_approval_unless_the_revision_cannot_run() {
    let mut observed = breached();
    if let Some(target) = observed.memory.revisions.get_mut(&good()) {
        target.proof = Some(Proof::Partial);
    }
    check_opens(&observed, &policy(), State::AwaitingApproval);
    observed.pods[0].restarts.push(RestartCount {
        at: at(99),
        count: 3,
    });
    observed.evidence.clear();
    check_opens(&observed, &policy(), State::RollingBack);
}

#[test]
fn a_revision_is_rolled_back_automatically_only_once() {
    for state in [
        State::Recovered,
        State::NotRecovered,
        State::Failed,
        State::Superseded,
    ] {
        let mut observed = breached();
        observed.past.push(attempt(state, true));
        let incident = check_opens(&observed, &policy(), State::AwaitingApproval);
        assert_eq!(incident.attempt, 2);
    }
}

#[test]
fn silence_rolls_back_only_where_nothing_caps_the_mode() {
    let mut silent = asking();
    silent.approval.on_timeout = OnTimeout::RollBack;
    let incident = check_opens(&breached(), &silent, State::AwaitingApproval);
    assert_eq!(incident.approval.on_timeout, OnTimeout::RollBack);

    let mut observed = breached();
    observed.past.push(attempt(State::Recovered, true));
    for mode in [Mode::RequireApproval, Mode::Automatic] {
        silent.mode = mode;
        let incident = check_opens(&observed, &silent, State::AwaitingApproval);
        assert_eq!(incident.approval.on_timeout, OnTimeout::Escalate);
    }
}

#[test]
fn a_revision_that_people_let_go_is_not_proposed_again() {
    for state in [State::Rejected, State::Released] {
        let mut observed = breached();
        observed.past.push(attempt(state, false));
        check_quiet(&observed, &policy(), &Reason::LetGo);
    }
}

#[test]
fn what_happened_to_other_revisions_does_not_matter() {
    let mut observed = breached();
    observed.past.push(Attempt {
        from: other(),
        ..attempt(State::Rejected, true)
    });
    check_opens(&observed, &policy(), State::RollingBack);
}

#[test]
fn nothing_is_judged_before_the_controller_has_acted_on_the_template() {
    let mut observed = breached();
    observed.workload.current = None;
    check_quiet(&observed, &policy(), &Reason::RevisionNotKnownYet);
}

#[test]
fn a_new_revision_is_remembered_from_the_first_look() {
    let mut observed = healthy();
    observed.memory.revisions.remove(&bad());
    let decision = decided(&observed, &policy(), 100);
    let memory = &decision.memory.revisions[&bad()];
    assert_eq!(
        (memory.verdict, memory.number, memory.since),
        (Verdict::Unproven, 2, at(100))
    );
    assert_eq!(memory.rolled_out, Some(at(100)));
}

#[test]
fn what_ran_healthy_at_installation_is_adopted() {
    let mut observed = healthy();
    observed.memory.revisions.clear();
    observed.workload.current = Some(Current {
        number: 7,
        created: at(-800),
    });
    let decision = decided(&observed, &policy(), 100);
    let memory = &decision.memory.revisions[&bad()];
    assert_eq!(
        (memory.verdict, memory.proof),
        (Verdict::Good, Some(Proof::Vouched))
    );

    for spoil in [
        |observed: &mut Observed| observed.workload.rolled_out = false,
        |observed: &mut Observed| {
            observed.workload.current = Some(Current {
                number: 7,
                created: at(-799),
            });
        },
        |observed: &mut Observed| {
            observed.evidence = BTreeMap::from([("server-errors".to_owned(), counters(30.0))]);
        },
        |observed: &mut Observed| {
            observed
                .memory
                .revisions
                .insert(good(), known(Verdict::Bad, 1, 0));
        },
    ] {
        let mut spoilt = observed.clone();
        spoil(&mut spoilt);
        let decision = decided(&spoilt, &policy(), 100);
        assert_ne!(verdict(&decision, &bad()), Verdict::Good);
    }
}

#[test]
fn probation_ends_in_good_with_its_proof() {
    let mut observed = healthy();
    if let Some(memory) = observed.memory.revisions.get_mut(&bad()) {
        memory.rolled_out = Some(at(-800));
    }
    let decision = decided(&observed, &policy(), 99);
    assert_eq!(decision.reason, Reason::OnProbation);
    assert_eq!(decision.look_again, Some(seconds(1)));

    let decision = decided(&observed, &policy(), 100);
    assert_eq!(decision.reason, Reason::RevisionGood);
    assert_eq!(decision.memory.revisions[&bad()].proof, Some(Proof::Full));
    assert!(
        decision
            .effects
            .contains(&Effect::Announce(Announcement::Good(bad())))
    );

    observed.evidence.clear();
    let decision = decided(&observed, &policy(), 100);
    assert_eq!(
        decision.memory.revisions[&bad()].proof,
        Some(Proof::Partial)
    );
}

#[test]
fn probation_waits_for_a_breach_that_may_become_one() {
    let mut observed = healthy();
    if let Some(memory) = observed.memory.revisions.get_mut(&bad()) {
        memory.rolled_out = Some(at(-900));
    }
    let late = Evidence::Counters(Counters {
        new: vec![PodCounters {
            pod: "checkout-bad-x".to_owned(),
            born: at(80),
            samples: vec![Sample {
                at: at(98),
                total: 100.0,
                failed: 30.0,
            }],
        }],
        ..Counters::default()
    });
    observed.evidence = BTreeMap::from([("server-errors".to_owned(), late)]);
    check_quiet(&observed, &policy(), &Reason::OnProbation);
}

#[test]
fn an_outage_of_the_source_does_not_make_a_revision_good() {
    let mut observed = healthy();
    if let Some(memory) = observed.memory.revisions.get_mut(&bad()) {
        memory.rolled_out = Some(at(-900));
    }
    let outage = Unknown::NoAnswer {
        cause: "cannot be reached".to_owned(),
    };
    let missing =
        |unknown| BTreeMap::from([("server-errors".to_owned(), Evidence::Missing(unknown))]);
    observed.evidence = missing(outage);
    check_quiet(&observed, &policy(), &Reason::OnProbation);
    observed.evidence = missing(Unknown::NoData);
    check_quiet(&observed, &policy(), &Reason::RevisionGood);
}

#[test]
fn a_good_revision_that_comes_back_stays_good_and_gets_no_probation() {
    let mut observed = went_back();
    observed.past.push(Attempt {
        to: good(),
        patched: Some(at(90)),
        ..attempt(State::Recovered, true)
    });
    let decision = decided(&observed, &policy(), 100);
    assert_eq!(decision.reason, Reason::RevisionGood);
    assert_eq!(decision.memory.revisions[&good()].number, 3);
}

#[test]
fn a_revision_that_is_deployed_again_is_judged_again() {
    let mut observed = healthy();
    observed
        .memory
        .revisions
        .insert(bad(), known(Verdict::Bad, 1, -5000));
    let decision = decided(&observed, &policy(), 100);
    let memory = &decision.memory.revisions[&bad()];
    assert_eq!((memory.verdict, memory.since), (Verdict::Unproven, at(100)));
}

#[test]
fn the_code_is_told_only_when_the_api_server_checks_it() {
    let decision = decided(&during(State::AwaitingApproval), &asking(), 102);
    assert_eq!(decision.memory.incident.expect("open").code, None);
    assert_eq!(decision.look_again, Some(seconds(1)));

    let mut slow = during(State::AwaitingApproval);
    slow.recorded = Some(at(102));
    let decision = decided(&slow, &asking(), 103);
    assert_eq!(decision.memory.incident.expect("open").code, None);

    let decision = decided(&during(State::AwaitingApproval), &asking(), 103);
    assert_eq!(
        decision.memory.incident.expect("open").code.as_deref(),
        Some("k7x2m9")
    );
    assert!(
        decision
            .effects
            .contains(&Effect::Announce(Announcement::AskForApproval))
    );
}

#[test]
fn no_code_is_told_while_nobody_checks_who_approves() {
    let mut observed = during(State::AwaitingApproval);
    observed.approvals_are_checked = false;
    let decision = decided(&observed, &asking(), 200);
    assert_eq!(decision.memory.incident.expect("open").code, None);
}

#[test]
fn an_approval_by_a_person_starts_the_rollback() {
    let mut observed = awaiting();
    observed.entries.push(entry(EntryKind::Approve, "alice"));
    let decision = decided(&observed, &asking(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::RollingBack));
    let incident = decision.memory.incident.expect("open");
    assert_eq!(
        incident.approvals,
        [Approval {
            username: "alice".to_owned(),
            at: at(110),
            break_glass: None,
        }]
    );
    assert_eq!(incident.timings.decided, Some(at(110)));
}

#[test]
fn an_approval_that_nobody_checks_does_not_count() {
    let mut observed = awaiting();
    observed.entries.push(entry(EntryKind::Approve, "alice"));
    observed.approvals_are_checked = false;
    let decision = decided(&observed, &asking(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));
}

#[test]
fn a_quorum_counts_distinct_people_and_keeps_those_seen() {
    let mut observed = awaiting();
    let two = |incident: &mut Incident| incident.approval.required = 2;
    observed.memory.incident.as_mut().map(two);
    observed.entries = vec![
        entry(EntryKind::Approve, "alice"),
        entry(EntryKind::Approve, "alice"),
    ];
    let decision = decided(&observed, &asking(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));

    // The next approver overwrites the annotation; what was seen is remembered.
    observed.memory = decision.memory;
    observed.entries = vec![entry(EntryKind::Approve, "bob")];
    let decision = decided(&observed, &asking(), 120);
    assert_eq!(decision.reason, Reason::Incident(State::RollingBack));
}

/// Awaiting the approval of two people, for a rollback that alice has asked for.
fn asked_by_alice() -> Observed {
    let mut observed = awaiting();
    let ask = |incident: &mut Incident| {
        incident.approval.required = 2;
        incident.request = Some(Asked {
            name: incident.name(&breached().workload),
            requested_by: Some("alice".to_owned()),
            reason: "the basket is empty".to_owned(),
            drill: false,
        });
    };
    observed.memory.incident.as_mut().map(ask);
    observed
}

#[test]
fn where_two_are_required_who_asked_may_not_approve() {
    let mut observed = asked_by_alice();
    observed.entries = vec![entry(EntryKind::Approve, "alice")];
    observed.memory = decided(&observed, &asking(), 110).memory;
    observed.entries = vec![entry(EntryKind::Approve, "bob")];
    let decision = decided(&observed, &asking(), 111);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));
    observed.memory = decision.memory;
    observed.entries = vec![entry(EntryKind::Approve, "carol")];
    let decision = decided(&observed, &asking(), 112);
    assert_eq!(decision.reason, Reason::Incident(State::RollingBack));
}

#[test]
fn in_an_emergency_one_person_with_a_reason_is_enough() {
    let broken = |username: &str, reason: Option<&str>| {
        let mut observed = asked_by_alice();
        observed.entries = vec![Entry {
            reason: reason.map(str::to_owned),
            ..entry(EntryKind::BreakGlass, username)
        }];
        decided(&observed, &asking(), 110)
    };
    for (username, reason) in [
        ("alice", None),
        ("alice", Some("  ")),
        ("system:serviceaccount:ci:bot", Some("it is night")),
    ] {
        let decision = broken(username, reason);
        assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));
    }
    let decision = broken("alice", Some("nobody else is awake"));
    assert_eq!(decision.reason, Reason::Incident(State::RollingBack));
    let alone = Approval {
        username: "alice".to_owned(),
        at: at(110),
        break_glass: Some("nobody else is awake".to_owned()),
    };
    let told = Effect::Announce(Announcement::BrokenGlass(alone.clone()));
    assert!(decision.effects.contains(&told), "{:?}", decision.effects);
    assert_eq!(decision.memory.incident.expect("open").approvals, [alone]);
}

#[test]
fn reject_wins_over_approve() {
    let mut observed = awaiting();
    observed.entries = vec![
        entry(EntryKind::Approve, "alice"),
        entry(EntryKind::Reject, "bob"),
    ];
    let incident = check_closes(&observed, 110, State::Rejected);
    assert_eq!(incident.rejected_by.as_deref(), Some("bob"));
}

#[test]
fn silence_does_what_the_policy_says() {
    let mut observed = awaiting();
    let decision = decided(&observed, &asking(), 1899);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));
    assert_eq!(decision.look_again, Some(seconds(1)));

    let decision = decided(&observed, &asking(), 1900);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));
    assert!(decision.memory.incident.expect("open").escalated);
    assert!(
        decision
            .effects
            .contains(&Effect::Announce(Announcement::Escalate))
    );

    let silence = |observed: &mut Observed, on_timeout| {
        let set = |incident: &mut Incident| incident.approval.on_timeout = on_timeout;
        observed.memory.incident.as_mut().map(set);
    };
    silence(&mut observed, OnTimeout::Release);
    check_closes(&observed, 1900, State::Released);
    silence(&mut observed, OnTimeout::RollBack);
    let decision = decided(&observed, &asking(), 1900);
    assert_eq!(decision.reason, Reason::Incident(State::RollingBack));
}

#[test]
fn the_rollout_stands_still_while_people_decide() {
    let pause = Effect::PauseRollout { from: bad() };
    let decision = decided(&during(State::AwaitingApproval), &asking(), 101);
    assert_eq!(writes(&decision), [&pause]);

    for spoil in [
        |observed: &mut Observed| observed.workload.rolled_out = true,
        |observed: &mut Observed| observed.workload.rolling_update = false,
        |observed: &mut Observed| observed.workload.paused = true,
        |observed: &mut Observed| {
            // A person resumed it: our mark is there, the pause is not.
            let name = incident(State::AwaitingApproval).name(&observed.workload);
            observed.workload.paused_by = Some(name);
        },
        |observed: &mut Observed| {
            let never = |incident: &mut Incident| incident.pause_rollout = false;
            observed.memory.incident.as_mut().map(never);
        },
    ] {
        let mut spoilt = during(State::AwaitingApproval);
        spoil(&mut spoilt);
        let decision = decided(&spoilt, &asking(), 101);
        assert_eq!(writes(&decision), Vec::<&Effect>::new());
    }
}

#[test]
fn our_pause_does_not_outlive_the_incident() {
    let mut observed = healthy();
    observed.workload.paused = true;
    observed.workload.paused_by = Some("checkout-bad0bad0-5eed0001-1".to_owned());
    observed.past.push(attempt(State::Rejected, false));
    let decision = decided(&observed, &policy(), 100);
    assert_eq!(writes(&decision), [&Effect::ResumeRollout]);

    observed.workload.paused_by = None;
    assert_eq!(
        writes(&decided(&observed, &policy(), 100)),
        Vec::<&Effect>::new()
    );
}

#[test]
fn a_worse_trigger_does_not_wait_for_approval() {
    let mut observed = awaiting();
    // What was proposed waits, also where its trigger was allowed more meanwhile.
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));

    if let Some(incident) = &mut observed.memory.incident {
        incident.trigger = "crashes".to_owned();
    }
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(decision.reason, Reason::Incident(State::RollingBack));

    let mut storm = observed.clone();
    storm.breaker = Some("10 automatic rollbacks within 10m".to_owned());
    let decision = decided(&storm, &policy(), 101);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));

    observed.past.push(attempt(State::Recovered, true));
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(decision.reason, Reason::Incident(State::AwaitingApproval));
}

#[test]
fn a_newer_deploy_wins_in_every_state() {
    for state in [
        State::AwaitingApproval,
        State::RollingBack,
        State::Verifying,
    ] {
        let mut observed = during(state);
        observed.workload.template = other();
        check_closes(&observed, 110, State::Superseded);
    }
}

#[test]
fn a_person_who_put_it_back_is_thanked_with_verification() {
    let mut observed = awaiting();
    observed.workload.template = good();
    let decision = decided(&observed, &asking(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::Verifying));
}

#[test]
fn a_pause_in_between_stops_the_rollback_until_its_deadline() {
    let mut observed = during(State::RollingBack);
    observed.workload.paused = true;
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(decision.reason, Reason::Held(Hold::PausedByPerson));
    assert_eq!(writes(&decision), Vec::<&Effect>::new());
    check_closes(&observed, 700, State::Failed);
}

#[test]
fn our_own_pause_does_not_stop_the_rollback() {
    let mut observed = during(State::RollingBack);
    observed.workload.paused = true;
    observed.workload.paused_by = Some("checkout-bad0bad0-5eed0001-1".to_owned());
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(
        writes(&decision),
        [&Effect::RollBack {
            from: bad(),
            to: good(),
            pause: None,
        }]
    );
}

#[test]
fn a_refused_rollback_fails_with_the_refusal() {
    let mut observed = during(State::RollingBack);
    observed.refusal = Some("image not allowed".to_owned());
    let incident = check_closes(&observed, 101, State::Failed);
    assert!(incident.outcome.contains("image not allowed"));
    // Longer than the record takes: it must not stand in the way of writing the record.
    observed.refusal = Some("ä".repeat(40_000));
    let incident = check_closes(&observed, 101, State::Failed);
    assert_eq!(incident.outcome.chars().count(), 1024);
}

#[test]
fn interrupted_rollback_is_finished_once() {
    let recorded = decided(&breached(), &policy(), 100).memory;
    let not_patched = Observed {
        memory: recorded.clone(),
        ..breached()
    };
    let again = decided(&not_patched, &policy(), 101);
    assert_eq!(
        writes(&again),
        [&Effect::RollBack {
            from: bad(),
            to: good(),
            pause: None,
        }]
    );

    let mut patched = Observed {
        memory: recorded,
        ..breached()
    };
    patched.workload.template = good();
    let done = decided(&patched, &policy(), 101);
    assert_eq!(done.reason, Reason::Incident(State::Verifying));
    assert_eq!(writes(&done), Vec::<&Effect>::new());
}

#[test]
fn recovery_needs_the_triggers_to_pass_for_the_time_asked() {
    let mut observed = verifying();
    let decision = decided(&observed, &policy(), 110);
    assert_eq!(decision.passing_since, Some(at(110)));
    assert_eq!(decision.look_again, Some(FALLBACK_OF_TESTS));
    observed.passing_since = Some(at(-10));
    check_closes(&observed, 110, State::Recovered);
    let closing = decided(&observed, &policy(), 110);
    assert_eq!(
        closing.passing_since,
        Some(at(-10)),
        "a lost write costs nothing"
    );
    observed.passing_since = Some(at(-9));
    let decision = decided(&observed, &policy(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::Verifying));
    assert_eq!(decision.look_again, Some(seconds(1)));
}

const FALLBACK_OF_TESTS: SignedDuration = SignedDuration::from_secs(30);

#[test]
fn recovery_waits_for_ownership_to_go_back() {
    let mut observed = verifying();
    observed.passing_since = Some(at(-10));
    observed.workload.ownership_disturbed = true;
    let decision = decided(&observed, &policy(), 110);
    assert_eq!(
        writes(&decision),
        [&Effect::RestoreOwnership { to: good() }]
    );
    assert_eq!(decision.reason, Reason::Incident(State::Verifying));
}

#[test]
fn recovery_starts_over_when_a_trigger_does_not_pass() {
    for spoil in [
        |observed: &mut Observed| observed.workload.rolled_out = false,
        |observed: &mut Observed| observed.evidence.clear(),
        |observed: &mut Observed| {
            observed.evidence = BTreeMap::from([("server-errors".to_owned(), counters(30.0))]);
        },
    ] {
        let mut observed = verifying();
        observed.passing_since = Some(at(-10));
        spoil(&mut observed);
        let decision = decided(&observed, &policy(), 110);
        assert_eq!(decision.reason, Reason::Incident(State::Verifying));
        assert_eq!(decision.passing_since, None);
    }
}

#[test]
fn the_deadline_says_what_was_missing() {
    let mut early = verifying();
    if let Some(incident) = &mut early.memory.incident {
        incident.timings.decided = Some(at(-500));
    }
    let mut failing = early.clone();
    failing.evidence = BTreeMap::from([("server-errors".to_owned(), counters(30.0))]);
    check_closes(&failing, 100, State::NotRecovered);
    let decision = decided(&failing, &policy(), 100);
    assert_eq!(verdict(&decision, &bad()), Verdict::Unproven);

    let mut incomplete = early.clone();
    incomplete.workload.rolled_out = false;
    check_closes(&incomplete, 100, State::Failed);

    let mut blind = early;
    blind.evidence.clear();
    let incident = check_closes(&blind, 100, State::Failed);
    assert!(incident.outcome.contains("could not be verified"));
}

#[test]
fn a_bad_revision_that_is_put_back_is_told_and_not_fought() {
    let mut observed = during(State::Verifying);
    observed.workload.template = bad();
    let decision = decided(&observed, &policy(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::Superseded));
    assert_eq!(writes(&decision), Vec::<&Effect>::new());
    assert!(
        decision
            .effects
            .contains(&Effect::Announce(Announcement::Fighting))
    );
}

#[test]
fn a_bad_revision_that_came_back_is_not_written_over_again() {
    let mut observed = during(State::RollingBack);
    observed.workload.current = Some(Current {
        number: 4,
        created: at(70),
    });
    let decision = decided(&observed, &policy(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::Superseded));
    assert_eq!(writes(&decision), Vec::<&Effect>::new());

    observed.workload.current = None;
    let decision = decided(&observed, &policy(), 110);
    assert_eq!(writes(&decision), Vec::<&Effect>::new());

    // A robot that is faster than the controller: the number has not moved.
    let mut marked = during(State::RollingBack);
    let name = incident(State::RollingBack).name(&marked.workload);
    marked.workload.rolled_back_by = Some(name);
    let decision = decided(&marked, &policy(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::Superseded));
    marked.workload.rolled_back_by = Some("checkout-of-another-day".to_owned());
    let decision = decided(&marked, &policy(), 110);
    assert_eq!(writes(&decision).len(), 1);

    let mut waiting = awaiting();
    waiting.entries.push(entry(EntryKind::Approve, "alice"));
    waiting.workload.current = Some(Current {
        number: 4,
        created: at(70),
    });
    let decision = decided(&waiting, &asking(), 110);
    assert_eq!(decision.reason, Reason::Incident(State::Superseded));
}

#[test]
fn old_revisions_are_forgotten_but_never_what_is_needed() {
    let mut observed = healthy();
    // The target is the oldest of all, and the current one is there too.
    observed
        .memory
        .revisions
        .insert(good(), known(Verdict::Good, -1, -100));
    for number in 0..18 {
        let old = Revision(format!("01d{number:05}"));
        let memory = known(Verdict::Withdrawn, number, -50);
        observed.memory.revisions.insert(old, memory);
    }
    assert_eq!(
        writes(&decided(&observed, &policy(), 100)),
        Vec::<&Effect>::new()
    );

    observed
        .memory
        .revisions
        .insert(other(), known(Verdict::Bad, 99, 0));
    let decision = decided(&observed, &policy(), 100);
    let revision = Revision("01d00000".to_owned());
    assert_eq!(writes(&decision), [&Effect::Forget { revision }]);
    assert!(decision.memory.revisions.contains_key(&good()));
}

#[test]
fn every_state_looks_again_by_itself() {
    for observed in [
        breached(),
        healthy(),
        awaiting(),
        during(State::RollingBack),
        verifying(),
    ] {
        let decision = decided(&observed, &policy(), 100);
        assert!(
            decision.look_again.is_some(),
            "{:?} sleeps for ever",
            decision.reason
        );
    }
}

/// The good revision runs again, deployed after the bad one.
fn went_back() -> Observed {
    let mut observed = breached();
    observed.workload.template = good();
    observed.workload.current = Some(Current {
        number: 3,
        created: at(0),
    });
    observed.evidence.clear();
    observed
}

#[test]
fn a_person_who_goes_back_is_recognised() {
    let mut observed = went_back();
    observed.workload.written_by = Some("kubectl-rollout".to_owned());
    let decision = decided(&observed, &policy(), 100);
    let incident = decision.memory.incident.clone().expect("recorded");
    assert_eq!(
        (
            incident.state,
            incident.from,
            incident.to,
            incident.restored_by.as_deref()
        ),
        (State::Recovered, bad(), good(), Some("kubectl-rollout"))
    );
    // What shows that it came back is the last to go.
    observed
        .past
        .extend(decision.memory.incident.map(|i| i.attempt()));
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(decision.memory.incident, None);
    let left = &decision.memory.revisions[&bad()];
    assert_eq!(
        (left.verdict, left.convicted),
        (Verdict::Withdrawn, Some(at(101)))
    );
    assert_eq!(decision.memory.revisions[&good()].number, 1);
    observed.memory = decision.memory;
    let decision = decided(&observed, &policy(), 102);
    let back = &decision.memory.revisions[&good()];
    assert_eq!((back.verdict, back.number), (Verdict::Good, 3));
    assert_eq!(decision.memory.incident, None);
}

#[test]
fn a_person_who_goes_back_during_an_incident_ends_it() {
    for state in [State::AwaitingApproval, State::RollingBack] {
        let mut observed = during(state);
        observed.workload.template = good();
        observed.workload.written_by = Some("helm".to_owned());
        let decision = decided(&observed, &policy(), 110);
        let incident = decision.memory.incident.expect("it goes on");
        assert_eq!(
            (incident.state, incident.restored_by.as_deref()),
            (State::Verifying, Some("helm"))
        );
    }
}

#[test]
fn going_back_further_than_proposed_counts_too() {
    let mut observed = during(State::AwaitingApproval);
    observed
        .memory
        .revisions
        .insert(other(), known(Verdict::Good, 0, -100));
    observed.workload.template = other();
    let decision = decided(&observed, &policy(), 110);
    let incident = decision.memory.incident.expect("it goes on");
    assert_eq!((incident.state, incident.to), (State::Verifying, other()));
}

#[test]
fn the_costly_looks_come_right_before_a_proposal_and_are_not_taken_for_nothing() {
    let mut observed = breached();
    observed.inspections.clear();
    let decision = decided(&observed, &policy(), 100);
    let inspect = Effect::Inspect {
        from: bad(),
        to: good(),
    };
    assert_eq!(writes(&decision), [&inspect]);
    assert_eq!(decision.memory.incident, None);
    assert_eq!(decision.look_again, Some(SignedDuration::ZERO));

    let observing = Policy {
        mode: Mode::Observe,
        ..policy()
    };
    let decision = decided(&observed, &observing, 100);
    assert!(
        decision
            .memory
            .incident
            .is_some_and(|i| i.state == State::Observed)
    );
}

#[test]
fn a_hold_that_asks_lowers_the_mode_and_says_why() {
    let mut observed = breached();
    observed.breaker = Some("10 automatic rollbacks within 10m".to_owned());
    let incident = check_opens(&observed, &policy(), State::AwaitingApproval);
    assert!(
        incident.caps[0].starts_with("BreakerOpen: 10 automatic"),
        "{:?}",
        incident.caps
    );

    let mut observed = breached();
    observed.inspections[0].image_unavailable = Some("a pod cannot pull x".to_owned());
    let incident = check_opens(&observed, &policy(), State::AwaitingApproval);
    assert!(
        incident.caps[0].starts_with("ImageUnavailable"),
        "{:?}",
        incident.caps
    );

    let mut observed = breached();
    for second in [10, 20, 30] {
        observed.past.push(Attempt {
            from: other(),
            decided: Some(at(second)),
            ..attempt(State::Recovered, true)
        });
    }
    let incident = check_opens(&observed, &policy(), State::AwaitingApproval);
    assert!(
        incident.caps[0].starts_with("BudgetSpent"),
        "{:?}",
        incident.caps
    );
}

fn with_facts(mut observed: Observed, of_good: Facts, of_bad: Facts) -> Observed {
    observed.facts = BTreeMap::from([(good(), of_good), (bad(), of_bad)]);
    observed
}

fn facts(substance: &str) -> Facts {
    Facts {
        substance: substance.to_owned(),
        ..Facts::default()
    }
}

#[test]
fn what_cannot_help_or_would_harm_stops() {
    let check = |observed: &Observed, hold: Hold| {
        check_quiet(observed, &policy(), &Reason::Held(hold));
        let decision = decided(observed, &policy(), 100);
        let told = decision.effects.iter().any(|effect| {
            matches!(effect, Effect::Announce(Announcement::Held(held)) if held.hold == hold)
        });
        assert!(told, "{hold:?} is told");
    };
    let same = with_facts(breached(), facts("same"), facts("same"));
    check(&same, Hold::OnlyMetadataChanged);

    let mut newer = facts("b");
    newer.schema = Some(Schema::Number(43));
    let mut older = facts("a");
    older.compatible = Some(Compatible::Ranges(vec![(40, 42)]));
    check(
        &with_facts(breached(), older, newer),
        Hold::SchemaIncompatible,
    );

    let mut observed = breached();
    observed.workload.opted_out = true;
    check(&observed, Hold::OptedOut);

    let mut observed = breached();
    observed.inspections[0].other_controller = Some("Rollout checkout".to_owned());
    check(&observed, Hold::OtherController);

    let suspension = |until| Suspension {
        place: "the cluster".to_owned(),
        until,
        reason: "sale".to_owned(),
    };
    let mut observed = breached();
    observed.workload.suspension = Some(suspension(Some(at(200))));
    check(&observed, Hold::Suspended);
    observed.workload.suspension = Some(suspension(None));
    check(&observed, Hold::Suspended);
    observed.workload.suspension = Some(suspension(Some(at(100))));
    check_opens(&observed, &policy(), State::RollingBack);
    observed.inspections[0].suspensions = vec![suspension(Some(at(200)))];
    check(&observed, Hold::Suspended);
    // It may be over: nobody would ever know who goes by what was seen long ago.
    observed.inspections[0].at = at(60);
    let decision = decide(&observed, &policy(), at(100));
    assert!(
        matches!(writes(&decision)[..], [Effect::Inspect { .. }]),
        "{:?}",
        decision.effects
    );
}

#[test]
fn volumes_cap_the_mode_as_the_policy_says() {
    let mut target = facts("a");
    target.claims = vec!["data".to_owned()];
    let observed = with_facts(breached(), target, facts("b"));
    let mut policy = policy();
    let incident = check_opens(&observed, &policy, State::AwaitingApproval);
    assert!(
        incident.caps[0].contains("claims data"),
        "{:?}",
        incident.caps
    );
    policy.persistent_volumes = Mode::Automatic;
    check_opens(&observed, &policy, State::RollingBack);
}

#[test]
fn an_older_revision_is_taken_where_the_newest_cannot_be_restored() {
    let mut observed = breached();
    observed
        .memory
        .revisions
        .insert(other(), known(Verdict::Good, 0, -100));
    let mut newer = facts("b");
    newer.schema = Some(Schema::Number(43));
    let mut misfit = facts("a");
    misfit.compatible = Some(Compatible::Ranges(vec![(40, 42)]));
    let mut fits = facts("c");
    fits.compatible = Some(Compatible::Ranges(vec![(40, 43)]));
    observed.facts = BTreeMap::from([(good(), misfit), (bad(), newer), (other(), fits)]);
    observed.inspections.push(Inspection {
        at: at(100),
        from: bad(),
        to: other(),
        ..Inspection::default()
    });
    let decision = decided(&observed, &policy(), 100);
    let incident = decision.memory.incident.expect("opened");
    assert_eq!((incident.state, incident.to), (State::RollingBack, other()));
}

#[test]
fn what_the_api_server_would_refuse_ends_as_failed_with_its_words() {
    let mut observed = during(State::RollingBack);
    observed.inspections[0].refused = Some("denied the request: no v1 here".to_owned());
    let incident = check_closes(&observed, 110, State::Failed);
    assert!(
        incident.outcome.contains("no v1 here"),
        "{}",
        incident.outcome
    );
}

#[test]
fn what_is_refused_still_is_not_proposed_again() {
    let mut observed = breached();
    observed.past.push(attempt(State::Failed, true));
    check_opens(&observed, &policy(), State::AwaitingApproval);
    observed.inspections[0].refused = Some("denied the request: no v1 here".to_owned());
    let decision = decided(&observed, &policy(), 100);
    assert_eq!(decision.memory.incident, None);
    assert_eq!(decision.reason, Reason::Held(Hold::DryRunRefused));
    observed.past.clear();
    check_opens(&observed, &policy(), State::RollingBack);
}

fn request(to: Option<&str>) -> Request {
    Request {
        name: "please".to_owned(),
        created: at(95),
        to: to.map(str::to_owned),
        reason: "it smells".to_owned(),
        requested_by: Some("alice".to_owned()),
        dry_run: false,
        drill: false,
    }
}

pub(super) fn asked_for(to: Option<&str>) -> Observed {
    let mut observed = healthy();
    observed.requests = vec![request(to)];
    observed
}

#[test]
fn whoever_asks_for_a_rollback_gets_one() {
    for to in [None, Some("1"), Some("900d900d")] {
        let incident = check_opens(&asked_for(to), &policy(), State::RollingBack);
        assert_eq!((&incident.from, &incident.to), (&bad(), &good()));
        assert_eq!(incident.name(&breached().workload), "please");
        assert!(!incident.was_decided_unasked());
    }
}

#[test]
fn a_policy_that_wants_approvals_wants_them_for_requests_too() {
    check_opens(&asked_for(None), &asking(), State::AwaitingApproval);
}

#[test]
fn what_people_go_back_from_is_withdrawn_and_what_triggers_convict_is_bad() {
    for (request, verdict) in [(None, Verdict::Bad), (Some("please"), Verdict::Withdrawn)] {
        let mut observed = during(State::RollingBack);
        if let Some(incident) = &mut observed.memory.incident {
            incident.request = request.map(|name| Asked {
                name: name.to_owned(),
                requested_by: None,
                reason: "it smells".to_owned(),
                drill: false,
            });
        }
        let decision = decided(&observed, &policy(), 101);
        assert_eq!(decision.memory.revisions[&bad()].verdict, verdict);
    }
}

#[test]
fn a_drill_says_nothing_about_the_revision_that_is_left() {
    let mut observed = asked_for(None);
    observed.requests[0].drill = true;
    let decision = decided(&observed, &policy(), 100);
    assert_eq!(decision.memory.incident, None);
    let [Effect::Decline { outcome, .. }] = &writes(&decision)[..] else {
        panic!("{:?}", decision.effects);
    };
    assert!(outcome.contains("known to have worked"), "{outcome}");

    let known = observed.memory.revisions.get_mut(&bad()).expect("known");
    known.verdict = Verdict::Good;
    let incident = check_opens(&observed, &policy(), State::RollingBack);
    observed.memory.incident = Some(incident);
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(decision.memory.revisions[&bad()].verdict, Verdict::Good);
}

#[test]
fn a_request_to_only_look_changes_nothing() {
    let mut observed = asked_for(None);
    observed.requests[0].dry_run = true;
    let decision = decided(&observed, &policy(), 100);
    assert_eq!(writes(&decision), Vec::<&Effect>::new());
    let incident = decision.memory.incident.expect("recorded");
    assert_eq!((incident.state, incident.to), (State::Observed, good()));
}

#[test]
fn a_request_that_cannot_be_carried_out_says_why() {
    for (to, why) in [
        (Some("7"), "\"7\""),
        (Some("900d"), "\"900d\""),
        (Some("2"), "is the one that runs"),
    ] {
        let decision = decided(&asked_for(to), &policy(), 100);
        let [Effect::Decline { request, outcome }] = writes(&decision)[..] else {
            panic!("{to:?}: {:?}", decision.effects);
        };
        assert_eq!(request, "please");
        assert!(outcome.contains(why), "{to:?}: {outcome}");
    }
}

#[test]
fn a_request_does_not_wait_for_the_end_of_another_incident() {
    for state in [State::AwaitingApproval, State::RollingBack] {
        let mut observed = during(state);
        observed.requests = vec![request(None)];
        let decision = decided(&observed, &policy(), 110);
        let declined = decision
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Decline { request, .. } if request == "please"));
        assert!(declined, "{:?}", decision.effects);
    }
}

#[test]
fn a_rollout_that_a_person_resumed_is_not_paused_again() {
    let mut observed = awaiting();
    observed.workload.rolling_update = true;
    let pause = Effect::PauseRollout { from: bad() };
    assert!(writes(&decided(&observed, &policy(), 110)).contains(&&pause));
    let name = incident(State::AwaitingApproval).name(&observed.workload);
    observed.workload.paused = true;
    observed.workload.paused_by = Some(name);
    let decision = decided(&observed, &policy(), 111);
    assert!(decision.memory.incident.as_ref().is_some_and(|i| i.paused));
    observed
        .memory
        .incident
        .clone_from(&decision.memory.incident);
    // Lifted, and the mark with it.
    observed.workload.paused = false;
    observed.workload.paused_by = None;
    let decision = decided(&observed, &policy(), 115);
    let again = decision
        .effects
        .iter()
        .any(|e| matches!(e, Effect::PauseRollout { .. }));
    assert!(!again, "{:?}", decision.effects);

    let mut observed = breached();
    observed.past.push(Attempt {
        paused: true,
        ..attempt(State::Superseded, false)
    });
    let incident = check_opens(&observed, &asking(), State::AwaitingApproval);
    assert!(!incident.pause_rollout);
}

#[test]
fn a_revision_in_quarantine_that_is_deployed_again_is_told_of() {
    let mut observed = healthy();
    let known = observed.memory.revisions.get_mut(&bad()).expect("known");
    known.number = 1;
    known.quarantine = Some(Enforcement::Warn);
    known.convicted = Some(at(0));
    let decision = decided(&observed, &policy(), 100);
    let told = decision
        .effects
        .iter()
        .any(|e| matches!(e, Effect::Announce(Announcement::BackFromQuarantine(_))));
    assert!(told, "{:?}", decision.effects);
}

fn settings(digest: &str) -> Config {
    let contents = Contents {
        keys: BTreeMap::from([
            (WHOLE.to_owned(), digest.to_owned()),
            ("url".to_owned(), digest.to_owned()),
        ]),
    };
    Config::from([(ConfigName::config_map("settings"), Some(contents))])
}

fn reads_settings(substance: &str) -> Facts {
    Facts {
        uses: ConfigUses::from([(ConfigName::config_map("settings"), ConfigUse::default())]),
        ..facts(substance)
    }
}

/// The good revision ran with one config, the bad one came with another.
fn with_config() -> Observed {
    let mut observed = with_facts(breached(), reads_settings("a"), reads_settings("b"));
    let revisions = &mut observed.memory.revisions;
    revisions.get_mut(&good()).expect("known").config = settings("old");
    revisions.get_mut(&bad()).expect("known").config = settings("new");
    observed.config = Some(settings("new"));
    observed.config_since = Some(at(70));
    observed
}

fn restoring() -> Policy {
    let mut policy = policy();
    policy.config.mode = ConfigMode::Restore;
    policy
}

fn with_copy(mut observed: Observed) -> Observed {
    let copies = BTreeMap::from([("settings".to_owned(), "settings-astern-1".to_owned())]);
    observed.copies = BTreeMap::from([(good(), copies)]);
    observed
}

#[test]
fn changed_config_asks_and_names_what_changed() {
    let incident = check_opens(&with_config(), &policy(), State::AwaitingApproval);
    let cap = &incident.caps[0];
    assert!(
        cap.starts_with("ConfigChanged: ConfigMap \"settings\" changed"),
        "{cap}"
    );

    let mut same = with_config();
    same.config = Some(settings("old"));
    check_opens(&same, &policy(), State::RollingBack);

    let mut ignoring = policy();
    ignoring.config.mode = ConfigMode::Ignore;
    check_opens(&with_config(), &ignoring, State::RollingBack);

    let mut excluding = policy();
    excluding.config.exclude.insert("settings".to_owned());
    check_opens(&with_config(), &excluding, State::RollingBack);
}

#[test]
fn missing_config_stops() {
    let mut observed = with_config();
    observed.config = Some(Config::from([(ConfigName::config_map("settings"), None)]));
    check_quiet(&observed, &policy(), &Reason::Held(Hold::ConfigMissing));
    // A copy is as good.
    let restored = restoration(&with_copy(observed), &restoring(), &good(), &Config::new());
    assert_eq!(restored.repoint["settings"], "settings-astern-1");
    assert_eq!(restored.missing, []);
}

#[test]
fn config_goes_back_where_it_came_with_the_release() {
    let restored = restoration(
        &with_copy(with_config()),
        &restoring(),
        &good(),
        &Config::new(),
    );
    assert_eq!(restored.repoint["settings"], "settings-astern-1");
    assert_eq!(restored.changed, []);

    // Without a copy people are asked.
    let restored = restoration(&with_config(), &restoring(), &good(), &Config::new());
    assert_eq!((restored.repoint.len(), restored.changed.len()), (0, 1));

    // What changed after the release was made is somebody's mend, and stays.
    let mut mended = with_copy(with_config());
    let known = mended.memory.revisions.get_mut(&bad()).expect("known");
    known.config = settings("old");
    let restored = restoration(&mended, &restoring(), &good(), &Config::new());
    assert_eq!(restored, Restoration::default());
}

#[test]
fn secrets_are_only_ever_checked() {
    let secret = ConfigName::secret("login");
    let held = |digest: &str| {
        let keys = BTreeMap::from([(WHOLE.to_owned(), digest.to_owned())]);
        Config::from([(secret.clone(), Some(Contents { keys }))])
    };
    let mut observed = with_config();
    let uses = ConfigUses::from([(secret.clone(), ConfigUse::default())]);
    observed.facts.get_mut(&good()).expect("known").uses = uses;
    observed
        .memory
        .revisions
        .get_mut(&good())
        .expect("known")
        .config = held("1");
    let restored = restoration(&with_copy(observed), &restoring(), &good(), &held("2"));
    assert_eq!((restored.repoint.len(), restored.changed.len()), (0, 1));
}

#[test]
fn a_release_of_nothing_but_config_has_something_to_go_back_to_only_where_it_is_restored() {
    let mut observed = with_config();
    observed.facts = BTreeMap::from([
        (good(), reads_settings("same")),
        (bad(), reads_settings("same")),
    ]);
    check_quiet(&observed, &policy(), &Reason::Held(Hold::OnlyConfigChanged));
    let mut observed = with_copy(observed);
    observed.inspections[0].repoint =
        BTreeMap::from([("settings".to_owned(), "settings-astern-1".to_owned())]);
    observed.inspections[0].restored = Some(other());
    let decision = decided(&observed, &restoring(), 100);
    let incident = decision.memory.incident.expect("opened");
    assert_eq!(
        (incident.state, incident.target()),
        (State::RollingBack, &other())
    );
}

#[test]
fn a_target_with_copies_is_recorded_before_it_is_written_and_takes_the_verdict_of_its_source() {
    let mut observed = with_copy(with_config());
    let mut open = incident(State::RollingBack);
    open.repoint = BTreeMap::from([("settings".to_owned(), "settings-astern-1".to_owned())]);
    open.restored = Some(other());
    observed.memory.incident = Some(open);
    let decision = decided(&observed, &restoring(), 110);
    let back = Effect::RollBack {
        from: bad(),
        to: other(),
        pause: None,
    };
    assert_eq!(writes(&decision), [&back]);
    let recorded = &decision.memory.revisions[&other()];
    assert_eq!(
        (recorded.verdict, &recorded.restored_from),
        (Verdict::Unproven, &Some(good()))
    );
    let copy = ConfigName::config_map("settings-astern-1");
    assert!(recorded.config.contains_key(&copy), "{:?}", recorded.config);

    observed.memory = decision.memory;
    observed.workload.template = other();
    observed.workload.rolled_back_by = Some(incident(State::RollingBack).name(&observed.workload));
    let decision = decided(&observed, &restoring(), 111);
    assert_eq!(decision.reason, Reason::Incident(State::Verifying));
    let restored = &decision.memory.revisions[&other()];
    assert_eq!(
        (restored.verdict, restored.proof),
        (Verdict::Good, Some(Proof::Full))
    );
}

#[test]
fn copies_are_made_as_long_as_the_config_is_what_the_revision_runs_with() {
    let keeps = |observed: &Observed, policy: &Policy| {
        let decision = decided(observed, policy, 100);
        decision
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::KeepConfig { .. }))
    };
    let mut observed = with_config();
    observed.evidence.clear();
    assert!(keeps(&observed, &restoring()));
    assert!(
        !keeps(&observed, &policy()),
        "only where config is restored"
    );
    observed.config = Some(settings("newer"));
    assert!(!keeps(&observed, &restoring()), "too late");
    observed.config = Some(settings("new"));
    let copies = BTreeMap::from([("settings".to_owned(), "settings-astern-2".to_owned())]);
    observed.copies = BTreeMap::from([(bad(), copies)]);
    assert!(!keeps(&observed, &restoring()), "once");
}

#[test]
fn config_that_changes_under_running_pods_is_told_at_once_and_taken_over_later() {
    let mut observed = with_config();
    observed.evidence.clear();
    let uses = &mut observed.facts.get_mut(&bad()).expect("known").uses;
    for wanted in uses.values_mut() {
        wanted.live = true;
    }
    observed.config = Some(settings("newer"));
    observed.config_since = Some(at(95));
    let decision = decided(&observed, &policy(), 100);
    let told = decision
        .effects
        .iter()
        .any(|e| matches!(e, Effect::Announce(Announcement::ConfigChanged(_))));
    assert!(told, "{:?}", decision.effects);
    assert_eq!(decision.memory.revisions[&bad()].config, settings("new"));
    let decision = decided(&observed, &policy(), 995);
    assert_eq!(decision.memory.revisions[&bad()].config, settings("newer"));
}

fn finding(about: &str) -> Finding {
    Finding {
        about: about.to_owned(),
        saw: "container \"app\" ends with exit code 3".to_owned(),
        attempt: "read its log".to_owned(),
    }
}

fn diagnosed(revision: Revision, second: i64, about: &str) -> Diagnosed {
    Diagnosed {
        at: at(second),
        revision,
        findings: vec![finding(about)],
    }
}

fn asks_why(decision: &Decision) -> Vec<(&Revision, &str)> {
    let effects = decision.effects.iter();
    effects
        .filter_map(|effect| {
            if let Effect::Diagnose {
                revision,
                replica_set,
            } = effect
            {
                Some((revision, replica_set.as_str()))
            } else {
                None
            }
        })
        .collect()
}

fn with_replica_set(mut observed: Observed, name: &str) -> Observed {
    observed.workload.replica_set = Some(name.to_owned());
    observed
}

#[test]
fn the_causes_are_looked_for_beside_the_rollback_and_once() {
    let mut observed = with_replica_set(during(State::RollingBack), "checkout-bad");
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(asks_why(&decision), [(&bad(), "checkout-bad")]);
    let back = Effect::RollBack {
        from: bad(),
        to: good(),
        pause: None,
    };
    assert!(writes(&decision).contains(&&back), "{:?}", decision.effects);
    observed.diagnosed = vec![diagnosed(bad(), 101, "pod/a")];
    let decision = decided(&observed, &policy(), 101);
    assert_eq!(asks_why(&decision), []);
    // No write of its own.
    assert_eq!(decision.memory.incident, observed.memory.incident);
}

#[test]
fn what_was_said_in_an_earlier_incident_is_asked_anew() {
    let mut observed = with_replica_set(during(State::RollingBack), "checkout-bad");
    observed.diagnosed = vec![diagnosed(bad(), 69, "pod/a")];
    assert_eq!(asks_why(&decided(&observed, &policy(), 101)).len(), 1);
}

#[test]
fn a_look_that_a_patch_waits_for_is_not_made_longer() {
    let mut observed = with_replica_set(during(State::RollingBack), "checkout-bad");
    observed.inspections.clear();
    let decision = decided(&observed, &policy(), 101);
    assert!(matches!(writes(&decision)[..], [Effect::Inspect { .. }]));
}

#[test]
fn what_was_found_is_written_with_the_next_state() {
    let mut observed = with_replica_set(during(State::RollingBack), "checkout-bad");
    observed.diagnosed = vec![diagnosed(bad(), 101, "pod/a")];
    observed.workload.template = good();
    observed.workload.rolled_back_by = Some(incident(State::RollingBack).name(&observed.workload));
    let decision = decided(&observed, &policy(), 102);
    let incident = decision.memory.incident.expect("open");
    assert_eq!(incident.state, State::Verifying);
    assert_eq!(incident.found.diagnosis, [finding("pod/a")]);
}

#[test]
fn an_operator_that_starts_after_the_patch_asks_by_the_recorded_name() {
    let mut observed = with_replica_set(verifying(), "checkout-good");
    assert_eq!(asks_why(&decided(&observed, &policy(), 110)), []);
    if let Some(incident) = &mut observed.memory.incident {
        incident.found.from_replica_set = Some("checkout-bad".to_owned());
    }
    let decision = decided(&observed, &policy(), 110);
    assert_eq!(asks_why(&decision), [(&bad(), "checkout-bad")]);
    observed.diagnosed = vec![diagnosed(bad(), 110, "pod/a")];
    observed.passing_since = Some(at(-10));
    let incident = check_closes(&observed, 111, State::Recovered);
    assert_eq!(incident.found.diagnosis, [finding("pod/a")]);
    assert_eq!(
        incident.found.to_replica_set.as_deref(),
        Some("checkout-good")
    );
}

#[test]
fn a_proposal_is_told_with_its_diagnosis_and_without_a_code_a_little_later() {
    let mut observed = with_replica_set(during(State::AwaitingApproval), "checkout-bad");
    observed.diagnosed = vec![diagnosed(bad(), 100, "pod/a")];
    observed.approvals_are_checked = false;
    let found = |observed: &Observed, second| {
        let decision = decided(observed, &asking(), second);
        decision.memory.incident.expect("open").found.diagnosis
    };
    assert_eq!(found(&observed, 109), []);
    assert_eq!(found(&observed, 110), [finding("pod/a")]);
    observed.approvals_are_checked = true;
    assert_eq!(found(&observed, 104), [finding("pod/a")], "with the code");
}

#[test]
fn an_incident_that_fails_says_what_is_wrong_with_the_restored_revision_first() {
    let mut observed = with_replica_set(verifying(), "checkout-good");
    observed.workload.rolled_out = false;
    if let Some(incident) = &mut observed.memory.incident {
        incident.found.diagnosis = vec![finding("pod/bad")];
    }
    let early = decided(&observed, &policy(), 680);
    assert_eq!(asks_why(&early), []);
    assert_eq!(early.look_again, Some(seconds(5)));
    let late = decided(&observed, &policy(), 685);
    assert_eq!(asks_why(&late), [(&good(), "checkout-good")]);
    observed.diagnosed = vec![diagnosed(good(), 686, "pod/good")];
    assert_eq!(asks_why(&decided(&observed, &policy(), 690)), []);
    let incident = check_closes(&observed, 700, State::Failed);
    assert_eq!(
        incident.found.diagnosis,
        [finding("pod/good"), finding("pod/bad")]
    );
}

#[test]
fn the_cost_is_counted_while_the_bad_revision_runs_and_after() {
    let opened = check_opens(&breached(), &policy(), State::RollingBack);
    let impact = opened.found.impact.expect("counted");
    assert_eq!((impact.failed, impact.total), (120, 400));

    let mut observed = verifying();
    let Evidence::Counters(counted) = counters(30.0) else {
        unreachable!("counters are counters");
    };
    let both = Counters {
        old: counted.new,
        ..Counters::default()
    };
    observed.evidence = BTreeMap::from([("server-errors".to_owned(), Evidence::Counters(both))]);
    if let Some(incident) = &mut observed.memory.incident {
        incident.found.impact = None;
        incident.found.from_replica_set = Some("checkout-bad".to_owned());
        incident.timings.decided = Some(at(-500));
    }
    let failed = check_closes(&observed, 110, State::Failed);
    assert_eq!(failed.found.impact.map(|impact| impact.failed), Some(120));
    // What was counted before stays, where less is seen now.
    let before = Some(Impact {
        failed: 999,
        ..impact
    });
    if let Some(incident) = &mut observed.memory.incident {
        incident.found.impact = before;
    }
    let failed = check_closes(&observed, 110, State::Failed);
    assert_eq!(failed.found.impact, before);
}

/// Recovered at second 110 but for where the traffic leads.
fn passing(traffic: Option<Traffic>) -> Observed {
    let mut observed = verifying();
    observed.passing_since = Some(at(-10));
    observed.followed = traffic.map(|traffic| Followed {
        at: at(110),
        to: good(),
        traffic,
    });
    observed
}

fn left_behind() -> Traffic {
    Traffic {
        ready: 4,
        services: vec![Serving {
            service: "checkout".to_owned(),
            selects: true,
            restored: 4,
            left: vec!["checkout-bad-x".to_owned()],
            ..Serving::default()
        }],
        ..Traffic::default()
    }
}

#[test]
fn recovery_waits_for_its_traffic_and_looks_for_it_last() {
    let mut early = passing(None);
    early.passing_since = Some(at(0));
    assert_eq!(writes(&decided(&early, &policy(), 110)), [] as [&Effect; 0]);
    let decision = decided(&passing(None), &policy(), 110);
    let follow = Effect::FollowTraffic {
        from: bad(),
        to: good(),
    };
    assert_eq!(writes(&decision), [&follow]);
    assert_eq!(decision.look_again, Some(SignedDuration::ZERO));
    assert_eq!(decision.passing_since, Some(at(-10)));

    let decision = decided(&passing(Some(left_behind())), &policy(), 110);
    assert_eq!(writes(&decision), [] as [&Effect; 0]);
    assert_eq!(decision.reason, Reason::Incident(State::Verifying));
    assert_eq!(decision.look_again, Some(seconds(10)));

    let mut stale = passing(Some(left_behind()));
    if let Some(followed) = &mut stale.followed {
        followed.at = at(100);
    }
    assert_eq!(writes(&decide(&stale, &policy(), at(110))), [&follow]);
    check_closes(&passing(Some(Traffic::default())), 110, State::Recovered);
}

#[test]
fn traffic_that_does_not_settle_in_time_fails_and_says_where_it_leads() {
    let mut observed = passing(Some(left_behind()));
    if let Some(incident) = &mut observed.memory.incident {
        incident.timings.decided = Some(at(-500));
    }
    let incident = check_closes(&observed, 110, State::Failed);
    assert!(
        incident.outcome.contains("checkout-bad-x"),
        "{}",
        incident.outcome
    );
}

#[test]
fn what_may_not_be_looked_at_is_told_and_holds_nothing_up() {
    let blind = Traffic {
        unseen: vec![Unseen {
            verb: "list",
            resource: "endpointslices.discovery.k8s.io".to_owned(),
            cause: UnseenCause::Forbidden,
        }],
        ..Traffic::default()
    };
    let incident = check_closes(&passing(Some(blind)), 110, State::Recovered);
    assert!(
        incident.outcome.contains("endpointslices"),
        "{}",
        incident.outcome
    );
    assert_eq!(incident.found.traffic.len(), 1);
}
