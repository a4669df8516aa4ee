//! What was written through the port: the evidence of every oracle.

use jiff::Timestamp;
use serde_json::Value;

use crate::port::{Error, Kind, ObjectRef};

/// A call of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    Get,
    List,
    Create,
    JsonPatch,
    /// A JSON Patch that is only tried.
    DryRun,
    Status,
    Replace,
    Delete,
}

/// One write that reached the API server, with what became of it there.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub at: Timestamp,
    /// The field manager: who wrote.
    pub manager: String,
    pub verb: Verb,
    pub kind: Kind,
    /// With the name from the body where the request had none.
    pub object: ObjectRef,
    /// The body of the request: an object, a list of operations, a status, or a UID.
    pub body: Value,
    pub outcome: Result<(), Error>,
}
