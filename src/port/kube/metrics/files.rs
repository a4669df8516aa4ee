//! Credentials in files that somebody mounted.

use std::path::Path;

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::port::{CredentialProblem, Secret};

/// As much as a Secret can hold. A bundle of all public authorities has a quarter of it.
const FILE_MAX: usize = 1024 * 1024;

/// Returns what is in the file now, without the line break at its end.
///
/// There is no cache: reading a token takes microseconds, a query takes milliseconds, and the time of
/// the last change, by which a cache would go, is too coarse on some file systems.
///
/// # Errors
///
/// When there is no such text. It may be there at the next query.
pub(super) async fn secret(path: &Path) -> Result<Secret, CredentialProblem> {
    let unreadable = |_| CredentialProblem::File(path.to_owned());
    let file = File::open(path).await.map_err(unreadable)?;
    let mut text = String::new();
    // One more than allowed, to see that there are more.
    let read = file
        .take(FILE_MAX as u64 + 1)
        .read_to_string(&mut text)
        .await;
    if read.map_err(unreadable)? > FILE_MAX {
        return Err(CredentialProblem::FileTooLarge(path.to_owned(), FILE_MAX));
    }
    match text.trim_end() {
        "" => Err(CredentialProblem::Empty(path.to_owned())),
        text => Ok(Secret::new(text)),
    }
}
