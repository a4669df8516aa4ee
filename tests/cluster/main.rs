//! What only a real API server can show.

mod approvals;
mod backtest;
mod bad_input;
mod blind;
mod chart;
mod config;
mod contract;
mod diagnosis;
mod drills;
mod gitops;
mod hostile;
mod killed;
mod next_deploy;
mod objects;
mod operator;
mod presets;
mod quarantine;
mod rollback;
mod running;
mod safety;
mod stage;
mod steady;
mod support;
mod verbs;
