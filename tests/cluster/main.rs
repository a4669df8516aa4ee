//! What only a real API server can show.

mod approvals;
mod chart;
mod contract;
mod support;
