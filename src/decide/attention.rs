//! How closely a workload is worth looking at.

use super::{Mode, Observed, Policy, Verdict};

/// How closely a workload is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attention {
    /// Not at all.
    None,
    /// Through its probation: metrics once a minute, and no pods.
    Seldom,
    /// On probation or part of an open incident: pods, and metrics as soon as there are new ones.
    Close,
}

impl Observed {
    /// Returns how closely the current revision is worth looking at.
    #[must_use]
    pub fn attention(&self, policy: &Policy) -> Attention {
        if policy.mode == Mode::Disabled {
            return Attention::None;
        }
        let open = self
            .memory
            .incident
            .as_ref()
            .is_some_and(|incident| incident.state.is_open());
        let good = self
            .current_memory()
            .is_some_and(|memory| memory.verdict == Verdict::Good);
        if open || !good {
            Attention::Close
        } else if policy.after_probation > Mode::Disabled {
            Attention::Seldom
        } else {
            Attention::None
        }
    }
}
