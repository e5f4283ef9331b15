//! What a failed write to a local disk means for the user. Pure.
//!
//! A full disk is `Invalid`, not `Unavailable`: repeating the write does not free space, and a run that stops with one
//! message is better than one that repeats for ever.

use headwater_core::{Error, ErrorKind};
use std::io;
use std::path::Path;

/// Makes the error of a failed file system call.
pub(crate) fn io(what: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind as Kind;
    let message = format!("cannot {what} '{}'", path.display());
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge | Kind::ReadOnlyFilesystem => {
            Error::new(ErrorKind::Invalid, format!("{message}: {error}"))
                .with_cause(error)
                .with_help("free some space, or write somewhere else")
        }
        _ => Error::io(message, error),
    }
}
