//! Tests that need nothing but this process.

mod architecture;
mod backtest;
mod config;
mod contract;
mod drills;
mod examples;
mod finding;
mod generated;
mod gitops;
mod invariants;
mod operator;
mod parsers;
mod pictures;
mod rollback;
mod running;
mod statistics;
mod timelines;
mod world;
