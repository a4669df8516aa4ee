//! How soon any rule with these levels could know: ln(1/level)/I (Wald 1945, Lorden 1971).

use astern::decide::sequential::LEVEL_WORSE;

use crate::peers::Goal;
use crate::rollout::{NEW_PODS, NORMAL, OLD_PODS};

/// The other side of a confidence of 95 %.
const LEVEL_OVER: f64 = 0.05;

/// Returns the seconds after which the slower of the two tests could know at the soonest: that the new
/// pods are worse than the old ones beside them, and that they are over the limit.
#[expect(clippy::cast_precision_loss, reason = "a dozen")]
pub(crate) fn seconds(goal: Goal, share: f64, rps: f64) -> f64 {
    let old_rps = rps * OLD_PODS as f64 / NEW_PODS as f64;
    let errors = rps * share + old_rps * NORMAL;
    let rho = rps / (rps + old_rps);
    let worse = errors * divergence(rps * share / errors, rho);
    let over = rps * divergence(share, goal.limit());
    (-LEVEL_WORSE.ln() / worse).max(-LEVEL_OVER.ln() / over)
}

/// Kullback and Leibler's, of two coins.
pub(crate) fn divergence(share: f64, other: f64) -> f64 {
    let one = if share > 0.0 {
        share * (share / other).ln()
    } else {
        0.0
    };
    let none = if share < 1.0 {
        (1.0 - share) * ((1.0 - share) / (1.0 - other)).ln()
    } else {
        0.0
    };
    one + none
}
