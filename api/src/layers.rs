//! What surrounds every handler: the limit of requests at once, the timeout, the caller, counts, and panics as
//! problems.
//!
//! Logs carry the method, the route's pattern and the status; never a query, a header or a body.

use crate::auth::Caller;
use crate::problem::{Fault, Problem};
use crate::state::ApiState;
use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::any::Any;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;

/// How many requests were answered, by method, route and status. Bounded by the routes and the statuses they have.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts(Mutex<BTreeMap<(String, String, u16), u64>>);

impl RequestCounts {
    fn add(&self, method: &str, route: &str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((method.to_owned(), route.to_owned(), status)).or_default() += 1;
    }

    /// Returns the counts in their order.
    pub(crate) fn all(&self) -> Vec<((String, String, u16), u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(key, n)| (key.clone(), *n)).collect()
    }
}

/// Makes the gate of [`guard`].
pub(crate) fn gate(requests_max: usize) -> Semaphore {
    Semaphore::new(requests_max.max(1))
}

/// Lets a bounded number of requests in, each for a bounded time, and counts them.
pub(crate) async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    // Whether the process lives must be known in an overload of all times.
    let exempt = route == "/healthz";
    let response = match state.gate.try_acquire() {
        Err(_) if !exempt => Problem::new(Fault::Overloaded, "Try again in a moment.").into_response(),
        _permit => match tokio::time::timeout(state.limits.request_timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let limit = state.limits.request_timeout.as_secs_f64();
                Problem::new(Fault::TimedOut, format!("It took longer than {limit} s and was abandoned."))
                    .into_response()
            }
        },
    };
    state.requests.add(&method, &route, response.status().as_u16());
    harden(response)
}

/// Keeps browsers from guessing types and from storing what belongs to a tenant.
fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Finds out who calls, before anything of the request is read.
pub(crate) async fn authenticate(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    if state.auth.is_open()
        && let Err(problem) = refuse_foreign_pages(request.headers())
    {
        return problem.into_response();
    }
    match state.auth.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// An open interface on loopback must not be driven by a web page that the same person has open: neither across
/// sites, nor by a name that was rebound to 127.0.0.1.
fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), Problem> {
    let cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let foreign_host = headers.get(header::HOST).is_some_and(|host| !names_this_machine(host));
    if !cross_site && !foreign_host {
        return Ok(());
    }
    Err(Problem::new(Fault::Forbidden, "Without API keys, only requests to localhost are answered."))
}

fn names_this_machine(host: &HeaderValue) -> bool {
    let Ok(authority) = axum::http::uri::Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Answers a panic of a handler.
pub(crate) fn on_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::internal(&text.unwrap_or("a handler panicked")).into_response()
}

/// Answers a path of no route.
pub(crate) async fn no_such_route(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(Fault::NoSuchRoute, format!("There is no '{path}' here; GET /openapi.json lists all routes."))
}

/// Answers a method that the route does not have.
pub(crate) async fn method_not_allowed(request: Request) -> Problem {
    Problem::new(Fault::MethodNotAllowed, format!("This route does not answer {}.", request.method()))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal(&"a route that asks for its caller is outside of authentication"))
    }
}

/// The one variable part of a path.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(text)| Self(text)).map_err(|_| Problem::invalid("The path is not UTF-8."))
    }
}

/// Reads a body up to a limit; no more than the limit is ever held.
pub(crate) async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Fault::TooLarge, format!("The body is over {limit} bytes.")).with("limit_bytes", limit);
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::with_capacity(declared.unwrap_or(0));
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| Problem::invalid("The body ended before it was complete."))?;
        if read.len() + piece.len() > limit {
            return Err(too_large());
        }
        read.extend_from_slice(&piece);
    }
    Ok(read.freeze())
}

/// Returns the media type without parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        for (host, ours) in [
            ("localhost:8080", true),
            ("127.0.0.1", true),
            ("[::1]:80", true),
            ("LOCALHOST", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.1:80", false),
            ("", false),
        ] {
            assert_eq!(names_this_machine(&HeaderValue::from_static(host)), ours, "{host}");
        }
    }
}
