//! Which shape is chosen for a workload, and for how long.

use super::*;
use crate::decide::{LabelNames, Preset};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second)
}

fn of(preset: Preset) -> SpecId {
    SpecId::of(preset).next().unwrap_or_else(SpecId::fallback)
}

fn sought(namespace: &str) -> Sought<'_> {
    let candidates = vec![
        of(Preset::Istio),
        of(Preset::Micrometer),
        of(Preset::Traefik),
    ];
    Sought {
        series: Series {
            source: "default".to_owned(),
            tenant: None,
            metric: Metric::Requests(candidates[0]),
            matchers: String::new(),
            labels: LabelNames::default(),
        },
        candidates,
        namespace,
        workload: "checkout",
    }
}

fn pod(namespace: &str) -> Owner {
    (namespace.to_owned(), Subject::Pod("checkout-1".to_owned()))
}

fn traefik(namespace: &str) -> Owner {
    let service = format!("{namespace}-checkout-80");
    (String::new(), Subject::TraefikService(service))
}

fn wanted(finder: &mut Finder, namespace: &str, now: Timestamp) -> Option<Preset> {
    let owners = |id: SpecId| {
        if id == of(Preset::Traefik) {
            vec![traefik(namespace)]
        } else {
            vec![pod(namespace)]
        }
    };
    let found = finder.wanted(&sought(namespace), &owners, now);
    found.ok().map(|id| id.spec().preset)
}

/// Answers every question that is due. Only `data` is there.
fn answer(finder: &mut Finder, data: &[(Preset, Owner)], now: Timestamp) -> usize {
    let questions = finder.start(now);
    for (search, series, namespaces) in &questions {
        let Metric::Requests(candidate) = series.metric else {
            continue;
        };
        let here = data
            .iter()
            .filter(|(preset, owner)| of(*preset) == candidate && is_asked_for(owner, namespaces));
        let found = here.map(|(_, owner)| owner.clone()).collect();
        finder.take_in(search, candidate, namespaces, Ok(found));
    }
    questions.len()
}

#[test]
fn the_first_shape_that_has_data_for_the_workload_is_chosen() {
    let mut finder = Finder::default();
    assert_eq!(wanted(&mut finder, "shop", at(0)), None);
    let data = [
        (Preset::Istio, pod("elsewhere")),
        (Preset::Traefik, traefik("shop")),
        (Preset::Micrometer, pod("shop")),
    ];
    assert_eq!(answer(&mut finder, &data, at(0)), 3);
    assert_eq!(wanted(&mut finder, "shop", at(1)), Some(Preset::Micrometer));
}

#[test]
fn what_was_chosen_is_remembered_as_long_as_the_workload_is_judged() {
    let mut finder = Finder::default();
    wanted(&mut finder, "shop", at(0));
    answer(&mut finder, &[(Preset::Micrometer, pod("shop"))], at(0));
    for minute in 0..30 {
        let now = at(1 + 60 * minute);
        // Something that would have come first has data now, and is not even asked for.
        let later = [(Preset::Istio, pod("shop"))];
        assert_eq!(wanted(&mut finder, "shop", now), Some(Preset::Micrometer));
        finder.tidy(now);
        let asked = answer(&mut finder, &later, now);
        assert!(
            asked == 0 || minute < 2,
            "{asked} questions in minute {minute}"
        );
    }
}

#[test]
fn a_shape_that_comes_first_and_gave_no_answer_is_waited_for() {
    let mut finder = Finder::default();
    wanted(&mut finder, "shop", at(0));
    for (search, series, namespaces) in finder.start(at(0)) {
        let Metric::Requests(candidate) = series.metric else {
            continue;
        };
        let found = if candidate == of(Preset::Istio) {
            Err(Unknown::NoData)
        } else {
            Ok(BTreeSet::from([pod("shop"), traefik("shop")]))
        };
        finder.take_in(&search, candidate, &namespaces, found);
    }
    assert_eq!(wanted(&mut finder, "shop", at(1)), None);
    let data = [(Preset::Istio, pod("shop"))];
    assert_eq!(answer(&mut finder, &data, at(11)), 3);
    assert_eq!(wanted(&mut finder, "shop", at(12)), Some(Preset::Istio));
}

#[test]
fn an_answer_about_other_namespaces_takes_nothing_away() {
    for (namespace, other) in [("shop", "bank"), ("shop-eu", "shop")] {
        let mut finder = Finder::default();
        let data = [(Preset::Traefik, traefik(namespace))];
        wanted(&mut finder, namespace, at(0));
        answer(&mut finder, &data, at(0));
        wanted(&mut finder, other, at(1));
        assert_eq!(answer(&mut finder, &data, at(1)), 3);
        let chosen = wanted(&mut finder, namespace, at(2));
        assert_eq!(chosen, Some(Preset::Traefik), "{namespace} {other}");
    }
}
