//! What the metric sources say, asked once for all workloads.
//!
//! [`presets`] knows the shapes of metrics; [`series`] writes selectors for them with [`selector`];
//! [`answer`] visits what a source sent and [`reader`] understands it, histograms with [`histogram`];
//! [`buffer`] keeps it; [`feeds`] asks. [`services`] and [`release`] are for shapes that do not tell
//! revisions apart.

pub mod answer;
pub mod buffer;
pub mod feeds;
pub mod histogram;
pub mod presets;
pub mod reader;
pub mod release;
pub mod selector;
pub mod series;
pub mod services;
pub mod worst;
