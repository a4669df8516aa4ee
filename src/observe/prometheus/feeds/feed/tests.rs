//! What is asked for, when, and for how many at once.

use super::*;
use crate::decide::{LabelNames, Probe};
use crate::observe::prometheus::buffer::{Column, Subject, Target};

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + seconds(1_000_000 + second)
}

fn series() -> Series {
    Series {
        source: "default".to_owned(),
        tenant: None,
        metric: Metric::Probes(Probe::Liveness),
        matchers: String::new(),
        labels: LabelNames::default(),
    }
}

fn need(namespace: &str, pace: Pace) -> Need<'_> {
    Need {
        namespace,
        from: at(-300),
        pace,
        threshold: None,
    }
}

/// Two samples of each of so many pods, `gap` seconds apart.
fn answer(namespace: &str, pods: usize, gap: i64) -> Outcome {
    let mut buffer = Buffer::default();
    for pod in 0..pods {
        let owner = (namespace.to_owned(), Subject::Pod(format!("pod-{pod}")));
        let target = Target {
            rank: 0,
            instance: 0,
            job: 0,
        };
        let values = [-gap, 0].map(|second| (at(second).as_millisecond(), 1.0));
        buffer.stream(owner, target).add(Column::Failed, &values);
    }
    Outcome::Samples(buffer)
}

fn failed(too_large: bool) -> Outcome {
    let cause = "cannot be reached".to_owned();
    Outcome::Failed {
        cause: Unknown::NoAnswer { cause },
        too_large,
    }
}

/// A feed that has everything about a namespace, asked for at 0 s.
fn covered(pace: Pace, pods: usize, gap: i64) -> Feed {
    let mut feed = Feed::default();
    feed.want(need("shop", pace), at(0));
    let plan = feed.plan(&series(), at(0)).expect("a plan");
    feed.take_in(&plan, at(0), answer("shop", pods, gap));
    feed
}

fn asked(feed: &mut Feed, now: i64) -> Option<(Purpose, Vec<String>, i64)> {
    let plan = feed.plan(&series(), at(now))?;
    Some((plan.purpose, plan.namespaces, plan.range.as_secs()))
}

#[test]
fn everything_back_to_the_release_is_asked_for_once_and_then_what_is_new() {
    let mut feed = Feed::default();
    assert!(feed.want(need("shop", Pace::Fast), at(0)));
    assert!(feed.want(need("bank", Pace::Fast), at(0)));
    let plan = feed.plan(&series(), at(0)).expect("a plan");
    assert_eq!(plan.purpose, Purpose::Backfill);
    assert_eq!(plan.namespaces, ["bank", "shop"]);
    assert_eq!(plan.range, seconds(300));
    feed.take_in(&plan, at(0), answer("shop", 1, 15));
    assert_eq!(feed.covers("bank"), Ok(at(0)));
    let both = vec!["bank".to_owned(), "shop".to_owned()];
    // What came in the last two scrapes is asked for again: it may have come late.
    let expected = Some((Purpose::Increment, both, 33));
    assert_eq!(asked(&mut feed, 3), expected);
}

#[test]
fn ticks_follow_the_scrape_interval() {
    for (gap, tick) in [(5, 1), (15, 3), (30, 6), (60, 10)] {
        let mut feed = covered(Pace::Fast, 1, gap);
        assert_eq!(feed.due(at(0)), at(tick), "{gap} s");
        assert_eq!(asked(&mut feed, tick - 1), None, "{gap} s");
        assert!(asked(&mut feed, tick).is_some(), "{gap} s");
    }
}

#[test]
fn large_answers_are_asked_for_more_seldom() {
    let few = covered(Pace::Fast, MANY, 10);
    assert_eq!(few.due(at(0)), at(2));
    let many = covered(Pace::Fast, MANY + 1, 10);
    assert_eq!(many.due(at(0)), at(5));
}

#[test]
fn what_is_only_looked_after_is_asked_for_once_a_minute() {
    let mut feed = covered(Pace::Slow, 1, 15);
    assert_eq!(feed.due(at(0)), at(60));
    // Somebody deploys.
    feed.want(need("shop", Pace::Fast), at(10));
    assert_eq!(feed.due(at(10)), at(3));
}

#[test]
fn a_new_namespace_and_a_known_one_take_turns() {
    let mut feed = covered(Pace::Fast, 1, 15);
    feed.want(need("bank", Pace::Fast), at(3));
    let (first, names, _) = asked(&mut feed, 3).expect("a plan");
    assert_eq!(
        (first, names),
        (Purpose::Increment, vec!["shop".to_owned()])
    );
    let (second, names, _) = asked(&mut feed, 3).expect("a plan");
    assert_eq!(
        (second, names),
        (Purpose::Backfill, vec!["bank".to_owned()])
    );
}

#[test]
fn an_outage_is_told_and_what_was_missed_is_asked_for_after_it() {
    let mut feed = covered(Pace::Fast, 1, 15);
    let plan = feed.plan(&series(), at(3)).expect("a plan");
    assert_eq!(feed.take_in(&plan, at(3), failed(false)), ["shop"]);
    let told = feed.covers("shop").expect_err("an outage");
    assert_eq!(told.name(), "MetricSourceUnavailable");
    let plan = feed.plan(&series(), at(63)).expect("a plan");
    // Nothing new to tell.
    assert!(feed.take_in(&plan, at(63), failed(false)).is_empty());
    let plan = feed.plan(&series(), at(93)).expect("a plan");
    assert_eq!(plan.range, seconds(93 + 30));
    feed.take_in(&plan, at(93), answer("shop", 1, 15));
    assert_eq!(feed.covers("shop"), Ok(at(93)));
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_in_halves() {
    let mut feed = Feed::default();
    let names: Vec<String> = (0..8).map(|number| format!("team-{number}")).collect();
    for name in &names {
        feed.want(need(name, Pace::Fast), at(0));
    }
    for (now, expected) in [(0, 8), (2, 4), (4, 2), (6, 1)] {
        let plan = feed.plan(&series(), at(now)).expect("a plan");
        assert_eq!(plan.namespaces.len(), expected, "at {now} s");
        feed.take_in(&plan, at(now), failed(true));
    }
}

#[test]
fn a_new_threshold_is_asked_for_from_the_beginning() {
    let mut feed = covered(Pace::Fast, 1, 15);
    let more = Need {
        threshold: Some(0.3),
        ..need("shop", Pace::Fast)
    };
    assert!(feed.want(more, at(1)));
    assert!(feed.covers("shop").is_err());
    let (purpose, ..) = asked(&mut feed, 1).expect("a plan");
    assert_eq!(purpose, Purpose::Backfill);
    assert!(!feed.want(more, at(1)));
}

#[test]
fn what_nobody_wants_is_forgotten() {
    let mut feed = covered(Pace::Fast, 1, 15);
    assert!(feed.tidy(at(150)));
    assert!(!feed.tidy(at(151)));
    assert!(feed.buffer.is_empty());
}
