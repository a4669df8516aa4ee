//! Levels by simulation with a fixed seed, and the shape of the functions.

#![expect(
    clippy::float_cmp,
    reason = "whole numbers, or exactly the same arithmetic"
)]

use super::*;

const UNCAPPED: Caps = Caps {
    pod: f64::INFINITY,
    clients: 0.0,
    by_spread: false,
    without_worst_pod: f64::NEG_INFINITY,
};

fn counted(total: f64, failed: f64) -> Counted {
    Counted { total, failed }
}

fn pair(new: (f64, f64), old: (f64, f64)) -> Pair {
    Pair {
        pod: 0,
        new: counted(new.0, new.1),
        old: counted(old.0, old.1),
    }
}

fn evidence(factor: f64, pairs: &[Pair]) -> f64 {
    let mut worse = Worse::than(factor, UNCAPPED);
    for pair in pairs {
        worse.scrape(&[*pair]);
    }
    worse.log_evidence()
}

/// A linear congruential generator (Knuth, MMIX): good enough to toss coins with its upper bits.
struct Coins(u64);

impl Coins {
    fn toss(&mut self, probability: f64) -> bool {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        #[expect(clippy::cast_precision_loss, reason = "31 bits")]
        let uniform = (self.0 >> 33) as f64 / f64::from(1_u32 << 31);
        uniform < probability
    }

    fn count(&mut self, total: u32, probability: f64) -> f64 {
        let failed = (0..total).filter(|_| self.toss(probability)).count();
        f64::from(u32::try_from(failed).expect("at most the total"))
    }
}

/// Returns in how many of 4,000 rollouts the evidence was e^`level` at any of 60 looks.
fn alarms(factor: f64, caps: Caps, level: f64, seed: u64) -> usize {
    let mut coins = Coins(seed);
    (0..4_000)
        .filter(|_| {
            let mut worse = Worse::than(factor, caps);
            (0..60).any(|_| {
                let new = coins.count(15, 0.06 * factor);
                let old = coins.count(30, 0.06);
                worse.scrape(&[pair((15.0, new), (30.0, old))]);
                worse.log_evidence() >= level
            })
        })
        .count()
}

#[test]
fn what_is_not_worse_is_called_worse_no_more_often_than_the_level() {
    // The limit: 4,000 times 1 %, and three standard deviations.
    for (factor, seed) in [(1.0, 1), (3.0, 2)] {
        let alarms = alarms(factor, UNCAPPED, 100_f64.ln(), seed);
        assert!(alarms <= 40 + 19, "{alarms} of 4,000 at factor {factor}");
        // And it is a test, not a stone.
        assert!(alarms > 2, "{alarms} of 4,000 at factor {factor}");
    }
    assert_eq!(alarms(1.0, UNCAPPED, 1e5_f64.ln(), 3), 0);
}

#[test]
fn a_rate_at_its_limit_is_called_over_it_no_more_often_than_the_level() {
    for (total, seed) in [(20, 4), (100, 5), (1_000, 6)] {
        let mut coins = Coins(seed);
        let alarms = (0..4_000)
            .filter(|_| {
                let failed = coins.count(total, 0.05);
                is_surely_over(counted(f64::from(total), failed), Ratio(0.05))
            })
            .count();
        assert!((1..=200).contains(&alarms), "{alarms} of 4,000");
    }
}

#[test]
fn each_new_error_says_more_and_each_old_one_less() {
    let new: Vec<f64> = (0..50)
        .map(|errors| evidence(1.0, &[pair((100.0, f64::from(errors)), (300.0, 4.0))]))
        .collect();
    assert!(new.is_sorted_by(|less, more| less < more));
    let old: Vec<f64> = (0..50)
        .map(|errors| evidence(1.0, &[pair((100.0, 9.0), (300.0, f64::from(errors)))]))
        .collect();
    assert!(old.is_sorted_by(|more, less| more > less));
}

#[test]
fn equal_rates_speak_against_it() {
    assert!(evidence(1.0, &[pair((100.0, 5.0), (300.0, 15.0))]) < 0.0);
    assert!(evidence(3.0, &[pair((100.0, 15.0), (300.0, 15.0))]) < 0.0);
    assert_eq!(evidence(1.0, &[pair((100.0, 0.0), (300.0, 0.0))]), 0.0);
}

/// What one pair says depends on shares only, so it may be cut into parts that are alike.
#[test]
fn a_scrape_in_ten_parts_says_the_same() {
    let whole = evidence(1.0, &[pair((100.0, 20.0), (300.0, 10.0))]);
    let parts = evidence(1.0, &[pair((10.0, 2.0), (30.0, 1.0)); 10]);
    assert!((whole - parts).abs() < 1e-9);
}

#[test]
fn it_does_not_matter_which_pod_of_a_scrape_failed() {
    let mut one = Worse::than(1.0, UNCAPPED);
    one.scrape(&[pair((100.0, 20.0), (300.0, 10.0))]);
    let mut two = Worse::than(1.0, UNCAPPED);
    two.scrape(&[
        pair((50.0, 15.0), (150.0, 2.0)),
        pair((50.0, 5.0), (150.0, 8.0)),
    ]);
    assert!((one.log_evidence() - two.log_evidence()).abs() < 1e-9);
}

#[test]
fn a_growing_share_of_the_traffic_is_not_a_growing_share_of_the_errors() {
    // An outage while the new pods get most of the traffic, quiet before.
    let quiet = pair((10.0, 0.0), (990.0, 0.0));
    let outage = pair((900.0, 90.0), (100.0, 10.0));
    assert!(evidence(1.0, &[quiet, outage]) < 0.0);
}

#[test]
fn one_pod_says_no_more_in_one_scrape_than_its_cap() {
    let caps = Caps {
        pod: 3.0,
        ..UNCAPPED
    };
    let flood = pair((1e6, 1e6), (1e6, 0.0));
    let mut one = Worse::than(1.0, caps);
    one.scrape(&[flood]);
    assert!((one.log_evidence() - 3.0).abs() < 1e-9);
    let mut three = Worse::than(1.0, caps);
    three.scrape(&[flood; 3]);
    assert!((three.log_evidence() - 9.0).abs() < 1e-9);
}

#[test]
fn failures_that_may_be_of_few_clients_are_not_conclusive() {
    let caps = Caps {
        clients: 5.0,
        ..UNCAPPED
    };
    let of = |failed: f64| {
        let mut worse = Worse::than(1.0, caps);
        worse.scrape(&[pair((100.0, failed), (300.0, 0.0)); 4]);
        worse.is_conclusive()
    };
    // Four clients with four tries each, on four pods.
    assert!(!of(4.0));
    assert!(of(5.0));
}

#[test]
fn one_bad_pod_of_two_is_not_conclusive() {
    let caps = Caps {
        without_worst_pod: 4.0,
        ..UNCAPPED
    };
    let conclusive = |pods: &[(usize, f64)]| {
        let mut worse = Worse::than(1.0, caps);
        let pairs = pods.iter().map(|(pod, failed)| Pair {
            pod: *pod,
            ..pair((100.0, *failed), (300.0, 0.0))
        });
        worse.scrape(&pairs.collect::<Vec<_>>());
        worse.is_conclusive()
    };
    assert!(!conclusive(&[(0, 30.0), (1, 1.0)]));
    assert!(conclusive(&[(0, 30.0), (1, 9.0)]));
    // Where there is only one, nobody else can be asked.
    assert!(conclusive(&[(7, 30.0)]));
}

/// As many failures in all, evenly and in clusters of four.
#[test]
fn failures_that_come_together_need_more_evidence() {
    let conclusive = |by_spread, each: f64, pods: usize| {
        let mut worse = Worse::than(
            1.0,
            Caps {
                by_spread,
                ..UNCAPPED
            },
        );
        let mut pairs = vec![pair((20.0, 0.0), (60.0, 0.0)); 24];
        pairs[..pods].fill(pair((20.0, each), (60.0, 0.0)));
        worse.scrape(&pairs);
        worse.is_conclusive()
    };
    assert!(conclusive(true, 1.0, 12));
    assert!(!conclusive(true, 4.0, 3));
    assert!(conclusive(false, 4.0, 3));
}

#[test]
fn dispersion_is_variance_by_mean_and_at_least_one() {
    let of = |failed: &[f64]| {
        let mut spread = Spread::NONE;
        for failed in failed {
            spread.add(counted(50.0, *failed));
        }
        spread.dispersion()
    };
    assert_eq!(of(&[]), 1.0);
    assert_eq!(of(&[9.0]), 1.0);
    assert_eq!(of(&[3.0; 9]), 1.0);
    // 12 failures in 27 counts: 24 pairs that come together, 132/27 by chance; error √(2/26).
    let mut clustered = [0.0; 27];
    clustered[..6].copy_from_slice(&[4.0, 1.0, 1.0, 1.0, 1.0, 4.0]);
    let expected = 1.0 + (24.0 - 132.0 / 27.0) / 12.0 - (2.0_f64 / 26.0).sqrt();
    assert!((of(&clustered) - expected).abs() < 1e-12);
}

#[test]
fn what_was_recorded_before_counts_once() {
    let scrapes = [counted(100.0, 5.0); 6];
    let mut in_parts = Worse::than(1.0, UNCAPPED);
    in_parts.scrapes_after(counted(1000.0, 10.0), f64::INFINITY, scrapes.into_iter());
    let whole = evidence(1.0, &[pair((600.0, 30.0), (1000.0, 10.0))]);
    assert!((in_parts.log_evidence() - whole).abs() < 1e-9);
}

#[test]
fn nothing_to_compare_with_is_no_evidence() {
    for pairs in [
        vec![],
        vec![pair((100.0, 100.0), (0.0, 0.0))],
        vec![pair((0.0, 0.0), (100.0, 0.0))],
    ] {
        let mut worse = Worse::than(1.0, UNCAPPED);
        worse.scrape(&pairs);
        assert!(!worse.compared);
        assert_eq!(worse.log_evidence(), 0.0);
    }
}

#[test]
fn any_size_of_number_gives_a_number_or_is_not_sure() {
    let sizes = [0.0, 1e-300, 1.0, 1e15, 1e300, f64::MAX];
    let pairs = sizes.iter().flat_map(|total| {
        let old = sizes.iter();
        old.map(|old| pair((*total, *total), (*old, 0.0)))
    });
    for pair in pairs {
        let mut worse = Worse::than(
            3.0,
            Caps {
                pod: 5.0,
                ..UNCAPPED
            },
        );
        worse.scrape(&[pair, pair]);
        assert!(!worse.is_conclusive(), "{pair:?}");
    }
    for total in sizes {
        assert!(!is_surely_over(counted(total, 0.0), Ratio(0.05)));
        assert!(!is_surely_over(counted(0.0, total), Ratio(0.05)));
        assert!(!is_surely_over(counted(total, total), Ratio(1.0)));
        assert!(total < 1.0 || is_surely_over(counted(total, total), Ratio(0.0)));
    }
}

#[test]
fn weights_are_shares_of_one() {
    let ratios: f64 = ALTERNATIVES.iter().map(|(_, weight)| weight).sum();
    assert!((ratios - 1.0).abs() < 1e-12);
}
