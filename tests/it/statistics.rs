//! The statistics in use agree with an independent implementation: `benches/judging/golden.py`.

use astern::decide::sequential::{Caps, Pair, Worse, is_surely_over, log_odds_over};
use astern::decide::{Counted, Ratio};
use serde_json::Value;

#[path = "../../benches/judging/mann_whitney.rs"]
mod mann_whitney;
#[path = "../../benches/judging/random.rs"]
pub(crate) mod random;

use random::Random;

fn golden(group: &str) -> Vec<Value> {
    let text = include_str!("../../benches/judging/golden.json");
    let golden: Value = serde_json::from_str(text).expect("JSON");
    let cases = golden[group].as_array().expect("a group").clone();
    assert!(!cases.is_empty());
    cases
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().expect("numbers");
    values.iter().map(number).collect()
}

fn counted(value: &Value) -> Counted {
    Counted {
        total: number(&value[0]),
        failed: number(&value[1]),
    }
}

#[track_caller]
fn check(found: f64, expected: f64, case: &Value) {
    let error = (found - expected).abs();
    assert!(
        error <= 1e-9 * expected.abs() + 1e-300,
        "{found} instead of {expected}: {case}"
    );
}

#[test]
fn mann_whitney_agrees() {
    for case in golden("mann_whitney") {
        let [first, second] = ["first", "second"].map(|key| numbers(&case[key]));
        let found = mann_whitney::first_is_larger(&first, &second).expect("not all equal");
        check(found, number(&case["p"]), &case);
    }
    assert!(mann_whitney::first_is_larger(&[1.0, 1.0], &[1.0]).is_none());
    assert!(mann_whitney::first_is_larger(&[], &[1.0]).is_none());
}

#[test]
fn the_normal_tail_agrees() {
    for case in golden("normal_tail") {
        let found = mann_whitney::normal_tail(number(&case["z"]));
        check(found, number(&case["p"]), &case);
    }
}

#[test]
fn the_divergence_from_a_limit_agrees() {
    for case in golden("log_odds_over") {
        let [total, failed, limit, nats] =
            ["total", "failed", "limit", "nats"].map(|key| number(&case[key]));
        let found = log_odds_over(Counted { total, failed }, Ratio(limit));
        check(found, nats, &case);
    }
}

/// The least count whose exact binomial tail is at most 5 % is found, or one more: never less.
#[test]
fn what_is_surely_over_is_so_by_the_exact_tail() {
    for case in golden("surely_over") {
        let [total, limit, least] = ["total", "limit", "least"].map(|key| number(&case[key]));
        let over = |failed: f64| is_surely_over(Counted { total, failed }, Ratio(limit));
        assert!(!over(least - 1.0), "{case}");
        assert!(over(least + 1.0), "{case}");
    }
}

#[test]
fn the_mixture_of_likelihood_ratios_agrees() {
    let uncapped = Caps {
        pod: f64::INFINITY,
        clients: 0.0,
        by_spread: false,
        without_worst_pod: f64::NEG_INFINITY,
    };
    for case in golden("mixture") {
        let mut worse = Worse::than(number(&case["factor"]), uncapped);
        worse.scrape(&[Pair {
            pod: 0,
            new: counted(&case["new"]),
            old: counted(&case["old"]),
        }]);
        check(worse.log_evidence(), number(&case["nats"]), &case);
    }
}

/// Returns how many standard errors the share of draws that are at most `limit` is off.
fn errors_off(limit: f64, expected: f64, mut draw: impl FnMut() -> f64) -> f64 {
    let draws = 200_000_u32;
    let below = (0..draws).filter(|_| draw() <= limit).count();
    let below = f64::from(u32::try_from(below).expect("no more than drawn"));
    let share = below / f64::from(draws);
    (share - expected).abs() / (expected * (1.0 - expected) / f64::from(draws)).sqrt()
}

#[test]
fn simulated_counts_are_distributed_as_they_should() {
    let mut random = Random::of(5, 5);
    for case in golden("poisson") {
        for point in case["cdf"].as_array().expect("points") {
            let (limit, expected) = (number(&point[0]), number(&point[1]));
            let off = errors_off(limit, expected, || random.poisson(number(&case["mean"])));
            assert!(off < 4.0, "{off} standard errors: {case}");
        }
    }
    for case in golden("gamma") {
        for point in case["cdf"].as_array().expect("points") {
            let (limit, expected) = (number(&point[0]), number(&point[1]));
            let off = errors_off(limit, expected, || random.gamma(number(&case["shape"])));
            assert!(off < 4.0, "{off} standard errors: {case}");
        }
    }
}
