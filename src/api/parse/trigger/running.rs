//! Reading the triggers that look at how pods run.

use super::super::field::{Field, Problems, ratio};
use crate::api::v1alpha1::bounds::{
    BELOW, PODS, PROBE_WINDOW, RESTART_WINDOW, THRESHOLD, UNAVAILABLE_FOR,
};
use crate::decide::{Probe, ProbeFailures, Ratio, Restarts, Unavailable};

pub(super) fn probe_failures(field: &Field<'_>, problems: &Problems) -> ProbeFailures {
    let probes =
        [Probe::Liveness, Probe::Readiness, Probe::Startup].map(|probe| (probe.name(), probe));
    ProbeFailures {
        probe: field
            .child("probe")
            .one_of(&probes, Probe::Liveness, problems),
        threshold: field.child("threshold").count(THRESHOLD, problems),
        window: field.child("window").duration(PROBE_WINDOW, problems),
    }
}

pub(super) fn restarts(field: &Field<'_>, problems: &Problems) -> Restarts {
    let pods = field.child("pods").percentage(PODS, problems);
    Restarts {
        threshold: field.child("threshold").count(THRESHOLD, problems),
        window: field.child("window").duration(RESTART_WINDOW, problems),
        pods: pods.or_else(|| ratio(PODS)).unwrap_or(Ratio(1.0)),
    }
}

pub(super) fn unavailable(field: &Field<'_>, problems: &Problems) -> Unavailable {
    let below = field.child("below").percentage(BELOW, problems);
    Unavailable {
        below: below.or_else(|| ratio(BELOW)).unwrap_or(Ratio(0.5)),
        sustained: field.child("for").duration(UNAVAILABLE_FOR, problems),
    }
}
