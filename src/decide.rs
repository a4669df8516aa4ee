//! The pure half: what was observed, the policy and the time go in, a decision comes out.
//!
//! Nothing here does I/O, reads a clock, waits, fails or knows a type of Kubernetes. A missing answer
//! is data ([`Unknown`]), not an error. Start with [`model`], then [`machine`].

pub mod approval;
pub mod attention;
pub mod breaker;
pub mod budget;
pub mod config;
pub mod detectors;
pub mod diagnosis;
pub mod drill;
pub mod effect;
pub mod facts;
pub mod found;
pub mod gitops;
pub mod health;
pub mod holds;
pub mod impact;
pub mod incident;
pub mod inspection;
pub mod machine;
pub mod model;
pub mod policy;
pub mod quarantine;
pub mod reading;
pub mod reason;
pub mod restoring;
pub mod sequential;
pub mod target;
pub mod traffic;
pub mod unknown;

pub use attention::Attention;
pub use breaker::{BreakerTerms, Storm};
pub use config::{Config, ConfigChange, ConfigKind, ConfigName, ConfigUse, ConfigUses, Contents};
pub use detectors::{Counted, PodCounters, Sample};
pub use diagnosis::Finding;
pub use drill::{DrillOutcome, DrillTimes, Drilled, Rehearsal};
pub use effect::Effect;
pub use facts::{Compatible, Facts, Schema};
pub use found::{Diagnosed, Followed, Found};
pub use holds::{Held, Hold, Weight};
pub use impact::Impact;
pub use incident::{Approval, Asked, Attempt, Entry, EntryKind, Incident, State, Timings};
pub use inspection::{Inspection, Mark, MarkWord, Request, Suspension};
pub use machine::{decide, gone};
pub use model::{
    Announcement, Availability, Current, Decision, Memory, Observed, Pod, Proof, Refused,
    RestartCount, Revision, RevisionMemory, Verdict, Waiting, Workload,
};
pub use policy::{
    Alert, ApprovalTerms, Bound, Budget, ConfigMode, ConfigTerms, DrillTerms, Enforcement,
    ErrorRate, LabelNames, Latency, Limit, Mode, OnTimeout, Policy, Preset, Probe, ProbeFailures,
    PromQl, QuarantineTerms, Rate, Ratio, Requests, Restarts, RollbackTerms, Shape, Trigger,
    TriggerKind, Unavailable,
};
pub use reading::{
    Bad, Counters, Evidence, Firing, Measurement, Reading, RequestMeasurement, TriggerReading,
    ValueAt,
};
pub use reason::Reason;
pub use unknown::Unknown;
