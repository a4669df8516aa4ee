//! The sequential test behind the word "conclusive": one may look as often as one likes.
//!
//! It is a mixture of likelihood ratios (Wald 1945; Robbins 1970). Under the null hypothesis such a
//! product is a supermartingale that starts at one, so by Ville's inequality the chance that it *ever*
//! reaches 1/level is at most the level, whatever the number of looks. That is what a p value of a
//! fixed sample does not give. What is counted, and when, is not known here.

use std::collections::BTreeMap;

use super::{Counted, Ratio};

/// The chance that a revision that is not worse than the one before is ever called worse: 0.001 %.
pub const LEVEL_WORSE: f64 = 1e-5;

/// What "95 % confidence" amounts to, in nats: half the 90 % quantile of chi-squared with one degree of
/// freedom (Wilks 1938), 1.6449²/2. A quantile of 90 % on two sides is one of 95 % on one.
///
/// It is asked at each look and so is no proof by itself. It only keeps what is proved from being
/// less than what the user asked for.
pub const LIKELY: f64 = 1.352_771_727;

/// The rate ratios that are held against "not worse", with their weights in the mixture.
///
/// The loss against knowing the ratio in advance is −ln of its weight. So most stands on gross faults:
/// those are found after a dozen errors, where each factor of two is felt; mild ones take hundreds.
///
/// None is below two: old pods are scraped at other moments, so that at the end of an outage they seem
/// to have failed up to a third less than new ones, and at a thousand requests per second that would
/// be surely worse by a third.
const ALTERNATIVES: [(f64, f64); 4] = [(2.0, 0.12), (4.0, 0.13), (10.0, 0.35), (100.0, 0.40)];

/// How often a client tries before it gives up: once, and three times more, as common libraries do.
const TRIES: f64 = 4.0;

/// What keeps failures that come together from being taken for as many independent ones.
///
/// The formula takes errors for independent. Retries of one client fail together, on one connection
/// and so on one pod, and a burst hits one pod. What is capped can only lose evidence, so the level
/// holds all the more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// What one pod in one scrape may say at most, in nats.
    pub pod: f64,
    /// Of how many clients the new failures must be at least, each of which tries `TRIES` times.
    pub clients: f64,
    /// Whether evidence is divided by how unevenly the new failures fall (`Spread`).
    pub by_spread: bool,
    /// What must be left, in nats, without the pod that says most; where there is more than one.
    pub without_worst_pod: f64,
}

/// What a new pod counted between two scrapes, beside what old pods counted in the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair {
    /// Which of the new pods, by any number.
    pub pod: usize,
    pub new: Counted,
    pub old: Counted,
}

/// Gathers evidence that the new error rate is more than `factor` times the old one.
///
/// Each error belongs to the new pods with a probability of at most ρ = fn/(fn + m) while that is not
/// so, where n and m are the requests of the new and the old pods in the same time and f the factor:
/// whatever the error rate does, in an outage or over the day, it does to both. Against it stands that
/// the new rate is r times higher still, which makes the probability θ = ρr/(ρr + 1 − ρ). An error
/// of a new pod counts ln(θ/ρ) = ln r − ln(1 + ρ(r − 1)), an old one ln((1 − θ)/(1 − ρ)) =
/// −ln(1 + ρ(r − 1)). (Two-sample conditional Poisson test, Przyborowski and Wilenski 1940, made
/// sequential as by Lindon and Malek 2022.)
#[derive(Clone, Debug, PartialEq)]
pub struct Worse {
    factor: f64,
    caps: Caps,
    /// Per alternative: the logarithm of its likelihood ratio.
    evidence: [f64; ALTERNATIVES.len()],
    /// The least number of clients that can have seen the new failures.
    clients: f64,
    spread: Spread,
    /// The evidence of each pod that was compared.
    by_pod: BTreeMap<usize, [f64; ALTERNATIVES.len()]>,
    /// Whether anything could be compared.
    pub compared: bool,
}

impl Worse {
    /// Begins with no evidence that the new rate is more than `factor` times the old one.
    #[must_use]
    pub const fn than(factor: f64, caps: Caps) -> Self {
        Self {
            factor,
            caps,
            evidence: [0.0; ALTERNATIVES.len()],
            clients: 0.0,
            spread: Spread::NONE,
            by_pod: BTreeMap::new(),
            compared: false,
        }
    }

    /// Adds one scrape of all new pods. No old request may stand in more than one pair.
    pub fn scrape(&mut self, pairs: &[Pair]) {
        let sum = pairs.iter().fold(Pair::default(), |sum, pair| Pair {
            pod: sum.pod,
            new: sum.new.plus(pair.new),
            old: sum.old.plus(pair.old),
        });
        let Some(rho) = self.share(sum.new.total, sum.old.total) else {
            return;
        };
        self.compared = true;
        for pair in pairs {
            self.clients += clients(pair.new);
            self.spread.add(pair.new);
        }
        let weights = ALTERNATIVES.map(|(ratio, _)| (ratio.ln(), (rho * (ratio - 1.0)).ln_1p()));
        for Pair { pod, new, old } in pairs {
            let of_pod = self.by_pod.entry(*pod).or_default();
            for (index, (gain, loss)) in weights.iter().enumerate() {
                let said = new.failed * gain - (new.failed + old.failed) * loss;
                let said = said.min(self.caps.pod);
                self.evidence[index] += said;
                of_pod[index] += said;
            }
        }
    }

    /// Adds scrapes for which no old pod ran: what was recorded `before` stands in for it, once for all
    /// of them, with all the uncertainty of its own count.
    ///
    /// It cannot know of an outage that everybody has now, so no scrape says more than `cap`.
    pub fn scrapes_after(
        &mut self,
        before: Counted,
        cap: f64,
        scrapes: impl Iterator<Item = Counted>,
    ) {
        let mut sum = Counted::default();
        let mut said = [0.0; ALTERNATIVES.len()];
        for scrape in scrapes {
            sum = sum.plus(scrape);
            self.clients += clients(scrape);
            self.spread.add(scrape);
            let Some(rho) = self.share(sum.total, before.total) else {
                continue;
            };
            self.compared = true;
            for (index, (ratio, _)) in ALTERNATIVES.iter().enumerate() {
                let loss = (rho * (ratio - 1.0)).ln_1p();
                let now = sum.failed * ratio.ln() - (sum.failed + before.failed) * loss;
                self.evidence[index] += (now - said[index]).min(cap);
                said[index] = now;
            }
        }
    }

    /// The largest share of the errors that the new pods can have while they are not worse.
    fn share(&self, new: f64, old: f64) -> Option<f64> {
        let rho = self.factor * new / (self.factor * new + old);
        (old > 0.0 && rho > 0.0 && rho < 1.0).then_some(rho)
    }

    /// Returns the logarithm of the mixture.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        mixture(&self.evidence)
    }

    /// Whether it is conclusive: at [`LEVEL_WORSE`], over all looks together, and of enough clients.
    #[must_use]
    pub fn is_conclusive(&self) -> bool {
        let dispersion = if self.caps.by_spread {
            self.spread.dispersion()
        } else {
            1.0
        };
        self.clients >= self.caps.clients
            && self.log_evidence() >= -LEVEL_WORSE.ln() * dispersion
            && self.without_worst_pod() >= self.caps.without_worst_pod
    }

    /// Returns the least mixture that leaving out one pod leaves; infinite where there is but one.
    fn without_worst_pod(&self) -> f64 {
        if self.by_pod.len() < 2 {
            return f64::INFINITY;
        }
        let rests = self.by_pod.values().map(|pod| {
            let mut rest = self.evidence;
            for (rest, pod) in rest.iter_mut().zip(pod) {
                *rest -= pod;
            }
            mixture(&rest)
        });
        rests.fold(f64::INFINITY, f64::min)
    }

    /// Whether it is likely: the best alternative by [`LIKELY`], at this look.
    #[must_use]
    pub fn is_likely(&self) -> bool {
        let best = self.evidence.iter().copied().fold(0.0, f64::max);
        best >= LIKELY
    }
}

/// How failures fall on pods and scrapes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    failed: f64,
    /// Sum of f(f − 1).
    failed_twice: f64,
    total: f64,
    /// Sum of squares.
    total_squared: f64,
}

impl Spread {
    const NONE: Self = Self {
        failed: 0.0,
        failed_twice: 0.0,
        total: 0.0,
        total_squared: 0.0,
    };

    fn add(&mut self, counted: Counted) {
        let Counted { total, failed } = counted;
        self.failed += failed;
        self.failed_twice += failed * (failed - 1.0);
        self.total += total;
        self.total_squared += total * total;
    }

    /// Returns how many failures come together on average, as the quotient of variance and mean: one
    /// when each comes by itself, and never less.
    ///
    /// That is the dispersion by which quasi-likelihood divides evidence (Wedderburn 1974), less one
    /// standard error, so that few numbers that differ by chance are not taken for clusters.
    fn dispersion(&self) -> f64 {
        let evenness = self.total_squared / (self.total * self.total);
        let by_chance = self.failed * (self.failed - 1.0) * evenness;
        let excess = (self.failed_twice - by_chance) / self.failed;
        let error = (2.0 * evenness / (1.0 - evenness)).sqrt();
        // Also covers what is not a number.
        if excess > error {
            1.0 + excess - error
        } else {
            1.0
        }
    }
}

/// The least number of clients that can have seen so many failures on one pod between two scrapes.
fn clients(counted: Counted) -> f64 {
    (counted.failed / TRIES).ceil()
}

/// Whether the share that failed is over `limit` with 95 % confidence, by [`LIKELY`].
///
/// Half a failure is taken off, since failures are whole (Yates 1934): without it 3 of 20 would be
/// over 5 %, which chance gives to one in thirteen.
#[must_use]
pub fn is_surely_over(counted: Counted, limit: Ratio) -> bool {
    let corrected = Counted {
        failed: counted.failed - 0.5,
        ..counted
    };
    log_odds_over(corrected, limit) >= LIKELY
}

/// Returns how much more likely the count is at its own share than at `limit`, as a logarithm: the
/// number of requests times the Kullback-Leibler divergence of the two. Zero at and below the limit.
///
/// A share at the limit exceeds it so far with a chance of at most e to the minus that (Chernoff 1952).
#[must_use]
pub fn log_odds_over(counted: Counted, limit: Ratio) -> f64 {
    let Counted { total, failed } = counted;
    let Ratio(limit) = limit;
    let share = failed / total;
    // Also covers what is not a number.
    if !(share > limit && share <= 1.0) {
        return 0.0;
    }
    let passed = if share < 1.0 {
        (total - failed) * ((1.0 - share) / (1.0 - limit)).ln()
    } else {
        0.0
    };
    failed * (share / limit).ln() + passed
}

/// Returns the logarithm of the weighted mean of what stands there as logarithms, without overflow.
fn mixture(logarithms: &[f64; ALTERNATIVES.len()]) -> f64 {
    let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !most.is_finite() {
        return if most == f64::INFINITY { most } else { 0.0 };
    }
    let terms = ALTERNATIVES.iter().zip(logarithms);
    let sum: f64 = terms
        .map(|((_, weight), log)| weight * (log - most).exp())
        .sum();
    most + sum.ln()
}

#[cfg(test)]
mod tests;
