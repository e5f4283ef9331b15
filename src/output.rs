//! Writing to standard output, where the reader may have gone: `headwater contracts list | head` is no failure.

use std::fmt;
use std::io::{self, Write};

/// Prints; ends the process quietly when nobody reads any more.
pub(crate) fn show(text: impl fmt::Display) {
    let mut stdout = io::stdout().lock();
    let result = write!(stdout, "{text}").and_then(|()| stdout.flush());
    if result.is_err() {
        // The reader closed the pipe or the terminal is gone: there is nobody to tell.
        std::process::exit(0);
    }
}

/// Prints a line; ends the process quietly when nobody reads any more.
pub(crate) fn show_line(text: impl fmt::Display) {
    show(format_args!("{text}\n"));
}
