//! Real Kubernetes and real Prometheus on one machine, without containers.
//!
//! In reading order: [`tools`] finds or builds the programs, [`bed`] runs a control plane with them,
//! [`node`] plays the kubelets, [`prometheus`] watches the pods, [`traffic`] puts load on them,
//! [`scenario`] says what happens when, and [`fault_proxy`] spoils what a client sees of all that.
//! [`gitops`] and [`reconciler`] are the tools that have a will of their own, and [`audit`] counts what
//! somebody wrote.
//!
//! Nothing of this knows the operator: what is tested must not help to test itself. Only [`demo`]
//! and [`mod@bench`] do, by the names that its users know, since they show people what the operator does
//! and what it costs.

pub mod audit;
pub mod bed;
pub mod behaviour;
pub mod bench;
pub mod clock;
pub mod demo;
pub mod fault_proxy;
pub mod generator;
pub mod get;
pub mod gitops;
pub mod load;
pub mod node;
pub mod prometheus;
pub mod reconciler;
pub mod scenario;
pub mod signals;
pub mod tools;
pub mod traffic;
pub mod usage;
