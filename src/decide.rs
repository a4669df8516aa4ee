//! The pure half: what was observed, the policy and the time go in, a decision comes out.
//!
//! Nothing here does I/O, reads a clock, waits, fails or knows a type of Kubernetes. A missing answer
//! is data ([`Unknown`]), not an error. Start with [`model`], then [`machine`].

pub mod approval;
pub mod detectors;
pub mod health;
pub mod holds;
pub mod machine;
pub mod model;
pub mod policy;
pub mod reason;
pub mod target;

pub use detectors::{Counted, PodCounters, Sample};
pub use health::{Evidence, Measurement, Reading, TriggerReading, Unknown};
pub use holds::Hold;
pub use machine::{decide, gone};
pub use model::{
    Announcement, Approval, Attempt, Current, Decision, Effect, Entry, EntryKind, Incident, Memory,
    Observed, Pod, Proof, RestartCount, Revision, RevisionMemory, State, Timings, Verdict,
    Workload,
};
pub use policy::{
    ApprovalTerms, ErrorRate, Mode, OnTimeout, Policy, Preset, Probe, ProbeFailures, Ratio,
    Restarts, RollbackTerms, Trigger, TriggerKind,
};
pub use reason::Reason;
