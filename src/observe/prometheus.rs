//! What the metric sources say, asked once for all workloads.
//!
//! [`presets`] knows the shapes of metrics, [`answer`] reads what a source sent, [`feeds`] asks: one
//! request per source, metric and tick, however many workloads wait for it.

pub mod answer;
pub mod feeds;
pub mod presets;
