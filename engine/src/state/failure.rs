//! What a failed call of an object store means for the person who reads it.

use headwater_core::{Error, ErrorKind};
use std::error::Error as _;
use std::io;

/// What to do about stored bytes that are not what they should be.
pub(super) const BROKEN: &str = "`headwater checkpoints verify` says what else is broken; `headwater run --from NAME` \
     starts from an older checkpoint or a savepoint";

/// Says in words what failed; `what` is as `cannot write 'parts/…'`.
pub(super) fn failed(what: impl Into<String>, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let what = what.into();
    if let Some(cause) = io_error(&error) {
        return of_file_system(&what, cause);
    }
    let message = |reason: &str| format!("{what}: {reason}");
    let made = match &error {
        Store::NotFound { .. } => Error::not_found(message("it is not there")),
        Store::AlreadyExists { .. } | Store::Precondition { .. } => Error::conflict(message("it is there already")),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Error::invalid(message("permission denied"))
            .with_help(
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
                 the bucket's policy: reading, writing, listing and deleting are needed",
            ),
        other => {
            let chain = chain(other);
            // The store understood the request and does not want it: another one would end the same way.
            let refused = chain.contains("status code: 4") && !chain.contains("408") && !chain.contains("429");
            let kind = if refused { ErrorKind::Invalid } else { ErrorKind::Unavailable };
            Error::new(kind, message(&chain))
        }
    };
    made.with_cause(error)
}

fn of_file_system(what: &str, cause: &io::Error) -> Error {
    let with = |kind, reason: &str| Error::new(kind, format!("{what}: {reason}"));
    match cause.kind() {
        io::ErrorKind::StorageFull => with(ErrorKind::Unavailable, "no space left on device")
            .with_help("free some space, or let the pipeline keep fewer checkpoints"),
        io::ErrorKind::QuotaExceeded => {
            with(ErrorKind::Unavailable, "the disk quota is used up").with_help("free some space")
        }
        io::ErrorKind::PermissionDenied => with(ErrorKind::Invalid, "permission denied")
            .with_help("the state folder must be writable for the user that runs headwater"),
        io::ErrorKind::ReadOnlyFilesystem => with(ErrorKind::Invalid, "the file system is read-only"),
        io::ErrorKind::NotFound => with(ErrorKind::NotFound, "it is not there"),
        io::ErrorKind::AlreadyExists => with(ErrorKind::Conflict, "it is there already"),
        _ => Error::io(what, io::Error::new(cause.kind(), cause.to_string())),
    }
}

fn io_error(error: &object_store::Error) -> Option<&io::Error> {
    // A network failure may have one too, but that of a socket says less than what is around it.
    let of_files = matches!(error, object_store::Error::Generic { store, .. } if *store == "LocalFileSystem");
    let mut cause = error.source().filter(|_| of_files);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The innermost two reasons say what happened; what is above them only repeats it in longer words.
fn chain(error: &object_store::Error) -> String {
    let mut reasons = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !reasons.iter().any(|known| known.contains(&reason)) {
            reasons.push(reason);
        }
        cause = error.source();
    }
    reasons.join(": ")
}
