//! How things fail: few kinds, each of which tells the reader what to do. Where it happened is context, not a kind.

use arrow::error::ArrowError;
use std::fmt;
use std::sync::Arc;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the reader of an error can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user must change something: SQL, options, a file.
    Invalid,
    /// Something outside does not answer now; trying again may help.
    Unavailable,
    /// What is asked contradicts what is already there.
    Conflict,
    /// What is asked for does not exist.
    NotFound,
    /// Stored bytes are not what they should be.
    Data,
    /// A fault of Headwater itself.
    Internal,
}

/// A place in a text: line and column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// A failure with its kind, its place and, where there is one, the way out.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<String>,
    span: Option<Span>,
    help: Option<String>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(message: impl Into<String>) -> Self { Self::new(ErrorKind::$kind, message) })*
    };
}

impl Error {
    constructors! {
        /// Makes an error of kind `Invalid`.
        invalid => Invalid;
        /// Makes an error of kind `Unavailable`.
        unavailable => Unavailable;
        /// Makes an error of kind `Conflict`.
        conflict => Conflict;
        /// Makes an error of kind `NotFound`.
        not_found => NotFound;
        /// Makes an error of kind `Data`.
        data => Data;
        /// Makes an error of kind `Internal`.
        internal => Internal;
    }

    /// Makes an error of a kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { kind, message, context: Vec::new(), span: None, help: None, cause: None }))
    }

    /// Makes an error out of a failed file system call on `what`, by what the user can do about it.
    #[must_use]
    pub fn io(what: impl fmt::Display, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::InvalidInput | Io::NotADirectory | Io::IsADirectory => ErrorKind::Invalid,
            Io::AlreadyExists | Io::AddrInUse => ErrorKind::Conflict,
            Io::InvalidData | Io::UnexpectedEof => ErrorKind::Data,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, format!("{what}: {error}")).with_cause(error)
    }

    /// Adds where it happened, from the inside out: `order of calls = order of layers`.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.context.push(place.into());
        self
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds the place in the user's text, unless a more precise one is known already.
    #[must_use]
    pub fn with_span(mut self, span: Span) -> Self {
        self.0.span.get_or_insert(span);
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_cause(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Arc::new(cause));
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message without its place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the place in the user's text.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.0.span
    }

    /// Returns what the reader can do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

impl fmt::Display for Error {
    /// `line 3, column 7: pipeline x: table t: message`, then `help: …` on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Span { line, column }) = self.0.span {
            write!(f, "line {line}, column {column}: ")?;
        }
        for place in self.0.context.iter().rev() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.message)?;
        if let Some(help) = &self.0.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause.as_ref() as &(dyn std::error::Error + 'static))
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        let kind = match &error {
            ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::CsvError(_)
            | ArrowError::JsonError(_)
            | ArrowError::ArithmeticOverflow(_)
            | ArrowError::DivideByZero
            | ArrowError::ParquetError(_)
            | ArrowError::IpcError(_) => ErrorKind::Data,
            ArrowError::IoError(..) => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string()).with_cause(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_place_context_message_and_help() {
        let error = Error::invalid("no column 'x'").at("view v").at("pipeline p").with_help("name one of: a, b");
        let error = error.with_span(Span { line: 3, column: 7 }).with_span(Span { line: 1, column: 1 });
        assert_eq!(error.to_string(), "line 3, column 7: pipeline p: view v: no column 'x'\nhelp: name one of: a, b");
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let error = Error::io("cannot read 'a.csv'", std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
