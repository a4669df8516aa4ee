//! What could be seen when.

use serde_json::json;

use super::*;
use crate::api::parse;
use crate::cli::backtest::replay::tests::subject;
use crate::decide::{Current, Pod, PodCounters, Revision, Workload};
use crate::observe::prometheus::buffer::{Column, Target};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn release(set: &str) -> Release {
    Release {
        set: set.to_owned(),
        revision: Revision(set.to_owned()),
        number: None,
        images: Vec::new(),
        created: None,
        from: at(1000),
        dated: super::super::history::Dated::Pods,
        until: None,
        rolled_out: None,
    }
}

/// A counter of one pod, scraped at these seconds.
fn count(buffer: &mut Buffer, pod: &str, seconds: impl Iterator<Item = i64>) {
    let owner = ("shop".to_owned(), About::Pod(pod.to_owned()));
    let values: Vec<(i64, f64)> = seconds
        .map(|second| (at(second).as_millisecond(), 1.0))
        .collect();
    buffer.stream(owner, TARGET).add(Column::Succeeded, &values);
}

const TARGET: Target = Target {
    rank: 0,
    instance: 1,
    job: 2,
};

/// Begins at second 0. The old pod was there before, the new one came at 1010.
fn recording() -> Recording {
    let mut requests = Buffer::default();
    count(&mut requests, "checkout-b4-bbbbb", (0..1040).step_by(15));
    count(&mut requests, "checkout-c5-ccccc", (1010..1200).step_by(15));
    // Another Deployment's, which a query of somebody's own let in.
    count(&mut requests, "payments-c5-ddddd", (0..1200).step_by(5));
    let mut fires = Buffer::default();
    let firing: Vec<(i64, f64)> = [30, 60]
        .map(|second| (at(second).as_millisecond(), 1.0))
        .into();
    let here = ("shop".to_owned(), About::All);
    fires.stream(here, TARGET).add(Column::Total, &firing);
    let values = [-100, 30, 45, 60].map(|second| ValueAt {
        at: at(second),
        value: 1.0,
    });
    let recorded = [
        ("errors".to_owned(), Recorded::Custom(requests)),
        (
            "pool".to_owned(),
            Recorded::Values {
                values: values.to_vec(),
                range: SignedDuration::from_secs(120),
            },
        ),
        ("pager".to_owned(), Recorded::Alert(fires)),
        ("quiet".to_owned(), Recorded::Missing(Unknown::NoData)),
    ];
    Recording::new(recorded.into(), KubeState::default(), &subject(), at(0))
}

fn triggers() -> Vec<Trigger> {
    let object = json!({
        "metadata": {"name": "checkout"},
        "spec": {"triggers": [
            {"name": "errors", "errorRate": {"custom": {"total": "a", "errors": "b"}, "threshold": "5%"}},
            {"name": "pool", "promql": {"query": "c", "above": "1"}},
            {"name": "pager", "alert": {"matchLabels": {"alertname": "Down"}}},
            {"name": "quiet", "probeFailures": {"probe": "Liveness"}},
        ]},
    });
    parse::rollback_policy(&object)
        .expect("a policy")
        .policy
        .triggers
}

/// The evidence at a moment, with the pods that had been scraped by then.
fn evidence(second: i64, attention: Attention) -> BTreeMap<String, Evidence> {
    let (recording, subject, release) = (recording(), subject(), release("checkout-c5"));
    let pods = recording.scraped(at(second)).into_iter();
    let pods = pods.filter(|(pod, _)| release.owns(pod));
    let observed = Observed {
        pods: pods
            .map(|(pod, born)| Pod {
                name: pod.to_owned(),
                born,
                ..Pod::default()
            })
            .collect(),
        workload: Workload {
            current: Some(Current {
                number: 2,
                created: at(1000),
            }),
            ..Workload::default()
        },
        ..Observed::default()
    };
    let moment = Moment {
        subject: &subject,
        release: &release,
        observed: &observed,
        attention,
        now: at(second),
    };
    recording.evidence(&triggers(), moment)
}

fn counters(evidence: &BTreeMap<String, Evidence>) -> &Counters {
    let Some(Evidence::Counters(counters)) = evidence.get("errors") else {
        panic!("{evidence:?}");
    };
    counters
}

fn times(pods: &[PodCounters]) -> Vec<i64> {
    let samples = pods.iter().flat_map(|pod| &pod.samples);
    samples
        .map(|sample| sample.at.duration_since(at(0)).as_secs())
        .collect()
}

#[test]
fn nothing_of_the_future_is_seen_and_nothing_that_an_operator_forgets() {
    let late = evidence(1040, Attention::Close);
    assert_eq!(times(&counters(&late).new), [1010, 1025, 1040]);
    let old = times(&counters(&late).old);
    assert_eq!((old.first(), old.last()), (Some(&0), Some(&1035)));
    let much_later = evidence(1000 + 3600, Attention::Close);
    assert_eq!(times(&counters(&much_later).old).first(), Some(&1005));
    let early = evidence(50, Attention::Close);
    let Some(Evidence::Values(values)) = early.get("pool") else {
        panic!("{early:?}");
    };
    assert_eq!(
        values.iter().map(|value| value.at).collect::<Vec<_>>(),
        [at(30), at(45)]
    );
    let Some(Evidence::Firing(firing)) = early.get("pager") else {
        panic!("{early:?}");
    };
    assert_eq!(
        (firing.seen.as_slice(), firing.asked),
        ([at(30)].as_slice(), Some(at(50)))
    );
    assert_eq!(
        early.get("quiet"),
        Some(&Evidence::Missing(Unknown::NoData))
    );
}

#[test]
fn what_gives_no_values_any_more_is_an_empty_answer() {
    let late = evidence(300, Attention::Close);
    assert_eq!(
        late.get("pool"),
        Some(&Evidence::Missing(Unknown::EmptyAnswer))
    );
}

#[test]
fn after_its_probation_a_release_is_seen_as_an_operator_sees_it_that_watches_no_pods() {
    let late = evidence(1040, Attention::Seldom);
    let counters = counters(&late);
    assert_eq!(times(&counters.old), Vec::<i64>::new());
    assert_eq!(counters.new[0].born, at(1000), "as old as the ReplicaSet");
}

#[test]
fn a_pod_is_born_a_scrape_before_its_first_sample_unless_the_recording_begins_there() {
    let late = evidence(1040, Attention::Close);
    let counters = counters(&late);
    assert_eq!(counters.new[0].born, at(995));
    assert!(counters.old[0].born <= at(-600));
}

#[test]
fn all_that_a_trigger_counted_is_there_for_the_reckoning() {
    let (recording, subject) = (recording(), subject());
    let [errors, pool, ..] = &triggers()[..] else {
        panic!("no triggers");
    };
    let whole = recording.whole(errors, &subject, &release("checkout-c5"));
    assert_eq!(whole.expect("counters").new[0].samples.len(), 13);
    assert_eq!(
        recording.whole(pool, &subject, &release("checkout-c5")),
        None
    );
}

#[test]
fn the_rollout_is_over_when_the_old_pods_are_not_scraped_any_more() {
    let recording = recording();
    let new = release("checkout-c5");
    assert_eq!(recording.only(&new, at(1040)), Some(false));
    assert_eq!(recording.only(&new, at(1085)), Some(true));
    assert_eq!(
        recording.only(&new, at(5000)),
        Some(false),
        "nothing is left at all"
    );
    assert_eq!(Recording::default().only(&new, at(1085)), None);
}
