//! How often sources are asked. What they say is tested in `answer`.

use super::*;
use crate::decide::Preset;
use crate::observe::prometheus::presets::Metric;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn series() -> Series {
    Series {
        source: "default".to_owned(),
        metric: Metric::Requests(Preset::HttpRequests),
        matchers: String::new(),
    }
}

const RANGE: SignedDuration = SignedDuration::from_secs(60);

fn due(feeds: &Feeds, second: i64) -> Vec<Vec<String>> {
    let (jobs, _) = feeds.due(at(second));
    jobs.into_iter()
        .map(|job| {
            let mut namespaces = job.namespaces.clone();
            namespaces.sort();
            let _ = feeds.take_in(
                Done {
                    job,
                    samples: Ok(Samples::new()),
                },
                at(second),
            );
            namespaces
        })
        .collect()
}

#[test]
fn all_namespaces_share_one_request_per_tick() {
    let feeds = Feeds::default();
    for namespace in ["shop", "pay"] {
        let _ = feeds.wanted(&series(), namespace, RANGE, at(0));
    }
    assert_eq!(due(&feeds, 0), [["pay", "shop"]]);
    assert_eq!(due(&feeds, 1), Vec::<Vec<String>>::new());
    assert_eq!(due(&feeds, 2), [["pay", "shop"]]);
}

#[test]
fn a_request_that_is_under_way_is_not_sent_again() {
    let feeds = Feeds::default();
    let _ = feeds.wanted(&series(), "shop", RANGE, at(0));
    let (jobs, _) = feeds.due(at(0));
    assert_eq!(jobs.len(), 1);
    let _ = feeds.wanted(&series(), "pay", RANGE, at(1));
    let (jobs, _) = feeds.due(at(50));
    assert!(jobs.is_empty());
}

#[test]
fn a_new_namespace_or_a_longer_range_has_no_answer_yet() {
    let feeds = Feeds::default();
    assert!(feeds.wanted(&series(), "shop", RANGE, at(0)).is_none());
    due(&feeds, 0);
    assert!(feeds.wanted(&series(), "shop", RANGE, at(1)).is_some());
    assert!(feeds.wanted(&series(), "pay", RANGE, at(1)).is_none());
    due(&feeds, 1);
    assert!(feeds.wanted(&series(), "pay", RANGE * 2, at(1)).is_none());
}

#[test]
fn what_nobody_wants_is_not_asked_for() {
    let feeds = Feeds::default();
    let _ = feeds.wanted(&series(), "shop", RANGE, at(0));
    assert_eq!(due(&feeds, 90), [["shop"]]);
    assert_eq!(due(&feeds, 200), Vec::<Vec<String>>::new());
    assert!(feeds.lock().is_empty());
}

#[test]
fn ticks_follow_the_scrape_interval() {
    for (interval, tick) in [(None, 2), (Some(1), 1), (Some(5), 2), (Some(60), 15)] {
        let feed = Feed {
            interval: interval.map(SignedDuration::from_secs),
            ..Feed::default()
        };
        assert_eq!(feed.tick().as_secs(), tick);
    }
}
