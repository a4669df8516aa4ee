//! The Mann-Whitney U test, as Kayenta uses it to compare a canary with its baseline.
//!
//! Normal approximation with corrections for ties and for continuity. `golden.json` holds values of an
//! independent implementation.

/// Returns the chance that `first` is so much larger than `second` when both come from one distribution.
/// `None` when one is empty or all are equal.
#[expect(
    clippy::float_cmp,
    reason = "a tie is a tie when the numbers are the same"
)]
pub(crate) fn first_is_larger(first: &[f64], second: &[f64]) -> Option<f64> {
    let mut all: Vec<(f64, bool)> = first.iter().map(|value| (*value, true)).collect();
    all.extend(second.iter().map(|value| (*value, false)));
    all.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
    let (mut rank_sum, mut ties, mut below) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|left, right| left.0 == right.0) {
        let size = count(equal);
        let of_first = equal.iter().filter(|(_, is_first)| *is_first);
        rank_sum += (below + f64::midpoint(size, 1.0)) * count(&of_first.collect::<Vec<_>>());
        ties += size * size * size - size;
        below += size;
    }
    let (n, m) = (count(first), count(second));
    let whole = n + m;
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (whole + 1.0 - ties / (whole * (whole - 1.0)));
    if n == 0.0 || m == 0.0 || variance <= 0.0 {
        return None;
    }
    let z = (u - n * m / 2.0 - 0.5) / variance.sqrt();
    Some(normal_tail(z))
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn count<T>(values: &[T]) -> f64 {
    values.len() as f64
}

/// The chance that a standard normal number is larger than `z`: half of erfc(z/√2), by its continued
/// fraction (Abramowitz and Stegun 26.2.14) far out and its series (26.2.11) near zero.
pub(crate) fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z < 3.0 {
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > 1e-17 * sum {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return 0.5 - density * sum;
    }
    let fraction = (1..=60)
        .rev()
        .fold(0.0, |below, step| f64::from(step) / (z + below));
    density / (z + fraction)
}
