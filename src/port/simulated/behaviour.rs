//! What the images of the simulated cluster do when they run.

use jiff::SignedDuration;

/// What one image does. The default is a service that is ready at once and answers without errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// False: the registry does not have it.
    pub exists: bool,
    /// Why its container cannot be created, such as `CreateContainerConfigError`; `None` where it can.
    pub cannot_be_created: Option<&'static str>,
    /// From the pod's creation until its container runs.
    pub starts_after: SignedDuration,
    /// From the container's start until it is ready. `None`: never.
    pub ready_after: Option<SignedDuration>,
    /// From the container's start until it exits. `None`: never.
    pub exits_after: Option<SignedDuration>,
    pub exit_code: i32,
    /// The kernel ends it for want of memory.
    pub out_of_memory: bool,
    /// From the container's start until its liveness probe begins to fail. `None`: never.
    pub liveness_fails_after: Option<SignedDuration>,
    /// Answered by each ready pod.
    pub requests_per_second: f64,
    /// The share of them that is answered with 500, from 0 to 1.
    pub error_rate: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            exists: true,
            cannot_be_created: None,
            starts_after: SignedDuration::from_secs(1),
            ready_after: Some(SignedDuration::from_secs(2)),
            exits_after: None,
            exit_code: 1,
            out_of_memory: false,
            liveness_fails_after: None,
            requests_per_second: 20.0,
            error_rate: 0.0,
        }
    }
}

impl Behaviour {
    /// Answers `share` of its requests with 500.
    #[must_use]
    pub fn erring(share: f64) -> Self {
        Self {
            error_rate: share,
            ..Self::default()
        }
    }

    /// Exits `after` each start.
    #[must_use]
    pub fn crashing(after: SignedDuration) -> Self {
        Self {
            exits_after: Some(after),
            ..Self::default()
        }
    }

    /// Takes more memory than it may have, `after` each start.
    #[must_use]
    pub fn out_of_memory(after: SignedDuration) -> Self {
        Self {
            exit_code: 137,
            out_of_memory: true,
            ..Self::crashing(after)
        }
    }

    /// Refers to a `ConfigMap` that is not there.
    #[must_use]
    pub fn misconfigured() -> Self {
        Self {
            cannot_be_created: Some("CreateContainerConfigError"),
            ..Self::default()
        }
    }

    /// Answers, but its liveness probe fails from `after` each start.
    #[must_use]
    pub fn failing_liveness(after: SignedDuration) -> Self {
        Self {
            liveness_fails_after: Some(after),
            ..Self::default()
        }
    }

    /// Runs and never becomes ready.
    #[must_use]
    pub fn never_ready() -> Self {
        Self {
            ready_after: None,
            ..Self::default()
        }
    }

    /// Returns why its container never runs.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        if self.exists {
            self.cannot_be_created
        } else {
            Some("ErrImagePull")
        }
    }

    /// Cannot be pulled.
    #[must_use]
    pub fn missing() -> Self {
        Self {
            exists: false,
            ..Self::default()
        }
    }
}
