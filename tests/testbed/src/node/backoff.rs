//! How long a node waits before it starts a container again, or pulls an image again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// A container that ran this long before it ended starts over without back-off.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Kubelet's back-off: nothing before the first try, then 10 s, doubling up to 5 minutes.
#[derive(Debug)]
pub(crate) struct Backoff {
    factor: f64,
    next: Duration,
}

impl Backoff {
    /// Starts a back-off whose waits are all multiplied by `factor`.
    pub(crate) fn new(factor: f64) -> Self {
        Self {
            factor,
            next: Duration::ZERO,
        }
    }

    /// Returns how long to wait after a try that lasted for `lasted`.
    pub(crate) fn wait(&mut self, lasted: Duration) -> Duration {
        if lasted >= FORGIVEN_AFTER.mul_f64(self.factor) {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = if wait.is_zero() {
            FIRST
        } else {
            (wait * 2).min(LONGEST)
        };
        wait.mul_f64(self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::new(1.0);
        let waits: Vec<u64> = (0..8)
            .map(|_| backoff.wait(Duration::from_secs(1)).as_secs())
            .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_good_minutes_are_forgiven() {
        let mut backoff = Backoff::new(1.0);
        backoff.wait(Duration::ZERO);
        assert_eq!(backoff.wait(Duration::from_secs(600)), Duration::ZERO);
        assert_eq!(
            backoff.wait(Duration::from_secs(599)),
            Duration::from_secs(10)
        );
    }

    #[test]
    fn a_factor_shortens_every_wait() {
        let mut backoff = Backoff::new(0.1);
        backoff.wait(Duration::ZERO);
        assert_eq!(backoff.wait(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(backoff.wait(Duration::ZERO), Duration::from_secs(2));
    }
}
