//! Problem details (RFC 9457): the one shape of every answer that is not the thing asked for.
//!
//! It never shows what only an operator should know: faults of Headwater itself and damaged stores are logged in full
//! and answered without their details. It keeps no state.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater_core::{Error, ErrorKind};
use serde_json::{Map, Value, json};

/// The media type of every problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $status:ident $code:literal $title:literal,)*) => {
        /// What went wrong, as a closed list: the codes are public and documented in the OpenAPI description.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// All faults.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the status, the code and the title.
            pub(crate) fn facts(self) -> (StatusCode, &'static str, &'static str) {
                match self { $(Self::$name => (StatusCode::$status, $code, $title),)* }
            }
        }
    };
}

faults! {
    /// A parameter, a header or a cursor is malformed.
    InvalidRequest = BAD_REQUEST "invalid-request" "The request is not valid",
    /// The body is not the JSON that its media type promises.
    UndecodableBody = BAD_REQUEST "undecodable-body" "The body cannot be decoded",
    /// No API key, or one that nobody issued.
    Unauthorised = UNAUTHORIZED "unauthorised" "An API key is needed",
    /// The API key does not reach the company.
    Forbidden = FORBIDDEN "forbidden" "Not allowed",
    /// The path is of no route.
    NoSuchRoute = NOT_FOUND "no-such-route" "No such route",
    /// The path is right, the thing it names does not exist.
    NotFound = NOT_FOUND "not-found" "Not found",
    /// No contract has this event type.
    UnknownEventType = NOT_FOUND "unknown-event-type" "Unknown event type",
    /// No importer has this name.
    UnknownImport = NOT_FOUND "unknown-import" "Unknown kind of import",
    /// The route exists with another method.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method-not-allowed" "Method not allowed",
    /// The request contradicts what is there.
    Conflict = CONFLICT "conflict" "Conflict",
    /// A request with the same idempotency key is being answered.
    KeyInFlight = CONFLICT "idempotency-key-in-flight" "A request with this idempotency key is in flight",
    /// The body or the number of events is over the limit.
    TooLarge = PAYLOAD_TOO_LARGE "too-large" "The request is too large",
    /// The media type is not one that the route reads.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "Unsupported media type",
    /// The idempotency key was used with another request.
    KeyReused = UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key belongs to another request",
    /// The body is well-formed and still says something impossible.
    Unprocessable = UNPROCESSABLE_ENTITY "unprocessable" "The content cannot be processed",
    /// A fault of Headwater itself.
    Internal = INTERNAL_SERVER_ERROR "internal" "Internal error",
    /// What the route needs does not exist yet or does not answer.
    NotReady = SERVICE_UNAVAILABLE "not-ready" "Not ready",
    /// Too many requests are being answered.
    Overloaded = SERVICE_UNAVAILABLE "overloaded" "Too many requests at once",
    /// The request took too long.
    TimedOut = SERVICE_UNAVAILABLE "timed-out" "The request took too long",
}

/// A problem on its way to the client. Boxed, because every result in the crate carries room for one.
#[derive(Debug)]
pub(crate) struct Problem(Box<Facts>);

#[derive(Debug)]
struct Facts {
    fault: Fault,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Makes a problem with a sentence for a person.
    pub(crate) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self(Box::new(Facts { fault, detail: detail.into(), members: Map::new(), headers: Vec::new() }))
    }

    /// Adds an extension member.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.into(), value.into());
        self
    }

    /// Adds a response header.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Makes the problem of a malformed request.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Fault::InvalidRequest, detail)
    }

    /// Makes the problem of a fault of Headwater itself; the cause is logged, never sent.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "request failed");
        Self::new(Fault::Internal, "Headwater failed to answer this request; its log has the cause.")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let fault = match error.kind() {
            ErrorKind::Invalid => Fault::InvalidRequest,
            ErrorKind::Unavailable => Fault::NotReady,
            ErrorKind::Conflict => Fault::Conflict,
            ErrorKind::NotFound => Fault::NotFound,
            ErrorKind::Data | ErrorKind::Internal => return Self::internal(&error),
        };
        let mut problem = Self::new(fault, error.message());
        if let Some(span) = error.span() {
            problem = problem.with("line", span.line).with("column", span.column);
        }
        if let Some(help) = error.help() {
            problem = problem.with("help", help);
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Facts { fault, detail, members, headers: own } = *self.0;
        let (status, code, title) = fault.facts();
        let mut body = Map::new();
        body.insert("type".into(), json!(format!("urn:headwater:problem:{code}")));
        body.insert("title".into(), json!(title));
        body.insert("status".into(), json!(status.as_u16()));
        body.insert("detail".into(), json!(detail));
        body.extend(members);
        let mut response = (status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        for (name, value) in own {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Span;

    #[test]
    fn kinds_of_errors_become_statuses_and_only_the_safe_ones_speak() {
        let cases = [
            (Error::invalid("say a"), 400, "say a"),
            (Error::not_found("no b"), 404, "no b"),
            (Error::conflict("c is there"), 409, "c is there"),
            (Error::unavailable("d is away"), 503, "d is away"),
            (Error::internal("secret"), 500, "Headwater failed"),
            (Error::data("secret"), 500, "Headwater failed"),
        ];
        for (error, status, detail) in cases {
            let problem = Problem::from(error);
            assert!(problem.0.detail.starts_with(detail), "{}", problem.0.detail);
            assert_eq!(problem.into_response().status(), status);
        }
    }

    #[test]
    fn the_place_and_the_help_are_members() {
        let error = Error::invalid("x").with_span(Span { line: 2, column: 9 }).with_help("do y");
        let problem = Problem::from(error);
        assert_eq!(Value::Object(problem.0.members), json!({"line": 2, "column": 9, "help": "do y"}));
    }
}
