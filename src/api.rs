//! Translates between the custom resources and the pure half.
//!
//! [`v1alpha1`] is what goes over the wire, [`parse`] the only way from a spec to a
//! [`crate::decide::Policy`], [`render`] the way back into a status; [`promql`] keeps the queries of a
//! policy within its namespace; [`record`] and [`template`] are about the objects that memory lives on,
//! [`config`] about those that templates refer to; [`schedule`] knows when a drill is due.
//! Nothing here does I/O.

pub mod config;
pub mod crds;
pub mod names;
pub mod parse;
pub mod promql;
pub mod record;
pub mod render;
pub mod schedule;
pub mod template;
pub mod v1alpha1;
