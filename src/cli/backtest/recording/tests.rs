//! What could be seen when.

use super::*;
use crate::decide::{Mode, Revision};

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

fn samples(seconds: &[i64]) -> Vec<Sample> {
    let sample = |second: &i64| Sample {
        at: at(*second),
        total: 1.0,
        failed: 0.0,
    };
    seconds.iter().map(sample).collect()
}

/// Begins at second 0. The old pod was there before, the new one came at 1010.
fn recording() -> Recording {
    let old: Vec<i64> = (0..1040).step_by(15).collect();
    let new: Vec<i64> = (1010..1200).step_by(15).collect();
    let pods = [
        ("checkout-b4-aaaaa", samples(&old)),
        ("checkout-c5-bbbbb", samples(&new)),
    ];
    let pods = pods.map(|(pod, samples)| (pod.to_owned(), samples));
    let counters = Recorded::Counters {
        preset: None,
        pods: pods.into_iter().collect(),
    };
    let values = [30, 45, 60].map(|second| ValueAt {
        at: at(second),
        value: 1.0,
    });
    Recording {
        interval: SignedDuration::from_secs(15),
        recorded: [
            ("errors".to_owned(), counters),
            ("pool".to_owned(), Recorded::Values(values.to_vec())),
            ("pager".to_owned(), Recorded::Firing(vec![at(30), at(60)])),
        ]
        .into(),
        begins: Some(at(0)),
        reach: SignedDuration::from_secs(600),
        ..Recording::default()
    }
}

#[test]
fn nothing_of_the_future_is_seen_and_nothing_beyond_reach() {
    let evidence = recording().evidence(&release("checkout-c5"), at(1040));
    let Some(Evidence::Counters(counters)) = evidence.get("errors") else {
        panic!("{evidence:?}");
    };
    let times = |pods: &[PodCounters]| -> Vec<i64> {
        let samples = pods.iter().flat_map(|pod| &pod.samples);
        samples
            .map(|sample| sample.at.duration_since(at(0)).as_secs())
            .collect()
    };
    assert_eq!(times(&counters.new), [1010, 1025, 1040]);
    let old = times(&counters.old);
    assert_eq!((old.first(), old.last()), (Some(&450), Some(&1035)));
    let early = recording().evidence(&release("checkout-c5"), at(50));
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
}

#[test]
fn a_pod_is_born_a_scrape_before_its_first_sample_unless_the_recording_begins_there() {
    let recording = recording();
    let born = |pod: &str| {
        let all = recording
            .counters("errors", |name| name == pod)
            .expect("counters");
        all[0].born
    };
    assert_eq!(born("checkout-c5-bbbbb"), at(995));
    assert!(born("checkout-b4-aaaaa") <= at(-600));
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

#[test]
fn queries_ask_for_the_pods_of_the_deployment_and_no_others() {
    assert_eq!(
        pods_of(&release("check.out-c5")),
        format!(r"check\\.out-c5-{LETTERS}{{5}}")
    );
    let labels = [("alertname".to_owned(), "a\"b".to_owned())];
    let rule = Alert {
        labels: labels.into(),
        sustained: SignedDuration::ZERO,
    };
    assert_eq!(
        alerts(&rule, "shop"),
        r#"ALERTS{alertstate="firing",namespace="shop",alertname="a\"b"}"#
    );
}

#[test]
fn the_worst_series_counts_at_each_time() {
    let row = |values: &[(i64, f64)]| Row {
        labels: BTreeMap::new(),
        values: values
            .iter()
            .map(|(second, value)| (at(*second), *value))
            .collect(),
    };
    let rows = [row(&[(0, 1.0), (15, 5.0)]), row(&[(0, 3.0), (30, 2.0)])];
    let found = |bound| -> Vec<f64> {
        let values = worst(&rows, bound);
        values.iter().map(|value| value.value).collect()
    };
    assert_eq!(found(Bound::Above(0.0)), [3.0, 5.0, 2.0]);
    assert_eq!(found(Bound::Below(0.0)), [1.0, 5.0, 2.0]);
}

#[test]
fn as_much_is_asked_for_as_the_longest_window_needs() {
    let source = Source::plain(
        std::sync::Arc::new(crate::port::simulated::SimulatedCluster::new(
            crate::port::simulated::Settings::default(),
        )),
        "http://prometheus.example",
        crate::port::Access::default(),
    );
    let window = |hours| Trigger {
        name: "crashes".to_owned(),
        mode: Some(Mode::Observe),
        kind: TriggerKind::Restarts(crate::decide::Restarts {
            threshold: 3,
            window: SignedDuration::from_hours(hours),
            pods: crate::decide::Ratio(0.2),
        }),
    };
    let reach = |triggers: &[Trigger]| {
        let desk = Desk {
            source: &source,
            namespace: "shop",
            deployment: "checkout",
            triggers,
            has_kube_state: false,
        };
        desk.reach()
    };
    assert_eq!(reach(&[]), REACH);
    assert_eq!(
        reach(&[window(3)]),
        SignedDuration::from_hours(3) + BEFORE_THE_WINDOW
    );
}
