//! Astern watches ordinary Deployments, judges every new revision, and puts the last revision that
//! is known to have worked back in place.
//!
//! Read the modules in this order: [`decide`] is the pure half and the heart; [`api`] translates
//! between it and the custom resources; [`port`] is the only way out of the process; [`observe`]
//! reads through it, [`act`] writes through it; [`controller`] runs observe, decide, act per
//! workload; [`app`] wires everything to flags and signals; [`cli`] is the kubectl plugin.
//! `ARCHITECTURE.md` says which module may know which.

pub mod act;
pub mod api;
pub mod app;
pub mod cli;
pub mod controller;
pub mod decide;
pub mod observe;
pub mod port;
