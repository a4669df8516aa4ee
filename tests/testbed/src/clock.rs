//! The wall clock of the test bed.

use jiff::Timestamp;

/// Returns the time now, as the objects in the API server and the load generator stamp it.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test bed runs real processes, so it lives in real time; this is its only clock"
    )]
    Timestamp::now()
}
