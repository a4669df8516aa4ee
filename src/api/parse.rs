//! From a spec, as raw JSON, to what [`crate::decide`] works with.
//!
//! The only validator beside the rules in the CRD, and it does not rely on them: defaults are filled
//! in and every bound is checked again, because a CRD may have been installed without its rules.
//! Every problem becomes a [`FieldError`] that names the field and a good value; nothing here
//! panics or stops at the first one. Unknown fields are ignored: they may be those of a newer version.

pub mod duration;
mod field;
mod matchers;
mod policy;
mod selector;
mod source;
mod trigger;

use jiff::Timestamp;
use serde_json::Value;

use crate::decide::Policy;

pub use field::FieldError;
pub use selector::Selector;
pub use source::{
    AllowedNamespaces, AnswerLimits, ClientCredentials, HeaderText, Material, MetricSource,
    PartialAnswers, QueryMethod, SecretKey, SourceAuth, SourceHeader, SourceTls, Tenant,
    TenantValue,
};

use field::{Field, Problems};

/// A policy that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedPolicy {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub generation: i64,
    /// The oldest policy wins. One that was never on an API server is younger than any that was.
    pub created: Timestamp,
    pub targets: Targets,
    /// Name of the `MetricSource` to ask.
    pub metric_source: String,
    pub policy: Policy,
}

/// Which Deployments of the namespace a policy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    Names(Vec<String>),
    Selector(Selector),
    /// None: it holds where a Deployment's annotation names it.
    ByAnnotation,
}

/// Reads a `RollbackPolicy`.
///
/// # Errors
///
/// Every problem of the spec. The caller should tell the user all of them, and treat the policy as
/// one that guards nothing.
pub fn rollback_policy(object: &Value) -> Result<ParsedPolicy, Vec<FieldError>> {
    let problems = Problems::default();
    let policy = policy::parsed(&Field::root(object), &problems);
    problems.unless_any(policy)
}

/// Reads a `MetricSource`.
///
/// # Errors
///
/// Every problem of the spec. The caller should tell the user all of them, and treat the source as
/// one that does not exist.
pub fn metric_source(object: &Value) -> Result<MetricSource, Vec<FieldError>> {
    let problems = Problems::default();
    let source = source::parsed(&Field::root(object), &problems);
    problems.unless_any(source)
}

#[cfg(test)]
mod tests;
