//! ConfigMaps and Secrets as raw JSON: what a template reads, what an object held, what a copy is.
//!
//! [`uses`] and [`repointed`] go by one list of places, so that what is compared is what is put back.
//! Contents become digests at once; only [`copy`] ever passes any on, from one ConfigMap to another.

mod contents;
mod copies;
mod record;
mod references;

pub use contents::{contents, secret_contents};
pub use copies::{OwnerRef, Standing, copy, copy_name, owner_references, standing};
pub use record::{from_text, read, to_text, write};
pub use references::{repointed, uses};

#[cfg(test)]
mod tests;
